"""Sparse Cholesky solves against dense ones, and its refusal of indefinite matrices."""

from types import SimpleNamespace

import numpy as np
import pytest
import skfem
from skfem.models.poisson import laplace, mass

from hifuflow.errors import NumericalError
from hifuflow.numerics.cholesky import ShiftedSolver


@pytest.fixture(scope="module")
def cube():
    """E and K of quadratic tetrahedra on a cube held at its faces: 125 unknowns."""
    basis = skfem.Basis(skfem.MeshTet.init_tensor(*3 * [np.linspace(0, 1, 4)]),
                        skfem.ElementTetP2())
    rest = basis.complement_dofs(basis.get_dofs())
    return SimpleNamespace(E=mass.assemble(basis)[rest][:, rest],
                           K=laplace.assemble(basis)[rest][:, rest])


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


def test_gram_matrix_takes_half_a_solve(cube):
    solver = ShiftedSolver(cube.E, cube.K).factor(1.0, 0.3)
    right = np.random.default_rng(1).standard_normal((cube.K.shape[0], 4))
    np.testing.assert_allclose(solver.gram(right), right.T @ solver.solve(right), rtol=1e-10)


def test_indefinite_matrix_is_refused_with_the_shift(cube):
    solver = ShiftedSolver(cube.E, cube.K)
    with pytest.raises(NumericalError, match=r"1 K \+ -50 E is not positive definite"):
        solver.factor(1.0, -50.0)  # the smallest rate is 3 pi^2
