"""Tissue classes from an image's intensities."""

import nibabel as nib
import numpy as np
import pytest
from patient_maps import (
    AFFINE,
    anatomy_of,
    block,
    ct_series,
    section,
    turned,
    write_itk,
    write_nifti,
)

from hifuflow.errors import InputError

RULES = {"largest_component": False, "fill_holes": False, "smallest_island_mm3": 0}
CLASSES = {"tumour": {**RULES, "at_least": 100, "below": 200},
           "wall": {**RULES, "at_least": 200}, "fat": {**RULES, "at_least": -50, "below": 100}}


def scan():
    """Intensities of the block: air -1000, fat 0 .. 40, tumour 150, wall 300."""
    noise = np.random.default_rng(1).integers(0, 41, block().shape)
    return np.select([block() == 1, block() == 3, block() == 7], [noise, 150, 300], -1000
                     ).astype(np.int16)


def config(image, thresholds=CLASSES, labels=None, **changes):
    regions = {"lump": {"labels": ["tumour"], "tissue": "tumour"},
               "fat": {"labels": ["fat"], "tissue": "fat"},
               "muscle": {"labels": ["wall"], "tissue": "fat"}}
    base = section(image, regions=regions, **changes)
    base["anatomy"] = {"image": str(image), "thresholds": thresholds, "crop_margin_mm": 100,
                       "outside": []}
    if labels:
        base["anatomy"]["labels"] = str(labels)
    return base


@pytest.fixture(scope="module")
def from_labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "m.nii.gz"
    write_nifti(path, block(), AFFINE)
    return anatomy_of(section(path))


def assert_same(anatomy, other):
    np.testing.assert_array_equal(anatomy.labels, other.labels)
    np.testing.assert_array_equal(anatomy.coupling, other.coupling)
    np.testing.assert_allclose(anatomy.affine, other.affine, atol=1e-9)


@pytest.mark.parametrize("name, codes", [("s.nii.gz", "RAS"), ("s.nrrd", "LIP"), ("s.mha", "PSR")])
def test_classes_give_the_anatomy_of_the_labels(tmp_path, from_labels, name, codes):
    values, affine = turned(scan(), AFFINE, codes)
    (write_nifti if ".nii" in name else write_itk)(tmp_path / name, values, affine)
    assert_same(anatomy_of(config(tmp_path / name)), from_labels)


def test_dicom_series(tmp_path, from_labels):
    values, affine = turned(scan(), AFFINE, "LPS")
    for number, one in enumerate(ct_series(values.shape, affine, values)):
        one.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    anatomy = anatomy_of(config(tmp_path))
    assert_same(anatomy, from_labels)
    (tmp_path / "11.dcm").unlink()
    with pytest.raises(InputError, match="slices are missing"):
        anatomy_of(config(tmp_path))
    ct_series((4, 4, 4), AFFINE)[0].save_as(tmp_path / "other.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="2 DICOM series"):
        anatomy_of(config(tmp_path))


def test_labels_stay_and_classes_fill_the_rest(tmp_path, from_labels):
    body = {"body": {**RULES, "at_least": -50, "largest_component": True, "fill_holes": True}}
    values = scan()
    values[12, 15, 16] = -1000  # a hole
    values[1, 1, 1] = 50  # something beside the body
    write_nifti(tmp_path / "s.nii.gz", values.astype(np.float32), AFFINE)
    organs = np.where(np.isin(block(), (3, 7)), block(), 0)
    write_nifti(tmp_path / "m.nii.gz", organs, AFFINE, {3: "Tumour"})
    base = config(tmp_path / "s.nii.gz", body, tmp_path / "m.nii.gz")
    base["regions"] = {"lump": {"labels": ["Tumour"], "tissue": "tumour"},
                       "fat": {"labels": ["body"], "tissue": "fat"},
                       "muscle": {"labels": [7], "tissue": "fat"}}
    anatomy = anatomy_of(base)
    assert_same(anatomy, from_labels)
    assert anatomy.record["source"]["thresholds"] == body


def test_scan_on_another_grid_is_interpolated(tmp_path, from_labels):
    """Twice as fine along two axes, and larger: the voxels' centres fall between its own."""
    fine = np.pad(scan(), 3, constant_values=-1000).repeat(2, 0).repeat(2, 1).astype(np.float32)
    affine = AFFINE @ np.diag([0.5, 0.5, 1, 1])
    affine[:3, 3] = (AFFINE @ [-3.25, -3.25, -3, 1])[:3]
    nib.save(nib.Nifti1Image(fine, affine), tmp_path / "s.nii.gz")
    organs = np.where(block() == 3, 3, 0).astype(np.int16)
    write_nifti(tmp_path / "m.nii.gz", organs, AFFINE)
    classes = {name: CLASSES[name] for name in ("wall", "fat")}
    classes["fat"] = {**RULES, "at_least": -50, "below": 200}
    base = config(tmp_path / "s.nii.gz", classes, tmp_path / "m.nii.gz")
    base["regions"]["lump"]["labels"] = [3]
    assert_same(anatomy_of(base), from_labels)


def test_component_hole_and_island_rules(tmp_path):
    values = np.zeros((30, 30, 30), np.float32)
    values[4:26, 4:26, 4:26] = 1
    values[10:14, 10:14, 10:14] = 2
    values[11, 11, 11] = 0  # hole in the lump
    values[20, 20, 20] = 2  # island of 1 voxel
    values[16:18, 20, 20] = 2  # island of 2 voxels
    write_nifti(tmp_path / "s.nii", values, np.diag([1, 1, 2, 1.0]))

    def voxels(**rules):
        classes = {"tumour": {**RULES, "at_least": 1.5, **rules},
                   "fat": {**RULES, "at_least": 0.5, "fill_holes": True}}
        base = config(tmp_path / "s.nii", classes, cut_regions=[])
        del base["regions"]["muscle"]
        return int(anatomy_of(base).target_mask.sum())

    assert voxels() == 63 + 3
    assert voxels(fill_holes=True) == 64 + 3
    assert voxels(smallest_island_mm3=3) == 63 + 2
    assert voxels(largest_component=True, fill_holes=True) == 64


def test_unusable_scans_and_classes_are_refused(tmp_path):
    write_nifti(tmp_path / "s.nii", scan(), AFFINE)
    empty = {**CLASSES, "bone": {**RULES, "at_least": 5000}}
    with pytest.raises(InputError, match=r"thresholds\.bone.*no voxel.*-1000 to 300"):
        anatomy_of(config(tmp_path / "s.nii", empty))
    write_nifti(tmp_path / "4d.nii", scan()[..., None].repeat(2, 3), AFFINE)
    with pytest.raises(InputError, match="three-dimensional") as caught:
        anatomy_of(config(tmp_path / "4d.nii"))
    assert caught.value.key == "anatomy.image"


def test_labels_and_scan_must_meet(tmp_path):
    """Beside the scan nobody knows what is body: no water there, no crash without a voxel."""
    write_nifti(tmp_path / "s.nii", scan(), AFFINE)
    organs = np.where(block() == 3, 3, 0).astype(np.int16)
    write_nifti(tmp_path / "m.nii", organs, AFFINE)
    classes = {name: CLASSES[name] for name in ("wall", "fat")}

    def built(file):
        base = config(tmp_path / file, classes, tmp_path / "m.nii")
        base["regions"]["lump"]["labels"] = [3]
        return anatomy_of(base)

    away = AFFINE.copy()
    away[0, 3] += 1000
    write_nifti(tmp_path / "away.nii", scan(), away)
    with pytest.raises(InputError, match="wholly beside the label map"):
        built("away.nii")
    write_nifti(tmp_path / "nan.nii", scan() * np.float32(np.nan), AFFINE)
    with pytest.raises(InputError, match="holds no number"):
        built("nan.nii")
    write_nifti(tmp_path / "half.nii", scan()[:, 6:], AFFINE @ [[1, 0, 0, 0], [0, 1, 0, 6],
                                                                [0, 0, 1, 0], [0, 0, 0, 1]])
    whole, half = built("s.nii"), built("half.nii")
    ends = np.argwhere(half.body_mask)[:, 1].min()
    beside = half.coupling[:, ends - 1] & half.body_mask[:, ends]
    assert half.body_mask.sum() < whole.body_mask.sum() and not beside.any()


def test_voxels_that_are_not_finite_are_in_no_class(tmp_path, from_labels):
    values = scan().astype(np.float32)
    values[0] = np.nan
    values[1] = np.inf
    write_nifti(tmp_path / "s.nii", values, AFFINE)
    assert_same(anatomy_of(config(tmp_path / "s.nii")), from_labels)


def test_holes_that_run_out_of_the_scan_are_filled(tmp_path):
    """A tube of gas open at the last slice is filled, a notch in the side is not."""
    values = np.zeros((30, 30, 30), np.float32)
    values[4:26, 4:26, 6:] = 1
    values[10:14, 10:14, 10:14] = 2
    values[18:20, 18:20, 16:] = 0  # tube to the end
    values[20:26, 8:10, 10:12] = 0  # notch
    write_nifti(tmp_path / "s.nii", values, np.eye(4))
    classes = {"tumour": {**RULES, "at_least": 1.5},
               "fat": {**RULES, "at_least": 0.5, "fill_holes": True}}
    base = config(tmp_path / "s.nii", classes, cut_regions=[])
    del base["regions"]["muscle"]
    anatomy = anatomy_of(base)
    assert anatomy.body_mask.sum() == 22 * 22 * 24 - 6 * 2 * 2


@pytest.mark.parametrize("shear", [0.4, 2.0, 0.0])
def test_a_sheared_scan_is_classified_as_it_is(tmp_path, shear):
    """Slices of a tilted or shifted scan: the volume of each class is that of its voxels."""
    values = scan().repeat(2, 0).repeat(2, 1)
    affine = AFFINE.copy()
    affine[:2, 2] += [shear, shear / 2]
    write_nifti(tmp_path / "s.nii", values, affine)
    anatomy = anatomy_of(config(tmp_path / "s.nii", cut_regions=[]))
    # Nearest neighbours place a slice within half a voxel; the lump has five, the wall two.
    for region, low, high, beside in (("lump", 100, 200, 0.2), ("muscle", 200, 1000, 0.5),
                                      ("fat", -50, 100, 0.1)):
        index = np.argwhere((values >= low) & (values < high))
        mask = anatomy.labels == anatomy.regions[region]["label"]
        assert mask.sum() * anatomy.voxel_volume == pytest.approx(len(index) * 3e-9, rel=0.01)
        true = affine[:3, :3] @ index.mean(axis=0) + affine[:3, 3]
        found = anatomy.position(np.argwhere(mask)).mean(axis=0) * 1e3
        assert (np.abs(found - true) < beside * np.array([2, 1.5, 1])).all()
