"""Second-order tetrahedra as straight ones that keep their volume.

A quadratic cell's place is x(l) = sum_v l_v (2 l_v - 1) x_v + sum_e 4 l_p l_q x_e over its
corners v and the middles e of its edges (p, q), in barycentric coordinates l.
"""

from __future__ import annotations

import numpy as np

from hifuflow.numerics.quadratic import QUADRATIC_EDGES, quadratic_shape_functions
from hifuflow.numerics.tetrahedra import signed_volumes

from .mesh_parts import TETRA_EDGES, TRIANGLE_EDGES

STRAIGHT = 1e-6  # of an edge's length: how far its middle may lie beside the straight one
EXACT = 5e-3  # relative error of curved cells' volumes that needs no finer division
MOST_CELLS = 20_000_000  # after division
LEVELS = 3
# Corners and edges' middles (in the order of TETRA_EDGES) of the eight parts of a tetrahedron.
PARTS = np.array([[0, 4, 6, 7], [4, 1, 5, 8], [6, 5, 2, 9], [7, 8, 9, 3],
                  [4, 6, 7, 8], [4, 6, 8, 5], [6, 7, 8, 9], [6, 8, 5, 9]])
QUARTERS = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]])
# VTK's order of the middles in the order of `numerics.quadratic`.
ORDER = [int(np.flatnonzero((np.sort(TETRA_EDGES) == edge).all(axis=1))[0])
         for edge in QUADRATIC_EDGES]
# Keast's rule for tetrahedra of degree 3 (exact for the determinant): points and weights.
RULE = np.vstack([np.full(4, 0.25), np.full((4, 4), 1 / 6) + np.eye(4) / 3])
WEIGHTS = np.array([-0.8, 0.45, 0.45, 0.45, 0.45])


def curved(points, cells, middles, edges=TETRA_EDGES):
    """(m,) bool, whether an edge's middle lies beside the straight edge's."""
    second = middles[:, 0] >= 0
    result = np.zeros(len(cells), bool)
    if second.any():
        ends = points[cells[second][:, edges]]
        off = np.linalg.norm(points[middles[second]] - ends.mean(axis=2), axis=2)
        length = np.linalg.norm(ends[:, :, 1] - ends[:, :, 0], axis=2)
        result[second] = (off > STRAIGHT * length).any(axis=1)
    return result


def exact_volumes(points, cells, middles):
    """(m,) signed volumes of quadratic cells, and the smallest determinant relative to its mean."""
    nodes = np.concatenate([points[cells], points[middles[:, ORDER]]], axis=1)
    slopes = np.zeros((len(RULE), 4, 10))
    for a in range(4):
        slopes[:, a, a] = 4 * RULE[:, a] - 1
        for edge, (p, q) in enumerate(QUADRATIC_EDGES):
            slopes[:, a, 4 + edge] = 4 * (RULE[:, q] * (p == a) + RULE[:, p] * (q == a))
    along = np.einsum("pai,mid->mpad", slopes[:, 1:] - slopes[:, :1], nodes)
    determinant = np.linalg.det(along)
    volume = determinant @ WEIGHTS / 6
    with np.errstate(divide="ignore", invalid="ignore"):
        least = (determinant * np.sign(volume)[:, None]).min(axis=1) / np.abs(6 * volume)
    return volume, least


def divided(points, cells, middles):
    """Straight cells in the place of quadratic ones: curved cells are cut into 8, 64 or 512.

    Returns
    -------
    points : (n', 3).  cells : (m', 4).  parent : (m',) cell that each is a part of.
    record : ``curved_cells``, ``curved_volume_error`` (mean relative error of the volume of what
        replaces one), ``folded_cells``; empty where no cell is curved.
    """
    bent = np.flatnonzero(curved(points, cells, middles))
    if not len(bent):
        return points, cells, np.arange(len(cells)), {}
    exact, least = exact_volumes(points, cells[bent], middles[bent])
    nodes = np.concatenate([points[cells[bent]], points[middles[bent][:, ORDER]]], axis=1)
    places, small = np.eye(4), np.arange(4)[None]
    for level in range(LEVELS):
        places, small = _halved(places, small)
        inner = np.einsum("pi,mid->mpd", quadratic_shape_functions(places), nodes)
        parts = np.abs(signed_volumes(inner[:, small].reshape(-1, 4, 3))).reshape(len(bent), -1)
        error = np.abs(parts.sum(axis=1) - np.abs(exact)).sum() / np.abs(exact).sum()
        if error <= EXACT or len(bent) * len(small) * 8 > MOST_CELLS or level == LEVELS - 1:
            break
    straight = np.setdiff1d(np.arange(len(cells)), bent)
    number = len(points) + np.arange(len(bent))[:, None, None] * len(places) + small
    return (np.vstack([points, inner.reshape(-1, 3)]),
            np.vstack([cells[straight], number.reshape(-1, 4)]),
            np.concatenate([straight, np.repeat(bent, len(small))]),
            {"curved_cells": len(bent), "curved_volume_error": float(error),
             "folded_cells": int((~(least > 0)).sum())})


def divided_facets(points, facets, middles):
    """Straight triangles in the place of quadratic ones: curved ones are cut into four.

    Returns
    -------
    facets : (k', 3).  parent : (k',).
    """
    bent = curved(points, facets, middles, TRIANGLE_EDGES)
    nodes = np.hstack([facets[bent], middles[bent]])
    rows = np.arange(len(facets))
    return (np.vstack([facets[~bent], nodes[:, QUARTERS].reshape(-1, 3)]),
            np.concatenate([rows[~bent], np.repeat(rows[bent], len(QUARTERS))]))


def _halved(places, cells):
    """Each cell cut into eight at the middles of its edges, in barycentric coordinates."""
    middles = places[cells[:, TETRA_EDGES]].mean(axis=2)
    nodes = np.concatenate([places[cells], middles], axis=1)
    merged, number = np.unique(nodes.reshape(-1, 4).round(12), axis=0, return_inverse=True)
    return merged, number.reshape(len(cells), 10)[:, PARTS].reshape(-1, 4)
