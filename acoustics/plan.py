"""Where the array stands and where it focuses."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.artifacts import Anatomy, Plan
from hifuflow.errors import InputError
from hifuflow.job import log

from .frame import beam_frame, unit_axis
from .transducer import Transducer

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
    config : {"file": the patient file, "transducer": {"axis", "standoff_mm"}, "foci":
        {"spacing_mm", "plane_offsets_mm"}, with "explicit_mm" instead of a lattice (a single
        explicit focus has no neighbour to tell the spacing and takes "spacing_mm"), "water":
        {"speed_of_sound_m_s"}}.

    Raises
    ------
    InputError : discs that do not fit, the array touching the body, no focus, a focus outside the
        body or beyond the array's reach.
    """
    device = Transducer.from_config(transducer)
    pose, options = config["transducer"], config["foci"]
    file, axis = config["file"], unit_axis(pose["axis"])
    if np.linalg.norm(axis - anatomy.axis) > 1e-3:
        raise InputError("not the direction the anatomy was prepared for", file=file,
                         key="transducer.axis", value=pose["axis"],
                         allowed=np.round(anatomy.axis, 4).tolist())
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    apex = skin_entry(anatomy, centroid, axis, file) - pose["standoff_mm"] * 1e-3 * axis
    water = device.first_depth(config["water"]["speed_of_sound_m_s"])
    _check_clear(anatomy, device, apex, axis, water, config)
    spacing = options["spacing_mm"] * 1e-3
    if "explicit_mm" in options:
        foci = np.array(options["explicit_mm"]) * 1e-3
        if len(foci) > 1:
            spacing = float(cKDTree(foci).query(foci, k=2)[0][:, 1].min())
    else:
        offsets = np.sort(options["plane_offsets_mm"]) * 1e-3
        foci = lattice(anatomy, centroid, beam_frame(axis), spacing, offsets)
    _check_foci(anatomy, device, foci, apex, axis, config)
    log.info("%d foci, apex at (%.1f, %.1f, %.1f) mm", len(foci), *(apex * 1e3))
    return Plan(apex, axis, foci, spacing)


def skin_entry(anatomy: Anatomy, point, axis, file) -> np.ndarray:
    """Where the line through `point` along `axis` first enters the body [m].

    Raises
    ------
    InputError : the line starts inside the body at the image's edge, or enters through a cut;
        `file` is the patient file that is named.
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
                         file=file, key="transducer.axis", value=axis.tolist(),
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


def _check_clear(anatomy: Anatomy, device: Transducer, apex, axis, water: float,
                 config: dict) -> None:
    """The array, and the `water` [m] up to its elements' far field, must be free of tissue."""
    body = (anatomy.position(np.argwhere(anatomy.body_mask)) - apex) @ beam_frame(axis)
    under = body[np.hypot(body[:, 0], body[:, 1]) < device.aperture / 2]
    depth = under[under[:, 2] > -device.aperture][:, 2].min()
    if depth < water:
        raise InputError(f"the body reaches to {depth * 1e3:.1f} mm from the plane of the "
                         f"array's apex, where the array (rim at {device.rim_depth * 1e3:.1f} mm) "
                         f"needs water up to {water * 1e3:.1f} mm", file=config["file"],
                         key="transducer.standoff_mm", value=config["transducer"]["standoff_mm"],
                         allowed=f"at least {(water - depth) * 1e3:.1f} mm more")


def _check_foci(anatomy: Anatomy, device: Transducer, foci, apex, axis, config: dict) -> None:
    file = config["file"]
    key = "foci.explicit_mm" if "explicit_mm" in config["foci"] else "foci"
    if len(foci) == 0:
        raise InputError("no focus lies in the target", file=file, key="foci",
                         allowed="a smaller spacing_mm, or plane_offsets_mm that cross the target")
    index = np.rint(anatomy.index(foci)).astype(int)
    inside = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    inside[inside] = anatomy.body_mask[tuple(index[inside].T)]
    for number in np.flatnonzero(~inside)[:1]:
        raise InputError(f"focus {number + 1} does not lie in the body", file=file, key=key,
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
            f"reach)", file=file, key=key, value=(foci[number] * 1e3).round(2).tolist(),
            allowed=f"up to {device.max_lateral * 1e3:g} mm lateral and {device.max_axial * 1e3:g}"
                    " mm axial from the geometric focus: foci nearer the axis, or a "
                    f"transducer.standoff_mm changed by {-middle * 1e3:+.1f}")
