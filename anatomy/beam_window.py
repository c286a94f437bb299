"""Through which part of the skin the beam enters: what is in its way, and the best directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hifuflow.job import log
from hifuflow.numerics.rays import Rays, trace
from hifuflow.settings import BeamTissue

from .settings import BeamSettings, PoseSettings

CANDIDATES_AT_ONCE = 500
ALIKE = np.cos(np.radians(4))  # of two axes: what refuses one refuses the other


def look_around(labels, affine, target, regions: dict, cut, directions,
                tissues: Mapping[str, BeamTissue], frequency: float) -> Rays:
    """Rays from the target's centroid and its outermost voxels to the skin.

    Parameters
    ----------
    labels : (nx, ny, nz) of the whole map.  affine : (4, 4) to metres.
    target, cut : (nx, ny, nz) bool; where the model is cut no beam comes from.
    regions : name -> {"label", "tissue"}.
    directions : (k, 3) unit vectors.
    tissues : by their names.  frequency : of the transducer [Hz].
    """
    index = np.argwhere(target)
    ends = np.concatenate([index.argmin(axis=0), index.argmax(axis=0)])
    origins = np.vstack([index.mean(axis=0), index[ends]]) @ affine[:3, :3].T + affine[:3, 3]
    return trace(labels, affine, origins, directions, regions, tissues, frequency, cut)


def ranked_axes(rays: Rays, beam: BeamSettings, max_blocked: float) -> tuple:
    """Directions of travel from which the beam can come, by the heat per watt at the target.

    The elements' waves add up at the focus, so that its intensity per watt is proportional to the
    square of the mean amplitude: exp(-loss) of a ray, or nothing where it is blocked, over the cone
    of rays that converges from the transducer's face on the target; that is a direction's score.
    Directions on which the transducer, or the water before it, would touch the body even with its
    focus steered as deep as it can, and those whose own axis is blocked, are left out; those with
    more of the beam blocked than is allowed as well, unless all are such.

    Parameters
    ----------
    rays : all around, the first origin the one that the axis runs through.

    Returns
    -------
    axes (k, 3) unit vectors, best first; score (k,), in the same order.
    """
    half = beam.half_angle
    arrives = np.where(rays.blocked == 0, np.exp(-rays.loss), 0)
    stopped = (rays.blocked > 0).mean(axis=0)
    free = rays.blocked[0] == 0
    deepest = beam.radius_of_curvature * np.cos(half) + beam.max_axial - beam.water
    score, blocked = np.full(len(rays.directions), -1.0), np.ones(len(rays.directions))
    for part in np.array_split(np.flatnonzero(free), max(1, free.sum() // CANDIDATES_AT_ONCE)):
        cosine = rays.directions[part] @ rays.directions.T
        depth = cosine * rays.skin[0]
        beside = rays.skin[0] * np.sqrt(np.maximum(1 - cosine**2, 0))
        clear = ~((beside <= beam.aperture / 2) & (depth > deepest)).any(axis=1)
        within = (cosine >= np.cos(half)).astype(float)
        number = within.sum(axis=1)
        amplitude = within @ arrives.T / number[:, None]
        score[part] = np.where(clear, (amplitude**2).mean(axis=1), -1)
        blocked[part] = within @ stopped / number
    usable = (score > 0) & (blocked <= max_blocked)
    chosen = np.flatnonzero(usable if usable.any() else score > 0)
    order = chosen[np.argsort(-score[chosen], kind="stable")]
    return -rays.directions[order], score[order]


def best_axis(rays: Rays, beam: BeamSettings, pose: PoseSettings,
              refused: Callable[[np.ndarray], str] = lambda axis: "",
              least: float = 0.0) -> np.ndarray:
    """The first of `ranked_axes` that is not refused.

    Parameters
    ----------
    rays : all around, the first origin the one that the axis runs through.
    beam : of the transducer.  pose : named where there is no such direction.
    refused : why an axis (3,) cannot be taken, "" if it can.
    least : heat per watt over that of the best, below which no axis is tried.

    Returns
    -------
    (3,) unit vector.

    Raises
    ------
    InputError : there is no such direction.
    """
    axes, score = ranked_axes(rays, beam, pose.max_blocked)
    axes = axes[score >= least * score[0]] if len(axes) else axes
    why, bad = "", np.zeros((0, 3))
    for axis in axes:
        if len(bad) and (bad @ axis).max() > ALIKE:
            continue
        reason = refused(axis)
        if not reason:
            return axis
        why, bad = why or f": on the best one {reason}", np.vstack([bad, axis])
    raise pose.written.error(
        f"no direction lets this transducer reach the target through the skin{why}", "axis",
        allowed="a target nearer the skin, a transducer with a longer focus, or an axis given "
                "by hand")


def apart(axes: np.ndarray, count: int, degrees: float = 10) -> list[int]:
    """Indices of the first axes (k, 3) that are so far from all before them, at most `count`."""
    chosen: list[int] = []
    for number, axis in enumerate(axes):
        if not chosen or (axes[chosen] @ axis).max() <= np.cos(np.radians(degrees)):
            chosen.append(number)
        if len(chosen) == count:
            break
    return chosen


def beam_record(rays: Rays, axis: np.ndarray, half_angle: float) -> dict:
    """What the beam along `axis` (3,) meets within `half_angle` [rad] of it: the part of it that
    is blocked, by what, and the part that arrives."""
    within = rays.directions @ -axis >= np.cos(half_angle)
    arrives = np.where(rays.blocked == 0, np.exp(-2 * rays.loss), 0)[:, within]
    blocked = rays.blocked_by(np.s_[:, within])
    for name, fraction in blocked.items():
        log.info("%.1f %% of the beam is blocked: %s", 100 * fraction, name)
    return {"blocked_fraction": sum(blocked.values()), "blocked_by": blocked,
            "arriving_fraction": float(arrives.mean())}


def check_open(record: dict, pose: PoseSettings) -> None:
    """Refuse a pose with too much of its beam blocked; `record` : see `beam_record`.

    Raises
    ------
    InputError
    """
    most, fraction = pose.max_blocked, record["blocked_fraction"]
    if fraction > most:
        by = ", ".join(f"{part:.0%} {name}" for name, part in record["blocked_by"].items())
        found = "even on the best axis " if pose.axis is None else ""
        raise pose.written.error(
            f"{found}{fraction:.0%} of the beam is blocked: {by}", "axis",
            allowed=f"at most {most:.0%} (transducer.max_blocked_fraction): another direction"
                    + ("" if found else ", auto") + ", or a narrower transducer")
