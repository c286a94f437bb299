"""The load: no power lost, and the integrals int q phi_i on large and on small cells."""

import numpy as np
import pytest
from box_patient import BOX, box_mesh, gaussian_heating
from dolfinx import fem
from scipy.spatial.transform import Rotation

from hifuflow.errors import InputError, NumericalError
from hifuflow.fem.heating_load import heating_load
from hifuflow.fem.point_evaluation import PointEvaluator
from hifuflow.numerics.cell_shares import subdivided_centroids
from hifuflow.numerics.quadratic import quadratic_shape_functions
from hifuflow.records.heating import Heating

TURNED = Rotation.from_euler("xyz", [25, -40, 70], degrees=True).as_matrix()


def evaluator_of(n: int) -> PointEvaluator:
    return PointEvaluator(fem.functionspace(box_mesh(n).domain, ("Lagrange", 2)))


@pytest.mark.parametrize("n", [3, 8, 20])
@pytest.mark.parametrize("rotation", [None, TURNED])
def test_no_power_is_lost(n, rotation):
    """From cells much larger than voxels to cells about as large."""
    heating = gaussian_heating(0.00075, 0.0015, rotation)
    load = heating_load(evaluator_of(n), heating)
    np.testing.assert_allclose(load.sum(axis=0), 0.5, rtol=1e-6)
    voxel_volume = np.linalg.det(heating.affine[:3, :3])
    np.testing.assert_allclose(load.sum(axis=0),
                               heating.q.sum(axis=(1, 2, 3), dtype=float) * voxel_volume,
                               rtol=1e-12)


def quadrature_load(evaluator, heating, width) -> np.ndarray:
    """int q phi_i with 12^3 samples per cell of the Gaussians themselves."""
    points = subdivided_centroids(12)
    shape = quadratic_shape_functions(points)
    edges = evaluator.vertices[:, 1:] - evaluator.vertices[:, :1]
    weight = np.abs(np.linalg.det(edges)) / 6 / len(points)
    load = np.zeros((evaluator.n_nodes, len(heating.foci)))
    centres = evaluator.vertices.mean(axis=1)
    reach = 6 * width + np.linalg.norm(edges, axis=2).max()
    for cell in np.flatnonzero(np.linalg.norm(centres - 0.5 * BOX, axis=1) < reach):
        vertices = evaluator.vertices[cell]
        distance = np.linalg.norm(points @ vertices - heating.foci[:, None], axis=2)
        q = np.exp(-0.5 * (distance / width) ** 2) * 0.5 / (2 * np.pi * width**2) ** 1.5
        load[evaluator.space.dofmap.list[cell]] += weight[cell] * (q @ shape).T
    return load


@pytest.mark.parametrize("spacing, width, n, error", [
    (0.00075, 0.0015, 6, 0.01),  # cells of 6.7 mm
    (0.00075, 0.0015, 10, 0.02),  # cells of 4 mm
    (0.0015, 0.003, 10, 0.02),  # voxels of the size of the cells' parts
])
def test_matches_quadrature_of_the_smooth_field(spacing, width, n, error):
    evaluator = evaluator_of(n)
    heating = gaussian_heating(spacing, width, TURNED)
    found = heating_load(evaluator, heating)
    expected = quadrature_load(evaluator, heating, width)
    assert np.abs(found - expected).sum() < error * np.abs(expected).sum()


def test_voxels_just_outside_are_kept_and_far_ones_dropped():
    evaluator = evaluator_of(4)
    affine = np.diag([0.001] * 3 + [1.0])
    affine[:3, 3] = [0.5 * BOX, 0.5 * BOX, -0.0025]
    q = np.zeros((1, 1, 1, 100), dtype=np.float32)
    q[0, 0, 0, 2:30] = 1e6  # the first 0.5 mm in front of the skin, the others inside
    load = heating_load(evaluator, Heating(q, affine, np.zeros((1, 3)), np.ones(1), np.ones(1),
                                           1e6, "test"))
    assert load.sum() == pytest.approx(28 * 1e6 * 1e-9, rel=1e-6)
    q[0, 0, 0, :2] = 1e6  # these two are 1.5 and 2.5 mm in front: 2 of 30 lost
    with pytest.raises(NumericalError, match=r"93\.3%"):
        heating_load(evaluator, Heating(q, affine, np.zeros((1, 3)), np.ones(1), np.ones(1),
                                        1e6, "test"))


def test_heating_read_slab_by_slab_gives_the_same_load(monkeypatch, tmp_path):
    evaluator, heating = evaluator_of(4), gaussian_heating(0.00075, 0.0015)
    whole = heating_load(evaluator, heating)
    heating.save(tmp_path / "heating.h5", "someone", "0")
    monkeypatch.setattr("hifuflow.fem.heating_load.READ_AT_ONCE", 1)
    monkeypatch.setattr("hifuflow.fem.heating_load.LEAST_PLANES", 5)
    with Heating.opened(tmp_path / "heating.h5") as stored:
        np.testing.assert_allclose(heating_load(evaluator, stored), whole, atol=1e-12)


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_heating_that_is_not_a_power_is_refused(value):
    heating = gaussian_heating(0.00075, 0.0015)
    heating.q[1, 3, 3, 3] = value
    with pytest.raises(InputError, match="absorbed power"):
        heating_load(evaluator_of(2), heating)


def test_a_focus_without_any_power_is_refused():
    heating = gaussian_heating(0.00075, 0.0015)
    heating.q[0] = 0
    with pytest.raises(InputError, match="absorbed power"):
        heating_load(evaluator_of(2), heating)
