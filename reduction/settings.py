"""Settings of the reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hifuflow.settings import Written


@dataclass(frozen=True)
class ReductionSettings:
    """Settings of the reduction of one model.

    Attributes
    ----------
    order : number of states, or "auto" for the numerically minimal realization.
    tolerance : largest error allowed in the replayed treatment [K], from which the fewest states
        follow; None if `order` says.
    solver : of shifted systems: "auto", "direct" or "iterative", see `solvers.shifted_solver`.
    gramian_residual : relative residual of the Lyapunov equation at which the reachable space is
        complete.
    model : path of a reduced model made elsewhere, which is used instead; or None.
    max_power : power of the one focus heated at a time in the replayed treatment [W].
    written : the section `reduction` as written, for messages.
    """

    order: int | Literal["auto"]
    tolerance: float | None
    solver: str
    gramian_residual: float
    model: str | None
    max_power: float
    written: Written

    @classmethod
    def read(cls, section: dict) -> ReductionSettings:
        """Settings from the section of the rule `reduce`."""
        return cls(section["order"], section["tolerance_k"], section["solver"],
                   section["gramian_residual"], section["model"], section["max_power_w"],
                   Written(section["file"], "reduction", section))

    @classmethod
    def of_file(cls, file: str, order, tolerance: float | None) -> ReductionSettings:
        """Settings for a model file without a patient.

        All else is a patient file's default; the replayed treatment has 1 W.
        """
        return cls.read({"file": file, "order": order, "tolerance_k": tolerance, "solver": "auto",
                         "gramian_residual": 1e-12, "model": None, "max_power_w": 1.0})
