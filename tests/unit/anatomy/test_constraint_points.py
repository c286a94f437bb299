"""Constraint points: on the ellipsoid, evenly spread, at their distance from the target."""

import re

import numpy as np
import pytest

from hifuflow.anatomy.constraint_surfaces import evenly, target_corners
from hifuflow.anatomy.constraints import place_constraints
from hifuflow.anatomy.ellipsoid import (
    clearance_ellipsoid,
    distance_to_ellipsoid,
    minimum_volume_ellipsoid,
)
from hifuflow.anatomy.settings import ConstraintSettings
from hifuflow.errors import InputError
from hifuflow.numerics.sphere import fibonacci_sphere
from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
CONFIG = REFERENCE.section("constraints")  # 209 points, 9 mm away, 43 degC


def with_constraints(*changes):
    """The configuration with constraints that differ so from the reference one."""
    return {**CONFIG, "constraints": [{**CONFIG["constraints"][0], **change}
                                      for change in changes]}


def placed(anatomy, config):
    return place_constraints(anatomy, ConstraintSettings.read(config))


def ball_in_block(size=60, radius=10):
    index = np.indices((size,) * 3) - size // 2
    labels = np.ones((size,) * 3, np.int16)
    labels[(index**2).sum(axis=0) <= radius**2] = 2
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 1.0},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": 1.0}}
    return Anatomy(labels, np.diag([1e-3, 1e-3, 1e-3, 1]), regions, ["tumour"],
                   np.zeros(labels.shape, bool), np.array([0, 0, 1.0]), "")


def test_points_lie_on_the_surface_and_are_even():
    result = placed(ball_in_block(), CONFIG)
    positions, surface = np.array(result["position_m"]), result["surface"]
    local = (positions - surface["centre_m"]) @ np.array(surface["rotation"])
    np.testing.assert_allclose(((local / surface["semi_axes_m"]) ** 2).sum(axis=1), 1, rtol=1e-6)
    assert positions.shape == (209, 3) and result["limit_c"] == [43.0] * 209
    assert surface["evenness"] > 0.8
    # the ball's corners reach a little past 10 mm: 9 mm further out is the surface
    np.testing.assert_allclose(surface["semi_axes_m"], 0.0198, atol=0.0005)
    area_per_point = 4 * np.pi * np.mean(surface["semi_axes_m"]) ** 2 / 209
    nearest = np.sort(np.linalg.norm(positions[:, None] - positions, axis=2))[:, 1]
    # hexagonal packing of that density, (2 area / sqrt(3))^(1/2), is the most a plane allows
    hexagonal = np.sqrt(2 * area_per_point / np.sqrt(3))
    assert 0.88 * hexagonal < nearest.mean() < hexagonal


def test_every_target_corner_keeps_its_clearance():
    anatomy = ball_in_block()
    anatomy.labels[20:25, 28:31, 28:42] = 2
    result = placed(anatomy, CONFIG)
    surface = result["surface"]
    corners = (target_corners(anatomy) - surface["centre_m"]) @ np.array(surface["rotation"])
    distance = distance_to_ellipsoid(corners, np.array(surface["semi_axes_m"]))
    assert distance.min() == pytest.approx(0.009, abs=1e-6)


def test_smallest_ellipsoid_is_found():
    # an ellipsoid's own points give that ellipsoid back
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    axes, centre = np.array([3.0, 2.0, 1.0]), np.array([5.0, -1.0, 2.0])
    points = centre + fibonacci_sphere(400) * axes @ rotation.T
    found, shape = minimum_volume_ellipsoid(points)
    np.testing.assert_allclose(found, centre, atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.linalg.eigvalsh(shape))[::-1], axes, rtol=0.01)
    # a cube's is the ball through its corners
    cube = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), -1).reshape(-1, 3)
    np.testing.assert_allclose(clearance_ellipsoid(cube, 0.5)[1], np.sqrt(3) + 0.5, rtol=0.015)


def test_distance_to_ellipsoid_against_brute_force():
    axes = np.array([3.0, 2.0, 1.0])
    surface = fibonacci_sphere(400_000) * axes
    points = np.array([[0, 0, 0], [1, 0, 0], [0.3, 0.5, 0.2], [2.0, 0.5, -0.3], [0, 0, 0.9]])
    brute = [np.linalg.norm(surface - p, axis=1).min() for p in points]
    np.testing.assert_allclose(distance_to_ellipsoid(points, axes), brute, atol=2e-3)


def test_points_outside_of_the_body_are_refused():
    words = r"constraints\.clearance_mm = 25: \d+ of 209 constraint points lie outside of the body"
    anatomy = ball_in_block()
    anatomy.labels[:2], anatomy.labels[-2:] = 0, 0
    anatomy.labels[:, :2], anatomy.labels[:, -2:] = 0, 0
    anatomy.labels[:, :, :2], anatomy.labels[:, :, -2:] = 0, 0
    with pytest.raises(InputError, match=words) as caught:
        placed(anatomy, with_constraints({"clearance_mm": 25}))
    assert caught.value.file == CONFIG["file"]
    assert "within 18.0 mm of the body's surface" in str(caught.value)
    assert "crop_margin_mm" not in str(caught.value)
    named = re.search(r"or at most ([\d.]+) mm", str(caught.value)).group(1)
    points = placed(anatomy, with_constraints({"clearance_mm": float(named)}))["position_m"]
    assert len(points) == 209 and float(named) > 15  # the fit is to be found, and near the skin


def test_a_crop_that_is_too_tight_is_named():
    with pytest.raises(InputError, match=r"clearance_mm = 25.*anatomy\.crop_margin_mm"):
        placed(ball_in_block(), with_constraints({"clearance_mm": 25}))


def test_target_at_the_skin_is_told():
    anatomy = ball_in_block()
    anatomy.labels[:, :, :20] = 0
    with pytest.raises(InputError, match="touches the body's surface, so that no clearance fits"):
        placed(anatomy, with_constraints({"clearance_mm": 9}))


def skin_and_bone():
    """A ball of target, 1 mm voxels; water in front of z = 5, a slab of bone behind z = 50."""
    anatomy = ball_in_block()
    anatomy.labels[:, :, :5] = 0
    anatomy.labels[:, :, 50:55] = 3
    anatomy.labels[:, :, 58:] = 0
    anatomy.coupling[:, :, :5] = True
    anatomy.regions["bone"] = {"label": 3, "tissue": "bone", "volume_m3": 1.0}
    return anatomy


def test_points_at_a_distance_from_the_target():
    result = placed(ball_in_block(), with_constraints(
        {"surface": "distance", "clearance_mm": 6, "name": "near"}))
    points = np.array(result["position_m"])
    assert len(points) == 209
    voxels = np.argwhere(ball_in_block().target_mask) * 1e-3
    for point in points[::10]:
        gap = np.linalg.norm(np.maximum(np.abs(point - voxels) - 0.5e-3, 0), axis=1).min()
        assert gap == pytest.approx(6e-3, abs=1e-4)
    assert result["surfaces"][0]["evenness"] > 0.6
    np.testing.assert_allclose(np.linalg.norm(points - 0.03, axis=1), 0.0164, atol=0.001)


@pytest.mark.parametrize("change, place", [
    ({"surface": "region", "region": "bone", "name": "bone"}, lambda z: round(z) in (50, 54)),
    ({"surface": "skin", "depth_mm": 4}, lambda z: abs(z - 8.5) <= 0.5),
    ({"surface": "cut", "depth_mm": 2}, lambda z: abs(z - 55.5) <= 0.5),
    ({"surface": "near_field", "depth_mm": 10}, lambda z: abs(z - 14.5) <= 0.5)])
def test_points_lie_on_their_surface(change, place):
    config = {**with_constraints({"reach_mm": 40, **change}),
              "device": {"aperture_m": 0.05, "radius_of_curvature_m": 0.05}}
    points = np.array(placed(skin_and_bone(), config)["position_m"]) * 1e3
    assert len(points) == 209
    assert all(place(z) for z in points[:, 2])
    distance = np.linalg.norm(points - 30, axis=1)
    assert distance.max() <= 40 + 10
    if change["surface"] == "near_field":
        # 30 degrees around the axis, from 15.5 mm deeper, plus the target's radius
        beside = np.linalg.norm(points[:, :2] - 30, axis=1)
        assert 10 < beside.max() < 10.9 + 25 * np.tan(np.pi / 6)


def test_every_point_carries_its_constraint():
    result = placed(skin_and_bone(), with_constraints(
        {"name": "shell", "points": 30},
        {"surface": "region", "region": "bone", "name": "bone", "points": 20, "limit_c": 41.0,
         "dose_limit_cem43_min": 5.0, "soft": True}))
    assert result["name"] == ["shell"] * 30 + ["bone"] * 20
    assert result["limit_c"] == [43.0] * 30 + [41.0] * 20
    assert result["dose_limit_cem43_min"] == [None] * 30 + [5.0] * 20
    assert result["soft"] == [False] * 30 + [True] * 20
    assert [surface["n_points"] for surface in result["surfaces"]] == [30, 20]
    assert result["surface"]["kind"] == "ellipsoid"


def test_a_surface_out_of_reach_is_told():
    with pytest.raises(InputError, match=r"constraints\.reach_mm = 5"):
        placed(skin_and_bone(), with_constraints(
            {"surface": "region", "region": "bone", "reach_mm": 5}))


def test_points_are_picked_evenly():
    line = np.column_stack([np.linspace(0, 1, 101), np.zeros((101, 2))])
    np.testing.assert_allclose(np.sort(evenly(line, 5)[:, 0]), [0, 0.25, 0.5, 0.75, 1], atol=0.01)
    assert len(evenly(line[:3], 5)) == 3


def under_a_flat_skin(gap):
    """A ball of target, radius 10 mm, `gap` voxels of fat between it and water before z = 20."""
    anatomy = ball_in_block()
    surface = 20 - gap
    anatomy.labels[:, :, :surface] = 0
    anatomy.coupling[:, :, :surface] = True
    return anatomy, (surface - 0.5) * 1e-3


@pytest.mark.parametrize("surface", ["ellipsoid", "distance"])
@pytest.mark.parametrize("gap", [0, 3, 6])
def test_the_default_follows_the_body(surface, gap, caplog):
    anatomy, skin = under_a_flat_skin(gap)
    result = placed(anatomy, with_constraints({"surface": surface}))
    points, moved = np.array(result["position_m"]), result["surface"]["moved"]
    index = np.rint(anatomy.index(points)).astype(int)
    assert (anatomy.labels[tuple(index.T)] == 1).all()  # in the body, and never in the target
    assert moved["skin"] > 5 and moved["cut"] == moved["edge"] == 0
    assert result["notes"] and result["notes"][0] in caplog.text
    assert f"{moved['skin']} under the skin" in result["notes"][0]
    brought = points[points[:, 2] < skin + 4e-3]
    above = brought[np.linalg.norm(brought[:, :2] - 0.03, axis=1) < 3e-3]  # straight over it
    if gap > 0:  # 2 mm beneath the skin, or halfway to the target where that is nearer
        np.testing.assert_allclose(above[:, 2] - skin, min(2, gap / 2) * 1e-3, atol=0.75e-3)
        assert len(above)
    else:
        assert not len(above) and moved["dropped"] > 0
    rest = placed(ball_in_block(), with_constraints({"surface": surface}))["position_m"]
    deep = np.array(rest)[:, 2] > skin + 3e-3  # what has room stays where it was
    assert {tuple(p) for p in np.array(rest)[deep]} <= {tuple(p) for p in points}


def test_a_deep_target_moves_no_point():
    result = placed(ball_in_block(), CONFIG)
    assert result["notes"] == [] and not any(result["surface"]["moved"].values())
    explicit = placed(ball_in_block(), with_constraints({"clearance_mm": 9}))
    np.testing.assert_array_equal(result["position_m"], explicit["position_m"])


@pytest.mark.parametrize("surface", ["skin", "near_field"])
def test_no_point_lies_in_a_sheet_that_no_mesh_holds(surface):
    anatomy, _ = under_a_flat_skin(5)
    anatomy.labels[:, 44:] = 0
    anatomy.coupling[:, 44:] = True
    anatomy.labels[:, 44:, 30:32] = 1  # a fin, 2 mm thick
    anatomy.coupling[:, 44:, 30:32] = False
    config = {**with_constraints({"surface": surface, "depth_mm": 0}),
              "device": {"aperture_m": 0.12, "radius_of_curvature_m": 0.1}}
    points = np.array(placed(anatomy, config)["position_m"])
    assert len(points) == 209 and points[:, 1].max() < 46e-3


def test_the_alternatives_that_a_refusal_names_work():
    anatomy, _ = under_a_flat_skin(3)
    with pytest.raises(InputError, match="outside of the body") as caught:
        placed(anatomy, with_constraints({"clearance_mm": 9}))
    text = str(caught.value)
    assert "auto, which follows the body's surface" in text
    assert "another constraints.surface (near_field, skin, region)" in text
    device = {"aperture_m": 0.12, "radius_of_curvature_m": 0.1}
    for change in ({"clearance_mm": "auto"}, {"surface": "near_field"}, {"surface": "skin"}):
        config = {**with_constraints(change), "device": device}
        assert len(placed(anatomy, config)["position_m"]) > 100
    buried = ball_in_block()  # no skin, no water: neither is offered
    with pytest.raises(InputError) as caught:
        placed(buried, with_constraints({"clearance_mm": 25}))
    assert "near_field" not in str(caught.value) and "skin" not in str(caught.value)
