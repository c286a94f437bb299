"""Measures of a tetrahedral mesh: volumes, shape, unknowns, boundary facets."""

from __future__ import annotations

import numpy as np

FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])  # outward for positive cells
AT_ONCE = 20_000  # tetrahedra that are measured together
RATIO_DEGREES = 80.0  # dihedral angle that is as bad as the radius ratio 1; both are small
EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


def cell_quality(points, cells):
    """Radius ratio gamma = 3 r_in / r_circ of each tetrahedron: 1 regular, 0 flat, (n,).

    With volume V, face areas A_i and products p, q, r of opposite edge lengths,
    r_in = 3 V / sum(A_i) and r_circ = sqrt((p+q+r)(p+q-r)(p-q+r)(-p+q+r)) / (24 V);
    the measure is Gmsh's ``gamma``.
    """
    return _in_parts(points, cells)[0]


def smallest_dihedral(points, cells):
    """Smallest dihedral angle of each tetrahedron, (n,) [degrees]; negative where inverted."""
    ratio, angle = _in_parts(points, cells)
    return np.where(ratio > 0, angle, -angle)


def shape(corners):
    """One measure of tetrahedra (..., 4, 3) for those who improve them; negative when inverted.

    The smallest dihedral angle [degrees], or the radius ratio times `RATIO_DEGREES` if that is
    smaller: a flat cell can have fair angles.
    """
    ratio, angle = _measures(corners)
    return np.where(ratio > 0, np.minimum(angle, RATIO_DEGREES * ratio), ratio - 1e-9)


def _in_parts(points, cells):
    """`_measures` of the cells of a mesh, (2, n)."""
    parts = np.array_split(cells, len(cells) // AT_ONCE + 1)
    return np.concatenate([_measures(points[part]) for part in parts], axis=1)


def _measures(corners):
    """Radius ratio and smallest dihedral angle [degrees] of tetrahedra (..., 4, 3).

    Coordinate by coordinate: many times faster than with NumPy's functions of vectors.
    """
    x = np.ascontiguousarray(np.moveaxis(corners, (-2, -1), (0, 1)))
    edge = {(i, j): x[j] - x[i] for i, j in EDGES.tolist()}
    normals = (_cross(edge[1, 2], edge[1, 3]), _cross(edge[0, 3], edge[0, 2]),
               _cross(edge[0, 1], edge[0, 3]), _cross(edge[0, 2], edge[0, 1]))
    area = [np.maximum(np.sqrt(_dot(n, n)), 1e-300) for n in normals]
    units = [n / a for n, a in zip(normals, area, strict=True)]
    cosine = np.max([-_dot(units[i], units[j]) for i, j in EDGES.tolist()], axis=0)
    volume = -_dot(edge[0, 3], normals[3]) / 6
    length = {pair: _dot(vector, vector) for pair, vector in edge.items()}
    p, q, r = (np.sqrt(length[0, 1] * length[2, 3]), np.sqrt(length[0, 2] * length[1, 3]),
               np.sqrt(length[0, 3] * length[1, 2]))
    product = np.maximum((p + q + r) * (p + q - r) * (p - q + r) * (q + r - p), 1e-300)
    ratio = np.sign(volume) * 432 * volume**2 / (sum(area) * np.sqrt(product))
    return ratio, np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _cross(a, b):
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2],
                     a[0] * b[1] - a[1] * b[0]])


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


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
    """Quadratic Lagrange unknowns on simplices: one per vertex used, one per edge."""
    return len(np.unique(elements)) + count_edges(elements)


def quality_table(points, cells) -> list[str]:
    """Inverted cells, dihedral angles and radius ratios of a mesh, in lines of text."""
    angle, ratio = smallest_dihedral(points, cells), cell_quality(points, cells)
    lines = [f"quality, {int((angle <= 0).sum())} cells inverted:  smallest      1 %     median"]
    for name, values in (("smallest dihedral angle, deg", angle), ("radius ratio", ratio)):
        numbers = (values.min(), *np.percentile(values, (1, 50)))
        lines.append(f"{name:28}" + "".join(f" {number:9.3f}" for number in numbers))
    return lines
