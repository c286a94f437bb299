"""The page and the table that compare patients: every treatment is there, with its numbers."""

import csv
import json
import re

import pytest

from hifuflow.report.summary import write_summary

CONTROLLERS = {"anna": ["paper", "mintime"], "berta": ["paper"]}


@pytest.fixture
def results(plain_case, tmp_path):
    for number, (patient, names) in enumerate(CONTROLLERS.items()):
        for name in names:
            control = tmp_path / patient / "control" / name
            plain_case.trajectory.save(control / "trajectory.h5", patient, "0" * 64)
            metrics = dict(plain_case.metrics, treatment_time_s=1000.0 + number,
                           time_to_t90_s=None, constraints={"skin": {"violated": 3}})
            (control / "metrics.json").write_text(json.dumps(metrics))
    goals = {"anna": 0.99, "berta": 0.7}
    write_summary(tmp_path, CONTROLLERS, goals, tmp_path / "summary.html",
                  tmp_path / "summary.csv")
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
