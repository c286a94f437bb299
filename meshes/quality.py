"""Measures of a tetrahedral mesh: volumes, shape, unknowns, boundary facets."""

from __future__ import annotations

import numpy as np

from hifuflow.mesh_file import cell_volumes

FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])  # outward for positive cells
AT_ONCE = 200_000  # tetrahedra whose angles are computed together
RATIO_DEGREES = 80.0  # dihedral angle that is as bad as the radius ratio 1; both are small
EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


def cell_quality(points, cells):
    """Radius ratio gamma = 3 r_in / r_circ of each tetrahedron: 1 regular, 0 flat, (n,).

    With volume V, face areas A_i and products p, q, r of opposite edge lengths,
    r_in = 3 V / sum(A_i) and r_circ = sqrt((p+q+r)(p+q-r)(p-q+r)(-p+q+r)) / (24 V);
    the measure is Gmsh's ``gamma``.
    """
    return radius_ratio(points[cells])


def radius_ratio(x):
    """`cell_quality` of tetrahedra given by their corners (..., 4, 3)."""
    a, b, c = (x[..., i, :] - x[..., 0, :] for i in (1, 2, 3))
    volume = np.sum(a * np.cross(b, c), axis=-1) / 6
    area = sum(np.linalg.norm(np.cross(x[..., j, :] - x[..., i, :], x[..., k, :] - x[..., i, :]),
                              axis=-1) / 2 for i, j, k in FACES)
    length = {(i, j): np.linalg.norm(x[..., i, :] - x[..., j, :], axis=-1) for i, j in EDGES}
    p, q, r = (length[0, 1] * length[2, 3], length[0, 2] * length[1, 3],
               length[0, 3] * length[1, 2])
    product = np.maximum((p + q + r) * (p + q - r) * (p - q + r) * (q + r - p), 1e-300)
    return np.sign(volume) * 216 * volume**2 / (area * np.sqrt(product))


def dihedral_angles(corners):
    """Angles between the faces at the six edges of tetrahedra (..., 4, 3), (..., 6) [degrees]."""
    a, b, c = (corners[..., FACES[:, i], :] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-300)
    cosine = [-np.sum(normal[..., i, :] * normal[..., j, :], axis=-1) for i, j in EDGES]
    return np.degrees(np.arccos(np.clip(np.stack(cosine, axis=-1), -1, 1)))


def smallest_dihedral(points, cells):
    """Smallest dihedral angle of each tetrahedron, (n,) [degrees]; negative where inverted."""
    angle = np.empty(len(cells))
    for start in range(0, len(cells), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        angle[part] = dihedral_angles(points[cells[part]]).min(axis=-1)
    return np.where(cell_volumes(points, cells) > 0, angle, -angle)


def shape(corners):
    """One measure of tetrahedra (..., 4, 3) for those who improve them; negative when inverted.

    The smallest dihedral angle [degrees], or the radius ratio times `RATIO_DEGREES` if that is
    smaller: a flat cell can have fair angles.
    """
    ratio = radius_ratio(corners)
    return np.where(ratio > 0, np.minimum(dihedral_angles(corners).min(axis=-1),
                                          RATIO_DEGREES * ratio), ratio - 1e-9)


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
