"""Threads that a rule gets follow what it has to do, and the cores that a patient can have."""

import re

import pytest
import yaml

from hifuflow.provenance import ROOT


@pytest.fixture(scope="module")
def planned_threads(checkout, tmp_path_factory):
    """`planned_threads(cores, *names)` : (patient, rule) -> threads, by a dry run."""
    folder = tmp_path_factory.mktemp("patients")
    small = yaml.safe_load((ROOT / "tests" / "patients" / "breast_small.yaml").read_text())
    large = {**small, "mesh": {"control": {"cells": 60_000}, "plant": {"cells": 100_000}},
             "acoustics": {"spacing_mm": 0.4}, "foci": {"spacing_mm": 2},
             "reduction": {"order": 1500}}
    for name, content in (("small", small), ("large", large)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def plan(cores, *names):
        done = checkout.snakemake("--dry-run", "--cores", str(cores), names=names,
                                  patients_dir=folder, results_dir=folder / "results")
        assert done.returncode == 0, done.stdout + done.stderr
        jobs = {}
        for job in re.split(r"\n(?=(?:local)?rule )", done.stdout + done.stderr):
            rule = re.match(r"(?:local)?rule (\w+):", job)
            patient = re.search(r"wildcards: .*\bpatient=(\w+)", job)
            if rule and patient:
                threads = re.search(r"^    threads: (\d+)$", job, re.MULTILINE)
                jobs[patient[1], rule[1]] = int(threads[1]) if threads else 1
        return jobs
    return plan


def test_more_work_gets_more_threads(planned_threads):
    threads = planned_threads(16, "small") | planned_threads(16, "large")
    for rule in ("heating", "reduce"):
        assert 1 < threads["small", rule] < threads["large", rule] < 16, rule
    assert threads["large", "plan"] == 1


def test_patients_of_one_run_share_the_cores(planned_threads):
    threads = planned_threads(6, "small", "large")
    assert threads["large", "reduce"] == threads["large", "heating"] == 3
    assert planned_threads(1, "large")["large", "reduce"] == 1
