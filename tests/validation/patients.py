"""Whole treatments: the reference patient against the paper, and a real patient."""

from __future__ import annotations

import time

from run import ROOT, Check, at_most, run_patient, within

from hifuflow.job import read_json
from hifuflow.records.heating import Heating
from hifuflow.records.plan import Plan
from hifuflow.study.command_line import main

PAPER = "reference paper, section III.A"
SIZES = {"control": (9299, 13523), "plant": (15911, 22674)}
TARGET_VOLUME = {"control": 0.02, "plant": 0.02}
REAL_MAP = ROOT.parent / "shared" / "data" / "breast_exam33_labels.nii.gz"
REAL_PATIENTS = ("breast_exam25", "breast_exam33", "liver_component", "abdomen_femur",
                 "abdomen_gluteus")


def checks() -> list[Check]:
    """Run both patients and compare."""
    start = time.monotonic()
    folder = run_patient("breast_reference", "config/patients")
    minutes = (time.monotonic() - start) / 60
    found = [at_most("reference patient: whole run [minutes]", minutes, 6, "goal"),
             at_most("reference patient: peak memory of a step [GB]", _peak_memory(folder), 8,
                     "goal")]
    found += _sizes(folder) + _common("reference patient", folder)
    foci = Plan.load(folder / "acoustics" / "plan.json").foci
    found.append(within("reference patient: foci", len(foci), 45, 0, PAPER))
    metrics = read_json(folder / "control" / "paper" / "metrics.json")
    found.append(within("reference patient: constraint points", metrics["n_constraints"], 209, 0,
                        PAPER))
    found.append(Check("reference patient: fraction of the target treated", metrics["coverage"],
                       None, 0.9, 1.0, "T90 is the paper's aim"))
    if REAL_MAP.is_file():
        found += [at_most(f"{name}: faults that `validate` finds",
                          main(["validate", str(ROOT / "tests" / "patients" / f"{name}.yaml")]), 0,
                          "usable as it is") for name in REAL_PATIENTS]
        found += _common("real patient", run_patient("breast_exam33", "tests/patients"))
    else:
        print(f"no {REAL_MAP}: the real patient is left out")
    return found


def _sizes(folder) -> list[Check]:
    rows = []
    for model, (cells, unknowns) in SIZES.items():
        record = read_json(folder / "mesh" / f"{model}.json")
        rows.append(within(f"{model} model: tetrahedra", record["n_cells"], cells, 0.1, PAPER))
        rows.append(within(f"{model} model: unknowns", record["n_unknowns_p2"], unknowns, 0.1,
                           PAPER))
    return rows


def _common(patient, folder) -> list[Check]:
    """Checks that hold for every patient."""
    rows = []
    for model, tolerance in TARGET_VOLUME.items():
        record = read_json(folder / "mesh" / f"{model}.json")
        target = read_json(folder / "anatomy" / "regions.json")["target"]["regions"][0]
        volume = record["regions"][target]
        rows.append(within(f"{patient}: target volume of the {model} mesh [m3]",
                           volume["volume_m3"], volume["label_volume_m3"], tolerance, "voxels"))
        rows.append(Check(f"{patient}: lowest quality of the {model} mesh", record["min_quality"],
                          None, 1e-3, 1.0, "no inverted cell"))
        rows.append(Check(f"{patient}: smallest dihedral angle of the {model} mesh [degrees]",
                          record["min_dihedral_deg"], None, 8, 70.6, "goal"))
        rows.append(Check(f"{patient}: its first percentile, {model} mesh [degrees]",
                          record["dihedral_p01_deg"], None, 15, 70.6, "goal"))
        rows.append(at_most(f"{patient}: body volume of the {model} mesh, relative error",
                            abs(record["surfaces"]["body"]["volume_error"]), 0.01, "voxels"))
    absorbed = Heating.load(folder / "acoustics" / "heating.h5").absorbed_fraction
    rows.append(at_most(f"{patient}: absorbed over radiated power", absorbed.max(), 1.0,
                        "energy is conserved"))
    certificate = read_json(folder / "reduction" / "certificate.json")
    error = max(certificate["max_output_error_k"].values())
    rows.append(at_most(f"{patient}: reduction's largest output error [K]", error, 1e-4, "goal"))
    rows.append(at_most(f"{patient}: H-infinity error over its bound",
                        certificate["hinf_error_relative"] / certificate["hinf_bound_relative"],
                        1.0, "2 x sum of truncated Hankel values + projection"))
    metrics = read_json(folder / "control" / "paper" / "metrics.json")
    rows.append(at_most(f"{patient}: overshoot of the limit [K]", metrics["max_overshoot_k"], 0.5,
                        "paper: the limit was occasionally violated"))
    rows.append(at_most(f"{patient}: estimator's rms error [K]", metrics["estimator_rmse_k"], 0.2,
                        "well below the thermometry's noise, 0.5 K"))
    return rows


def _peak_memory(folder) -> float:
    """Largest resident memory of any step [GB], from the workflow's own benchmark files."""
    peaks = []
    for file in (folder / "benchmarks").glob("*.tsv"):
        header, values = (line.split("\t") for line in file.read_text().splitlines()[:2])
        value = dict(zip(header, values, strict=True))["max_rss"]
        peaks.append(float(value) if value not in ("NA", "-") else 0.0)
    return max(peaks) / 1024
