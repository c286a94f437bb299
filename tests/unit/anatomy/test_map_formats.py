"""The same segmentation in any format and orientation is the same anatomy."""

import re

import nibabel as nib
import numpy as np
import pytest
from patient_maps import (
    AFFINE,
    NAMES,
    anatomy_of,
    block,
    ct_series,
    section,
    turned,
    write_dicom_seg,
    write_itk,
    write_layers,
    write_nifti,
)
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.formats.images import open_image
from hifuflow.study.inspect_labels import label_table


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The block as a plain NIfTI map."""
    path = tmp_path_factory.mktemp("straight") / "map.nii.gz"
    nib.save(nib.Nifti1Image(block(), AFFINE), path)
    return anatomy_of(section(path))


def assert_same(anatomy, other):
    np.testing.assert_array_equal(anatomy.labels, other.labels)
    np.testing.assert_array_equal(anatomy.coupling, other.coupling)
    np.testing.assert_allclose(anatomy.affine, other.affine, atol=1e-9)
    assert anatomy.regions == other.regions
    assert anatomy.target == other.target


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA", "AIL"])
@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.nrrd", "m.seg.nrrd", "m.nhdr", "m.mha",
                                  "m.mhd"])
def test_format_and_orientation_do_not_matter(tmp_path, straight, name, codes):
    labels, affine = turned(block(), AFFINE, codes)
    write = write_nifti if ".nii" in name else write_itk
    write(tmp_path / name, labels, affine, NAMES)
    assert_same(anatomy_of(section(tmp_path / name)), straight)
    assert_same(anatomy_of(section(tmp_path / name, names=True)), straight)


@pytest.mark.parametrize("codes", ["LPS", "PSR", "RAS"])
@pytest.mark.parametrize("suffix", ["map.dcm", "without_suffix"])
def test_dicom_segmentation(tmp_path, straight, codes, suffix):
    labels, affine = turned(block(), AFFINE, codes)
    write_dicom_seg(tmp_path / suffix, [labels == key for key in NAMES], affine, NAMES.values())
    assert_same(anatomy_of(section(tmp_path / suffix, names=True)), straight)


def overlapping():
    """Whole body, wall and tumour, each as drawn: the body covers the other two."""
    return [block() > 0, block() == 7, block() == 3]


def test_overlapping_segments_in_layers(tmp_path, straight, caplog):
    body, wall, tumour = overlapping()
    path = tmp_path / "map.seg.nrrd"
    write_layers(path, [body * 1, wall * 1 + tumour * 2], AFFINE,
                 [(NAMES[1], 0, 1), (NAMES[7], 1, 1), (NAMES[3], 1, 2)])
    config = section(path, names=True)
    order = ("lump", "muscle", "fat")  # what lies inside before what surrounds it
    config["regions"] = {name: config["regions"][name] for name in order}
    with caplog.at_level("INFO", logger="hifuflow"):
        anatomy = anatomy_of(config)
    np.testing.assert_array_equal(anatomy.body_mask, straight.body_mask)
    np.testing.assert_array_equal(anatomy.target_mask, straight.target_mask)
    assert f"leaves {(wall | tumour).sum()} of its {body.sum()} voxels" in caplog.text
    config["regions"] = {name: config["regions"][name] for name in ("fat", "lump", "muscle")}
    with pytest.raises(InputError, match=rf"(?s)regions\.lump: all of its {tumour.sum()} voxels"):
        anatomy_of(config)
    config["regions"]["fat"]["labels"] = [1]
    with pytest.raises(InputError, match="2 segments have this label"):
        anatomy_of(config)


def test_a_segment_whose_label_is_no_number_is_named(tmp_path):
    path = tmp_path / "map.seg.nrrd"
    write_layers(path, [block()], AFFINE, [("Body", 0, 1), ("Tumour", 0, "three")])
    with pytest.raises(InputError, match=r"Segment1_LabelValue is 'three'.*whole number"):
        anatomy_of(section(path))


def test_nameless_layers_are_no_riddle(tmp_path):
    body, wall, tumour = overlapping()
    path = tmp_path / "map.nrrd"
    write_layers(path, [body * 1, wall * 7 + tumour * 1], AFFINE, [])
    with pytest.raises(InputError, match="2 segments have this label, and the header gives"):
        anatomy_of(section(path))
    image = open_image(path)
    assert "  label_7: {labels: [7], tissue: FILL_IN}" in label_table(image, image.layers())


def test_overlapping_segments_of_dicom(tmp_path, straight):
    write_dicom_seg(tmp_path / "map.dcm", overlapping(), AFFINE, (NAMES[1], NAMES[7], NAMES[3]))
    config = section(tmp_path / "map.dcm", names=True)
    config["regions"] = {name: config["regions"][name] for name in ("lump", "muscle", "fat")}
    anatomy = anatomy_of(config)
    np.testing.assert_array_equal(anatomy.body_mask, straight.body_mask)
    np.testing.assert_array_equal(anatomy.target_mask, straight.target_mask)


def oblique(angle):
    c, s = np.cos(angle), np.sin(angle)
    turn = np.eye(4)
    turn[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    return turn @ np.diag([1.0, 1.0, 3.0, 1.0])


def big_block():
    return block((44, 48, 26)).repeat(2, 0)[:44].repeat(2, 1)[:, :48]


@pytest.mark.parametrize("name", ["m.nii", "m.nrrd", "m.mha", "m.dcm"])
def test_oblique_maps_agree_between_formats(tmp_path, name):
    labels, affine = big_block(), oblique(0.3)
    write_nifti(tmp_path / "ref.nii.gz", labels, affine, NAMES)
    reference = anatomy_of(section(tmp_path / "ref.nii.gz"))
    if name.endswith("dcm"):
        write_dicom_seg(tmp_path / name, [labels == key for key in NAMES], affine, NAMES.values())
    else:
        (write_nifti if name.endswith("nii") else write_itk)(tmp_path / name, labels, affine, NAMES)
    anatomy = anatomy_of(section(tmp_path / name, names=True))
    assert anatomy.record["source"]["resampled"]
    assert anatomy.record["source"]["largest_volume_change"] < 0.01
    for region, entry in reference.regions.items():
        assert anatomy.regions[region]["volume_m3"] == pytest.approx(entry["volume_m3"], rel=2e-3)
    voxels = (labels == 3).sum() * 3e-9
    assert anatomy.regions["lump"]["volume_m3"] == pytest.approx(voxels, rel=0.02)


def tilted_slab(path, angle, lump=slice(16, 24)):
    """A slab that fills a tilted scan sideways: its sides are where the scan ends, not skin."""
    labels = np.zeros((40, 40, 30), np.int16)
    labels[..., 5:28] = 1
    labels[lump, 16:24, 10:16] = 3
    c, s = np.cos(angle), np.sin(angle)
    affine = np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]]) @ np.diag(
        [2.0, 2, 2, 1])
    write_nifti(path, labels, affine)
    config = section(path, cut_regions=[])
    del config["regions"]["muscle"]
    return config, affine


@pytest.mark.parametrize("angle", [0.35, -0.2])
def test_where_a_tilted_scan_ends_is_no_skin(tmp_path, angle):
    config, affine = tilted_slab(tmp_path / "m.nii", angle)
    anatomy = anatomy_of(config)
    beside = ndimage.binary_dilation(anatomy.body_mask) & ~anatomy.body_mask
    water = anatomy.position(np.argwhere(beside & anatomy.coupling)) * 1e3
    index = nib.affines.apply_affine(np.linalg.inv(affine), water)
    assert len(index) > 1000 and index[:, 2].max() < 5  # of the scan: only the front is coupled
    with pytest.raises(InputError, match="touches the edge of the label map"):
        anatomy_of(tilted_slab(tmp_path / "e.nii", angle, slice(0, 8))[0])


def test_thin_voxels_survive_a_steep_tilt(tmp_path):
    """Between 1 x 1 x 4 mm voxels at 45 degrees an aligned 1 x 1 x 4 mm grid would skip some."""
    c = np.sqrt(0.5)
    affine = np.array([[c, 0, -4 * c, 0], [0, 1, 0, 0], [c, 0, 4 * c, 0], [0, 0, 0, 1]])
    write_nifti(tmp_path / "m.nii", big_block(), affine)
    result = anatomy_of(section(tmp_path / "m.nii", cut_regions=[]))
    assert result.regions["lump"]["volume_m3"] == pytest.approx((big_block() == 3).sum() * 4e-9,
                                                                rel=0.05)
    assert result.spacing[2] < 1.5e-3


def nrrd(path, *fields):
    data = block().astype("<i2")
    lines = ["NRRD0004", "type: short", "dimension: 3", "encoding: raw", "endian: little",
             f"sizes: {' '.join(map(str, data.shape))}", *fields, "", ""]
    path.write_bytes("\n".join(lines).encode() + data.tobytes(order="F"))


RAS = ("space: right-anterior-superior", "space directions: (2,0,0) (0,1.5,0) (0,0,1)",
       "space origin: (-30,12,5)")


def test_nrrd_spaces_are_heeded(tmp_path, straight):
    nrrd(tmp_path / "m.nrrd", *RAS)
    assert_same(anatomy_of(section(tmp_path / "m.nrrd")), straight)


@pytest.mark.parametrize("fields, words", [
    ((), "no anatomical space"),
    (("spacings: 2 1.5 1",), "no anatomical space"),
    (("space: scanner-xyz", *RAS[1:]), "no anatomical space"),
    (("space dimension: 3", *RAS[1:]), "no anatomical space"),
    ((*RAS, 'space units: "m" "m" "m"'), "lengths in m"),
    ((RAS[0], "space directions: (2,0,0) (2,0,0) (0,0,1)", RAS[2]), "singular"),
    ((RAS[0], "space directions: (200,0,0) (0,150,0) (0,0,100)", RAS[2]), "unit of length"),
])
def test_nrrd_without_a_place_in_the_patient_is_refused(tmp_path, fields, words):
    nrrd(tmp_path / "m.nrrd", *fields)
    with pytest.raises(InputError, match=words) as caught:
        anatomy_of(section(tmp_path / "m.nrrd"))
    assert caught.value.key == "anatomy.labels"


def test_meta_image_without_orientation_is_refused(tmp_path):
    write_itk(tmp_path / "m.mhd", block(), AFFINE)
    text = re.sub("TransformMatrix.*\n", "", (tmp_path / "m.mhd").read_text())
    (tmp_path / "m.mhd").write_text(text)
    with pytest.raises(InputError, match="TransformMatrix"):
        anatomy_of(section(tmp_path / "m.mhd"))


@pytest.mark.parametrize("name", ["m.nrrd", "m.seg.nrrd", "m.mha", "m.mhd", "m.dcm", "m.nii"])
def test_damaged_files_are_refused(tmp_path, name):
    if name.endswith("dcm"):
        write_dicom_seg(tmp_path / name, [block() == 1], AFFINE, ["Body"])
    else:
        (write_nifti if name.endswith("nii") else write_itk)(tmp_path / name, block(), AFFINE)
    whole = (tmp_path / name).read_bytes()
    for content in (whole[:len(whole) // 2], whole[:40], b"", b"text"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            anatomy_of(section(tmp_path / name))
        assert str(caught.value.file).endswith(name)


def test_scan_given_as_a_segmentation_is_refused(tmp_path):
    ct_series((4, 5, 6), AFFINE)[0].save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"not a usable DICOM segmentation.*anatomy\.image"):
        anatomy_of(section(tmp_path / "slice.dcm"))


def test_names_that_do_not_fit_are_refused(tmp_path):
    write_itk(tmp_path / "m.nrrd", block(), AFFINE, {**NAMES, 9: "Ghost"})
    config = section(tmp_path / "m.nrrd", names=True)
    config["regions"]["lump"]["labels"] = ["tumour"]
    with pytest.raises(InputError) as caught:
        anatomy_of(config)
    wrong, unclaimed = caught.value.faults  # both at once
    assert (wrong.key, wrong.value) == ("regions.lump.labels", "tumour")
    tumour = (block() == 3).sum()
    assert f"3 'Tumour, left' ({tumour} voxels)" in wrong.allowed
    assert f"no region names the labels 3 'Tumour, left' ({tumour} voxels)" in str(unclaimed)
    config["regions"]["lump"]["labels"] = [3, "Ghost"]
    with pytest.raises(InputError, match="the segment of this name has no voxel"):
        anatomy_of(config)
    config["regions"]["lump"]["labels"] = [3, "Body"]
    with pytest.raises(InputError, match="already belongs to region"):
        anatomy_of(config)


def test_labels_outside_of_the_body_are_left_out(tmp_path, straight):
    labels = block()
    labels[labels == 0] = 4
    write_itk(tmp_path / "m.nrrd", labels, AFFINE, {**NAMES, 4: "Air"})
    for outside in ([4], ["Air"]):
        config = section(tmp_path / "m.nrrd")
        config["anatomy"]["outside"] = outside
        assert_same(anatomy_of(config), straight)


def test_header_tells_without_reading_voxels(tmp_path):
    write_itk(tmp_path / "m.mhd", block(), AFFINE)
    (tmp_path / "m.zraw").unlink()
    assert open_image(tmp_path / "m.mhd").shape == block().shape
    with pytest.raises(InputError):
        open_image(tmp_path / "m.mhd").layers()


def test_a_header_without_its_voxels_and_an_empty_map_are_named(tmp_path):
    write_itk(tmp_path / "m.mhd", block(), AFFINE)
    (tmp_path / "m.zraw").unlink()
    with pytest.raises(InputError, match=r"m\.mhd.*voxels is missing: m\.zraw"):
        anatomy_of(section(tmp_path / "m.mhd"))
    write_nifti(tmp_path / "m.nii", 0 * block(), AFFINE)
    with pytest.raises(InputError, match=r"m\.nii.*empty: all its \d+ voxels are 0"):
        anatomy_of(section(tmp_path / "m.nii"))
