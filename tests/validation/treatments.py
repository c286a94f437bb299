"""Controllers side by side: the minimum-time treatment against rules, raster and optimum."""

from __future__ import annotations

from optimum import optimum
from patients import REAL_MAP
from run import ROOT, Check, at_most, run_patient

from hifuflow.artifacts import BioheatModel, ReducedModel
from hifuflow.config import load_patient
from hifuflow.job import read_json, write_json

FOLDERS = {"breast_planes": "config/patients", "breast_exam33": "tests/patients"}


def checks() -> list[Check]:
    """Times to T90, limits and truth of `complete`, for each patient with its own seed."""
    found = []
    for name, folder in FOLDERS.items():
        if (ROOT / folder / f"{name}.yaml").is_file() and (
                name != "breast_exam33" or REAL_MAP.is_file()):
            found += _patient(name, folder)
    return found


def _patient(name: str, patients_dir: str) -> list[Check]:
    folder = run_patient(name, patients_dir)
    patient = load_patient(ROOT / patients_dir / f"{name}.yaml")
    best, _ = optimum(ReducedModel.load(folder / "reduction/rom.h5"),
                      BioheatModel.load(folder / "fem/plant.h5"),
                      {key: patient.config[key] for key in
                       ("prescription", "thermometry", "plant")})
    write_json(folder / "control" / "optimum.json", best)
    done = {file.parent.name: read_json(file)
            for file in sorted((folder / "control").glob("*/metrics.json"))}
    longest = patient.config["prescription"]["max_time_s"]
    times = {key: metrics["time_to_t90_s"] or longest for key, metrics in done.items()}
    mintime = done["mintime"]
    rows = [Check(f"{name}: T90 of {key} over mintime's", times[key] / times["mintime"], None,
                  goal, float("inf"), "goal") for key, goal in (("paper", 3.0), ("raster", 7.0))
            if key in times]
    rows.append(at_most(f"{name}: mintime's T90 over the optimum's",
                        times["mintime"] / best["time_to_t90_s"], 1.25, "goal"))
    rows.append(at_most(f"{name}: mintime's overshoot of the limit [K]",
                        mintime["max_overshoot_k"], 0.3, "goal, noise 0.5 K"))
    rows.append(Check(f"{name}: true coverage at the end", mintime["coverage"], None, 0.99, 1.0,
                      "goal"))
    rows.append(at_most(f"{name}: mintime's damage of normal tissue over paper's",
                        mintime["damaged_normal_volume_m3"]
                        / done["paper"]["damaged_normal_volume_m3"], 1.0, "goal"))
    return rows
