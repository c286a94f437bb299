"""Through which part of the skin the beam enters: what is in its way, and the best direction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hifuflow.job import log
from hifuflow.numerics.rays import Rays, trace
from hifuflow.settings import BeamTissue

from .settings import BeamSettings, PoseSettings

CANDIDATES_AT_ONCE = 500


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


def best_axis(rays: Rays, beam: BeamSettings, pose: PoseSettings) -> np.ndarray:
    """Direction of travel on which most of the beam reaches the target.

    Each ray brings exp(-2 loss) of its power, or nothing if it is blocked; a direction's score is
    the mean over the cone of rays that converges from the transducer's face on the target.
    Directions on which the transducer would touch the body even with its focus steered as deep as
    it can, and those whose own axis is blocked, are left out.

    Parameters
    ----------
    rays : all around, the first origin the one that the axis runs through.
    beam : of the transducer.  pose : named where there is no such direction.

    Returns
    -------
    (3,) unit vector.

    Raises
    ------
    InputError : there is no such direction.
    """
    half = beam.half_angle
    arrives = np.where(rays.blocked == 0, np.exp(-2 * rays.loss), 0).mean(axis=0)
    free = rays.blocked[0] == 0
    deepest = beam.radius_of_curvature * np.cos(half) + beam.max_axial
    score = np.full(len(rays.directions), -1.0)
    for part in np.array_split(np.flatnonzero(free), max(1, free.sum() // CANDIDATES_AT_ONCE)):
        cosine = rays.directions[part] @ rays.directions.T
        depth = cosine * rays.skin[0]
        beside = rays.skin[0] * np.sqrt(np.maximum(1 - cosine**2, 0))
        clear = ~((beside <= beam.aperture / 2) & (depth > deepest)).any(axis=1)
        within = (cosine >= np.cos(half)).astype(float)
        score[part] = np.where(clear, within @ arrives / within.sum(axis=1), -1)
    if score.max() <= 0:
        raise pose.written.error(
            "no direction lets this transducer reach the target through the skin", "axis",
            allowed="a target nearer the skin, a transducer with a longer focus, or an axis given "
                    "by hand")
    return -rays.directions[score.argmax()]


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
