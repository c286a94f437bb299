"""Where the transducer stands and where it focuses."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.plan import Plan
from hifuflow.settings import Written

from .filling import filling_foci
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
from .settings import FociSettings, PlanSettings, Travel
from .transducer import Transducer

STEPS_PER_VOXEL = 20
WORTH_A_WARNING = 0.01  # part of the beam that is blocked
LITTLE = 0.5  # part of the target within reach of the foci: no plan, or a warning if asked for
FULL = 0.9  # the same below which automatic foci are warned of


def plan_treatment(anatomy: Anatomy, settings: PlanSettings) -> Plan:
    """Pose of the transducer and the planned foci.

    The transducer's axis is the anatomy's, through the target's centroid; its apex lies at the
    standoff before the body's surface on that line, or, without one, where the geometric focus
    falls on the centroid, or as near to that as the body leaves room. The foci are square lattices
    in planes normal to the axis, centred on the voxel nearest to the target's centroid; a lattice
    point is kept where the voxel around it belongs to the target. They are numbered plane by
    plane, row by row from the low-x low-y corner, along x within a row. Foci that cannot be
    reached, lie too near to the skin or behind obstacles are left out and named. Where planes are
    placed automatically further foci follow, at voxels of the target that their heat would not
    reach otherwise (see `filling`). Explicit foci stand instead of the lattice; a single one has no
    neighbour to tell the spacing and takes the lattice's.

    Returns
    -------
    Plan : apex (3,) [m], axis (3,), foci (n, 3) [m] and how far the transducer is moved for each,
        (n, 3) [m].

    Raises
    ------
    InputError : discs that do not fit, the transducer touching the body, no focus, an explicit
        focus outside the body or out of reach, too many foci left out, automatic foci that reach
        too little of the target.
    """
    device = Transducer.of(settings.transducer)
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    apex = _stand(anatomy, device, centroid, settings)
    width, length = focal_size(device, settings.water_speed)
    foci, spacing = _wanted(anatomy, centroid, width, length, settings.foci)
    frame, target = beam_frame(anatomy.axis), anatomy.position(np.argwhere(anatomy.target_mask))
    shift, left_out, wanted = np.zeros((0, 3)), [], len(foci)
    if len(foci):
        foci, shift, left_out = _treatable(anatomy, device, foci, apex, settings)
    if settings.foci.automatic:
        more = _filling(anatomy, device, target, foci, apex, (2 * width, length), settings)
        foci = np.vstack([foci, more])
        shift = np.vstack([shift, reach(more, apex, anatomy.axis, device,
                                        settings.transducer.travel).shift])
    covered, spread = (coverage(target, foci, frame, across, length) if len(foci) else 0.0
                       for across in (width, 2 * width))
    if settings.foci.automatic and spread < LITTLE:
        raise _unreached(spread, left_out, settings.foci)
    warnings = (_blocked(anatomy.beam) + summary(left_out, wanted)
                + _few(len(foci), spread, settings.foci))
    for warning in warnings:
        log.info("WARNING %s", warning)
    log.info("%d foci, apex at (%.1f, %.1f, %.1f) mm; foci of %.1f x %.1f mm (-6 dB) cover %.0f %% "
             "of the target, with the spread of heat %.0f %%", len(foci), *(apex * 1e3),
             width * 1e3, length * 1e3, covered * 100, spread * 100)
    return Plan(apex, anatomy.axis, foci, spacing, shift, width, length, covered, spread,
                left_out, warnings, settings.transducer.switch_time,
                settings.transducer.move_time)


def _treatable(anatomy: Anatomy, device: Transducer, foci, apex, settings: PlanSettings):
    """Those of the foci that can be treated, how far the transducer is moved for each, and those
    that are left out."""
    found = reach(foci, apex, anatomy.axis, device, settings.transducer.travel)
    touching = touches(anatomy, apex, found.shift, device, device.first_depth)
    limits = _limits(device, found, settings.transducer.travel)
    if settings.foci.explicit is not None:
        _check_explicit(anatomy, foci, found, touching, limits, settings.foci)
        return foci, found.shift, []
    reasons = _reasons(anatomy, device, foci, found, touching, settings)
    keep, left_out = leave_out(foci, reasons, limits, settings.foci)
    return foci[keep], found.shift[keep], left_out


def _filling(anatomy: Anatomy, device: Transducer, target, foci, apex, size,
             settings: PlanSettings) -> np.ndarray:
    """Foci (n, 3) [m] for what of the target (m, 3) the lattice leaves cold; `size` : across and
    along the beam, of what one focus heats [m]."""
    travel = settings.transducer.travel
    reached = reach(target, apex, anatomy.axis, device, travel).reached
    reached &= ~near_skin(anatomy, target, settings.foci.skin_distance)

    def usable(focus):
        one = focus[None]
        moved = reach(one, apex, anatomy.axis, device, travel).shift
        return not touches(anatomy, apex, moved, device, device.first_depth)[0] and (
            blocked_part(anatomy, one, device, settings.tissues)[0] <= settings.max_blocked)

    more = filling_foci(target, foci, beam_frame(anatomy.axis), *size, reached, usable)
    if len(more):
        log.info("%d further foci where the heat of the lattice's %d does not reach", len(more),
                 len(foci))
    return more


def _unreached(spread: float, left_out: list, settings: FociSettings):
    """The fault of automatic foci that leave most of the target cold."""
    why = f"; {left_out[0]['reason']}" if left_out else ""
    return settings.written.error(
        f"heat reaches only {spread:.0%} of the target, wherever foci can be{why}",
        "plane_offsets_mm",
        allowed=f"at least {LITTLE:.0%} within reach: one component of the target (at_mm), another "
                "transducer.axis, a transducer with more steering or travel, or foci of your own "
                "(plane_offsets_mm, explicit_mm)")


def _stand(anatomy: Anatomy, device: Transducer, centroid, settings: PlanSettings) -> np.ndarray:
    """Apex of the transducer, which must not touch the body [m]."""
    axis, fault = anatomy.axis, settings.pose.error
    entry = skin_entry(anatomy, centroid, axis, settings.pose)
    water = device.first_depth
    automatic = settings.standoff is None
    focused = device.radius_of_curvature - float((centroid - entry) @ axis)
    standoff = focused if automatic else settings.standoff
    clear = _clearance(anatomy, device, entry - standoff * axis, axis) - standoff
    if automatic:
        standoff = max(focused, water - clear)
        if standoff - focused > device.max_axial:
            raise fault(f"the body would reach {(water - clear - focused) * 1e3:.1f} mm into the "
                        "room that the transducer and the water before it need", "standoff_mm",
                        allowed="a transducer with a longer focus, or another axis")
    room = standoff + clear - water
    if room < 0:
        raise fault(f"the body reaches to {(standoff + clear) * 1e3:.1f} mm from the plane of the "
                    f"array's apex, where the array (rim at {device.rim_depth * 1e3:.1f} mm) needs "
                    f"water up to {water * 1e3:.1f} mm", "standoff_mm",
                    allowed=f"at least {-room * 1e3:.1f} mm more")
    return entry - standoff * axis


def skin_entry(anatomy: Anatomy, point, axis, pose: Written) -> np.ndarray:
    """Where the line through `point` along `axis` first enters the body, (3,) [m].

    Raises
    ------
    InputError : the line starts inside the body at the image's edge, or enters through a cut.
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
        raise pose.error("the beam does not enter the body through water: on the axis through "
                         "the target the image ends inside the body, or a cut comes first",
                         "axis", value=axis.round(4).tolist(),
                         allowed="a direction from the skin to the target, with water before it")
    return line[entry] - 0.5 * step * axis


def _clearance(anatomy: Anatomy, device: Transducer, apex, axis) -> float:
    """Depth from the apex of the part of the body under the aperture that comes nearest [m]."""
    body = (anatomy.position(np.argwhere(anatomy.body_mask)) - apex) @ beam_frame(axis)
    under = body[np.hypot(body[:, 0], body[:, 1]) < device.aperture / 2, 2]
    return float(under[under > -device.aperture].min())


def _wanted(anatomy: Anatomy, centroid, width: float, length: float,
            settings: FociSettings) -> tuple[np.ndarray, float]:
    """Foci asked for (n, 3), and their spacing [m], for a focus of that width and length."""
    spacing, longest = automatic_spacing(width, length)
    if settings.spacing is not None:
        spacing = settings.spacing
    if settings.plane_spacing is not None:
        longest = settings.plane_spacing
    if settings.explicit is not None:
        foci = np.array(settings.explicit)
        if len(foci) > 1:
            spacing = float(cKDTree(foci).query(foci, k=2)[0][:, 1].min())
        return foci, spacing
    centre = anatomy.position(np.rint(anatomy.index(centroid)))
    planned = settings.plane_offsets is None
    offsets = (planes_through(anatomy, centre, longest) if planned
               else np.sort(settings.plane_offsets))
    foci = lattice(anatomy, centre, spacing, offsets, staggered=planned)
    if len(foci) == 0 and not planned:
        raise settings.written.error(
            "no focus lies in the target",
            allowed="a smaller spacing_mm, or plane_offsets_mm that cross the target")
    return foci, spacing


def _reasons(anatomy: Anatomy, device: Transducer, foci, found: Reach, touching,
             settings: PlanSettings) -> list[str]:
    """For each focus why it cannot be treated, "" if it can."""
    least, most = settings.foci.skin_distance, settings.max_blocked
    blocked = blocked_part(anatomy, foci, device, settings.tissues)
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


def _check_explicit(anatomy: Anatomy, foci, found: Reach, touching, limits: str,
                    settings: FociSettings) -> None:
    """Foci that a person asks for are refused, not left out."""
    def fault(problem, number, allowed):
        return settings.written.error(problem, "explicit_mm", allowed=allowed,
                                      value=settings.written.values["explicit_mm"][number])

    index = np.rint(anatomy.index(foci)).astype(int)
    inside = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    inside[inside] = anatomy.body_mask[tuple(index[inside].T)]
    for number in np.flatnonzero(~inside)[:1]:
        raise fault(f"focus {number + 1} does not lie in the body", number, "inside the body")
    missed = ~found.reached | touching
    for number in np.flatnonzero(missed)[:1]:
        raise fault(f"focus {number + 1} of {len(foci)}: {_needs(found, number)} "
                    f"({missed.sum()} foci are out of reach)", number, limits)


def _limits(device: Transducer, found: Reach, travel: Travel) -> str:
    """What the transducer reaches, in words."""
    middle = (found.axial.min() + found.axial.max()) / 2
    return (f"up to {device.max_lateral * 1e3:g} mm lateral and {device.max_axial * 1e3:g} mm "
            f"axial steering, or {travel.lateral * 1e3:g} and {travel.axial * 1e3:g} mm of "
            "travel that do not touch the body, from the geometric focus: foci nearer the axis, or "
            f"a transducer.standoff_mm changed by {-middle * 1e3:+.1f}")


def _few(count: int, spread: float, settings: FociSettings) -> list[str]:
    """A warning where the heat of the foci leaves much of the target cold."""
    if spread >= (FULL if settings.automatic else LITTLE):
        return []
    what = "the only focus reaches" if count == 1 else f"the {count} foci reach"
    remedy = ("steering, travel, the skin or obstacles keep foci from the rest"
              if settings.automatic else
              "a smaller foci.spacing_mm or more planes reach more")
    return [f"{what} {spread:.0%} of the target, with the spread of heat: {remedy}"]


def _blocked(beam: dict) -> list[str]:
    """Warnings about what is in the beam's way."""
    return [f"{fraction:.0%} of the beam is blocked: {name}"
            for name, fraction in beam.get("blocked_by", {}).items()
            if fraction >= WORTH_A_WARNING]
