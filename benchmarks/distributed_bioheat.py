"""The bioheat equation on any number of MPI ranks, for models too large for direct solvers.

    E x' = -K x + b,  x = 0 on held nodes,

with matrices that stay distributed. Time steps are Alexander's, second order and L-stable:

    (E + g h K) X = E x + g h b,   (E + g h K) x+ = E (x + (1 - g) / g (X - x)) + g h b,

g = 1 - sqrt(1/2), solved by conjugate gradients. A step of seconds over cells of millimetres
leaves E in charge, so that the diagonal is preconditioner enough; a steady state needs algebraic
multigrid (PETSc's GAMG). Source: R. Alexander, SIAM J. Numer. Anal. 14 (1977) 1006-1021.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix
from petsc4py import PETSc

from hifuflow.controller.patient.responsive_plant import GAMMA
from hifuflow.errors import NumericalError
from hifuflow.fem.jit import compile_form
from hifuflow.fem.pennes import bioheat_forms
from hifuflow.fem.properties import CellProperties


class DistributedBioheat:
    """Matrices on the ranks of the mesh's communicator, and a stepper.

    Parameters
    ----------
    space : quadratic Lagrange space.
    properties : of the cells of this rank, ghosts included.
    held : nodes of this rank, ghosts included, where x = 0.
    tolerance : of the residual, relative to the right-hand side.

    Attributes
    ----------
    E, K : PETSc matrices [J/K], [W/K]; rows and columns of held nodes are those of 0 and 1.
    """

    def __init__(self, space, properties: CellProperties, held: np.ndarray,
                 tolerance: float = 1e-8):
        self.space, self._tolerance = space, tolerance
        condition = fem.dirichletbc(PETSc.ScalarType(0), held, space)
        self.E, self.K = (
            assemble_matrix(compile_form(form), bcs=[condition], diag=diagonal)
            for form, diagonal in zip(bioheat_forms(space, properties), (0.0, 1.0), strict=True))
        for matrix in (self.E, self.K):
            matrix.assemble()
        self._held = held[held < space.dofmap.index_map.size_local]
        self._step = self._solver = None
        self.iterations = 0

    def stored(self, state: np.ndarray) -> np.ndarray:
        """E x of the nodes that this rank owns [J]."""
        before, found = self.E.createVecs()
        before.array[:] = state
        self.E.mult(before, found)
        return found.array.copy()

    def steady(self, load: np.ndarray) -> np.ndarray:
        """x of K x = load; both of the nodes that this rank owns [W], [K]."""
        solver = self._conjugate_gradients(self.K, "gamg")
        right, found = self.K.createVecs()
        self._fill(right, load)
        self._solve(solver, right, found)
        solver.destroy()
        return found.array.copy()

    def advance(self, state: np.ndarray, load: np.ndarray, step: float) -> np.ndarray:
        """x after a time step [s] from `state` under a constant load; of this rank's nodes."""
        if step != self._step:
            shifted = self.K.copy()
            shifted.scale(GAMMA * step)
            shifted.axpy(1.0, self.E, structure=PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
            self._solver, self._step = self._conjugate_gradients(shifted, "jacobi"), step
        before, right = self.K.createVecs()
        after = before.duplicate()
        for part in range(2):
            before.array[:] = state if part == 0 else (
                state + (1 - GAMMA) / GAMMA * (after.array - state))
            self.E.mult(before, right)
            self._fill(right, right.array + GAMMA * step * load)
            before.copy(after)  # the start of the iteration
            self._solve(self._solver, right, after)
        return after.array.copy()

    def _fill(self, vector, values: np.ndarray) -> None:
        vector.array[:] = values
        vector.array[self._held] = 0.0

    def _conjugate_gradients(self, matrix, preconditioner: str):
        solver = PETSc.KSP().create(matrix.comm)
        solver.setOperators(matrix)
        solver.setType("cg")
        solver.getPC().setType(preconditioner)
        solver.setTolerances(rtol=self._tolerance, atol=0.0, max_it=500)
        solver.setInitialGuessNonzero(preconditioner == "jacobi")
        return solver

    def _solve(self, solver, right, found) -> None:
        solver.solve(right, found)
        self.iterations += solver.getIterationNumber()
        if solver.getConvergedReason() < 0:
            raise NumericalError(f"conjugate gradients stopped after "
                                 f"{solver.getIterationNumber()} iterations (PETSc's reason "
                                 f"{solver.getConvergedReason()})")


def gathered_matrix(space, matrix) -> tuple[np.ndarray, sp.csr_array] | None:
    """Coordinates of all nodes (n, 3) [m] in their own order, x first, and the matrix in that
    order, on rank 0; the order does not depend on how the mesh was divided."""
    coordinates, order = _ordered_nodes(space)
    indptr, columns, values = matrix.getValuesCSR()
    first, _ = matrix.getOwnershipRange()
    rows = first + np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    parts = space.mesh.comm.gather((rows, columns, values), root=0)
    if parts is None:
        return None
    rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    place = np.argsort(order)
    whole = sp.csr_array(sp.coo_array((values, (place[rows], place[columns]))))
    return coordinates[order], whole


def gathered_values(space, values: np.ndarray) -> np.ndarray | None:
    """(n,) values of all nodes in the order of `gathered_matrix`, on rank 0."""
    _, order = _ordered_nodes(space)
    parts = space.mesh.comm.gather(values, root=0)
    return None if parts is None else np.concatenate(parts)[order]


def _ordered_nodes(space):
    """All nodes in the ranks' numbering (n, 3), and their order by coordinates; on rank 0."""
    own = space.tabulate_dof_coordinates()[:space.dofmap.index_map.size_local]
    parts = space.mesh.comm.gather(own, root=0)
    if parts is None:
        return None, None
    coordinates = np.concatenate(parts)
    return coordinates, np.lexsort(np.round(coordinates, 9).T[::-1])
