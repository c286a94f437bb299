"""The certificate's parts against exact solutions and dense algebra."""

import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.cholesky import ShiftedSolver
from reduction.balance import balanced_truncation
from reduction.certificate import (
    DenseStepper,
    FullStepper,
    frequency_sweep,
    largest_eigenvalue,
    projection_bound,
    replay_error,
    switching_treatment,
)
from reduction.low_rank import ModalModel, orthonormal_part, project, unit_capacity


@pytest.fixture
def parts(cube):
    """Scaled matrices, solver, and a coarse projection whose error can be seen."""
    e, k, b, c = unit_capacity(cube.E, cube.K, cube.B, cube.C)
    solver = ShiftedSolver(e, k)
    block = np.hstack([solver.factor(1.0, shift).solve(b) for shift in (0.003, 0.03)])
    basis = orthonormal_part(block, np.zeros((len(b), 0)), e, 0.0)
    return e, k, b, c, solver, project(k, b, c, basis)


def transfer(e, k, b, c, frequency):
    return c @ np.linalg.solve(k.toarray() + 1j * frequency * e.toarray(), b)


@pytest.mark.parametrize("frequency", [0.0, 1e-3, 3e-2, 1.0])
def test_projection_bound_holds_and_is_close(parts, frequency):
    e, k, b, c, solver, modal = parts
    seen = modal.outputs @ (modal.inputs / (1j * frequency + modal.rates)[:, None])
    exact = np.linalg.norm(transfer(e, k, b, c, frequency) - seen, 2)
    bound = projection_bound(e, k, solver, b, c, modal, frequency)
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
    peak = frequency_sweep(e, k, solver, b, c, modal, reduced, frequencies)
    full = [transfer(e, k, b, c, w) for w in frequencies]
    small = [reduced.C @ np.linalg.solve(1j * w * np.eye(6) - reduced.A, reduced.B)
             for w in frequencies]
    gain = max(np.linalg.norm(g, 2) for g in full)
    error = max(np.linalg.norm(g - s, 2) for g, s in zip(full, small, strict=True))
    assert gain * (1 - 1e-12) <= peak["gain"] <= 1.01 * gain + peak["projection"]
    # Never below the true error, and no further above it than the projection's bound.
    assert error <= peak["error"] * (1 + 1e-9) <= error + 2 * peak["projection"]


def test_both_steppers_are_one_method(parts):
    e, k, b, c, solver, _ = parts
    rates, modes = la.eigh(k.toarray(), e.toarray())
    full = FullStepper(e, solver, b, 0.5)
    dense = DenseStepper(np.diag(-rates), modes.T @ b, 0.5)
    powers = switching_treatment(b.shape[1], 22.0, 30)
    worst = replay_error(full, c, dense, c @ modes, powers, substeps=2)
    x = np.zeros(len(rates))
    for power in powers:
        x = dense(dense(x, power), power)
    assert worst.max() < 1e-10 * np.abs(c @ modes @ x).max()


def test_time_stepping_is_of_second_order():
    rates, load = np.array([0.3, 2.0]), np.array([[1.0], [2.0]])
    exact = load[:, 0] / rates * (1 - np.exp(-rates))
    errors = []
    for steps in (8, 16, 32):
        stepper, x = DenseStepper(np.diag(-rates), load, 1 / steps), np.zeros(2)
        for _ in range(steps):
            x = stepper(x, np.ones(1))
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
    whole = ModalModel(rates, modes.T @ b, c @ modes, modes)
    size = np.linalg.norm(transfer(e, k, b, c, 0.01), 2)
    assert projection_bound(e, k, solver, b, c, whole, 0.01) < 1e-10 * size
