"""Skin in water, skin in air, and where the body is cut off."""

import numpy as np
import pytest
from patient_maps import AFFINE, anatomy_of, block, section, write_nifti
from scipy import ndimage

from hifuflow.records.anatomy import Anatomy


def limb():
    """The block without anything behind it, a hollow inside."""
    labels = block()
    labels[labels == 7] = 1
    labels[14:16, 10:12, 10:12] = 0
    return labels


def build(tmp_path, labels, **anatomy):
    write_nifti(tmp_path / "map.nii.gz", labels, AFFINE)
    given = section(tmp_path / "map.nii.gz", cut_regions=[])
    given["regions"].pop("muscle")
    given["anatomy"].update(anatomy)
    return anatomy_of(given)


def beside(anatomy, outside):
    """Number of the body's faces to these outside voxels, along each direction of each axis."""
    body, count = np.pad(anatomy.body_mask, 1), {}
    outside = np.pad(outside, 1)
    for axis in range(3):
        for step in (-1, 1):
            count[axis, step] = int((body & np.roll(outside, -step, axis)).sum())
    return count


def test_the_free_back_of_a_body_is_skin_in_air(tmp_path):
    anatomy = build(tmp_path, limb())
    back, front = (2, 1), (2, -1)
    assert beside(anatomy, anatomy.air)[back] == 16 * 18
    assert beside(anatomy, anatomy.air)[front] == 0
    assert beside(anatomy, anatomy.coupling)[front] == 16 * 18
    hollow = ndimage.binary_fill_holes(anatomy.body_mask) & ~anatomy.body_mask
    assert hollow.sum() == 8 and not (hollow & (anatomy.air | anatomy.coupling)).any()


def test_what_the_crop_or_a_cut_region_takes_off_is_neither_water_nor_air(tmp_path):
    cropped = build(tmp_path, limb(), crop_margin_mm=2)
    free = cropped.coupling | cropped.air
    assert beside(cropped, free)[0, 1] < 16 and not cropped.air.any()
    write_nifti(tmp_path / "map.nii.gz", block(), AFFINE)
    cut = anatomy_of(section(tmp_path / "map.nii.gz"))
    assert not cut.air.any()


@pytest.mark.parametrize("air", [True, False])
def test_water_and_air_are_kept_apart_on_disk(tmp_path, air):
    anatomy = build(tmp_path, limb())
    if not air:
        anatomy.air[:] = False
    anatomy.save(tmp_path)
    found = Anatomy.load(tmp_path)
    np.testing.assert_array_equal(found.air, anatomy.air)
    np.testing.assert_array_equal(found.coupling, anatomy.coupling)
