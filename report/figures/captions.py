"""The report's figures in order, each with its caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from hifuflow.report.facts import untreated
from hifuflow.report.inputs import ReportInputs

from .acoustics import (
    beam_over_anatomy,
    central_heating,
    focal_gain,
    heating_pattern,
    steering_gain,
    steers,
)
from .anatomy import geometry, planned_foci
from .ensemble import ensemble_distributions
from .models import hankel, mesh_angles, mesh_cuts, truncation_errors
from .treatment import compare_controllers, dose_histogram, lesion, treatment_course

TREATED = "Fraction of the target's volume at the prescribed dose."
HELD_TARGET = ("Temperature of the target: mean, and what 90, 50 and 10 % of its volume are above; "
               "dashed: the window for the mean.")
HOLDING = "Hyperthermia should leave none."


@dataclass(frozen=True)
class Drawn:
    """A finished figure with its caption, the name of its file and its section on the page."""

    name: str
    section: str
    title: str
    caption: str
    figure: Figure


def all_figures(inputs: ReportInputs) -> list[Callable[[], Drawn]]:
    """Functions that draw the figures for which there are data, in the order of the page."""
    drawn = [_geometry, _foci]
    if inputs.heating_path is not None:
        drawn += [_heating, _beam, _focal_gain]
        if steers(inputs.heating_path):
            drawn.append(_steering)
    if len(inputs.treatments) > 1:
        drawn.append(_controllers)
    for name in inputs.treatments:
        if _has_lesion(inputs, name):
            drawn.append(partial(_lesion, name=name))
        drawn.append(partial(_course, name=name))
    if inputs.treatments:
        drawn.append(_dose)
    if inputs.mesh_paths:
        drawn += [_meshes, _angles]
    if inputs.hsv is not None and len(inputs.hsv):
        drawn.append(_reduction)
    if "error_against_order" in inputs.certificate:
        drawn.append(_truncation)
    if inputs.ensembles:
        drawn.append(_ensembles)
    return [partial(draw, inputs) for draw in drawn]


def _has_lesion(inputs, name: str) -> bool:
    """Whether there is a lesion to show; hyperthermia without one needs no figure."""
    dose = inputs.treatments[name][0].voxel_dose
    return not inputs.hold_settings(name) or bool((dose >= inputs.prescription.dose).any())


def _trajectories(inputs) -> dict:
    return {name: trajectory for name, (trajectory, _) in inputs.treatments.items()}


def _geometry(inputs) -> Drawn:
    anatomy = inputs.anatomy
    limits = np.unique(inputs.constraints["limit_c"])
    limit = " to ".join(f"{value:g}" for value in sorted({limits.min(), limits.max()}))
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume * 1e6
    return Drawn(
        "geometry", "plan", "Anatomy and constraints",
        f"(a) The body's surface and the target ({volume:.2f} ml). (b) The surface around the "
        f"target with the {len(inputs.constraints['position_m'])} locations in normal tissue "
        f"whose temperature must stay at or below {limit} °C. The beam comes from above.",
        geometry(anatomy, inputs.constraints, inputs.view))


def _foci(inputs) -> Drawn:
    return Drawn(
        "foci", "plan", "Planned foci",
        f"The {len(inputs.plan.foci)} foci, {inputs.plan.spacing_m * 1e3:g} mm apart and numbered "
        "as planned, with the target's outline on every slice across the beam; the outline "
        "nearest the focal plane is solid.",
        planned_foci(inputs.anatomy, inputs.plan, inputs.view))


def _heating(inputs) -> Drawn:
    heating = central_heating(inputs.heating_path, inputs.anatomy)
    power = inputs.prescription.max_power
    at = ", ".join(f"{value * 1e3:.1f}" for value in heating.foci[0])
    return Drawn(
        "heating", "plan", "Heating pattern of the central focus",
        f"Absorbed power density Q at {power:g} W for the focus nearest the target's centre, "
        f"(x, y, z) = ({at}) mm. (a, b) Two planes along the beam and (c) the focal plane, on "
        "one scale; (d–f) contours at 5, 10, 25, 50, 75 and 90 % of the highest value; (g–i) "
        "profiles through the focus. Dashed: the target's outline; grey: the body's surface. "
        f"{100 * heating.absorbed_fraction[0]:.0f} % of the acoustic power is absorbed in the "
        f"body; focal pressure amplitude {heating.focal_pressure_pa[0] * power**0.5 / 1e6:.1f}"
        " MPa (linear acoustics).",
        heating_pattern(heating, inputs.anatomy, power, inputs.view))


def _beam(inputs) -> Drawn:
    heating = central_heating(inputs.heating_path, inputs.anatomy)
    return Drawn(
        "beam", "plan", "Beam over the anatomy",
        "The same heating in decibels over the label map, on the two planes along the beam "
        "through the focus (+); lines: 3 and 6 dB below the highest value. Dashed: the "
        "target's outline.", beam_over_anatomy(heating, inputs.anatomy, inputs.view))


def _focal_gain(inputs) -> Drawn:
    return Drawn(
        "focal_gain", "plan", "Focal gain and power",
        "(a) Intensity at each planned focus over that at the best one, at equal power; of "
        "foci behind each other the smaller mark is the further one. (b) The same against the "
        "distance from the transducer's axis. (c) Where the radiated power goes: mean over the "
        "foci, line: their range.",
        focal_gain(inputs.heating_path, inputs.plan.apex, inputs.plan.axis, inputs.view))


def _steering(inputs) -> Drawn:
    return Drawn(
        "steering", "plan", "Steering map",
        "Focal intensity in water over that of the unsteered focus at equal power, against "
        "where the array steers, on two planes through its axis; lines: equal gain. Dots: "
        "the planned foci, seen from the side. Dashed: the limits of steering.",
        steering_gain(inputs.heating_path, inputs.plan, inputs.view))


def _controllers(inputs) -> Drawn:
    return Drawn(
        "controllers", "treatment", "Controllers side by side",
        "(a) Fraction of the target's volume at the prescribed dose. (b) How far the hottest "
        "constrained location is above its limit; at or below zero every limit is kept.",
        compare_controllers(_trajectories(inputs), inputs.prescription, inputs.holding))


def _lesion(inputs, name: str) -> Drawn:
    anatomy, trajectory = inputs.anatomy, inputs.treatments[name][0]
    dose = inputs.prescription.dose
    words = HOLDING if inputs.hold_settings(name) else _left_untreated(inputs, trajectory)
    return Drawn(
        f"lesion_{name}", "treatment", f"Thermal lesion, controller “{name}”",
        f"Where the final dose is at least {dose:g} CEM43 (filled), on slices across the beam "
        "from the transducer's side inwards, with the share of each slice's target that is "
        f"treated; slices without one hold no target. {words}",
        lesion(anatomy, trajectory, inputs.constraints, dose, inputs.view))


def _left_untreated(inputs, trajectory) -> str:
    left_out = untreated(inputs.anatomy, trajectory, inputs.prescription.dose, inputs.view)
    if not left_out["volume"]:
        return "The whole target is treated."
    return (f"Left untreated: {left_out['volume'] * 1e6:.2f} ml, "
            f"{100 * left_out['fraction']:.1f} % of the target ({left_out['where']}).")


def _course(inputs, name: str) -> Drawn:
    return Drawn(
        f"course_{name}", "treatment", f"Course of the treatment, controller “{name}”",
        "(a) Acoustic power and its mean over a minute, dashed: its maximum. (b) Foci with "
        "power, pale where theirs is a small share of it. (c) Temperatures of the "
        "constrained locations: range of all, and the three that came closest to their limit "
        f"or went furthest over it. (d) {HELD_TARGET if inputs.hold_settings(name) else TREATED} "
        "All values are those of the simulated patient, not of the controller's model.",
        treatment_course(inputs.treatments[name][0], inputs.prescription,
                         hold=inputs.hold_settings(name)))


def _dose(inputs) -> Drawn:
    return Drawn(
        "dose", "treatment", "Dose-volume histogram",
        "Fraction of the target's volume whose final thermal dose is at least the one on the "
        "axis; dashed: the prescribed dose.",
        dose_histogram(_trajectories(inputs), inputs.prescription))


def _meshes(inputs) -> Drawn:
    return Drawn(
        "meshes", "models", "Meshes",
        "Cut through the target's centre along the beam: tetrahedra over the voxels of the "
        "label map they were made from (squares without lines).",
        mesh_cuts(inputs.mesh_paths, inputs.anatomy, inputs.view))


def _angles(inputs) -> Drawn:
    return Drawn(
        "angles", "models", "Shapes of the cells",
        "Smallest dihedral angle of every tetrahedron; a regular one has 70.5 degrees, flat "
        "and thin ones few.", mesh_angles(inputs.mesh_paths))


def _reduction(inputs) -> Drawn:
    return Drawn(
        "reduction", "models", "Model reduction",
        "Hankel singular values, and the bound on the H-infinity error of the model that is "
        "cut after so many states; the vertical line is the order in use.",
        hankel(inputs.hsv, inputs.error_bound, inputs.rom_order,
               inputs.certificate.get("full_order")))


def _truncation(inputs) -> Drawn:
    return Drawn(
        "truncation", "models", "Error against order",
        "Largest difference of any output from the full control model in a replayed treatment, "
        "for three ways to choose the states; the vertical line is the order in use.",
        truncation_errors(inputs.certificate["error_against_order"], inputs.rom_order))


def _ensembles(inputs) -> Drawn:
    return Drawn(
        "ensembles", "ensemble", "Treatments of drawn patients",
        "One mark per draw over the fraction of draws up to it; dashed: 95 %.",
        ensemble_distributions(inputs.ensembles))
