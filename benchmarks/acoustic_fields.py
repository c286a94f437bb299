"""Time and memory of the ultrasound fields, and against k-Wave on the same field.

`python benchmarks/acoustic_fields.py`, part of `make bench`. CPU seconds, as they depend
less on what else the machine does. Nothing is asserted.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "validation")]

import breast_medium as breast  # noqa: E402
import fields  # noqa: E402

from acoustics.angular_spectrum import HybridAngularSpectrum  # noqa: E402
from acoustics.heating import compute_heating  # noqa: E402
from acoustics.plan import plan_treatment  # noqa: E402
from hifuflow.config import load_patient  # noqa: E402
from meshes.anatomy import build_anatomy  # noqa: E402

MANY, ELEMENTS = 1000, 256


def main() -> None:
    """Print the table."""
    rows = [*kwave_rows(), *reference_rows(), *superposition_rows()]
    for what, value in rows:
        print(f"  {what:70}{value}")


def kwave_rows() -> list[tuple]:
    """One field in the mixture of 4 mm structures against k-Wave's CPU time, stored with it."""
    stored = np.load(ROOT / "tests/validation/kwave_4mm.npz")
    medium, inner = fields.breast_medium(4e-3), slice(breast.LAYER, -breast.LAYER)
    source = breast.beam()[inner, inner]
    march = HybridAngularSpectrum(medium, [breast.SPACING] * 3, source)
    first = cpu(lambda: HybridAngularSpectrum(medium, [breast.SPACING] * 3,
                                              source).intensity(source), 3)
    further = cpu(lambda: march.intensity(source), 5)
    theirs = float(stored["cpu_seconds"])
    return [(f"64 x 76 x 76 cells, {what}: CPU s, k-Wave's over ours",
             f"{ours:.3f}, {theirs / ours:.0f}")
            for what, ours in (("medium and one field", first), ("a further field", further))]


def reference_rows() -> list[tuple]:
    """All foci of the reference patient on two threads."""
    patient = load_patient(ROOT / "config/patients/breast_reference.yaml")
    anatomy = build_anatomy(patient.section("anatomy"))
    plan = plan_treatment(anatomy, patient.transducer, patient.section("plan"))
    config = patient.section("heating")
    start, used = time.perf_counter(), time.process_time()
    compute_heating(anatomy, plan, config["device"], config["tissues"], config["acoustics"], 2)
    wall, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [(f"{len(plan.foci)} foci of the reference patient: seconds, CPU s, peak GB",
             f"{wall:.1f}, {used:.1f}, {peak:.1f}")]


def superposition_rows() -> list[tuple]:
    """Carrying a field on, and superposing the elements', on a region of 4 cm across."""
    generator = np.random.default_rng(0)
    count = 54  # 4 cm
    elements = (generator.standard_normal((ELEMENTS, count, count))
                .astype(np.complex64))
    drives = generator.standard_normal((MANY, ELEMENTS)).astype(np.complex64)
    product = cpu(lambda: np.square(np.abs(np.tensordot(drives, elements, 1))), 3)
    return [(f"{MANY} foci superposed from {ELEMENTS} elements, 4 cm cube: CPU s",
             f"{product * count:.1f}")]


def cpu(call, repeats: int) -> float:
    """Least CPU seconds of a call."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


if __name__ == "__main__":
    main()
