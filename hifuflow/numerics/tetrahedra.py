"""Tetrahedra: volume, shape, dihedral angles."""

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
    """Shape measure of tetrahedra (..., 4, 3), to be improved; negative when inverted.

    It is the smallest dihedral angle [degrees], or the radius ratio times `RATIO_DEGREES` if that
    is smaller: a flat cell can have fair angles.
    """
    ratio, angle = _measures(corners)
    return np.where(ratio > 0, np.minimum(angle, RATIO_DEGREES * ratio), ratio - 1e-9)


def _in_parts(points, cells):
    """`_measures` of the cells of a mesh, (2, n)."""
    parts = np.array_split(cells, len(cells) // AT_ONCE + 1)
    return np.concatenate([_measures(points[part]) for part in parts], axis=1)


def _measures(corners):
    """Radius ratio and smallest dihedral angle [degrees] of tetrahedra (..., 4, 3).

    Computed coordinate by coordinate, many times faster than with NumPy's vector functions.
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


def signed_volumes(corners: np.ndarray) -> np.ndarray:
    """(m,) signed volumes of tetrahedra (m, 4, 3), positive when right-handed.

    The unit is the cube of the corners' unit.
    """
    return np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6
