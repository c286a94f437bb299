"""Straight rays from places in the body to the skin: what lies in a beam's way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COARSEST_STEP = 1e-3  # [m]
CUT, EDGE = "where the model is cut", "where the label map ends inside the body"
AT_ONCE = 4_000_000  # samples
KINDS = ("bone", "lung", "gas")


@dataclass(frozen=True)
class Rays:
    """Rays from n origins in k directions common to all.

    Attributes
    ----------
    directions : (k, 3) unit vectors, from the body outwards.
    blocked : (n, k) index into `names` of the obstacle that a beam coming in along the ray would
        meet first; 0 is none.
    names : "" and then the obstacles: names of regions, `CUT`, `EDGE`.
    loss : (n, k) attenuation of the amplitude between skin and origin [Np].
    skin : (n, k) distance from the origin to the outermost place of the body on the ray [m].
    """

    directions: np.ndarray
    blocked: np.ndarray
    names: list
    loss: np.ndarray
    skin: np.ndarray

    def blocked_by(self, chosen) -> dict[str, float]:
        """Obstacle -> part of the chosen rays that it blocks; largest first.

        Parameters
        ----------
        chosen : index into the rows and columns of `blocked`.
        """
        count = np.bincount(self.blocked[chosen].ravel(), minlength=len(self.names))
        order = np.argsort(-count[1:], kind="stable") + 1
        return {self.names[i]: float(count[i] / count.sum()) for i in order if count[i]}


def trace(labels: np.ndarray, affine: np.ndarray, origins, directions: np.ndarray,
          regions: dict, tissues: dict, frequency: float, cut: np.ndarray | None = None) -> Rays:
    """Follow rays from each origin to the end of the label map.

    Regions of a tissue that `blocks` are obstacles. The obstacle that an origin itself lies in
    does not count until the ray has left it: a target in bone is treated through that bone.

    Parameters
    ----------
    labels : (nx, ny, nz); 0 is outside the body.  affine : (4, 4), diagonal, index to metres.
    origins : (n, 3) [m].  directions : (k, 3) unit vectors.
    regions : name -> {"label", "tissue"}.
    tissues : tissue -> {"attenuation_np_m_mhz", and "blocks" if it is an obstacle}.
    frequency : [Hz].
    cut : (nx, ny, nz) bool; where the model ends, no beam comes from there.
    """
    tables = _tables(labels, regions, tissues, frequency)
    if cut is not None:
        labels = np.where(cut, len(tables.obstacle) - 1, labels)
    spacing = np.diag(affine)[:3]
    step = max(COARSEST_STEP, float(spacing.min()))
    n_steps = int(np.linalg.norm(np.array(labels.shape) * spacing) / step) + 1
    parts = max(1, len(directions) * n_steps // AT_ONCE)
    blocked, lost, skin = [], [], []
    for origin in np.atleast_2d(origins):
        start = (origin - affine[:3, 3]) / spacing
        rows = [_follow(labels, start, part / spacing * step, n_steps, tables)
                for part in np.array_split(directions, parts)]
        hit, attenuation, last = (np.concatenate(column) for column in zip(*rows, strict=True))
        blocked.append(hit)
        lost.append(attenuation * step)
        skin.append((last + 0.5) * step)
    return Rays(directions, np.array(blocked), tables.names, np.array(lost), np.array(skin))


@dataclass(frozen=True)
class _Tables:
    """Per label: the obstacle's index in `names` (0: free), its kind, its attenuation [Np/m]."""

    names: list
    obstacle: np.ndarray
    kind: np.ndarray
    loss: np.ndarray


def _tables(labels, regions: dict, tissues: dict, frequency: float) -> _Tables:
    """Look-up tables; the last label is one more than any of the map and stands for a cut."""
    size = max([int(labels.max()), *(region["label"] for region in regions.values())]) + 2
    names, obstacle, kind, loss = [""], np.zeros(size, int), np.zeros(size, int), np.zeros(size)
    for name, region in regions.items():
        tissue, label = tissues[region["tissue"]], region["label"]
        loss[label] = tissue["attenuation_np_m_mhz"] * frequency * 1e-6
        if "blocks" in tissue:
            names.append(f"{name} ({tissue['blocks']})")
            obstacle[label] = len(names) - 1
            kind[label] = 1 + KINDS.index(tissue["blocks"])
    obstacle[-1], kind[-1] = len(names), 1 + len(KINDS)
    return _Tables([*names, CUT, EDGE], obstacle, kind, loss)


def _follow(labels, start, steps, n_steps: int, tables: _Tables):
    """Obstacle, summed attenuation and index of the last body sample of each ray."""
    flat = np.zeros((len(steps), n_steps), dtype=np.intp)
    inside = np.ones(flat.shape, dtype=bool)
    number = np.arange(n_steps, dtype=np.float32)
    for axis, count in enumerate(labels.shape):
        index = np.rint(np.float32(start[axis]) + steps[:, axis, None].astype(np.float32) * number)
        inside &= (index >= 0) & (index < count)
        flat *= count
        flat += np.clip(index, 0, count - 1).astype(np.intp)
    found = np.where(inside, labels.ravel()[flat], 0)
    kind = tables.kind[found]
    own = np.logical_and.accumulate(kind == kind[:, :1], axis=1)
    meets = (kind > 0) & ~own
    rows = np.arange(len(steps))
    outermost = n_steps - 1 - np.argmax(meets[:, ::-1], axis=1)
    hit = np.where(meets[rows, outermost], tables.obstacle[found[rows, outermost]], 0)
    body = found > 0
    last = n_steps - 1 - np.argmax(body[:, ::-1], axis=1)
    beyond = np.minimum(last + 1, n_steps - 1)
    hit[body[rows, last] & ~inside[rows, beyond]] = tables.names.index(EDGE)
    return hit, tables.loss[found].sum(axis=1), last
