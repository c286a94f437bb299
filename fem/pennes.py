"""The Pennes bioheat equation in quadratic finite elements.

    rho c dT/dt = div(k grad T) - W c_b (T - T_a) + Q

E_ij = int rho c phi_i phi_j,
K_ij = int k grad phi_i . grad phi_j + W c_b phi_i phi_j + surface int h phi_i phi_j.

A surface has a prescribed temperature (its unknowns are eliminated), gives off heat to water or
air, -k dT/dn = h (T - T_e) (convective), or is insulated (h = 0).
Source: H. H. Pennes, J. Appl. Physiol. 1, 93 (1948).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import ufl
from dolfinx import fem, la
from dolfinx import mesh as dmesh
from petsc4py import PETSc

from hifuflow.errors import NumericalError
from hifuflow.records.mesh_groups import SURFACES

from . import MPI
from .jit import compile_form
from .mesh_input import TissueMesh
from .properties import CellProperties
from .settings import BoundarySettings

DEGREE = 2  # of the Lagrange elements


@dataclass
class Bioheat:
    """The assembled bioheat equation: matrices on all nodes, free nodes and baseline.

    Attributes
    ----------
    space : quadratic Lagrange space.
    E, K : (n, n) CSR [J/K], [W/K], symmetric, before elimination.
    free : (n_free,) nodes that are unknowns.
    arterial : temperature of the arterial blood [degC].
    above_arterial : (n,) steady temperature without ultrasound, relative to the arterial [K].
    """

    space: fem.FunctionSpace
    E: sp.csr_array
    K: sp.csr_array
    free: np.ndarray
    arterial: float
    above_arterial: np.ndarray

    def baseline(self, interpolation=None) -> np.ndarray:
        """Steady temperature without ultrasound [degC].

        At all nodes (n,), or (p,) where a matrix (p, n) interpolates. It is exactly the arterial
        temperature where nothing differs from that.
        """
        above = self.above_arterial
        return self.arterial + (above if interpolation is None else interpolation @ above)


def assemble_bioheat(mesh: TissueMesh, properties: CellProperties, boundary: BoundarySettings,
                     comm=MPI.COMM_SELF) -> Bioheat:
    """Assemble E and K, eliminate prescribed temperatures and solve for the baseline.

    Parameters
    ----------
    mesh : the tetrahedra and their surfaces.  properties : (n_cells,) coefficients.
    boundary : conditions at the surfaces, and the arterial temperature T_a.

    Other Parameters
    ----------------
    comm : ranks that share the factorisations. All have the whole mesh and get the whole result.

    Raises
    ------
    InputError : a condition on a surface that the mesh lacks, or no condition or perfusion that
        fixes the temperature.
    NumericalError : E or K is not positive definite.
    """
    space = fem.functionspace(mesh.domain, ("Lagrange", DEGREE))
    arterial, prescribed, cooled = boundary.arterial, {}, {}
    for name, surface in boundary.surfaces.items():
        if not len(mesh.facets[name]):
            raise boundary.written.error(f"the mesh has no surface '{name}'", name,
                                         allowed="insulated")
        (prescribed if surface.coefficient is None else cooled)[name] = surface
    if not prescribed and not cooled and not np.any(properties.perfusion > 0):
        raise boundary.written.error(
            "nothing fixes the temperature: every surface is insulated and there is no perfusion",
            allowed="a surface with temperature_c")
    E, K = assemble_matrices(space, properties)
    source = np.zeros(E.shape[0])
    for name, surface in cooled.items():
        loss = surface.coefficient * surface_matrix(space, mesh.facets[name])
        K = _symmetric(K + loss)
        source += loss.sum(axis=1) * (surface.temperature - arterial)
    fixed, temperature = _fixed_nodes(space, mesh, prescribed)
    free = np.setdiff1d(np.arange(E.shape[0]), fixed)
    check_positive_definite("E", E[free][:, free], comm=comm)
    # K 1 is the perfusion source per degree, so T - T_a obeys the equation without that source.
    above_arterial = np.zeros(E.shape[0])
    above_arterial[fixed] = temperature - arterial
    source -= K @ above_arterial
    solution = check_positive_definite("K", K[free][:, free], source[free], comm)
    if np.any(source):
        above_arterial[free] = solution
    return Bioheat(space, E, K, free, arterial, above_arterial)


def assemble_matrices(space, properties: CellProperties) -> tuple[sp.csr_array, sp.csr_array]:
    """E [J/K] and K [W/K] on all nodes, exactly symmetric, without surfaces; on one process.

    Both have the same sparsity pattern, which is computed once.
    """
    forms = [compile_form(form) for form in bioheat_forms(space, properties)]
    pattern = fem.create_sparsity_pattern(forms[0])
    pattern.finalize()
    matrices = [fem.assemble_matrix(la.matrix_csr(pattern), form) for form in forms]
    columns, starts = matrices[0].indices, matrices[0].indptr
    # Place of each entry's mirror image: the mean of both is exactly symmetric.
    mirror = sp.csr_array((np.arange(len(columns)), columns, starts)).tocsc().data
    return tuple(sp.csr_array(((matrix.data + matrix.data[mirror]) / 2, columns, starts))
                 for matrix in matrices)


def bioheat_forms(space, properties: CellProperties) -> tuple:
    """The bilinear forms of E and K in UFL, without surfaces."""
    constants = fem.functionspace(space.mesh, ("Discontinuous Lagrange", 0))

    def per_cell(values):
        function = fem.Function(constants)
        function.x.array[constants.dofmap.list[:, 0]] = values
        return function

    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    capacity, conductivity, perfusion = (per_cell(values) for values in (
        properties.heat_capacity, properties.conductivity, properties.perfusion))
    storage = capacity * u * v * ufl.dx
    # As separate terms, each has its own quadrature: of degree 2, and of degree 4.
    conduction = conductivity * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
    return storage, conduction + perfusion * u * v * ufl.dx


def surface_matrix(space, facets: np.ndarray) -> sp.csr_array:
    """(n, n) matrix of int phi_i phi_j over boundary facets [m2]."""
    tags = dmesh.meshtags(space.mesh, 2, np.sort(facets), np.ones(len(facets), dtype=np.int32))
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    form = compile_form(u * v * ufl.Measure("ds", space.mesh, subdomain_data=tags)(1))
    return _symmetric(sp.csr_array(fem.assemble_matrix(form).to_scipy()))


def _symmetric(matrix) -> sp.csr_array:
    """The symmetric part of a matrix, free of the round-off that the order of assembly leaves."""
    result = sp.csr_array((matrix + matrix.T) * 0.5)
    result.sort_indices()
    return result


def _fixed_nodes(space, mesh: TissueMesh, prescribed: dict) -> tuple[np.ndarray, np.ndarray]:
    """Eliminated nodes, ascending, and their temperatures [degC].

    Nodes on both surfaces take the skin's temperature.
    """
    temperature = np.full(space.dofmap.index_map.size_local, np.nan)
    for name in reversed(SURFACES):
        if name in prescribed:
            nodes = fem.locate_dofs_topological(space, 2, mesh.facets[name])
            temperature[nodes] = prescribed[name].temperature
    fixed = np.flatnonzero(~np.isnan(temperature))
    return fixed, temperature[fixed]


def check_positive_definite(name: str, matrix: sp.csr_array, rhs=None,
                            comm=MPI.COMM_SELF) -> np.ndarray | None:
    """Factorise a symmetric matrix (MUMPS, L D L^T), check its inertia and solve for `rhs`.

    All ranks of `comm` have the whole matrix and get the whole solution. They share the factor,
    which takes most of the memory and the time.

    Returns
    -------
    (n,) solution; None without `rhs` (n,).

    Raises
    ------
    NumericalError : a pivot is negative or zero.
    """
    matrix = sp.csr_array(matrix)
    n = matrix.shape[0]
    first, last = n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size
    rows = matrix[first:last]
    A = PETSc.Mat().createAIJ(((last - first, n), (last - first, n)), comm=comm, csr=(
        rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data))
    A.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    solver = PETSc.KSP().create(comm)
    solver.setOperators(A)
    solver.setType("preonly")
    factorisation = solver.getPC()
    factorisation.setType("cholesky")
    factorisation.setFactorSolverType("mumps")
    factorisation.setFactorSetUpSolverType()
    factorisation.getFactorMatrix().setMumpsIcntl(24, 1)  # count null pivots
    factorisation.getFactorMatrix().setMumpsIcntl(13, 1)  # no ScaLAPACK, which does not count them
    try:
        solver.setUp()
        negative, zero, _ = factorisation.getFactorMatrix().getInertia()
        if negative or zero:
            raise NumericalError(f"{name} is not positive definite: of {n} pivots {negative} are "
                                 f"negative and {zero} are zero")
        return None if rhs is None else np.concatenate(
            comm.allgather(_solve(solver, A, rhs[first:last])))
    finally:
        solver.destroy()
        A.destroy()


def _solve(solver, A, rhs: np.ndarray) -> np.ndarray:
    b, x = A.createVecs()
    b.array[:] = rhs
    solver.solve(b, x)
    solution = x.array.copy()
    b.destroy()
    x.destroy()
    return solution
