"""Meshes: counts, volumes, tags, determinism; the fallback; what cannot be meshed."""

import meshio
import numpy as np
import pytest
from scipy import ndimage

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import OutOfTime
from hifuflow.meshes import search
from hifuflow.meshes.build import check_cells, mesh_anatomy
from hifuflow.meshes.facets import boundary_facets, unknowns_p2
from hifuflow.meshes.routes import SurfaceRoute
from hifuflow.meshes.settings import MeshSettings
from hifuflow.meshes.surfaces import SmoothMask, enclosed_volume
from hifuflow.numerics.tetrahedra import cell_quality, signed_volumes
from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")


@pytest.fixture
def in_this_process(monkeypatch):
    """Spares the start of a process for every attempt."""
    monkeypatch.setattr(search, "run_isolated", lambda fill, *arguments, cpu_seconds:
                        fill(*arguments))


def wanted(cells):
    return MeshSettings.read({**REFERENCE.section("mesh", "control"), "cells": cells})


def nested_balls(radius=30, inner=9, shift=0):
    """Body ball with water in front of its centre plane; target ball inside, spacing 2 mm."""
    n = radius + 6
    x, y, z = np.indices((n, n, n)) * 2.0 - n
    body = x**2 + y**2 + z**2 <= radius**2
    labels = body.astype(np.int16)
    labels[(x**2 + y**2 + (z + shift) ** 2 <= inner**2) & body] = 2
    volume = np.bincount(labels.ravel()) * 8e-9
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": volume[1]},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": volume[2]}}
    affine = np.diag([2e-3, 2e-3, 2e-3, 1.0])
    affine[:3, 3] = 0.05
    return Anatomy(labels, affine, regions, ["tumour"], ~body & (z < 0), np.array([0, 0, 1.0]), "")


def read(path):
    mesh = meshio.read(path)
    names = {int(tag): name for name, (tag, _) in mesh.field_data.items()}
    groups = {}
    for block, tags in zip(mesh.cells, mesh.cell_data["gmsh:physical"], strict=True):
        for tag in np.unique(tags):
            groups.setdefault((block.type, names[int(tag)]), []).append(block.data[tags == tag])
    return mesh.points, {key: np.concatenate(parts) for key, parts in groups.items()}


@pytest.fixture(scope="module")
def meshed(tmp_path_factory):
    path = tmp_path_factory.mktemp("mesh") / "control.msh"
    return mesh_anatomy(nested_balls(), None, wanted(2000), path), path


def test_the_free_back_is_skin_too(tmp_path):
    anatomy = nested_balls()
    anatomy.air = ~anatomy.body_mask & ~anatomy.coupling
    anatomy.air[:4] = False  # where the body goes on beyond x = -28 mm
    record = mesh_anatomy(anatomy, None, wanted(2000), tmp_path / "control.msh")
    area = record["surface_area_m2"]
    half, ring = 2 * np.pi * 0.03**2, 2 * np.pi * 0.03 * 0.001  # water begins at z = -1 mm
    assert area["water"] == pytest.approx(half - ring, rel=0.02)
    assert area["water"] + area["air"] + area["cut"] == pytest.approx(2 * half, rel=0.02)
    assert 0 < area["cut"] < 0.1 * half
    points, groups = read(tmp_path / "control.msh")
    sides = np.diff(points[groups["triangle", "skin"]], axis=1)
    skin = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2
    assert skin == pytest.approx(area["water"] + area["air"])


def check(record, path, anatomy):
    points, groups = read(path)
    assert {key for key in groups} == {("tetra", "fat"), ("tetra", "tumour"),
                                       ("triangle", "skin"), ("triangle", "cut")}
    cells = np.concatenate([groups["tetra", "fat"], groups["tetra", "tumour"]])
    assert len(cells) == record["n_cells"] and len(points) == record["n_vertices"]
    assert signed_volumes(points[cells]).min() > 0
    quality = cell_quality(points, cells)
    assert record["min_quality"] == pytest.approx(quality.min(), abs=1e-6) and quality.min() > 0.05
    for name, entry in record["regions"].items():
        volume = signed_volumes(points[groups["tetra", name]]).sum()
        assert volume == pytest.approx(entry["volume_m3"], rel=1e-6)
    facets = np.concatenate([groups["triangle", "skin"], groups["triangle", "cut"]])
    expected = np.sort(boundary_facets(cells), axis=1)
    assert {tuple(f) for f in np.sort(facets, axis=1)} == {tuple(f) for f in expected}
    assert record["n_unknowns_p2"] == unknowns_p2(cells)
    skin = points[groups["triangle", "skin"]].mean(axis=1) - anatomy.position(
        np.array(anatomy.labels.shape) / 2)
    assert (skin[:, 2] < 0.006).all()
    cut = points[groups["triangle", "cut"]].mean(axis=1)[:, 2] - anatomy.position(
        np.array(anatomy.labels.shape) / 2)[2]
    assert (cut > -0.006).all()
    return points


def test_counts_volumes_and_tags(meshed):
    record, path = meshed
    anatomy = nested_balls()
    check(record, path, anatomy)
    assert record["method"]["route"] == "surfaces"
    assert record["n_cells"] == pytest.approx(2000, rel=0.1)
    for entry, tolerance in ((record["regions"]["tumour"], 0.03), (record["regions"]["fat"], 0.01)):
        assert entry["volume_m3"] == pytest.approx(entry["label_volume_m3"], rel=tolerance)


def test_target_interface_follows_the_ball(meshed):
    points, groups = read(meshed[1])
    shared = np.intersect1d(groups["tetra", "fat"], groups["tetra", "tumour"])
    distance = np.linalg.norm(points[shared] - 0.086, axis=1)
    np.testing.assert_allclose(distance, 0.009, atol=0.001)


def test_same_input_same_mesh_in_any_process(meshed, tmp_path, in_this_process):
    mesh_anatomy(nested_balls(), None, wanted(2000), tmp_path / "again.msh")
    points, groups = read(meshed[1])
    again, groups_again = read(tmp_path / "again.msh")
    np.testing.assert_array_equal(points, again)
    for key, cells in groups.items():
        np.testing.assert_array_equal(cells, groups_again[key])


def test_target_at_the_skin_falls_back_to_voxels(tmp_path, in_this_process):
    anatomy = nested_balls(radius=20, shift=14)
    record = mesh_anatomy(anatomy, None, wanted(1500), tmp_path / "m.msh")
    check(record, tmp_path / "m.msh", anatomy)
    assert record["method"]["route"] == "voxels"
    assert "surface" in record["method"]["fallback_reason"]
    for entry in record["regions"].values():
        assert entry["volume_m3"] == pytest.approx(entry["label_volume_m3"], rel=0.05)


def test_failing_surfaces_fall_back_to_voxels(tmp_path, monkeypatch):
    def without_surfaces(fill, route, *arguments, cpu_seconds):
        if route.name == "surfaces":
            raise NumericalError("no parametrisation")
        return fill(route, *arguments)

    monkeypatch.setattr(search, "run_isolated", without_surfaces)
    record = mesh_anatomy(nested_balls(), None, wanted(1500), tmp_path / "m.msh")
    assert record["method"]["route"] == "voxels"
    assert record["method"]["fallback_reason"] == "surfaces: no parametrisation"
    assert record["n_cells"] == pytest.approx(1500, rel=0.1)


@pytest.mark.parametrize("cells", [10, 300, 10**8])
def test_impossible_counts_are_refused(cells, tmp_path):
    words = r"breast_reference\.yaml: mesh\.control\.cells.*from \d+ to \d+"
    with pytest.raises(InputError, match=words):
        mesh_anatomy(nested_balls(), None, wanted(cells), tmp_path / "m.msh")
    assert not list(tmp_path.iterdir())


def test_target_of_a_few_voxels_is_refused():
    anatomy = nested_balls(inner=0)
    assert anatomy.target_mask.sum() == 1
    with pytest.raises(InputError, match=r"target = '.*': the target is too small: 1 voxels"):
        check_cells(anatomy, None, wanted(5000))


def test_finer_cells_than_voxels_are_conceivable():
    # 163 voxels of 3 mm, as a small target in a coarse scan
    anatomy = build_anatomy(AnatomySettings.read(load_patient(
        ROOT / "tests" / "patients" / "breast_small.yaml").section("anatomy")))
    assert anatomy.spacing.min() == pytest.approx(0.003)
    _, sizes, _ = check_cells(anatomy, None, wanted(100_000))
    assert sizes.size(100_000) < anatomy.spacing.min() / 2


@pytest.mark.parametrize("target, body, count, cells, reached", [
    (1.04, 1, 1, 5000, True), (1.06, 1, 1, 5000, False), (1, 0.96, 1, 5000, False),
    (1, 1, 1.09, 5000, True), (1, 1, 1.12, 5000, False), (1.03, 1, 1, 16_500, False),
    (1.01, 1, 1, 16_500, True), (1.01, 1, 1, 200_000, False)])
def test_a_finer_mesh_must_be_closer(target, body, count, cells, reached):
    goals, ratio = search.goals_of(cells), np.array([count, target, body])
    attempt = search.Attempt(None, np.array([10.0, 16.0]), ratio)
    assert attempt.reaches(goals) == attempt.fits(goals) == reached
    for angles in ([7.0, 16.0], [10.0, 11.0]):
        assert not search.Attempt(None, np.array(angles), ratio).reaches(goals)
    assert search.Attempt(None, np.array([10.0, 14.0]), ratio).reaches(goals) == (
        reached and cells < 9_000)


@pytest.mark.parametrize("spoilt, words", [("cells", r"\d+ cells"), ("angle", "angle 0.0 degrees")])
def test_no_acceptable_mesh_is_an_error_that_tells_what_was_reached(spoilt, words, tmp_path,
                                                                    monkeypatch):
    anatomy, calls = nested_balls(), []
    domain, sizes, _ = check_cells(anatomy, None, wanted(5000))
    ball = SurfaceRoute(domain)(domain.volumes, sizes, sizes.size(5000))

    def always_this_one(fill, route, *_, cpu_seconds):
        calls.append(route.name)
        return ball

    monkeypatch.setattr(search, "run_isolated", always_this_one)
    monkeypatch.setattr(search, "polished", lambda points, cells, group: points)
    if spoilt == "angle":
        monkeypatch.setattr(search, "smallest_dihedral", lambda points, cells: np.zeros(3))
    cells = len(ball[1]) * (2 if spoilt == "cells" else 1)
    with pytest.raises(InputError, match=rf"mesh\.control\.cells = {cells}: .*{words}.*10 %"):
        mesh_anatomy(anatomy, None, wanted(cells), tmp_path / "m.msh")
    assert set(calls) == {"surfaces", "voxels", "stairs"}
    assert len(calls) == 3 * (search.ATTEMPTS if spoilt == "cells" else search.PATIENCE)
    assert not list(tmp_path.iterdir())


def test_a_hang_ends_a_route_and_is_recorded(tmp_path, monkeypatch):
    def stopped_once(fill, route, *arguments, cpu_seconds):
        if route.name == "surfaces":
            raise OutOfTime("was stopped at the limit of 600 s of CPU time")
        return fill(route, *arguments)

    monkeypatch.setattr(search, "run_isolated", stopped_once)
    record = mesh_anatomy(nested_balls(), None, wanted(1500), tmp_path / "m.msh")
    assert record["method"]["route"] == "voxels"
    assert "limit of 600 s" in record["method"]["fallback_reason"]
    first, *others = record["method"]["attempts"]
    assert first["by"] == "surfaces" and "limit of 600 s" in first["failure"]
    assert others and {attempt["by"] for attempt in others} == {"voxels"}


def test_quality_of_known_tetrahedra():
    regular = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    cell = np.array([[0, 1, 2, 3]])
    assert abs(cell_quality(regular, cell)[0]) == pytest.approx(1)
    # three right angles: r_in = 1 / (3 + sqrt(3)), r_circ = sqrt(3) / 2
    assert cell_quality(corner, cell)[0] == pytest.approx(6 / ((3 + 3**0.5) * 3**0.5))
    assert cell_quality(corner, cell[:, [0, 2, 1, 3]])[0] < 0
    assert signed_volumes(corner[cell])[0] == pytest.approx(1 / 6)
    assert unknowns_p2(cell) == 10 and unknowns_p2(boundary_facets(cell)) == 10


def test_iso_surface_encloses_the_asked_volume():
    x, y, z = np.indices((40, 40, 40)) - 19.5
    mask = x**2 + y**2 + z**2 <= 12**2
    mask[1, 1, 1] = True  # a speck is left out
    surface = SmoothMask(mask, [0, 0, 0], [1e-3] * 3, 14).surface(6e-6)
    assert enclosed_volume(*surface) == pytest.approx(6e-6, rel=0.005)
    points = surface[0]
    radius = np.linalg.norm(points - 0.0195, axis=1)
    np.testing.assert_allclose(radius, (6e-6 * 3 / (4 * np.pi)) ** (1 / 3), rtol=0.04)
    assert ndimage.label(mask)[1] == 2
