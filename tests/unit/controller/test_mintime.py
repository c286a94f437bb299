from dataclasses import replace

import numpy as np
from small_treatment import treat

from hifuflow.controller.dose import cem43_path
from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.methods.limits import Limits
from hifuflow.controller.methods.mintime import MintimeController
from hifuflow.controller.methods.options import MintimeOptions
from hifuflow.errors import NumericalError
from hifuflow.settings import Prescription

FULL = Prescription(240.0, 0.9, 15.0, 600.0)


def _estimate(model, state, dose=0.0, time=0.0):
    temperature = model.C @ state + model.outputs.baseline
    rows = model.outputs
    return Estimate(time, state, temperature[rows.constraint], temperature[rows.target],
                    np.full(int(rows.target.sum()), dose), np.zeros(int(rows.constraint.sum())))


def test_a_limit_of_dose_is_kept_in_a_whole_treatment(small_rom, small_patient, treatment_config):
    points = small_rom.outputs.constraint
    doses = []
    for limit in (np.nan, 0.05):
        outputs = replace(small_rom.outputs, limit=np.where(points, 60.0, np.nan),
                          dose_limit=np.where(points, limit, np.nan))
        trajectory, _ = treat(replace(small_rom, outputs=outputs), small_patient, "mintime",
                              treatment_config)
        doses.append(cem43_path(trajectory.constraint_temperature, 2.0).max())
    assert doses[0] > 0.06 and 0.001 < doses[1] <= 0.05


def test_completes_within_the_limits(small_rom, small_patient, treatment_config):
    treatment_config["prescription"].update(coverage=0.99, dose_cem43_min=5000)
    trajectory, metrics = treat(small_rom, small_patient, "mintime", treatment_config)
    assert metrics["status"] == "complete" and metrics["coverage"] >= 0.99
    assert metrics["max_overshoot_k"] <= 0.05
    assert metrics["max_target_temperature_c"] <= 85.5
    assert trajectory.power.sum(axis=1).max() <= 15 * (1 + 1e-9)
    assert ((trajectory.power > 0).sum(axis=1) > 1).any()


def test_solver_failure_switches_the_power_off_and_is_logged(small_rom, small_patient,
                                                             treatment_config, monkeypatch):
    """And the treatment goes on with its plan, as if those samples had been spent."""
    allowed = Limits.allowed

    def fail(self, planned, estimate):
        if 10 <= estimate.time < 20:
            raise NumericalError("no solution")
        return allowed(self, planned, estimate)

    monkeypatch.setattr(Limits, "allowed", fail)
    treatment_config["prescription"]["max_time_s"] = 40
    trajectory, _ = treat(small_rom, small_patient, "mintime", treatment_config, preparation=1)
    heated = trajectory.power.any(axis=1)
    assert heated[:5].all() and not heated[5:10].any() and heated[10]
    failed = [text for text in trajectory.event if "failed" in text]
    assert len(failed) == 1 and "NumericalError: no solution" in failed[0]


def test_finished_when_the_dose_is_sure(model):
    controller = MintimeController(model, FULL, MintimeOptions(preparation=1, finish_factor=1.1))
    for factor, finished in ((1.0, False), (1.09, False), (1.11, True)):
        estimate = _estimate(model, np.zeros(len(model.A)), 240.0 * factor)
        assert controller.finished(estimate) == finished


def test_same_estimates_same_decisions(model):
    """A decision depends on nothing but estimates: not on time that passes, not on chance."""
    runs = []
    for _ in range(2):
        controller = MintimeController(model, FULL, MintimeOptions())
        state, powers = np.zeros(len(model.A)), []
        for _ in range(25):
            powers.append(controller.decide(_estimate(model, state)))
            state = model.A @ state + model.B @ powers[-1]
        runs.append(np.array(powers))
    np.testing.assert_array_equal(*runs)
    assert runs[0].any()


def test_gives_up_without_progress(model):
    controller = MintimeController(model, FULL, MintimeOptions(patience=4))
    for time in (0.0, 2.0, 4.0):
        controller.decide(_estimate(model, np.zeros(len(model.A)), time=time))
        assert not controller.unreachable
    controller.decide(_estimate(model, np.zeros(len(model.A)), time=6.0))
    assert controller.unreachable
