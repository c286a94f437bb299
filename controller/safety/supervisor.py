"""Supervisor between controller and patient: power only where it may be given.

Power is off, whatever the controller wants,

- until the first valid image, and while the last one was acquired longer ago than `max_gap`;
- while an estimate is not finite;
- while a valid image shows the target hotter than `max_target`, or a constraint point hotter than
  its limit by more than `hard_excess`;
- while the images cannot be believed or the patient does not answer as the model says (`watch`);
- for a sample in which the controller fails (any exception), decides too late, or commands what it
  must not: what is not a finite, non-negative power for each focus, or more than full power in all.

When power has been held off for `abort_after` without a break the treatment is aborted; at once
where waiting cannot help. The controller is not asked while power is held off.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable

import numpy as np

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.failure import failure
from hifuflow.controller.imaging import Image
from hifuflow.controller.settings import SafetySettings
from hifuflow.job import log

from .finding import NOTHING, Finding


class Supervisor:
    """Supervisor of a treatment: checks every image, estimate and command.

    Parameters
    ----------
    settings : see `SafetySettings`.
    limit : (n_m,) of the measured constraint points [degC]; NaN in the target.
    n_foci : number of foci.  max_power : full power [W].
    note : takes the text of an event.

    Attributes
    ----------
    reason : why power is held off; "" while it is allowed.
    """

    def __init__(self, settings: SafetySettings, limit: np.ndarray, n_foci: int,
                 max_power: float, note: Callable[[str], None]):
        self._settings, self._note = settings, note
        self._in_target = np.isnan(limit)
        self._highest = np.where(self._in_target, settings.max_target,
                                 limit + settings.hard_excess)
        self._off, self._max_power = np.zeros(n_foci), max_power
        self._last_valid: float | None = None
        self._held_since, self.reason = 0.0, ""
        self._judged: tuple[float, str] = (-1.0, "")

    def holds(self, estimate: Estimate, image: Image, finding: Finding = NOTHING) -> bool:
        """Whether power must be off at this sample whatever the controller wants.

        Parameters
        ----------
        image : with which the estimate was made.
        finding : what `watch` found in it.
        """
        fault = self._unsafe(estimate, image, finding)
        self._judged = (estimate.time, fault)
        return bool(fault)

    def command(self, estimate: Estimate, image: Image, decide: Callable[[Estimate], np.ndarray],
                finding: Finding = NOTHING) -> tuple[str, np.ndarray]:
        """("" or "aborted", (n_foci,) power of this sample [W]).

        Parameters
        ----------
        image, finding : see `holds`.
        decide : the controller.
        """
        if self._judged[0] != estimate.time:
            self.holds(estimate, image, finding)
        power, fault = self._off, self._judged[1]
        if not fault:
            fault, power = self._asked(estimate, decide)
        if fault and not self.reason:
            self._held_since = estimate.time
        if fault and fault != self.reason:
            self._note(fault)
        elif self.reason and not fault:
            self._note("power allowed again")
        self.reason = fault
        too_long = bool(fault) and estimate.time - self._held_since >= self._settings.abort_after
        return ("aborted" if too_long or finding.final else ""), power

    def _unsafe(self, estimate: Estimate, image: Image, finding: Finding) -> str:
        """Why no power may be given, whatever the command; "" if it may."""
        measured = image.temperature
        if estimate.valid:
            self._last_valid = image.acquired
        if finding.reason:  # first: what is measured now need not be true
            return finding.reason
        if estimate.valid:
            hot = np.flatnonzero(measured > self._highest)  # what is not measured is not hot
            if len(hot):
                worst = hot[(measured[hot] - self._highest[hot]).argmax()]
                return ("the target" if self._in_target[worst] else "normal tissue") \
                    + " is measured too hot"
        if self._last_valid is None:
            return "no valid thermometry yet" + finding.because
        if estimate.time - self._last_valid > self._settings.max_gap:
            return "no valid thermometry" + finding.because
        known = (estimate.state, estimate.constraint_temperature, estimate.target_temperature)
        return "" if all(np.isfinite(part).all() for part in known) else "no finite estimate"

    def _asked(self, estimate: Estimate, decide) -> tuple[str, np.ndarray]:
        """What the controller commands, if it may; otherwise why not, and power off."""
        started = clock.perf_counter()
        try:
            power = np.array(decide(estimate), dtype=float)
        except (Exception, SystemExit) as error:  # the patient must not be heated blindly
            fault = f"the controller failed: {failure(error)}"
            if fault != self.reason:
                log.warning("the controller failed", exc_info=True)
            return fault, self._off
        took = clock.perf_counter() - started
        if took > self._settings.max_decision:
            return "the controller's decision comes too late", self._off
        broken = self._broken(power)
        return (f"the controller's command is invalid: {broken}", self._off) if broken else (
            "", power)

    def _broken(self, power: np.ndarray) -> str:
        """What a command breaks of its contract, "" if nothing."""
        if power.shape != self._off.shape:
            return f"not one power for each of {len(self._off)} foci"
        if not np.isfinite(power).all():
            return "not finite"
        if (power < 0).any():
            return "negative"
        return "above full power" if power.sum() > self._max_power * (1 + 1e-9) else ""
