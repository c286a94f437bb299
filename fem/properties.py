"""Thermal properties of every cell: averages over the voxels that it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.artifacts import Anatomy
from hifuflow.cell_shares import label_shares


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

    Which voxels a cell stands for: see `label_shares`.

    Parameters
    ----------
    vertices : (n_cells, 4, 3) [m].
    tissues, blood : tables of properties, see `config/tissues.yaml`.
    deviations : `conductivity_factor`, `perfusion_factor` that scale k and W.
    """
    shares = label_shares(vertices, anatomy)
    used = {region["tissue"] for region in anatomy.regions.values()}
    values = {name: _thermal(tissues[name], blood) for name in sorted(used)}
    factors = (1.0, deviations["conductivity_factor"], deviations["perfusion_factor"])
    averages = []
    for term, scale in enumerate(factors):
        table = anatomy.table({name: triple[term] for name, triple in values.items()}, 0.0)
        averages.append(scale * (shares @ table))
    return CellProperties(*averages)


def _thermal(tissue: dict, blood: dict) -> tuple[float, float, float]:
    """rho c, k, W c_blood of a tissue."""
    return (tissue["density_kg_m3"] * tissue["specific_heat_j_kg_k"],
            tissue["conductivity_w_m_k"],
            tissue["perfusion_kg_m3_s"] * blood["specific_heat_j_kg_k"])
