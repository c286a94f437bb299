"""Pose, lattice, numbering and every refusal of the plan."""

import numpy as np
import pytest
from cube_patient import REFERENCE, plan_settings

from hifuflow.acoustics.frame import beam_frame
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.errors import InputError


def planned(anatomy, device, axis=(0, 0, 1), standoff=105, **foci):
    return plan_treatment(anatomy, plan_settings(device, axis, standoff,
                                                 **(foci or {"spacing_mm": 2})))


def test_apex_stands_off_the_skin_on_the_axis_through_the_target(cube, device):
    anatomy = cube()
    plan = planned(anatomy, device)
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    np.testing.assert_allclose(plan.apex[:2], centroid[:2])
    skin = anatomy.affine[2, 3] + 4.5 * 2e-3  # the face of the first body voxel
    assert plan.apex[2] == pytest.approx(skin - 0.105, abs=1e-4)


def test_lattice_fills_the_target_in_raster_order(cube, device):
    anatomy = cube()
    plan = planned(anatomy, device)
    assert len(plan.foci) == 5 * 4 and plan.spacing_m == 0.002
    index = np.rint(anatomy.index(plan.foci)).astype(int)
    assert anatomy.target_mask[tuple(index.T)].all()
    assert (np.diff(plan.foci[:, 1]) >= -1e-12).all()
    np.testing.assert_allclose(np.diff(plan.foci[:5, 0]), 0.002)
    assert (plan.foci[0, :2] == plan.foci[:, :2].min(axis=0)).all()


def test_planes_lie_along_the_beam_and_come_one_after_another(cube, device):
    plan = planned(cube((0, -1, 0)), device, (0, -1, 0), spacing_mm=2, plane_offsets_mm=[4, -4])
    depth = plan.foci @ plan.axis
    assert len(plan.foci) == 2 * 20
    np.testing.assert_allclose(np.ptp(depth), 0.008)
    assert (np.diff(depth) >= -1e-12).all()


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (0, -1, 0), (1, 2, -0.5), (0.6, 0, 0.8)])
def test_beam_frame_is_a_rotation_with_the_axis_last(axis):
    frame = beam_frame(axis)
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1)
    np.testing.assert_allclose(frame[:, 2], np.array(axis) / np.linalg.norm(axis), atol=1e-12)


def test_explicit_foci_are_kept_in_order(cube, device):
    points = [[0, 0, 2.0], [3, 0, 0], [-1, 2, 1]]
    plan = planned(cube(), device, explicit_mm=points)
    np.testing.assert_allclose(plan.foci, np.array(points) * 1e-3)
    assert plan.spacing_m == pytest.approx(np.sqrt(6) * 1e-3)


def test_a_single_explicit_focus_takes_the_spacing_of_the_section(cube, device):
    plan = planned(cube(), device, explicit_mm=[[0, 0, 2.0]], spacing_mm=4)
    np.testing.assert_allclose(plan.foci, [[0, 0, 0.002]])
    assert plan.spacing_m == 0.004


@pytest.mark.parametrize(("change", "words"), [
    ({"standoff": 20}, r"standoff_mm = 20.*water up to"),
    ({"standoff": 140}, "20 of 20 foci .* mm of lateral and .29.* mm of axial steering"),
    ({"spacing_mm": 3, "plane_offsets_mm": [30]}, "no focus lies in the target"),
    ({"explicit_mm": [[0, 0, 300]], "spacing_mm": 3}, "focus 1 does not lie in the body"),
    ({"explicit_mm": [[0, 0, -20.0], [0, 0, 0]]}, "focus 1 does not lie in the body"),
    ({"explicit_mm": [[0, 0, 0], [15.2, 0, 0]], "standoff": 105}, "focus 2 of 2"),
])
def test_unusable_plan_is_refused_in_plain_words(cube, device, change, words):
    with pytest.raises(InputError, match=words) as caught:
        planned(cube(), device, **change)
    assert caught.value.file == REFERENCE.file.name


def test_beam_through_a_cut_is_refused(cube, device):
    anatomy = cube()
    anatomy.coupling[:] = False
    with pytest.raises(InputError, match="cut"):
        planned(anatomy, device)
