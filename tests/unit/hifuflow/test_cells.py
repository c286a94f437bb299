"""Stiffness, losses and interpolation of quadratic cells against scikit-fem."""

from dataclasses import replace

import numpy as np
import pytest
import skfem
from skfem.helpers import dot, grad

from hifuflow.numerics.quadratic import QUADRATIC_EDGES
from hifuflow.records.cells import Cells

SIDE = 0.03


@pytest.fixture(scope="module")
def basis():
    """Quadratic tetrahedra on a cube whose inner vertices are moved at random."""
    mesh = skfem.MeshTet.init_tensor(*3 * [np.linspace(0, SIDE, 4)])
    inner = ((mesh.p > 1e-9) & (mesh.p < SIDE - 1e-9)).all(axis=0)
    moved = mesh.p.copy()
    moved[:, inner] += np.random.default_rng(0).uniform(-0.002, 0.002, (3, inner.sum()))
    return skfem.Basis(skfem.MeshTet(moved, mesh.t), skfem.ElementTetP2(), intorder=4)


@pytest.fixture(scope="module")
def cells(basis):
    """The same as `Cells`: nodes by their places, in the order of its own edges."""
    random = np.random.default_rng(1)
    vertices = basis.mesh.p.T[basis.mesh.t.T]
    middles = vertices[:, QUADRATIC_EDGES].mean(axis=2)
    places = np.concatenate([vertices, middles], axis=1)
    places_of_dofs = {tuple(place): dof for dof, place in enumerate(basis.doflocs.T.round(9))}
    nodes = [[places_of_dofs[tuple(place)] for place in cell] for cell in places.round(9)]
    share = random.random((len(vertices), 3))
    return Cells(np.array(nodes, dtype=np.int32), vertices, ["fat", "skin", "tumour"],
                 share / share.sum(axis=1, keepdims=True), random.random(3), random.random(3),
                 np.zeros(0), 37.0)


@pytest.fixture(scope="module")
def tissue(cells):
    """Conductivity [W/m/K] and perfusion [W/m3/K] of each cell."""
    random = np.random.default_rng(2)
    return random.uniform(0.2, 0.6, len(cells.nodes)), random.uniform(0, 5000, len(cells.nodes))


def by_scikit_fem(basis, conductivity, perfusion):
    """The assembled matrix, with one value of both properties in each cell."""
    form = skfem.BilinearForm(lambda u, v, w: w.k * dot(grad(u), grad(v)) + w.p * u * v)
    one = skfem.Basis(basis.mesh, skfem.ElementTetP0(), intorder=4)
    return form.assemble(basis, k=one.interpolate(conductivity), p=one.interpolate(perfusion))


def test_stiffness_is_that_of_scikit_fem(basis, cells, tissue):
    expected = by_scikit_fem(basis, *tissue)
    found = cells.stiffness(*tissue)
    assert found.shape == (cells.n_nodes, cells.n_nodes) == expected.shape
    assert abs(found - expected).max() < 1e-12 * abs(expected).max()


def test_losses_are_those_of_scikit_fem(basis, cells, tissue):
    temperature = np.random.default_rng(3).uniform(37, 60, cells.n_nodes)
    expected = by_scikit_fem(basis, *tissue) @ temperature
    found = cells.losses(temperature, *tissue)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_conduction_of_a_regular_cell_is_in_closed_form():
    """Of the corner tetrahedron with legs of 6 mm: its corner functions alone are linear's."""
    corner = 6e-3 * np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    one = Cells(np.arange(10)[None], corner[None], ["fat"], np.ones((1, 1)), np.ones(1),
                np.ones(1), np.zeros(0), 37.0)
    assert one.volume == pytest.approx([6e-3 ** 3 / 6])
    # A linear field x has the energy integral of |grad x|^2 = volume, and of x y z ... none.
    x = np.concatenate([corner, corner[QUADRATIC_EDGES].mean(axis=1)])
    energy = x.T @ one.conduction[0] @ x
    np.testing.assert_allclose(energy, one.volume[0] * np.eye(3), atol=1e-20)


def test_volumes_fill_the_cube_whichever_way_round_the_corners_are(cells):
    assert cells.volume.sum() == pytest.approx(SIDE**3, rel=1e-12)
    turned = replace(cells, vertices=cells.vertices[:, [1, 0, 2, 3]])
    np.testing.assert_allclose(turned.volume, cells.volume)
    assert (turned.volume > 0).all()


def test_interpolation_is_that_of_scikit_fem(basis, cells):
    points = np.random.default_rng(4).uniform(0.0005, SIDE - 0.0005, (300, 3))
    matrix = cells.interpolation(points)
    assert matrix.shape == (300, cells.n_nodes)
    expected = basis.probes(points.T)
    assert abs(matrix - expected).max() < 1e-9
    values = np.random.default_rng(5).random(cells.n_nodes)
    np.testing.assert_allclose(matrix @ values, expected @ values, atol=1e-9)


def test_interpolation_at_nodes_is_their_value(basis, cells):
    found = cells.interpolation(basis.doflocs.T)
    assert abs(found - np.eye(cells.n_nodes)).max() < 1e-9


def test_interpolation_outside_is_at_a_close_point(cells):
    """Beyond one face its barycentric coordinate counts as zero; the others keep their ratio."""
    corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    one = Cells(np.arange(10)[None], corner[None], ["fat"], np.ones((1, 1)), np.ones(1),
                np.ones(1), np.zeros(0), 37.0)
    found = one.interpolation(np.array([[-0.1, 0.2, 0.3]]))
    expected = one.interpolation(np.array([[0.0, 0.2, 0.3]]) / 1.1)
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-12)
    linear = np.concatenate([corner, corner[QUADRATIC_EDGES].mean(axis=1)])
    np.testing.assert_allclose(found @ linear, [[0, 0.2 / 1.1, 0.3 / 1.1]], atol=1e-12)
    # Outside of a whole mesh the close point lies in it.
    far = cells.interpolation(np.array([[-0.001, 0.01, 0.02], [0.01, SIDE + 0.002, 0.02]]))
    np.testing.assert_allclose(far.sum(axis=1), 1)


def test_shares_of_nodes_are_means_over_the_cells_around(cells):
    total, volume = np.zeros((cells.n_nodes, 3)), np.zeros(cells.n_nodes)
    for nodes, share, size in zip(cells.nodes, cells.share, cells.volume, strict=True):
        for node in nodes:
            total[node] += size * share
            volume[node] += size
    np.testing.assert_allclose(cells.node_shares, total / volume[:, None])
