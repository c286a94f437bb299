"""Command line: `python -m hifuflow validate PATIENT.yaml`, `inspect FILE`, `reduce MODEL`, ..."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from hifuflow.errors import HifuflowError, InvalidConfig
from hifuflow.job import last_error, read_json
from hifuflow.provenance import ROOT

from .inspect import describe
from .key_table import configuration_page
from .patient import Patient, load_patient

CLOSED_PIPE = 141  # status of a process that SIGPIPE ends


def validate(arguments) -> int:
    """Check patient files and all they refer to; 2 if any has a fault."""
    status = 0
    for file in arguments.files:
        try:
            print(_check_thoroughly(load_patient(file)))
        except InvalidConfig as error:
            status = 2
            for fault in error.faults:
                print(f"ERROR {fault}", file=sys.stderr)
        except HifuflowError as error:
            status = 2
            print(f"ERROR {error}", file=sys.stderr)
    return status


def _check_thoroughly(patient: Patient) -> str:
    """Do what the workflow's first steps do, and what the next ones check before they compute."""
    # The stages are loaded here only: `hifuflow` itself depends on none of them.
    from hifuflow.acoustics.grid import check_grid
    from hifuflow.acoustics.plan import plan_treatment
    from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
    from hifuflow.anatomy.build import build_anatomy
    from hifuflow.anatomy.constraints import place_constraints
    from hifuflow.anatomy.settings import AnatomySettings, ConstraintSettings
    from hifuflow.meshes.build import check_cells
    from hifuflow.meshes.settings import MeshSettings

    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    constraints = place_constraints(anatomy,
                                    ConstraintSettings.read(patient.section("constraints")))
    plan = plan_treatment(anatomy, PlanSettings.read(patient.section("plan")))
    for model in ("control", "plant"):
        check_cells(anatomy, plan, MeshSettings.read(patient.section("mesh", model)))
    check_grid(anatomy, plan, HeatingSettings.read(patient.section("heating")))
    if patient.reduced_model:
        from hifuflow.reduction.given import check_fits, read_given

        check_fits(read_given(patient.reduced_model), patient.reduced_model, plan.foci,
                   points=constraints["position_m"])
    for warning in plan.warnings:
        print(f"WARNING {patient.file}: {warning}", file=sys.stderr)
    target = anatomy.target_mask.sum() * anatomy.voxel_volume
    body = anatomy.body_mask.sum() * anatomy.voxel_volume
    return (f"{patient.file}: usable. Target {target * 1e6:.2f} ml in {body * 1e6:.0f} ml of body, "
            f"{len(plan.foci)} foci, {len(constraints['position_m'])} constraint points, "
            f"controllers: {', '.join(patient.controllers)}")


def inspect(arguments) -> int:
    """Print what artifacts, label maps, scans and meshes hold; 2 if one cannot be read."""
    from .inspect import quality_table

    status = 0
    for file in arguments.files:
        try:
            print(describe(file, quality_table))
        except HifuflowError as error:
            status = 2
            print(f"ERROR {error}", file=sys.stderr)
    return status


def summary(arguments) -> int:
    """Print how each treatment ended and where its report is, or which step failed and why."""
    from .run_table import run_table

    for name in arguments.patients:
        folder = Path(arguments.results) / name
        failed = {path: error for path in sorted(folder.glob("logs/*.log"))
                  if (error := last_error(path))}
        for path, error in failed.items():
            print(f"{name}: FAILED in {path.stem}: {error}\n    log: {path}")
        metrics = {path.parent.name: read_json(path)
                   for path in sorted(folder.glob("control/*/metrics.json"))}
        page = folder / "report" / "index.html"
        if metrics and page.is_file() and not failed:
            print(run_table(name, metrics, page))
        elif not failed:
            print(f"{name}: not finished")
    side_by_side = Path(arguments.results) / "summary.html"
    if len(arguments.patients) > 1 and side_by_side.is_file():
        print(f"all of them side by side: {side_by_side}")
    return 0


def reduce(arguments) -> int:
    """Reduce a model file made here or elsewhere; 2 if it cannot be used."""
    from hifuflow.job import job
    from hifuflow.reduction.external import reduce_file

    with job("reduce", None, arguments.threads):
        for path in reduce_file(arguments.model, arguments.order, arguments.output,
                                arguments.tolerance_k, arguments.threads):
            print(path)
    return 0


def _order(text: str):
    return text if text == "auto" else int(text)


def document(arguments) -> int:
    """Write config/README.md from the schemas."""
    page = ROOT / "config" / "README.md"
    page.write_text(configuration_page())
    print(f"wrote {page}")
    return 0


def main(argv=None) -> int:
    """Entry point of the command line."""
    parser = argparse.ArgumentParser(prog="python -m hifuflow", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function, argument in ((validate, "files"), (inspect, "files")):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.add_argument(argument, nargs="+", metavar="FILE")
        command.set_defaults(function=function)
    command = commands.add_parser("summary", help=summary.__doc__)
    command.add_argument("results")
    command.add_argument("patients", nargs="+")
    command.set_defaults(function=summary)
    command = commands.add_parser("reduce", help=reduce.__doc__)
    command.add_argument("model", metavar="MODEL",
                         help="fem/*.h5, a .mat file, or Matrix Market files with E, A, B, C")
    states = command.add_mutually_exclusive_group()
    states.add_argument("--order", type=_order, default="auto", help="number of states, or auto")
    states.add_argument("--tolerance-k", type=float,
                        help="largest error in a replayed treatment instead of an order")
    command.add_argument("--output", help="NAME.h5 or NAME.mat; default MODEL_reduced.h5")
    command.add_argument("--threads", type=int, default=2)
    command.set_defaults(function=reduce)
    commands.add_parser("document", help=document.__doc__).set_defaults(function=document)
    arguments = parser.parse_args(argv)
    try:
        status = arguments.function(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return status


if __name__ == "__main__":
    sys.exit(main())
