"""Planes through the patient, and numbers read off slices."""

import numpy as np
import pytest

from hifuflow.report.facts import untreated
from hifuflow.report.figures.treatment import treated_by_slice
from hifuflow.report.figures.view import Plane, View, ellipsoid_value, target_heights


@pytest.mark.parametrize("axis", [(0, 0, 1), (0, -1, 0), (-1, 0, 0), (0.6, 0, 0.8)])
def test_view_directions_are_orthonormal(axis):
    view = View.of(axis)
    frame = np.array([*view.across, view.depth])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)


def test_axis_labels_name_the_patients_directions():
    view = View.of((0, -1, 0))
    assert view.label(view.upright) == "y (mm), P → A"
    assert [view.label(axis) for axis in view.across] == ["x (mm), L → R", "z (mm), I → S"]
    assert not view.deeper_is_larger
    assert View.of((0, 0, 1), anatomical=False).label(np.eye(3)[2]) == "z (mm)"


@pytest.mark.parametrize("axis", [(0, 0, 1), (0, -1, 0), (0.6, 0, 0.8)])
def test_plane_samples_a_linear_field_exactly(axis):
    affine = np.diag([2e-3, 1e-3, 3e-3, 1.0])
    affine[:3, 3] = -0.02, 0.01, 0.005
    gradient = np.array([3.0, -5.0, 7.0])
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (20, 30, 15)), indexing="ij"), -1)
    volume = (index @ affine[:3, :3].T + affine[:3, 3]) @ gradient
    view = View.of(axis)
    plane = Plane.around(np.array([-0.001, 0.024, 0.026]), *view.across, 0.005, 0.004, 5e-4)
    assert plane.points.shape == (17, 21, 3)
    np.testing.assert_allclose(plane.sample(volume, affine), plane.points @ gradient, atol=2e-8)


def test_ellipsoid_value_with_rotation():
    turn = np.deg2rad(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0],
                         [0, 0, 1]])
    surface = {"centre_m": [0.1, 0.2, 0.3], "semi_axes_m": [0.02, 0.01, 0.03],
               "rotation": rotation.tolist()}
    ends = np.array([0.1, 0.2, 0.3]) + (rotation * [0.02, 0.01, 0.03]).T
    np.testing.assert_allclose(ellipsoid_value(ends, surface), 1)
    assert ellipsoid_value(np.array([0.1, 0.2, 0.3]), surface) == 0


def test_slices_hold_the_whole_target(case):
    view = View.of(case.anatomy.axis)
    heights, treated, volume = treated_by_slice(case.anatomy, case.trajectory, 240, view)
    np.testing.assert_allclose(heights, target_heights(case.anatomy, view))
    np.testing.assert_allclose(np.diff(heights), 2e-3)
    total = case.anatomy.target_mask.sum() * case.anatomy.voxel_volume
    assert volume.sum() == pytest.approx(total)
    assert (treated * volume).sum() / total == pytest.approx(case.trajectory.coverage[-1])


def test_untreated_part_is_found_nearest_the_skin(case):
    left = untreated(case.anatomy, case.trajectory, 240, View.of(case.anatomy.axis))
    assert left["fraction"] == pytest.approx(1 - case.trajectory.coverage[-1])
    # The target's first slice is 14 mm from the start of the grid, the second 2 mm deeper.
    centre = case.anatomy.position(np.argwhere(case.anatomy.target_mask)).mean(axis=0)
    edge = (centre + -0.002 * case.anatomy.axis) @ np.abs(case.anatomy.axis) * 100
    sign = "<" if case.anatomy.axis.sum() > 0 else ">"
    name = "xyz"[np.argmax(np.abs(case.anatomy.axis))]
    assert left["where"] == f"nearest the skin, {name} {sign} {edge:.2f} cm"
