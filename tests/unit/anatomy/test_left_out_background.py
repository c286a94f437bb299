"""What a segmentation leaves out as empty is background of its scan, not the end of the scan."""

import numpy as np
import pytest
from patient_maps import (
    AFFINE,
    NAMES,
    anatomy_of,
    block,
    ct_series,
    dicom_seg,
    section,
    write_itk,
    write_nifti,
)

from hifuflow.errors import InputError
from hifuflow.formats.images import open_image

C, S = np.cos(0.3), np.sin(0.3)
TURNED = np.array([[C, -S, 0, 3], [S, C, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]]) @ AFFINE
PLACES = {"straight": AFFINE, "turned": TURNED, "flipped": AFFINE @ np.diag([-1, 1, -1, 1])}


def box(labels):
    index = np.argwhere(labels)
    return index.min(axis=0), index.max(axis=0) + 1


def minimum_extent(path, labels, affine, frame="RAS", **changes):
    """As 3D Slicer saves it: cut to the segments, the scan's geometry in the header."""
    low, high = box(labels)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    cut = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    write_itk(path, cut, moved, NAMES)
    scan = affine if frame == "RAS" else np.diag([-1, -1, 1, 1]) @ affine
    matrix = ";".join(f"{x:.17g}" for x in scan.ravel())
    extent = ";".join(f"0;{n - 1}" for n in labels.shape)
    fields = {"Segmentation_ReferenceImageExtentOffset": " ".join(map(str, low)),
              "Segmentation_ConversionParameters":
                  f"Collapse labelmaps|1|Merge them.&Reference image geometry|{matrix};{extent};|"
                  "Image geometry description string.&Smoothing factor|0.5|How smooth.&", **changes}
    header, _, voxels = path.read_bytes().partition(b"\n\n")
    lines = [f"{key}:={value}" for key, value in fields.items() if value is not None]
    path.write_bytes(header + b"\n" + "\n".join(lines).encode() + b"\n\n" + voxels)
    return path


def assert_same(found, full):
    np.testing.assert_array_equal(found.labels, full.labels)
    np.testing.assert_array_equal(found.coupling, full.coupling)
    np.testing.assert_array_equal(found.air, full.air)
    np.testing.assert_allclose(found.affine, full.affine, atol=1e-8)
    np.testing.assert_allclose(found.axis, full.axis)
    assert found.beam == full.beam
    assert found.target == full.target


def built(path, axis, **changes):
    """Axis in the config: the beam, and with it water, skin and cut."""
    config = section(path, names=True, cut_regions=[], **changes)
    return anatomy_of({**config, "transducer": {**config["transducer"], "axis": axis}})


@pytest.mark.parametrize("place, axis, frame", [
    ("straight", "auto", "RAS"), ("straight", [-1, 0, 0], "LPS"), ("turned", [0, 0, 1], "RAS"),
    ("turned", [-1, 0, 0], "LPS"), ("flipped", [0, 0, 1], "RAS"), ("flipped", [0, 1, 0], "LPS")])
def test_slicers_minimum_extent(tmp_path, place, axis, frame):
    affine = PLACES[place]
    write_itk(tmp_path / "full.seg.nrrd", block(), affine, NAMES)
    path = minimum_extent(tmp_path / "cut.seg.nrrd", block(), affine, frame)
    image, full = open_image(path), open_image(tmp_path / "full.seg.nrrd")
    assert image.shape == full.shape == block().shape
    np.testing.assert_allclose(image.affine, full.affine, atol=1e-9)
    np.testing.assert_array_equal(image.labels()[0], full.labels()[0])
    assert_same(built(path, axis), built(tmp_path / "full.seg.nrrd", axis))


@pytest.mark.parametrize("place, axis", [("straight", "auto"), ("turned", [0, 0, 1])])
def test_frames_left_out_of_a_dicom_segmentation(tmp_path, place, axis):
    series = ct_series(block().shape, PLACES[place])
    pixels = np.stack([block() == key for key in NAMES], -1).transpose(2, 1, 0, 3).astype(np.uint8)
    anatomies = []
    for leave_out in (True, False):
        dicom_seg(series, pixels, NAMES.values(), omit_empty_frames=leave_out).save_as(
            tmp_path / f"{leave_out}.dcm")
        anatomies.append(built(tmp_path / f"{leave_out}.dcm", axis))
    assert_same(*anatomies)


def test_where_the_scan_itself_ends_the_body_is_cut(tmp_path):
    """Nothing is left out on the side where the segments reach the scan's last slice."""
    labels = block()[..., 4:]  # the body begins with the scan
    path = minimum_extent(tmp_path / "cut.seg.nrrd", labels, AFFINE)
    with pytest.raises(InputError, match="label map ends inside the body"):
        built(path, [0, 0, 1])
    write_itk(tmp_path / "full.seg.nrrd", labels, AFFINE, NAMES)
    assert_same(built(path, [0, -1, 0]), built(tmp_path / "full.seg.nrrd", [0, -1, 0]))


def test_an_oversampled_segmentation(tmp_path):
    """Voxels of half the scan's size: the scan's extent counts in millimetres."""
    fine = block().repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = AFFINE @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25],
                                [0, 0, 0, 1]])
    path = minimum_extent(tmp_path / "cut.seg.nrrd", fine, affine)
    text = path.read_bytes()
    matrix = ";".join(f"{x:.17g}" for x in affine.ravel()).encode()
    coarse = ";".join(f"{x:.17g}" for x in AFFINE.ravel()).encode()
    text = text.replace(matrix, coarse).replace(b"0;43;0;47;0;51", b"0;21;0;23;0;25")
    path.write_bytes(text)
    image = open_image(path)
    assert image.shape == fine.shape
    np.testing.assert_allclose(image.affine[:3] * 1e3, affine[:3], atol=1e-9)
    np.testing.assert_array_equal(image.labels()[0], fine)


@pytest.mark.parametrize("changes, words", [
    ({"Segmentation_ReferenceImageExtentOffset": "3 3 9"}, "voxels begin 3 3 4 voxels into"),
    ({"Segmentation_ReferenceImageExtentOffset": "3 x 4"}, "3 numbers"),
    ({"Segmentation_ConversionParameters": "Reference image geometry|1;2;3;|"}, "22 numbers"),
    ({"Segmentation_ConversionParameters": "Reference image geometry|0;1;0;0;1;0;0;0;0;0;1;0;0;0;0;"
      "1;0;21;0;23;0;25;|"}, "turned against its voxels"),
])
def test_headers_that_contradict_themselves_are_refused(tmp_path, changes, words):
    path = minimum_extent(tmp_path / "cut.seg.nrrd", block(), AFFINE, **changes)
    with pytest.raises(InputError, match=words):
        open_image(path)


def test_an_extent_that_is_not_told_is_said(tmp_path, caplog):
    path = minimum_extent(tmp_path / "cut.seg.nrrd", block(), AFFINE,
                          Segmentation_ConversionParameters=None)
    assert open_image(path).sparse
    assert "does not tell the scan's extent" in caplog.text


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("kind", ["dcm", "seg.nrrd"])
def test_an_image_fills_what_a_cut_map_left_out(tmp_path, known, kind):
    """The body around a tumour that was saved alone, with or without the scan's extent."""
    scan = np.where(block() > 0, 40, -1000).astype(np.int16)
    write_nifti(tmp_path / "ct.nii", scan, AFFINE)
    tumour = np.where(block() == 3, 3, 0).astype(np.int16)
    write_nifti(tmp_path / "full.nii", tumour, AFFINE, {3: "Tumour, left"})
    if kind == "dcm":
        order = np.arange(26) if known else np.random.default_rng(3).permutation(26)
        series = ct_series(tumour.shape, AFFINE)
        dicom_seg([series[k] for k in order], (tumour > 0).transpose(2, 1, 0)[order].astype(
            np.uint8), ["Tumour, left"], omit_empty_frames=True).save_as(tmp_path / "cut.dcm")
    else:
        changes = {} if known else {"Segmentation_ConversionParameters": None}
        minimum_extent(tmp_path / "cut.seg.nrrd", tumour, AFFINE, **changes)
    rules = {"at_least": -300, "largest_component": True, "fill_holes": True,
             "smallest_island_mm3": 0}
    anatomies = []
    for name in ("full.nii", f"cut.{kind}"):
        config = section("", regions={"lump": {"labels": ["Tumour, left"], "tissue": "tumour"},
                                      "fat": {"labels": ["body"], "tissue": "fat"}},
                         cut_regions=[])
        config["anatomy"] = {"labels": str(tmp_path / name), "image": str(tmp_path / "ct.nii"),
                             "thresholds": {"body": rules}, "crop_margin_mm": 100, "outside": []}
        anatomies.append(anatomy_of(config))
    assert_same(*anatomies)
