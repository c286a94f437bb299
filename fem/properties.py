"""Thermal properties of every cell: averages over the voxels that it represents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.numerics.cell_shares import label_shares
from hifuflow.records.anatomy import Anatomy

from .settings import ModelSettings


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
    """Coefficients of the bioheat equation by region, and the regions' fractions in each cell.

    Attributes
    ----------
    names : of the regions.  share : (n_cells, n_regions) volume fractions; rows add up to 1.
    heat_capacity, conductivity, perfusion : (n_regions,), see `CellProperties`.
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


def region_properties(vertices: np.ndarray, anatomy: Anatomy,
                      settings: ModelSettings) -> RegionProperties:
    """rho c, k and W c_blood of the label map's regions, and their fractions in each cell.

    The voxels that a cell represents: see `label_shares`.

    Parameters
    ----------
    vertices : (n_cells, 4, 3) of the mesh's tetrahedra [m].  anatomy : the label map.
    settings : the tissues, and the factors by which regions deviate from them.
    """
    names, rows = list(anatomy.regions), []
    for name in names:
        tissue = settings.tissues[anatomy.regions[name]["tissue"]]
        factors = settings.deviations.of(name)
        rows.append((tissue.density * tissue.specific_heat,
                     tissue.conductivity * factors.conductivity,
                     tissue.perfusion * settings.blood_specific_heat * factors.perfusion,
                     factors.absorption))
    labels = [anatomy.regions[name]["label"] for name in names]
    shares = label_shares(vertices, anatomy.labels, anatomy.affine)[:, labels]
    return RegionProperties(names, shares, *np.array(rows, dtype=float).T)
