import csv

import numpy as np
import pytest
from small_treatment import treat

from hifuflow.controller.ensemble import NUMBERS, distributions, drawn_settings, table
from hifuflow.controller.settings import Spread


def _draw(status="complete", **changes):
    return {**dict.fromkeys(NUMBERS, 1.0), "status": status, **changes}


def test_draws_differ_by_their_seeds_only(treatment_config):
    spread = {"perfusion": 0.2, "conductivity": 0, "absorption": 0, "focal_shift_mm": 3}
    treatment_config["ensemble"] = {"seed": 5, "spread": spread}
    first, third = (drawn_settings(treatment_config, number) for number in (1, 3))
    assert first.thermometry.seed == first.patient.seed == 5
    assert third.thermometry.seed == third.patient.seed == 7
    assert third.patient.spread == Spread(0.2, 0.0, 0.0, 3e-3)
    assert third.patient.time_step == treatment_config["plant"]["time_step_s"]
    assert third.drawn(third.patient.spread, 5) == first


def test_distributions_are_percentiles_of_what_exists():
    draws = [_draw(max_overshoot_k=value) for value in np.linspace(0, 1, 101)]
    draws += [_draw("timeout", time_to_t90_s=None, max_overshoot_k=0.5)]
    content = distributions(draws)
    assert content["draws"] == 102
    assert content["status"] == {"complete": 101, "timeout": 1}
    assert content["max_overshoot_k"]["p95"] == pytest.approx(0.95, abs=0.01)
    assert content["max_overshoot_k"]["max"] == 1.0
    assert content["time_to_t90_s"]["n"] == 101 and content["time_to_t90_s"]["values"][-1] is None


def test_table_has_a_line_for_each_draw():
    rows = list(csv.DictReader(table([_draw(coverage=0.9), _draw("timeout")]).splitlines()))
    assert [row["draw"] for row in rows] == ["1", "2"]
    assert rows[0]["coverage"] == "0.9" and rows[1]["status"] == "timeout"


def test_overshoot_with_and_without_noise(small_rom, small_patient, altered_patient,
                                          treatment_config):
    """The exact model without noise, with noise, and wrong models with noise."""
    treatment_config["prescription"].update(max_power_w=40, max_time_s=300)
    exact = treat(small_rom, small_patient, "paper", treatment_config)[1]
    treatment_config["thermometry"]["noise_c"] = 0.5
    noisy = treat(small_rom, small_patient, "paper", treatment_config)[1]
    wrong = altered_patient(perfusion=0.8)
    wrong.B = 1.2 * wrong.B
    hot = treat(small_rom, wrong, "paper", treatment_config)[1]
    assert exact["max_overshoot_k"] <= 0.05
    assert noisy["max_overshoot_k"] <= 0.3
    assert hot["max_overshoot_k"] <= 0.5
    assert exact["max_constraint_temperature_c"] > 42  # the limit was near
