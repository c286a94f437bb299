"""What the configuration says of the reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hifuflow.settings import Written


@dataclass(frozen=True)
class ReductionSettings:
    """How a model is reduced.

    Attributes
    ----------
    order : number of states, or "auto": the numerically minimal realization.
    tolerance : largest error in the replayed treatment [K] with which the fewest states are
        sought, or None: by the order.
    solver : of shifted systems, "auto", "direct" or "iterative", see `solvers.shifted_solver`.
    gramian_residual : relative residual of the Lyapunov equation at which the reachable space is
        complete.
    model : path of a reduced model made elsewhere, that is used as it is; or None.
    max_power : into the one focus that is heated in the replayed treatment [W].
    written : the section `reduction`.
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
        """From the section of the rule `reduce`."""
        return cls(section["order"], section["tolerance_k"], section["solver"],
                   section["gramian_residual"], section["model"], section["max_power_w"],
                   Written(section["file"], "reduction", section))

    @classmethod
    def of_file(cls, file: str, order, tolerance: float | None) -> ReductionSettings:
        """For a model file without a patient: all else as a patient file has it by default, and
        1 W in the replayed treatment."""
        return cls.read({"file": file, "order": order, "tolerance_k": tolerance, "solver": "auto",
                         "gramian_residual": 1e-12, "model": None, "max_power_w": 1.0})
