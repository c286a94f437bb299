"""Check patient files and all they refer to, before anything is computed.

Does what the first steps of a run do, and what the next ones check before they compute. Every
fault is named with its file, key and value and with what is allowed; then the exit status is 2.

  hifuflow validate anna.yaml
  hifuflow validate study/*.yaml
"""

from __future__ import annotations

import sys

from .completion import patient_files
from .messages import each


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("files", nargs="+", metavar="PATIENT.yaml").completer = patient_files


def main(arguments) -> int:
    """Check each of the files."""
    return each(arguments.files, check)


def check(file) -> str:
    """A line about a patient file that can be treated.

    Raises
    ------
    HifuflowError : it cannot.
    """
    from hifuflow.study.patient import check_name, load_patient

    check_name(file)
    patient = load_patient(file)
    from hifuflow.study.look_ahead import check_thoroughly  # not for a file with a typo: it is slow

    said, warnings = check_thoroughly(patient)
    for warning in warnings:
        print(f"WARNING {patient.file}: {warning}", file=sys.stderr)
    return f"{patient.file}: usable. {said}"
