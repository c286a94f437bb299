"""What a fault campaign says of each treatment."""

import numpy as np
import pytest
from small_treatment import settings_of

from hifuflow.controller.campaign import campaign_rows, outcome, power_off, was_stopped
from hifuflow.controller.loop import run_treatment

FROZEN = {"kind": "frozen_image", "from_s": 6.0, "until_s": None, "part": "all"}
DEAD = {"kind": "dead_elements", "from_s": 0.0, "until_s": None, "count": 9, "seed": 1}
LOST = {"kind": "no_image", "from_s": 10.0, "until_s": None}


def draw(number, *faults, seed=1):
    return {"number": number, "fault": "one", "sound": False, "seed": seed, "faults": list(faults),
            "begins_s": min((fault["from_s"] for fault in faults), default=0.0)}


@pytest.fixture
def settings(treatment_config):
    treatment_config["prescription"]["max_time_s"] = 40
    treatment_config["thermometry"]["noise_c"] = 0.5
    return settings_of(treatment_config, "paper")


def test_rows_are_those_of_the_treatments(small_rom, small_patient, settings):
    plain, frozen, other = campaign_rows(small_rom, small_patient, settings, [
        draw(1), draw(2, FROZEN), draw(3, seed=2)], {}, 1.0)
    for key, value in run_treatment(small_rom, small_patient, settings)[1].items():
        if key in plain:
            assert plain[key] == value, key
    assert plain["outcome"] == "kept" and plain["power_off_s"] is None
    assert frozen["begins_s"] == 6.0 and frozen["faults"] == [FROZEN]
    hottest = [row["max_target_temperature_c"] for row in (plain, frozen, other)]
    assert len(set(hottest)) == 3  # other faults, and other noise


def test_rows_are_the_same_again(small_rom, small_patient, settings):
    rows = [campaign_rows(small_rom, small_patient, settings, [draw(1, FROZEN)], {}, 1.0)
            for _ in range(2)]
    assert rows[0] == rows[1]


def test_a_treatment_that_fails_is_a_row_that_says_so(small_rom, small_patient, settings):
    failed, kept = campaign_rows(small_rom, small_patient, settings,
                                 [draw(1, DEAD), draw(2)], {}, 1.0)
    assert failed["outcome"] == "failed" and "KeyError: '9_1'" in failed["reason"]
    assert failed["status"] is failed["max_overshoot_k"] is failed["power_off_s"] is None
    assert set(failed) == set(kept) and kept["outcome"] == "kept"


def test_power_that_is_taken_away_is_told_with_its_time(small_rom, small_patient,
                                                        treatment_config):
    treatment_config["safety"].update(max_gap_s=4, abort_after_s=10)
    treatment_config["prescription"]["dose_cem43_min"] = 1e30
    settings = settings_of(treatment_config, "paper")
    (row,) = campaign_rows(small_rom, small_patient, settings, [draw(1, LOST)], {}, 1.0)
    assert row["status"] == "aborted" and row["outcome"].startswith("stopped")
    assert 0 <= row["power_off_s"] <= 6.0  # 4 s are bridged


class Log:
    def __init__(self, power, events=()):
        self.power, self.t = np.array(power, float)[:, None], 2.0 * np.arange(len(power))
        self.event = np.array(events, dtype=str)


def test_power_is_off_where_it_stays_off():
    assert power_off(Log([1, 1, 0, 1, 0, 0, 0])) == 8.0
    assert power_off(Log([0, 0, 0])) == 0.0


def test_a_stuck_array_is_off_when_the_treatment_ends(small_rom, small_patient, treatment_config):
    treatment_config["safety"].update(max_gap_s=4, abort_after_s=10)
    treatment_config["prescription"].update(dose_cem43_min=1e30, max_power_w=2)
    settings = settings_of(treatment_config, "paper")
    stuck = {"kind": "power_stuck", "from_s": 8.0, "until_s": None}
    (row,) = campaign_rows(small_rom, small_patient, settings, [draw(1, LOST, stuck)], {}, 1e3)
    assert row["outcome"] == "stopped"
    assert row["power_off_s"] == row["treatment_time_s"] - 8.0


def test_a_controllers_pause_is_no_stop():
    pause = Log([1, 1, 0, 0], ["end: timeout"])
    assert not was_stopped(pause, {"status_reason": "prescription.max_time_s is over"})
    assert not was_stopped(pause, {})
    assert was_stopped(pause, {"status_reason": "..., and power is held off: no valid image"})
    assert was_stopped(Log([1, 0, 0, 0], ["end: aborted"]), {})
    assert was_stopped(Log([0, 0, 0, 0], ["end: timeout"]), {})


@pytest.mark.parametrize(("over", "stopped", "complete", "expected"), [
    (False, False, True, "kept"), (False, True, False, "stopped"),
    (True, True, False, "stopped late"), (True, False, False, "over"),
    (True, False, True, "silent")])
def test_outcomes(over, stopped, complete, expected):
    assert outcome(over, stopped, complete) == expected
