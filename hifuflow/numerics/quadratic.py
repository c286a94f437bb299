"""Quadratic tetrahedra: shape functions, and exact means of their products and slopes."""

from __future__ import annotations

import numpy as np

# Nodes of a cell: four vertices, then the middles of the edges between these vertices.
QUADRATIC_EDGES = np.array([[2, 3], [1, 3], [1, 2], [0, 3], [0, 2], [0, 1]])


def quadratic_shape_functions(barycentric: np.ndarray) -> np.ndarray:
    """(n, 10) values of the quadratic Lagrange functions at barycentric (n, 4) points.

    lambda_i (2 lambda_i - 1) at vertices, 4 lambda_i lambda_j at edge midpoints.
    """
    edges = 4 * barycentric[:, QUADRATIC_EDGES[:, 0]] * barycentric[:, QUADRATIC_EDGES[:, 1]]
    return np.hstack([barycentric * (2 * barycentric - 1), edges])


def _mean_products() -> np.ndarray:
    """(10, 10) mean of phi_i phi_j over a tetrahedron."""
    touches = (QUADRATIC_EDGES[:, :, None] == np.arange(4)).any(axis=1)  # edge, vertex
    shared = touches.astype(int) @ touches.T
    corner = np.where(touches.T, -4, -6)
    return np.block([[1 + 5 * np.eye(4), corner],
                     [corner.T, np.choose(shared, [8, 16, 32])]]) / 420


def _mean_slopes() -> np.ndarray:
    """(4, 4, 10, 10) mean of d phi_i / d lambda_a  d phi_j / d lambda_b (exact, degree 2)."""
    points = np.full((4, 4), (5 - np.sqrt(5)) / 20) + np.eye(4) / np.sqrt(5)
    slopes = np.zeros((4, 4, 10))  # point, a, i
    for a in range(4):
        slopes[:, a, a] = 4 * points[:, a] - 1
        for edge, (p, q) in enumerate(QUADRATIC_EDGES):
            slopes[:, a, 4 + edge] = 4 * (points[:, q] * (p == a) + points[:, p] * (q == a))
    return np.einsum("pai,pbj->abij", slopes, slopes) / len(points)


MEAN_PRODUCTS, MEAN_SLOPES = _mean_products(), _mean_slopes()
