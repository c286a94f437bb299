"""Through which part of the skin the beam enters: what is in its way, and the best direction."""

from __future__ import annotations

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.numerics.rays import Rays, trace
from hifuflow.numerics.sphere import cone_angle

CANDIDATES_AT_ONCE = 500


def look_around(labels, affine, target, regions: dict, cut, directions, config: dict) -> Rays:
    """Rays from the target's centroid and its outermost voxels to the skin.

    Parameters
    ----------
    directions : (k, 3) unit vectors.
    labels : (nx, ny, nz) of the whole map.  target, cut : (nx, ny, nz) bool.
    regions : name -> {"label", "tissue"}.
    config : ``tissues`` (see `numerics.rays.trace`) and ``device`` (a transducer).
    """
    index = np.argwhere(target)
    ends = np.concatenate([index.argmin(axis=0), index.argmax(axis=0)])
    origins = np.vstack([index.mean(axis=0), index[ends]]) @ affine[:3, :3].T + affine[:3, 3]
    return trace(labels, affine, origins, directions, regions, config["tissues"],
                 config["device"]["frequency_hz"], cut)


def best_axis(rays: Rays, device: dict, file) -> np.ndarray:
    """Direction of travel on which most of the beam reaches the target.

    Each ray brings exp(-2 loss) of its power, or nothing if it is blocked; a direction's score is
    the mean over the cone of rays that converges from the transducer's face on the target.
    Directions on which the transducer would touch the body even with its focus steered as deep as
    it can, and those whose own axis is blocked, are left out.

    Parameters
    ----------
    rays : all around, the first origin the one that the axis runs through.

    Returns
    -------
    (3,) unit vector.

    Raises
    ------
    InputError : there is no such direction; `file` is the patient file that is named.
    """
    half, radius = cone_angle(device), device["radius_of_curvature_m"]
    arrives = np.where(rays.blocked == 0, np.exp(-2 * rays.loss), 0).mean(axis=0)
    free = rays.blocked[0] == 0
    deepest = radius * np.cos(half) + device["max_steering_m"]["axial"]
    score = np.full(len(rays.directions), -1.0)
    for part in np.array_split(np.flatnonzero(free), max(1, free.sum() // CANDIDATES_AT_ONCE)):
        cosine = rays.directions[part] @ rays.directions.T
        depth = cosine * rays.skin[0]
        beside = rays.skin[0] * np.sqrt(np.maximum(1 - cosine**2, 0))
        clear = ~((beside <= device["aperture_m"] / 2) & (depth > deepest)).any(axis=1)
        within = (cosine >= np.cos(half)).astype(float)
        score[part] = np.where(clear, within @ arrives / within.sum(axis=1), -1)
    if score.max() <= 0:
        raise InputError("no direction lets this transducer reach the target through the skin",
                         file=file, key="transducer.axis", value="auto", allowed="a target nearer "
                         "the skin, a transducer with a longer focus, or an axis given by hand")
    return -rays.directions[score.argmax()]


def beam_record(rays: Rays, axis: np.ndarray, device: dict) -> dict:
    """What the beam along `axis` meets: part of it blocked, by what, and part that arrives."""
    within = rays.directions @ -axis >= np.cos(cone_angle(device))
    arrives = np.where(rays.blocked == 0, np.exp(-2 * rays.loss), 0)[:, within]
    blocked = rays.blocked_by(np.s_[:, within])
    for name, fraction in blocked.items():
        log.info("%.1f %% of the beam is blocked: %s", 100 * fraction, name)
    return {"blocked_fraction": sum(blocked.values()), "blocked_by": blocked,
            "arriving_fraction": float(arrives.mean())}


def check_open(record: dict, pose: dict, file) -> None:
    """Refuse a pose (section `transducer` of the patient file) with too much of its beam blocked.

    Raises
    ------
    InputError
    """
    most, fraction = pose["max_blocked_fraction"], record["blocked_fraction"]
    if fraction > most:
        by = ", ".join(f"{part:.0%} {name}" for name, part in record["blocked_by"].items())
        found = "even on the best axis " if pose["axis"] == "auto" else ""
        raise InputError(f"{found}{fraction:.0%} of the beam is blocked: {by}",
                         file=file, key="transducer.axis", value=pose["axis"],
                         allowed=f"at most {most:.0%} (transducer.max_blocked_fraction): another "
                                 "direction" + ("" if found else ", auto")
                                 + ", or a narrower transducer")
