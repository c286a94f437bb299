"""The model replayed with a treatment's powers against the patient that was treated."""

import json

import numpy as np
import pytest
from small_treatment import treat

from hifuflow.controller.model_difference import model_difference, predicted_temperature
from hifuflow.settings import Prescription

FULL = Prescription(240.0, 0.9, 15.0, 600.0)


@pytest.fixture
def treated(small_rom, small_patient, treatment_config):
    treatment_config["prescription"]["max_time_s"] = 120
    return treat(small_rom, small_patient, "paper", treatment_config)


def test_no_difference_where_the_model_is_the_patient(treated):
    _, metrics = treated
    found = metrics["model_difference"]
    json.dumps(found, allow_nan=False)
    assert max(found["constraint"]["max_k"], found["target"]["max_k"]) < 2e-3
    assert found["t90_ratio"] == pytest.approx(1, abs=1e-3)


def test_a_patient_that_absorbs_less_has_that_fraction_as_difference(model, treated):
    """Truth 0.8 of what the model says: off by 0.25 of the rise, in every measure."""
    trajectory, _ = treated
    temperature = 37 + 0.8 * (predicted_temperature(model, trajectory.power) - 37)
    trajectory.constraint_temperature = temperature[:, model.outputs.constraint]
    trajectory.target_temperature = temperature[:, model.outputs.target]
    found = model_difference(model, trajectory, FULL)
    for kind in ("constraint", "target"):
        assert found[kind]["rms_fraction"] == pytest.approx(0.25, rel=1e-4)
        assert found[kind]["max_fraction"] == pytest.approx(0.25, rel=1e-4)
        largest = (getattr(trajectory, f"{kind}_temperature") - 37).max()
        assert found[kind]["max_k"] == pytest.approx(0.25 * largest, rel=1e-4)
    assert found["t90_ratio"] > 2


def test_times_of_the_dose(model, treated):
    """Held at 43 degC, 240 min need 4 h; the patient, at 53 degC, has them in 240 / 2^10 min."""
    trajectory, _ = treated
    n, m = trajectory.target_temperature.shape
    trajectory.power = np.zeros((n, trajectory.power.shape[1]))
    trajectory.target_temperature = np.full((n, m), 53.0)
    trajectory.coverage = (trajectory.t >= 16).astype(float)  # as the plant has it, in samples
    found = model_difference(model, trajectory, FULL)
    assert found["time_to_t90_s"] == {"model": None, "patient": 16.0}
    assert found["t90_ratio"] == 0
    trajectory.target_temperature[:] = 37.0
    found = model_difference(model, trajectory, FULL)
    assert found["t90_ratio"] is None and found["target"]["max_fraction"] is None
