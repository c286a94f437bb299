"""`hifuflow run`: which command of Snakemake it becomes, and what it refuses before."""

import os
import subprocess
import sys

import pytest
import yaml

from hifuflow.errors import InputError
from hifuflow.provenance import PACKAGE, ROOT
from hifuflow.study.commands.run import environment, snakemake_command, split

DEFAULT = str(ROOT / "workflow" / "profiles" / "default")


def value(command, option):
    """The word after an option."""
    assert command.count(option) == 1, command
    return command[command.index(option) + 1]


def config(command) -> dict:
    """What Snakemake will understand by the last --config."""
    words = command[len(command) - command[::-1].index("--config"):]
    words = words[:words.index("--")] if "--" in words else words
    return {key: yaml.load(text, yaml.BaseLoader)
            for key, _, text in (word.partition("=") for word in words)}


@pytest.mark.parametrize(("words", "ours", "further"), [
    ("a.yaml b.yaml", "a.yaml b.yaml", ""),
    ("a.yaml -n --until mesh", "a.yaml", "-n --until mesh"),
    ("--results out a.yaml -n", "--results out a.yaml", "-n"),
    ("a.yaml --config x=1 --results=out -j 2", "a.yaml --results=out", "--config x=1 -j 2"),
    ("a.yaml -- file --results x", "a.yaml", "-- file --results x"),
    ("-n --help", "--help", "-n"),
])
def test_words_go_to_the_one_who_understands_them(words, ours, further):
    assert split(["run", *words.split()]) == (["run", *ours.split()], further.split())


def test_other_commands_keep_all_their_words():
    assert split(["inspect", "--x", "--", "y"]) == (["inspect", "--x", "--", "y"], [])


def test_by_default_the_reference_patient_on_all_cores():
    command = snakemake_command([], None, [])
    assert command[:3] == [sys.executable, "-m", "snakemake"]
    assert value(command, "--snakefile") == str(ROOT / "workflow" / "Snakefile")
    assert value(command, "--cores") == "all"
    assert value(command, "--workflow-profile") == DEFAULT
    assert "--config" not in command


def test_files_are_found_from_wherever_snakemake_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    command = snakemake_command(["study/anna.yaml", "breast_planes"], "my results", [])
    assert config(command) == {"patients": [str(tmp_path / "study" / "anna.yaml"), "breast_planes"],
                               "results_dir": "my results"}


@pytest.mark.parametrize("name", ["all", "33", "breast_planes"])
def test_a_single_name_is_taken_as_in_the_configuration(name):
    assert config(snakemake_command([name], None, []))["patients"] == name


def test_a_link_keeps_its_name(tmp_path):
    (tmp_path / "anna.yaml").touch()
    (tmp_path / "second.yaml").symlink_to("anna.yaml")
    command = snakemake_command([str(tmp_path / "second.yaml")], None, [])
    assert config(command)["patients"] == str(tmp_path / "second.yaml")


def test_options_of_snakemake_pass_unchanged():
    command = snakemake_command(["breast_planes"], None, [
        "--dry-run", "--config", "mpi_ranks=8", "-c", "3", "--", "some/file"])
    assert "--cores" not in command
    assert config(command) == {"mpi_ranks": "8", "patients": "breast_planes"}
    assert command[-2:] == ["--", "some/file"]


@pytest.mark.parametrize(("options", "absent"), [
    (["-j", "4"], "--cores"), (["--cores", "2"], ["--cores", "all"]),
    (["--workflow-profile", "slurm"], "--cores"),  # its jobs are limited, not its cores
])
def test_cores_are_asked_for_where_nobody_else_says_how_many(options, absent):
    command = snakemake_command([], None, options)
    assert all(command[i:i + 2] != ["--cores", "all"] for i in range(len(command)))
    assert absent == ["--cores", "all"] or absent not in command


def test_a_profile_of_ones_own_says_how_many_cores(tmp_path):
    (tmp_path / "config.yaml").write_text("cores: 3\nconfig: {mpi_ranks: 2}\n")
    command = snakemake_command(["breast_planes"], None, ["--profile", str(tmp_path)])
    assert "--cores" not in command
    assert config(command) == {"mpi_ranks": "2", "patients": "breast_planes"}


@pytest.mark.parametrize(("patients", "results", "further", "message"), [
    ([], None, ["-n", "anna.yaml"], "anna.yaml.*stands among Snakemake's options"),
    ([], None, ["--config", "mpi_ranks=2", "anna.yaml"], "anna.yaml.*stands among"),
    (["anna"], None, ["--config", "patients=bob"], "--config patients = 'bob': is given twice"),
    ([], "out", ["--config", "results_dir=in"], "results_dir = 'in': is given twice"),
    ([], None, ["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ([], None, ["--cores", "some"], "cores"),
    ([], None, ["--profile", "nowhere"], "nowhere"),
])
def test_what_snakemake_would_misunderstand_is_refused(patients, results, further, message):
    with pytest.raises(InputError, match=message):
        snakemake_command(patients, results, further)


def test_jobs_find_this_environment_and_this_package(monkeypatch):
    monkeypatch.setenv("PATH", "/somewhere")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = environment()
    assert found["PATH"] == f"{sys.prefix}/bin{os.pathsep}/somewhere"
    assert found["PYTHONPATH"] == str(PACKAGE.parent)


def test_patients_of_several_folders_in_one_dry_run(tmp_path):
    """From an empty folder, as a user does it; everything stays in it."""
    text = (ROOT / "tests" / "patients" / "breast_small.yaml").read_text()
    for name in ("one/anna", "two/bob", "three/anna"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "work").mkdir()

    def run(*words):
        return subprocess.run([f"{sys.prefix}/bin/hifuflow", "run", *words, "-n"], text=True,
                              cwd=tmp_path / "work", capture_output=True)

    done = run("../one/anna.yaml", "../two/bob.yaml", "--results", "out")
    assert done.returncode == 0, done.stderr
    planned = done.stdout + done.stderr
    assert "out/anna/report/index.html" in planned and "out/bob/report/index.html" in planned
    assert "breast_reference" not in planned
    done = run("../one/anna.yaml", "../three/anna.yaml")
    assert done.returncode != 0
    assert "two patients are called 'anna'" in done.stderr and "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "work").iterdir()} == {".snakemake"}
