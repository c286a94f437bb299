"""Size of the focus, planes, reach by steering and by moving, what is left out."""

from dataclasses import replace

import numpy as np
import pytest
from cube_patient import plan_settings, transducer
from scipy.spatial.distance import pdist

from hifuflow.acoustics.filling import filling_foci
from hifuflow.acoustics.focal_zone import coverage, focal_size
from hifuflow.acoustics.foci import automatic_spacing, planes_through, reach, touches
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import Travel
from hifuflow.acoustics.transducer import Transducer
from hifuflow.errors import InputError
from hifuflow.settings import BeamTissue
from hifuflow.study.transducer_file import TRANSDUCERS

SPEED = 1500.0


@pytest.mark.parametrize(("radius", "aperture", "frequency", "width", "length"), [
    (0.13, 0.13, 1e6, 2.12, 13.49), (0.13, 0.154, 1e6, 1.79, 9.31),
    (0.165, 0.2, 1e6, 1.75, 8.85), (0.14, 0.136, 1.2e6, 1.82, 11.97)])
def test_focal_size_of_four_bowls(radius, aperture, frequency, width, length):
    """Widths and lengths at half pressure of O'Neil bowls in water, tabulated beforehand."""
    device = Transducer.of(transducer("jc200", frequency=frequency, aperture=aperture,
                                      radius_of_curvature=radius))
    np.testing.assert_allclose(np.array(focal_size(device, SPEED)) * 1e3, (width, length),
                               atol=0.01)


def test_coverage_of_one_ellipsoid_in_a_cube():
    generator = np.random.default_rng(0)
    points = generator.uniform(-1, 1, (200_000, 3))
    found = coverage(points, np.zeros((1, 3)), np.eye(3), 1.0, 2.0)
    assert found == pytest.approx(np.pi / 6 * 1 * 1 * 2 / 8, rel=0.02)


def test_planes_share_the_target_evenly_and_are_as_few_as_allowed(cube):
    anatomy = cube()  # the target is six voxels of 2 mm along the beam
    centre = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    for longest, count in ((0.012, 1), (0.0119, 2), (0.006, 2), (0.0059, 3)):
        offsets = planes_through(anatomy, centre, longest)
        np.testing.assert_allclose(offsets, 0.012 * ((np.arange(count) + 0.5) / count - 0.5),
                                   atol=1e-12)


def test_automatic_planes_are_staggered_and_follow_the_focal_length(cube, device):
    settings = plan_settings(device, spacing_mm=2, plane_offsets_mm="auto", plane_spacing_mm=6)
    plan = plan_treatment(cube(), settings)
    depth = np.unique(plan.foci[:, 2].round(6))
    assert len(depth) == 2 and np.ptp(depth) == pytest.approx(0.006)
    first, second = (plan.foci[np.abs(plan.foci[:, 2] - z) < 1e-5] for z in depth)
    assert np.linalg.norm(first[:, None, :2] - second[None, :, :2], axis=2).min() == pytest.approx(
        0.001 * np.sqrt(2))
    # The focus is 13.5 mm long in water, planes may be 9.5 mm apart, the target is 12 mm deep.
    again = plan_treatment(cube(), plan_settings(device, spacing_mm=2, plane_offsets_mm="auto"))
    np.testing.assert_allclose(again.foci, plan.foci)
    assert plan.coverage < plan.spread_coverage <= 1


def test_automatic_spacing_is_the_papers_for_its_array(cube, device):
    plan = plan_treatment(cube(), plan_settings(device, spacing_mm="auto"))
    assert plan.spacing_m == pytest.approx(0.003, rel=5e-3)


@pytest.mark.parametrize(("staggered", "low", "high"), [(True, 0.997, 1.0), (False, 0.93, 0.98)])
def test_automatic_spacing_covers_space_once_the_planes_are_staggered(staggered, low, high):
    width, length = 0.002, 0.013
    spacing, planes = automatic_spacing(width, length)
    x, z = spacing * np.arange(-9, 10), planes * np.arange(-4, 5)
    foci = np.stack(np.meshgrid(x, x, z, indexing="ij"), axis=-1)
    foci[:, :, ::2, :2] += 0.5 * spacing * staggered
    middle = np.random.default_rng(1).uniform(-1, 1, (100_000, 3)) * [spacing, spacing, planes]
    found = coverage(middle, foci.reshape(-1, 3), np.eye(3), 2 * width, length)
    assert low < found < high


def test_foci_out_of_steering_are_left_out_and_named(cube, device):
    device = replace(device, max_lateral=0.0045, max_axial=0.02)
    plan = plan_treatment(cube(), plan_settings(device, spacing_mm=2, max_left_out_fraction=0.3))
    assert len(plan.foci) + len(plan.left_out) == 20 and 0 < len(plan.left_out) <= 6
    assert all("mm of lateral" in entry["reason"] for entry in plan.left_out)
    assert plan.warnings == [f"{len(plan.left_out)} of 20 foci are left out: "
                             f"{len(plan.left_out)} out of reach"]
    with pytest.raises(InputError, match="of 20 foci cannot be treated") as caught:
        plan_treatment(cube(), plan_settings(device, spacing_mm=2, max_left_out_fraction=0.0))
    assert caught.value.key == "foci" and "max_left_out_fraction" in caught.value.allowed


def test_foci_near_the_skin_are_left_out(cube, device):
    anatomy = cube()
    every = plan_treatment(anatomy, plan_settings(device, spacing_mm=2)).foci
    plan = plan_treatment(anatomy, plan_settings(device, spacing_mm=2, skin_distance_mm=13,
                                                 max_left_out_fraction=0.9))
    voxels = anatomy.position(np.rint(anatomy.index(every)))
    water = anatomy.position(np.argwhere(anatomy.coupling))
    deep = np.linalg.norm(voxels[:, None] - water, axis=2).min(axis=1) >= 0.013
    np.testing.assert_allclose(plan.foci, every[deep])
    assert 0 < deep.sum() < len(every)
    assert "nearer than 13 mm to the skin" in plan.left_out[0]["reason"]


def test_foci_behind_bone_are_left_out_and_the_beam_is_warned_of(cube, device):
    anatomy = cube()
    anatomy.labels[5:11, :, 6:8] = 3 * (anatomy.labels[5:11, :, 6:8] > 0)
    anatomy.regions["rib"] = {"label": 3, "tissue": "bone", "volume_m3": 1.0}
    anatomy.beam = {"blocked_by": {"rib (bone)": 0.23, "lung (lung)": 0.004}}
    settings = plan_settings(device, spacing_mm=2, max_left_out_fraction=0.5)
    tissues = {**settings.tissues, "bone": BeamTissue(173.0, "bone")}
    plan = plan_treatment(anatomy, replace(settings, tissues=tissues))
    assert plan.warnings[0] == "23% of the beam is blocked: rib (bone)"
    assert {entry["reason"].split(":")[0] for entry in plan.left_out} == {"blocked"}
    assert max(entry["position_m"][0] for entry in plan.left_out) < plan.foci[:, 0].max()


def test_bowl_without_steering_is_moved_to_every_focus(cube):
    device = transducer("jc200")
    plan = plan_treatment(cube(), plan_settings(device, standoff="auto", spacing_mm=2,
                                                plane_offsets_mm=[-4, 4]))
    focused = plan.apex + plan.apex_shift + device.radius_of_curvature * plan.axis
    lateral = np.linalg.norm((plan.foci - focused)[:, :2], axis=1)
    np.testing.assert_allclose(plan.foci, focused, atol=1e-8)
    assert lateral.max() < 1e-8 and np.ptp(plan.apex_shift[:, 2]) == pytest.approx(0.008)
    assert plan.move_time_s == 2 and plan.switch_time_s == 0


def test_bowl_is_moved_as_far_as_it_travels():
    bowl = Transducer.of(transducer("jc200"))
    foci = np.array([[0, 0, 0.165], [0, 0, 0.27], [0.05, 0, 0.165], [0.15, 0, 0.165]])
    found = reach(foci, np.zeros(3), np.array([0, 0, 1.0]), bowl, Travel(0.1, 0.1))
    assert found.reached.tolist() == [True, False, True, False]
    np.testing.assert_allclose(found.shift[2], [0.05, 0, 0])


def test_bowl_is_not_moved_into_the_body(cube):
    bowl, anatomy = Transducer.of(transducer("jc200")), cube()
    front = anatomy.affine[2, 3] + 5 * 2e-3  # centre of the first voxels of the body
    water = bowl.first_depth
    apex = np.array([0, 0, front - water - 0.01])
    shift = np.array([[0, 0, 0], [0, 0, 0.009], [0, 0, 0.011], [0.09, 0, 0.011], [0.2, 0, 0.011]])
    assert touches(anatomy, apex, shift, bowl, water).tolist() == [False, False, True, True, False]


def test_array_is_steered_where_it_can_and_moved_where_it_cannot(device):
    array = Transducer.of(device)  # steers 15 mm sideways, 20 mm in depth
    foci = np.array([[0.014, 0, 0.149], [0.02, 0, 0.149], [0, 0.02, 0.08]])
    found = reach(foci, np.zeros(3), np.array([0, 0, 1.0]), array, Travel(0.03, 0.0))
    assert found.reached.tolist() == [True, True, False]
    np.testing.assert_allclose(found.shift[:2], [[0, 0, 0], [0.02, 0, 0]], atol=1e-12)


def test_automatic_standoff_puts_the_geometric_focus_on_the_target(cube, device):
    plan = plan_treatment(cube(), plan_settings(device, standoff="auto", spacing_mm=2))
    centroid = cube().position(np.argwhere(cube().target_mask)).mean(axis=0)
    np.testing.assert_allclose(plan.apex + 0.13 * plan.axis, centroid, atol=1e-9)


def test_automatic_standoff_leaves_room_for_the_water_or_is_refused(cube):
    """A short bowl cannot come near enough; an array of that size steers the rest."""
    device = transducer("jc200", radius_of_curvature=0.03, aperture=0.05)
    with pytest.raises(InputError, match="into the room that the transducer") as caught:
        plan_treatment(cube(), plan_settings(device, standoff="auto", spacing_mm=2))
    assert caught.value.key == "transducer.standoff_mm"
    device = replace(device, max_lateral=0.02, max_axial=0.02)
    plan = plan_treatment(cube(), plan_settings(device, standoff="auto", spacing_mm=2))
    centroid = cube().position(np.argwhere(cube().target_mask)).mean(axis=0)
    assert 0 < (centroid - plan.apex) @ plan.axis - 0.03 < 0.02


@pytest.mark.parametrize("name", sorted(path.stem for path in TRANSDUCERS.glob("*.yaml")))
def test_every_shipped_transducer_fits_and_focuses_at_its_geometric_focus(name):
    """On the axis and across, the field of the discs is highest at the focus, and falls to half
    of it where the whole bowl's does; an array's gaps cost little of that."""
    device = Transducer.of(transducer(name))
    width, length = focal_size(device, SPEED)
    if device.n_elements > 1:
        assert pdist(device.positions).min() > 2 * device.radii.max() * (1 - 1e-9)
    assert np.hypot(*device.positions[:, :2].T).max() < device.aperture / 2
    focus = np.array([0, 0, device.radius_of_curvature])
    across, along = width / 2 * np.linspace(-2, 2, 17), length / 2 * np.linspace(-2, 2, 17)
    points = focus + np.vstack([np.outer(across, [1, 0, 0]), np.outer(across, [0, 1, 0]),
                                np.outer(along, [0, 0, 1])])
    thin = slice(None, None, max(1, len(device.positions) // 4000))
    k = device.wavenumber(SPEED)
    positions, drive = device.positions[thin], device.drive(focus, SPEED)[thin]
    distance = np.linalg.norm(points[:, None] - positions, axis=2)
    field = np.abs((np.exp(1j * k * distance) / distance) @ (drive * device.radii[thin] ** 2))
    sections = field.reshape(3, 17) / field[8]
    assert sections.max() < 1.02  # the highest pressure lies a little before the focus
    np.testing.assert_allclose(sections[:2, [4, 12]], 0.5, atol=0.06)
    # Along the axis discs that end at the rim act like a bowl somewhat narrower.
    assert 0.45 < sections[2, [4, 12]].min() and sections[2, [4, 12]].max() < 0.62


def tailed(cube, beam=(0, 0, 1)):
    """The cube with a flat target that has two thin tails along the beam."""
    anatomy = cube(beam)
    anatomy.labels[anatomy.labels == 2] = 1
    anatomy.labels[8:18, 8:18, 12:14] = 2
    anatomy.labels[9, 9, 6:20] = anatomy.labels[16, 16, 6:20] = 2
    return anatomy


def test_automatic_foci_go_where_the_target_is_and_not_by_its_tails(cube, device):
    anatomy = tailed(cube)
    settings = plan_settings(device, spacing_mm=4, plane_offsets_mm="auto")
    plan = plan_treatment(anatomy, settings)
    assert plan.spread_coverage >= 0.97 and plan.warnings == []
    target = anatomy.position(np.argwhere(anatomy.target_mask))
    again = coverage(target, plan.foci, np.eye(3), 2 * plan.focal_width_m, plan.focal_length_m)
    assert again == plan.spread_coverage
    index = np.rint(anatomy.index(plan.foci)).astype(int)
    assert anatomy.target_mask[tuple(index.T)].all()
    for left in range(len(plan.foci)):  # no focus is there for nothing
        fewer = np.delete(plan.foci, left, axis=0)
        if left >= len(plan.foci) - 3:
            assert coverage(target, fewer, np.eye(3), 2 * plan.focal_width_m,
                            plan.focal_length_m) < again


def test_foci_beside_what_no_focus_may_reach_are_as_many_as_help(cube, device):
    anatomy = tailed(cube)

    def planned(lateral, **foci):
        near = replace(device, max_lateral=lateral, travel=replace(device.travel, lateral=0.0))
        return plan_treatment(anatomy, plan_settings(near, standoff="auto", spacing_mm=3, **foci))

    plan = planned(0.008, plane_offsets_mm="auto")
    offset = plan.foci - plan.apex
    assert (np.hypot(offset[:, 0], offset[:, 1]) <= 0.008 + 1e-9).all()
    assert 0.5 <= plan.spread_coverage < 0.9
    assert any("steering, travel, the skin or obstacles" in text for text in plan.warnings)
    with pytest.raises(InputError, match=r"foci\.plane_offsets_mm = 'auto': heat reaches only "
                                         r"\d+% of the target.*steering"):
        planned(0.003, plane_offsets_mm="auto")
    own = planned(0.003, plane_offsets_mm=[0], max_left_out_fraction=1)  # asked for: a warning
    assert own.spread_coverage < 0.5 and "reach" in own.warnings[-1]


def test_foci_fill_a_large_target_as_far_as_it_is_worth(device):
    target = np.stack(np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij"), -1).reshape(-1, 3) * 1e-3
    asked = []

    def usable(focus):
        asked.append(focus)
        return focus[0] < 0.0105

    reached = target[:, 1] < 0.0105
    more = filling_foci(target, np.zeros((0, 3)), np.eye(3), 4e-3, 13e-3, reached, usable)
    assert (more[:, 0] < 0.0105).all() and (more[:, 1] < 0.0105).all() and len(more) < len(asked)
    part = (target[:, 0] < 0.0105) & reached
    assert coverage(target[part], more, np.eye(3), 4e-3, 13e-3) > 0.98
