from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import nnls
from small_treatment import treat

from hifuflow.controller.methods.hyperthermia import HyperthermiaController
from hifuflow.settings import Prescription


def test_holds_the_mean_temperature_for_the_time(small_rom, small_patient, treatment_config):
    treatment_config["thermometry"]["noise_c"] = 0.5
    trajectory, metrics = treat(small_rom, small_patient, "hyperthermia", treatment_config,
                                hold=200)
    assert metrics["status"] == "complete"
    assert metrics["held_mean_c"] == pytest.approx(42.0, abs=0.15)
    assert metrics["held_t90_c"] < metrics["held_t50_c"] < metrics["held_t10_c"]
    assert metrics["held_s"] == 200
    assert metrics["held_from_s"] == metrics["treatment_time_s"] - 200
    assert metrics["time_in_window_fraction"] == 1
    assert metrics["max_overshoot_k"] == 0.0
    held = trajectory.target_temperature[(trajectory.t > metrics["treatment_time_s"] - 150)
                                         & (trajectory.t < metrics["treatment_time_s"])]
    weight = trajectory.outputs.volume[trajectory.outputs.target]
    mean = held @ weight / weight.sum()
    assert mean.min() > 41.7 and mean.max() < 42.3


def test_held_temperatures_of_a_made_up_course(model):
    """Four volumes of 1, 2, 3 and 4 parts at 40, 41, 42 and 43 degC for half of the time, at 40
    degC for the rest: what 90, 50 and 10 % are above, and the part of it in the window."""
    controller = HyperthermiaController(model, Prescription(240.0, 0.9, 15.0, 600.0),
                                        HyperthermiaController.Options())
    controller._weight, controller._began = np.array([0.1, 0.2, 0.3, 0.4]), 20.0
    t = np.arange(0, 122.0, 2)
    power = np.where(t < 120, 1.0, 0.0)[:, None]
    temperature = np.where(t[:, None] <= 69, [[40.0, 41, 42, 43]], 40.0)
    found = controller.metrics(SimpleNamespace(t=t, power=power, target_temperature=temperature))
    first = (t[(t >= 20) & (t <= 69)].size) / t[t >= 20].size
    assert found["held_from_s"] == 20 and found["held_s"] == 100
    assert found["held_mean_c"] == pytest.approx(40 + 2 * first)
    for name, extra in (("held_t90_c", 1), ("held_t50_c", 2), ("held_t10_c", 3)):
        assert found[name] == pytest.approx(40 + extra * first), name
    assert found["time_in_window_fraction"] == pytest.approx(first)  # 42 +- 1


def test_a_limit_below_the_temperature_is_kept(small_rom, small_patient, treatment_config):
    """The points at 39 degC stop the heating: the time never begins."""
    small_rom.outputs.limit[small_rom.outputs.constraint] = 37.3
    try:
        treatment_config["prescription"]["max_time_s"] = 200
        _, metrics = treat(small_rom, small_patient, "hyperthermia", treatment_config,
                                hold=200)
    finally:
        small_rom.outputs.limit[small_rom.outputs.constraint] = 43.0
    assert metrics["status"] == "timeout" and metrics["held_mean_c"] is None
    assert metrics["held_t50_c"] is None and metrics["time_in_window_fraction"] is None
    assert metrics["max_constraint_temperature_c"] < 37.3


def test_lasting_powers_heat_the_target_best(model):
    """Against non-negative least squares on the steady state of the model itself."""
    controller = HyperthermiaController(model, Prescription(240.0, 0.9, 15.0, 600.0),
                                        HyperthermiaController.Options())
    rise = model.target_rows @ np.linalg.solve(np.eye(len(model.A)) - model.A, model.B)
    weight = model.outputs.volume[model.outputs.target]
    weight = weight / weight.sum()
    matrix = np.vstack([np.sqrt(weight)[:, None] * rise, np.sqrt(30) * weight @ rise])
    best, _ = nnls(matrix, np.append(np.sqrt(weight), np.sqrt(30)) * 5.0)
    np.testing.assert_allclose(rise @ controller._lasting, rise @ best, rtol=0.01)
    assert weight @ rise @ controller._lasting == pytest.approx(5.0, abs=0.01)
