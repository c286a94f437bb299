"""Multigrid-preconditioned conjugate gradients against sparse Cholesky."""

import numpy as np
import pytest

from hifuflow.errors import NumericalError
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.reduction.low_rank import project, reachable_space, unit_capacity
from hifuflow.reduction.multigrid import MultigridSolver
from hifuflow.reduction.shifts import spectral_interval
from hifuflow.reduction.solvers import shifted_solver


@pytest.mark.parametrize("shifts", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.01)])
def test_solutions_agree_also_for_dependent_and_zero_columns(cube, shifts):
    e, k, b, _ = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    right = np.column_stack([b, b[:, 0], np.zeros(len(b)), 1e-9 * b[:, 1]])
    for columns in (right, right[:, 0]):
        expected = ShiftedSolver(e, k).factor(*shifts).solve(columns)
        found = MultigridSolver(e, k).factor(*shifts).solve(columns)
        np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


def test_reachable_space_is_the_same(cube):
    e, k, b, c = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    static = []
    for kind in ("direct", "iterative"):
        solver = shifted_solver(e, k, kind)
        space = reachable_space(e, solver, b, spectral_interval(e, k, solver), 1e-8)
        modal = project(k, b, c, space.basis)
        static.append(modal.outputs @ (modal.inputs / modal.rates[:, None]))
    np.testing.assert_allclose(*static, rtol=1e-6, atol=1e-7 * np.abs(static[0]).max())


def test_indefinite_matrix_is_refused(cube):
    e, k, b, _ = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    with pytest.raises(NumericalError, match="not positive definite"):
        MultigridSolver(e, k).factor(1.0, -0.02).solve(b)
    with pytest.raises(NumericalError, match="not positive definite"):
        MultigridSolver(e, k).factor(-1.0, 0.0)


def test_automatic_choice_goes_by_memory(cube, monkeypatch):
    assert isinstance(shifted_solver(cube.E, cube.K, "auto"), ShiftedSolver)
    monkeypatch.setattr("hifuflow.reduction.solvers.free_memory", lambda: 1e5)
    assert isinstance(shifted_solver(cube.E, cube.K, "auto"), MultigridSolver)
