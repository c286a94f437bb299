"""Limits: the allowed power is the most that keeps them, and what it depends on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from hifuflow.controller.estimation.estimate import Absorbed, Estimate
from hifuflow.controller.methods.limits import Limits, Margins
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.records.outputs import Outputs


def limits_of(model, max_power, cap=85.0, least=0.0, confidence=0.0, heating=0.0):
    """Limits by the whole model, without margins but those named."""
    return Limits(model, max_power, cap, Margins(least, confidence, heating), error=0.0)


@pytest.fixture(scope="module")
def two_foci():
    """Two foci, a constraint point that cools exponentially, a voxel only focus 1 heats."""
    outputs = Outputs(np.array(["constraint", "target"]), np.zeros((2, 3)), np.array([0, 1.0]),
                      np.full(2, 37.0), np.array([43.0, np.nan]))
    return DiscreteModel(np.diag([0.95, 0.5]), np.array([[0.3, 0.1], [2.0, 0.0]]), np.eye(2), 2.0,
                         outputs, np.zeros((2, 3)), np.array([1.0, 0.0]))


def estimate_of(model, state):
    temperature = model.C @ state + model.outputs.baseline
    rows = model.outputs
    return Estimate(0.0, state, temperature[rows.constraint], temperature[rows.target],
                    np.zeros(int(rows.target.sum())), np.zeros(int(rows.constraint.sum())))


@pytest.mark.parametrize(("start", "planned", "expected"), [
    ((0, 0), (10, 5), (10, 5)),        # 0.3 * 10 + 0.1 * 5 = 3.5 K of 6 K
    ((0, 0), (15, 5), (15, 5)),        # 5 K; the voxel is at 37 + 30 = 67 degC
    ((0, 0), (30, 0), (20, 0)),        # 6 K
    ((5.0, 0), (10, 5), (2.5, 5)),     # 1.25 K left, focus 2 heats the point least per watt
    ((0, 30.0), (20, 0), (16.5, 0)),   # the voxel: 37 + 15 + 2 p <= 85
    ((0, 99.0), (20, 0), (0.1, 0)),    # it is above its cap already: 0.2 K
    ((7.0, 0), (10, 5), (0, 0)),       # 6.65 K next whatever is done
])
def test_two_foci_and_one_constraint(two_foci, start, planned, expected):
    limits = limits_of(two_foci, 40.0)
    found = limits.allowed(np.array(planned, float), estimate_of(two_foci, np.array(start, float)))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_margin_and_full_power_are_kept(two_foci):
    limits = limits_of(two_foci, 10.0)
    cold = estimate_of(two_foci, np.zeros(2))
    assert limits.allowed(np.array([8.0, 8.0]), cold).sum() <= 10 + 1e-6
    found = limits_of(two_foci, 10.0, least=4.2).allowed(np.array([9.0, 0.0]), cold)
    np.testing.assert_allclose(found, [6, 0], atol=1e-3)


def test_confidence_counts_in_standard_deviations(two_foci):
    limits = limits_of(two_foci, 40.0, least=0.2, confidence=2.0)
    estimate = replace(estimate_of(two_foci, np.zeros(2)), constraint_deviation=np.array([0.5]))
    np.testing.assert_allclose(limits.margin(estimate), [0.2 + 2.0 * 0.5])
    np.testing.assert_allclose(limits.allowed(np.array([40.0, 0.0]), estimate), [4.8 / 0.3, 0],
                               atol=1e-3)


def test_a_margin_on_the_heating_leaves_room(two_foci):
    limits = limits_of(two_foci, 40.0, heating=0.25)
    found = limits.allowed(np.array([30.0, 0.0]), estimate_of(two_foci, np.zeros(2)))
    np.testing.assert_allclose(found, [6 / 0.3 / 1.25, 0], atol=2e-3)


def test_a_focus_that_heats_more_than_the_model_says_gets_less_power(two_foci):
    limits = limits_of(two_foci, 40.0)
    estimate = replace(estimate_of(two_foci, np.zeros(2)), gain=np.array([1.5, 1.0]))
    found = limits.allowed(np.array([30.0, 0.0]), estimate)
    np.testing.assert_allclose(found, [6 / 0.3 / 1.5, 0], atol=2e-3)


def test_tissue_that_absorbs_more_than_the_model_says_gets_less_power(two_foci):
    limits = limits_of(two_foci, 40.0)
    absorbed = Absorbed(np.array([[0.1, 0.0]]), np.zeros(2), 1.0)
    estimate = replace(estimate_of(two_foci, np.zeros(2)), gain=np.ones(2), absorbed=absorbed,
                       constraint_gain=np.array([1.25]))
    found = limits.allowed(np.array([30.0, 0.0]), estimate)
    np.testing.assert_allclose(found, [6 / (1.25 * 0.3 + 0.1), 0], atol=2e-3)
    np.testing.assert_array_equal(limits.allowed(np.zeros(2), estimate), 0)


def test_a_soft_limit_allows_all_that_is_planned(two_foci):
    soft = replace(two_foci, outputs=replace(two_foci.outputs, soft=np.array([True, False])))
    found = limits_of(soft, 40.0, cap=200.0).allowed(
        np.array([40.0, 0.0]), estimate_of(soft, np.zeros(2)))
    np.testing.assert_allclose(found, [40, 0])


@pytest.mark.parametrize(("spent", "limit"), [
    (0.0, 43 + np.log2(10 / 2)),   # 10 CEM43 in 2 min
    (9.0, 43 - 0.5),               # half of the rate at 43 degC, R = 0.25
    (12.0, 39.0),                  # nothing left: there is no dose below
])
def test_a_limit_of_dose_is_one_of_the_temperature_that_would_spend_it(two_foci, spent, limit):
    outputs = replace(two_foci.outputs, limit=np.array([99.0, np.nan]),
                      dose_limit=np.array([10.0, np.nan]))
    limits = limits_of(replace(two_foci, outputs=outputs), 80.0, cap=200.0)
    estimate = replace(estimate_of(two_foci, np.zeros(2)), constraint_dose=np.array([spent]))
    found = limits.allowed(np.array([80.0, 0.0]), estimate)
    np.testing.assert_allclose(found, [(limit - 37) / 0.3, 0], atol=2e-3)


def test_allowed_power_is_the_most_that_keeps_every_limit_ever_after(model):
    """Against one linear program with a row for every point at every sample of 20 minutes."""
    limits = limits_of(model, 400.0, cap=60.0, least=0.1)
    state = np.zeros(len(model.A))
    for _ in range(3):
        state = model.A @ state + model.B @ np.array([4.0, 1, 2, 0, 1])
    planned = np.array([90.0, 70, 80, 60, 50])
    found = limits.allowed(planned, estimate_of(model, state))
    room = (model.outputs.limit - model.outputs.baseline)[model.outputs.constraint] - 0.1
    free, pulse, rows, rooms = model.A @ state, model.B, [model.target_rows @ model.B], [
        23.0 - model.target_rows @ (model.A @ state)]
    for _ in range(600):
        rows.append(model.constraint_rows @ pulse)
        rooms.append(room - model.constraint_rows @ free)
        free, pulse = model.A @ free, model.A @ pulse
    rows, rooms = np.vstack(rows), np.concatenate(rooms)
    best = milp(-np.ones(5), bounds=(0, planned), constraints=LinearConstraint(rows, ub=rooms))
    assert best.status == 0 and best.x.sum() < 0.9 * planned.sum()
    assert found.sum() == pytest.approx(best.x.sum(), rel=1e-3)
    assert (rows @ found <= rooms + 5e-4).all()


