"""E and K of quadratic tetrahedra with straight edges, without quadrature.

    E_e = c_e V_e M,   K_e = k_e V_e G_e + w_e V_e M

M and G_e are the exact means over a cell of phi_i phi_j and grad phi_i . grad phi_j. Both matrices
have one pattern, which is found by sorting once, and only what is on and above the diagonal is
summed: this is several times faster than inserting cell by cell, and exactly symmetric.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hifuflow.cells import MEAN_PRODUCTS, MEAN_SLOPES

from .properties import CellProperties

PAIRS = np.triu_indices(10)  # of a cell's nodes: 55
PRODUCTS = MEAN_PRODUCTS[PAIRS]
SLOPES = MEAN_SLOPES[:, :, *PAIRS].reshape(16, -1)


def assemble_matrices(space, properties: CellProperties) -> tuple[sp.csr_array, sp.csr_array]:
    """E [J/K] and K [W/K] on all nodes, exactly symmetric, before surfaces.

    `space` is quadratic, on a mesh of one process.
    """
    geometry = space.mesh.geometry
    volume, metric = _volume_and_metric(geometry.x[geometry.dofmaps[0]])
    pattern = _Pattern(space.dofmap.list, space.dofmap.index_map.size_local)
    E = pattern.sum(np.outer(properties.heat_capacity * volume, PRODUCTS))
    coefficients = np.column_stack([(properties.conductivity * volume)[:, None] * metric,
                                    properties.perfusion * volume])
    return E, pattern.sum(coefficients @ np.vstack([SLOPES, PRODUCTS]))


def _volume_and_metric(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) volumes [m3] and (n, 16) grad lambda_a . grad lambda_b [1/m2] of cells (n, 4, 3)."""
    a, b, c = np.moveaxis(vertices[:, 1:] - vertices[:, :1], 1, 0)
    normals = np.empty_like(vertices)
    normals[:, 1], normals[:, 2], normals[:, 3] = np.cross(b, c), np.cross(c, a), np.cross(a, b)
    normals[:, 0] = -normals[:, 1:].sum(axis=1)
    six_volumes = np.einsum("ni,ni->n", a, normals[:, 1])
    gradients = normals / six_volumes[:, None, None]
    return (np.abs(six_volumes) / 6,
            (gradients @ np.swapaxes(gradients, 1, 2)).reshape(-1, 16))


class _Pattern:
    """Where the entries of the cells' matrices go.

    Parameters
    ----------
    nodes : (n_cells, 10).  n : number of nodes.
    """

    def __init__(self, nodes: np.ndarray, n: int):
        first, second = (nodes[:, side].ravel() for side in PAIRS)
        row, column = np.minimum(first, second), np.maximum(first, second)
        order = _order(column, n)
        order = order[_order(row[order], n)]
        row, column = row[order], column[order]
        new = np.flatnonzero(np.append(True, (row[1:] != row[:-1]) | (column[1:] != column[:-1])))
        row, column = row[new], column[new]
        starts = np.append(new, len(order)).astype(np.int32)
        self._gather = sp.csr_array((np.ones(len(order)), order, starts))
        # Entries of the upper triangle are numbered from 1, so that those of the whole matrix are
        # a sum: the same number on both sides of the diagonal.
        number = np.arange(1, len(new) + 1, dtype=np.int32)
        upper, above = (sp.csr_array(sp.coo_array((values, (row, column)), (n, n)))
                        for values in (number, np.where(row < column, number, 0)))
        self._whole = sp.csr_array(upper + above.T)
        self._whole.data -= 1

    def sum(self, values: np.ndarray) -> sp.csr_array:
        """(n, n) matrix of the cells' entries (n_cells, 55)."""
        summed = self._gather @ values.ravel()
        return sp.csr_array((summed[self._whole.data], self._whole.indices, self._whole.indptr),
                            self._whole.shape)


def _order(values: np.ndarray, n: int) -> np.ndarray:
    """Stable order of numbers below n, by counting, which turns rows into columns."""
    rows = np.arange(len(values) + 1, dtype=np.int32)
    return sp.csr_array((np.ones(len(values), dtype=np.int8), values, rows),
                        (len(values), n)).tocsc().indices
