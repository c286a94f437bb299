"""Check patient files and all they refer to, before anything is computed.

Does what the first steps of a run do, and what the next ones check before they compute. Every
fault is named with its file, key and value and with what is allowed; then the exit status is 2.

  hifuflow validate anna.yaml
  hifuflow validate study/*.yaml
  hifuflow validate --poses anna.yaml    the ten best directions of the beam
"""

from __future__ import annotations

import sys

from .completion import patient_files
from .messages import each


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("files", nargs="+", metavar="PATIENT.yaml").completer = patient_files
    parser.add_argument("--poses", action="store_true",
                        help="list the ten best directions of the beam, with the heat per watt at "
                             "the target and what of it foci reach, instead of checking")


def main(arguments) -> int:
    """Check each of the files."""
    return each(arguments.files, poses if arguments.poses else check)


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


def poses(file) -> str:
    """Lines about the best directions of the beam for a patient.

    Raises
    ------
    HifuflowError : the file is faulty, or there is no direction.
    """
    from hifuflow.study.patient import check_name, load_patient

    check_name(file)
    patient = load_patient(file)
    from hifuflow.study.poses import pose_lines  # not for a file with a typo: it is slow

    return "\n".join([f"{patient.file}:", *pose_lines(patient)])
