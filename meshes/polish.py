"""Better shapes for the worst tetrahedra: their nodes move, many at a time that share no cell."""

from __future__ import annotations

import numpy as np

from hifuflow.numerics.tetrahedra import shape

from .facets import interface_facets

GOOD = 18.0  # `shape` of cells that are left as they are
ROUNDS = 4  # at most
CANDIDATES = 20  # positions tried for a node
REACH = (0.35, 0.15, 0.06)  # their distances from it, over the shortest edge at the node
AT_ONCE = 20_000  # tetrahedra measured together
CREASE = np.cos(np.radians(40))  # cosine of the turn above which facets form a crease
# Fraction of the facets' area across a direction that keeps a node from moving along it.
FIXING_AREA = 0.2


def polished(points, cells, group):
    """Move nodes of badly shaped cells so that the worst cell around each becomes better.

    Nodes inside a compartment move freely. Those on a surface between two compartments (or the
    outside) move in its tangent plane, those where surfaces meet, or on a crease, along the line.
    Corners stay (see `_freedom`). The positions tried are the same in every run.

    Parameters
    ----------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  group : (m,) compartment, from 1.

    Returns
    -------
    (n, 3) [m]; the worst `shape` of the mesh is never worse than before.
    """
    points, worth = points.copy(), _shapes(points, cells)
    if worth.min() >= GOOD:
        return points
    free = _freedom(points, cells, group)
    around = _Incidence(cells, len(points))
    directions = np.random.default_rng(0).normal(size=(CANDIDATES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    stuck = np.zeros(len(points), bool)
    for _ in range(ROUNDS):
        bad = np.flatnonzero(worth < GOOD)
        nodes = np.unique(cells[bad])
        nodes = nodes[~stuck[nodes]]
        if len(nodes) == 0:
            break
        worst = np.full(len(points), np.inf)
        np.minimum.at(worst, cells[bad].ravel(), np.repeat(worth[bad], 4))
        for batch in _batches(nodes[np.argsort(worst[nodes], kind="stable")], cells, around):
            moved = _move(points, cells, worth, around, batch, free, directions)
            stuck[batch] = ~moved
            stuck[np.unique(cells[around(batch[moved])[1]])] = False
    return points


def _shapes(points, cells):
    return np.concatenate([shape(points[cells[i:i + AT_ONCE]])
                           for i in range(0, len(cells), AT_ONCE)])


def _freedom(points, cells, group):
    """(n, 3, 3) projection of each node's move onto the surfaces that it lies in.

    With the facets' normals n and areas a at a node, sum(a n n^T) / sum(a) has eigenvalue 1 across
    a plane and 0 along it; at a line where surfaces meet, 0 along the line only. Along each
    eigenvector the move keeps the fraction 1 - min(1, value / `FIXING_AREA`). On a surface between
    two compartments without a crease it keeps all of its part in the mean tangent plane.
    """
    facets, sides = interface_facets(cells, group)
    low, high = np.sort(sides, axis=1).T
    pair = low * (sides.max() + 1) + high
    direction = np.cross(points[facets[:, 1]] - points[facets[:, 0]],
                         points[facets[:, 2]] - points[facets[:, 0]])
    direction *= np.where(sides[:, 0] == low, 1.0, -1.0)[:, None]
    area = np.maximum(np.linalg.norm(direction, axis=1), 1e-300)
    spread = direction[:, :, None] * direction[:, None] / area[:, None, None]
    normal, tensor, total = np.zeros_like(points), np.zeros((len(points), 3, 3)), np.zeros(
        len(points))
    least, most = np.full(len(points), np.iinfo(np.int64).max), np.full(len(points), -1)
    for corner in facets.T:
        np.add.at(normal, corner, direction)
        np.add.at(tensor, corner, spread)
        np.add.at(total, corner, area)
        np.minimum.at(least, corner, pair)
        np.maximum.at(most, corner, pair)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    smooth = least == most
    for corner in facets.T:
        turned = np.sum(normal[corner] * direction, axis=1) < CREASE * area
        smooth[corner[turned]] = False
    value, vector = np.linalg.eigh(tensor / np.maximum(total, 1e-300)[:, None, None])
    kept = np.maximum(0, 1 - value / FIXING_AREA)
    free = np.einsum("nij,nj,nkj->nik", vector, kept, vector)
    free[smooth] = np.eye(3) - normal[smooth, :, None] * normal[smooth, None]
    return free


class _Incidence:
    """Table of the cells around each node.

    Parameters
    ----------
    cells : (m, 4) nodes of the cells.  n : number of nodes.
    """

    def __init__(self, cells, n):
        flat = cells.ravel()
        self.order = np.argsort(flat, kind="stable")
        self.start = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=n))])

    def __call__(self, nodes):
        """(k,) position in `nodes`, (k,) cell, (k,) the node's place in it."""
        count = self.start[nodes + 1] - self.start[nodes]
        which = np.repeat(np.arange(len(nodes)), count)
        first = np.repeat(self.start[nodes] - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        entry = self.order[first + np.arange(count.sum())]
        return which, entry // 4, entry % 4


def _batches(nodes, cells, around):
    """Split nodes into sets in which no two share a cell, first ones as early as possible."""
    while len(nodes):
        rank = np.full(len(around.start), len(nodes))
        rank[nodes] = np.arange(len(nodes))
        which, cell, _ = around(nodes)
        first = np.full(len(nodes), len(nodes))
        np.minimum.at(first, which, rank[cells[cell]].min(axis=1))
        chosen = first == np.arange(len(nodes))
        yield nodes[chosen]
        nodes = nodes[~chosen]


def _move(points, cells, worth, around, nodes, free, directions):
    """Move each node to the best of the positions tried; (n,) bool, whether it moved.

    The positions come nearer in steps, see `REACH`.
    """
    which, cell, place = around(nodes)
    step = directions @ free[nodes]
    corners = points[cells[cell]]
    length = np.linalg.norm(corners - points[nodes][which][:, None], axis=2)
    edge = np.full(len(nodes), np.inf)
    np.minimum.at(edge, which, np.where(length > 0, length, np.inf).min(axis=1))
    best = np.full(len(nodes), np.inf)
    np.minimum.at(best, which, worth[cell])
    moved = np.zeros(len(nodes), bool)
    first = np.flatnonzero(np.diff(which, prepend=-1))
    rows, at_once = np.arange(len(cell)), max(1, AT_ONCE // len(cell))
    for reach in REACH:
        start = points[nodes].copy()
        for candidate in range(0, len(directions), at_once):
            tried = start + reach * edge[:, None] * np.moveaxis(
                step[:, candidate:candidate + at_once], 1, 0)
            all_corners = np.repeat(corners[None], len(tried), axis=0)
            all_corners[:, rows, place] = tried[:, which]
            quality = np.minimum.reduceat(shape(all_corners), first, axis=1)
            choice = quality.argmax(axis=0)
            quality = quality[choice, np.arange(len(nodes))]
            better = quality > best + 1e-6
            best[better] = quality[better]
            points[nodes[better]] = tried[choice[better], better]
            moved |= better
    worth[cell] = shape(points[cells[cell]])
    return moved
