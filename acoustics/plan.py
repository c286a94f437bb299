"""Where the array stands and where it focuses."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.artifacts import Anatomy, Plan
from hifuflow.errors import InputError
from hifuflow.job import log

from .frame import beam_frame, unit_axis
from .transducer import Transducer

POSE_KEYS = ("name", "axis", "standoff_mm")
FOCI_KEYS = ("spacing_mm", "plane_offsets_mm", "explicit_mm")
STEPS_PER_VOXEL = 20


def plan_treatment(anatomy: Anatomy, transducer: dict, config: dict) -> Plan:
    """Pose of the array and the planned foci.

    The array's axis runs through the target's centroid, its apex lies `standoff_mm` before the
    body's surface, measured on that line. The foci are a square lattice in planes normal to the
    axis, centred on the voxel nearest to the target's centroid; a lattice point is kept where
    the voxel around it belongs to the target. They are numbered plane by plane, row by row from
    the low-x low-y corner, along x within a row.

    Parameters
    ----------
    transducer : content of a file in `config/transducers`.
    config : {"transducer": {"axis", "standoff_mm"}, "foci": {"spacing_mm", "plane_offsets_mm"}
        or {"explicit_mm"}} (a single explicit focus also needs "spacing_mm", as it has no
        neighbour to tell the spacing).

    Raises
    ------
    InputError : unknown or unusable options, the array touching the body, no focus, a focus
        outside the body or beyond the array's reach.
    """
    device = Transducer.from_config(transducer)
    pose, options = config["transducer"], config["foci"]
    _check_keys(pose, POSE_KEYS, "transducer")
    _check_keys(options, FOCI_KEYS, "foci")
    axis = unit_axis(pose.get("axis"))
    if np.linalg.norm(axis - anatomy.axis) > 1e-3:
        raise InputError("not the direction the anatomy was prepared for", key="transducer.axis",
                         value=pose["axis"], allowed=np.round(anatomy.axis, 4).tolist())
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    standoff = _number(pose, "standoff_mm", "transducer", least=0) * 1e-3
    apex = skin_entry(anatomy, centroid, axis) - standoff * axis
    _check_clear(anatomy, device, apex, axis)
    if options.get("explicit_mm") is not None:
        foci = _points(options["explicit_mm"])
        spacing = _nearest(foci) or _number(options, "spacing_mm", "foci", least=1e-3) * 1e-3
    else:
        spacing = _number(options, "spacing_mm", "foci", least=1e-3) * 1e-3
        offsets = _numbers(options, "plane_offsets_mm") * 1e-3
        foci = lattice(anatomy, centroid, beam_frame(axis), spacing, offsets)
    _check_foci(anatomy, device, foci, apex, axis)
    log.info("%d foci, apex at (%.1f, %.1f, %.1f) mm", len(foci), *(apex * 1e3))
    return Plan(apex, axis, foci, spacing)


def skin_entry(anatomy: Anatomy, point, axis) -> np.ndarray:
    """Where the line through `point` along `axis` first enters the body [m].

    Raises
    ------
    InputError : the line starts inside the body at the image's edge, or enters through a cut.
    """
    reach = np.linalg.norm(np.array(anatomy.labels.shape) * anatomy.spacing)
    step = anatomy.spacing.min() / STEPS_PER_VOXEL
    line = point + np.arange(-reach, step, step)[:, None] * axis
    index = np.rint(anatomy.index(line)).astype(int)
    line = line[((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)]
    index = tuple(np.rint(anatomy.index(line)).astype(int).T)
    entry = int(np.argmax(anatomy.body_mask[index]))
    before = tuple(i[max(entry - 1, 0)] for i in index)
    if entry == 0 or not anatomy.coupling[before]:
        raise InputError("the beam does not enter the body through water: on the axis through "
                         "the target the image ends inside the body, or a cut comes first",
                         key="transducer.axis", value=axis.tolist(),
                         allowed="a direction from the skin to the target, with water before it")
    return line[entry] - 0.5 * step * axis


def lattice(anatomy: Anatomy, centre, frame, spacing: float, offsets) -> np.ndarray:
    """(n, 3) points of a square lattice inside the target, in raster order [m].

    Rows and columns follow the beam's x and y axes, turned to point along the patient's.
    """
    centre = anatomy.position(np.rint(anatomy.index(centre)))
    across = [axis * np.sign(axis[np.argmax(np.abs(axis))]) for axis in frame.T[:2]]
    extent = np.linalg.norm(anatomy.spacing * np.ptp(np.argwhere(anatomy.target_mask), axis=0))
    ticks = spacing * np.arange(-np.ceil(extent / spacing), np.ceil(extent / spacing) + 1)
    depth, y, x = np.meshgrid(offsets, ticks, ticks, indexing="ij")
    points = centre + np.stack([x, y, depth], axis=-1).reshape(-1, 3) @ np.stack(
        [*across, frame[:, 2]])
    # A nudge breaks ties on voxel faces the same way for all points, whatever the rounding.
    index = np.floor(anatomy.index(points) + 0.5 + 1e-6).astype(int)
    within = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    points, index = points[within], index[within]
    return points[anatomy.target_mask[tuple(index.T)]]


def _check_clear(anatomy: Anatomy, device: Transducer, apex, axis) -> None:
    """The array, and the water up to its elements' far field, must be free of tissue."""
    body = (anatomy.position(np.argwhere(anatomy.body_mask)) - apex) @ beam_frame(axis)
    under = body[np.hypot(body[:, 0], body[:, 1]) < device.aperture / 2]
    depth = under[under[:, 2] > -device.aperture][:, 2].min()
    if depth < device.first_depth:
        raise InputError(f"the body reaches to {depth * 1e3:.1f} mm from the plane of the "
                         f"array's apex, where the array (rim at {device.rim_depth * 1e3:.1f} mm) "
                         f"needs water up to {device.first_depth * 1e3:.1f} mm",
                         key="transducer.standoff_mm",
                         allowed="at least "
                                 f"{(device.first_depth - depth) * 1e3:.1f} mm more")


def _check_foci(anatomy: Anatomy, device: Transducer, foci, apex, axis) -> None:
    if len(foci) == 0:
        raise InputError("no focus lies in the target", key="foci",
                         allowed="a smaller spacing_mm, or plane_offsets_mm that cross the target")
    index = np.rint(anatomy.index(foci)).astype(int)
    inside = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    inside[inside] = anatomy.body_mask[tuple(index[inside].T)]
    for number in np.flatnonzero(~inside)[:1]:
        raise InputError(f"focus {number + 1} does not lie in the body", key="foci.explicit_mm",
                         value=(foci[number] * 1e3).round(2).tolist(), allowed="inside the body")
    steering = foci - apex - device.radius_of_curvature * axis
    axial = steering @ axis
    lateral = np.linalg.norm(steering - axial[:, None] * axis, axis=1)
    beyond = (lateral > device.max_lateral + 1e-9) | (np.abs(axial) > device.max_axial + 1e-9)
    middle = (axial.min() + axial.max()) / 2
    for number in np.flatnonzero(beyond)[:1]:
        raise InputError(
            f"focus {number + 1} of {len(foci)} needs {lateral[number] * 1e3:.1f} mm of lateral "
            f"and {axial[number] * 1e3:+.1f} mm of axial steering ({beyond.sum()} foci are out of "
            f"reach)", key="foci", value=(foci[number] * 1e3).round(2).tolist(),
            allowed=f"up to {device.max_lateral * 1e3:g} mm lateral and {device.max_axial * 1e3:g}"
                    " mm axial from the geometric focus: foci nearer the axis, or a "
                    f"transducer.standoff_mm changed by {-middle * 1e3:+.1f}")


def _points(value) -> np.ndarray:
    try:
        points = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError("not a list of positions", key="foci.explicit_mm", value=value,
                         allowed="[[x, y, z], ...] in mm")
    return points * 1e-3


def _nearest(points: np.ndarray) -> float:
    """Smallest distance between two foci; 0 for a single one."""
    if len(points) < 2:
        return 0.0
    distance = float(cKDTree(points).query(points, k=2)[0][:, 1].min())
    if distance == 0:
        raise InputError("the same focus twice", key="foci.explicit_mm",
                         allowed="different positions")
    return distance


def _check_keys(section: dict, known, name: str) -> None:
    for key in section:
        if key not in known:
            raise InputError("unknown key", key=f"{name}.{key}", value=section[key],
                             allowed=", ".join(known))


def _number(section: dict, key: str, name: str, least: float) -> float:
    value = section.get(key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value < float("inf"):
        raise InputError("not a number in range", key=f"{name}.{key}", value=value,
                         allowed=f"at least {least:g}")
    return float(value)


def _numbers(section: dict, key: str) -> np.ndarray:
    try:
        values = np.asarray(section.get(key), dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError("not a list of numbers", key=f"foci.{key}", value=section.get(key),
                         allowed="[0], or several distances from the target's centre in mm")
    return np.unique(values)
