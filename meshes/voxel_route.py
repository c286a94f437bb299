"""The mesh that always works: fill a box, then move nodes onto the surfaces."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hifuflow.errors import NumericalError

from .gmsh_session import gmsh_session
from .gmsh_tools import MILLIMETRE, set_sizes, tetrahedra
from .quality import EDGES, cell_quality

WORST = 0.12  # no node moves so far that a cell becomes worse than this
NEAR = 0.5  # a node moves to a crossing on the nearer half of its edge
HALVINGS = 4  # of a move that spoils a cell
SWEEPS = 10  # of smoothing after the moves


def fill_voxels(body, body_level, target, target_level, sizes, size):
    """Mesh a box around the body, snap nodes to both surfaces, keep the cells inside the body.

    Parameters
    ----------
    body, target : `SmoothMask`.  body_level, target_level : their iso-levels.
    sizes, size : `SizeField` and its size in the target [m].

    Returns
    -------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  inside : (m,) bool, cell of the target.
    """
    points, cells = _box(body, sizes, size)
    fixed = np.zeros(len(points), bool)
    for mask, level in ((target, target_level), (body, body_level)):
        points, fixed = _snapped(points, cells, fixed, mask, level)
    points = _relaxed(points, cells, fixed)
    in_body = _majority(points, cells, body, body_level)
    inside = _majority(points, cells, target, target_level) & in_body
    keep = in_body & _one_piece(cells, in_body)
    used, cells = np.unique(cells[keep], return_inverse=True)
    return points[used], cells.reshape(-1, 4), inside[keep]


def _box(body, sizes, size):
    """Tetrahedra of a box that holds the body's grid."""
    extent = body.step * (np.array(body.values.shape) - 1)
    with gmsh_session() as gmsh, tempfile.TemporaryDirectory() as folder:
        try:
            volume = gmsh.model.occ.addBox(*(body.origin * MILLIMETRE), *(extent * MILLIMETRE))
            gmsh.model.occ.synchronize()
            set_sizes(gmsh, sizes, size, Path(folder) / "sizes.dat")
            gmsh.model.mesh.generate(3)
        except Exception as error:  # Gmsh raises nothing more specific
            raise NumericalError(f"Gmsh: {error}") from error
        points, (cells,) = tetrahedra(gmsh, [volume])
    return points, cells


def _snapped(points, cells, fixed, mask, level):
    """Move the nodes nearest to an iso-surface onto it; nodes that are fixed stay."""
    value = mask(points) - level
    edges = np.unique(np.sort(cells[:, EDGES].reshape(-1, 2), axis=1), axis=0)
    edges = edges[value[edges[:, 0]] * value[edges[:, 1]] < 0]
    share = value[edges[:, 0]] / (value[edges[:, 0]] - value[edges[:, 1]])
    crossing = points[edges[:, 0]] + share[:, None] * (points[edges[:, 1]] - points[edges[:, 0]])
    near = np.where(share < NEAR, edges[:, 0], edges[:, 1])
    count = np.bincount(near, minlength=len(points))
    mean = np.column_stack([np.bincount(near, x, minlength=len(points)) for x in crossing.T])
    move = np.where(count[:, None] > 0, mean / np.maximum(count, 1)[:, None] - points, 0.0)
    move[fixed] = 0
    points = _careful(points, cells, move)
    return points, fixed | (count > 0)


def _careful(points, cells, move):
    """Apply moves; halve, and at last drop, those that would spoil a cell."""
    before = cell_quality(points, cells)
    for attempt in range(HALVINGS + 1):
        after = cell_quality(points + move, cells)
        bad = np.unique(cells[after < np.minimum(WORST, before)])
        if len(bad) == 0:
            return points + move
        move[bad] *= 0.5 if attempt < HALVINGS - 1 else 0.0
    while True:  # dropping a move can spoil a neighbour's cell: drop those as well
        after = cell_quality(points + move, cells)
        bad = np.unique(cells[after < np.minimum(WORST, before)])
        if not np.any(move[bad]):
            return points + move
        move[bad] = 0


def _relaxed(points, cells, fixed):
    """Laplacian smoothing of the free nodes that never spoils a cell."""
    pairs = np.unique(np.sort(cells[:, EDGES].reshape(-1, 2), axis=1), axis=0)
    n = len(points)
    hull = np.any((points <= points.min(axis=0) + 1e-9) | (points >= points.max(axis=0) - 1e-9),
                  axis=1)
    graph = coo_array((np.ones(len(pairs)), pairs.T), (n, n)).tocsr()
    graph = graph + graph.T
    degree = np.maximum(graph.sum(axis=1), 1)[:, None]
    for _ in range(SWEEPS):
        move = 0.5 * (graph @ points / degree - points)
        move[fixed | hull] = 0
        points = _improving(points, cells, move)
    return points


def _improving(points, cells, move):
    """Apply the moves whose cells keep, at the worst, the quality of the worst cell before."""
    before = cell_quality(points, cells)
    worst = np.full(len(points), np.inf)
    np.minimum.at(worst, cells.ravel(), np.repeat(before, 4))
    while True:
        after = cell_quality(points + move, cells)
        spoiled = (after[:, None] < worst[cells]) & np.any(move[cells] != 0, axis=2)
        if not spoiled.any():
            return points + move
        move[np.unique(cells[spoiled])] = 0


def _majority(points, cells, mask, level):
    """Cells whose mean over corners and centroid lies inside the iso-surface."""
    value = mask(points) - level
    centre = mask(points[cells].mean(axis=1)) - level
    return value[cells].mean(axis=1) + centre > 0


def _one_piece(cells, keep):
    """Cells of the largest piece that hangs together through facets' nodes."""
    inner = np.flatnonzero(keep)
    rows = np.repeat(inner, 4)
    n = len(cells)
    graph = coo_array((np.ones(len(rows)), (rows, n + cells[inner].ravel())),
                      (n + cells.max() + 1,) * 2)
    piece = connected_components(graph, directed=False)[1][:n]
    return piece == np.bincount(piece[inner]).argmax()
