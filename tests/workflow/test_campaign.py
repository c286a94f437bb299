"""`hifuflow campaign` on the coarse patient, after the coarse run: only treatments are computed."""

import csv
import shutil
import subprocess
import sys

import pytest

FAULTS = "frozen_image,power_high"


@pytest.fixture(scope="module")
def campaign(checkout, coarse_run, patients_dir):
    """Runs a campaign on a copy of the coarse run's results; (finished process, its folder)."""
    results = checkout.folder / "campaigns" / "breast_small"
    shutil.copytree(coarse_run, results, symlinks=True)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "hifuflow", "campaign", str(patients_dir / "breast_small.yaml"),
             "--results", "campaigns", "--faults", FAULTS, "--draws", "2", "--controllers", "paper",
             *arguments, "--", "--cores", "2"], cwd=checkout.folder, env=checkout.environment,
            capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done, results / "campaign"
    return run


def rows(folder) -> list[dict]:
    with open(folder / "campaign.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_campaign_is_a_page_and_a_table_and_computes_nothing_twice(campaign):
    done, folder = campaign()
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "rule heating:" not in said and "rule report:" not in said
    assert f"fault campaign: campaigns/breast_small/{folder.name}/index.html" in said
    table, page = rows(folder), (folder / "index.html").read_text()
    assert [(row["controller"], row["fault"]) for row in table] == [
        ("paper", fault) for fault in FAULTS.split(",") for _ in range(2)]
    assert all(row["outcome"] in ("kept", "stopped", "stopped late", "over") for row in table)
    assert len({row["faults"] for row in table}) == 4
    assert page.count("<th scope=\"row\">frozen_image</th>") == 1 and "Overshoot" in page
    before = (folder / "campaign.csv").read_bytes()
    done, folder = campaign()
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert (folder / "campaign.csv").read_bytes() == before


def test_bad_requests_are_one_error_before_anything_runs(campaign):
    done, _ = campaign("--faults", "frozen")
    assert done.returncode != 0
    assert "campaign.faults = 'frozen': is not known" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
