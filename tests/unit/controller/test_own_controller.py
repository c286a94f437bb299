"""Controllers from a user's own file: the documented example, and what their faults lead to."""

import shutil
from dataclasses import replace

import pytest
import yaml
from compartments import LIMIT, models
from hypothesis import given, settings
from test_limits_law import ALLOWED, closed_loop

from hifuflow.controller.loop import run_treatment
from hifuflow.controller.methods.own import load_class
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.settings import Prescription
from hifuflow.study.patient import load_patient

GENTLE = ROOT / "docs" / "gentle.py"
FAULTY = """
import numpy as np
from hifuflow.controller.methods.base import Controller


class Faulty(Controller):
{body}
"""
STEADY = "    def decide(self, estimate):\n        return np.full(5, 0.5)\n"


@pytest.fixture
def section_with(tmp_path):
    """The section `control` of a patient file that names one controller of its own."""
    def section(entry, options=None):
        content = yaml.safe_load((ROOT / "config/patients/breast_reference.yaml").read_text())
        content |= {"controllers": [entry], **(options or {}),
                    "prescription": {"coverage": 0.9, "max_power_w": 15, "max_time_s": 600},
                    "thermometry": {"noise_c": 0.0}}
        path = tmp_path / "patient.yaml"
        path.write_text(yaml.safe_dump(content))
        patient = load_patient(path)
        return patient.section("control", patient.controllers[0])
    return section


@pytest.fixture
def faulty(tmp_path, section_with, small_rom, small_patient):
    """Treat with a class `Faulty` whose body is given."""
    def treatment(body, max_time=60.0):
        (tmp_path / "faulty.py").write_text(FAULTY.format(body=body))
        read = TreatmentSettings.read(section_with("./faulty.py:Faulty"))
        read = replace(read, prescription=replace(read.prescription, max_time=max_time))
        return run_treatment(small_rom, small_patient, read)
    return treatment


def test_the_documented_example_treats_within_the_limits(tmp_path, section_with, small_rom,
                                                         small_patient):
    shutil.copy(GENTLE, tmp_path)
    section = section_with("./gentle.py:Gentle", {"gentle": {"gain_w_k": 0.5}})
    read = TreatmentSettings.read(section)
    assert read.options.gain == 0.5
    _, metrics = run_treatment(small_rom, small_patient, read)
    assert metrics["status"] == "complete" and metrics["coverage"] >= 0.9
    assert metrics["max_overshoot_k"] == 0
    gentler = replace(read, options=type(read.options)(gain=0.02))
    assert (run_treatment(small_rom, small_patient, gentler)[1]["time_to_t90_s"]
            > metrics["time_to_t90_s"])


def test_the_page_shows_the_example_as_it_is():
    assert f"```python\n{GENTLE.read_text()}```" in (ROOT / "docs/own_controller.md").read_text()


@settings(max_examples=8, deadline=None)
@given(model=models)
def test_the_example_keeps_the_limits_of_any_model(model):
    prescription = Prescription(1e4, 1.0, 100.0, 3600.0)
    kind = load_class(GENTLE, "Gentle")
    record, powers = closed_loop(model, kind(model, prescription, kind.Options(gain=10.0)),
                                 prescription)
    assert record.max() <= LIMIT + ALLOWED and powers.any()


@pytest.mark.parametrize("method", ["decide", "finished"])
def test_an_error_switches_the_power_off_and_is_named(faulty, method):
    body = STEADY.replace("decide", "power") + (
        "    def decide(self, estimate):\n        return self.power(estimate)\n") + (
        f"    def {method}(self, estimate):\n"
        "        if 20 <= estimate.time < 30:\n"
        "            1 / 0\n"
        "        return " + ("self.power(estimate)" if method == "decide" else "False") + "\n")
    trajectory, metrics = faulty(body)
    line = FAULTY.format(body=body).splitlines().index("            1 / 0") + 1
    assert trajectory.power.sum(axis=1)[:20].tolist() == [2.5] * 10 + [0.0] * 5 + [2.5] * 5
    assert ("the controller failed: ZeroDivisionError: division by zero "
            f"(faulty.py, line {line})") in trajectory.event
    assert metrics["status"] == "timeout"


def test_a_controller_that_keeps_failing_aborts_the_treatment(faulty):
    _, metrics = faulty("    def decide(self, estimate):\n        raise ValueError\n", 600.0)
    assert metrics["status"] == "aborted" and metrics["treatment_time_s"] == 60


def test_one_that_forgets_its_base_class_is_named(faulty):
    trajectory, metrics = faulty("    def __init__(self, *arguments):\n        pass\n" + STEADY)
    assert metrics["status"] == "timeout"
    assert any("AttributeError" in text and "model" in text for text in trajectory.event)


def test_one_that_cannot_start_ends_the_run_with_one_error(faulty, tmp_path):
    with pytest.raises(InputError) as caught:
        faulty("    def __init__(self, model):\n        pass\n" + STEADY)
    assert str(tmp_path / "faulty.py") in str(caught.value)
    assert "Faulty cannot start: TypeError" in str(caught.value)
    with pytest.raises(InputError, match=r"ZeroDivisionError.*\(faulty.py, line 8\)"):
        faulty("    def __init__(self, *arguments):\n        1 / 0\n" + STEADY)


def test_its_own_metrics_stand_beside_the_others_and_replace_none(faulty, logged):
    _, metrics = faulty(STEADY + (
        "    def metrics(self, trajectory):\n"
        "        return {'switches': np.int64(3), 'mean_w': np.float32(2), 'held_s': np.nan,\n"
        "                'coverage': 1.0, 'by_focus': np.arange(2.0)}\n"))
    assert (metrics["switches"], metrics["mean_w"], metrics["held_s"]) == (3, 2.0, None)
    assert metrics["by_focus"] == [0.0, 1.0]
    assert metrics["coverage"] < 1.0 and "do not replace coverage" in logged.text


@pytest.mark.parametrize("answer", ["1 / 0", "{'model': self.model}", "{1: {2}}", "3"])
def test_a_fault_in_its_metrics_loses_no_treatment(faulty, logged, answer):
    trajectory, metrics = faulty(STEADY + (
        f"    def metrics(self, trajectory):\n        return {answer}\n"))
    assert metrics["status"] == "timeout" and len(trajectory.t) > 30
    assert "own metrics are left out" in logged.text


def test_notes_become_events(faulty):
    trajectory, _ = faulty("    def decide(self, estimate):\n        self.note(estimate.time)\n"
                           "        return np.zeros(5)\n")
    assert {"0.0", "2.0", "58.0"} <= set(trajectory.event)


def test_giving_up_ends_the_treatment(faulty):
    _, metrics = faulty("    def decide(self, estimate):\n"
                        "        self.unreachable = estimate.time >= 10\n"
                        "        return np.zeros(5)\n")
    assert metrics["status"] == "unreachable" and metrics["treatment_time_s"] == 10
