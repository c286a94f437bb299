"""An edit reruns exactly the rules that depend on it."""

import pytest

AFTER_ANATOMY = {"constraints", "plan", "mesh", "heating", "assemble", "reduce", "control",
                 "export", "treatment_mesh", "report", "summary"}
AFTER_CONTROL = {"export", "treatment_mesh", "report", "summary"}


@pytest.fixture
def edit(checkout, coarse_run, patients_dir):
    """Append to a file, or replace text in it; undone after the test."""
    saved = {}

    def change(name, old, new=""):
        path = (patients_dir if name.startswith("breast") else checkout.folder) / name
        saved.setdefault(path, (path.read_bytes(), path.stat()))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new) if old else text + new)
        return checkout.planned_rules(patients_dir=patients_dir)

    yield change
    for path, (content, _) in saved.items():
        path.write_bytes(content)


def test_nothing_to_do_after_a_run(checkout, coarse_run, patients_dir):
    assert checkout.planned_rules(patients_dir=patients_dir) == set()


@pytest.mark.parametrize(("module", "rules"), [
    ("anatomy/phantom.py", {"anatomy"} | AFTER_ANATOMY),
    ("acoustics/angular_spectrum.py", {"heating", "assemble", "reduce", "control"} | AFTER_CONTROL),
    ("fem/pennes.py", {"assemble", "reduce", "control"} | AFTER_CONTROL),
    ("reduction/reduce.py", {"reduce", "control"} | AFTER_CONTROL),
    ("controller/methods/paper.py", {"control"} | AFTER_CONTROL),
    ("report/page.py", {"report"}),
])
def test_edited_code_reruns_its_stage_and_what_follows(edit, module, rules):
    assert edit(module, "", "\nEDITED = True\n") == rules


def test_comments_rerun_nothing(edit):
    assert edit("anatomy/phantom.py", "", "\n# a remark\n") == set()


@pytest.mark.parametrize(("old", "new", "rules"), [
    ("points: 60", "points: 61", {"constraints", "assemble", "reduce", "control"} | AFTER_CONTROL),
    ("order: 150", "order: 140", {"reduce", "control"} | AFTER_CONTROL),
    ("max_time_s: 60", "max_time_s: 30", {"control"} | AFTER_CONTROL),
    ("cells: 3500", "cells: 3600", {"mesh", "assemble", "control"} | AFTER_CONTROL),
])
def test_edited_configuration_reruns_what_uses_it(edit, old, new, rules):
    assert edit("breast_small.yaml", old, new) == rules


def test_an_ensemble_takes_over_the_models(edit):
    rules = edit("breast_small.yaml", "order: 150}", "order: 150}\nensemble: {draws: 2}")
    assert {"control_draw", "ensemble"} <= rules
    assert not rules & {"anatomy", "mesh", "heating", "assemble", "reduce", "control"}
