"""Foci where a lattice leaves parts of the target without heat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

ENOUGH = 0.98  # of the target within reach: more foci are not worth their time
LEAST = 5e-4  # of the target that a further focus must add
MOST_PLACES = 4000  # that are tried
SURVEYED = 300  # places that are asked for first; each other one is taken to be as its nearest
MOST_REFUSED = 200  # places that turn out to be out of reach after all; then it is left at that


def filling_foci(target: np.ndarray, foci: np.ndarray, frame: np.ndarray, width: float,
                 length: float, reached: np.ndarray,
                 usable: Callable[[np.ndarray], bool]) -> np.ndarray:
    """Further foci at voxels of the target, until the heat of all reaches `ENOUGH` of it, (m, 3).

    Always the place whose ellipsoid holds most of what is not yet within reach (greedy set cover:
    Chvatal, Mathematics of Operations Research 4, 233, 1979).

    Parameters
    ----------
    target : (n, 3) its voxel centres [m].  foci : (k, 3) [m].
    frame : (3, 3) columns x, y and, along the beam, z.
    width, length : diameters of the ellipsoids that heat reaches [m].
    reached : (n,) bool, voxels that the transducer may focus on, as far as is known at once.
    usable : whether it can treat a focus (3,) [m]; asked for the places chosen.
    """
    scale = frame / (np.array([width, width, length]) / 2)
    points, n = target @ scale, len(target)
    missing = np.ones(n, bool)
    if len(foci):
        missing = cKDTree(foci @ scale).query(points)[0] > 1
    added, refused = [], 0
    places = np.flatnonzero(reached)
    if not len(places) or missing.mean() <= 1 - ENOUGH:
        return np.zeros((0, 3))
    near = cKDTree(points[missing]).query(points[places])[0] <= 1  # others can add nothing
    places = places[near]
    places = places[::max(1, len(places) // MOST_PLACES)]
    places = places[_surveyed(points[places], target[places], usable)]
    held = cKDTree(points).query_ball_point(points[places], 1)
    held = [np.asarray(voxels)[missing[voxels]] for voxels in held]
    gain = np.array([len(voxels) for voxels in held])
    while missing.sum() > (1 - ENOUGH) * n and len(gain) and refused < MOST_REFUSED:
        best = int(gain.argmax())
        now = int(missing[held[best]].sum())
        if now < gain[best]:  # what another focus took since
            gain[best] = now
            continue
        if now < max(1, LEAST * n):
            break
        gain[best] = 0
        if usable(target[places[best]]):
            added.append(target[places[best]])
            missing[held[best]] = False
        else:
            refused += 1
    return np.array(added).reshape(-1, 3)


def _surveyed(points: np.ndarray, places: np.ndarray, usable) -> np.ndarray:
    """(n,) bool, whether the nearest of some of the places is usable; `points` : scaled places."""
    asked = np.arange(0, len(places), max(1, len(places) // SURVEYED))
    good = np.array([usable(place) for place in places[asked]], dtype=bool)
    return good[cKDTree(points[asked]).query(points)[1]] if len(asked) else good
