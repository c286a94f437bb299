"""The mesh that always works: fill a box, assign every cell to a compartment, and move the nodes
between two compartments onto their surface."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hifuflow.errors import NumericalError
from hifuflow.numerics.tetrahedra import EDGES, FACES, shape

from .compartments import OUTSIDE
from .facets import interface_facets, row_keys
from .fields import Fields
from .gmsh_session import gmsh_session
from .gmsh_tools import MILLIMETRE, set_sizes, tetrahedra

WORST = 8.5  # no node moves so far that the `shape` of a cell falls below this
BISECTIONS = 7  # of an edge, to find where a surface crosses it
HALVINGS = 4  # of a move that spoils a cell
STAGES = 2  # in which nodes move onto the surfaces; the others make way in between
PROJECTIONS = 3  # onto the surfaces at the end
LAYERS, SWEEPS = 2, 1  # of nodes that make way, and how often
RELAXED = 15.0  # `WORST` for nodes that make way
NEWTON_STEPS = 3  # towards a surface
FARTHEST = 0.3  # largest step of one projection over the shortest edge at the node


def fill_voxels(masks, levels, sizes, size, snap):
    """Mesh a box around the body, keep the cells inside, conform to the surfaces.

    Parameters
    ----------
    masks, levels : see `Fields`.
    sizes, size : `SizeField` and its size in the target [m].
    snap : whether nodes move onto the surfaces; if not, surfaces consist of whole cells' facets.

    Returns
    -------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  group : (m,) compartment of each cell.

    Raises
    ------
    NumericalError : Gmsh failed, or no cell lies inside the body.
    """
    fields = Fields(masks, levels)
    points, cells = _box(masks[0], sizes, size)
    if snap:
        points = _snapped(points, cells, fields)
    group = _majority(points, cells, fields)
    keep = _largest_piece(cells, group)
    if not keep.any():
        raise NumericalError("no cell lies inside the body")
    used, cells = np.unique(cells[keep], return_inverse=True)
    points, cells, group = points[used], cells.reshape(-1, 4), group[keep]
    if snap:
        points = _projected(points, cells, group, fields)
    return points, cells, group


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


def _snapped(points, cells, fields):
    """Move the nodes nearest to a surface onto it."""
    side = fields.compartment(fields(points))
    pairs = cells[:, EDGES].reshape(-1, 2)
    pairs = pairs[side[pairs[:, 0]] != side[pairs[:, 1]]]
    _, first = np.unique(row_keys(pairs), return_index=True)
    a, b = np.sort(pairs[first], axis=1).T
    low, high = np.zeros(len(a)), np.ones(len(a))
    for _ in range(BISECTIONS):
        share = (low + high) / 2
        middle = points[a] + share[:, None] * (points[b] - points[a])
        same = fields.compartment(fields(middle)) == side[a]
        low, high = np.where(same, share, low), np.where(same, high, share)
    share = (low + high) / 2
    crossing = points[a] + share[:, None] * (points[b] - points[a])
    chosen, edge = _cover(a, b, share, len(points))
    count = np.bincount(chosen, minlength=len(points))
    total = np.column_stack([np.bincount(chosen, x, len(points)) for x in crossing[edge].T])
    goal = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], points)
    nodes = np.flatnonzero(count)
    other = np.zeros(len(points), np.int64)
    other[chosen] = np.where(a[edge] == chosen, side[b[edge]], side[a[edge]])
    low, high = np.sort([side[nodes], other[nodes]], axis=0)
    for _ in range(NEWTON_STEPS):
        goal[nodes] += fields.step(goal[nodes], low, high)
    for steps in range(STAGES, 0, -1):
        move = np.zeros_like(points)
        move[nodes] = (goal[nodes] - points[nodes]) / steps
        points = _careful(points, cells, move, WORST)
        points = _relaxed(points, cells, nodes)
    return points


def _cover(a, b, share, n_nodes):
    """Choose one node of every crossed edge, those nearest to the surface first.

    If both ends of an edge moved onto the surface, cells would become flat.

    Parameters
    ----------
    a, b : (n,) ends of the crossed edges.  share : (n,) where they are crossed, from a to b.

    Returns
    -------
    node, edge : pairs of a chosen node and an edge whose crossing it should move to.
    """
    nodes, edges = [], []
    active = np.arange(len(a))
    while len(active):
        near = np.full(n_nodes, np.inf)
        np.minimum.at(near, a[active], share[active])
        np.minimum.at(near, b[active], 1 - share[active])
        order = np.lexsort((np.arange(n_nodes), near))
        rank = np.empty(n_nodes, np.int64)
        rank[order] = np.arange(n_nodes)
        first = np.full(n_nodes, n_nodes)  # best rank among the node and its neighbours
        lower = np.minimum(rank[a[active]], rank[b[active]])
        np.minimum.at(first, a[active], lower)
        np.minimum.at(first, b[active], lower)
        chosen = first == rank
        for end in (a, b):
            edges_at_chosen = active[chosen[end[active]]]
            nodes.append(end[edges_at_chosen])
            edges.append(edges_at_chosen)
        active = active[~(chosen[a[active]] | chosen[b[active]])]
    return np.concatenate([*nodes, a[:0]]), np.concatenate([*edges, active])


def _projected(points, cells, group, fields):
    """Move the nodes between two compartments onto the surface between them."""
    facets, sides = interface_facets(cells, group)
    low, high = np.sort(sides, axis=1).T
    least = np.full(len(points), np.iinfo(np.int64).max)
    most = np.full(len(points), -1)
    pair = low * (sides.max() + 1) + high
    for corner in facets.T:
        np.minimum.at(least, corner, pair)
        np.maximum.at(most, corner, pair)
    nodes = np.flatnonzero((most >= 0) & (least == most))
    low, high = least[nodes] // (sides.max() + 1), least[nodes] % (sides.max() + 1)
    surface = np.flatnonzero(most >= 0)
    for _ in range(PROJECTIONS):
        step = fields.step(points[nodes], low, high)
        length = np.maximum(np.linalg.norm(step, axis=1), 1e-12)
        farthest = FARTHEST * _shortest_edge(points, cells)[nodes]
        move = np.zeros_like(points)
        move[nodes] = step * np.minimum(1, farthest / length)[:, None]
        points = _careful(points, cells, move, WORST)
        points = _relaxed(points, cells, surface)
    return points


def _relaxed(points, cells, fixed):
    """Laplacian smoothing of the free nodes next to those that are fixed."""
    near = np.zeros(len(points), bool)
    near[fixed] = True
    for _ in range(LAYERS):
        near[cells[near[cells].any(axis=1)]] = True
    hull = np.any((points <= points.min(axis=0) + 1e-9) | (points >= points.max(axis=0) - 1e-9),
                  axis=1)
    near[hull] = False
    near[fixed] = False
    around = cells[near[cells].any(axis=1)]
    pairs = around[:, EDGES].reshape(-1, 2)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    pairs = pairs[near[pairs[:, 0]]]
    degree = np.maximum(np.bincount(pairs[:, 0], minlength=len(points)), 1)[:, None]
    for _ in range(SWEEPS):
        mean = np.column_stack([np.bincount(pairs[:, 0], points[pairs[:, 1], i], len(points))
                                for i in range(3)]) / degree
        points = _careful(points, around, np.where(near[:, None], 0.5 * (mean - points), 0.0),
                          RELAXED)
    return points


def _shortest_edge(points, cells):
    """Length (n,) of the shortest edge at each node [m]."""
    shortest = np.full(len(points), np.inf)
    for a, b in EDGES:
        length = np.linalg.norm(points[cells[:, a]] - points[cells[:, b]], axis=1)
        np.minimum.at(shortest, cells[:, a], length)
        np.minimum.at(shortest, cells[:, b], length)
    return shortest


def _careful(points, cells, move, worst):
    """Apply moves; halve, and finally drop, those that would spoil a cell.

    In a cell whose `shape` would fall below `worst`, and below what it was, the node that moves
    farthest is held back.
    """
    length = np.linalg.norm(move, axis=1)
    cells = cells[(length > 0)[cells].any(axis=1)]
    floor = np.minimum(worst, shape(points[cells])) - 1e-9
    move, halved, check = move.copy(), np.zeros(len(points), np.int64), np.arange(len(cells))
    while True:
        bad = check[shape((points + move)[cells[check]]) < floor[check]]
        if len(bad) == 0:
            return points + move
        farthest = np.unique(cells[bad, length[cells[bad]].argmax(axis=1)])
        halved[farthest] += 1
        move[farthest] *= np.where(halved[farthest] > HALVINGS, 0.0, 0.5)[:, None]
        length[farthest] = np.linalg.norm(move[farthest], axis=1)
        changed = np.zeros(len(points), bool)
        changed[farthest] = True
        check = np.flatnonzero(changed[cells].any(axis=1))


def _majority(points, cells, fields):
    """(m,) compartment of each cell by its corners and centroid; no single cell juts out."""
    value = fields(points)[cells].mean(axis=1) + fields(points[cells].mean(axis=1))
    value[:, 0] = np.maximum(value[:, 0], value.max(axis=1))
    group = fields.compartment(value)
    across = _across(cells)
    neighbour = np.where(across >= 0, group[across], OUTSIDE)
    for number in np.unique(group):
        alone = (group != number) & ((neighbour == number).sum(axis=1) >= 3)
        group[alone] = number
    return group


def _across(cells):
    """Neighbour of each cell across its four faces, (m, 4); -1 where there is none."""
    key = row_keys(cells[:, FACES].reshape(-1, 3))
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    first, second = order[:-1][same], order[1:][same]
    across = np.full(len(key), -1)
    across[first], across[second] = second // 4, first // 4
    return across.reshape(-1, 4)


def _largest_piece(cells, group):
    """(m,) bool, the cells of the body's largest piece that is connected through faces."""
    inside = group != OUTSIDE
    across = _across(cells)
    here, face = np.nonzero((across >= 0) & inside[:, None])
    there = across[here, face]
    both = inside[there]
    graph = coo_array((np.ones(both.sum()), (here[both], there[both])), (len(cells),) * 2)
    piece = connected_components(graph, directed=False)[1]
    return inside & (piece == np.bincount(piece[inside], minlength=1).argmax())
