"""Measures of a tetrahedral mesh: volumes, shape, unknowns, boundary facets."""

from __future__ import annotations

import numpy as np

FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])  # outward for positive cells
EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


def cell_volumes(points, cells):
    """Signed volumes (n,) of tetrahedra, positive when right-handed [m3]."""
    a, b, c = (points[cells[:, i]] - points[cells[:, 0]] for i in (1, 2, 3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6


def cell_quality(points, cells):
    """Radius ratio gamma = 3 r_in / r_circ of each tetrahedron: 1 regular, 0 flat, (n,).

    With volume V, face areas A_i and products p, q, r of opposite edge lengths,
    r_in = 3 V / sum(A_i) and r_circ = sqrt((p+q+r)(p+q-r)(p-q+r)(-p+q+r)) / (24 V);
    the measure is Gmsh's ``gamma``.
    """
    volume = cell_volumes(points, cells)
    x = points[cells]
    area = sum(np.linalg.norm(np.cross(x[:, j] - x[:, i], x[:, k] - x[:, i]), axis=1) / 2
               for i, j, k in FACES)
    length = {(i, j): np.linalg.norm(x[:, i] - x[:, j], axis=1) for i, j in EDGES}
    p, q, r = (length[0, 1] * length[2, 3], length[0, 2] * length[1, 3],
               length[0, 3] * length[1, 2])
    product = np.maximum((p + q + r) * (p + q - r) * (p - q + r) * (q + r - p), 1e-300)
    return np.sign(volume) * 216 * volume**2 / (area * np.sqrt(product))


def boundary_facets(cells):
    """Facets (m, 3) that belong to one cell only, normals outward."""
    facets = cells[:, FACES].reshape(-1, 3)
    _, first, count = np.unique(np.sort(facets, axis=1), axis=0, return_index=True,
                                return_counts=True)
    return facets[np.sort(first[count == 1])]


def count_edges(elements):
    """Number of distinct edges of tetrahedra (n, 4) or triangles (n, 3)."""
    pairs = EDGES if elements.shape[1] == 4 else EDGES[[0, 1, 3]]
    edges = np.sort(elements[:, pairs].reshape(-1, 2), axis=1)
    return len(np.unique(edges, axis=0))


def unknowns_p2(elements):
    """Quadratic Lagrange unknowns on simplices: one per vertex used, one per edge."""
    return len(np.unique(elements)) + count_edges(elements)
