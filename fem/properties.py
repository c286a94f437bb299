"""Thermal properties of every cell: averages over the voxels that it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.numerics.cell_shares import label_shares
from hifuflow.records.anatomy import Anatomy


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


@dataclass
class RegionProperties:
    """The same coefficients region by region, and how much of each region is in each cell.

    Attributes
    ----------
    names : of the regions.  share : (n_cells, n_regions), rows add up to 1.
    heat_capacity, conductivity, perfusion : (n_regions,).
    absorption : (n_regions,) factor of the absorbed power.
    """

    names: list
    share: np.ndarray
    heat_capacity: np.ndarray
    conductivity: np.ndarray
    perfusion: np.ndarray
    absorption: np.ndarray

    @property
    def cells(self) -> CellProperties:
        """Averages over each cell."""
        return CellProperties(*(self.share @ values for values in (
            self.heat_capacity, self.conductivity, self.perfusion)))


def region_properties(vertices: np.ndarray, anatomy: Anatomy, tissues: dict, blood: dict,
                      deviations: dict) -> RegionProperties:
    """rho c, k and W c_blood of the label map's regions, to be averaged over each cell.

    Which voxels a cell stands for: see `label_shares`.

    Parameters
    ----------
    vertices : (n_cells, 4, 3) [m].
    tissues, blood : tables of properties, see `config/tissues.yaml`.
    deviations : `conductivity_factor`, `perfusion_factor` that scale k and W, `absorption_factor`;
        under `regions` the same once more for single regions.
    """
    names, rows = list(anatomy.regions), []
    for name in names:
        tissue = tissues[anatomy.regions[name]["tissue"]]
        factor = {key: value * deviations["regions"].get(name, {}).get(key, 1)
                  for key, value in deviations.items() if key.endswith("_factor")}
        rows.append((tissue["density_kg_m3"] * tissue["specific_heat_j_kg_k"],
                     tissue["conductivity_w_m_k"] * factor["conductivity_factor"],
                     tissue["perfusion_kg_m3_s"] * blood["specific_heat_j_kg_k"]
                     * factor["perfusion_factor"],
                     factor["absorption_factor"]))
    labels = [anatomy.regions[name]["label"] for name in names]
    shares = label_shares(vertices, anatomy.labels, anatomy.affine)[:, labels]
    return RegionProperties(names, shares, *np.array(rows, dtype=float).T)
