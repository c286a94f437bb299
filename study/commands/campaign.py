"""Treat a patient many times with simulated faults, and say what became of it.

The faults of array and scanner are drawn from config/campaign.yaml; no controller, estimator or
supervisor knows of them. RESULTS/PATIENT/campaign/index.html is the table: fault by controller ->
outcome, overshoot, time to power off, damaged tissue, status. It is computed by Snakemake, whose
options come after --, so that a cluster runs thousands.

  hifuflow campaign anna.yaml
  hifuflow campaign anna.yaml --faults frozen_image,drift --draws 100
  hifuflow campaign anna.yaml --draws 0 --pairs 2000 --controllers mintime --seed 7
  hifuflow campaign anna.yaml --draws 100 -- --workflow-profile slurm
"""

from __future__ import annotations

import os
import sys

from .completion import folders, patients


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("patient", metavar="PATIENT",
                        help="patient file, or name of one").completer = patients
    parser.add_argument("--faults", metavar="NAMES", default="all",
                        help="names in config/campaign.yaml, with commas between them; default all")
    parser.add_argument("--draws", metavar="N", default="8",
                        help="treatments with each fault and controller; default 8")
    parser.add_argument("--pairs", metavar="N", default="0",
                        help="treatments with two faults at once; default 0")
    parser.add_argument("--controllers", metavar="NAMES", default="",
                        help="some of those that the patient names; default all that treat")
    parser.add_argument("--seed", metavar="N", default="1", help="of all that is drawn; default 1")
    parser.add_argument("--results", metavar="FOLDER",
                        help="folder for everything that is written; default results"
                        ).completer = folders


def main(arguments) -> int:
    """Become Snakemake; returns only if that cannot be."""
    from .run import environment, snakemake_command

    command = snakemake_command([arguments.patient], arguments.results,
                                [*arguments.snakemake, "--", "campaigns"],
                                {"campaign": section(arguments)})
    sys.stdout.flush()
    os.execve(command[0], command, environment())


def section(arguments) -> dict:
    """The section `campaign` of a study.

    Raises
    ------
    InputError : a number that is none.
    """
    numbers = {name: _number(name, getattr(arguments, name)) for name in ("draws", "pairs", "seed")}
    return {"faults": _names(arguments.faults), "controllers": _names(arguments.controllers),
            **numbers}


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _number(name: str, text: str) -> int:
    from hifuflow.errors import InputError

    if not text.isdecimal():
        raise InputError("is no number of treatments" if name != "seed" else "is no seed",
                         key=f"--{name}", value=text, allowed="a whole number, 0 or above")
    return int(text)
