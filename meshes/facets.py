"""Facets between and around the cells of a mesh, and the number of its unknowns."""

from __future__ import annotations

import numpy as np

from hifuflow.numerics.tetrahedra import EDGES, FACES


def row_keys(rows):
    """One whole number for each row (n, 2 or 3) of node numbers, whatever their order."""
    rows = np.sort(rows, axis=1).astype(np.int64)
    base, key = int(rows.max(initial=0)) + 1, 0
    for column in rows.T:
        key = key * base + column
    return key


def interface_facets(cells, group):
    """Facets between cells of different groups, and those of one cell only.

    Parameters
    ----------
    cells : (m, 4).  group : (m,) whole numbers from 1.

    Returns
    -------
    facets : (k, 3), normals out of the first cell.  sides : (k, 2) groups of the two cells, that
        of the facet's orientation first; 0 is the outside.
    """
    facets = cells[:, FACES].reshape(-1, 3)
    key = row_keys(facets)
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    sides = np.zeros((len(facets), 2), np.int64)
    sides[:, 0] = np.repeat(group, 4)
    first, second = order[:-1][same], order[1:][same]
    sides[first, 1], sides[second, 1] = sides[second, 0], sides[first, 0]
    keep = sides[:, 0] != sides[:, 1]
    keep[second] = False
    return facets[keep], sides[keep]


def boundary_facets(cells):
    """Facets (m, 3) that belong to one cell only, normals outward."""
    return interface_facets(cells, np.ones(len(cells), np.int64))[0]


def count_edges(elements):
    """Number of distinct edges of tetrahedra (n, 4) or triangles (n, 3)."""
    pairs = EDGES if elements.shape[1] == 4 else EDGES[[0, 1, 3]]
    return len(np.unique(row_keys(elements[:, pairs].reshape(-1, 2))))


def unknowns_p2(elements):
    """Number of quadratic Lagrange unknowns on simplices: one per vertex used, one per edge."""
    return len(np.unique(elements)) + count_edges(elements)


