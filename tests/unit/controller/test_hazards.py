"""Hazards of docs/safety.md in whole treatments: each is noticed, named, and does no harm.

A small patient, every kind of fault, both controllers. A fault begins at 10 s where nothing else is
said; images come every 2 s.
"""

import time as clock
from dataclasses import replace

import numpy as np
import pytest
from small_treatment import settings_of

from hifuflow.controller.campaign import campaign_rows
from hifuflow.controller.estimation.kalman import KalmanFilter
from hifuflow.controller.fault_settings import read_faults
from hifuflow.controller.loop import run_treatment
from hifuflow.controller.methods.paper import PaperController
from hifuflow.controller.verdict import verdict
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.study.campaign import Campaign
from hifuflow.study.patient import load_patient

BEGIN = 10.0
AT_ONCE = 4.0  # s: two images after the first that could show it
HARM = 0.3  # K over a limit
CONTROLLERS = pytest.mark.parametrize("controller", ["paper", "mintime"])


def fault(kind, from_s=BEGIN, **further):
    return {"kind": kind, "from_s": from_s, "until_s": None, **further}


class Treated:
    """A treatment with faults: its metrics, and when the power went off for good."""

    def __init__(self, rom, plant, settings, faults, faulty=None):
        self.trajectory, self.metrics = run_treatment(
            rom, plant, replace(settings, faults=read_faults(faults)), faulty)
        on = np.flatnonzero(self.trajectory.power.any(axis=1))
        self.off = self.trajectory.t[on[-1] + 1] if len(on) else 0.0
        self.reason = self.metrics["status_reason"] or ""

    def check(self, words, within=AT_ONCE, begin=BEGIN):
        """Ended with this reason, power off soon after the fault began, and nobody harmed."""
        assert self.metrics["status"] == "aborted" and words in self.reason, self.reason
        assert self.off <= begin + within, self.off
        self.check_limits()

    def check_limits(self):
        assert self.metrics["max_overshoot_k"] <= HARM


@pytest.fixture
def section(treatment_config):
    """Little power, so that a treatment takes a minute and more."""
    treatment_config["prescription"].update(max_power_w=4, max_time_s=240)
    treatment_config["thermometry"]["noise_c"] = 0.5
    return treatment_config


@pytest.fixture
def treated(small_rom, small_patient, section):
    def treat(controller, *faults, plant=None, faulty=None, rom=small_rom):
        return Treated(rom, plant or small_patient, settings_of(section, controller), faults,
                       faulty)
    return treat


@CONTROLLERS
def test_without_a_fault_nothing_is_stopped(treated, controller):
    for faults in ((), (fault("drift", 0, k_per_min=0.1), fault("lost_images", 0, fraction=0.01))):
        one = treated(controller, *faults)
        assert "end: complete" in one.trajectory.event
        assert one.off > BEGIN + 3 * AT_ONCE  # long enough for the faults of the other tests
        one.check_limits()


@CONTROLLERS
def test_h01_no_power_before_the_first_image(treated, controller):
    one = treated(controller, fault("no_image", 0))
    one.check("no valid thermometry yet", begin=0.0)
    assert one.metrics["energy_j"] == 0


@CONTROLLERS
@pytest.mark.parametrize("lost", [fault("no_image"), fault("lost_images", fraction=1)])
def test_h02_lost_images_end_the_treatment(treated, section, controller, lost):
    section["safety"]["max_gap_s"] = 6
    treated(controller, lost).check("no valid thermometry", within=6.0)


@CONTROLLERS
@pytest.mark.parametrize("begin", [0.0, BEGIN])
def test_h03_frozen_images_are_noticed(treated, controller, begin):
    treated(controller, fault("frozen_image", begin, part="all")).check("does not change",
                                                                        begin=begin)


@CONTROLLERS
def test_h04_a_frozen_half_is_noticed(treated, controller):
    treated(controller, fault("frozen_image", part="half")).check("does not change")


@CONTROLLERS
@pytest.mark.parametrize("k_per_min", [3, -3])
def test_h05_drift_is_noticed(treated, controller, k_per_min):
    treated(controller, fault("drift", k_per_min=k_per_min)).check("drift", within=40.0)


@CONTROLLERS
@pytest.mark.parametrize("k", [5, -5])
def test_h06_images_that_jump_are_not_believed(treated, controller, k):
    treated(controller, fault("jump", k=k)).check("", within=AT_ONCE)


@CONTROLLERS
def test_h07_the_age_of_an_image_counts_from_its_acquisition(treated, section, controller):
    one = treated(controller, fault("late_image", 0, s=20))
    assert one.metrics["energy_j"] == 0 and "20 s old" in one.reason
    section["safety"]["max_gap_s"] = 4
    treated(controller, fault("late_image", s=6)).check("old", within=6.0)


@CONTROLLERS
def test_h08_a_clock_that_stands_still_is_noticed(treated, section, controller):
    section["safety"]["max_gap_s"] = 4
    treated(controller, fault("clock_stuck")).check("stand still", within=6.0)


@CONTROLLERS
def test_h09_a_clock_that_runs_backwards_is_noticed(treated, section, controller):
    section["safety"]["max_gap_s"] = 4
    treated(controller, fault("clock_backwards")).check("run backwards", within=6.0)


@CONTROLLERS
def test_h10_images_full_of_noise_are_not_believed(treated, controller):
    treated(controller, fault("noise", k=5)).check("", within=20.0)


@CONTROLLERS
def test_h11_images_without_noise_are_not_believed(treated, controller):
    treated(controller, fault("noise", k=0)).check("less than by its noise", within=20.0)


def test_h12_points_that_are_not_measured_are_told(small_rom, small_patient, section):
    """Half of the constraint points lie in a tissue that gives no signal."""
    regions = np.where(small_patient.outputs.target, "tumour", "gland").astype("<U8")
    regions[:small_patient.outputs.constraint.sum() // 2] = "fat"
    outputs = replace(small_patient.outputs, region=regions)
    section["thermometry"]["no_signal_regions"] = ["fat"]
    one = Treated(replace(small_rom, outputs=outputs), replace(small_patient, outputs=outputs),
                  settings_of(section, "mintime"), [])
    assert any("constraint points are not measured" in text for text in one.trajectory.event)
    one.check_limits()


@CONTROLLERS
def test_h13_heat_at_another_place_is_noticed(treated, altered_patient, controller):
    one = treated(controller, plant=altered_patient(shift=4e-3))
    one.check("", within=30.0, begin=0.0)


@CONTROLLERS
def test_h14_dead_elements_are_noticed(treated, small_patient, controller):
    """200 of 256: 22 % of the power, of which 22 % still meet at the focus."""
    left, B = 56 / 256, small_patient.B
    spread = np.repeat(B.sum(axis=0)[None] / len(B), len(B), axis=0)
    faulty = FaultyLoad(left**2 * B + left * (1 - left) * spread, small_patient.foci)
    one = treated(controller, fault("dead_elements", count=200, seed=1), faulty=faulty)
    one.check("", within=30.0)
    assert "heat" in one.reason or "gain" in one.reason


@CONTROLLERS
def test_h15_power_that_does_not_arrive_is_noticed(treated, controller):
    treated(controller, fault("power_factor", value=0)).check("no heat", within=20.0)


@CONTROLLERS
@pytest.mark.parametrize("value", [2, 4])
def test_h16_more_power_than_commanded_does_no_harm(treated, controller, value):
    treated(controller, fault("power_factor", value=value)).check_limits()


@CONTROLLERS
def test_h17_power_that_is_stuck_is_cut_off(treated, controller):
    one = treated(controller, fault("power_stuck"))
    assert one.metrics["status"] == "aborted"
    one.check_limits()
    hottest = one.trajectory.target_temperature.max(axis=1)
    end = round(one.metrics["treatment_time_s"] / 2)
    assert (np.diff(hottest[end:]) <= 0).all()  # the supply is cut


@CONTROLLERS
def test_h18_swapped_foci_are_noticed(treated, controller):
    treated(controller, fault("swapped_foci", 0)).check("at another place", within=20.0, begin=0.0)


@CONTROLLERS
@pytest.mark.parametrize("perfusion", [0.2, 5.0])
def test_h19_other_perfusion_does_no_harm(treated, altered_patient, controller, perfusion):
    treated(controller, plant=altered_patient(perfusion=perfusion)).check_limits()


@pytest.mark.parametrize("nonsense", [np.full(5, np.nan), np.full(5, -1.0), np.full(5, 9.0), None])
def test_h20_a_command_that_is_nonsense_heats_nobody(treated, monkeypatch, nonsense):
    monkeypatch.setattr(PaperController, "decide", lambda self, estimate: nonsense)
    one = treated("paper")
    one.check("the controller's command is invalid", begin=0.0)
    assert one.metrics["energy_j"] == 0


def test_h21_a_decision_that_comes_late_is_not_obeyed(treated, section, monkeypatch):
    section["safety"].update(max_decision_s=0.01, abort_after_s=10)

    def slow(self, estimate):
        clock.sleep(0.02)
        return np.full(5, 0.5)
    monkeypatch.setattr(PaperController, "decide", slow)
    one = treated("paper")
    one.check("comes too late", begin=0.0)
    assert one.metrics["energy_j"] == 0


def test_h22_no_power_with_an_estimate_that_is_not_finite(treated, monkeypatch):
    update = KalmanFilter.update

    def diverged(self, now, measured):
        estimate = update(self, now, measured)
        return replace(estimate, state=estimate.state * np.nan) if now >= BEGIN else estimate
    monkeypatch.setattr(KalmanFilter, "update", diverged)
    treated("paper").check("no finite estimate")


@CONTROLLERS
def test_h24_power_goes_off_where_it_is_measured_too_hot(treated, section, controller):
    section["safety"].update(max_target_c=50, abort_after_s=10)
    one = treated(controller)
    assert "the target is measured too hot" in one.trajectory.event
    hot = np.flatnonzero(one.trajectory.measured_temperature.max(axis=1) > 50)
    hot = hot[hot < round(one.metrics["treatment_time_s"] / 2)]
    assert len(hot) and not one.trajectory.power[hot].any()


@pytest.mark.parametrize(("changes", "words"), [
    ({"max_overshoot_k": 1.5}, "a hard limit was exceeded by 1.5 K"),
    ({"damaged_normal_volume_m3": 2e-6}, "outside the target"),
    ({"coverage": 0.5}, "were believed to have the dose")])
def test_h25_a_treatment_that_did_harm_is_not_complete(treated, changes, words):
    one = treated("paper")
    assert one.metrics["status"] == "complete"
    _, found = verdict(one.trajectory, {**one.metrics, **changes}, 0.99, "", 1.0)
    assert found["status"] == "aborted" and words in found["status_reason"]


def test_h26_two_faults_at_once_do_no_harm(small_rom, small_patient, section, tmp_path):
    """Random pairs from config/campaign.yaml; a shift of the foci needs the cells of a mesh."""
    (tmp_path / "anna.yaml").write_text(
        "anatomy: {phantom: {kind: breast}}\nregions: {tumour: {labels: [2], tissue: tumour}, "
        "fat: {labels: [1], tissue: fat}}\ntarget: {region: tumour}\n"
        "prescription: {max_time_s: 60}\n")
    names = ["frozen_image", "frozen_half", "no_image", "lost_images", "late_image", "drift",
             "jump", "noise", "no_noise", "clock_stuck", "clock_backwards", "power_low",
             "power_high", "power_stuck", "swapped_foci"]
    draws = Campaign.read({"faults": names, "draws": 0, "pairs": 32, "seed": 1, "controllers": []}
                          ).of(load_patient(tmp_path / "anna.yaml"))
    rows = campaign_rows(small_rom, small_patient, settings_of(section, "mintime"), draws, {}, 1.0)
    assert [row for row in rows if row["outcome"] not in ("kept", "stopped")] == []
    assert sum(row["outcome"] == "stopped" for row in rows) > 16
