"""Plan, simulate and report treatments: the whole workflow, in whichever folder you are.

Patients are files, also from several folders, or names: those of patients that come with the
package, or of files in a folder of your own (--config patients_dir=FOLDER). Without any the
reference patient is treated. All other options are Snakemake's and come after the patients; all
cores are used unless --cores says otherwise. A run that was interrupted goes on where it was when
it is started again, and nothing is computed twice.

  hifuflow run anna.yaml
  hifuflow run study/anna.yaml other/bob.yaml --results out --cores 4
  hifuflow run anna.yaml --dry-run
  hifuflow run all --config patients_dir=study mpi_ranks=4
  hifuflow run study/*.yaml --workflow-profile slurm
  hifuflow run anna.yaml -- results/anna/mesh/control.msh     (only this file)
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr
from itertools import islice
from pathlib import Path

from hifuflow.errors import InputError

from .completion import folders, patients

USAGE = "hifuflow run [PATIENT ...] [--results FOLDER] [options of Snakemake] [-- FILE ...]"


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.usage = USAGE
    parser.add_argument("patients", nargs="*", metavar="PATIENT",
                        help="patient file, or name of one").completer = patients
    parser.add_argument("--results", metavar="FOLDER",
                        help="folder for everything that is written; default results"
                        ).completer = folders


def split(words) -> tuple[list[str], list[str]]:
    """The words that the command line understands itself, and those for Snakemake.

    Of `run`, the latter are all from the first unknown option on but --results and --help; of
    `campaign`, all after --.
    """
    if list(words[:1]) == ["campaign"] and "--" in words:
        dashes = list(words).index("--")
        return list(words[:dashes]), list(words[dashes + 1:])
    if list(words[:1]) != ["run"]:
        return list(words), []
    ours, further = [], []
    following = iter(words)
    for word in following:
        if word == "--":
            further += [word, *following]
        elif word == "--results":
            ours += [word, *islice(following, 1)]
        elif word in ("-h", "--help") or word.startswith("--results="):
            ours.append(word)
        elif further or word.startswith("-"):
            further.append(word)
        else:
            ours.append(word)
    return ours, further


def main(arguments) -> int:
    """Become Snakemake; returns only if that cannot be."""
    command = snakemake_command(arguments.patients, arguments.results, arguments.snakemake)
    sys.stdout.flush()
    os.execve(command[0], command, environment())


def snakemake_command(patients: list[str], results: str | None, further: list[str],
                      sections: dict | None = None) -> list[str]:
    """The command that treats `patients`; `further` are options of Snakemake and `-- FILE ...`,
    `sections` more of the configuration.

    Raises
    ------
    InputError : something is given twice, a patient stands among Snakemake's options, or Snakemake
        does not understand the options.
    """
    from hifuflow.provenance import ROOT

    dashes = further.index("--") if "--" in further else len(further)
    options, files = further[:dashes], further[dashes:]
    fixed = ["--snakefile", str(ROOT / "workflow" / "Snakefile")]
    arguments = _understood([*fixed, *options])
    if arguments.workflow_profile is None:
        fixed += ["--workflow-profile", str(ROOT / "workflow" / "profiles" / "default")]
    if arguments.cores is None and arguments.jobs is None:
        fixed += ["--cores", "all"]
    settings = _settings(patients, results) | (sections or {})
    _check(arguments, settings)
    # Snakemake uses only the last --config, so this one repeats the content of the first.
    config = [*(arguments.config or []), *(f"{key}={json.dumps(value, ensure_ascii=False)}"
                                           for key, value in settings.items())]
    if config:
        options = [*options, "--config", *config]
    return [sys.executable, "-m", "snakemake", *fixed, *options, *files]


def _understood(options: list[str]):
    """Snakemake's parsed options, those of profiles included."""
    from snakemake.cli import parse_args
    from snakemake.exceptions import CliException

    said = io.StringIO()
    try:
        with redirect_stderr(said):  # it will say which profiles it uses once more
            return parse_args(options)[1]
    except SystemExit as ended:
        if not ended.code:  # it was asked for its version
            raise
        fault = said.getvalue().strip().rpartition("\n")[2].rpartition("error: ")[2]
        raise InputError(f"Snakemake: {fault}", allowed="what hifuflow run --help and "
                         "python -m snakemake --help list") from None
    except CliException as error:
        raise InputError(f"Snakemake: {error}") from None


def _settings(patients: list[str], results: str | None) -> dict:
    """Values that override those of config/config.yaml."""
    from hifuflow.study.study import is_path

    # Absolute paths stay valid if --directory changes the folder.
    named = [_absolute(patient) if is_path(patient) else patient for patient in patients]
    settings = {"patients": named[0] if len(named) == 1 else named} if named else {}
    return settings | ({"results_dir": results} if results else {})


def _absolute(file: str) -> str:
    """Absolute path of a file; its name is kept, even that of a link."""
    path = Path(file).expanduser()
    return str(path.parent.resolve() / path.name)


def _check(arguments, settings: dict) -> None:
    """Refuse settings that are given twice, and words that are neither option nor value."""
    entries = dict(entry.partition("=")[::2] for entry in arguments.config or [])
    stray = [*arguments.targets, *(entry for entry in arguments.config or [] if "=" not in entry)]
    if stray:
        raise InputError("stands among Snakemake's options", key="hifuflow run", value=stray[0],
                         allowed="patients before them, files to be made after --: " + USAGE)
    for key in settings.keys() & entries.keys():
        raise InputError("is given twice", key=f"--config {key}", value=entries[key],
                         allowed=f"only one of it and its equivalent: {USAGE}")


def environment() -> dict:
    """Environment variables with which jobs find this environment's commands and this package."""
    from hifuflow.provenance import PACKAGE

    folders = {"PATH": Path(sys.executable).parent, "PYTHONPATH": PACKAGE.parent}
    return {"MPLBACKEND": "Agg", **os.environ, **{
        name: os.pathsep.join(filter(None, [str(first), os.environ.get(name)]))
        for name, first in folders.items()}}
