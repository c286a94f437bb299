"""Patches of an image: groups of measurements that lie together."""

from __future__ import annotations

import numpy as np

LARGEST = 32  # measurements of a patch


def patches(position: np.ndarray, largest: int = LARGEST) -> list[np.ndarray]:
    """Indices of the measurements of each patch, halved along their widest axis until none has
    more than `largest`; every measurement is in one.

    Parameters
    ----------
    position : (n_m, 3) of the measurements [m].
    """
    todo, groups = [np.arange(len(position))], []
    while todo:
        group = todo.pop()
        if len(group) <= largest:
            groups.append(group)
            continue
        here = position[group]
        axis = np.ptp(here, axis=0).argmax()
        order = group[np.argsort(here[:, axis], kind="stable")]
        todo += [order[len(order) // 2:], order[:len(order) // 2]]
    return groups


def halves(position: np.ndarray) -> list[np.ndarray]:
    """Indices of the measurements on either side of the median along each axis."""
    middle = np.median(position, axis=0)
    return [np.flatnonzero(side) for axis in range(3)
            for side in (position[:, axis] > middle[axis], position[:, axis] <= middle[axis])]
