"""How far the reference patient's results depend on the mesh of its plant: three meshes.

A pulse of full power into the focus nearest to the target's centre, and a whole treatment by
`paper`, whose reduced model is the same for all. Errors are those against the finest mesh,
extrapolated by h^3 (cells per volume: h^3 falls as the number of cells grows).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from run import ROOT, Check, run_patient

from controller.loop import run_treatment
from controller.plant import Plant
from fem.model import build_model
from hifuflow.artifacts import Anatomy, BioheatModel, Heating, Plan, ReducedModel
from hifuflow.config import load_patient
from hifuflow.job import read_json
from meshes.tetrahedra import mesh_anatomy

CELLS = (16_500, 33_000, 66_000)
PULSE_SAMPLES, SAMPLE = 3, 2.0
NAMES = ("focal rise after 6 s [K]", "dose there after 60 s [log2 CEM43]",
         "dose of the target's mean logarithm [log2 CEM43]", "time until 90 % is treated [s]")
ALLOWED = (0.05, 0.05, 0.1, 0.05)  # of the rise, the log2 doses, and the time


def checks() -> list[Check]:
    """Results of the workflow's own mesh size against those extrapolated from finer ones."""
    folder = run_patient("breast_reference", "config/patients")
    found = []
    for cells in CELLS:
        found.append(results(plant_of(folder, cells), folder))
        print(f"{cells} cells: " + ", ".join(
            f"{name} {value:.5g}" for name, value in zip(NAMES, found[-1], strict=True)),
            flush=True)
    rows = []
    for name, values, allowed in zip(NAMES, np.transpose(found), ALLOWED, strict=True):
        limit = values[2] + (values[2] - values[1]) / (CELLS[2] / CELLS[1] - 1)
        margin = allowed * abs(limit)
        rows.append(Check(f"plant of {CELLS[0]} cells: {name}", values[0], limit, limit - margin,
                          limit + margin, f"{CELLS[1]} and {CELLS[2]} cells, extrapolated"))
    return rows


def plant_of(folder: Path, cells: int) -> BioheatModel:
    """The reference patient's plant on a mesh of so many cells."""
    patient = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    anatomy = Anatomy.load(folder / "anatomy")
    with tempfile.TemporaryDirectory() as scratch:
        mesh = Path(scratch) / "plant.msh"
        mesh_anatomy(anatomy, Plan.load(folder / "acoustics" / "plan.json"),
                     {**patient.section("mesh", "plant"), "cells": cells}, mesh)
        with Heating.opened(folder / "acoustics" / "heating.h5") as heating:
            return build_model(mesh, anatomy, heating,
                               read_json(folder / "anatomy" / "constraints.json"),
                               patient.section("assemble", "plant"))


def results(model: BioheatModel, folder: Path) -> tuple[float, ...]:
    """What `NAMES` says."""
    section = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml").section(
        "control", "paper")
    power = np.zeros(len(model.foci))
    target = model.outputs.position[model.outputs.target]
    power[np.linalg.norm(model.foci - target.mean(axis=0), axis=1).argmin()] = (
        section["prescription"]["max_power_w"])
    plant, rise = Plant(model, SAMPLE, 0.25, power.max()), 0.0
    for sample in range(30):
        plant.advance(power * (sample < PULSE_SAMPLES))
        rise = max(rise, (plant.temperature - model.outputs.baseline).max())
    rom = ReducedModel.load(folder / "reduction" / "rom.h5")
    trajectory, metrics = run_treatment(rom, model, "paper", section)
    return (rise, np.log2(plant.target_dose.max()),
            np.log2(np.maximum(trajectory.target_dose[-1], 1e-3)).mean(),
            metrics["time_to_t90_s"])
