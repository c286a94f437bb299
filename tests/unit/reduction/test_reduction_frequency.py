"""Errors over frequency and over a treatment, against exact solutions and dense algebra."""

import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.reduction.balance import Balanced, balanced_truncation
from hifuflow.reduction.frequency import (
    frequency_sweep,
    largest_eigenvalue,
    projection_bound,
    projection_errors,
)
from hifuflow.reduction.low_rank import (
    ModalModel,
    orthonormal_part,
    project,
    reachable_space,
    unit_capacity,
)
from hifuflow.reduction.replay import (
    full_stepper,
    reduced_stepper,
    replay_error,
    replayed,
    switching_treatment,
)
from hifuflow.reduction.shifts import spectral_interval


@pytest.fixture
def parts(cube):
    """Scaled matrices, solver, and a coarse projection whose error can be seen."""
    e, k, b, c = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    solver = ShiftedSolver(e, k)
    block = np.hstack([solver.factor(1.0, shift).solve(b) for shift in (0.003, 0.03)])
    basis = orthonormal_part(block, e @ block, np.zeros((len(b), 0)), e, 0.0)
    return e, k, b, c, solver, project(k, b, c, basis)


def transfer(e, k, b, c, frequency):
    return c @ np.linalg.solve(k.toarray() + 1j * frequency * e.toarray(), b)


@pytest.mark.parametrize("frequencies", [[0.0, 1e-3, 3e-2, 1.0], [1e-3, 3e-3], [0.03, 0.1, 1.0]])
def test_projection_errors_hold_and_are_close(parts, frequencies):
    e, k, b, c, solver, modal = parts
    bounds = projection_errors(e, k, solver, b, c, modal, np.array(frequencies))
    for frequency, bound in zip(frequencies, bounds, strict=True):
        seen = modal.outputs @ (modal.inputs / (1j * frequency + modal.rates)[:, None])
        exact = np.linalg.norm(transfer(e, k, b, c, frequency) - seen, 2)
        assert exact <= bound < 100 * exact


def test_lanczos_is_not_below_the_largest_eigenvalue():
    random = np.random.default_rng(4).standard_normal((40, 60))
    for size in (1, 5, 40):
        matrix = random[:size] @ random[:size].T
        true = np.linalg.eigvalsh(matrix)[-1]
        found = largest_eigenvalue(lambda y, matrix=matrix: matrix @ y, size)
        assert true * (1 - 1e-12) <= found < 1.11 * true


def test_sweep_adds_both_errors_up(parts):
    e, k, b, c, solver, modal = parts
    reduced = balanced_truncation(np.diag(-modal.rates), modal.inputs, modal.outputs,
                                  6)
    frequencies = np.array([0.0, 0.003, 0.05])
    lost = projection_errors(e, k, solver, b, c, modal, frequencies)
    sweep = frequency_sweep(modal, reduced, frequencies, lost)
    assert sweep.slowest == pytest.approx(la.eigvals(reduced.A).real.max(), rel=1e-12)
    full = [transfer(e, k, b, c, w) for w in frequencies]
    small = [reduced.C @ np.linalg.solve(1j * w * np.eye(6) - reduced.A, reduced.B)
             for w in frequencies]
    gain = np.array([np.linalg.norm(g, 2) for g in full])
    error = np.array([np.linalg.norm(g - s, 2) for g, s in zip(full, small, strict=True)])
    assert (gain * (1 - 1e-12) <= sweep.gain).all()
    assert (sweep.gain <= gain + 2 * sweep.projection).all()
    # Never below the true error, and no further above it than the projection's part.
    assert (error <= sweep.error * (1 + 1e-9)).all()
    assert (sweep.error <= error + 2 * sweep.projection).all()


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_bound_on_the_projection_holds_at_every_frequency(cube, tolerance):
    e, k, b, c = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    solver = ShiftedSolver(e, k)
    space = reachable_space(e, solver, b, spectral_interval(e, k, solver), tolerance)
    modal = project(k, b, c, space.basis)
    bound = projection_bound(solver, c, space.residual_factor)
    errors = []
    for frequency in np.append(0.0, np.geomspace(1e-5, 1e3, 60)):
        seen = modal.outputs @ (modal.inputs / (1j * frequency + modal.rates)[:, None])
        errors.append(np.linalg.norm(transfer(e, k, b, c, frequency) - seen, 2))
    gain = np.linalg.norm(transfer(e, k, b, c, 0.0), 2)
    assert max(errors) <= bound <= 10 * np.sqrt(tolerance) * gain
    assert max(errors) > 1e-12 * gain


def test_both_steppers_are_one_method(parts):
    e, k, b, c, solver, _ = parts
    rates, modes = la.eigh(k.toarray(), e.toarray())
    full = full_stepper(e, solver, b, 0.5)
    turn = la.qr(np.random.default_rng(0).standard_normal(k.shape))[0]  # no longer diagonal
    turned = turn.T @ modes.T @ b
    dense = reduced_stepper(-(turn.T * rates) @ turn, turned, 0.5)
    powers = switching_treatment(b.shape[1], 22.0, 30)
    truth = replayed(full, c, powers)
    np.testing.assert_allclose(replayed(dense, c @ modes @ turn, powers), truth,
                               atol=1e-10 * np.abs(truth).max())
    reduced = Balanced(np.diag(-rates), modes.T @ b, c @ modes, np.ones(1))  # a diagonal stepper
    assert replay_error(truth, reduced, powers, 0.5).max() < 1e-10 * np.abs(truth).max()
    off = Balanced(reduced.A, reduced.B, 1.01 * reduced.C, np.ones(1))
    np.testing.assert_allclose(replay_error(truth, off, powers, 0.5),
                               0.01 * np.abs(truth).max(axis=0), rtol=1e-6)


def test_time_stepping_is_of_second_order():
    rates, load = np.array([0.3, 2.0]), np.array([[1.0], [2.0]])
    exact = load[:, 0] / rates * (1 - np.exp(-rates))
    errors = []
    for steps in (8, 16, 32):
        stepper = reduced_stepper(np.diag(-rates), load, 1 / steps)
        for _ in range(steps):
            x = stepper(np.ones(1))
        errors.append(np.abs(x - exact).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.15)


def test_treatment_is_reproducible_full_power_one_focus_at_a_time():
    powers = switching_treatment(7, 22.0, 300)
    np.testing.assert_array_equal(powers, switching_treatment(7, 22.0, 300))
    assert set(np.unique(powers)) == {0.0, 22.0}
    assert set(np.count_nonzero(powers, axis=1)) == {0, 1}
    assert (powers.sum(axis=0) > 0).all()


def test_modal_model_without_projection_has_no_error(parts):
    e, k, b, c, solver, _ = parts
    rates, modes = la.eigh(k.toarray(), e.toarray())
    whole = ModalModel(rates, modes.T @ b, c @ modes, modes, np.eye(len(rates)))
    size = np.linalg.norm(transfer(e, k, b, c, 0.01), 2)
    assert projection_errors(e, k, solver, b, c, whole, np.array([0.01])) < 1e-10 * size
