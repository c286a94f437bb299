"""How the reduction scales, and what others take for the same model.

    python benchmarks/reduction.py agreement            Hankel values against dense SLICOT
    python benchmarks/reduction.py compare              this, SLICOT alone and pyMOR, small sizes
    python benchmarks/reduction.py crossover CELLS      one shift by factors and by iteration
    python benchmarks/reduction.py size CELLS [KIND]    one size: (2 CELLS - 1)^3 unknowns
    python benchmarks/reduction.py model METHOD FILE    a patient's fem/control.h5 to 1000 states
    python benchmarks/reduction.py picture              reduction.png of all that was measured

CELLS 19 are 50,653 unknowns, 30 205,379, 40 493,039 and 50 970,299. KIND is auto, direct or
iterative. Each measurement runs in a process of its own, a patient's model with two threads and
anything else with one, and is added to
benchmarks/reduction.csv: method, unknowns, order, wall and CPU seconds, peak memory. pyMOR is
measured where it is installed; it is no dependency of this project.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

TABLE, PICTURE = HERE / "reduction.csv", HERE / "reduction.png"
HEAD = ("method", "unknowns", "order", "wall_s", "cpu_s", "peak_gb", "note")
ORDER = 400
SMALL = {"slicot": (4, 5, 6, 7), "pymor": (4, 5, 7), "hifuflow": (4, 5, 7, 8, 12)}


# CPU seconds after which another program's attempt is stopped; its row then says so.
LIMIT = 900


def model_of(which: str):
    """The heated box with so many cells along a side, or the model in a file."""
    if str(which).isdigit():
        from heated_box import heated_box
        return heated_box(int(which))
    from hifuflow.records.bioheat_model import BioheatModel
    return BioheatModel.load(which)


def settings(order, solver="auto", residual=1e-12):
    from hifuflow.reduction.settings import ReductionSettings

    return replace(ReductionSettings.of_file("benchmark", order, None), solver=solver,
                   gramian_residual=residual, max_power=22.0)


def agreement(cells: int = 8) -> dict:
    """Hankel values above 1e-9 of the largest, against SLICOT on the whole model."""
    import numpy as np
    import scipy.linalg as la
    from heated_box import heated_box

    from hifuflow.reduction.balance import balanced_truncation
    from hifuflow.reduction.reduce import reduce_model

    model = heated_box(cells)
    rates, modes = la.eigh(model.K.toarray(), model.E.toarray())
    whole = balanced_truncation(np.diag(-rates), modes.T @ model.B, model.C @ modes).hsv
    found = {}
    for tolerance in (1e-12, 1e-20):
        ours = reduce_model(model, settings("auto", residual=tolerance), 1)[0].hsv
        large = np.flatnonzero(whole > 1e-9 * whole[0])
        off = np.abs(ours[large] / whole[large] - 1)
        print(f"{len(rates)} unknowns, residual {tolerance:.0e}: {len(large)} values above 1e-9, "
              f"largest relative difference {off.max():.1e}; above 1e-6: "
              f"{off[whole[large] > 1e-6 * whole[0]].max():.1e}", flush=True)
        found[tolerance] = float(off.max())
    return found


def crossover(cells: int) -> None:
    """CPU seconds of one shift (two solves with all inputs), direct and iterative."""
    from heated_box import heated_box

    from hifuflow.reduction.low_rank import unit_capacity
    from hifuflow.reduction.shifts import spectral_interval
    from hifuflow.reduction.solvers import shifted_solver

    model = heated_box(cells)
    capacity, stiffness, inputs, _ = unit_capacity(model.E, model.K, model.B, model.C)
    interval = None
    for kind in ("direct", "iterative"):
        solver = shifted_solver(capacity, stiffness, kind)
        interval = interval or spectral_interval(capacity, stiffness, solver)
        for shift in (interval[0], (interval[0] * interval[1]) ** 0.5, interval[1]):
            start = clock()
            solver.factor(1.0, shift)
            prepared = clock()
            solver.solve(solver.solve(inputs))
            done = clock()
            print(f"{len(inputs)} unknowns, shift {shift:.2e} 1/s, {kind}: "
                  f"{prepared[1] - start[1]:.1f} + {done[1] - prepared[1]:.1f} CPU s", flush=True)


def hifuflow(which: str, order: int, kind: str = "auto") -> dict:
    import logging

    from hifuflow.job import log
    from hifuflow.reduction.reduce import reduce_model

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.DEBUG)  # every step with its seconds
    model = model_of(which)
    log.info("%d unknowns", len(model.baseline))
    start = clock()
    threads = 1 if which.isdigit() else 2
    reduced, certificate = reduce_model(model, settings(order, kind), threads)
    print(json.dumps(certificate, indent=1), flush=True)
    worst = max(certificate["max_output_error_k"].values())
    ready = certificate["seconds"]["model_ready"]
    return row("hifuflow", model, reduced.order, start,
               f"{worst:.1e} K with certificate; model ready after {ready:.1f} s")


def slicot(which: str, order: int, kind: str = "") -> dict:
    """SLICOT's AB09AD on the model with E inverted, as a user would call it."""
    import scipy.linalg as la
    from slycot import ab09ad

    model = model_of(which)
    start = clock()
    lower = la.cholesky(model.E.toarray(), lower=True)
    a = -la.solve_triangular(lower, la.solve_triangular(
        lower, model.K.toarray(), lower=True).T, lower=True)
    b = la.solve_triangular(lower, model.B, lower=True)
    c = la.solve_triangular(lower, model.C.toarray().T, lower=True).T
    found = ab09ad("C", "B", "N", len(a), b.shape[1], len(c), a, b / abs(b).max(),
                   c / abs(c).max(), nr=order)
    return row("slicot", model, found[0], start, "")


def pymor(which: str, order: int, kind: str = "") -> dict:
    """pyMOR's BTReductor with low-rank ADI and its Wachspress shifts.

    With the constraint points as its only outputs: it solves for the observability Gramian with
    as many right-hand sides as there are outputs, and with all 938 it did not finish 343
    unknowns in 70 CPU seconds and took 4 GB.
    """
    import numpy as np
    import scipy.sparse as sp
    from pymor.core.logger import set_log_levels
    from pymor.models.iosys import LTIModel
    from pymor.reductors.bt import BTReductor
    from pymor.solvers.matrix_equations.adi import ADILyapunovSolver
    from pymor.solvers.matrix_equations.default import MatrixEquationSolvers

    from hifuflow.reduction.balance import Balanced

    set_log_levels({"pymor": "ERROR"})
    model = model_of(which)
    seen = sp.csr_array(model.C)[model.outputs.kind == "constraint"]
    start = clock()
    adi = ADILyapunovSolver(adi_shifts="wachspress_shifts", adi_tol=1e-12)
    full = LTIModel.from_matrices(
        sp.csc_matrix(-model.K), model.B, seen.toarray(), E=sp.csc_matrix(model.E),
        matrix_equation_solvers=MatrixEquationSolvers(lyapunov_lr=adi))
    reduced = BTReductor(full).reduce(order, projection="sr")
    found = row("pymor", model, reduced.order, start, "")
    a, b, c, _, e = reduced.to_matrices()
    if e is not None:
        a, b = np.linalg.solve(e, a), np.linalg.solve(e, b)
    error = replayed_error(model, seen, Balanced(a, b, c, None))
    return {**found, "note": f"{error:.1e} K, {seen.shape[0]} of the {model.C.shape[0]} outputs"}


def replayed_error(model, seen, reduced) -> float:
    """Largest error [K] in the treatment that the certificate replays."""
    from hifuflow.numerics.cholesky import ShiftedSolver
    from hifuflow.reduction.reduce import SAMPLE, SAMPLES
    from hifuflow.reduction.replay import full_stepper, replay_error, replayed, switching_treatment

    powers = switching_treatment(model.B.shape[1], settings(1).max_power, SAMPLES)
    full = full_stepper(model.E, ShiftedSolver(model.E, model.K), model.B, SAMPLE)
    return float(replay_error(replayed(full, seen, powers), reduced, powers, SAMPLE).max())


def clock() -> tuple:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def row(method, model, order, start, note) -> dict:
    now = clock()
    memory = max(resource.getrusage(who).ru_maxrss
                 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return dict(zip(HEAD, (method, len(model.baseline), int(order), f"{now[0] - start[0]:.1f}",
                           f"{now[1] - start[1]:.1f}", f"{memory * 1024 / 1e9:.2f}", note),
                    strict=True))


def measure(method: str, which: str, kind: str = "auto") -> None:
    """One measurement in a process of its own, added to the table."""
    small = which.isdigit() and int(which) < 19
    order = min(ORDER, (2 * int(which) - 1) ** 3 // 4) if small else 1000
    done = subprocess.run([sys.executable, __file__, "one", method, which, str(order), kind],
                          stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode == -signal.SIGXCPU:
        found = dict.fromkeys(HEAD, "") | {
            "method": method, "unknowns": len(model_of(which).baseline), "order": order,
            "note": f"not finished after {LIMIT} CPU s"}
    elif done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
    else:
        sys.exit(done.returncode)
    new = not TABLE.exists()
    with TABLE.open("a", newline="") as file:
        writer = csv.DictWriter(file, HEAD, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(found)


def picture() -> None:
    """CPU seconds and memory against the number of unknowns, each method as far as it went."""
    from matplotlib.figure import Figure

    names = {"hifuflow": ("this project, with certificate", "#0072b2", "o"),
             "slicot": ("SLICOT AB09AD alone", "#d55e00", "s"),
             "pymor": ("pyMOR BTReductor, low-rank ADI", "#009e73", "^")}
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    for ax, key, label in zip(figure.subplots(1, 2), ("cpu_s", "peak_gb"),
                              ("CPU seconds", "peak memory [GB]"), strict=True):
        for method, (name, colour, marker) in names.items():
            points = sorted((int(r["unknowns"]), float(r[key])) for r in rows
                            if r["method"] == method and r[key])
            if points:
                ax.loglog(*zip(*points, strict=True), color=colour, marker=marker, ms=4,
                          label=name)
        ax.set(xlabel="unknowns", ylabel=label)
        ax.grid(color="#d5dae0", lw=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(PICTURE, dpi=150)
    print(PICTURE)


def main(arguments) -> None:
    match arguments:
        case ["agreement", *cells]:
            agreement(*map(int, cells))
        case ["crossover", cells]:
            crossover(int(cells))
        case ["compare"]:
            for method, sizes in SMALL.items():
                for cells in sizes:
                    measure(method, str(cells))
            picture()
        case ["size", cells, *kind]:
            measure("hifuflow", cells, *kind)
        case ["model", method, file]:
            measure(method, file)
        case ["one", method, which, order, kind]:
            if method != "hifuflow":
                resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
            function = {"hifuflow": hifuflow, "slicot": slicot, "pymor": pymor}[method]
            print(json.dumps(function(which, int(order), kind)))
        case ["picture"]:
            picture()
        case _:
            print(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
