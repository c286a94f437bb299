"""What makes `mintime` fast: the same treatment with one thing changed at a time.

    python benchmarks/ablation.py results/PATIENT config/patients/PATIENT.yaml [NAME ...]

Prints one line per variant (all of them, or those named); each is a whole treatment of the
finite-element patient.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from controller.loop import CONTROLLERS, run_treatment  # noqa: E402
from controller.mintime import MintimeController  # noqa: E402
from hifuflow.artifacts import BioheatModel, ReducedModel  # noqa: E402
from hifuflow.config import load_patient  # noqa: E402

VARIANTS: dict[str, dict] = {
    "as is": {},
    "horizon 200 s": {"horizon_s": 200},
    "horizon 400 s": {"horizon_s": 400},
    "one plan, not renewed": {"evaluations": 0},
    "prepared half as long": {"preparation": 2},
    "blocks of 16 s": {"block_s": 16},
    "no margin of dose": {"dose_factor": 1},
    "no margin from the limits": {"margin_k": 0, "confidence": 0},
    "cap 70 degC": {"max_target_c": 70},
    "cap 60 degC": {"max_target_c": 60},
    "all of the target at once": {"first_coverage": 0.99},
    "one focus per sample": {"most_foci": 1},
    "four foci per sample": {"most_foci": 4},
}
COLUMNS = ("status", "time_to_t90_s", "treatment_time_s", "coverage", "max_overshoot_k",
           "energy_j", "max_target_temperature_c", "step_time_p50_s", "step_time_p99_s")


class FewFoci(MintimeController):
    """Only the `most_foci` foci with the highest planned power get any."""

    def _keep_limits(self, planned, estimate):
        kept = np.argsort(planned)[-self._options["most_foci"]:]
        few = np.zeros_like(planned)
        few[kept] = planned[kept]
        return super()._keep_limits(few, estimate)


def main() -> None:
    folder, patient = Path(sys.argv[1]), load_patient(sys.argv[2])
    rom = ReducedModel.load(folder / "reduction/rom.h5")
    plant = BioheatModel.load(folder / "fem/plant.h5")
    shared = {key: patient.config[key] for key in
              ("prescription", "thermometry", "plant", "estimator")}
    print("variant".ljust(28), *(name[-16:].rjust(17) for name in COLUMNS), "CPU s".rjust(8))
    for name in sys.argv[3:] or VARIANTS:
        started = time.process_time()
        config = {**shared, "options": {**patient.config["mintime"], **VARIANTS[name]}}
        CONTROLLERS["mintime"] = FewFoci if "most_foci" in VARIANTS[name] else MintimeController
        _, metrics = run_treatment(rom, plant, "mintime", config)
        cells = (metrics[key] for key in COLUMNS)
        print(name.ljust(28), *((f"{cell:.4g}" if isinstance(cell, float) else str(cell)).rjust(17)
                                for cell in cells), f"{time.process_time() - started:8.0f}",
              flush=True)


if __name__ == "__main__":
    main()
