"""Means over voxels: exact for quadratics, and what ever finer sampling tends to for the rest."""

import numpy as np
import pytest
import ufl
from box_patient import BOX, box_mesh
from dolfinx import fem

from hifuflow.fem.point_evaluation import PointEvaluator
from hifuflow.fem.voxel_means import voxel_means


@pytest.fixture(scope="module")
def evaluator():
    """Irregular cells, none with a face between voxels."""
    domain = box_mesh(3).domain
    x = domain.geometry.x
    inner = ((x > 1e-9) & (x < BOX - 1e-9)).all(axis=1)
    x[inner] += np.random.default_rng(3).uniform(-0.002, 0.002, (inner.sum(), 3))
    return PointEvaluator(fem.functionspace(domain, ("Lagrange", 2)))


def grid(spacing, first):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = first
    return affine


def numbered(shape, some):
    number = np.full(shape, -1)
    number[tuple(np.transpose(some))] = np.arange(len(some))
    return number


def test_quadratic_polynomials_are_exact(evaluator):
    """Mean over a box with edges h: the centre's value, and h_i^2 / 24 times each u_ii."""
    spacing = np.array([0.0031, 0.0017, 0.0043])
    affine = grid(spacing, [0.0021, 0.0052, 0.0027])
    some = np.argwhere(np.random.default_rng(4).random((12, 20, 8)) < 0.05)
    centre = some * spacing + affine[:3, 3]
    some = some[((centre - spacing / 2 > 0) & (centre + spacing / 2 < BOX)).all(axis=1)]
    centre = some * spacing + affine[:3, 3]
    means = voxel_means(evaluator, affine, numbered((12, 20, 8), some))

    def quadratic(x):
        x = x / BOX
        return 1 + 2 * x[:, 0] - x[:, 1] * x[:, 2] + 3 * x[:, 0] ** 2 - 4 * x[:, 2] ** 2

    nodes = evaluator.space.tabulate_dof_coordinates()
    expected = quadratic(centre) + np.array([6, 0, -8]) @ (spacing / BOX) ** 2 / 24
    assert len(some) > 50
    np.testing.assert_allclose(means @ quadratic(nodes), expected, rtol=0, atol=1e-14)


def test_voxels_add_up_to_the_mesh(evaluator):
    """sum_v |v| mean_v of every shape function is its integral, by the form compiler."""
    edge, n = BOX / 7, 7
    means = voxel_means(evaluator, grid([edge] * 3, [edge / 2] * 3),
                        np.arange(n**3).reshape(n, n, n))
    integral = fem.assemble_vector(fem.form(ufl.TestFunction(evaluator.space) * ufl.dx)).array
    np.testing.assert_allclose(edge**3 * means.sum(axis=0), integral, rtol=0,
                               atol=1e-13 * integral.max())


def test_finer_sampling_tends_to_the_mean_of_any_function(evaluator):
    edge, some = 0.004, np.argwhere(np.ones((2, 2, 2)))
    affine = grid([edge] * 3, [0.0157, 0.0181, 0.0169])
    values = np.random.default_rng(5).standard_normal(evaluator.n_nodes)
    exact = voxel_means(evaluator, affine, numbered((2, 2, 2), some)) @ values
    errors = []
    for parts in (2, 4, 8, 16):
        offset = ((np.indices([parts] * 3).reshape(3, -1).T + 0.5) / parts - 0.5) * edge
        points = (some * edge + affine[:3, 3])[:, None] + offset
        sampled = evaluator.interpolation(evaluator.locate(points.reshape(-1, 3))) @ values
        errors.append(np.sqrt(((sampled.reshape(8, -1).mean(axis=1) - exact) ** 2).mean()))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates.min() > 1.4 and errors[-1] < 3e-3  # of values near 1; kinks between cells


def test_groups_count_what_lies_in_the_mesh(evaluator):
    """One voxel sticks out by a half, one is outside, and two make up a group."""
    number = np.full((4, 1, 1), -1)
    number[[0, 1, 2, 3], 0, 0] = [0, 1, 2, 2]
    affine = grid([0.004] * 3, [-0.004, 0.02, 0.02])  # centres at -4, 0, 4 and 8 mm
    means = voxel_means(evaluator, affine, number)
    x = evaluator.space.tabulate_dof_coordinates()[:, 0]
    np.testing.assert_allclose(means @ x, [0, 0.001, 0.006], atol=1e-15)
    np.testing.assert_allclose(means.sum(axis=1), [0, 1, 1])
