"""Treatments with one fault of sensor, array or tissue: what is said, and what is not found.

That each hazard of docs/safety.md is noticed with each controller is in test_hazards.py.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from small_treatment import settings_of, treat

from hifuflow.controller.loop import run_treatment
from hifuflow.controller.methods.base import Controller
from hifuflow.controller.methods.option import NoOptions
from hifuflow.errors import InputError

SAMPLE, FROM = 2.0, 20.0
OVER = 0.3  # K


def fault(kind, from_s=FROM, until_s=None, **further):
    return {"kind": kind, "from_s": from_s, "until_s": until_s, **further}


@pytest.fixture
def section(treatment_config):
    """A treatment of a minute at little power, with noise."""
    treatment_config["thermometry"]["noise_c"] = 0.5
    treatment_config["prescription"]["max_power_w"] = 4
    return treatment_config


@pytest.fixture
def ends(small_rom, small_patient, section):
    """`ends(fault, reason, images)`: treat with a fault; aborted for the reason, power off so many
    images after the fault began."""
    def judge(one, reason, images, controller="paper", plant=small_patient, **changes):
        section["faults"] = [one] if one else []
        trajectory, metrics = treat(small_rom, plant, controller, section)
        assert metrics["status"] == "aborted", metrics["status_reason"]
        assert re.search(reason, metrics["status_reason"]), metrics["status_reason"]
        assert any(re.search(reason, event) for event in trajectory.event)
        given = np.flatnonzero(trajectory.power.sum(axis=1) > 0)
        off = trajectory.t[given[-1]] + SAMPLE if len(given) else 0.0
        assert off <= (one["from_s"] if one else 0.0) + images * SAMPLE
        assert metrics["max_overshoot_k"] <= OVER
        return trajectory, metrics
    return judge


def test_nothing_is_found_where_nothing_is_wrong(small_rom, small_patient, section):
    section["thermometry"].update(loss_probability=0.01, drift_c_per_min=0.1)
    for seed in range(1, 4):
        section["thermometry"]["seed"] = seed
        trajectory, metrics = treat(small_rom, small_patient, "paper", section)
        assert metrics["status"] == "complete" and metrics["status_reason"] is None
        assert not [event for event in trajectory.event if "image" in event or "heat" in event]


def test_h03_a_frozen_image_that_moves_again_is_believed_again(small_rom, small_patient, section):
    section["faults"] = [fault("frozen_image", FROM, FROM + 20, part="all")]
    trajectory, metrics = treat(small_rom, small_patient, "paper", section)
    assert metrics["status"] == "complete" and "power allowed again" in trajectory.event
    frozen = (trajectory.t >= FROM) & (trajectory.t < FROM + 20)
    assert not trajectory.power[frozen][1:].any()


@pytest.mark.parametrize(("rate", "word"), [(3, "hot"), (-3, "cold")])
def test_h05_drift(ends, rate, word):
    ends(fault("drift", 0, k_per_min=rate), f"the images drift: .* too {word}", 10)


@pytest.mark.parametrize(("jump", "word"), [(4, "hot"), (-4, "cold")])
def test_h06_jump(ends, jump, word):
    ends(fault("jump", k=jump), f"the images drift: .* too {word}", 3)


def test_h07_late_images(ends):
    ends(fault("late_image", s=6), "no valid thermometry: the images are 6 s old, and not 0 s", 6)


def test_h07_a_latency_that_leaves_no_power_is_refused(small_rom, small_patient, section):
    section["thermometry"]["latency_s"] = 20
    with pytest.raises(InputError, match="older than power may be given") as refused:
        treat(small_rom, small_patient, "paper", section)
    assert refused.value.key == "thermometry.latency_s"
    assert refused.value.file == "breast_reference.yaml"


def test_h10_noise(ends):
    ends(fault("noise", k=4), "noisier than stated", 4)


def test_h12_it_is_said_where_the_supervisor_is_blind(small_rom, small_patient, section):
    outputs = replace(small_rom.outputs, region=np.where(
        small_rom.outputs.position[:, 0] > 0.02, "fat", "tumour"))
    section["thermometry"]["no_signal_regions"] = ["fat"]
    rom, plant = (replace(model, outputs=outputs) for model in (small_rom, small_patient))
    trajectory, _ = treat(rom, plant, "paper", section)
    blind = np.count_nonzero((outputs.region == "fat") & outputs.constraint)
    whole = np.count_nonzero(outputs.constraint)
    assert 0 < blind < whole
    assert [event for event in trajectory.event if "constraint points are not measured" in event] \
        == [f"{blind} of {whole} constraint points are not measured: there the limits rest on the "
            "model, what was learned elsewhere, and the margins"]


@pytest.mark.parametrize("shift", [4e-3, -4e-3])
def test_h13_focal_shift(ends, altered_patient, shift):
    ends(None, "at another place than commanded|no heat where", 8,
         plant=altered_patient(shift=shift))


@pytest.mark.parametrize("start", [0, FROM])
def test_h15_no_power(ends, start):
    ends(fault("power_factor", start, value=0), "the images show no heat where 4 W were sent", 3)


def test_h16_double_power(ends):
    ends(fault("power_factor", value=2), "times the heat where 4 W were sent", 3)


def test_h17_power_goes_on_after_it_was_switched_off(small_rom, small_patient, section):
    class Pulse(Controller):
        def decide(self, estimate):
            return np.full(5, 0.8 if estimate.time < 20 else 0.0)

    section["faults"] = [fault("power_stuck", 10)]
    settings = replace(settings_of(section, "paper"), controller=Pulse, options=NoOptions())
    _, metrics = run_treatment(small_rom, small_patient, settings)
    assert metrics["status"] == "aborted" and metrics["treatment_time_s"] <= 20 + 3 * SAMPLE
    assert metrics["status_reason"] == "the images show heat without command"


def test_h18_swapped_foci(ends):
    ends(fault("swapped_foci"), "at another place than commanded|no heat where", 3)


@pytest.mark.parametrize("factors", [{"perfusion": 5.0}, {"conductivity": 0.6}, {"shift": 1e-3}])
def test_h19_other_tissue_is_learned_and_not_mistaken_for_a_fault(small_rom, altered_patient,
                                                                  section, factors):
    _, metrics = treat(small_rom, altered_patient(**factors), "paper", section)
    assert metrics["status"] == "complete" and metrics["max_overshoot_k"] <= OVER


@pytest.mark.parametrize("factor", [0.3, 2.0])
def test_h19_other_absorption_is_learned(small_rom, small_patient, section, factor):
    plant = replace(small_patient, B=factor * small_patient.B)
    _, metrics = treat(small_rom, plant, "paper", section)
    assert metrics["status"] == "complete" and metrics["max_overshoot_k"] <= OVER


def test_h25_complete_is_not_said_while_power_is_held_off(small_rom, small_patient, section):
    """The frozen image shows a target that stays hot: by it the dose would soon be reached."""
    class Done(Controller):
        def decide(self, estimate):
            return np.full(5, 0.8)

        def finished(self, estimate):
            return estimate.time > 30

    section["faults"] = [fault("frozen_image", part="all")]
    settings = replace(settings_of(section, "paper"), controller=Done, options=NoOptions())
    _, metrics = run_treatment(small_rom, small_patient, settings)
    assert (metrics["status"], metrics["status_reason"]) == ("aborted", "the image does not change")
