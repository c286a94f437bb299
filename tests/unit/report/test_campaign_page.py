"""The page and the table of a fault campaign."""

import csv
import json

import pytest

from hifuflow.report.campaign import MOST_ROWS, counts, write_campaign

FAULT = {"kind": "drift", "from_s": 3.0, "until_s": None, "k_per_min": 2.5}
SETTINGS = {"file": "anna.yaml", "seed": 5, "draws": 2, "pairs": 1, "over_k": 1,
            "controllers": ["paper", "mintime"]}


def row(number, fault="drift", outcome="kept", **changes):
    return {"number": number, "fault": fault, "sound": False, "begins_s": 3.0, "faults": [FAULT],
            "outcome": outcome, "reason": "", "power_off_s": None, "status": "complete",
            "treatment_time_s": 60.0, "time_to_t90_s": None, "energy_j": 1e3, "coverage": 0.5,
            "max_overshoot_k": 0.25, "max_target_temperature_c": 80.0,
            "damaged_normal_volume_m3": 2e-7, **changes}


FAILED = {key: None for key in ("status", "max_overshoot_k", "coverage", "damaged_normal_volume_m3",
                                "max_target_temperature_c", "treatment_time_s", "energy_j")}


@pytest.fixture
def written(tmp_path):
    def write(*parts):
        write_campaign([{"controller": name, "rows": rows} for name, rows in parts], SETTINGS,
                       "anna", tmp_path / "index.html", tmp_path / "campaign.csv")
        with open(tmp_path / "campaign.csv", newline="") as stream:
            return (tmp_path / "index.html").read_text(), list(csv.DictReader(stream))
    return write


def test_page_shows_counts_and_the_worst(written):
    page, table = written(("paper", [
        row(1), row(2, outcome="stopped", power_off_s=4.0, max_overshoot_k=0.5, status="aborted",
                    reason="<frozen> images"),
        row(3, outcome="over", max_overshoot_k=3.456, power_off_s=None),
        row(4, "drift + jump", outcome="stopped late", max_overshoot_k=1.5, power_off_s=12.0)]))
    for words in ("1 harm, power on", "1 limits kept", "1 power off<", "3.46 K", "4 s",
                  "two faults at once", "1 power off too late", "kind: drift, from_s: 3.0, k_"):
        assert words in page, words
    assert "2 of them did harm, failed or were stopped without need" in " ".join(page.split())
    assert "http" not in page.replace("http-equiv", "")  # nothing is loaded from anywhere
    assert [line["number"] for line in table] == ["1", "2", "3", "4"]
    assert json.loads(table[0]["faults"]) == [FAULT]
    assert table[1]["reason"] == "<frozen> images" and table[2]["power_off_s"] == ""


def test_a_failed_draw_is_a_line_that_says_so(written):
    page, table = written(("paper", [row(1, outcome="failed", reason="KeyError: <a>", **FAILED)]))
    assert "1 failed" in page and "KeyError: &lt;a&gt;" in page and "<a>" not in page
    assert table[0]["outcome"] == "failed" and table[0]["max_overshoot_k"] == ""


def test_stopping_a_sound_treatment_is_a_false_alarm():
    rows = [row(1, "none", sound=True), row(2, "none", "stopped", sound=True),
            row(3, "none", "over", sound=True)]
    assert counts(rows) == {("harm, power on", "red"): 1, ("false alarm", "amber"): 1,
                            ("limits kept", "green"): 1}


def test_controllers_stand_side_by_side_in_the_order_of_the_faults(written):
    page, table = written(("paper", [row(1, "drift"), row(2, "jump")]),
                          ("mintime", [row(1, "drift"), row(2, "jump")]))
    body = page[page.index("<tbody>"):]
    places = [body.index(f'<th scope="row">{fault}</th><td>{name}</td>')
              for fault in ("drift", "jump") for name in ("paper", "mintime")]
    assert places == sorted(places)
    assert len(table) == 4


def test_a_page_of_thousands_stays_readable(written):
    page, table = written(("paper", [row(i, outcome="over", max_overshoot_k=2.0)
                                     for i in range(MOST_ROWS + 20)]))
    assert "20 more are in the table" in page and len(table) == MOST_ROWS + 20
    assert page.count("<tr>") < MOST_ROWS + 10
