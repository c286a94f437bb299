"""Interpolation at points: exact for quadratics, and the same as DOLFINx's own evaluation."""

import numpy as np
import pytest
from box_patient import BOX, box_mesh
from dolfinx import fem

from hifuflow.fem.point_evaluation import PointEvaluator, closest_point_on_triangle


def quadratic(x):
    return 1 + 2 * x[0] - x[1] + 3 * x[2] ** 2 / BOX - 5 * x[0] * x[1] / BOX + x[1] * x[2] / BOX


@pytest.fixture
def evaluator():
    return PointEvaluator(fem.functionspace(box_mesh(4).domain, ("Lagrange", 2)))


@pytest.fixture
def points():
    return BOX * np.random.default_rng(1).random((2000, 3))


def test_quadratic_polynomials_are_exact(evaluator, points):
    function = fem.Function(evaluator.space)
    function.interpolate(quadratic)
    located = evaluator.locate(points)
    values = evaluator.interpolation(located) @ function.x.array
    assert np.all(located.distance == 0)
    np.testing.assert_allclose(values, quadratic(points.T), rtol=0, atol=1e-14)


def test_agrees_with_dolfinx_evaluation_of_any_function(evaluator, points):
    function = fem.Function(evaluator.space)
    function.x.array[:] = np.random.default_rng(2).standard_normal(evaluator.n_nodes)
    located = evaluator.locate(points)
    expected = function.eval(points, located.cell)[:, 0]
    np.testing.assert_allclose(evaluator.interpolation(located) @ function.x.array, expected,
                               atol=1e-12)


def test_nodes_and_corners_are_found(evaluator):
    nodes = evaluator.space.tabulate_dof_coordinates()
    located = evaluator.locate(nodes)
    assert np.all(located.distance == 0)
    identity = evaluator.interpolation(located).toarray()
    np.testing.assert_allclose(identity, np.eye(evaluator.n_nodes), atol=1e-9)


@pytest.mark.parametrize("point, closest", [
    ((-0.003, 0.5 * BOX, 0.3 * BOX), (0, 0.5 * BOX, 0.3 * BOX)),
    ((0.6 * BOX, BOX + 0.002, -0.001), (0.6 * BOX, BOX, 0)),
    ((BOX + 0.001, BOX + 0.001, BOX + 0.001), (BOX, BOX, BOX)),
])
def test_points_outside_take_the_closest_point(evaluator, point, closest):
    function = fem.Function(evaluator.space)
    function.interpolate(quadratic)
    located = evaluator.locate(np.array([point]))
    distance = np.linalg.norm(np.subtract(point, closest))
    np.testing.assert_allclose(located.distance, distance, rtol=1e-9)
    value = evaluator.interpolation(located) @ function.x.array
    np.testing.assert_allclose(value, quadratic(np.array(closest)), atol=1e-13)


def test_no_points_give_an_empty_matrix(evaluator):
    located = evaluator.locate(np.empty((0, 3)))
    assert evaluator.interpolation(located).shape == (0, evaluator.n_nodes)


def test_closest_point_on_triangle_beats_a_fine_sampling():
    rng = np.random.default_rng(3)
    triangles, points = rng.random((50, 3, 3)), 2 * rng.random((50, 3)) - 0.5
    u, v = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    keep = u + v <= 1
    weights = np.stack([1 - u[keep] - v[keep], u[keep], v[keep]], axis=1)
    sampled = np.einsum("sw,nwx->nsx", weights, triangles)
    expected = np.linalg.norm(sampled - points[:, None], axis=2).min(axis=1)
    found = np.linalg.norm(closest_point_on_triangle(points, triangles) - points, axis=1)
    assert np.all(found <= expected + 1e-12)
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.all(expected - found < 1e-2)
