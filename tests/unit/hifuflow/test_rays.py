"""Rays through a layered block: what blocks them, what they lose, where they leave the body."""

import numpy as np
import pytest

from hifuflow.numerics.rays import CUT, EDGE, trace
from hifuflow.numerics.sphere import cone, fibonacci_sphere
from hifuflow.settings import BeamTissue

TISSUES = {"soft": BeamTissue(10.0), "bone": BeamTissue(100.0, "bone"),
           "lung": BeamTissue(400.0, "lung")}
REGIONS = {"body": {"label": 1, "tissue": "soft"}, "rib": {"label": 2, "tissue": "bone"},
           "sternum": {"label": 3, "tissue": "bone"}, "lung": {"label": 4, "tissue": "lung"}}
AXES = np.vstack([np.eye(3), -np.eye(3)])


def block():
    """40 mm cube of soft tissue in air, 1 mm voxels; the origin of the rays is its middle."""
    labels = np.zeros((60, 60, 60), dtype=np.int16)
    labels[10:50, 10:50, 10:50] = 1
    return labels, np.diag([1e-3, 1e-3, 1e-3, 1.0]), np.full(3, 0.0295)


def follow(labels, affine, origin, **options):
    return trace(labels, affine, origin, AXES, REGIONS, TISSUES, 2e6, **options)


def names(rays):
    return [rays.names[i] for i in rays.blocked[0]]


def test_free_rays_lose_by_attenuation_up_to_the_skin():
    rays = follow(*block())
    assert set(names(rays)) == {""}
    np.testing.assert_allclose(rays.skin, 0.02, atol=1e-3)
    np.testing.assert_allclose(rays.loss, 10 * 2 * 0.02, atol=10 * 2 * 1e-3)
    assert rays.blocked_by(np.s_[:]) == {}


def test_obstacles_are_named_and_the_outermost_counts():
    labels, affine, origin = block()
    labels[35:38, 20:40, 20:40] = 4
    labels[40:43, 20:40, 20:40] = 2
    labels[20:40, 40:42, 20:40] = 3
    rays = follow(labels, affine, origin)
    assert names(rays) == ["rib (bone)", "sternum (bone)", "", "", "", ""]
    assert rays.blocked_by(np.s_[:]) == pytest.approx(
        {"rib (bone)": 1 / 6, "sternum (bone)": 1 / 6})


def test_the_bone_that_an_origin_lies_in_does_not_block_until_it_is_left():
    labels, affine, origin = block()
    labels[25:35, 25:35, 25:35] = 2
    labels[35:38, 25:35, 25:35] = 3  # other bone, but without a gap
    labels[25:35, 44:46, 25:35] = 3
    labels[25:35, 25:35, 35:40] = 4
    assert names(follow(labels, affine, origin)) == ["", "sternum (bone)", "lung (lung)", "", "",
                                                     ""]


def test_cuts_and_the_end_of_the_map_block():
    labels, affine, origin = block()
    labels[50:, 10:50, 10:50] = 1
    cut = np.zeros(labels.shape, dtype=bool)
    cut[:, 47:50] = True
    assert names(follow(labels, affine, origin, cut=cut)) == [EDGE, CUT, "", "", "", ""]


@pytest.mark.parametrize("voxel", [1e-4, 5e-4, 2e-3])
def test_a_plate_of_one_voxel_is_met_at_every_depth(voxel):
    labels = np.ones((61, 21, 21), dtype=np.int16)
    affine = np.diag([voxel, voxel, voxel, 1.0])
    origin = np.array([5.2, 10.3, 9.9]) * voxel
    slanted = np.array([[1, 0, 0], [0.97, 0.2, 0.1], [0.98, -0.1, 0.17]])
    slanted /= np.linalg.norm(slanted, axis=1, keepdims=True)
    for depth in range(7, 60):
        plate = labels.copy()
        plate[depth] = 2
        rays = trace(plate, affine, origin, slanted, REGIONS, TISSUES, 2e6)
        in_bone = voxel / slanted[:, 0]
        seen = np.abs(slanted[:, 1:] * (depth - 5.2) / slanted[:, :1]).max(axis=1) < 9
        expected = 20 * (rays.skin[0] - in_bone) + 200 * in_bone
        np.testing.assert_allclose(rays.loss[0, seen], expected[seen], rtol=1e-9)
        wall = np.zeros(plate.shape, dtype=bool)
        wall[-1] = True  # so that no ray ends inside the body, which would count first
        rays = trace(np.where(wall, 0, plate), affine, origin, slanted[:1], REGIONS, TISSUES, 2e6)
        assert names(rays) == ["rib (bone)"]


def test_losses_and_ends_are_those_of_fine_steps():
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, (14, 11, 17)).astype(np.int16)
    labels[6:8, 5:7, 8:10] = 1
    affine = np.diag([1e-3, 2e-3, 0.7e-3, 1.0])
    directions = fibonacci_sphere(200)
    origin = np.array([7e-3, 11e-3, 6e-3])
    rays = trace(labels, affine, origin, directions, REGIONS, TISSUES, 2e6)
    step = 2e-6
    distance = (np.arange(20_000) + 0.5) * step
    loss, body = np.array([0, 20, 200, 200]), []
    for number, direction in enumerate(directions):
        index = np.rint((origin + distance[:, None] * direction) / np.diag(affine)[:3]).astype(int)
        inside = ((index >= 0) & (index < labels.shape)).all(axis=1)
        label = labels[tuple(index[inside].T)]
        assert rays.loss[0, number] == pytest.approx(loss[label].sum() * step, abs=1.5e-3)
        body.append((np.flatnonzero(label).max() + 1) * step)
    np.testing.assert_allclose(rays.skin[0], body, atol=2 * step)


def test_directions_are_even_and_a_cone_holds_its_solid_angle():
    directions = fibonacci_sphere(4000)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=1e-3)
    part = cone([0.6, 0, 0.8], np.pi / 6, 4000)
    assert (part @ [-0.6, 0, -0.8] >= np.cos(np.pi / 6)).all()
    assert len(part) / 4000 == pytest.approx((1 - np.cos(np.pi / 6)) / 2, rel=0.02)


def test_attenuation_grows_with_the_tissues_own_power_of_frequency():
    assert BeamTissue(9.0, "", 1.5).attenuation_at(4e6) == pytest.approx(72)
    labels = np.zeros((3, 3, 12), int)
    labels[:, :, 2:12] = 1
    tissues = BeamTissue.read_all({"stuff": {"attenuation_np_m_mhz": 9,
                                             "attenuation_exponent": 1.5}})
    rays = trace(labels, np.diag([1e-3, 1e-3, 1e-3, 1]), [[1e-3, 1e-3, 8.5e-3]],
                 np.array([[0, 0, -1.0]]), {"all": {"label": 1, "tissue": "stuff"}}, tissues, 4e6)
    assert rays.loss[0, 0] == pytest.approx(72 * 7e-3)
