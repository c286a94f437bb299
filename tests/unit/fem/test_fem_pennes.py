"""Matrices and baseline against integrals known exactly, closed forms and scikit-fem."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla
import skfem
from box_patient import BOX, SETTINGS, box_mesh
from dolfinx import fem
from skfem.helpers import dot, grad

from hifuflow.errors import InputError, NumericalError
from hifuflow.fem.jit import compile_form
from hifuflow.fem.pennes import (
    assemble_bioheat,
    assemble_matrices,
    bioheat_forms,
    check_positive_definite,
)
from hifuflow.fem.properties import CellProperties
from hifuflow.fem.settings import BoundarySettings
from hifuflow.settings import Written

RHO_C, K, W = 3.4e6, 0.5, 2000.0


def uniform(mesh, conductivity=K, perfusion=W) -> CellProperties:
    n = len(mesh.cell_vertices)
    return CellProperties(np.full(n, RHO_C), np.full(n, conductivity), np.full(n, perfusion))


def random_properties(mesh) -> CellProperties:
    rng = np.random.default_rng(0)
    return CellProperties(*(value * rng.uniform(0.5, 2, len(mesh.cell_vertices))
                            for value in (RHO_C, K, W)))


def boundary(skin, cut="insulated", arterial=37.0):
    return BoundarySettings.read(Written("anna.yaml", "boundary", {
        "skin": skin, "cut": cut, "arterial_temperature_c": arterial}))


def test_sums_are_the_integrals_of_the_coefficients():
    mesh = box_mesh(3)
    properties = random_properties(mesh)
    bioheat = assemble_bioheat(mesh, properties, boundary("insulated"))
    cell = BOX**3 / len(mesh.cell_vertices)
    assert bioheat.E.sum() == pytest.approx(cell * properties.heat_capacity.sum(), rel=1e-12)
    # Every surface insulated: only perfusion takes heat from a uniform temperature.
    assert bioheat.K.sum() == pytest.approx(cell * properties.perfusion.sum(), rel=1e-12)
    assert len(bioheat.free) == bioheat.E.shape[0]


def test_matrices_are_exactly_symmetric():
    mesh = box_mesh(3)
    for matrix in assemble_matrices(fem.functionspace(mesh.domain, ("Lagrange", 2)),
                                    random_properties(mesh)):
        assert abs(matrix - matrix.T).max() == 0


def test_matrices_are_those_of_the_forms():
    mesh = box_mesh(3)
    space, properties = fem.functionspace(mesh.domain, ("Lagrange", 2)), random_properties(mesh)
    for matrix, form in zip(assemble_matrices(space, properties),
                            bioheat_forms(space, properties), strict=True):
        by_quadrature = fem.assemble_matrix(compile_form(form)).to_scipy()
        assert abs(matrix - by_quadrature).max() < 1e-13 * abs(matrix).max()


def test_matrices_agree_with_scikit_fem():
    mesh = box_mesh(3)
    properties = random_properties(mesh)
    space = fem.functionspace(mesh.domain, ("Lagrange", 2))
    E, K_matrix = assemble_matrices(space, properties)
    cells = mesh.domain.geometry.dofmaps[0]
    other = skfem.MeshTet(mesh.domain.geometry.x.T.copy(), cells.T.astype(np.int64), sort_t=False)
    basis = skfem.Basis(other, skfem.ElementTetP2(), intorder=4)

    @skfem.BilinearForm
    def storage(u, v, w):
        return w.rho_c * u * v

    @skfem.BilinearForm
    def loss(u, v, w):
        return w.k * dot(grad(u), grad(v)) + w.w * u * v

    def at_points(values):
        return np.tile(values[:, None], (1, basis.X.shape[1]))

    theirs = (storage.assemble(basis, rho_c=at_points(properties.heat_capacity)),
              loss.assemble(basis, k=at_points(properties.conductivity),
                            w=at_points(properties.perfusion)))

    def ordered(coordinates):
        return np.lexsort(np.round(coordinates / BOX, 9).T)

    mine, other_order = ordered(space.tabulate_dof_coordinates()), ordered(basis.doflocs.T)
    for ours, their in zip((E, K_matrix), theirs, strict=True):
        difference = ours[mine][:, mine] - their.tocsr()[other_order][:, other_order]
        assert abs(difference).max() < 1e-10 * abs(ours).max()


def test_a_uniform_patient_has_exactly_the_arterial_temperature():
    mesh = box_mesh(2)
    assert np.all(assemble_bioheat(mesh, uniform(mesh), SETTINGS.boundary).baseline() == 37.0)
    assert np.all(assemble_bioheat(mesh, uniform(mesh), boundary("insulated")).baseline() == 37.0)


def test_cooled_skin_matches_the_closed_form():
    """T = T_a + (T_s - T_a) cosh(m (L - z)) / cosh(m L) with m^2 = W c_b / k."""
    mesh = box_mesh(8)
    bioheat = assemble_bioheat(mesh, uniform(mesh), boundary({"temperature_c": 15.0}))
    z = bioheat.space.tabulate_dof_coordinates()[:, 2]
    m = np.sqrt(W / K)
    expected = 37 - 22 * np.cosh(m * (BOX - z)) / np.cosh(m * BOX)
    assert abs(bioheat.baseline() - expected).max() < 5e-4 * 22
    assert np.all(bioheat.baseline()[z == 0] == 15.0)
    assert not np.any(z[bioheat.free] == 0)


def test_uniformly_heated_slab_matches_the_closed_form():
    """x = q / (W c_b) (1 - cosh(m (L - z)) / cosh(m L))."""
    mesh, q = box_mesh(8), 5e4
    bioheat = assemble_bioheat(mesh, uniform(mesh), SETTINGS.boundary)
    free = bioheat.free
    load = bioheat.E[free].sum(axis=1) * q / RHO_C  # int q phi_i, as rho c is uniform
    x = spla.spsolve(bioheat.K[free][:, free].tocsc(), load)
    z = bioheat.space.tabulate_dof_coordinates()[free, 2]
    m = np.sqrt(W / K)
    expected = q / W * (1 - np.cosh(m * (BOX - z)) / np.cosh(m * BOX))
    assert abs(x - expected).max() < 5e-4 * expected.max()


def test_convective_slab_matches_the_closed_form():
    """Water at T_e in front of the skin, h (T - T_e) = k T': T = T_a - A cosh(m (L - z)) with
    A = h (T_a - T_e) / (h cosh(m L) + k m sinh(m L)); held skin is its limit for large h."""
    mesh, h, water = box_mesh(8), 60.0, 15.0
    bioheat = assemble_bioheat(mesh, uniform(mesh), boundary(
        {"temperature_c": water, "coefficient_w_m2_k": h}))
    z = bioheat.space.tabulate_dof_coordinates()[:, 2]
    m = np.sqrt(W / K)
    amplitude = h * (37 - water) / (h * np.cosh(m * BOX) + K * m * np.sinh(m * BOX))
    expected = 37 - amplitude * np.cosh(m * (BOX - z))
    assert abs(bioheat.baseline() - expected).max() < 5e-4 * (37 - expected.min())
    assert expected.min() < 30 and len(bioheat.free) == len(z)
    assert abs(bioheat.K - bioheat.K.T).max() == 0


def test_a_convective_surface_at_body_temperature_leaves_the_baseline_alone():
    mesh = box_mesh(2)
    water = {"temperature_c": 37.0, "coefficient_w_m2_k": 500.0}
    bioheat = assemble_bioheat(mesh, uniform(mesh, perfusion=0.0), boundary(water))
    assert np.all(bioheat.baseline() == 37.0)
    # Insulated but for the skin, without perfusion: all heat leaves through h times its area.
    assert bioheat.K.sum() == pytest.approx(500 * BOX**2, rel=1e-12)


def test_where_held_surfaces_meet_the_skin_rules():
    mesh = box_mesh(2)
    bioheat = assemble_bioheat(mesh, uniform(mesh),
                               boundary({"temperature_c": 20.0}, {"temperature_c": 38.0}))
    z = bioheat.space.tabulate_dof_coordinates()[:, 2]
    assert np.all(bioheat.baseline()[z == 0] == 20.0)
    assert np.all(bioheat.baseline()[np.isclose(z, BOX)] == 38.0)


def test_holding_a_surface_that_the_mesh_has_not_is_refused():
    mesh = box_mesh(1)
    mesh.facets["cut"] = mesh.facets["cut"][:0]
    with pytest.raises(InputError, match="no surface 'cut'") as caught:
        assemble_bioheat(mesh, uniform(mesh), boundary("insulated", {"temperature_c": 37}))
    assert caught.value.file == "anna.yaml" and caught.value.key == "boundary.cut"
    assert caught.value.value == {"temperature_c": 37}


def test_a_patient_that_nothing_cools_is_refused():
    mesh = box_mesh(1)
    with pytest.raises(InputError, match="nothing fixes the temperature"):
        assemble_bioheat(mesh, uniform(mesh, perfusion=0.0), boundary("insulated"))


def test_indefinite_and_singular_matrices_are_refused():
    mesh = box_mesh(2)
    space = fem.functionspace(mesh.domain, ("Lagrange", 2))
    E, singular = assemble_matrices(space, uniform(mesh, perfusion=0.0))
    check_positive_definite("E", E)
    for matrix in (singular, singular - E * 1e-3):
        with pytest.raises(NumericalError, match="not positive definite"):
            check_positive_definite("K", matrix)
