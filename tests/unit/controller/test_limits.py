"""Limits: the allowed power is the most that keeps them, and what it depends on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from hifuflow.controller.estimation.estimate import Absorbed, Estimate
from hifuflow.controller.methods import limits as limits_module
from hifuflow.controller.methods.limits import Limits, Margins
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.errors import InputError, NumericalError
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




PLANNED = np.array([90.0, 70, 80, 60, 50])


@pytest.fixture(scope="module")
def warm(model):
    """An estimate after three samples of heating."""
    state = np.zeros(len(model.A))
    for _ in range(3):
        state = model.A @ state + model.B @ np.array([4.0, 1, 2, 0, 1])
    return estimate_of(model, state)


def hottest(model, estimate, power, samples=300):
    """Highest constraint point above its limit at any sample [K], and voxel after this one."""
    state = model.A @ estimate.state + model.B @ power
    room = (model.outputs.limit - model.outputs.baseline)[model.outputs.constraint]
    voxel, worst = 37 + (model.target_rows @ state).max(), -np.inf
    for _ in range(samples):
        worst = max(worst, (model.constraint_rows @ state - room).max())
        state = model.A @ state
    return worst, voxel


@pytest.mark.parametrize("most", [1, 3])
def test_a_few_rows_at_a_time_come_to_the_same(model, warm, monkeypatch, most):
    whole = limits_of(model, 400.0, cap=60.0).allowed(PLANNED, warm)
    monkeypatch.setattr(limits_module, "MOST_ROWS", most)
    monkeypatch.setattr(limits_module, "CUTS", 300)
    found = limits_of(model, 400.0, cap=60.0).allowed(PLANNED, warm)
    assert found.sum() == pytest.approx(whole.sum(), rel=1e-3)
    worst, voxel = hottest(model, warm, found)
    assert worst <= 5e-4 and voxel <= 60 + 5e-4


def test_the_rows_that_are_exceeded_worst_come_first(model, warm, monkeypatch):
    """With one program of one row, what is left to scale away is least for the worst row."""
    monkeypatch.setattr(limits_module, "MOST_ROWS", 1)
    monkeypatch.setattr(limits_module, "CUTS", 1)
    limits = limits_of(model, 400.0, cap=1e6)
    rows = []
    monkeypatch.setattr(limits_module, "_most_of", lambda planned, row, room, most: (
        rows.append((row, room)) or planned))
    limits.allowed(PLANNED, warm)
    (row, room), = rows
    assert len(row) == 1
    state = model.A @ warm.state + model.B @ PLANNED
    free = model.A @ warm.state
    ratios = []
    for _ in range(300):
        rise, left = model.constraint_rows @ (state - free), 6 - model.constraint_rows @ free
        ratios.append(((rise - left) / left).max())
        state, free = model.A @ state, model.A @ free
    assert (row @ PLANNED - room)[0] / room[0] == pytest.approx(max(ratios), rel=1e-3)


def test_what_the_last_program_leaves_is_scaled_away(model, warm, monkeypatch):
    monkeypatch.setattr(limits_module, "MOST_ROWS", 1)
    monkeypatch.setattr(limits_module, "CUTS", 1)
    for cap in (60.0, 1e6):
        found = limits_of(model, 400.0, cap=cap).allowed(PLANNED, warm)
        worst, voxel = hottest(model, warm, found)
        assert found.sum() > 10 and (found <= PLANNED).all()
        assert max(worst, voxel - cap) == pytest.approx(0, abs=5e-4)


def test_without_constraint_points_the_cap_counts(model, warm):
    outputs = replace(model.outputs, soft=model.outputs.constraint)
    found = limits_of(replace(model, outputs=outputs), 400.0, cap=60.0).allowed(PLANNED, warm)
    assert hottest(model, warm, found)[1] == pytest.approx(60, abs=1e-3)


def test_a_plan_within_the_limits_is_allowed_as_it_is(model, warm):
    plan = np.array([1.0, 0.0, 2.0, 0.5, 0.0])
    np.testing.assert_array_equal(limits_of(model, 400.0).allowed(plan, warm), plan)


def test_a_plan_above_full_power_is_cut_in_proportion_where_nothing_else_binds(model, warm):
    plan = np.array([3.0, 0.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(limits_of(model, 2.0).allowed(plan, warm), plan / 2, rtol=1e-9)


def test_limits_of_dose_bind_where_there_are_some(two_foci):
    outputs = Outputs(np.array(["constraint"] * 4 + ["target"]), np.zeros((5, 3)), np.zeros(5),
                      np.array([37.0, 37, 36, 37, 37]), np.array([43.0, 43, 43, 43, np.nan]),
                      dose_limit=np.array([np.nan, 1.0, 1.0, 1.0, np.nan]),
                      soft=np.array([False, False, False, True, False]))
    model = replace(two_foci, outputs=outputs, C=np.zeros((5, 2)), C_mean=np.zeros((5, 2)))
    limits = limits_of(model, 40.0)
    lasting = 43 - 0.5  # half a minute's dose in a minute: R = 0.25 below 43 degC
    spent = np.array([0.0, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(limits.temperature(spent, 60.0), [43, lasting, 43, np.inf])
    np.testing.assert_allclose(limits.temperature(None, 60.0), [43, 43, 43, np.inf])
    np.testing.assert_allclose(limits.temperature(np.zeros(4), 120.0),
                               [43, lasting, lasting, np.inf])
    np.testing.assert_allclose(limits.temperature(np.zeros(4)),  # in two minutes
                               [43, lasting, lasting, np.inf])
    # What plans may heat above the baseline; where the limit is soft, the limit itself.
    np.testing.assert_allclose(limits.room(spent, 60.0), [6, lasting - 37, 7, 6])


def test_the_truncation_of_the_model_counts_as_a_margin(model):
    model = replace(model, outputs=replace(model.outputs, limit=model.outputs.limit + 1e4))
    coarse = Limits(model, 15.0, 85.0, Margins(0.0, 0.0, 0.0),
                    error=0.3 * model.truncation_bound[0])
    assert coarse.truncation > 0
    estimate = estimate_of(model, np.zeros(len(model.A)))
    np.testing.assert_allclose(coarse.margin(estimate), coarse.truncation)
    kept = int(np.count_nonzero(model.truncation_bound > 0.3 * model.truncation_bound[0])) + 1
    bound = model.truncation_bound
    assert coarse.truncation == pytest.approx(15.0 * (bound[kept - 1] - bound[kept]) / 2)


def test_h23_margins_that_leave_no_room_are_refused_before_the_treatment(model):
    coarse = 0.3 * model.truncation_bound[0]
    with pytest.raises(InputError, match="no power could be allowed") as refused:
        Limits(model, 1e4, 85.0, Margins(0.5, 0.0, 0.0), error=coarse)
    assert refused.value.key == "reduction.order"
    with pytest.raises(InputError, match="less than the margins") as refused:
        Limits(model, 15.0, 85.0, Margins(6.0, 0.0, 0.0))
    assert refused.value.key == "margin_k" and refused.value.value == 6.0
    Limits(model, 15.0, 85.0, Margins(5.9, 0.0, 0.0))


def test_a_program_without_a_solution_is_an_error():
    with pytest.raises(NumericalError, match="linear program of the limits"):
        limits_module._most_of(np.array([1.0, 1.0]), np.array([[1.0, 1.0]]), np.array([-1.0]), 5.0)
