"""Balanced truncation against SLICOT's published example and against its own error bound."""

import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.errors import InputError, NumericalError
from hifuflow.numerics.hankel import truncation_bound
from hifuflow.reduction import slicot
from hifuflow.reduction.balance import balanced_truncation, minimal_order, reachability


@pytest.fixture
def rod():
    """Heat conduction in a rod by finite differences, in its modes: 40 states, 2 in, 60 out."""
    n = 40
    rates, modes = la.eigh_tridiagonal(2.0 * np.ones(n), -np.ones(n - 1))
    a = np.diag(-rates)
    grid = np.arange(n) / n
    heating = np.stack([np.exp(-((grid - c) ** 2) / 0.01) for c in (0.3, 0.6)], axis=1)
    seen = np.exp(-((grid - np.linspace(0, 1, 60)[:, None]) ** 2) / 0.02)
    return a, modes.T @ heating, seen @ modes


def dense_hankel_values(a, inputs, outputs):
    reach = la.solve_continuous_lyapunov(a, -inputs @ inputs.T)
    see = la.solve_continuous_lyapunov(a.T, -outputs.T @ outputs)
    return np.sqrt(np.sort(la.eigvals(reach @ see).real)[::-1].clip(0))


def gain_error(model, reduced, frequency):
    a, inputs, outputs = model
    full = outputs @ np.linalg.solve(1j * frequency * np.eye(len(a)) - a, inputs)
    small = reduced.C @ np.linalg.solve(1j * frequency * np.eye(len(reduced.A)) - reduced.A,
                                        reduced.B)
    return np.linalg.norm(full - small, 2)


def test_slicot_example_of_ab09ad():
    """Data and results printed in the SLICOT documentation of AB09AD; A is not symmetric."""
    a = np.array([[-0.04165, 0, 4.92, -4.92, 0, 0, 0],
                  [-5.21, -12.5, 0, 0, 0, 0, 0],
                  [0, 3.33, -3.33, 0, 0, 0, 0],
                  [0.545, 0, 0, 0, -0.545, 0, 0],
                  [0, 0, 0, 4.92, -0.04165, 0, 4.92],
                  [0, 0, 0, 0, -5.21, -12.5, 0],
                  [0, 0, 0, 0, 0, 3.33, -3.33]])
    b, c = np.zeros((7, 2)), np.zeros((3, 7))
    b[1, 0] = b[5, 1] = 12.5
    c[0, 0] = c[1, 3] = c[2, 4] = 1
    reduced = balanced_truncation(a, b, c, 5)
    np.testing.assert_allclose(reduced.hsv, [2.5139, 2.0846, 1.9178, 0.7666, 0.5473, 0.0253,
                                             0.0246], atol=5e-5)
    errors = [gain_error((a, b, c), reduced, w) for w in np.append(0, np.geomspace(0.01, 100, 200))]
    assert reduced.hsv[5] < max(errors) <= truncation_bound(reduced.hsv)[4]


def test_hankel_values_of_more_outputs_than_states(rod):
    reduced = balanced_truncation(*rod)
    expected = dense_hankel_values(*rod)
    large = expected > 1e-5 * expected[0]
    np.testing.assert_allclose(reduced.hsv[: large.sum()], expected[large], rtol=1e-5)
    assert len(reduced.A) == minimal_order(reduced.hsv)


@pytest.mark.parametrize("order", [1, 4, 10])
def test_error_stays_below_the_bound_and_gramians_are_balanced(rod, order):
    reduced = balanced_truncation(*rod, order)
    assert reduced.A.shape == (order, order)
    errors = [gain_error(rod, reduced, w) for w in np.append(0, np.geomspace(1e-3, 1e2, 60))]
    bound = truncation_bound(reduced.hsv)[order - 1]
    assert reduced.hsv[order] < max(errors) <= bound
    reach = la.solve_continuous_lyapunov(reduced.A, -reduced.B @ reduced.B.T)
    see = la.solve_continuous_lyapunov(reduced.A.T, -reduced.C.T @ reduced.C)
    for gramian in (reach, see):
        np.testing.assert_allclose(gramian, np.diag(reduced.hsv[:order]),
                                   atol=1e-10 * reduced.hsv[0])


def test_scaling_of_inputs_does_not_change_the_order(rod):
    a, inputs, outputs = rod
    large = balanced_truncation(a, inputs, outputs)
    small = balanced_truncation(a, 1e-30 * inputs, outputs)
    assert len(small.A) == len(large.A)
    np.testing.assert_allclose(small.hsv[:8], 1e-30 * large.hsv[:8], rtol=1e-10)


def test_order_above_the_minimal_one_is_refused_with_the_number(rod):
    available = minimal_order(balanced_truncation(*rod).hsv)
    assert available < 40
    with pytest.raises(InputError, match=f"auto or 1 to {available}"):
        balanced_truncation(*rod, available + 1)
    with pytest.raises(InputError) as raised:
        balanced_truncation(*rod, available + 1, "patient.yaml")
    assert str(raised.value).startswith(f"patient.yaml: reduction.order = {available + 1}: ")


@pytest.mark.parametrize("order", [0, -3, 2.5, True, "all", None])
def test_orders_that_are_no_number_of_states(rod, order):
    with pytest.raises(InputError, match=r"reduction\.order"):
        balanced_truncation(*rod, order)


def test_bad_models(rod):
    a, inputs, outputs = rod
    with pytest.raises(NumericalError, match="not stable"):
        balanced_truncation(a + np.eye(40), inputs, outputs)
    with pytest.raises(NumericalError, match="not finite"):
        balanced_truncation(a, inputs * np.nan, outputs)
    with pytest.raises(InputError, match="no input"):
        balanced_truncation(a, 0 * inputs, outputs)


def test_bound_adds_up_the_tail():
    np.testing.assert_allclose(truncation_bound(np.array([5.0, 2.0, 1.0])), [6.0, 2.0, 0.0])


def test_more_inputs_than_states():
    a, inputs = np.diag([-1.0, -2.0, -3.0]), np.arange(15.0).reshape(3, 5) % 4
    reach = reachability(a, inputs)
    np.testing.assert_allclose(reach @ reach.T, la.solve_continuous_lyapunov(a, -inputs @ inputs.T))


@pytest.mark.parametrize("form", ["diagonal", "triangular"])
def test_states_added_for_speed_change_no_gramian(rod, form, monkeypatch):
    a, inputs, outputs = rod
    a = a + np.triu(0.1 * np.ones_like(a), 1) * (form == "triangular")
    alone = slicot.reachability_factor(a, inputs), slicot.observability_factor(a, outputs[:40])
    monkeypatch.setattr(slicot, "added_states", lambda states: 7)
    among = slicot.reachability_factor(a, inputs), slicot.observability_factor(a, outputs[:40])
    for one, other in zip(alone, among, strict=True):
        assert other.shape == one.shape
    np.testing.assert_allclose(among[0] @ among[0].T, alone[0] @ alone[0].T, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(among[1].T @ among[1], alone[1].T @ alone[1], rtol=1e-9, atol=1e-15)


def test_states_are_added_near_multiples_of_a_kilobyte_only():
    added = {states: slicot.added_states(states) for states in range(1, 1500)}
    assert not any(added[states] for states in range(1, 118))
    assert {states + more for states, more in added.items() if more} == {
        128 * number + 10 for number in range(1, 12)}
    assert max(added.values()) == 20


def test_balancing_is_announced(rod, caplog):
    with caplog.at_level("INFO", logger="hifuflow"):
        balanced_truncation(*rod, 3)
    assert "balancing 40 states" in caplog.text
