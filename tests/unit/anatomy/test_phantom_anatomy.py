"""The phantom is the reference patient; label maps become anatomies; bad inputs are named."""

import copy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from patient_maps import anatomy_of

from hifuflow.anatomy.crop import behind
from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
EXAM_33 = Path(__file__).parents[4] / "shared" / "data" / "breast_exam33_labels.nii.gz"


def config(**phantom):
    """The reference patient's section, with changes of its phantom."""
    base = copy.deepcopy(REFERENCE.section("anatomy"))
    base["anatomy"]["phantom"].update(phantom)
    return base


def pose(axis):
    return {"axis": axis, "max_blocked_fraction": 0.5}


def corners(anatomy, mask):
    half = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), -1).reshape(-1, 3)
    return anatomy.position((np.argwhere(mask)[:, None] + half).reshape(-1, 3))


@pytest.fixture(scope="module")
def phantom():
    return anatomy_of(config())


def test_phantom_is_the_reference_patient(phantom):
    tumour = corners(phantom, phantom.target_mask)
    to_skin = 0.070 - np.linalg.norm(tumour - [0.1095, 0.087, 0.070], axis=1)
    assert to_skin.min() == pytest.approx(0.015, abs=0.00075)
    assert 0.070 - tumour[:, 2].max() > 0.036
    centroid = phantom.position(np.argwhere(phantom.target_mask)).mean(axis=0)
    np.testing.assert_allclose(centroid, [0.1095, 0.087, 0.024], atol=2e-4)
    assert 4e-6 < phantom.regions["tumour"]["volume_m3"] < 6e-6
    hemisphere = 2 / 3 * np.pi * 0.070**3
    assert phantom.body_mask.sum() * phantom.voxel_volume == pytest.approx(hemisphere, rel=0.01)


def test_phantom_has_45_foci_3_mm_apart(phantom):
    centroid = phantom.position(np.argwhere(phantom.target_mask)).mean(axis=0)
    i, j = np.mgrid[-10:11, -10:11] * 0.003
    lattice = centroid + np.stack([i.ravel(), j.ravel(), np.zeros(i.size)], axis=1)
    index = np.rint(phantom.index(lattice)).astype(int)
    assert phantom.target_mask[tuple(index.T)].sum() == 45


def test_phantom_voxels_lie_at_whole_multiples_and_water_ends_at_the_chest_wall(phantom):
    multiples = phantom.affine[:3, 3] / 0.0015
    np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-9)
    z = phantom.position(np.argwhere(phantom.coupling))[:, 2]
    assert z.max() <= 0.070
    assert not (phantom.coupling & phantom.body_mask).any()
    dry = (phantom.labels == 0) & ~phantom.coupling
    assert phantom.position(np.argwhere(dry))[:, 2].min() > 0.070


def test_ellipsoid_without_irregularity_has_its_volume():
    smooth = anatomy_of(config(irregularity=0.0, voxel_size_mm=1.0))
    expected = 4 / 3 * np.pi * 11.5 * 11.5 * 8 * 1e-9
    assert smooth.regions["tumour"]["volume_m3"] == pytest.approx(expected, rel=0.01)


def test_anatomy_survives_disk(phantom, tmp_path):
    phantom.save(tmp_path)
    again = Anatomy.load(tmp_path)
    np.testing.assert_array_equal(again.labels, phantom.labels)
    np.testing.assert_array_equal(again.coupling, phantom.coupling)
    np.testing.assert_allclose(again.affine, phantom.affine, atol=1e-9)


def test_tumour_outside_of_the_breast_is_refused():
    with pytest.raises(InputError, match="out of the breast") as caught:
        anatomy_of(config(tumour_centre_mm=[109.5, 87, 2]))
    assert caught.value.file == REFERENCE.section("anatomy")["file"]


def block(shape=(30, 32, 34)):
    """Fat block with a tumour inside, muscle behind it, thorax fat behind the muscle."""
    labels = np.zeros(shape, np.int16)
    labels[4:26, 4:28, 5:30] = 1
    labels[12:16, 13:19, 12:18] = -3
    labels[4:26, 4:28, 24:26] = 7
    return labels


def write(path, data, affine=None):
    affine = np.diag([2.0, 1.5, 1.0, 1.0]) if affine is None else affine
    nib.save(nib.Nifti1Image(data, affine), path)
    return str(path)


def map_config(path, **changes):
    regions = {"fat": {"labels": [1], "tissue": "fat"},
               "lump": {"labels": [-3], "tissue": "tumour"},
               "muscle": {"labels": [7], "tissue": "fat"}}
    base = {"anatomy": {"labels": str(path), "crop_margin_mm": 100}, "regions": regions,
            "cut_regions": ["muscle"], "target": {"region": "lump", "margin_mm": 0,
                                                  "largest_component": False}}
    return {**REFERENCE.section("anatomy"), **base, **changes}


def test_array_order_and_flips_do_not_matter(tmp_path):
    data, affine = block(), np.diag([2.0, 1.5, 1.0, 1.0])
    image = nib.Nifti1Image(data.astype(np.float32), affine)
    straight = anatomy_of(map_config(write(tmp_path / "a.nii.gz", data)))
    orientation = nib.orientations.axcodes2ornt("PLI")
    turned = image.as_reoriented(nib.orientations.ornt_transform(
        nib.io_orientation(affine), orientation))
    nib.save(turned, tmp_path / "b.nii.gz")
    other = anatomy_of(map_config(tmp_path / "b.nii.gz"))
    np.testing.assert_array_equal(other.labels, straight.labels)
    np.testing.assert_array_equal(other.coupling, straight.coupling)
    np.testing.assert_allclose(other.affine, straight.affine, atol=1e-9)


def test_oblique_map_keeps_volume_and_place(tmp_path):
    c, s = np.cos(0.3), np.sin(0.3)
    oblique = np.diag([1.0, 1.0, 1.0, 1.0])
    oblique[:2, :2] = [[c, -s], [s, c]]
    result = anatomy_of(map_config(write(tmp_path / "o.nii.gz", block(), oblique)))
    assert result.regions["lump"]["volume_m3"] == pytest.approx(4 * 6 * 6 * 1e-9, rel=0.1)
    centroid = result.position(np.argwhere(result.target_mask)).mean(axis=0)
    np.testing.assert_allclose(centroid, (oblique @ [13.5, 15.5, 14.5, 1])[:3] * 1e-3, atol=5e-4)


def test_cut_removes_all_behind_and_water_stays_in_front(tmp_path):
    result = anatomy_of(map_config(write(tmp_path / "a.nii.gz", block())))
    z = result.position(np.argwhere(result.body_mask))[:, 2]
    assert z.max() == pytest.approx(23e-3) and z.min() == pytest.approx(5e-3)
    column = result.body_mask.any(axis=2)  # of rays that meet the body
    before = result.coupling & column[..., None]
    assert result.position(np.argwhere(before))[:, 2].max() < 5e-3
    sides = result.coupling[~column].any(axis=1)
    assert sides.all() and len(sides) > 0  # water beside the block too
    assert "muscle" not in result.regions


def test_margin_splits_regions(tmp_path):
    path = write(tmp_path / "a.nii.gz", block(), np.eye(4))
    result = anatomy_of(map_config(path, target={"region": "lump", "margin_mm": 1,
                                                    "largest_component": False}))
    assert result.target == ["lump", "fat_target"]
    assert result.regions["fat_target"]["volume_m3"] == pytest.approx(2 * (24 + 24 + 36) * 1e-9)
    assert result.target_mask.sum() == 144 + 168


def test_islands_are_dropped_and_said(tmp_path, caplog):
    data = block()
    data[1, 1, 8] = 1
    with caplog.at_level("INFO", logger="hifuflow"):
        result = anatomy_of(map_config(write(tmp_path / "a.nii.gz", data, np.eye(4))))
    assert "dropped 1 island(s) of body: 1 voxel(s)" in caplog.text
    assert result.body_mask.sum() == 22 * 24 * 19


def test_shadow_follows_an_oblique_axis():
    mask = np.zeros((20, 20, 20), bool)
    mask[5, 5, 4] = True
    shadow = behind(mask, np.ones(3), np.array([1, 0, 1]) / np.sqrt(2))
    assert shadow[5 + 6, 5, 4 + 6] and not shadow[5, 5, 10] and shadow.sum() == 15
    np.testing.assert_array_equal(behind(mask, np.ones(3), np.array([0, 0, -1.0])).sum(), 5)


def muted(data, value, other):
    data = data.copy()
    data[data == value] = other
    return data


@pytest.mark.parametrize("data, changes, words", [
    (block()[..., None].repeat(2, 3), {}, "three-dimensional"),
    (block() + np.float32(0.25), {}, "whole numbers"),
    (muted(block(), 7, 1), {},
     r"regions\.muscle\.labels = 7: no such label.*-3 \(144 voxels\), 1 \("),
    (muted(block(), 0, 9), {}, r"no region names the labels 9 \(\d+ voxels\)"),
    (block(), {"transducer": pose([0, 0, -1])}, "wholly behind the cut regions"),
    (block()[13:], {}, "touches the edge"),
])
def test_bad_maps_are_refused(tmp_path, data, changes, words):
    path = write(tmp_path / "bad.nii.gz", data)
    with pytest.raises(InputError, match=words) as caught:
        anatomy_of(map_config(path, **changes))
    of_the_map = caught.value.key == "anatomy.labels"
    assert str(caught.value.file) == (path if of_the_map else map_config(path)["file"])


def test_corrupt_files_are_refused(tmp_path):
    whole = Path(write(tmp_path / "a.nii.gz", np.random.default_rng(1).integers(
        0, 99, (40, 40, 40)).astype(np.int16))).read_bytes()
    (tmp_path / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nii.gz").write_text("not an image")
    for name in ("half", "text"):
        with pytest.raises(InputError, match="not a readable image"):
            anatomy_of(map_config(tmp_path / f"{name}.nii.gz"))


def test_absurd_header_is_refused_before_anything_is_read(tmp_path):
    path = Path(write(tmp_path / "a.nii", block()))
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([32767] * 3, "<i2").tobytes()  # dim[1..3] of NIfTI-1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"35181150961663 voxels, \(32767, 32767, 32767\)"):
        anatomy_of(map_config(path))


def test_map_without_orientation_is_refused(tmp_path):
    image = nib.Nifti1Image(block(), np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"sform_code and qform_code are 0"):
        anatomy_of(map_config(tmp_path / "a.nii.gz"))
    image.set_qform(np.eye(4), 1)  # one of the two is enough
    nib.save(image, tmp_path / "a.nii.gz")
    assert anatomy_of(map_config(tmp_path / "a.nii.gz")).target_mask.any()


@pytest.mark.parametrize("kind, value", [(np.float64, 2.0**32 + 1), (np.uint32, 2**32 - 3),
                                         (np.int32, -32769), (np.uint16, 32768)])
def test_labels_that_would_wrap_are_refused(tmp_path, kind, value):
    data = muted(block(), -3, 2).astype(kind)
    data[data == 2] = value
    with pytest.raises(InputError, match=r"labels from .* to .*-32768 to 32767"):
        anatomy_of(map_config(write(tmp_path / "a.nii.gz", data)))


def test_units_of_the_header_are_heeded(tmp_path):
    affine = np.diag([2.0, 1.5, 1.0, 1.0])
    for unit, scale in (("meter", 1e-3), ("micron", 1e3)):
        image = nib.Nifti1Image(block(), np.diag([scale, scale, scale, 1]) @ affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii.gz")
        result = anatomy_of(map_config(tmp_path / "a.nii.gz"))
        np.testing.assert_allclose(result.spacing, [2e-3, 1.5e-3, 1e-3], rtol=1e-6)


def test_target_outside_of_the_body_is_refused(tmp_path):
    data = np.zeros((30, 30, 30), np.int16)
    data[2:10, 2:10, 2:10] = 1
    data[2:10, 2:10, 11] = 7
    data[20:24, 20:24, 20:24] = -3
    with pytest.raises(InputError, match="outside of the body"):
        anatomy_of(map_config(write(tmp_path / "a.nii.gz", data), cut_regions=[]))


@pytest.mark.skipif(not EXAM_33.exists(), reason=f"sample label map not at {EXAM_33}")
def test_real_breast_is_cropped_to_one_side():
    regions = {"tumour": {"labels": [-3], "tissue": "tumour"},
               "skin": {"labels": [-2], "tissue": "fat"},
               "muscle": {"labels": [-1], "tissue": "fat"},
               "gland": {"labels": [1, 2, 3], "tissue": "fat"},
               "fat": {"labels": [4, 5, 6, 7], "tissue": "fat"}}
    result = anatomy_of({**REFERENCE.section("anatomy"),
                            "anatomy": {"labels": str(EXAM_33), "crop_margin_mm": 40},
                            "regions": regions, "cut_regions": ["muscle"],
                            "transducer": pose([0, -1, 0])})
    assert result.regions["tumour"]["volume_m3"] == pytest.approx(2.07e-6, rel=0.01)
    # the other breast lies at positive x (left), this one is the right one
    assert result.position(np.argwhere(result.body_mask))[:, 0].max() < -0.04
    assert result.coupling.any() and not (result.coupling & result.body_mask).any()
