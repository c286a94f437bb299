"""A yardstick for controllers: the shortest treatment that can be found with full knowledge.

    python tests/validation/optimum.py results/PATIENT config/patients/PATIENT.yaml

An open-loop plan for all foci is improved offline for much longer than a treatment would allow,
with no margin, no noise and no doubt about the state, and then played to the patient's own
finite-element model. Where that model ends above a limit or below the dose, room and dose of the
plan are corrected by the difference and the plan is improved again. The result is an upper bound of
the least time, not a proof. It is written to `control/optimum.json` and `control/optimum.npz`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from controller.planning import (  # noqa: E402
    PLAN_ERROR,
    SHARPEST,
    Goal,
    PlanProblem,
    first_plan,
    improved,
)
from controller.plant import Plant  # noqa: E402
from controller.prediction import DiscreteModel, ModalModel  # noqa: E402
from controller.record import covered  # noqa: E402
from hifuflow.artifacts import BioheatModel, ReducedModel  # noqa: E402
from hifuflow.config import load_patient  # noqa: E402
from hifuflow.job import write_json  # noqa: E402

FRACTION, ROUNDS, CORRECTIONS, ROUND = 0.9, 10, 3, 300
BLOCK_S, COAST_S, CAP_C = 8.0, 120.0, 95.0


def optimum(rom: ReducedModel, plant: BioheatModel, config: dict) -> tuple[dict, np.ndarray]:
    """The shortest time to T90 found, and the powers (n_t, n_foci) [W], sample by sample.

    Parameters
    ----------
    config : sections `prescription`, `thermometry` and `plant` of a patient.
    """
    interval, wanted = config["thermometry"]["interval_s"], config["prescription"]
    model, outputs = DiscreteModel.sampled(rom, interval), rom.outputs
    samples = max(1, round(BLOCK_S / interval))
    blocks = ModalModel(model, PLAN_ERROR, samples)
    goal = Goal(np.full(int(outputs.target.sum()), wanted["dose_cem43_min"]),
                (outputs.limit - outputs.baseline)[outputs.constraint], CAP_C,
                wanted["max_power_w"], math.ceil(COAST_S / blocks.interval))
    theta, multiplier = first_plan(model, samples, goal, FRACTION, ROUNDS, 1000)
    best, powers = None, None
    for _ in range(CORRECTIONS + 1):
        power = np.repeat(theta ** 2, samples, axis=0)
        found, excess, dose = replay(plant, power, config)
        print({key: round(value, 4) if value else value for key, value in found.items()},
              flush=True)
        if found["time_to_t90_s"] and (
                best is None or found["max_overshoot_k"] < best["max_overshoot_k"]):
            best, powers = found, power
        start = blocks.modal(np.zeros(len(model.A)))
        problem = PlanProblem(model, blocks, goal, start, np.zeros(len(dose)), multiplier)
        predicted = problem.final_dose(theta ** 2)
        ratio = np.clip(predicted / np.maximum(dose, 1e-6), 0.2, 5.0)
        believed = problem.predict(theta ** 2)[1].max(axis=1)
        goal = replace(goal, dose=wanted["dose_cem43_min"] * ratio,
                       room=goal.room - np.clip(excess - np.maximum(believed, -1), -0.3, 0.3)
                       * (excess > -0.5))
        problem = PlanProblem(model, blocks, goal, start, np.zeros(len(dose)), multiplier)
        problem.sharpness = SHARPEST
        for _ in range(2):
            problem.favour(FRACTION, theta ** 2)
            theta = improved(problem, theta, ROUND)
            problem.update_multipliers(theta ** 2)
        multiplier = problem.multiplier
    return best, powers


def replay(plant: BioheatModel, power: np.ndarray, config: dict):
    """Metrics of open-loop powers on a plant; (n_c,) highest excess [K]; (n_v,) final dose."""
    interval, wanted = config["thermometry"]["interval_s"], config["prescription"]
    outputs = plant.outputs
    patient = Plant(plant, interval, config["plant"]["time_step_s"], wanted["max_power_w"])
    volume = outputs.volume[outputs.target]
    excess, t90, peak = np.full(int(outputs.constraint.sum()), -np.inf), None, -np.inf
    # Full power is a soft limit of the plan.
    power = power * np.minimum(1.0, wanted["max_power_w"]
                               / np.maximum(power.sum(axis=1, keepdims=True), 1e-9))
    for k in range(len(power) + round(COAST_S / interval)):
        patient.advance(power[k] if k < len(power) else np.zeros(power.shape[1]))
        over = (patient.temperature - outputs.limit)[outputs.constraint]
        excess = np.maximum(excess, over)
        peak = max(peak, patient.temperature[outputs.target].max())
        if t90 is None and covered(patient.target_dose, wanted["dose_cem43_min"],
                                   volume) >= FRACTION:
            t90 = (k + 1) * interval
    normal = ~plant.voxels.target
    found = {"time_to_t90_s": t90, "energy_j": float(power.sum() * interval),
             "coverage": covered(patient.target_dose, wanted["dose_cem43_min"], volume),
             "max_overshoot_k": float(max(excess.max(), 0.0)),
             "max_target_temperature_c": float(peak),
             "damaged_normal_volume_m3": float(np.count_nonzero(
                 patient.voxels.dose[normal] >= 240.0) * plant.voxels.volume)}
    return found, excess, patient.target_dose


def main() -> None:
    folder, patient = Path(sys.argv[1]), load_patient(sys.argv[2])
    found, powers = optimum(ReducedModel.load(folder / "reduction/rom.h5"),
                            BioheatModel.load(folder / "fem/plant.h5"),
                            {key: patient.config[key] for key in
                             ("prescription", "thermometry", "plant")})
    write_json(folder / "control" / "optimum.json", found)
    np.savez_compressed(folder / "control" / "optimum.npz", power=powers)


if __name__ == "__main__":
    main()
