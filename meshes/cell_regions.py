"""Region of each tetrahedron, and the volume of every region in the mesh."""

from __future__ import annotations

import numpy as np

from hifuflow.numerics.cell_shares import label_shares
from hifuflow.numerics.tetrahedra import signed_volumes
from hifuflow.records.anatomy import Anatomy

from .compartments import REST, TARGET, Compartments


def tag_cells(points, cells, group, anatomy: Anatomy, compartments: Compartments):
    """Region of each cell, and the volumes of all regions in the mesh.

    A cell gets the region that fills most of it, among those of its compartment. So a speckled
    tissue keeps the cells in which it prevails. A region that prevails nowhere is lumped with the
    region whose cells hold most of it.

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
    label = [0, *(anatomy.regions[name]["label"] for name in names)]
    allowed = _allowed(names, anatomy, compartments)[group]
    volume = signed_volumes(points[cells])
    shares = label_shares(points[cells], anatomy.labels, anatomy.affine)[:, label]
    candidates = shares * allowed
    undecided = candidates.sum(axis=1) == 0
    possible = np.where(allowed[undecided].any(axis=1)[:, None], allowed[undecided], 1)
    candidates[undecided] = (shares[undecided] + 1e-9) * possible
    tag = candidates.argmax(axis=1)
    overlap = np.zeros((len(names) + 1,) * 2)
    np.add.at(overlap, tag, shares * volume[:, None])
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
