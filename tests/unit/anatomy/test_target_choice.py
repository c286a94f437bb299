"""Regions, components, drawn shapes and margins as targets."""

import numpy as np
import pytest
from patient_maps import anatomy_of, section, write_nifti

from hifuflow.anatomy.settings import TargetSettings
from hifuflow.anatomy.target import target_mask
from hifuflow.errors import InputError
from hifuflow.records.anatomy import Anatomy
from hifuflow.settings import Written

SPACING = np.array([1.0, 1.0, 2.0])  # [mm]
REGIONS = {"lump": {"labels": [3], "tissue": "tumour"}, "fat": {"labels": [1], "tissue": "fat"},
           "gland": {"labels": [2], "tissue": "fat"}}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Fat and gland side by side, with lumps of 8, 27 and 1 voxels in the fat."""
    labels = np.zeros((40, 40, 24), np.int16)
    labels[4:36, 4:36, 4:22] = 1
    labels[20:36, 4:36, 4:22] = 2
    labels[8:10, 8:10, 8:10] = 3
    labels[8:11, 20:23, 10:13] = 3
    labels[15, 30, 15] = 3
    file = tmp_path_factory.mktemp("map") / "m.nii.gz"
    write_nifti(file, labels, np.diag([*SPACING, 1]))
    return file


def built(path, margin_mm=0, largest_component=False, **target):
    target = {"margin_mm": margin_mm, "largest_component": largest_component, **target}
    return anatomy_of(section(path, regions=REGIONS, cut_regions=[], target=target))


def test_all_components_of_a_region(path, tmp_path):
    anatomy = built(path, region="lump")
    assert anatomy.target == ["lump"]
    np.testing.assert_allclose(anatomy.target_components, np.array([27, 8, 1]) * 2e-9)
    anatomy.save(tmp_path)
    again = Anatomy.load(tmp_path)
    assert again.record == anatomy.record and again.target == ["lump"]
    assert '"n_components": 3' in (tmp_path / "regions.json").read_text()


@pytest.mark.parametrize("choice, voxels", [
    ({"region": "lump", "largest_component": True}, 27),
    ({"region": "lump", "at_mm": [8, 8, 16]}, 8),
    ({"region": "lump", "at_mm": [8, 8, 22.5]}, 8),  # just beside it
    ({"at_mm": [9, 21, 22]}, 27),
    ({"region": "lump", "at_mm": [15, 30, 30]}, 1),
])
def test_one_component(path, choice, voxels):
    anatomy = built(path, **choice)
    assert anatomy.target == ["lump_target"]
    assert anatomy.target_mask.sum() == voxels
    assert len(anatomy.target_components) == 1
    rest = anatomy.regions["lump"]["volume_m3"]
    assert rest == pytest.approx((36 - voxels) * 2e-9)
    assert anatomy.regions["lump_target"]["tissue"] == "tumour"


def test_sphere_splits_the_regions_it_lies_in(path):
    anatomy = built(path, sphere={"centre_mm": [20.5, 20, 26], "radius_mm": 6})
    assert set(anatomy.target) == {"fat_target", "gland_target"}
    x, y, z = (anatomy.position(np.argwhere(anatomy.target_mask)) * 1e3 - [20.5, 20, 26]).T
    assert (x**2 + y**2 + z**2).max() <= 36
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume
    assert volume == pytest.approx(4 / 3 * np.pi * 6e-3**3, rel=0.05)


@pytest.mark.parametrize("spacing, origin", [(1, 0), (0.7, 12.3), (0.8, -117.93), (1.25, 64.001)])
def test_a_voxel_on_the_surface_is_in_the_sphere_wherever_the_grid_stands(spacing, origin):
    """Radius of three voxels about a voxel's centre: six of its voxels lie on the surface."""
    affine = np.diag([spacing, spacing, spacing, 1e3]) * 1e-3
    affine[:3, 3] = origin * 1e-3
    labels = np.ones((15, 15, 15), np.int16)
    centre = [origin + 7 * spacing] * 3
    target = TargetSettings.read(Written("anna.yaml", "target", {
        "sphere": {"centre_mm": centre, "radius_mm": 3 * spacing}, "margin_mm": 0,
        "largest_component": False}))
    mask = target_mask(labels, {}, affine, np.zeros(labels.shape, bool), target)
    offset = np.indices(labels.shape) - 7
    np.testing.assert_array_equal(mask, (offset**2).sum(axis=0) <= 9)


def test_turned_ellipsoid(path):
    u = np.array([1, 1, 0]) / np.sqrt(2)
    anatomy = built(path, ellipsoid={"centre_mm": [20, 20, 26], "semi_axes_mm": [11, 4, 7],
                                     "first_axis": [2, 2, 0], "second_axis": [0, 1, 0]})
    offset = anatomy.position(np.argwhere(anatomy.target_mask)) * 1e3 - [20, 20, 26]
    v, w = np.array([-u[0], u[1], 0]), np.array([0, 0, 1])
    assert np.abs(offset @ u).max() == pytest.approx(11, abs=0.8)
    assert np.abs(offset @ v).max() == pytest.approx(4, abs=0.8)
    assert np.abs(offset @ w).max() == pytest.approx(6, abs=1)
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume
    assert volume == pytest.approx(4 / 3 * np.pi * 11 * 4 * 7 * 1e-9, rel=0.03)


@pytest.mark.parametrize("choice", [
    {"region": "lump", "at_mm": [8, 8, 16]}, {"region": "lump", "largest_component": True},
    {"sphere": {"centre_mm": [20, 20, 26], "radius_mm": 4}},
])
def test_margin_in_all_cases(path, choice):
    core, wide = built(path, **choice), built(path, margin_mm=2.5, **choice)
    assert (wide.target_mask >= core.target_mask).all()
    index = np.argwhere(wide.target_mask)
    inner = np.argwhere(core.target_mask)
    gap = np.linalg.norm((index[:, None] - inner) * SPACING, axis=2).min(axis=1)
    assert 2 <= gap.max() <= 2.5
    assert (wide.body_mask == core.body_mask).all()


@pytest.mark.parametrize("choice, words", [
    ({"region": "lump", "at_mm": [30, 8, 30]}, r"target\.at_mm.*nearest is .* mm.*such as"),
    ({"at_mm": [1, 1, 2]}, r"target\.at_mm.*outside of the body"),
    ({"at_mm": [1, 1, 99]}, r"outside of the map.*S 0 to 46"),
    ({"sphere": {"centre_mm": [1, 20, 26], "radius_mm": 6}}, r"sphere\.centre_mm.*outside of the"),
    ({"sphere": {"centre_mm": [20, 20, 26], "radius_mm": 60}}, "outside of the body"),
    ({"sphere": {"centre_mm": [20, 20, 26.9], "radius_mm": 0.5}}, r"no voxel of 1 x 1 x 2 mm"),
])
def test_targets_that_are_not_there(path, choice, words):
    with pytest.raises(InputError, match=words) as caught:
        built(path, **choice)
    assert caught.value.key.startswith("target.")


def test_part_of_the_target_behind_the_cut_is_an_error(tmp_path):
    labels = np.zeros((30, 30, 30), np.int16)
    labels[4:26, 4:26, 4:26] = 1
    labels[4:26, 4:26, 18] = 2
    labels[10:13, 10:13, 10:13] = labels[10, 10, 21] = 3
    write_nifti(tmp_path / "m.nii", labels, np.eye(4))
    with pytest.raises(InputError, match="1 of the target's 28 voxels lie behind the cut"):
        anatomy_of(section(tmp_path / "m.nii", regions=REGIONS, cut_regions=["gland"]))
    target = {"region": "lump", "largest_component": True, "margin_mm": 0}
    anatomy = anatomy_of(section(tmp_path / "m.nii", regions=REGIONS, cut_regions=["gland"],
                                    target=target))
    assert anatomy.target_mask.sum() == 27
    assert anatomy.record["left_out_voxels"]["lump"] == {"crop": 0, "cut": 1, "islands": 0}


def test_part_of_the_target_outside_of_the_body_is_an_error(tmp_path):
    labels = np.zeros((30, 30, 30), np.int16)
    labels[4:26, 4:26, 8:26] = 1
    labels[10:13, 10:13, 10:13] = labels[10, 10, 5] = 3
    labels[20:26, 4:26, 8:26] = 2
    write_nifti(tmp_path / "m.nii", labels, np.eye(4))
    with pytest.raises(InputError, match="1 of the target's 28 voxels lie apart"):
        anatomy_of(section(tmp_path / "m.nii", regions=REGIONS, cut_regions=[]))
