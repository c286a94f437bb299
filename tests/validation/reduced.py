"""Reduced models: Hankel values against SLICOT on whole models, errors on the reference patient."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.linalg as la
from run import ROOT, Check, at_most, run_patient

from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.reduction.balance import balanced_truncation
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.settings import ReductionSettings
from hifuflow.study.patient import load_patient

sys.path.append(str(ROOT / "benchmarks"))
from heated_box import heated_box

CELLS = 8  # 3,375 unknowns
LEVEL = 1e-9


def checks() -> list[Check]:
    """All of them."""
    return [*_whole_model(), *_reference_patient()]


def settings(**changes) -> ReductionSettings:
    patient = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    return replace(ReductionSettings.read(patient.section("reduce")), **changes)


def _whole_model() -> list[Check]:
    """All Hankel values above LEVEL of the largest, with SLICOT on the model's own modes."""
    model = heated_box(CELLS)
    rates, modes = la.eigh(model.K.toarray(), model.E.toarray())
    whole = balanced_truncation(np.diag(-rates), modes.T @ model.B, model.C @ modes).hsv
    found = reduce_model(model, settings(gramian_residual=1e-20), threads=1)[0].hsv
    large = np.flatnonzero(whole > LEVEL * whole[0])
    return [at_most(f"{len(rates)} unknowns: relative error of {len(large)} Hankel values above "
                    f"{LEVEL:g}", np.abs(found[large] / whole[large] - 1).max(), 1e-6,
                    "SLICOT on the whole model")]


def _reference_patient() -> list[Check]:
    """Orders 1000 and 300 against the full control model."""
    model = BioheatModel.load(run_patient("breast_reference", "config/patients") / "fem/control.h5")
    found = []
    for order, allowed in ((1000, 1e-6), (300, 0.02)):
        record = reduce_model(model, settings(order=order), threads=2)[1]
        name = f"reference patient, order {order}"
        found.append(at_most(f"{name}: error in a replayed treatment [K]",
                             max(record["max_output_error_k"].values()), allowed, "full model"))
        found.append(at_most(f"{name}: relative H-infinity error", record["hinf_error_relative"],
                             min(record["hinf_bound_relative"], 1e-8 if order == 1000 else 1),
                             "full model, and its own bound"))
    return found
