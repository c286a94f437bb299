"""Reduce a finite-element model, of a run or of another program, and certify the result.

MODEL is fem/control.h5 of a run, a .mat file, or Matrix Market files with A, B, C and, if they are
not identity and zero, E and D of E x' = A x + B u, y = C x + D u (docs/reduction.md). Beside the
reduced model its certificate is written.

  hifuflow reduce model.mat --order 300 --output reduced.mat
  hifuflow reduce results/anna/fem/control.h5 --tolerance-k 0.001
"""

from __future__ import annotations

import argparse


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", metavar="MODEL", help="file with the model")
    states = parser.add_mutually_exclusive_group()
    states.add_argument("--order", type=_order, default="auto", metavar="N",
                        help="number of states, or auto for the numerically minimal order "
                             "(default)")
    states.add_argument("--tolerance", "--tolerance-k", type=_positive, metavar="ERROR",
                        help="instead: the largest error of an output in a replayed treatment, "
                             "kept with the fewest states; in K for a model of a run, else in the "
                             "outputs' own units")
    parser.add_argument("--output", metavar="FILE",
                        help="NAME.h5 or NAME.mat; default MODEL_reduced.h5")
    parser.add_argument("--threads", type=_count, default=2, metavar="N", help="default 2")


def main(arguments) -> int:
    """Reduce the model; the names of the files written are printed."""
    from hifuflow.job import job
    from hifuflow.reduction.external import reduce_file

    with job("reduce", None, arguments.threads):
        for path in reduce_file(arguments.model, arguments.order, arguments.output,
                                arguments.tolerance, arguments.threads):
            print(path)
    return 0


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def _order(text: str):
    return text if text == "auto" else _count(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
