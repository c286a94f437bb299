"""Time and memory of the reference run, and what its main choices bring.

`python benchmarks/run.py`, or `make bench`. The ratios come from the same process on one core,
so they depend less on the machine than the seconds do. Nothing is asserted.
"""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from hifuflow.controller.estimation.kalman import KalmanFilter
from hifuflow.controller.imaging import Imaging
from hifuflow.controller.patient.reachable import reachable_space
from hifuflow.controller.patient.thermometry import Thermometry
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.study.patient import load_patient

PATIENT = "breast_reference"
SAMPLE, FOCI = 2.0, 4


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / PATIENT
    if not list((folder / "benchmarks").glob("*.tsv")):
        subprocess.run([sys.executable, "-m", "snakemake", "--cores", "all", "--config",
                        f"patients=[{PATIENT}]"], cwd=ROOT, check=True)
    table("Steps of the reference run", ("step", "seconds", "CPU s", "peak MB"),
          [step_row(path) for path in sorted((folder / "benchmarks").glob("*.tsv"))])
    control = BioheatModel.load(folder / "fem/control.h5")
    plant = BioheatModel.load(folder / "fem/plant.h5")
    rom = ReducedModel.load(folder / "reduction/rom.h5")
    table("One factor and one solve of K + E / s, control model", ("method", "seconds", "ratio"),
          factor_rows(control))
    table(f"{SAMPLE:g} s samples of the plant, {FOCI} foci in turn",
          ("method", "seconds each", "ratio", "max error K"), plant_rows(plant))
    table("One control step", ("part", "seconds"), control_rows(rom))
    print("\nMeshes", flush=True)
    subprocess.run([sys.executable, str(ROOT / "benchmarks/meshers.py")], check=True)
    print("\nUltrasound fields", flush=True)
    subprocess.run([sys.executable, str(ROOT / "benchmarks/acoustic_fields.py")], check=True)


def step_row(path: Path) -> tuple:
    row = next(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))
    return path.stem, *(f"{float(row[key]):.1f}" if row[key] not in ("NA", "-") else "-"
                        for key in ("s", "cpu_time", "max_rss"))


def factor_rows(model) -> list[tuple]:
    matrix, right = sp.csc_array(model.K + model.E), model.B[:, 0].copy()
    solver = ShiftedSolver(model.E, model.K)
    ours = median(lambda: solver.factor(1.0, 1.0).solve(right), 7)
    rows = [("CHOLMOD + METIS", f"{ours:.3f}", "1.0")]
    for ordering in ("MMD_AT_PLUS_A", "COLAMD"):
        options = {"SymmetricMode": ordering == "MMD_AT_PLUS_A"}
        seconds = median(lambda ordering=ordering, options=options: splu(
            matrix, ordering, diag_pivot_thresh=0.0, options=options).solve(right), 3)
        rows.append((f"SuperLU, {ordering}", f"{seconds:.3f}", f"{seconds / ours:.1f}"))
    return rows


def plant_rows(model) -> list[tuple]:
    """Modes of the reachable space and the L-stable SDIRK2 at 0.5 s, against SDIRK2 at 1/64 s."""
    loads = 22.0 * model.B[:, :FOCI].T
    reached = reachable_space(model.E, model.K, loads.T, 1.0, (0.25, 3600.0), 1e-3)

    def modal():
        now = reached.modes.T @ (model.E @ warm)
        states = []
        for k in range(20):
            power = np.eye(FOCI)[k] if k < FOCI else np.zeros(FOCI)
            now = reached.after(now, power, np.array([SAMPLE]))[:, 0]
            states.append(reached.modes @ now)
        return states

    def stepper(step):
        part = (1 - np.sqrt(0.5)) * step  # Alexander's two stages share one matrix
        solver = ShiftedSolver(model.E, model.K).factor(part, 1.0)

        def one(x, power):
            load = part * (loads.T @ power)
            stage = solver.solve(model.E @ x + load)
            ahead = x + np.sqrt(0.5) / (1 - np.sqrt(0.5)) * (stage - x)
            return solver.solve(model.E @ ahead + load)

        def run(samples=20):
            states, state = [], warm
            for k in range(samples):
                power = np.eye(FOCI)[k] if k < FOCI else np.zeros(FOCI)
                for _ in range(round(SAMPLE / step)):
                    state = one(state, power)
                states.append(state)
            return states
        return run

    warm = np.zeros(len(model.baseline))
    warm = stepper(0.5)(FOCI)[-1]
    fine = stepper(1 / 64)(FOCI + 1)
    rows, first = [], 0.0
    for name, run in (("modes of the reachable space", modal), ("SDIRK2, 0.5 s", stepper(0.5))):
        seconds, states = median(run, 3) / 20, run()
        first = first or seconds
        error = max(np.abs(a - b).max() for a, b in zip(states, fine, strict=False))
        rows.append((name, f"{seconds:.4f}", f"{seconds / first:.1f}", f"{error:.1e}"))
    return rows


def control_rows(rom) -> list[tuple]:
    patient = load_patient(ROOT / f"config/patients/{PATIENT}.yaml")
    settings = TreatmentSettings.read(patient.section("control", "paper"))
    model, power = DiscreteModel.sampled(rom, SAMPLE), settings.prescription.max_power
    imaging = Imaging(settings.thermometry, rom.outputs)
    observer = KalmanFilter(model, settings.estimator, imaging, power)
    chooser = settings.controller(model, settings.prescription, settings.options)
    image = Thermometry(settings.thermometry, imaging).image(0, rom.outputs.baseline)
    estimate, power = observer.update(0.0, image), np.eye(len(rom.foci))[0]
    return [("Kalman update", f"{median(lambda: observer.update(0.0, image), 15):.4f}"),
            ("choice of focus", f"{median(lambda: chooser.decide(estimate), 15):.4f}"),
            ("prediction", f"{median(lambda: observer.predict(power), 15):.4f}")]


def median(call, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def table(title: str, head: tuple, rows: list[tuple]) -> None:
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]
    print(f"\n{title}")
    for row in (head, *rows):
        print("  " + "  ".join(str(cell).ljust(width)
                               for cell, width in zip(row, widths, strict=True)), flush=True)


if __name__ == "__main__":
    main()
