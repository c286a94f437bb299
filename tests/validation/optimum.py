"""A yardstick for controllers: the shortest treatment that can be found with full knowledge.

    python tests/validation/optimum.py results/PATIENT config/patients/PATIENT.yaml

An open-loop plan for all foci is improved offline for longer than a treatment would allow, with no
margin, no noise and no doubt about the state, and played to the model that it was made with. The
result is an upper bound of the least time, not a proof: the problem is not convex. It is written to
`control/optimum.json` and `control/optimum.npz`.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from controller.dose import cem43  # noqa: E402
from controller.planning import Goal  # noqa: E402
from controller.prediction import DiscreteModel  # noqa: E402
from controller.preparation import first_plan  # noqa: E402
from controller.settings import Prescription  # noqa: E402
from hifuflow.artifacts import ReducedModel  # noqa: E402
from hifuflow.config import load_patient  # noqa: E402
from hifuflow.job import write_json  # noqa: E402

ROUNDS, FRACTION = 6, 0.9
BLOCK_S, COAST_S, LONGEST_S, CAP_C = 8.0, 120.0, 2400.0, 85.0


def optimum(model: DiscreteModel, prescription: Prescription) -> tuple[dict, np.ndarray]:
    """The shortest treatment found, and its powers (n_t, n_foci) [W], sample by sample."""
    outputs, samples = model.outputs, max(1, round(BLOCK_S / model.interval))
    block = samples * model.interval
    goal = Goal(prescription.dose, (outputs.limit - outputs.baseline)[outputs.constraint],
                ~outputs.soft[outputs.constraint], CAP_C, prescription.max_power,
                math.ceil(COAST_S / block))
    theta, _, _ = first_plan(model, samples, goal, (FRACTION, prescription.coverage), ROUNDS,
                          int(LONGEST_S / block))
    power = np.repeat(theta ** 2, samples, axis=0)
    # Full power is a soft limit of the plan.
    power *= np.minimum(1.0, prescription.max_power
                        / np.maximum(power.sum(axis=1, keepdims=True), 1e-9))
    return replay(model, power, prescription), power


def replay(model: DiscreteModel, power: np.ndarray, prescription: Prescription) -> dict:
    """What open-loop powers do to the model, cooling included."""
    outputs, state = model.outputs, np.zeros(len(model.A))
    volume = outputs.volume[outputs.target] / outputs.volume[outputs.target].sum()
    temperature, dose = outputs.baseline, np.zeros(len(volume))
    covered, excess, peak = [], -math.inf, -math.inf
    off = np.zeros((round(COAST_S / model.interval), power.shape[1]))
    for row in np.vstack([power, off]):
        state = model.A @ state + model.B @ row
        before, temperature = temperature, model.C @ state + outputs.baseline
        dose = dose + cem43(before[outputs.target], temperature[outputs.target], model.interval)
        excess = max(excess, (temperature - outputs.limit)[outputs.constraint].max())
        peak = max(peak, temperature[outputs.target].max())
        covered.append(volume[dose >= prescription.dose].sum())
    return {"time_to_t90_s": _time(covered, FRACTION, model.interval),
            "time_to_coverage_s": _time(covered, prescription.coverage, model.interval),
            "coverage": float(covered[-1]), "max_overshoot_k": float(max(excess, 0.0)),
            "energy_j": float(power.sum() * model.interval),
            "max_target_temperature_c": float(peak)}


def _time(covered: list, fraction: float, interval: float) -> float | None:
    reached = np.flatnonzero(np.array(covered) >= fraction)
    return float((reached[0] + 1) * interval) if len(reached) else None


def yardstick(folder: Path, patient) -> dict:
    """The optimum of a patient whose results are in a folder; also written there."""
    model = DiscreteModel.sampled(ReducedModel.load(folder / "reduction/rom.h5"),
                                  patient.config["thermometry"]["interval_s"])
    found, power = optimum(model, Prescription.read(patient.config["prescription"]))
    (folder / "control").mkdir(exist_ok=True)
    write_json(folder / "control" / "optimum.json", found)
    np.savez_compressed(folder / "control" / "optimum.npz", power=power)
    return found


if __name__ == "__main__":
    print(yardstick(Path(sys.argv[1]), load_patient(sys.argv[2])))
