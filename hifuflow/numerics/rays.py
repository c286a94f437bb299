"""Straight rays from points in the body to the skin: obstacles and attenuation on a beam's way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hifuflow.settings import BeamTissue

CUT, EDGE = "where the model is cut", "where the label map ends inside the body"
AT_ONCE = 4_000_000  # pieces of rays
SHORTEST = 1e-6  # of a voxel edge: the voxel of a shorter piece, at a corner, depends on rounding
KINDS = ("bone", "lung", "gas")


@dataclass(frozen=True)
class Rays:
    """Rays from n origins in k directions, the same for all origins.

    Attributes
    ----------
    directions : (k, 3) unit vectors, from the body outwards.
    blocked : (n, k) index into `names` of the obstacle that a beam entering along the ray would
        meet first; 0: none.
    names : "" and then the obstacles: names of regions, `CUT`, `EDGE`.
    loss : (n, k) attenuation of the amplitude between skin and origin [Np].
    skin : (n, k) distance from the origin to the outermost point of the body on the ray [m].
    """

    directions: np.ndarray
    blocked: np.ndarray
    names: list
    loss: np.ndarray
    skin: np.ndarray

    def blocked_by(self, chosen) -> dict[str, float]:
        """Obstacle -> fraction of the chosen rays that it blocks; largest first.

        Parameters
        ----------
        chosen : index into the rows and columns of `blocked`.
        """
        count = np.bincount(self.blocked[chosen].ravel(), minlength=len(self.names))
        order = np.argsort(-count[1:], kind="stable") + 1
        return {self.names[i]: float(count[i] / count.sum()) for i in order if count[i]}


def trace(labels: np.ndarray, affine: np.ndarray, origins, directions: np.ndarray,
          regions: dict, tissues: Mapping[str, BeamTissue], frequency: float,
          cut: np.ndarray | None = None) -> Rays:
    """Follow rays from each origin to the end of the label map.

    Regions of a tissue that `blocks` are obstacles. The obstacle that an origin itself lies in
    does not count until the ray has left it: a target in bone is treated through that bone.

    Parameters
    ----------
    labels : (nx, ny, nz); 0 is outside the body.  affine : (4, 4), diagonal, index to metres.
    origins : (n, 3) [m].  directions : (k, 3) unit vectors.
    regions : name -> {"label", "tissue"}.
    tissues : by name, all tissues of the regions.
    frequency : [Hz].
    cut : (nx, ny, nz) bool; voxels beyond a cut of the model, through which the beam may not enter.
    """
    tables = _tables(labels, regions, tissues, frequency)
    if cut is not None:
        labels = np.where(cut, len(tables.obstacle) - 1, labels)
    spacing = np.diag(affine)[:3]
    parts = max(1, len(directions) * (sum(labels.shape) + 3) // AT_ONCE)
    blocked, loss, skin = [], [], []
    for origin in np.atleast_2d(origins):
        start = (origin - affine[:3, 3]) / spacing
        rows = [_follow(labels, start, part / spacing, SHORTEST * spacing.min(), tables)
                for part in np.array_split(directions, parts)]
        hit, attenuation, end = (np.concatenate(column) for column in zip(*rows, strict=True))
        blocked.append(hit)
        loss.append(attenuation)
        skin.append(end)
    return Rays(directions, np.array(blocked), tables.names, np.array(loss), np.array(skin))


@dataclass(frozen=True)
class _Tables:
    """Tables by label: index of the obstacle in `names` (0: free), its kind, attenuation [Np/m]."""

    names: list
    obstacle: np.ndarray
    kind: np.ndarray
    loss: np.ndarray


def _tables(labels, regions: dict, tissues, frequency: float) -> _Tables:
    """Look-up tables by label; a last label, beyond those of the map, stands for a cut."""
    size = max([int(labels.max()), *(region["label"] for region in regions.values())]) + 2
    names, obstacle, kind, loss = [""], np.zeros(size, int), np.zeros(size, int), np.zeros(size)
    for name, region in regions.items():
        tissue, label = tissues[region["tissue"]], region["label"]
        loss[label] = tissue.attenuation_at(frequency)
        if tissue.blocks:
            names.append(f"{name} ({tissue.blocks})")
            obstacle[label] = len(names) - 1
            kind[label] = 1 + KINDS.index(tissue.blocks)
    obstacle[-1], kind[-1] = len(names), 1 + len(KINDS)
    return _Tables([*names, CUT, EDGE], obstacle, kind, loss)


def _follow(labels, start, slopes, shortest: float, tables: _Tables):
    """Obstacle, attenuation [Np] and distance to the body's end [m] of each ray.

    The pieces of a ray lie between its crossings with the planes of voxel faces, so no voxel is
    missed however thin (Siddon, Medical Physics 12, 252-255, 1985).

    Parameters
    ----------
    start : (3,) index of the origin.  slopes : (k, 3) voxels per metre along each ray.
    shortest : length of a piece below which its voxel counts as the one before [m].
    """
    crossing = _crossings(start, slopes, labels.shape)
    length = np.diff(crossing, axis=1)
    flat = np.zeros(length.shape, dtype=np.intp)
    inside = np.ones(length.shape, dtype=bool)
    middle = crossing[:, :-1] + length / 2
    for axis, count in enumerate(labels.shape):
        index = np.rint(start[axis] + slopes[:, axis, None] * middle)
        inside &= (index >= 0) & (index < count)
        flat *= count
        flat += np.clip(index, 0, count - 1).astype(np.intp)
    real = length > shortest
    before = np.maximum.accumulate(np.where(real, np.arange(length.shape[1]), 0), axis=1)
    label = np.take_along_axis(np.where(inside, labels.ravel()[flat], 0), before, axis=1)
    kind = tables.kind[label]
    first = kind[np.arange(len(kind)), np.argmax(real, axis=1)]
    in_first_obstacle = np.logical_and.accumulate(~real | (kind == first[:, None]), axis=1)
    meets = (kind > 0) & ~in_first_obstacle & real
    rows = np.arange(len(slopes))
    outermost = length.shape[1] - 1 - np.argmax(meets[:, ::-1], axis=1)
    hit = np.where(meets[rows, outermost], tables.obstacle[label[rows, outermost]], 0)
    body = (label > 0) & real
    last = length.shape[1] - 1 - np.argmax(body[:, ::-1], axis=1)
    end = np.where(body.any(axis=1), crossing[rows, last + 1], 0.0)
    hit[body.any(axis=1) & (crossing[:, -1] - end <= shortest)] = tables.names.index(EDGE)
    return hit, (tables.loss[label] * length).sum(axis=1), end


def _crossings(start, slopes, shape) -> np.ndarray:
    """(k, n) distances [m] at which rays cross voxel faces, ascending.

    They begin with 0. All crossings outside the map have the distance at which the ray leaves it.
    """
    leaves, planes = np.full(len(slopes), np.inf), []
    for axis, count in enumerate(shape):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (np.arange(count + 1) - 0.5 - start[axis]) / slopes[:, axis, None]
        distance[slopes[:, axis] == 0] = 0.0
        leaves = np.where(slopes[:, axis] == 0, leaves,
                          np.minimum(leaves, distance[:, [0, -1]].max(axis=1)))
        planes.append(distance)
    ends = np.zeros((len(slopes), 1)), leaves[:, None]
    distance = np.concatenate([*planes, *ends], axis=1)
    return np.sort(np.clip(distance, 0.0, np.maximum(leaves, 0.0)[:, None]), axis=1)
