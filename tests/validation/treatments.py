"""Controllers side by side: the minimum-time treatment against the rules and the optimum."""

from __future__ import annotations

from dataclasses import replace

from run import ROOT, Check, at_most, run_patient

from hifuflow.controller.loop import run_treatment
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.fem.model import build_model
from hifuflow.fem.settings import Factors, ModelSettings
from hifuflow.job import read_json
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.heating import Heating
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.study.patient import load_patient

PATIENTS = ("breast_planes", "breast_reference")
GOAL = "goal, noise 0.5 K"


def checks() -> list[Check]:
    """Times to T90, limits and truth of `complete`, for each patient with its own seed."""
    return [check for name in PATIENTS for check in _patient(name)] + _wrong_by_half()


def _patient(name: str) -> list[Check]:
    folder = run_patient(name, "config/patients")
    patient = load_patient(ROOT / "config" / "patients" / f"{name}.yaml")
    best = treated(folder, patient, "optimum")
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


def _wrong_by_half() -> list[Check]:
    """How much better the estimate is than a model that is wrong about the patient."""
    folder, found = run_patient("breast_reference", "config/patients"), []
    patient = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    treatment = TreatmentSettings.read(patient.section("control", "paper"))
    treatment = replace(treatment, prescription=replace(treatment.prescription, max_time=1200.0))
    settings = ModelSettings.read(patient.section("assemble", "plant"))
    for factor in (0.5, 1.5):
        off = replace(settings.deviations, everywhere=Factors(factor, factor))
        with Heating.opened(folder / "acoustics" / "heating.h5") as heating:
            other = build_model(folder / "mesh" / "plant.msh", Anatomy.load(folder / "anatomy"),
                                heating, read_json(folder / "anatomy" / "constraints.json"),
                                replace(settings, deviations=off))
        _, metrics = run_treatment(ReducedModel.load(folder / "reduction" / "rom.h5"), other,
                                   treatment)
        error = metrics["estimator_rmse_k"]
        alone = metrics["model_difference"]["constraint"]["rms_k"]
        print(f"conductivity and perfusion x {factor}: estimate {error:.3f} K "
              f"rms off at constraint points, the model alone {alone:.3f} K", flush=True)
        found.append(at_most(f"conductivity and perfusion x {factor}: error of the estimate over "
                             "the model's, constraint points", error / alone, 0.5, "goal"))
    return found


def treated(folder, patient, controller: str) -> dict:
    """Metrics of a treatment that is not among those of the workflow's run."""
    section = {**patient.section("control", "mintime"), "controller": {"name": controller},
               "options": patient.config[controller]}
    return run_treatment(ReducedModel.load(folder / "reduction" / "rom.h5"),
                         BioheatModel.load(folder / "fem" / "plant.h5"),
                         TreatmentSettings.read(section))[1]


def exact(folder, patient) -> float:
    """Overshoot [K] of a patient who is the control model itself, seen without noise."""
    settings = TreatmentSettings.read(patient.section("control", "mintime"))
    settings = replace(settings, thermometry=replace(settings.thermometry, noise=0.0))
    _, metrics = run_treatment(ReducedModel.load(folder / "reduction" / "rom.h5"),
                               BioheatModel.load(folder / "fem" / "control.h5"), settings)
    return metrics["max_overshoot_k"]
