"""Where the transducer stands and where it focuses."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.plan import Plan

from .focal_zone import coverage, focal_size
from .foci import (
    Reach,
    automatic_spacing,
    blocked_part,
    lattice,
    leave_out,
    near_skin,
    planes_through,
    reach,
    summary,
    touches,
)
from .frame import beam_frame
from .transducer import Transducer

STEPS_PER_VOXEL = 20
WORTH_A_WARNING = 0.01  # part of the beam that is blocked


def plan_treatment(anatomy: Anatomy, transducer: dict, config: dict) -> Plan:
    """Pose of the transducer and the planned foci.

    The transducer's axis is the anatomy's, through the target's centroid; its apex lies
    `standoff_mm` before the body's surface on that line, or (`auto`) where the geometric focus
    falls on the centroid, or as near to that as the body leaves room. The foci are square lattices
    in planes normal to the axis, centred on the voxel nearest to the target's centroid; a lattice
    point is kept where the voxel around it belongs to the target. They are numbered plane by
    plane, row by row from the low-x low-y corner, along x within a row. Foci that cannot be
    reached, lie too near to the skin or behind obstacles are left out and named.

    Parameters
    ----------
    transducer : what `study.transducer_file.load_device` returns.
    config : {"file": the patient file, "transducer", "foci": its sections, "tissues": tissue ->
        {"attenuation_np_m_mhz", "blocks"}, "water": {"speed_of_sound_m_s"}}. With
        foci.explicit_mm there is no lattice; a single explicit focus has no neighbour to tell the
        spacing and takes foci.spacing_mm.

    Raises
    ------
    InputError : discs that do not fit, the transducer touching the body, no focus, an explicit
        focus outside the body or out of reach, too many foci left out.
    """
    device = Transducer.from_config(transducer)
    speed = config["water"]["speed_of_sound_m_s"]
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    apex = _stand(anatomy, device, centroid, config)
    width, length = focal_size(device, speed)
    foci, spacing = _wanted(anatomy, centroid, width, length, config)
    found = reach(foci, apex, anatomy.axis, device, transducer["max_travel_m"])
    touching = touches(anatomy, apex, found.shift, device, device.first_depth)
    wanted, left_out = len(foci), []
    if "explicit_mm" in config["foci"]:
        _check_explicit(anatomy, device, foci, found, touching, transducer["max_travel_m"],
                        config["file"])
        keep = np.ones(len(foci), dtype=bool)
    else:
        reasons = _reasons(anatomy, device, foci, found, touching, config)
        keep, left_out = leave_out(foci, reasons, config["foci"]["max_left_out_fraction"],
                                   _limits(device, found, transducer["max_travel_m"]),
                                   config["file"])
    foci, shift = foci[keep], found.shift[keep]
    target = anatomy.position(np.argwhere(anatomy.target_mask))
    covered, spread = (coverage(target, foci, beam_frame(anatomy.axis), across, length)
                       for across in (width, 2 * width))
    warnings = _blocked(anatomy.beam) + summary(left_out, wanted)
    for warning in warnings:
        log.info("WARNING %s", warning)
    log.info("%d foci, apex at (%.1f, %.1f, %.1f) mm; foci of %.1f x %.1f mm (-6 dB) cover %.0f %% "
             "of the target, with the spread of heat %.0f %%", len(foci), *(apex * 1e3),
             width * 1e3, length * 1e3, covered * 100, spread * 100)
    return Plan(apex, anatomy.axis, foci, spacing, shift, width, length, covered, spread,
                left_out, warnings, transducer["switch_time_s"], transducer["move_time_s"])


def _stand(anatomy: Anatomy, device: Transducer, centroid, config: dict) -> np.ndarray:
    """Apex of the transducer, which must not touch the body [m]."""
    axis, pose = anatomy.axis, config["transducer"]
    entry = skin_entry(anatomy, centroid, axis, config["file"])
    water = device.first_depth
    automatic = pose["standoff_mm"] == "auto"
    focused = device.radius_of_curvature - float((centroid - entry) @ axis)
    standoff = focused if automatic else pose["standoff_mm"] * 1e-3
    clear = _clearance(anatomy, device, entry - standoff * axis, axis) - standoff
    if automatic:
        standoff = max(focused, water - clear)
        if standoff - focused > device.max_axial:
            raise InputError(f"the body would reach {(water - clear - focused) * 1e3:.1f} mm into "
                             "the room that the transducer and the water before it need",
                             file=config["file"], key="transducer.standoff_mm", value="auto",
                             allowed="a transducer with a longer focus, or another axis")
    room = standoff + clear - water
    if room < 0:
        raise InputError(f"the body reaches to {(standoff + clear) * 1e3:.1f} mm from the plane of "
                         f"the array's apex, where the array (rim at {device.rim_depth * 1e3:.1f} "
                         f"mm) needs water up to {water * 1e3:.1f} mm", file=config["file"],
                         key="transducer.standoff_mm", value=pose["standoff_mm"],
                         allowed=f"at least {-room * 1e3:.1f} mm more")
    return entry - standoff * axis


def skin_entry(anatomy: Anatomy, point, axis, file) -> np.ndarray:
    """Where the line through `point` along `axis` first enters the body [m].

    Raises
    ------
    InputError : the line starts inside the body at the image's edge, or enters through a cut;
        `file` is the patient file that is named.
    """
    extent = np.linalg.norm(np.array(anatomy.labels.shape) * anatomy.spacing)
    step = anatomy.spacing.min() / STEPS_PER_VOXEL
    line = point + np.arange(-extent, step, step)[:, None] * axis
    index = np.rint(anatomy.index(line)).astype(int)
    line = line[((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)]
    index = tuple(np.rint(anatomy.index(line)).astype(int).T)
    entry = int(np.argmax(anatomy.body_mask[index]))
    before = tuple(i[max(entry - 1, 0)] for i in index)
    if entry == 0 or not anatomy.coupling[before]:
        raise InputError("the beam does not enter the body through water: on the axis through "
                         "the target the image ends inside the body, or a cut comes first",
                         file=file, key="transducer.axis", value=axis.round(4).tolist(),
                         allowed="a direction from the skin to the target, with water before it")
    return line[entry] - 0.5 * step * axis


def _clearance(anatomy: Anatomy, device: Transducer, apex, axis) -> float:
    """Depth from the apex of the part of the body under the aperture that comes nearest [m]."""
    body = (anatomy.position(np.argwhere(anatomy.body_mask)) - apex) @ beam_frame(axis)
    under = body[np.hypot(body[:, 0], body[:, 1]) < device.aperture / 2, 2]
    return float(under[under > -device.aperture].min())


def _wanted(anatomy: Anatomy, centroid, width: float, length: float,
            config: dict) -> tuple[np.ndarray, float]:
    """Foci asked for, and their spacing [m]."""
    options = config["foci"]
    spacing, longest = automatic_spacing(width, length)
    if options["spacing_mm"] != "auto":
        spacing = options["spacing_mm"] * 1e-3
    if "plane_spacing_mm" in options:
        longest = options["plane_spacing_mm"] * 1e-3
    if "explicit_mm" in options:
        foci = np.array(options["explicit_mm"]) * 1e-3
        if len(foci) > 1:
            spacing = float(cKDTree(foci).query(foci, k=2)[0][:, 1].min())
        return foci, spacing
    centre = anatomy.position(np.rint(anatomy.index(centroid)))
    planned = options["plane_offsets_mm"] == "auto"
    offsets = (planes_through(anatomy, centre, longest) if planned
               else np.sort(options["plane_offsets_mm"]) * 1e-3)
    foci = lattice(anatomy, centre, spacing, offsets, staggered=planned)
    if len(foci) == 0:
        raise InputError("no focus lies in the target", file=config["file"], key="foci",
                         allowed="a smaller spacing_mm, or plane_offsets_mm that cross the target")
    return foci, spacing


def _reasons(anatomy: Anatomy, device: Transducer, foci, found: Reach, touching,
             config: dict) -> list[str]:
    """For each focus why it cannot be treated, "" if it can."""
    least, most = (config["foci"]["skin_distance_mm"] * 1e-3,
                   config["transducer"]["max_blocked_fraction"])
    blocked = blocked_part(anatomy, foci, device, config["tissues"])
    shallow = near_skin(anatomy, foci, least)
    reasons = []
    for i in range(len(foci)):
        if not found.reached[i]:
            reasons.append(f"out of reach: {_needs(found, i)}")
        elif touching[i]:
            reasons.append("for which the transducer would touch the body")
        elif shallow[i]:
            reasons.append(f"nearer than {least * 1e3:g} mm to the skin")
        elif blocked[i] > most:
            reasons.append(f"blocked: {blocked[i]:.0%} of its beam")
        else:
            reasons.append("")
    return reasons


def _needs(found: Reach, i: int) -> str:
    return (f"it needs {found.lateral[i] * 1e3:.1f} mm of lateral and "
            f"{found.axial[i] * 1e3:+.1f} mm of axial steering")


def _check_explicit(anatomy: Anatomy, device: Transducer, foci, found: Reach, touching,
                    travel: dict, file) -> None:
    """Foci that a person asks for are refused, not left out."""
    index = np.rint(anatomy.index(foci)).astype(int)
    inside = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    inside[inside] = anatomy.body_mask[tuple(index[inside].T)]
    for number in np.flatnonzero(~inside)[:1]:
        raise InputError(f"focus {number + 1} does not lie in the body", file=file,
                         key="foci.explicit_mm", value=(foci[number] * 1e3).round(2).tolist(),
                         allowed="inside the body")
    missed = ~found.reached | touching
    for number in np.flatnonzero(missed)[:1]:
        raise InputError(f"focus {number + 1} of {len(foci)}: {_needs(found, number)} "
                         f"({missed.sum()} foci are out of reach)", file=file,
                         key="foci.explicit_mm", value=(foci[number] * 1e3).round(2).tolist(),
                         allowed=_limits(device, found, travel))


def _limits(device: Transducer, found: Reach, travel: dict) -> str:
    middle = (found.axial.min() + found.axial.max()) / 2
    return (f"up to {device.max_lateral * 1e3:g} mm lateral and {device.max_axial * 1e3:g} mm "
            f"axial steering, or {travel['lateral'] * 1e3:g} and {travel['axial'] * 1e3:g} mm of "
            "travel that do not touch the body, from the geometric focus: foci nearer the axis, or "
            f"a transducer.standoff_mm changed by {-middle * 1e3:+.1f}")


def _blocked(beam: dict) -> list[str]:
    """Warnings about what is in the beam's way."""
    return [f"{fraction:.0%} of the beam is blocked: {name}"
            for name, fraction in beam.get("blocked_by", {}).items()
            if fraction >= WORTH_A_WARNING]
