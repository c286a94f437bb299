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
    assert metrics["held_t90_c"] < metrics["held_mean_c"] < metrics["held_t10_c"]
    assert metrics["held_s"] == pytest.approx(200, abs=2.1)
    assert metrics["max_overshoot_k"] == 0.0
    held = trajectory.target_temperature[(trajectory.t > metrics["treatment_time_s"] - 150)
                                         & (trajectory.t < metrics["treatment_time_s"])]
    weight = trajectory.outputs.volume[trajectory.outputs.target]
    mean = held @ weight / weight.sum()
    assert mean.min() > 41.7 and mean.max() < 42.3


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
