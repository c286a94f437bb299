"""What stands between controller and patient: power only where it may be given.

Power is off, whatever the controller wants,

- while the last valid image is older than `max_gap`, or an estimate is not finite;
- while a valid image shows the target hotter than `max_target`, or a constraint point hotter than
  its limit by more than `hard_excess`;
- for a sample in which the controller fails (any exception) or commands what it must not: what is
  not a finite, non-negative power for each focus, or more than full power in all.

When power has been held off for `abort_after` without a break the treatment is aborted. The
controller is not asked while power is held off.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hifuflow.controller.estimation.kalman import Estimate
from hifuflow.job import log

from .settings import SafetySettings


class Supervisor:
    """Checks every sample and every command.

    Parameters
    ----------
    settings : see `SafetySettings`.
    limit : (n_m,) of the measured constraint points [degC]; NaN in the target.
    n_foci : number of foci.  max_power : full power [W].
    note : takes the text of an event.
    """

    def __init__(self, settings: SafetySettings, limit: np.ndarray, n_foci: int,
                 max_power: float, note: Callable[[str], None]):
        self._settings, self._note = settings, note
        self._in_target = np.isnan(limit)
        self._highest = np.where(self._in_target, settings.max_target,
                                 limit + settings.hard_excess)
        self._off, self._max_power = np.zeros(n_foci), max_power
        self._last_valid, self._held_since, self._fault = 0.0, 0.0, ""

    def command(self, estimate: Estimate, measured: np.ndarray,
                decide: Callable[[Estimate], np.ndarray]) -> tuple[str, np.ndarray]:
        """("" or "aborted", (n_foci,) power of this sample [W]).

        Parameters
        ----------
        measured : (n_m,) the image that the estimate was made with [degC].
        decide : the controller.
        """
        power = self._off
        fault = self._unsafe(estimate, measured)
        if not fault:
            fault, power = self._asked(estimate, decide)
        if fault and not self._fault:
            self._held_since = estimate.time
        if fault and fault != self._fault:
            self._note(fault)
        elif self._fault and not fault:
            self._note("power allowed again")
        self._fault = fault
        held = bool(fault) and estimate.time - self._held_since >= self._settings.abort_after
        return ("aborted" if held else ""), power

    def _unsafe(self, estimate: Estimate, measured: np.ndarray) -> str:
        """Why no power may be given, whatever the command; "" if it may."""
        if estimate.valid:
            self._last_valid = estimate.time
            hot = np.flatnonzero(measured > self._highest)  # what is not measured is not hot
            if len(hot):
                worst = hot[(measured[hot] - self._highest[hot]).argmax()]
                return ("the target" if self._in_target[worst] else "normal tissue") \
                    + " is measured too hot"
        elif estimate.time - self._last_valid > self._settings.max_gap:
            return "no valid thermometry"
        known = (estimate.state, estimate.constraint_temperature, estimate.target_temperature)
        return "" if all(np.isfinite(part).all() for part in known) else "no finite estimate"

    def _asked(self, estimate: Estimate, decide) -> tuple[str, np.ndarray]:
        """What the controller commands, if it may; otherwise why not, and power off."""
        try:
            power = np.array(decide(estimate), dtype=float)
        except Exception as error:  # whatever it is, the patient must not be heated blindly
            log.warning("the controller failed", exc_info=True)
            return f"the controller failed: {type(error).__name__}: {error}", self._off
        sound = (power.shape == self._off.shape and np.isfinite(power).all()
                 and (power >= 0).all() and power.sum() <= self._max_power * (1 + 1e-9))
        return ("", power) if sound else ("the controller's command is invalid", self._off)
