import inspect
import time as clock

import numpy as np
import pytest
from small_treatment import treat

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.imaging import Image
from hifuflow.controller.methods.paper import PaperController
from hifuflow.controller.safety.finding import Finding
from hifuflow.controller.safety.supervisor import Supervisor
from hifuflow.controller.settings import SafetySettings

LIMIT = np.array([43.0, 43.0, np.nan])
COOL = np.array([40.0, 41.0, 60.0])


class Watched:
    """A supervisor with its events, and a controller that commands what it is told to."""

    def __init__(self):
        self.events, self.time, self.answer, self.asked = [], -2.0, np.array([5.0, 3.0]), 0
        self.late, self.finding = 0.0, Finding()
        self.build()

    def build(self, **changed):
        settings = SafetySettings(10.0, 60.0, 95.0, 3.0, **changed)
        self.supervisor = Supervisor(settings, LIMIT, 2, 10.0, self.events.append)

    def decide(self, estimate):
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def step(self, measured=COOL, valid=True, state=0.0):
        self.time += 2.0
        estimate = Estimate(self.time, np.full(3, state), COOL[:2], COOL[2:], np.zeros(1),
                            np.zeros(2), valid=valid)
        image = Image(self.time - self.late, np.array(measured))
        return self.supervisor.command(estimate, image, self.decide, self.finding)


@pytest.fixture
def watched():
    return Watched()


def test_a_sound_command_passes(watched):
    status, power = watched.step()
    assert (status, power.tolist(), watched.events) == ("", [5.0, 3.0], [])


INVALID = "the controller's command is invalid: "


@pytest.mark.parametrize(("answer", "event"), [
    (np.array([np.nan, 0]), INVALID + "not finite"),
    (np.array([np.inf, 0]), INVALID + "not finite"),
    (np.array([-1.0, 2]), INVALID + "negative"), (np.array([9.0, 9]), INVALID + "above full power"),
    (np.array([5.0, 5 + 1e-7]), INVALID + "above full power"),
    (np.array([1.0]), INVALID + "not one power for each of 2 foci"),
    (None, INVALID + "not one power for each of 2 foci"),
    ("much", "the controller failed: ValueError: could not convert string to float: 'much'"),
    (SystemExit(1), "the controller failed: SystemExit: 1"),
    (ValueError("no\n solution"), "the controller failed: ValueError: no solution")])
def test_nothing_unchecked_reaches_the_patient(watched, answer, event):
    watched.answer = answer
    status, power = watched.step()
    assert status == "" and not power.any() and len(watched.events) == 1
    assert watched.events[0].startswith(event)
    watched.answer = np.array([1.0, 1.0])
    assert watched.step()[1].sum() == 2.0
    assert watched.events[1] == "power allowed again"


def test_a_failure_is_named(watched):
    watched.answer = ValueError("no solution")
    watched.step()
    line = inspect.getsourcelines(Watched.decide)[1] + 3
    assert watched.events == [
        f"the controller failed: ValueError: no solution (test_safety.py, line {line})"]


def test_power_goes_off_when_images_are_lost_for_too_long(watched):
    watched.step()
    powers = [watched.step(valid=False)[1].sum() for _ in range(8)]
    assert powers == [8.0] * 5 + [0.0] * 3  # 10 s are bridged
    assert watched.asked == 6  # and then the controller is not asked
    assert watched.step()[1].sum() == 8.0
    assert watched.events == ["no valid thermometry", "power allowed again"]


@pytest.mark.parametrize("measured, event", [
    ([40, 46.1, 60], "normal tissue is measured too hot"),
    ([40, 41, 95.1], "the target is measured too hot")])
def test_power_goes_off_at_once_over_a_hard_limit(watched, measured, event):
    assert not watched.step(measured)[1].any()
    assert watched.events == [event]
    assert watched.step([np.nan, 45.9, 94.9])[1].any()


def test_a_hard_limit_may_be_reached_but_not_exceeded(watched):
    assert watched.step([46.0, 46.0, 95.0])[1].any() and not watched.events


@pytest.mark.parametrize(("measured", "event"), [
    ([47.0, 41, 95.1], "normal tissue is measured too hot"),
    ([46.1, 41, 97.0], "the target is measured too hot")])
def test_what_is_furthest_above_its_limit_is_named(watched, measured, event):
    watched.step(measured)
    assert watched.events == [event]


def test_h01_no_power_before_the_first_valid_image(watched):
    assert [watched.step(valid=False)[1].any() for _ in range(3)] == [False] * 3
    assert watched.asked == 0 and watched.events == ["no valid thermometry yet"]
    assert watched.step()[1].any() and watched.events[1:] == ["power allowed again"]


def test_h02_gaps_count_from_acquisition(watched):
    watched.late = 4.0
    watched.step()
    powers = [watched.step(valid=False)[1].any() for _ in range(5)]
    assert powers == [True] * 3 + [False] * 2  # 10 s after the image was acquired


def test_what_is_found_holds_the_power_and_is_named_first(watched):
    for finding in (Finding("the images drift"), Finding("", withheld="they stand still")):
        watched.finding = finding
        powers = [watched.step([40, 99, 60] if finding.reason else COOL, valid=bool(finding.reason))
                  for _ in range(7)]
        assert not powers[-1][1].any() and powers[-1][0] == ""
        watched.finding = Finding()
        watched.step()
    assert watched.events == ["the images drift", "power allowed again",
                              "no valid thermometry: they stand still", "power allowed again"]


def test_what_waiting_cannot_mend_ends_the_treatment_at_once(watched):
    watched.step()
    watched.finding = Finding("no heat", final=True)
    status, power = watched.step()
    assert status == "aborted" and not power.any() and watched.events == ["no heat"]


def test_h21_a_decision_that_comes_too_late_is_not_obeyed(watched):
    def slow(estimate):
        clock.sleep(0.02)
        return watched.answer
    watched.decide = slow
    assert watched.step()[1].any()  # the patient of a simulation waits
    watched.build(max_decision=0.01)
    assert not watched.step()[1].any()
    assert watched.events == ["the controller's decision comes too late"]


def test_the_traceback_of_a_fault_is_logged_once(watched, logged):
    watched.answer = ValueError("no solution")
    for _ in range(3):
        watched.step()
    (entry,) = logged.records
    assert entry.getMessage() == "the controller failed"
    assert entry.exc_info[1] is watched.answer
    watched.answer = KeyError("another")
    watched.step()
    assert len(logged.records) == 2


def test_an_estimate_that_is_not_finite(watched):
    assert not watched.step(state=np.nan)[1].any()
    assert watched.events == ["no finite estimate"]


def test_aborted_when_power_stays_off(watched):
    statuses = [watched.step([40, 99, 60])[0] for _ in range(31)]
    assert statuses == [""] * 30 + ["aborted"]


def test_a_failing_controller_heats_nothing(small_rom, small_patient, treatment_config,
                                            monkeypatch):
    def fail(self, estimate):
        if 20 <= estimate.time < 40:
            raise ZeroDivisionError("division by zero")
        return np.full(5, 1.0)
    monkeypatch.setattr(PaperController, "decide", fail)
    treatment_config["prescription"]["max_time_s"] = 60
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert trajectory.power.sum(axis=1)[:31].tolist() == [5.0] * 10 + [0.0] * 10 + [5.0] * 10 + [0]
    events = list(trajectory.event)
    assert [text for text in events if "failed" in text] == [
        next(text for text in events if text.startswith(
            "the controller failed: ZeroDivisionError: division by zero (test_safety.py, line "))]
    assert "power allowed again" in events
    assert metrics["status"] == "timeout"


def test_aborted_without_thermometry(small_rom, small_patient, treatment_config):
    treatment_config["thermometry"]["lost_s"] = [[10, 600]]
    treatment_config["prescription"]["dose_cem43_min"] = 1e30
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["status"] == "aborted"
    assert metrics["treatment_time_s"] == 8 + 10 + 2 + 60
    assert not trajectory.power[10:].any()
    assert "no valid thermometry" in trajectory.event


def test_dropouts_of_ten_seconds_are_survived(small_rom, small_patient, treatment_config):
    treatment_config["thermometry"].update(noise_c=0.5, lost_s=[[20, 30], [60, 70], [101, 111]])
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["status"] == "complete"
    assert metrics["max_overshoot_k"] < 0.3
    assert "no valid thermometry" not in trajectory.event
    assert np.isnan(trajectory.measured_temperature[10:16]).all()
