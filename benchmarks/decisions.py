"""Time that `mintime` takes for a decision, on synthetic models of any size, on one thread.

    python benchmarks/decisions.py

A model of heat that spreads from random places, each with a rate of its own; foci and voxels lie in
a ball, constraint points on a sphere around it. The plan that the controller begins with is not
prepared: what a decision takes does not depend on its powers.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from hifuflow.controller.estimation.estimate import Absorbed, Estimate
from hifuflow.controller.methods import mintime
from hifuflow.controller.methods.first_plan import uneven
from hifuflow.controller.methods.options import MintimeOptions
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.records.outputs import Outputs
from hifuflow.settings import Prescription

SIZES = {"45 foci x 209 constraints": (45, 209, 1316, 400),
         "500 foci x 5,000 constraints": (500, 5000, 5000, 400)}
BLOCKS, SAMPLES = 150, 60
START_W = 5.5
INTERVAL, BASELINE, LIMIT = 2.0, 37.0, 43.0


def synthetic(n_foci: int, n_constraints: int, n_voxels: int, order: int) -> DiscreteModel:
    """Places p_i with rates from 1/1000 to 1/s; focus j heats them by exp(-|p_i - f_j|^2 / 2 s^2),
    a point x feels them by exp(-|x - p_i|^2 / 2 s_i^2), wider the slower they are. A lasting power
    of 1 W, even over the foci, raises the hottest constraint point by 1 K."""
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((order + n_foci + n_voxels, 3))
    ball *= 10e-3 * rng.uniform(size=(len(ball), 1)) ** (1 / 3) / np.linalg.norm(
        ball, axis=1, keepdims=True)
    place, foci, voxels = np.split(ball, [order, order + n_foci])
    sphere = rng.standard_normal((n_constraints, 3))
    sphere *= 20e-3 / np.linalg.norm(sphere, axis=1, keepdims=True)
    rate = np.geomspace(1e-3, 1.0, order)
    points = np.vstack([sphere, voxels])
    width = np.sqrt(4 * 1.4e-7 / rate + 4e-6)
    rows = np.exp(-((points[:, None] - place) ** 2).sum(axis=2) / 2 / width ** 2)
    heating = np.exp(-((place[:, None] - foci) ** 2).sum(axis=2) / 2 / 4e-3 ** 2)
    held = -np.expm1(-rate * INTERVAL) / rate
    is_target = np.arange(len(points)) >= n_constraints
    outputs = Outputs(np.where(is_target, "target", "constraint"), points,
                      np.where(is_target, 1e-9, 0.0), np.full(len(points), BASELINE),
                      np.where(is_target, np.nan, LIMIT))
    inputs = held[:, None] * heating
    lasting = rows[:n_constraints] @ (inputs.mean(axis=1) / -np.expm1(-rate * INTERVAL))
    return DiscreteModel(np.diag(np.exp(-rate * INTERVAL)), inputs / lasting.max(), rows,
                         INTERVAL, outputs, foci, np.zeros(order))


def decisions(model: DiscreteModel) -> np.ndarray:
    """(SAMPLES,) seconds."""
    outputs, wanted = model.outputs, Prescription(240.0, 0.99, 22.0, 7200.0)

    def unprepared(model, samples, goal, fractions, rounds, longest):
        shape = BLOCKS, len(model.foci)
        theta = np.sqrt(wanted.max_power / shape[1] * uneven(*shape))
        return theta, np.zeros((len(goal.room), BLOCKS + goal.coast), np.float32), BLOCKS // 2

    mintime.first_plan = unprepared
    controller = mintime.MintimeController(model, wanted, MintimeOptions())
    # Near the limits, so that a good part of the decisions has to cut the plan.
    state = START_W * model.B.mean(axis=1) / (1 - np.diag(model.A))
    seconds = []
    dose = np.zeros(int(outputs.target.sum()))
    # Tissue that absorbs a tenth more than the model says: plans and limits reckon with it.
    recent = Absorbed(0.1 * model.C[outputs.constraint] @ model.B, np.zeros(model.B.shape[1]), 0.97)
    for k in range(SAMPLES):
        temperature = model.C @ state + outputs.baseline
        estimate = Estimate(k * INTERVAL, state, temperature[outputs.constraint],
                            temperature[outputs.target], dose,
                            np.full(int(outputs.constraint.sum()), 0.03),
                            gain=np.ones(model.B.shape[1]),
                            constraint_gain=np.ones(int(outputs.constraint.sum())),
                            absorbed=recent)
        started = time.perf_counter()
        power = controller.decide(estimate)
        seconds.append(time.perf_counter() - started)
        state = model.A @ state + model.B @ power
    return np.array(seconds)


def main() -> None:
    for name, size in SIZES.items():
        seconds = decisions(synthetic(*size))
        print(f"{name}: p50 {np.percentile(seconds, 50) * 1e3:.0f} ms, "
              f"p99 {np.percentile(seconds, 99) * 1e3:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
