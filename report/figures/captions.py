"""The report's figures in order, each with its caption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
)
from .anatomy import geometry, planned_foci
from .ensemble import ensemble_distributions
from .models import hankel, mesh_angles, mesh_cuts, truncation_errors
from .treatment import compare_controllers, dose_histogram, lesion, treatment_course


@dataclass(frozen=True)
class Drawn:
    """A finished figure: `name` is its file's, `section` where on the page it stands."""

    name: str
    section: str
    title: str
    caption: str
    figure: Figure


def draw_all(inputs: ReportInputs) -> Iterator[Drawn]:
    """Draw every figure for which there are data, one at a time."""
    yield from _plan_figures(inputs)
    yield from _treatment_figures(inputs)
    yield from _model_figures(inputs)
    if inputs.ensembles:
        yield Drawn("ensembles", "ensemble", "Treatments of drawn patients",
                    "One mark per draw over the fraction of draws up to it; dashed: 95 %.",
                    ensemble_distributions(inputs.ensembles))


def _plan_figures(inputs):
    anatomy, view = inputs.anatomy, inputs.view
    limits = np.unique(inputs.constraints["limit_c"])
    limit = " to ".join(f"{value:g}" for value in sorted({limits.min(), limits.max()}))
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume * 1e6
    yield Drawn(
        "geometry", "plan", "Anatomy and constraints",
        f"(a) The body's surface and the target ({volume:.2f} ml). (b) The surface around the "
        f"target with the {len(inputs.constraints['position_m'])} locations in normal tissue "
        f"whose temperature must stay at or below {limit} °C. The beam comes from above.",
        geometry(anatomy, inputs.constraints, view))
    yield Drawn(
        "foci", "plan", "Planned foci",
        f"The {len(inputs.plan.foci)} foci, {inputs.plan.spacing_m * 1e3:g} mm apart and numbered "
        "as planned, with the target's outline on every slice across the beam; the outline "
        "nearest the focal plane is solid.",
        planned_foci(anatomy, inputs.plan, view))
    if inputs.heating_path is not None:
        heating = central_heating(inputs.heating_path, anatomy)
        power = inputs.prescription.max_power
        at = ", ".join(f"{value * 1e3:.1f}" for value in heating.foci[0])
        yield Drawn(
            "heating", "plan", "Heating pattern of the central focus",
            f"Absorbed power density Q at {power:g} W for the focus nearest the target's centre, "
            f"(x, y, z) = ({at}) mm. (a, b) Two planes along the beam and (c) the focal plane, on "
            "one scale; (d–f) contours at 5, 10, 25, 50, 75 and 90 % of the highest value; (g–i) "
            "profiles through the focus. Dashed: the target's outline; grey: the body's surface. "
            f"{100 * heating.absorbed_fraction[0]:.0f} % of the acoustic power is absorbed in the "
            f"body; focal pressure amplitude {heating.focal_pressure_pa[0] * power**0.5 / 1e6:.1f}"
            " MPa (linear acoustics).",
            heating_pattern(heating, anatomy, power, view))
        yield Drawn(
            "beam", "plan", "Beam over the anatomy",
            "The same heating in decibels over the label map, on the two planes along the beam "
            "through the focus (+); lines: 3 and 6 dB below the highest value. Dashed: the "
            "target's outline.", beam_over_anatomy(heating, anatomy, view))
        yield Drawn(
            "focal_gain", "plan", "Focal gain and power",
            "(a) Intensity at each planned focus over that at the best one, at equal power; of "
            "foci behind each other the smaller mark is the further one. (b) The same against the "
            "distance from the transducer's axis. (c) Where the radiated power goes: mean over the "
            "foci, line: their range.",
            focal_gain(inputs.heating_path, inputs.plan.apex, inputs.plan.axis, view))
        steering = steering_gain(inputs.heating_path, inputs.plan, view)
        if steering is not None:
            yield Drawn(
                "steering", "plan", "Steering map",
                "Focal intensity in water over that of the unsteered focus at equal power, against "
                "where the array steers, on two planes through its axis; lines: equal gain. Dots: "
                "the planned foci, seen from the side. Dashed: the limits of steering.", steering)


def _treatment_figures(inputs):
    anatomy, view, prescription = inputs.anatomy, inputs.view, inputs.prescription
    dose = prescription.dose
    trajectories = {name: pair[0] for name, pair in inputs.treatments.items()}
    if len(trajectories) > 1:
        yield Drawn(
            "controllers", "treatment", "Controllers side by side",
            "(a) Fraction of the target's volume at the prescribed dose. (b) How far the hottest "
            "constrained location is above its limit; at or below zero every limit is kept.",
            compare_controllers(trajectories, prescription))
    for name, trajectory in trajectories.items():
        left = untreated(anatomy, trajectory, dose, view)
        words = ("The whole target is treated." if not left["volume"] else
                 f"Left untreated: {left['volume'] * 1e6:.2f} ml, "
                 f"{100 * left['fraction']:.1f} % of the target ({left['where']}).")
        yield Drawn(
            f"lesion_{name}", "treatment", f"Thermal lesion, controller “{name}”",
            f"Where the final dose is at least {dose:g} CEM43 (filled), on slices across the beam "
            "from the transducer's side inwards, with the share of each slice's target that is "
            f"treated. {words}",
            lesion(anatomy, trajectory, inputs.constraints, dose, view))
        yield Drawn(
            f"course_{name}", "treatment", f"Course of the treatment, controller “{name}”",
            "(a) Acoustic power and its mean over a minute, dashed: its maximum. (b) Foci with "
            "power, pale where theirs is a small share of it. (c) Temperatures of the "
            "constrained locations: range of all, and the three that came closest to their limit "
            "or went furthest over it. (d) Fraction of the target's volume at the prescribed "
            "dose. All values are those of the simulated patient, not of the controller's model.",
            treatment_course(trajectory, prescription))
    if trajectories:
        yield Drawn(
            "dose", "treatment", "Dose-volume histogram",
            "Fraction of the target's volume whose final thermal dose is at least the one on the "
            "axis; dashed: the prescribed dose.",
            dose_histogram(trajectories, prescription))


def _model_figures(inputs):
    if inputs.mesh_paths:
        yield Drawn(
            "meshes", "models", "Meshes",
            "Cut through the target's centre along the beam: tetrahedra over the voxels of the "
            "label map they were made from (squares without lines).",
            mesh_cuts(inputs.mesh_paths, inputs.anatomy, inputs.view))
        yield Drawn(
            "angles", "models", "Shapes of the cells",
            "Smallest dihedral angle of every tetrahedron; a regular one has 70.5 degrees, flat "
            "and thin ones few.", mesh_angles(inputs.mesh_paths))
    if inputs.hsv is not None and len(inputs.hsv):
        yield Drawn(
            "reduction", "models", "Model reduction",
            "Hankel singular values, and the bound on the H-infinity error of the model that is "
            "cut after so many states; the vertical line is the order in use.",
            hankel(inputs.hsv, inputs.error_bound, inputs.rom_order,
                   inputs.certificate.get("full_order")))
    if "error_against_order" in inputs.certificate:
        yield Drawn(
            "truncation", "models", "Error against order",
            "Largest difference of any output from the full control model in a replayed treatment, "
            "for three ways to choose the states; the vertical line is the order in use.",
            truncation_errors(inputs.certificate["error_against_order"], inputs.rom_order))
