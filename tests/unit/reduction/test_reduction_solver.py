"""Sparse Cholesky solves against dense ones, and its refusal of indefinite matrices."""

import numpy as np
import pytest

from hifuflow.errors import NumericalError
from reduction.solver import ShiftedSolver


def test_factors_solve_real_and_complex_systems(cube):
    solver = ShiftedSolver(cube.E, cube.K)
    random = np.random.default_rng(0)
    for stiffness, capacity in ((1.0, 0.0), (0.0, 1.0), (1.0, 0.3)):
        matrix = (stiffness * cube.K + capacity * cube.E).toarray()
        solver.factor(stiffness, capacity)
        for shape in (len(matrix), (len(matrix), 3)):
            right = random.standard_normal(shape) + 1j * random.standard_normal(shape)
            expected = np.linalg.solve(matrix, right)
            np.testing.assert_allclose(solver.solve(right.real), expected.real, rtol=1e-9,
                                       atol=1e-12 * abs(expected).max())
            np.testing.assert_allclose(solver.solve(right), expected, rtol=1e-9,
                                       atol=1e-12 * abs(expected).max())


def test_indefinite_matrix_is_refused_with_the_shift(cube):
    solver = ShiftedSolver(cube.E, cube.K)
    with pytest.raises(NumericalError, match=r"1 K \+ -5 E is not positive definite"):
        solver.factor(1.0, -5.0)
