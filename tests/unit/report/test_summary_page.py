"""The page and the table that compare patients: every treatment is there, with its numbers."""

import csv
import json
import re

import pytest

from hifuflow.report.settings import HoldSettings, SummarySettings
from hifuflow.report.summary import Failure, write_summary

CONTROLLERS = {"anna": ["paper", "mintime"], "berta": ["paper"]}
HOLD = HoldSettings(temperature=42, hold=1800, window=1, in_window=0.95, spread=1.1)
SETTINGS = SummarySettings(CONTROLLERS, {"anna": 0.99, "berta": 0.7},
                           dict.fromkeys(CONTROLLERS, HOLD))
HELD = {"held_mean_c": 41.8, "held_t90_c": 40.7, "held_t50_c": 41.9, "held_t10_c": 42.9,
        "time_in_window_fraction": 0.97, "held_s": 1800.0}


@pytest.fixture
def results(plain_case, tmp_path):
    for number, (patient, names) in enumerate(CONTROLLERS.items()):
        for name in names:
            control = tmp_path / patient / "control" / name
            plain_case.trajectory.save(control / "trajectory.h5", patient, "0" * 64)
            metrics = dict(plain_case.metrics, treatment_time_s=1000.0 + number,
                           time_to_t90_s=None, constraints={"skin": {"violated": 3}})
            (control / "metrics.json").write_text(json.dumps(metrics))
    write_summary(tmp_path, SETTINGS, tmp_path / "summary.html", tmp_path / "summary.csv")
    return tmp_path


def test_summary_page(results):
    text = (results / "summary.html").read_text()
    assert re.findall(r'<a href="([^"]*)"', text) == [
        "anna/report/index.html", "anna/report/index.html", "berta/report/index.html"]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", text, re.DOTALL)
    assert len(rows) == 3 and "1,001 s" in rows[2] and "not reached" in rows[0]
    # 74.13 % treated: short of Anna's goal, enough for Berta's.
    assert all("chip amber\">not reached" in row for row in rows[:2])
    assert "74.1 %</span> <span class=\"chip green\">reached" in rows[2]
    assert all("1.25 K</span> <span class=\"chip red\">exceeded" in row for row in rows)
    assert "data:image/png;base64" in text and "<script" not in text


def test_summary_table(results, plain_case):
    with open(results / "summary.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["patient"], row["controller"]) for row in rows] == [
        ("anna", "paper"), ("anna", "mintime"), ("berta", "paper")]
    assert float(rows[2]["treatment_time_s"]) == 1001
    assert rows[0]["time_to_t90_s"] == ""
    assert rows[0]["constraints.skin.violated"] == "3"
    assert set(plain_case.metrics) <= {name.split(".")[0] for name in rows[0]}


def write_with(results, case, names=("hyperthermia",), failed=(), **metrics):
    """Another patient, of whom only some controllers' treatments are there."""
    for name in names:
        control = results / "carla" / "control" / name
        case.trajectory.save(control / "trajectory.h5", "carla", "0" * 64)
        (control / "metrics.json").write_text(json.dumps({**case.metrics, **metrics}))
    settings = SummarySettings(
        {**CONTROLLERS, "carla": ["hyperthermia", "raster"]}, {**SETTINGS.coverage, "carla": 0.9},
        {**SETTINGS.hold, "carla": HOLD})
    write_summary(results, settings, results / "summary.html", results / "summary.csv", failed)
    return (results / "summary.html").read_text()


def rows_of(text, patient):
    return [row for row in re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", text, re.DOTALL)
            if patient in row]


def test_hyperthermia_is_judged_by_its_own_goals(results, plain_case):
    (row,) = rows_of(write_with(results, plain_case, **HELD), "carla")
    assert "41.8 °C</span> <span class=\"chip green\">reached" in row
    assert "40.7 °C</span> <span class=\"chip amber\">not reached" in row  # T90, at least 40.9
    assert "42.9 °C</span> <span class=\"chip green\">reached" in row
    assert "97.0 %</span> <span class=\"chip green\">reached" in row
    assert "74.1 %" not in row  # of the target at the dose: no goal of it
    (row,) = rows_of(write_with(results, plain_case, **dict.fromkeys(HELD)), "carla")
    assert row.count("never held") == 6


def test_what_failed_is_named_and_takes_nothing_from_the_others(results, plain_case):
    failed = [Failure("carla", "report", "no such <focus>", "carla/logs/report.log")]
    text = write_with(results, plain_case, failed=failed, **HELD)
    said, row = rows_of(text, "carla")
    assert "no such &lt;focus&gt;" in said and "carla/logs/report.log" in said
    assert "href" not in row and len(rows_of(text, "anna")) == 2  # carla has no page
    (results / "carla" / "report").mkdir()
    (results / "carla" / "report" / "index.html").write_text("")
    assert "href" in rows_of(write_with(results, plain_case, failed=failed, **HELD), "carla")[1]


def test_a_summary_of_nothing_says_so(tmp_path):
    write_summary(tmp_path, SETTINGS, tmp_path / "summary.html", tmp_path / "summary.csv")
    assert "No treatment is finished" in (tmp_path / "summary.html").read_text()
