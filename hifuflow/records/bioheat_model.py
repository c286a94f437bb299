"""Finite-element model of the patient: `fem/{control,plant}.h5`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hifuflow.formats.hdf5 import create, get_csr, open_artifact, put, put_csr

from .cells import Cells
from .outputs import Outputs


@dataclass
class Voxels:
    """The body's voxels inside a finite-element model, to map its temperatures onto the image.

    Attributes
    ----------
    interpolation : (n_voxels, n) CSR; temperature rise at voxel centres = interpolation @ x.
    index : (n_voxels, 3) int32 index into `anatomy/labels.nii.gz`.
    baseline : (n_voxels,) [degC].  target : (n_voxels,) bool.  volume : of one voxel [m3].
    """

    interpolation: sp.csr_array
    index: np.ndarray
    baseline: np.ndarray
    target: np.ndarray
    volume: float


@dataclass
class BioheatModel:
    """Bioheat model E x' = -K x + B u, y = C x with x = T - baseline [K]: `fem/{model}.h5`.

    Dirichlet unknowns are eliminated; E and K are symmetric positive definite.

    Attributes
    ----------
    E : (n, n) CSR [J/K].  K : (n, n) CSR [W/K].  B : (n, n_foci) [W per W acoustic].
    C : (p, n) CSR [1].  dof_coordinates : (n, 3) [m].  baseline : (n,) [degC].
    outputs : meaning of the p rows of C.  foci : (n_foci, 3) [m].  voxels : see `Voxels`.
    cells : elements of K, for a plant whose tissue changes; see `Cells`.
    C_mean : (p, n) CSR [1], like C, but with the mean over each voxel of the target, as in an
        image; by default C.
    """

    E: sp.csr_array
    K: sp.csr_array
    B: np.ndarray
    C: sp.csr_array
    dof_coordinates: np.ndarray
    baseline: np.ndarray
    outputs: Outputs
    foci: np.ndarray
    voxels: Voxels
    cells: Cells | None = None
    C_mean: sp.csr_array | None = None

    def __post_init__(self):
        if self.C_mean is None:
            self.C_mean = self.C

    def save(self, path, patient: str, config_sha256: str) -> None:
        """Write the model to `path`, with the patient's name and the hash of the settings."""
        with create(path, "bioheat_model", patient, config_sha256) as file:
            put_csr(file, "E", self.E, "J/K", "heat capacity matrix")
            put_csr(file, "K", self.K, "W/K", "conduction and perfusion matrix")
            put_csr(file, "C", self.C, "1", "output matrix")
            put_csr(file, "C_mean", self.C_mean, "1", "output matrix, means over target voxels")
            put(file, "B", self.B, "W/W", "heating of each unknown per watt of acoustic power")
            put(file, "dof_coordinates", self.dof_coordinates, "m", "position of each unknown")
            put(file, "baseline", self.baseline, "degC", "temperature of each unknown at x = 0")
            put(file, "foci", self.foci, "m", "focus of each input")
            self.outputs.write(file)
            group = file.create_group("voxels")
            put_csr(group, "interpolation", self.voxels.interpolation, "1",
                    "from unknowns to temperatures at voxel centres")
            put(group, "index", self.voxels.index, "1", "voxel index into anatomy/labels.nii.gz")
            put(group, "baseline", self.voxels.baseline, "degC", "temperature at x = 0")
            put(group, "target", self.voxels.target, "1", "whether the voxel is in the target")
            put(group, "volume", self.voxels.volume, "m3", "volume of one voxel")
            if self.cells is not None:
                self.cells.write(file)

    @classmethod
    def load(cls, path) -> BioheatModel:
        """Read a model that `save` wrote."""
        with open_artifact(path, "bioheat_model") as file:
            voxels = Voxels(get_csr(file, "voxels/interpolation"),
                            *(file[f"voxels/{name}"][:] for name in (
                                "index", "baseline", "target")), float(file["voxels/volume"][()]))
            return cls(get_csr(file, "E"), get_csr(file, "K"), file["B"][:], get_csr(file, "C"),
                       file["dof_coordinates"][:], file["baseline"][:], Outputs.read(file),
                       file["foci"][:], voxels, Cells.read(file) if "cells" in file else None,
                       get_csr(file, "C_mean") if "C_mean" in file else None)
