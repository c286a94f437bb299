import numpy as np
import pytest

from hifuflow.controller.methods.lbfgs import lbfgs
from hifuflow.controller.methods.planning import Goal, PlanProblem
from hifuflow.controller.prediction import BlockModel


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


def test_truncation_is_the_shortest_within_its_error_bound(model):
    for error in (1e-1, 1e-3):
        modal = BlockModel(model, error * model.truncation_bound[0])
        bound = model.truncation_bound
        assert bound[modal.order - 1] <= error * bound[0] < bound[modal.order - 2]
        assert modal.error == pytest.approx((bound[modal.order - 1] - bound[modal.order]) / 2)


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
