import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.controller.methods.lbfgs import lbfgs
from hifuflow.controller.methods.planning import Goal, PlanProblem
from hifuflow.controller.prediction import BlockModel, DiscreteModel
from hifuflow.errors import NumericalError
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel


@pytest.fixture(scope="module")
def problem(model):
    blocks = BlockModel(model, 0.0, 2)
    outputs = model.outputs
    goal = Goal(240.0, (outputs.limit - outputs.baseline)[outputs.constraint],
                np.ones(int(outputs.constraint.sum()), bool), 70.0, 15.0, 3)
    state = model.B @ np.full(5, 4.0)
    n_c, n_v = outputs.constraint.sum(), outputs.target.sum()
    rng = np.random.default_rng(3)
    return PlanProblem(model, blocks, goal, blocks.modal(state), rng.uniform(0, 5, n_v),
                       rng.uniform(0, 0.1, (n_c, 9)))


def test_modal_blocks_equal_the_model_sample_by_sample(model):
    blocks = BlockModel(model, 0.0, 3)
    rng = np.random.default_rng(1)
    state, power = rng.standard_normal(len(model.A)), rng.uniform(0, 5, (4, 5))
    found = blocks.outputs(blocks.simulate(blocks.modal(state), power))
    for i, row in enumerate(power):
        for _ in range(3):
            state = model.A @ state + model.B @ row
        np.testing.assert_allclose(found[:, i], model.C @ state, atol=2e-3)


def test_recent_heat_fades_from_sample_to_sample(model):
    rng = np.random.default_rng(3)
    n, p = len(model.foci), len(model.C)
    rise, gain, left = rng.random((p, n)), 1 + rng.random(n), 0.9
    plain = BlockModel(model, 0.0, 3)
    blocks = plain.amplified(gain).with_recent(rise, gain, left)
    state, recent = rng.standard_normal(len(model.A)), rng.random(n)
    powers = rng.random((4, n))
    states = blocks.simulate(np.append(plain.modal(state), recent).astype(np.complex64), powers)
    for power in np.repeat(powers, 3, axis=0):
        state, recent = model.A @ state + model.B @ (gain * power), left * recent + gain * power
    expected = model.C @ state + rise @ recent
    np.testing.assert_allclose(blocks.outputs(states)[:, -1], expected, rtol=1e-4,
                               atol=1e-4 * np.abs(expected).max())


def test_what_has_decayed_never_becomes_denormal(model):
    """Such numbers would make a plan with long pauses take ten times as long."""
    blocks = BlockModel(model, 0.0, 4)
    power = np.zeros((400, 5))
    power[0] = 5.0
    states = blocks.simulate(blocks.modal(np.zeros(len(model.A))), power)
    parts = np.abs(np.concatenate([states.real.ravel(), states.imag.ravel()]))
    assert parts[parts > 0].min() >= np.finfo(np.float32).tiny


def cooled_rod():
    """x' = A x + B u, y = B' x of a rod that loses heat, with one input that is seen as well.

    Its balanced truncation to r states is off by 2 (hsv[r] + hsv[r+1] + ...) at rest exactly, as A
    is symmetric and the output is the input's.

    Source: M. R. Opmeer, T. Reis, "A lower bound for the balanced truncation error for MIMO
    systems", IEEE Trans. Automatic Control 60 (2015) 2207-2212.
    """
    n = 30
    a = 0.3 * (np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)) - 0.61 * np.eye(n)
    b = 0.1 * np.exp(-((np.arange(1, n + 1)[:, None] / (n + 1) - 0.5) / 0.05) ** 2)
    return a, b


@pytest.fixture(scope="module")
def balanced_rod():
    """The rod balanced by dense Gramians, its Hankel values, and its exact gain at rest [K/W]."""
    a, b = cooled_rod()
    gramian = la.solve_continuous_lyapunov(a, -b @ b.T)  # of both kinds: C = B'
    size, modes = la.eigh(gramian)
    hsv = size[::-1][:8]  # a symmetric pair's Hankel values are the Gramian's eigenvalues
    modes = modes[:, ::-1][:, :8]
    outputs = Outputs(np.array(["target"]), np.zeros((1, 3)), np.ones(1), np.zeros(1),
                      np.array([np.nan]))
    rom = ReducedModel(modes.T @ a @ modes, modes.T @ b, b.T @ modes, hsv, hsv, "dense", outputs,
                       np.zeros((1, 3)))
    return rom, hsv, (b.T @ la.solve(-a, b)).item()


@pytest.mark.parametrize("kept", [1, 2, 3, 4, 5])
def test_truncation_is_the_shortest_that_is_accurate_enough(balanced_rod, kept):
    rom, hsv, gain = balanced_rod
    model = DiscreteModel.sampled(rom, 0.2)
    lost = 2 * hsv[kept:].sum()
    assert BlockModel(model, 1.001 * lost).order == kept
    assert BlockModel(model, 0.999 * lost).order == kept + 1
    modal = BlockModel(model, 1.001 * lost, 50)
    at_rest = modal.outputs(modal.simulate(modal.modal(np.zeros(8)), np.ones((120, 1))))[0, -1]
    assert modal.error == pytest.approx(hsv[kept], rel=1e-9)
    # The truncated model is that of samples, which are not balanced to the last percent.
    assert gain - at_rest == pytest.approx(lost, rel=0.05, abs=2e-7 * gain)


def test_nothing_is_cut_off_for_no_error(balanced_rod):
    rom, hsv, _ = balanced_rod
    whole = BlockModel(DiscreteModel.sampled(rom, 2.0), 0.0)
    assert whole.order == 8 and whole.error == pytest.approx(0.0, abs=1e-12 * hsv[0])


def test_states_that_change_nothing_are_left_out(balanced_rod):
    """From the continuous model, which is balanced: the bound holds, and is nearly reached."""
    rom, hsv, gain = balanced_rod
    for kept in range(1, 6):
        lost = 2 * hsv[kept:].sum()
        model = DiscreteModel.sampled(rom, 0.2, 1.001 * lost)
        assert len(model.A) == kept and model.C.shape[1] == kept == len(model.B)
        assert len(DiscreteModel.sampled(rom, 0.2, 0.999 * lost).A) == kept + 1
        at_rest = (model.C @ la.solve(np.eye(kept) - model.A, model.B)).item()
        assert gain - at_rest == pytest.approx(lost, rel=1e-6, abs=1e-9 * gain)
    assert len(DiscreteModel.sampled(rom, 0.2).A) == 8


@pytest.mark.parametrize("milestone", [0, 4])
def test_gradient_equals_differences(problem, milestone):
    if milestone:
        problem.favour(0.5, problem.doses(np.full((6, 5), 1.0), milestone)[0], milestone)
    rng = np.random.default_rng(2)
    theta, direction = rng.uniform(0.3, 1.8, (6, 5)), rng.standard_normal((6, 5))
    value, gradient = problem(theta)
    step = 1e-3
    slope = (problem(theta + step * direction)[0] - problem(theta - step * direction)[0]) / step / 2
    assert np.vdot(gradient, direction) == pytest.approx(slope, rel=0.01)
    assert value > 0
    problem.milestone = 0


def test_favoured_fraction_keeps_its_weight(problem):
    dose = problem.doses(np.full((6, 5), 1.0))[1]
    full = problem.weight
    problem.favour(0.5, dose)
    kept = problem.weight == full
    assert full[kept].sum() <= 0.51 < full[kept].sum() + full.max()
    assert dose[kept].min() >= dose[~kept].max()
    problem.weight = full


def test_lbfgs_finds_the_minimum_of_rosenbrock_and_counts_every_evaluation():
    calls = []

    def rosenbrock(x):
        calls.append(x)
        a, b = x
        return ((1 - a) ** 2 + 100 * (b - a * a) ** 2,
                np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)]))

    search = lbfgs(rosenbrock, np.array([-1.2, 1.0]))
    for count in range(1, 81):
        point = next(search, None)
        if point is None:
            break
        assert len(calls) == count
        best = point
    np.testing.assert_allclose(best, [1, 1], atol=1e-5)


def test_a_model_without_an_accurate_modal_form_is_refused():
    """Heat that flows through a row of nearly equal tanks: nearly one mode, eight times."""
    n = 8
    A = np.diag(0.9 + 1e-3 * np.arange(n)) + np.diag(np.full(n - 1, 0.1), -1)
    B = np.eye(n)[:, :1]
    outputs = Outputs(np.array(["constraint"] * n), np.zeros((n, 3)), np.zeros(n),
                      np.full(n, 37.0), np.full(n, 43.0))
    model = DiscreteModel(A, B, np.eye(n), 2.0, outputs, np.zeros((1, 3)), np.arange(n)[::-1] + 1.0)
    with pytest.raises(NumericalError, match="no accurate modal form"):
        BlockModel(model, 0.0)
