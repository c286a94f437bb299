"""Where foci are wanted, and which of them the transducer reaches, steered or moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from scipy import ndimage

from hifuflow.job import log
from hifuflow.numerics.rays import CUT, trace
from hifuflow.numerics.sphere import cone
from hifuflow.records.anatomy import Anatomy
from hifuflow.settings import BeamTissue

from .frame import beam_frame
from .settings import FociSettings, Travel
from .transducer import Transducer

RAYS = 1500  # over the whole sphere, to see whether a focus is blocked
LISTED = 5
TOLERANCE = 1e-9  # [m]


def planes_through(anatomy: Anatomy, centre, longest: float) -> np.ndarray:
    """Offsets from `centre` along the beam of the fewest planes, at most `longest` apart [m].

    They share the target's extent along the axis evenly, each in the middle of its share.
    """
    half_voxel = 0.5 * np.abs(anatomy.axis) @ anatomy.spacing
    depth = (anatomy.position(np.argwhere(anatomy.target_mask)) - centre) @ anatomy.axis
    low, high = depth.min() - half_voxel, depth.max() + half_voxel
    count = max(1, ceil((high - low) / longest - 1e-6))
    return low + (np.arange(count) + 0.5) * (high - low) / count


def automatic_spacing(width: float, length: float) -> tuple[float, float]:
    """Spacing of foci within a plane, and of planes, for a focus of this size [m].

    While a focus is treated, heat spreads across by about half of its width, so that it treats an
    ellipsoid of twice its width and once its length. Foci that are 1/sqrt(2) of these diameters
    apart, every other plane shifted by half a spacing, cover 99.8 % of a large target with such
    ellipsoids. For the array of the reference paper this gives the paper's 3 mm.
    """
    return sqrt(2) * width, length / sqrt(2)


def lattice(anatomy: Anatomy, centre, spacing: float, offsets, staggered: bool) -> np.ndarray:
    """(n, 3) points of square lattices inside the target, plane by plane in raster order [m].

    Rows and columns follow the beam's x and y axes, turned to point along the patient's.

    Parameters
    ----------
    centre : (3,) point of the lattice at offset 0.
    offsets : of the planes from there, along the beam [m].
    staggered : shift every other plane by half a spacing both ways.
    """
    frame = beam_frame(anatomy.axis)
    across = [axis * np.sign(axis[np.argmax(np.abs(axis))]) for axis in frame.T[:2]]
    extent = np.linalg.norm(anatomy.spacing * np.ptp(np.argwhere(anatomy.target_mask), axis=0))
    ticks = spacing * np.arange(-ceil(extent / spacing), ceil(extent / spacing) + 1)
    depth, y, x = np.meshgrid(offsets, ticks, ticks, indexing="ij")
    if staggered:
        shift = 0.5 * spacing * (np.arange(len(offsets)) % 2)[:, None, None]
        x, y = x + shift, y + shift
    points = centre + np.stack([x, y, depth], axis=-1).reshape(-1, 3) @ np.stack(
        [*across, frame[:, 2]])
    # A nudge breaks ties on voxel faces the same way for all points, whatever the rounding.
    index = np.floor(anatomy.index(points) + 0.5 + 1e-6).astype(int)
    within = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    points, index = points[within], index[within]
    return points[anatomy.target_mask[tuple(index.T)]]


@dataclass(frozen=True)
class Reach:
    """How far foci lie from the geometric focus, and what reaches them.

    Attributes
    ----------
    lateral, axial : (n,) distance across the axis, and along it with its sign [m].
    shift : (n, 3) how far the transducer is moved [m].
    reached : (n,) bool.
    """

    lateral: np.ndarray
    axial: np.ndarray
    shift: np.ndarray
    reached: np.ndarray


def reach(foci, apex, axis, device: Transducer, travel: Travel) -> Reach:
    """Across and along the axis apart: steer where that is enough, else move the whole way.

    Parameters
    ----------
    foci : (n, 3) [m].  apex : (3,) [m].  axis : (3,) unit vector.
    """
    offset = foci - apex - device.radius_of_curvature * axis
    axial = offset @ axis
    sideways = offset - axial[:, None] * axis
    lateral = np.linalg.norm(sideways, axis=1)
    aside = lateral > device.max_lateral + TOLERANCE
    along = np.abs(axial) > device.max_axial + TOLERANCE
    shift = np.where(aside[:, None], sideways, 0) + np.where(along, axial, 0)[:, None] * axis
    reached = ((lateral <= travel.lateral + TOLERANCE) | ~aside) & (
        (np.abs(axial) <= travel.axial + TOLERANCE) | ~along)
    return Reach(lateral, axial, shift, reached)


def touches(anatomy: Anatomy, apex, shift, device: Transducer, water: float) -> np.ndarray:
    """(n,) bool: moved by `shift` (n, 3) [m], the transducer has no longer `water` [m] between the
    plane of its apex and the body."""
    touching = np.zeros(len(shift), dtype=bool)
    moved = np.flatnonzero(shift.any(axis=1))
    if not len(moved):
        return touching
    frame = beam_frame(anatomy.axis)
    skin = anatomy.body_mask & ndimage.binary_dilation(anatomy.coupling)
    surface = (anatomy.position(np.argwhere(skin)) - apex) @ frame
    for i in moved:
        x, y, z = (surface - shift[i] @ frame).T
        under = z[np.hypot(x, y) < device.aperture / 2]
        touching[i] = (under[under > -device.aperture] < water).any()
    return touching


def near_skin(anatomy: Anatomy, foci, least: float) -> np.ndarray:
    """(n,) bool: foci nearer than `least` [m] to water or air outside the body."""
    if least == 0:
        return np.zeros(len(foci), dtype=bool)
    depth = ndimage.distance_transform_edt(~(anatomy.coupling | anatomy.air),
                                           sampling=anatomy.spacing)
    index = np.rint(anatomy.index(foci)).astype(int)
    return depth[tuple(index.T)] < least


def blocked_part(anatomy: Anatomy, foci, device: Transducer,
                 tissues: Mapping[str, BeamTissue]) -> np.ndarray:
    """(n,) part of each focus's beam that meets a region of a tissue that blocks.

    Rays that leave the (cropped) label map inside the body count as free.
    """
    if not any(tissues[region["tissue"]].blocks for region in anatomy.regions.values()):
        return np.zeros(len(foci))
    directions = cone(anatomy.axis, device.half_angle, RAYS)
    rays = trace(anatomy.labels, anatomy.affine, foci, directions, anatomy.regions, tissues,
                 device.frequency)
    return ((rays.blocked > 0) & (rays.blocked < rays.names.index(CUT))).mean(axis=1)


def leave_out(foci, reasons: list, limits: str,
              settings: FociSettings) -> tuple[np.ndarray, list]:
    """Which foci stay, and a list of those left out: {"position_m", "reason"}.

    Parameters
    ----------
    foci : (n, 3) [m].  reasons : (n,) why each cannot be treated, "" if it can.
    limits : of the transducer, in words.

    Returns
    -------
    keep : (n,) bool.  left_out : list.

    Raises
    ------
    InputError : of planes that were asked for more are left out than the settings allow.
    """
    out = [{"position_m": focus.tolist(), "reason": reason}
           for focus, reason in zip(foci, reasons, strict=True) if reason]
    for entry in out[:LISTED]:
        log.info("focus at (%.1f, %.1f, %.1f) mm left out: %s",
                 *(1e3 * value for value in entry["position_m"]), entry["reason"])
    if not settings.automatic and len(out) > settings.max_left_out * len(foci):
        first = out[0]
        raise settings.written.error(
            f"{len(out)} of {len(foci)} foci cannot be treated; the first one: {first['reason']}",
            value=[round(1e3 * value, 2) for value in first["position_m"]],
            allowed=f"at most {settings.max_left_out:.0%} left out (foci.max_left_out_fraction); "
                    + limits)
    return np.array([not reason for reason in reasons], dtype=bool), out


def summary(left_out: list, count: int) -> list[str]:
    """One sentence about the foci left out of `count` planned ones, or none."""
    if not left_out:
        return []
    kinds = Counter(entry["reason"].split(":")[0] for entry in left_out)
    return [f"{len(left_out)} of {count} foci are left out: "
            + ", ".join(f"{number} {kind}" for kind, number in kinds.items())]
