"""What makes `mintime` fast: the same treatment with one thing changed at a time.

    python benchmarks/ablation.py results/PATIENT config/patients/PATIENT.yaml [NAME ...]

Prints one line per variant (all of them, or those named). The patient is the reduced model itself,
truncated to `ORDER` states, without noise: what is compared are plans and limits, in a fraction of
the time that treatments of the finite-element patient take.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from hifuflow.controller.dose import cem43, covered
from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.methods.mintime import MintimeController
from hifuflow.controller.methods.option import read_options
from hifuflow.controller.methods.options import MintimeOptions
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.settings import Prescription
from hifuflow.study.patient import load_patient

ORDER, LONGEST_S = 500, 3600.0
DEVIATION = 0.03  # of the estimate [K], as a Kalman filter has it with images of 0.5 K noise
ONE_FOCUS = "one focus per sample"
VARIANTS: dict[str, dict] = {  # options of `mintime` that are changed
    "as is": {},
    "plan as long as 400 s": {"horizon": 400},
    "plan not renewed": {"evaluations": 0},
    "prepared a third as long": {"preparation": 1},
    "blocks of 16 s": {"block": 16},
    "no factor of dose": {"dose_factor": 1},
    "no margin from the limits": {"margin": 0, "confidence": 0},
    "cap 70 degC": {"max_target": 70},
    "cap 60 degC": {"max_target": 60},
    "all of the target at once": {"first_coverage": 0.99},
    ONE_FOCUS: {},
}


class OneFocus(MintimeController):
    """`mintime` with all of a sample's power but that of its strongest focus left out."""

    def decide(self, estimate: Estimate) -> np.ndarray:
        power = super().decide(estimate)
        power[np.argsort(power)[:-1]] = 0.0
        return power


def treat(model: DiscreteModel, controller, wanted: Prescription) -> dict:
    """One treatment of the model by a controller that knows its state."""
    outputs, state = model.outputs, np.zeros(len(model.A))
    volume = outputs.volume[outputs.target]
    temperature, dose = outputs.baseline, np.zeros(len(volume))
    t90, time_now, over, energy, seconds = None, 0.0, 0.0, 0.0, []
    while time_now < wanted.max_time:
        estimate = Estimate(time_now, state, temperature[outputs.constraint],
                            temperature[outputs.target], dose,
                            np.full(int(outputs.constraint.sum()), DEVIATION))
        if controller.finished(estimate) or controller.unreachable:
            break
        started = time.perf_counter()
        power = controller.decide(estimate)
        seconds.append(time.perf_counter() - started)
        state = model.A @ state + model.B @ power
        before, temperature = temperature, model.C @ state + outputs.baseline
        dose = dose + cem43(before[outputs.target], temperature[outputs.target], model.interval)
        time_now += model.interval
        over = max(over, (temperature - outputs.limit)[outputs.constraint].max())
        energy += power.sum() * model.interval
        if t90 is None and covered(dose, wanted.dose, volume) >= 0.9:
            t90 = time_now
    return {"T90 [s]": t90, "end [s]": time_now, "coverage": covered(dose, wanted.dose, volume),
            "overshoot [K]": over, "energy [J]": energy,
            "decision p50 [s]": np.percentile(seconds, 50),
            "p99 [s]": np.percentile(seconds, 99)}


def main() -> None:
    folder, patient = Path(sys.argv[1]), load_patient(sys.argv[2])
    rom = ReducedModel.load(folder / "reduction/rom.h5")
    order = min(ORDER, rom.order)
    rom = replace(rom, A=rom.A[:order, :order], B=rom.B[:order], C=rom.C[:, :order])
    model = DiscreteModel.sampled(rom, patient.config["thermometry"]["interval_s"])
    wanted = replace(Prescription.read(patient.config["prescription"]), max_time=LONGEST_S)
    options = read_options(MintimeOptions, patient.config["mintime"])
    for name in sys.argv[3:] or VARIANTS:
        started = time.process_time()
        kind = OneFocus if name == ONE_FOCUS else MintimeController
        found = treat(model, kind(model, wanted, replace(options, **VARIANTS[name])), wanted)
        cells = (f"{key} {value:.4g}" if value is not None else f"{key} -"
                 for key, value in found.items())
        print(name.ljust(28), " | ".join(cells), f"| CPU {time.process_time() - started:.0f} s",
              flush=True)


if __name__ == "__main__":
    main()
