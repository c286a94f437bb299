"""Reduced model: `reduction/rom.h5`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.formats.hdf5 import create, open_artifact, put
from hifuflow.numerics.hankel import truncation_bound

from .outputs import Outputs


@dataclass
class ReducedModel:
    """Reduced model x' = A x + B u, y = C x + D u with the model's outputs: `reduction/rom.h5`.

    Attributes
    ----------
    A : (r, r) [1/s].  B : (r, n_foci).  C : (p, r).
    hsv : Hankel singular values, all that were computed, descending.
    error_bound : (len(hsv),) H-infinity error bound of the model truncated to order i + 1.
    method : how it was made.  outputs, foci : as in `BioheatModel`.
    C_mean : (p, r), see `BioheatModel`; by default C.
    D : (p, n_foci), by default zero: only models from elsewhere have one.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    hsv: np.ndarray
    error_bound: np.ndarray
    method: str
    outputs: Outputs
    foci: np.ndarray
    C_mean: np.ndarray | None = None
    D: np.ndarray | None = None

    def __post_init__(self):
        if self.C_mean is None:
            self.C_mean = self.C
        if self.D is None:
            self.D = np.zeros((len(self.C), self.B.shape[1]))

    @property
    def order(self) -> int:
        """Number of states r."""
        return len(self.A)

    @property
    def truncation_bound(self) -> np.ndarray:
        """(len(hsv),) H-infinity bound on the error of keeping only i + 1 states [K/W].

        The states of a balanced model are in falling order of importance.
        """
        return truncation_bound(self.hsv)

    def save(self, path, patient: str, config_sha256: str, **attributes) -> None:
        """Write the model to `path`, with further attributes of the file."""
        with create(path, "reduced_model", patient, config_sha256) as file:
            file.attrs.update(order=self.order, method=self.method, **attributes)
            put(file, "A", self.A, "1/s", "state matrix")
            put(file, "B", self.B, "1", "input matrix")
            put(file, "C", self.C, "1", "output matrix")
            put(file, "C_mean", self.C_mean, "1", "output matrix, means over target voxels")
            gain = "K/W" if self.outputs.temperatures else "output/input"
            put(file, "hsv", self.hsv, gain, "Hankel singular values")
            put(file, "error_bound", self.error_bound, gain,
                "H-infinity error bound of the truncation to each order")
            if self.D.any():
                put(file, "D", self.D, gain, "feedthrough matrix")
            put(file, "foci", self.foci, "m", "focus of each input")
            self.outputs.write(file)

    @classmethod
    def load(cls, path) -> ReducedModel:
        """Read a model that `save` wrote."""
        with open_artifact(path, "reduced_model") as file:
            return cls(*(file[name][:] for name in ("A", "B", "C", "hsv", "error_bound")),
                       str(file.attrs["method"]), Outputs.read(file), file["foci"][:],
                       *(file[name][:] if name in file else None for name in ("C_mean", "D")))
