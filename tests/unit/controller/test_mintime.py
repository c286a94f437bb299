from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from hifuflow.controller.dose import cem43_path
from hifuflow.controller.estimation.kalman import Absorbed, Estimate
from hifuflow.controller.loop import run_treatment
from hifuflow.controller.methods import limits as limits_module
from hifuflow.controller.methods.limits import Limits
from hifuflow.controller.methods.mintime import MintimeController
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.settings import Prescription
from hifuflow.errors import NumericalError
from hifuflow.provenance import ROOT
from hifuflow.records.outputs import Outputs
from hifuflow.study.patient import load_patient

FULL = Prescription(240.0, 0.9, 15.0, 600.0)


@pytest.fixture
def mintime_config(treatment_config):
    reference = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    return {**treatment_config, "options": {**reference.config["mintime"], "preparation": 3}}


@pytest.fixture(scope="module")
def two_foci():
    """Two foci, a constraint point that cools exponentially, a voxel only focus 1 heats."""
    outputs = Outputs(np.array(["constraint", "target"]), np.zeros((2, 3)), np.array([0, 1.0]),
                      np.full(2, 37.0), np.array([43.0, np.nan]))
    return DiscreteModel(np.diag([0.95, 0.5]), np.array([[0.3, 0.1], [2.0, 0.0]]), np.eye(2), 2.0,
                         outputs, np.zeros((2, 3)), np.array([1.0, 0.0]))


def _estimate(model, state):
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
    limits = Limits(two_foci, 0.0, 85.0, 40.0)
    found = limits.allowed(np.array(planned, float), _estimate(two_foci, np.array(start, float)),
                           np.zeros(1))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_margin_and_full_power_are_kept(two_foci):
    limits = Limits(two_foci, 0.0, 85.0, 10.0)
    cold = _estimate(two_foci, np.zeros(2))
    assert limits.allowed(np.array([8.0, 8.0]), cold, np.zeros(1)).sum() <= 10 + 1e-6
    found = limits.allowed(np.array([9.0, 0.0]), cold, np.array([4.2]))
    np.testing.assert_allclose(found, [6, 0], atol=1e-3)


def test_doubt_of_the_heating_leaves_room(two_foci):
    limits = Limits(two_foci, 0.0, 85.0, 40.0, 0.25)
    found = limits.allowed(np.array([30.0, 0.0]), _estimate(two_foci, np.zeros(2)), np.zeros(1))
    np.testing.assert_allclose(found, [6 / 0.3 / 1.25, 0], atol=2e-3)


def test_a_focus_that_heats_more_than_the_model_says_gets_less_power(two_foci):
    limits = Limits(two_foci, 0.0, 85.0, 40.0)
    estimate = replace(_estimate(two_foci, np.zeros(2)), gain=np.array([1.5, 1.0]))
    found = limits.allowed(np.array([30.0, 0.0]), estimate, np.zeros(1))
    np.testing.assert_allclose(found, [6 / 0.3 / 1.5, 0], atol=2e-3)


def test_tissue_that_absorbs_more_than_the_model_says_gets_less_power(two_foci):
    limits = Limits(two_foci, 0.0, 85.0, 40.0)
    absorbed = Absorbed(np.array([[0.1, 0.0]]), np.zeros(2), 1.0)
    estimate = replace(_estimate(two_foci, np.zeros(2)), gain=np.ones(2), absorbed=absorbed,
                       constraint_gain=np.array([1.25]))
    found = limits.allowed(np.array([30.0, 0.0]), estimate, np.zeros(1))
    np.testing.assert_allclose(found, [6 / (1.25 * 0.3 + 0.1), 0], atol=2e-3)
    np.testing.assert_array_equal(limits.allowed(np.zeros(2), estimate, np.zeros(1)), 0)


def test_a_soft_limit_allows_all_that_is_planned(two_foci):
    soft = replace(two_foci, outputs=replace(two_foci.outputs, soft=np.array([True, False])))
    found = Limits(soft, 0.0, 200.0, 40.0).allowed(
        np.array([40.0, 0.0]), _estimate(soft, np.zeros(2)), np.zeros(1))
    np.testing.assert_allclose(found, [40, 0])


@pytest.mark.parametrize(("spent", "limit"), [
    (0.0, 43 + np.log2(10 / 2)),   # 10 CEM43 in 2 min
    (9.0, 43 - 0.5),               # half of the rate at 43 degC, R = 0.25
    (12.0, 39.0),                  # nothing left: there is no dose below
])
def test_a_limit_of_dose_is_one_of_the_temperature_that_would_spend_it(two_foci, spent, limit):
    outputs = replace(two_foci.outputs, limit=np.array([99.0, np.nan]),
                      dose_limit=np.array([10.0, np.nan]))
    limits = Limits(replace(two_foci, outputs=outputs), 0.0, 200.0, 80.0)
    estimate = replace(_estimate(two_foci, np.zeros(2)), constraint_dose=np.array([spent]))
    found = limits.allowed(np.array([80.0, 0.0]), estimate, np.zeros(1))
    np.testing.assert_allclose(found, [(limit - 37) / 0.3, 0], atol=2e-3)


def test_a_limit_of_dose_is_kept_in_a_whole_treatment(small_rom, small_patient, mintime_config):
    points = small_rom.outputs.constraint
    doses = []
    for limit in (np.nan, 0.05):
        outputs = replace(small_rom.outputs, limit=np.where(points, 60.0, np.nan),
                          dose_limit=np.where(points, limit, np.nan))
        trajectory, _ = run_treatment(replace(small_rom, outputs=outputs), small_patient, "mintime",
                                      mintime_config)
        doses.append(cem43_path(trajectory.constraint_temperature, 2.0).max())
    assert doses[0] > 0.06 and 0.001 < doses[1] <= 0.05


def test_allowed_power_is_the_most_that_keeps_every_limit_ever_after(model):
    """Against one linear program with all rows, from the model sample by sample."""
    limits = Limits(model, 0.0, 60.0, 400.0)
    state = np.zeros(len(model.A))
    for _ in range(3):
        state = model.A @ state + model.B @ np.array([4.0, 1, 2, 0, 1])
    planned = np.array([90.0, 70, 80, 60, 50])
    found = limits.allowed(planned, _estimate(model, state), np.full(len(model.constraint_rows),
                                                                     0.1))
    room = (model.outputs.limit - model.outputs.baseline)[model.outputs.constraint] - 0.1
    free, pulse, rows, rooms = model.A @ state, model.B, [model.target_rows @ model.B], [
        23.0 - model.target_rows @ (model.A @ state)]
    for k in range(1, limits.samples.max() + 1):
        if k in limits.samples:
            rows.append(model.constraint_rows @ pulse)
            rooms.append(room - model.constraint_rows @ free)
        free, pulse = model.A @ free, model.A @ pulse
    rows, rooms = np.vstack(rows), np.concatenate(rooms)
    best = milp(-np.ones(5), bounds=(0, planned), constraints=LinearConstraint(rows, ub=rooms))
    assert best.status == 0 and best.x.sum() < 0.9 * planned.sum()
    assert found.sum() == pytest.approx(best.x.sum(), rel=1e-3)
    assert (rows @ found <= rooms + 5e-3).all()


def test_completes_within_the_limits(small_rom, small_patient, mintime_config):
    mintime_config["prescription"].update(coverage=0.99, dose_cem43_min=5000)
    trajectory, metrics = run_treatment(small_rom, small_patient, "mintime", mintime_config)
    assert metrics["status"] == "complete" and metrics["coverage"] >= 0.99
    assert metrics["max_overshoot_k"] <= 0.05
    assert metrics["max_target_temperature_c"] <= 85.5
    assert trajectory.power.sum(axis=1).max() <= 15 * (1 + 1e-9)
    assert ((trajectory.power > 0).sum(axis=1) > 1).any()


def test_solver_failure_switches_the_power_off_and_is_logged(model, mintime_config, monkeypatch):
    def fail(*arguments):
        raise NumericalError("no solution")

    controller = MintimeController(model, FULL, mintime_config["options"])
    monkeypatch.setattr(limits_module.Limits, "allowed", fail)
    assert not controller.decide(_estimate(model, np.zeros(len(model.A)))).any()
    assert controller.take_notes() == ["power off: no solution"]


def test_finished_when_the_dose_is_sure(model, mintime_config):
    controller = MintimeController(model, FULL, {**mintime_config["options"], "preparation": 1,
                                                 "finish_factor": 1.1})
    estimate = _estimate(model, np.zeros(len(model.A)))
    for factor, finished in ((1.0, False), (1.09, False), (1.11, True)):
        estimate.target_dose[:] = 240.0 * factor
        assert controller.finished(estimate) == finished


def test_same_estimates_same_decisions(model, mintime_config):
    """A decision depends on nothing but estimates: not on time that passes, not on chance."""
    runs = []
    for _ in range(2):
        controller = MintimeController(model, FULL, mintime_config["options"])
        state, powers = np.zeros(len(model.A)), []
        for _ in range(25):
            powers.append(controller.decide(_estimate(model, state)))
            state = model.A @ state + model.B @ powers[-1]
        runs.append(np.array(powers))
    np.testing.assert_array_equal(*runs)
    assert runs[0].any()


def test_gives_up_without_progress(model, mintime_config):
    controller = MintimeController(model, FULL, {**mintime_config["options"], "patience_s": 4})
    for time in (0.0, 2.0, 4.0):
        estimate = _estimate(model, np.zeros(len(model.A)))
        controller.decide(Estimate(time, *[getattr(estimate, name) for name in (
            "state", "constraint_temperature", "target_temperature", "target_dose",
            "constraint_deviation")]))
        assert not controller.unreachable
    controller.decide(Estimate(6.0, estimate.state, *[getattr(estimate, name) for name in (
        "constraint_temperature", "target_temperature", "target_dose", "constraint_deviation")]))
    assert controller.unreachable


def test_raster_dwells_and_cools_in_turn(small_rom, small_patient, treatment_config):
    reference = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    treatment_config["options"] = {**reference.config["raster"], "power_w": 10, "dwell_s": 6,
                                   "cooling_s": 20, "passes": 1}
    treatment_config["prescription"]["coverage"] = 1.0
    trajectory, metrics = run_treatment(small_rom, small_patient, "raster", treatment_config)
    power = trajectory.power[:26]
    assert (power[[0, 1, 2], 0] == 10).all() and not power[3:13].any()
    assert power[13].max() == 10 and np.count_nonzero(power[13]) == 1
    assert metrics["status"] in ("complete", "unreachable")
