"""How much the heating of the reference patient depends on the beam's grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from run import ROOT, Check, at_most
from scipy import ndimage

from hifuflow.acoustics.heating import compute_heating
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.records.heating import Heating
from hifuflow.study.patient import load_patient

FINE = 0.5e-3  # [m]
HALF_BOX, STEP = 12e-3, 0.5e-3  # of the lattice about a focus on which heat is compared [m]
SPREAD = 1e-3  # standard deviation to which heat conducts in 3.5 s, sqrt(2 D t) [m]


def checks() -> list[Check]:
    """Half a wavelength, the default, against a third: the central and the two outermost foci."""
    patient = load_patient(ROOT / "config/patients/breast_reference.yaml")
    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    plan = plan_treatment(anatomy, PlanSettings.read(patient.section("plan")))
    away = np.linalg.norm(plan.foci - plan.foci.mean(axis=0), axis=1)
    outer = away.argmax()
    chosen = [away.argmin(), outer,
              np.linalg.norm(plan.foci - plan.foci[outer], axis=1).argmax()]
    plan = replace(plan, foci=plan.foci[chosen], apex_shift=plan.apex_shift[chosen])
    settings = HeatingSettings.read(patient.section("heating"))
    default, fine = (compute_heating(anatomy, plan, replace(settings, spacing=spacing))
                     for spacing in (None, FINE))
    found, origin = [], f"{FINE * 1e3:g} mm"
    for i, name in enumerate(("central", "outermost", "opposite")):
        heat, reference = (_spread(heating, i) for heating in (default, fine))
        found += [at_most(f"grid, {name} focus: {what}, default against {origin}", value, limit,
                          origin) for what, value, limit in (
            ("focal pressure", _change(default.focal_pressure_pa[i], fine.focal_pressure_pa[i]),
             0.03),
            ("absorbed fraction", _change(default.absorbed_fraction[i],
                                          fine.absorbed_fraction[i]), 0.005),
            ("highest heat within 3.5 s of conduction", _change(heat.max(), reference.max()),
             0.03),
            ("all heat within 12 mm, rms", np.linalg.norm(heat - reference)
             / np.linalg.norm(reference), 0.05))]
    return found


def _change(value: float, reference: float) -> float:
    return abs(value / reference - 1)


def _spread(heating: Heating, i: int) -> np.ndarray:
    """Heating on a lattice about a focus, smoothed as conduction does in its first seconds."""
    line = np.arange(-HALF_BOX, HALF_BOX + STEP / 2, STEP)
    points = heating.foci[i] + np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    inverse = np.linalg.inv(heating.affine)
    index = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
    root = ndimage.map_coordinates(np.sqrt(heating.q[i]), index, order=3)
    return ndimage.gaussian_filter(root**2, SPREAD / STEP)
