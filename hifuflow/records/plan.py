"""Pose of the transducer and planned foci: `acoustics/plan.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hifuflow.job import read_json, write_json


@dataclass
class Plan:
    """Treatment plan: pose of the transducer and planned foci, `acoustics/plan.json`.

    While focus i is treated, the transducer's apex is at apex + apex_shift[i], with the same axis.
    In the transducer's frame at that time the focus lies at
    rotation.T @ (foci[i] - apex - apex_shift[i]). The shift is zero wherever electronic steering
    alone reaches the focus.

    Attributes
    ----------
    apex : (3,) centre of the transducer's bowl [m].
    axis : (3,) unit vector from the apex to the geometric focus.
    foci : (n_foci, 3) planned foci [m], in raster order.
    spacing_m : distance between neighbouring foci [m].
    apex_shift : (n_foci, 3) displacement of the transducer for each focus [m].
    focal_width_m, focal_length_m : of the focus in water, at half its pressure [m].
    coverage : fraction of the target that lies inside the foci's ellipsoids of these sizes.
    spread_coverage : the same for ellipsoids twice as wide, into which heat spreads by conduction.
    left_out : foci that were not planned: {"position_m", "reason"}.
    warnings : warnings for the user before a treatment, in words.
    switch_time_s, move_time_s : time to steer, and to move, to another focus [s].
    """

    apex: np.ndarray
    axis: np.ndarray
    foci: np.ndarray
    spacing_m: float
    apex_shift: np.ndarray | None = None
    focal_width_m: float = 0.0
    focal_length_m: float = 0.0
    coverage: float = 0.0
    spread_coverage: float = 0.0
    left_out: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    switch_time_s: float = 0.0
    move_time_s: float = 0.0

    NUMBERS: ClassVar = ("spacing_m", "focal_width_m", "focal_length_m", "coverage",
                         "spread_coverage", "switch_time_s", "move_time_s")

    def __post_init__(self):
        if self.apex_shift is None:
            self.apex_shift = np.zeros_like(self.foci)

    def save(self, path) -> None:
        """Write `plan.json`."""
        write_json(path, {"apex_m": self.apex.tolist(), "axis": self.axis.tolist(),
                          "foci_m": self.foci.tolist(), "apex_shift_m": self.apex_shift.tolist(),
                          "n_foci": len(self.foci),
                          **{name: getattr(self, name) for name in self.NUMBERS},
                          "left_out": self.left_out, "warnings": self.warnings})

    @classmethod
    def load(cls, path) -> Plan:
        """Read `plan.json`."""
        record = read_json(path)
        foci, shift = (np.array(record[name]).reshape(-1, 3)
                       for name in ("foci_m", "apex_shift_m"))
        return cls(np.array(record["apex_m"]), np.array(record["axis"]), foci,
                   apex_shift=shift, left_out=record["left_out"], warnings=record["warnings"],
                   **{name: record[name] for name in cls.NUMBERS})
