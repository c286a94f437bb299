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
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "validation")]

import breast_medium as breast
import fields

from hifuflow.acoustics.angular_spectrum import HybridAngularSpectrum
from hifuflow.acoustics.heating import compute_heating
from hifuflow.acoustics.phasing import geometric
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.acoustics.superposition import element_fields
from hifuflow.acoustics.transducer import Transducer
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.study.patient import load_patient

MARGIN = 8e-3  # of the superposed box about the target [m]


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
    patient, anatomy, plan = reference()
    settings = HeatingSettings.read(patient.section("heating"))
    start, used = time.perf_counter(), time.process_time()
    compute_heating(anatomy, plan, settings, 2)
    wall, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [(f"{len(plan.foci)} foci of the reference patient: seconds, CPU s, peak GB",
             f"{wall:.1f}, {used:.1f}, {peak:.1f}")]


def reference() -> tuple:
    """The reference patient, its anatomy and its plan."""
    patient = load_patient(ROOT / "config/patients/breast_reference.yaml")
    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    return patient, anatomy, plan_treatment(anatomy, PlanSettings.read(patient.section("plan")))


def superposition_rows() -> list[tuple]:
    """1,000 foci in a box of some 4 cm about the target, from the fields of the 256 elements."""
    patient, anatomy, plan = reference()
    settings = HeatingSettings.read(patient.section("heating"))
    device, water = Transducer.of(settings.transducer), settings.water
    start, used = time.perf_counter(), time.process_time()
    elements = element_fields(anatomy, plan, settings, MARGIN, 2)
    marched = time.perf_counter() - start
    line = np.linspace(-0.01, 0.01, 10)
    foci = np.stack(np.meshgrid(line, line, device.radius_of_curvature + line, indexing="ij"),
                    axis=-1).reshape(-1, 3)
    with threadpool_limits(2):
        q = elements.heating(geometric(device, foci, 1.0, water.density, water.speed))
    wall, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cells = " x ".join(map(str, q.shape[1:]))
    return [(f"{len(q)} foci from {len(elements.pressure)} elements, {cells} cells: "
             "seconds, CPU s, peak GB", f"{wall:.1f} ({marched:.1f} the elements), "
             f"{used:.1f}, {peak:.1f}")]


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
