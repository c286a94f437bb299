"""Controllers side by side: the minimum-time treatment against the rules and the optimum."""

from __future__ import annotations

from copy import deepcopy

from optimum import yardstick
from run import ROOT, Check, at_most, run_patient

from controller.loop import run_treatment
from hifuflow.artifacts import BioheatModel, ReducedModel
from hifuflow.config import load_patient
from hifuflow.job import read_json

PATIENTS = ("breast_planes", "breast_reference")
GOAL = "goal, noise 0.5 K"


def checks() -> list[Check]:
    """Times to T90, limits and truth of `complete`, for each patient with its own seed."""
    return [check for name in PATIENTS for check in _patient(name)]


def _patient(name: str) -> list[Check]:
    folder = run_patient(name, "config/patients")
    patient = load_patient(ROOT / "config" / "patients" / f"{name}.yaml")
    best = yardstick(folder, patient)
    paper, mintime = (read_json(folder / "control" / controller / "metrics.json")
                      for controller in ("paper", "mintime"))
    return [
        at_most(f"{name}: mintime's T90 over paper's",
                mintime["time_to_t90_s"] / paper["time_to_t90_s"], 1.0, "paper"),
        at_most(f"{name}: mintime's T90 over the optimum's",
                mintime["time_to_t90_s"] / best["time_to_t90_s"], 1.25, GOAL),
        at_most(f"{name}: mintime's overshoot of the limit [K]", mintime["max_overshoot_k"], 0.3,
                GOAL),
        at_most(f"{name}: the same, the patient as in the model, no noise [K]",
                exact(folder, patient), 0.05, "goal"),
        Check(f"{name}: true coverage at the end", mintime["coverage"], None, 0.99, 1.0, GOAL),
        at_most(f"{name}: mintime's damage of normal tissue over paper's",
                mintime["damaged_normal_volume_m3"] / paper["damaged_normal_volume_m3"], 1.0,
                "paper")]


def exact(folder, patient) -> float:
    """Overshoot [K] of a patient who is the control model itself, seen without noise."""
    config = deepcopy(patient.section("control", "mintime"))
    config["thermometry"]["noise_c"] = 0.0
    _, metrics = run_treatment(ReducedModel.load(folder / "reduction" / "rom.h5"),
                               BioheatModel.load(folder / "fem" / "control.h5"), "mintime", config)
    return metrics["max_overshoot_k"]
