"""The command line as a whole: help, version, completion, errors; every command answers at once."""

import os
import subprocess
import sys

import pytest

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.job import write_json
from hifuflow.provenance import ROOT, created_by
from hifuflow.study.command_line import COMMANDS, command_line, main
from hifuflow.study.commands.messages import each
from hifuflow.study.commands.run import split
from hifuflow.study.key_table import configuration_page

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]
CONTRACT = {"run", "validate", "inspect", "reduce", "summary", "new", "campaign"}


def hifuflow(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "hifuflow", *arguments], text=True,
                          capture_output=True, **{"cwd": ROOT, **options})


def test_the_commands_are_there():
    assert set(NAMES) >= CONTRACT


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_an_example_that_the_command_line_understands(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    examples = [line.split("  (")[0].split() for line in text.splitlines()
                if line.startswith(f"  hifuflow {name}")]
    assert examples
    for words in examples:
        if name != "run":  # its options are Snakemake's, see test_run_command.py
            assert command_line().parse_args(split(words[1:])[0])


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == created_by()


def test_module_and_script_are_the_same_command():
    assert hifuflow("--version").stdout.strip() == created_by()
    script = subprocess.run([f"{sys.prefix}/bin/hifuflow", "--version"], capture_output=True,
                            text=True)
    assert script.stdout.strip() == created_by()


def test_help_and_completion_load_no_library():
    code = ("import sys\nfrom hifuflow.study.command_line import command_line\ncommand_line()\n"
            "print(*{name.partition('.')[0] for name in sys.modules})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          check=True)
    assert not {"numpy", "yaml", "snakemake", "nibabel", "matplotlib"} & set(done.stdout.split())


def completed(line: str, folder) -> list[str]:
    """What the shell offers after a line."""
    answer = folder / "answer"
    done = hifuflow(cwd=folder, env={
        **os.environ, "PYTHONPATH": str(ROOT), "_ARGCOMPLETE": "1", "COMP_LINE": line,
        "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)})
    assert done.returncode == 0, done.stderr
    return [word.strip() for word in answer.read_text().splitlines()]


def test_completion_of_commands_options_and_patients(tmp_path):
    (tmp_path / "anna.yaml").touch()
    (tmp_path / "anna.nii.gz").touch()
    (tmp_path / "study").mkdir()
    assert set(completed("hifuflow ", tmp_path)) >= CONTRACT
    assert completed("hifuflow va", tmp_path) == ["validate"]
    assert completed("hifuflow reduce --tol", tmp_path) == ["--tolerance", "--tolerance-k"]
    assert set(completed("hifuflow validate ", tmp_path)) >= {"anna.yaml", "study/"}
    assert "anna.nii.gz" not in completed("hifuflow validate ", tmp_path)
    assert set(completed("hifuflow run b", tmp_path)) == {"breast_planes", "breast_reference"}
    assert completed("hifuflow run anna.yaml --results ", tmp_path) == ["study/"]


def test_every_fault_has_its_line_and_the_rest_goes_on(capsys):
    def show(item):
        if item == "bad":
            raise InvalidConfig([InputError("first", key="a"), InputError("second", key="b")])
        if item == "worse":
            raise InputError("third")
        return item

    assert each(["bad", "good", "worse"], show) == 2
    shown = capsys.readouterr()
    assert shown.out == "good\n"
    assert shown.err.splitlines() == ["ERROR a: first", "ERROR b: second", "ERROR third"]
    assert each(["good"], show) == 0


@pytest.mark.parametrize("options", [["--order", "0"], ["--order", "some"], ["--threads", "-1"],
                                     ["--tolerance-k", "nan"],
                                     ["--order", "5", "--tolerance-k", "1"]])
def test_numbers_that_mean_nothing_are_refused(options, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["reduce", "model.mat", *options])
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def results(folder):
    """Results of three patients: one done, one failed, one on its way."""
    done = folder / "done"
    (done / "report").mkdir(parents=True)
    (done / "report" / "index.html").touch()
    write_json(done / "control" / "paper" / "metrics.json",
               {"status": "complete", "treatment_time_s": 61.0, "coverage": 0.99,
                "max_overshoot_k": 0.0})
    for name, last in (("done", "[paper] done in 3.0 s, 3.0 s of CPU"),
                       ("failed", "[mesh] ERROR too few cells"), ("going", "")):
        (folder / name / "logs").mkdir(parents=True)
        if last:
            (folder / name / "logs" / "mesh.log").write_text(f"12:00:00 {last}\n")
    return folder


def test_summary_of_all_and_of_some(tmp_path, capsys):
    results(tmp_path)
    assert main(["summary", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "61 s" in text and "99.0 %" in text
    assert "failed: FAILED in mesh: too few cells" in text
    assert "going: not finished" in text
    assert main(["summary", str(tmp_path), "going", "nobody"]) == 0
    assert capsys.readouterr().out == "going: not finished\nnobody: no results\n"


def test_summary_of_no_folder(tmp_path, capsys):
    assert main(["summary", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_document_prints_or_writes_the_page(tmp_path, capsys):
    assert main(["document"]) == 0
    assert capsys.readouterr().out == configuration_page()
    assert main(["document", "--output", str(tmp_path / "keys.md")]) == 0
    assert (tmp_path / "keys.md").read_text() == configuration_page()
