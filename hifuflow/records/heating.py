"""Heating by each focus: `acoustics/heating.h5`."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import h5py
import numpy as np

from hifuflow.formats.hdf5 import create, open_artifact, put

PLANES_IN_CHUNK = 16  # of q that are compressed and read together


@dataclass
class Heating:
    """Absorbed power density per watt of acoustic power, for each focus: `acoustics/heating.h5`.

    Attributes
    ----------
    q : (n_foci, nx, ny, nz) float32 [W/m3 per W]; an array, or the file's open data set.
    affine : (4, 4) index to patient position [m]; the grid may be rotated.
    foci : (n_foci, 3) [m].
    focal_pressure_pa : (n_foci,) pressure amplitude at the planned focus at 1 W [Pa].
    absorbed_fraction : (n_foci,) integral of q over the body at 1 W [W/W], never above 1.
    frequency_hz, transducer : of the ultrasound, and name of the transducer.
    balance : power balance of each focus: name -> (n_foci,) [W/W].
    steering : focal gain in water of an array that steers, else empty: `gain` (2, n_axial,
        n_lateral) intensity of a focus steered there over that of the geometric focus `focus_m`
        (3,), on the planes of the beam and each of two directions `across` (2, 3); `lateral_m`,
        `axial_m` distances from it; `limit_m` (2,) of steering, lateral and axial.
    """

    q: np.ndarray | h5py.Dataset
    affine: np.ndarray
    foci: np.ndarray
    focal_pressure_pa: np.ndarray
    absorbed_fraction: np.ndarray
    frequency_hz: float
    transducer: str
    balance: dict = field(default_factory=dict)
    steering: dict = field(default_factory=dict)

    def save(self, path, patient: str, config_sha256: str) -> None:
        """Write the heating to `path`, with the patient's name and the hash of the settings."""
        with HeatingFile.create(path, patient, config_sha256) as file:
            file.allocate(self.q.shape)[:] = self.q
            file.complete(self)

    @classmethod
    def load(cls, path) -> Heating:
        """Read a heating with the `q` of all foci."""
        with cls.opened(path) as heating:
            return replace(heating, q=heating.q[:])

    @classmethod
    @contextmanager
    def opened(cls, path):
        """Yield a heating whose `q` stays in the file, to be read part by part in the block."""
        with open_artifact(path, "heating") as file:
            names = ("affine", "foci", "focal_pressure_pa", "absorbed_fraction")
            yield cls(file["q"], *(file[name][:] for name in names),
                      float(file.attrs["frequency_hz"]), str(file.attrs["transducer"]),
                      *({name: file[f"{group}/{name}"][:] for name in file[group]}
                        if group in file else {} for group in ("balance", "steering")))


@dataclass
class HeatingFile:
    """File of a heating that is written while it is computed: all foci may not fit into memory."""

    file: h5py.File

    @classmethod
    @contextmanager
    def create(cls, path, patient: str, config_sha256: str):
        """Yield a new file, which appears at `path` once the block has succeeded."""
        with create(path, "heating", patient, config_sha256) as file:
            yield cls(file)

    def allocate(self, shape):
        """Create the data set `q` of this shape, to be filled."""
        chunk = (1, *shape[1:3], min(shape[3], PLANES_IN_CHUNK))
        q = self.file.create_dataset("q", shape, np.float32, chunks=chunk, compression="lzf",
                                     shuffle=True, fletcher32=True)
        q.attrs.update(units="W/m3/W",
                       description="absorbed power density per watt of acoustic power")
        return q

    def complete(self, heating: Heating) -> None:
        """Write all but `q`."""
        file = self.file
        file.attrs.update(frequency_hz=heating.frequency_hz, transducer=heating.transducer)
        put(file, "affine", heating.affine, "m", "voxel index to patient position")
        put(file, "foci", heating.foci, "m", "planned foci")
        put(file, "focal_pressure_pa", heating.focal_pressure_pa, "Pa",
            "pressure amplitude at the planned focus at 1 W")
        put(file, "absorbed_fraction", heating.absorbed_fraction, "1",
            "absorbed power over acoustic power")
        group = file.create_group("balance")
        for name, values in heating.balance.items():
            put(group, name, values, "1", f"power {name} over acoustic power")
        group = file.create_group("steering")
        for name, values in heating.steering.items():
            put(group, name, values, "m" if name.endswith("_m") else "1",
                f"{name.removesuffix('_m')} of the map of focal gain in water")
