"""Meaning of the rows of y = C x: the group `outputs` of models and trajectories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.formats.hdf5 import get_text, put


@dataclass
class Outputs:
    """Meaning of the rows of y = C x: constraint points first, then target voxels.

    Attributes
    ----------
    kind : (p,) str, "constraint" or "target"; "output" in a model from elsewhere.
    position : (p, 3) [m].
    volume : (p,) [m3]; 0 for constraint points.
    baseline : (p,) [degC], the temperature at x = 0.
    limit : (p,) [degC]; NaN on the target.
    name : (p,) str, the constraint that a point belongs to; "" on the target.
    region : (p,) str, the region that it lies in.
    dose_limit : (p,) highest allowed dose [CEM43 min]; NaN where there is none.
    soft : (p,) bool, limits that are desired but may be exceeded.
    mean_baseline : (p,) [degC], mean of the baseline over a target voxel; at points the baseline.
    """

    kind: np.ndarray
    position: np.ndarray
    volume: np.ndarray
    baseline: np.ndarray
    limit: np.ndarray
    name: np.ndarray | None = None
    region: np.ndarray | None = None
    dose_limit: np.ndarray | None = None
    soft: np.ndarray | None = None
    mean_baseline: np.ndarray | None = None

    def __post_init__(self):
        p = len(self.kind)
        if self.mean_baseline is None:
            self.mean_baseline = self.baseline
        for field_name, absent in (("name", ""), ("region", ""), ("dose_limit", np.nan),
                                   ("soft", False)):
            if getattr(self, field_name) is None:
                setattr(self, field_name, np.full(p, absent))

    @property
    def temperatures(self) -> bool:
        """Whether the rows are temperatures [K]; a model from elsewhere has other units."""
        return not np.any(self.kind == "output")

    @property
    def unit(self) -> str:
        """Unit behind a number in a message: " K", or empty where it is not known."""
        return " K" if self.temperatures else ""

    @property
    def constraint(self) -> np.ndarray:
        """(p,) bool: rows that are constraint points."""
        return self.kind == "constraint"

    @property
    def target(self) -> np.ndarray:
        """(p,) bool: rows that are target voxels."""
        return self.kind == "target"

    @property
    def hard_limit(self) -> np.ndarray:
        """(p,) limits that must be kept [degC]; infinite where they are soft."""
        return np.where(self.soft, np.inf, self.limit)

    def write(self, file) -> None:
        """Write the group `outputs` of a model's or trajectory's file."""
        group = file.create_group("outputs")
        put(group, "kind", self.kind.astype(str), "1", "constraint or target")
        put(group, "position", self.position, "m", "where the temperature is taken")
        put(group, "volume", self.volume, "m3", "volume of the target voxel, 0 for constraints")
        put(group, "baseline", self.baseline, "degC", "temperature at x = 0")
        put(group, "limit", self.limit, "degC", "highest allowed temperature, NaN on the target")
        put(group, "name", self.name.astype(str), "1", "constraint that a point belongs to")
        put(group, "region", self.region.astype(str), "1", "region that it lies in")
        put(group, "dose_limit", self.dose_limit, "min", "highest allowed CEM43, NaN for none")
        put(group, "soft", self.soft, "1", "whether the limit may be exceeded")
        put(group, "mean_baseline", self.mean_baseline, "degC",
            "temperature at x = 0, mean over the target voxel")

    @classmethod
    def read(cls, file) -> Outputs:
        """Read the group `outputs` of a model's or trajectory's file."""
        group = file["outputs"]
        # Models from elsewhere need not name regions and constraints.
        further = {name: get_text(group[name]) for name in ("name", "region") if name in group}
        further |= {name: group[name][:] for name in ("dose_limit", "soft", "mean_baseline")
                    if name in group}
        return cls(get_text(file["outputs/kind"]), *(file[f"outputs/{name}"][:] for name in (
            "position", "volume", "baseline", "limit")), **further)
