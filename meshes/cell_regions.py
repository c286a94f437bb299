"""Which region each tetrahedron belongs to, and what the mesh holds of every region."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.stats import qmc

from hifuflow.artifacts import Anatomy

from .compartments import REST, TARGET, Compartments
from .quality import cell_volumes

SAMPLES = 64  # positions in a cell at which the label map is read
AT_ONCE = 50_000  # cells


def tag_cells(points, cells, group, anatomy: Anatomy, compartments: Compartments):
    """Region of each cell, and the volumes of all regions in the mesh.

    A cell has the region that fills most of it, of those that its compartment is made of. So a
    speckled tissue keeps its cells where it prevails; where it never does it is lumped with the
    region that has most of it.

    Parameters
    ----------
    points : (n, 3) [m].  cells : (m, 4).  group : (m,) compartment of each cell.

    Returns
    -------
    names : (m,) of regions.
    record : region -> `volume_m3` (its cells), `label_volume_m3` (its voxels),
        `averaged_volume_m3` (integral over all cells of its share of their voxels),
        `lumped` (regions without a cell of their own that lie in its cells).
    """
    names = list(anatomy.regions)
    position = np.zeros(int(anatomy.labels.max()) + 1, int)  # label -> column, 0 outside
    for column, name in enumerate(names, start=1):
        position[anatomy.regions[name]["label"]] = column
    columns = position[anatomy.labels]
    allowed = _allowed(names, anatomy, compartments)
    volume = cell_volumes(points, cells)
    tag, overlap = np.empty(len(cells), int), np.zeros((len(names) + 1,) * 2)
    for start in range(0, len(cells), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        shares = _shares(points[cells[part]], columns, anatomy, len(names))
        mine = shares * allowed[group[part]]
        none = mine.sum(axis=1) == 0
        mine[none] = (shares[none] + 1e-9) * np.where(
            allowed[group[part]][none].any(axis=1)[:, None], allowed[group[part]][none], 1)
        tag[part] = mine.argmax(axis=1)
        np.add.at(overlap, tag[part], shares * volume[part, None])
    record = {}
    for column, name in enumerate(names, start=1):
        record[name] = {"volume_m3": float(volume[tag == column].sum()),
                        "label_volume_m3": anatomy.regions[name]["volume_m3"],
                        "averaged_volume_m3": float(overlap[:, column].sum()), "lumped": []}
    for column, name in enumerate(names, start=1):
        if not (tag == column).any():
            record[names[max(int(overlap[:, column].argmax()), 1) - 1]]["lumped"].append(name)
    return np.array(["", *names])[tag], record


def _allowed(names, anatomy, compartments):
    """(compartments, regions + 1): 1 where a compartment may have cells of a region."""
    organs = compartments.names[TARGET + 1:]
    allowed = np.zeros((len(compartments.names), len(names) + 1))
    for column, name in enumerate(names, start=1):
        if name in anatomy.target:
            allowed[TARGET, column] = 1
        elif name in organs:
            allowed[compartments.names.index(name, TARGET + 1), column] = 1
        else:
            allowed[REST, column] = 1
    return allowed


def _shares(corners, columns, anatomy, n_regions):
    """(m, regions + 1) share of each region in the body's part of the cells (m, 4, 3)."""
    ordered = np.sort(qmc.Sobol(3, rng=0).random(SAMPLES), axis=1)
    barycentric = np.diff(ordered, axis=1, prepend=0, append=1)
    index = np.rint(anatomy.index(np.einsum("pv,cvx->cpx", barycentric, corners))).astype(int)
    shape = np.array(columns.shape)
    inside = np.all((index >= 0) & (index < shape), axis=-1)
    found = columns[tuple(np.moveaxis(np.clip(index, 0, shape - 1), -1, 0))] * inside
    flat = found + (n_regions + 1) * np.arange(len(corners))[:, None]
    count = np.bincount(flat.ravel(), minlength=len(corners) * (n_regions + 1))
    count = count.reshape(len(corners), -1).astype(float)
    count[:, 0] = 0
    empty = np.flatnonzero(count.sum(axis=1) == 0)
    if len(empty):
        nearest = ndimage.distance_transform_edt(columns == 0, return_distances=False,
                                                 return_indices=True, sampling=anatomy.spacing)
        centre = np.rint(anatomy.index(corners[empty].mean(axis=1))).astype(int)
        voxel = nearest[(slice(None), *np.clip(centre, 0, shape - 1).T)]
        count[empty, columns[tuple(voxel)]] = 1
    return count / count.sum(axis=1, keepdims=True)
