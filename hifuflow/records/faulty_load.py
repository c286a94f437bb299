"""Loads of an array with dead elements on the plant's mesh: `fem/load_dead_{count}_{seed}.h5`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifuflow.formats.hdf5 import create, open_artifact, put


@dataclass
class FaultyLoad:
    """What the foci heat while elements of the array do not radiate.

    Attributes
    ----------
    B : (n, n_foci), as of the plant's `BioheatModel` [W per W acoustic that is commanded].
    foci : (n_foci, 3) [m].
    """

    B: np.ndarray
    foci: np.ndarray

    def save(self, path, patient: str, config_sha256: str) -> None:
        with create(path, "faulty_load", patient, config_sha256) as file:
            put(file, "B", self.B, "W/W", "heating of each unknown per watt that is commanded")
            put(file, "foci", self.foci, "m", "focus of each input")

    @classmethod
    def load(cls, path) -> FaultyLoad:
        with open_artifact(path, "faulty_load") as file:
            return cls(file["B"][:], file["foci"][:])

    @classmethod
    def load_each(cls, paths) -> dict[str, FaultyLoad]:
        """COUNT_SEED -> load, of none (None, []), one (a path) or several files."""
        paths = [paths] if isinstance(paths, str) else paths or []
        return {Path(path).stem.removeprefix("load_dead_"): cls.load(path) for path in paths}
