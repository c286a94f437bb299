"""A controller and a reduced model of a patient's own in the whole workflow."""

import json
import re
import shutil

import pytest
import yaml

from hifuflow.provenance import ROOT

AFTER_CONTROL = {("export", "gentle"), ("treatment_mesh", ""), ("report", ""), ("summary", "")}


def planned_jobs(checkout, **options) -> set[tuple[str, str]]:
    """(rule, controller or "") of every job that a run would execute now."""
    done = checkout.snakemake("--dry-run", **options)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = set()
    for block in re.split(r"\n(?=(?:local)?rule )", done.stdout + done.stderr)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)[1]
        controller = re.search(r"wildcards: .*\bcontroller=(\w+)", block.split("\n\n")[0])
        jobs.add((rule, controller[1] if controller else ""))
    return {job for job in jobs if job[0] not in ("all", "default")}


class OwnRun:
    """The coarse run's results, and a patient file that adds a controller of its own."""

    def __init__(self, checkout, coarse_run, folder):
        self.checkout, self.folder = checkout, folder
        self.results = checkout.folder / "own" / "breast_small"
        shutil.copytree(coarse_run, self.results, symlinks=True)
        shutil.copy(ROOT / "docs" / "gentle.py", folder)
        self.write(controllers=["paper", "./gentle.py:Gentle"], gentle={"gain_w_k": 0.5})

    def write(self, **sections):
        content = yaml.safe_load((ROOT / "tests/patients/breast_small.yaml").read_text())
        (self.folder / "breast_small.yaml").write_text(yaml.safe_dump(content | sections))

    @property
    def options(self):
        return {"patients_dir": self.folder, "results_dir": "own"}

    def jobs(self):
        return planned_jobs(self.checkout, **self.options)

    def run(self, *arguments):
        done = self.checkout.snakemake(*arguments, **self.options)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def own_run(checkout, coarse_run, tmp_path_factory):
    run = OwnRun(checkout, coarse_run, tmp_path_factory.mktemp("own"))
    run.run()
    return run


def test_its_treatment_stands_beside_the_others(own_run):
    metrics = json.loads((own_run.results / "control/gentle/metrics.json").read_text())
    assert metrics["status"] in ("complete", "timeout") and metrics["energy_j"] > 0
    page = (own_run.results / "report" / "index.html").read_text()
    assert "gain_w_k" in page and "gentle.py:Gentle, sha256 " in page
    assert (own_run.results / "export" / "treatment.vtkhdf").resolve().is_file()
    assert own_run.jobs() == set()


def test_an_edit_reruns_it_and_what_follows_from_it(own_run):
    file = own_run.folder / "gentle.py"
    code = file.read_text()
    try:
        file.write_text("# a remark\n" + code)
        assert own_run.jobs() == set()
        file.write_text(code + "\nEDITED = True\n")
        assert own_run.jobs() == {("control", "gentle")} | AFTER_CONTROL
        (own_run.folder / "helper.py").write_text("X = 1\n")
        file.write_text("import helper\n" + code)
        assert ("control", "paper") not in own_run.jobs()
    finally:
        file.write_text(code)


def test_an_edit_of_its_options_reruns_it_alone(own_run):
    own_run.write(controllers=["paper", "./gentle.py:Gentle"], gentle={"gain_w_k": 0.6})
    try:
        assert own_run.jobs() == {("control", "gentle")} | AFTER_CONTROL
    finally:
        own_run.write(controllers=["paper", "./gentle.py:Gentle"], gentle={"gain_w_k": 0.5})


def test_a_fault_in_its_file_stops_a_run_with_one_error(own_run):
    file = own_run.folder / "gentle.py"
    code = file.read_text()
    try:
        file.write_text(code.replace("class Gentle(Controller)", "class Gentle(Contoller)"))
        done = own_run.checkout.snakemake(**own_run.options)
    finally:
        file.write_text(code)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "Traceback" not in text and "controllers.1 = './gentle.py:Gentle'" in text
    assert "NameError: name 'Contoller' is not defined" in text


def test_a_reduced_model_from_elsewhere_takes_the_place_of_ours(own_run):
    given = own_run.folder / "my_rom.h5"
    shutil.copy(own_run.results / "reduction" / "rom.h5", given)
    own_run.write(reduction={"model": "./my_rom.h5"}, controllers=["paper"])
    jobs = own_run.jobs()
    assert ("reduce", "") in jobs and ("control", "paper") in jobs
    assert not jobs & {("mesh", ""), ("assemble", ""), ("heating", "")}
    own_run.run("--until", "reduce")
    certificate = json.loads((own_run.results / "reduction/certificate.json").read_text())
    assert certificate["certified"] is True and certificate["model"] == "my_rom.h5"
    assert ("reduce", "") not in own_run.jobs()
    shutil.copy(ROOT / "README.md", given)  # another content
    assert ("reduce", "") in own_run.jobs()
