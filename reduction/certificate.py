"""Accuracy of a reduced model against the full model: `reduction/certificate.json`."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from hifuflow.errors import NumericalError
from hifuflow.job import log
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.outputs import Outputs

from .balance import Balanced, minimal_order
from .frequency import Sweep
from .low_rank import ModalModel, ReachableSpace
from .order import Truncation
from .settings import ReductionSettings

# Key for a model whose outputs are temperatures [K] and inputs powers [W] -> key for any other.
OWN_UNITS = {"hinf_norm_k_w": "hinf_norm", "max_output_error_k": "max_output_error",
             "replay_power_w": "replay_input", "balanced_k": "balanced", "modal_k": "modal",
             "reachable_space_k": "reachable_space"}


class Clock:
    """Stopwatch: wall-clock seconds of named steps.

    `with clock("replay"):` times one step. Steps may run side by side.
    """

    def __init__(self):
        self.seconds = {}
        self.start = time.perf_counter()

    @contextmanager
    def __call__(self, name: str):
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        log.debug("%s: %.2f s", name, self.seconds[name])

    def reached(self, name: str) -> None:
        """Record the seconds from the start of the clock to this point."""
        self.seconds[name] = self.total()

    def total(self) -> float:
        """Seconds since the start of the clock.

        They are less than the sum over steps that ran side by side.
        """
        return time.perf_counter() - self.start


@dataclass
class Findings:
    """Results of the steps of one reduction, filled in one by one.

    Attributes
    ----------
    model, settings : the full model, and how it is reduced.  clock : seconds of each step.
    interval : ends of the spectrum [1/s].  step : time step of the replayed treatment [s].
    space, modal, truncation, sweep : see their classes.
    projection : bound on the projection's error [K/W], `frequency.projection_bound`.
    comparison : errors of other reductions, `comparison.error_against_order`.
    """

    model: BioheatModel
    settings: ReductionSettings
    clock: Clock
    interval: tuple[float, float] = field(init=False)
    step: float = field(init=False)
    space: ReachableSpace = field(init=False)
    modal: ModalModel = field(init=False)
    truncation: Truncation = field(init=False)
    projection: float = field(init=False)
    comparison: dict = field(init=False)
    sweep: Sweep = field(init=False)

    @property
    def reduced(self) -> Balanced:
        """The reduced model."""
        return self.truncation.model


def error_bound(findings: Findings) -> np.ndarray:
    """(k,) bound [K/W] on the H-infinity error of each order, at every frequency.

    The sum of the truncation's (`order.Truncation.bound`: Enns' bound and rounding) and of the
    projection's (`frequency.projection_bound`).
    """
    return findings.truncation.bound() + findings.projection


def certificate(findings: Findings) -> dict:
    """The content of certificate.json.

    All outputs are temperatures [K] and all inputs powers [W], so the H-infinity norm and the
    Hankel singular values are in K/W. `hinf_norm_k_w`, `hinf_error_relative` and
    `projection_error_relative` are maxima over `n_frequencies` sampled frequencies;
    `hinf_bound_relative` and its parts `truncation_bound_relative` and
    `projection_bound_relative` hold at all frequencies (see `error_bound`). `seconds` has the
    duration of each step; `model_ready` and `total` count from the start. For a model from
    elsewhere, values are in the units of its outputs and inputs, and the keys name no unit
    (`OWN_UNITS`).

    Raises
    ------
    NumericalError : the reduced model is not stable, or its error exceeds its bound.
    """
    order, gain = len(findings.reduced.A), float(findings.sweep.gain.max())
    check_reduced_stable(order, findings.sweep.slowest)
    bound = float(error_bound(findings)[order - 1])
    check_bound(float(findings.sweep.error.max()), bound)
    outputs = findings.model.outputs
    return in_units_of(outputs, {
        "certified": True,
        "order": order,
        "full_order": len(findings.model.B),
        "reachable_order": len(findings.modal.rates),
        "minimal_order": minimal_order(findings.truncation.hsv),
        "n_frequencies": len(findings.sweep.gain),
        "hinf_norm_k_w": gain,
        "hinf_error_relative": float(findings.sweep.error.max()) / gain,
        "hinf_bound_relative": bound / gain,
        "truncation_bound_relative": float(findings.truncation.bound()[order - 1]) / gain,
        "projection_bound_relative": findings.projection / gain,
        "projection_error_relative": float(findings.sweep.projection.max()) / gain,
        "gramian_residual": float(findings.space.residual[-1]),
        "n_shifts": len(findings.space.shifts),
        "spectrum_per_s": [float(end) for end in findings.interval],
        "max_output_error_k": largest_by_kind(findings.truncation.error, outputs),
        "error_against_order": findings.comparison,
        "smallest_output_weight": float(findings.truncation.weights.min()),
        "replay_power_w": float(findings.settings.max_power),
        "replay_step_s": float(findings.step),
        "stable": True,
        "slowest_rate_per_s": -findings.sweep.slowest,
        "seconds": {**findings.clock.seconds, "total": findings.clock.total()},
        "peak_memory_bytes": 1024 * max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)),
    })


def check_reduced_stable(order: int, slowest: float) -> None:
    """Refuse a reduced model with an eigenvalue of real part `slowest` [1/s] that grows."""
    if not slowest < 0:
        raise NumericalError(f"the reduced model of order {order} is not stable: an eigenvalue "
                             f"has the real part {slowest:.3e} 1/s")


def check_bound(error: float, bound: float) -> None:
    """Refuse to certify an H-infinity error above its own bound."""
    if not error <= bound:
        raise NumericalError(f"the reduced model is off by {error:.3e}, more than its bound of "
                             f"{bound:.3e}: the reduction went wrong, or rounding alone changes "
                             "this model as much")


def largest_by_kind(error, outputs: Outputs) -> dict:
    """Kind of output -> its largest error, from (p,) errors."""
    return {str(kind): float(error[outputs.kind == kind].max())
            for kind in np.unique(outputs.kind)}


def in_units_of(outputs: Outputs, record):
    """The record with keys that name its units: K and W, or none for a model from elsewhere."""
    if outputs.temperatures or not isinstance(record, dict):
        return record
    return {OWN_UNITS.get(key, key): in_units_of(outputs, value) for key, value in record.items()}
