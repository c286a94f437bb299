"""Element stiffness matrices and point location for the P2 model.

    K_e = k_e V_e G_e + w_e V_e M,

with G_e and M the means over the cell of grad phi_i . grad phi_j and phi_i phi_j. With these, K
follows from a conductivity k or perfusion w that changes after assembly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import h5py
import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from hifuflow.formats.hdf5 import get_text, put
from hifuflow.numerics.quadratic import MEAN_PRODUCTS, MEAN_SLOPES, quadratic_shape_functions
from hifuflow.numerics.tetrahedra import signed_volumes

NEIGHBOURS = 32  # cells with the nearest centroids, among which that of a point is searched


@dataclass
class Cells:
    """Cells of a quadratic finite-element model, with their tissue.

    Attributes
    ----------
    nodes : (n_cells, 10) int32; numbers below n are the model's unknowns, those from n on the
        held nodes, whose temperature is prescribed.
    vertices : (n_cells, 4, 3) [m].
    regions : names.  share : (n_cells, n_regions) fraction of each region in a cell; rows add up
        to 1.
    conductivity : (n_regions,) [W/m/K].  perfusion : (n_regions,) W c_blood [W/m3/K].
    held_baseline : (n_held,) temperature of the held nodes [degC].
    arterial : temperature of the arterial blood [degC].
    """

    nodes: np.ndarray
    vertices: np.ndarray
    regions: list
    share: np.ndarray
    conductivity: np.ndarray
    perfusion: np.ndarray
    held_baseline: np.ndarray
    arterial: float

    UNITS: ClassVar = {"nodes": ("1", "unknowns of each cell, from n on held nodes"),
             "vertices": ("m", "corners of each cell"),
             "share": ("1", "share of each region in each cell"),
             "conductivity": ("W/m/K", "of each region"),
             "perfusion": ("W/m3/K", "perfusion times specific heat of blood, of each region"),
             "held_baseline": ("degC", "temperature of the held nodes"),
             "arterial": ("degC", "temperature of the arterial blood")}

    def write(self, file: h5py.File) -> None:
        """Write the group `cells` of a model's file."""
        group = file.create_group("cells")
        put(group, "regions", np.asarray(self.regions, dtype=str), "1", "names of the regions")
        for name, (units, description) in self.UNITS.items():
            put(group, name, getattr(self, name), units, description)

    @classmethod
    def read(cls, file: h5py.File) -> Cells:
        """Read the group `cells` of a model's file."""
        return cls(regions=get_text(file["cells/regions"]).tolist(),
                   **{name: file[f"cells/{name}"][()] for name in cls.UNITS})

    @cached_property
    def volume(self) -> np.ndarray:
        """(n_cells,) volumes [m3]."""
        return np.abs(signed_volumes(self.vertices))

    @cached_property
    def n_nodes(self) -> int:
        """Number of nodes: unknowns and held nodes."""
        return int(self.nodes.max()) + 1

    @cached_property
    def conduction(self) -> np.ndarray:
        """(n_cells, 10, 10) matrices V_e G_e [m], for a conductivity of 1."""
        gradient = self._gradients
        metric = self.volume[:, None, None] * (gradient @ np.swapaxes(gradient, 1, 2))
        return (metric.reshape(-1, 16) @ MEAN_SLOPES.reshape(16, 100)).reshape(-1, 10, 10)

    @cached_property
    def node_shares(self) -> np.ndarray:
        """(n_nodes, n_regions) volume fraction of each region in the cells around a node."""
        total = np.zeros((self.n_nodes, self.share.shape[1]))
        np.add.at(total, self.nodes.ravel(),
                  np.repeat(self.volume[:, None] * self.share, 10, axis=0))
        return total / total.sum(axis=1, keepdims=True)

    def stiffness(self, conductivity: np.ndarray, perfusion: np.ndarray) -> sp.csr_array:
        """(n_nodes, n_nodes) K [W/K] by conductivity and perfusion (n_cells,), without surfaces."""
        values = (conductivity[:, None, None] * self.conduction
                  + (perfusion * self.volume)[:, None, None] * MEAN_PRODUCTS)
        rows, columns = np.repeat(self.nodes, 10, axis=1), np.tile(self.nodes, (1, 10))
        shape = (self.n_nodes, self.n_nodes)
        return sp.csr_array(sp.coo_array((values.ravel(), (rows.ravel(), columns.ravel())), shape))

    def losses(self, temperature, conductivity, perfusion) -> np.ndarray:
        """(n_nodes,) `stiffness(conductivity, perfusion) @ temperature` [W], without assembly."""
        local = temperature[self.nodes]
        flow = (self.conduction @ local[:, :, None])[:, :, 0] * conductivity[:, None]
        flow += (local @ MEAN_PRODUCTS) * (perfusion * self.volume)[:, None]
        return np.bincount(self.nodes.ravel(), flow.ravel(), self.n_nodes)

    def interpolation(self, points: np.ndarray) -> sp.csr_array:
        """(n_points, n_nodes) matrix: nodal values -> values at points (n_points, 3) [m].

        For points outside the mesh, the values are those at a close point of it.
        """
        barycentric, cell = self._locate(points)
        values = quadratic_shape_functions(barycentric)
        rows = np.repeat(np.arange(len(points)), 10)
        return sp.csr_array((values.ravel(), (rows, self.nodes[cell].ravel())),
                            shape=(len(points), self.n_nodes))

    def _locate(self, points) -> tuple[np.ndarray, np.ndarray]:
        neighbours = min(NEIGHBOURS, len(self.nodes))
        candidates = self._tree.query(points, neighbours)[1].reshape(len(points), neighbours)
        offset = points[:, None] - self.vertices[candidates, 0]
        others = np.einsum("pcai,pci->pca", self._gradients[candidates, 1:], offset)
        barycentric = np.concatenate([1 - others.sum(axis=2, keepdims=True), others], axis=2)
        best = barycentric.min(axis=2).argmax(axis=1)
        row = np.arange(len(points))
        inside = np.clip(barycentric[row, best], 0, None)
        return inside / inside.sum(axis=1, keepdims=True), candidates[row, best]

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.vertices.mean(axis=1))

    @cached_property
    def _gradients(self) -> np.ndarray:
        """(n_cells, 4, 3) gradients of the barycentric coordinates [1/m]."""
        edges = self.vertices[:, 1:] - self.vertices[:, :1]
        others = np.swapaxes(np.linalg.inv(edges), 1, 2)
        return np.concatenate([-others.sum(axis=1, keepdims=True), others], axis=1)
