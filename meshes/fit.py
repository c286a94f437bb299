"""Fit of a mesh's surfaces to the voxels': each node moves to where its facets fit best.

A flat facet cuts off part of a curved body. A mesh with its nodes on the surface is therefore too
small, and the nodes of one that is inflated to the right volume lie outside. Here each node moves
to the position x + d that fits the planes of the surface near its facets best,

    min_d sum_q w_q (n_q . d - v_q)^2 + e |d|^2,

over points q of these facets, with v_q the distance to the surface there, n_q its normal and w_q
the area times the node's shape function. Where the surface is smooth the facets' mean distance
from it becomes 0; at an edge, where two normals meet, the node moves onto the edge (quadric error
placement: Garland and Heckbert, SIGGRAPH 1997).
"""

from __future__ import annotations

import numpy as np

from hifuflow.numerics.tetrahedra import shape

from .facets import interface_facets
from .fields import LEAST_SLOPE, Fields

ROUNDS = 10
OVER = 1.5  # overrelaxation: the nodes of a facet share its distance, so each may do more
REGULARISATION = 0.02  # e over the sum of the weights
WORST = 16.0  # no node moves so far that the `shape` of a cell falls below this
HALVINGS = 6  # of a step that spoils a cell
DIVIDED = 4  # parts of a facet's edge, for its quadrature points


def fitted(points, cells, group, fields: Fields, rounds: int = ROUNDS) -> np.ndarray:
    """(n, 3) nodes [m], those on surfaces moved to where their facets fit best.

    Parameters
    ----------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  group : (m,) compartment, from 1.
    fields : of these compartments.  rounds : number of steps.
    """
    facets, sides = interface_facets(cells, group)
    low, high = np.repeat(np.sort(sides, axis=1), DIVIDED**2, axis=0).T
    moving = np.zeros(len(points), bool)
    moving[facets] = True
    cells = cells[moving[cells].any(axis=1)]
    for _ in range(rounds):
        corners = points[facets]
        positions = np.einsum("qk,fki->fqi", PLACES, corners).reshape(-1, 3)
        value, gradient = fields.slope(positions, low, high)
        length = np.linalg.norm(gradient, axis=1)
        known = length > LEAST_SLOPE
        normal = -gradient / np.maximum(length, LEAST_SLOPE)[:, None]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0],
                                       corners[:, 2] - corners[:, 0]), axis=1) / 2
        weight = np.repeat(area / len(PLACES), len(PLACES)) * known
        step = _best_steps(points, facets, weight, normal, value / np.maximum(length, LEAST_SLOPE))
        points = points + _harmless(points, cells, OVER * step)
    return points


def _places():
    """(DIVIDED^2, 3) barycentric centroids of the parts of a triangle."""
    i, j = np.indices((DIVIDED, DIVIDED)).reshape(2, -1)
    low, high = i + j < DIVIDED, i + j < DIVIDED - 1
    u, v = (np.concatenate([x[low] + 1 / 3, x[high] + 2 / 3]) / DIVIDED for x in (i, j))
    return np.column_stack([1 - u - v, u, v])


PLACES = _places()


def _best_steps(points, facets, weight, normal, distance):
    """(n, 3) step d of every node [m]; 0 off the surfaces."""
    total, pull = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
    sum_of_weights = np.zeros(len(points))
    for corner, share in zip(facets.T, PLACES.T, strict=True):
        part = weight * np.tile(share, len(facets))
        for target, values in (
                (total, np.einsum("q,qi,qj->qij", part, normal, normal)),
                (pull, (part * distance)[:, None] * normal), (sum_of_weights, part)):
            by_facet = values.reshape(len(facets), len(PLACES), *values.shape[1:]).sum(axis=1)
            np.add.at(target, corner, by_facet)
    nodes, step = np.flatnonzero(sum_of_weights > 0), np.zeros_like(points)
    scale = sum_of_weights[nodes, None, None]
    step[nodes] = np.linalg.solve(total[nodes] / scale + REGULARISATION * np.eye(3),
                                  pull[nodes, :, None] / scale)[:, :, 0]
    return step


def _harmless(points, cells, step):
    """(n, 3) steps [m], halved and finally dropped at the nodes of cells that they would spoil."""
    factor, floor = np.ones(len(points)), np.minimum(WORST, shape(points[cells]))
    for halving in range(HALVINGS + 1):
        bad = shape((points + factor[:, None] * step)[cells]) < floor
        if not bad.any():
            break
        factor[np.unique(cells[bad])] *= 0.5 if halving < HALVINGS else 0.0
    return factor[:, None] * step
