"""Low-rank ADI and the projection against dense Gramians, Slycot and eigenvalues."""

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp
import slycot

from hifuflow.errors import NumericalError
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.reduction.balance import balanced_truncation
from hifuflow.reduction.low_rank import orthonormal_part, project, reachable_space, unit_capacity
from hifuflow.reduction.shifts import REPEATS, spectral_interval


def reach(model, tolerance=1e-12):
    e, k, b, c = unit_capacity(model.E, model.K, model.B, model.C)
    solver = ShiftedSolver(e, k)
    space = reachable_space(e, solver, b, spectral_interval(e, k, solver), tolerance)
    return (e, k, b, c), space


def test_scaling_keeps_the_transfer_function(cube):
    e, k, b, c = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    np.testing.assert_allclose(e.diagonal(), 1)
    static = cube.C @ np.linalg.solve(cube.K.toarray(), cube.B)
    np.testing.assert_allclose(c @ np.linalg.solve(k.toarray(), b), static, rtol=1e-9)


def test_basis_is_orthonormal_and_holds_the_gramian(cube):
    (e, k, b, _), space = reach(cube)
    v = space.basis
    np.testing.assert_allclose(v.T @ (e @ v), np.eye(v.shape[1]), atol=1e-13)
    # The Gramian of the whole model, by a dense solver, seen from the basis.
    lower = la.cholesky(e.toarray(), lower=True)
    a = -la.solve_triangular(lower, la.solve_triangular(lower, k.toarray(), lower=True).T,
                             lower=True)
    scaled = la.solve_triangular(lower, b, lower=True)
    gramian = la.solve_continuous_lyapunov(a, -scaled @ scaled.T)
    inside = lower.T @ v
    outside = gramian - inside @ (inside.T @ gramian)
    assert v.shape[1] < 0.5 * len(gramian)
    assert np.linalg.norm(outside, 2) < 1e-10 * np.linalg.norm(gramian, 2)


def test_threads_do_not_change_the_basis(cube):
    e, k, b, _ = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    solver = ShiftedSolver(e, k)
    interval = spectral_interval(e, k, solver)
    one, two = (reachable_space(e, solver, b, interval, 1e-8, threads).basis
                for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_residual_is_the_lyapunov_residual(cube):
    (e, k, b, _), space = reach(cube, tolerance=1e-4)
    e, k = e.toarray(), k.toarray()
    rest, factor = b, []
    for shift in np.repeat(space.shifts, REPEATS):
        block = np.linalg.solve(k + shift * e, rest)
        rest = rest - 2 * shift * e @ block
        factor.append(np.sqrt(2 * shift) * block)
    z = np.hstack(factor)
    left = b @ b.T - k @ z @ (z.T @ e) - e @ z @ (z.T @ k)
    np.testing.assert_allclose(space.residual[-1],
                               np.linalg.norm(left, 2) / np.linalg.norm(b, 2) ** 2, rtol=1e-6)
    assert space.residual[-1] <= 1e-4


@pytest.mark.parametrize(("tolerance", "level"), [(1e-12, 1e-6), (1e-16, 1e-8)])
def test_hankel_values_agree_with_dense_slycot(fine_cube, tolerance, level):
    (_, k, b, c), space = reach(fine_cube, tolerance)
    modal = project(k, b, c, space.basis)
    reduced = balanced_truncation(np.diag(-modal.rates), modal.inputs, modal.outputs)
    rates, modes = la.eigh(fine_cube.K.toarray(), fine_cube.E.toarray())
    n, m, p = len(rates), modal.inputs.shape[1], len(modal.outputs)
    expected = slycot.ab09ax("C", "B", n, m, p, np.diag(-rates), modes.T @ fine_cube.B,
                             fine_cube.C @ modes)[4]
    large = expected > level * expected[0]
    assert large.sum() > 40
    np.testing.assert_allclose(reduced.hsv[: large.sum()], expected[large], rtol=1e-6)


def test_projection_is_stable_for_any_basis(cube):
    e, k, b, c = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    rates = la.eigh(k.toarray(), e.toarray(), eigvals_only=True)
    random = np.random.default_rng(3).standard_normal((len(b), 30))
    modal = project(k, b, c, orthonormal_part(random, e @ random, np.zeros((len(b), 0)), e, 0.0))
    assert rates[0] <= modal.rates[0] and modal.rates[-1] <= rates[-1]
    np.testing.assert_allclose(modal.basis.T @ (e @ modal.basis), np.eye(30), atol=1e-12)


def test_dependent_directions_are_dropped(cube):
    e, _, b, _ = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    basis = orthonormal_part(b, e @ b, np.zeros((len(b), 0)), e, 1e-11 * np.linalg.norm(b, 2))
    assert basis.shape[1] == b.shape[1]
    block = np.hstack([b, b @ np.ones((5, 2))])
    twice = orthonormal_part(block, e @ block, basis[:, :3], e, 1e-11 * np.linalg.norm(b, 2))
    assert twice.shape[1] == b.shape[1] - 3


def test_blocks_that_add_nothing_or_are_wider_than_the_model_is_large(cube):
    e, _, b, _ = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    basis = orthonormal_part(b, e @ b, np.zeros((len(b), 0)), e, 1e-11)
    assert orthonormal_part(b, e @ b, basis, e, 1e-8).shape == (len(b), 0)
    wide, unit = np.random.default_rng(0).standard_normal((3, 7)), sp.csr_array(np.eye(3))
    assert orthonormal_part(wide, wide, np.zeros((3, 0)), unit, 1e-11).shape == (3, 3)


def test_shifts_for_the_wrong_spectrum_are_noticed(cube):
    e, k, b, _ = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    with pytest.raises(NumericalError, match=r"relative residual of .* 1e-12 was asked for"):
        reachable_space(e, ShiftedSolver(e, k), b, (1e-6, 1e-5), 1e-12)
