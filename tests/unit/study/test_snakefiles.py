"""The workflow's files are clean by Snakemake's own tools, and both ways in work."""

import subprocess
import sys

import pytest
import yaml

from hifuflow.provenance import ROOT

SNAKEFILES = ("Snakefile", "workflow/Snakefile")
RULES = {"anatomy", "constraints", "plan", "mesh", "heating", "assemble", "reduce", "control",
         "export", "treatment_mesh", "report", "summary"}


def snakemake(*arguments, cwd=ROOT):
    done = subprocess.run([sys.executable, "-m", "snakemake", *arguments], cwd=cwd, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_snakefmt_has_nothing_to_change():
    done = subprocess.run([sys.executable, "-m", "snakefmt", "--check", *SNAKEFILES[:1],
                           "workflow"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("snakefile", SNAKEFILES)
def test_lint_has_nothing_to_say(snakefile):
    assert "good condition" in snakemake("--lint", "--snakefile", snakefile)


@pytest.mark.parametrize("snakefile", SNAKEFILES)
def test_both_ways_in_plan_the_same_run(snakefile, tmp_path):
    text = snakemake("--dry-run", "--quiet", "reason", "--snakefile", str(ROOT / snakefile),
                     cwd=tmp_path)
    rules = {line.split()[1].rstrip(":") for line in text.splitlines()
             if line.startswith(("rule ", "localrule "))}
    assert rules - {"all", "default"} == RULES


def test_what_the_catalogue_asks_for_is_there():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    assert usage["mandatory-flags"]["flags"] == [] and "make setup" in (
        usage["mandatory-flags"]["desc"])
    assert usage["software-stack-deployment"] == {
        "conda": False, "apptainer": False, "apptainer+conda": False, "report": True}
    for name in ("workflow/Snakefile", "config/README.md", "README.md", "LICENSE"):
        assert (ROOT / name).is_file()
    setup = (ROOT / "Makefile").read_text()
    assert "\nsetup:" in setup and "\nrun: setup" in setup


def test_the_version_is_the_same_everywhere():
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_image_is_built_from_every_folder_that_runs():
    from hifuflow.provenance import STAGES

    recipe = (ROOT / "workflow" / "envs" / "hifuflow.def").read_text()
    for name in ("hifuflow", "study", *STAGES, "workflow", "config"):
        assert f"    {name} /opt/hifuflow/\n" in recipe
