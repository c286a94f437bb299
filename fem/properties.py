"""Thermal properties of every cell: voxel averages over the cell's own volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from hifuflow.artifacts import Anatomy

SAMPLES_PER_VOXEL_EDGE = 2
MAX_SUBDIVISION = 12
POINTS_AT_ONCE = 2_000_000


@dataclass
class CellProperties:
    """Coefficients of the bioheat equation, one value per cell.

    Attributes
    ----------
    heat_capacity : (n_cells,) rho c [J/m3/K].
    conductivity : (n_cells,) k [W/m/K].
    perfusion : (n_cells,) W c_blood [W/m3/K].
    """

    heat_capacity: np.ndarray
    conductivity: np.ndarray
    perfusion: np.ndarray


def cell_properties(vertices: np.ndarray, anatomy: Anatomy, tissues: dict, blood: dict,
                    deviations: dict) -> CellProperties:
    """Average rho c, k and W c_blood of the label map over each cell.

    Each cell is cut into equal parts about half a voxel wide and the label map is read at their
    centroids. Voxels outside the body do not count; a cell without any body voxel takes the
    body voxel nearest to its centroid.

    Parameters
    ----------
    vertices : (n_cells, 4, 3) [m].
    tissues, blood : tables of properties, see `config/tissues.yaml`.
    deviations : `conductivity_factor`, `perfusion_factor` that scale k and W.
    """
    shares, nearest = _label_shares(vertices, anatomy)
    used = {region["tissue"] for region in anatomy.regions.values()}
    values = {name: _thermal(tissues[name], blood) for name in sorted(used)}
    factors = (1.0, deviations["conductivity_factor"], deviations["perfusion_factor"])
    averages = []
    for term, scale in enumerate(factors):
        table = anatomy.table({name: triple[term] for name, triple in values.items()}, 0.0)
        averages.append(scale * np.where(nearest > 0, table[nearest], shares @ table))
    return CellProperties(*averages)


def _thermal(tissue: dict, blood: dict) -> tuple[float, float, float]:
    """rho c, k, W c_blood of a tissue."""
    return (tissue["density_kg_m3"] * tissue["specific_heat_j_kg_k"],
            tissue["conductivity_w_m_k"],
            tissue["perfusion_kg_m3_s"] * blood["specific_heat_j_kg_k"])


def _label_shares(vertices: np.ndarray, anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(n_cells, n_labels) share of each label in a cell's body part; (n_cells,) the label of the
    nearest body voxel for cells with no body part, else 0."""
    n_labels = int(anatomy.labels.max()) + 1
    counts = np.zeros((len(vertices), n_labels))
    edges = np.linalg.norm(vertices[:, [0, 0, 0, 1, 1, 2]] - vertices[:, [1, 2, 3, 2, 3, 3]],
                           axis=2).max(axis=1)
    wanted = np.ceil(SAMPLES_PER_VOXEL_EDGE * edges / anatomy.spacing.min()).astype(int)
    subdivision = np.clip(wanted, 2, MAX_SUBDIVISION)
    for m in np.unique(subdivision):
        barycentric = subdivided_centroids(m)
        cells = np.flatnonzero(subdivision == m)
        for part in np.array_split(cells, len(cells) * m**3 // POINTS_AT_ONCE + 1):
            labels = labels_at(anatomy, np.einsum("pv,cvx->cpx", barycentric, vertices[part]))
            flat = labels + n_labels * np.arange(len(part))[:, None]
            counts[part] = np.bincount(flat.ravel(), minlength=len(part) * n_labels).reshape(
                len(part), n_labels)
    counts[:, 0] = 0
    body = counts.sum(axis=1)
    nearest = np.zeros(len(vertices), dtype=int)
    empty = np.flatnonzero(body == 0)
    if len(empty):
        nearest[empty] = _nearest_label(anatomy, vertices[empty].mean(axis=1))
    return counts / np.maximum(body, 1)[:, None], nearest


def subdivided_centroids(m: int) -> np.ndarray:
    """(m^3, 4) barycentric centroids of m^3 parts of equal volume of a tetrahedron.

    The tetrahedron 1 >= x >= y >= z >= 0 is the union of those of the 6 m^3 Kuhn simplices of an
    m x m x m grid that lie inside it.
    """
    corner = np.indices((m, m, m)).reshape(3, -1).T
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    steps = np.empty((6, 3))
    for row, order in zip(steps, orders, strict=True):
        row[order] = (0.75, 0.5, 0.25)
    points = (corner[:, None] + steps).reshape(-1, 3) / m
    x, y, z = points[(points[:, 0] > points[:, 1]) & (points[:, 1] > points[:, 2])].T
    return np.stack([1 - x, x - y, y - z, z], axis=1)


def labels_at(anatomy: Anatomy, points: np.ndarray) -> np.ndarray:
    """Labels of the voxels that hold the points (..., 3) [m]; 0 off the grid."""
    index = np.rint(anatomy.index(points)).astype(np.int64)
    shape = np.array(anatomy.labels.shape)
    inside = np.all((index >= 0) & (index < shape), axis=-1)
    index = np.clip(index, 0, shape - 1)
    return np.where(inside, anatomy.labels[tuple(np.moveaxis(index, -1, 0))], 0)


def _nearest_label(anatomy: Anatomy, points: np.ndarray) -> np.ndarray:
    nearest = distance_transform_edt(~anatomy.body_mask, sampling=anatomy.spacing,
                                     return_distances=False, return_indices=True)
    shape = np.array(anatomy.labels.shape)
    index = np.clip(np.rint(anatomy.index(points)).astype(int), 0, shape - 1)
    return anatomy.labels[tuple(nearest[(slice(None), *index.T)])]
