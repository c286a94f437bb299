"""Mild hyperthermia: the target is held at a temperature for a time, e.g. for heat-triggered
release of a drug.

Each sample, the powers p >= 0 that, held over the horizon, bring the target closest to the
temperature T* in the mean over its volume,

    min sum_k ( sum_v w_v (T_v(t_k) - T*)^2 + m (sum_v w_v T_v(t_k) - T*)^2 ) + ridge |p - p*|^2,

m large, by non-negative least squares on the reduced model; p* are the powers that do so in steady
state. They are cut down to what the limits allow (`limits`). The time counts from when the target's
mean is within `tolerance_k` of T*.

A mean of 42.0 +- 0.6 degC, with 10 % and 90 % of the volume above 43.1 and 40.9 degC, is
what a clinical system reached in eleven subjects (Tillander et al. 2016).
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
from scipy.optimize import nnls

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.metrics import dose_to_fraction
from hifuflow.controller.prediction import BlockModel, DiscreteModel
from hifuflow.records.trajectory import Trajectory
from hifuflow.settings import Prescription

from .base import Controller
from .limits import LIMIT_ERROR, Limits, Margins
from .options import HyperthermiaOptions

TIMES = 3  # in the horizon at which the temperature is judged
MEAN = 30.0  # m
RIDGE = 0.01  # of the mean eigenvalue of the least squares
SHARES = {"held_t90_c": 0.9, "held_t50_c": 0.5, "held_t10_c": 0.1}  # of the volume, at least so hot


class HyperthermiaController(Controller):
    """Hyperthermia controller: holds the mean temperature of the target for a time."""

    Options = HyperthermiaOptions

    def __init__(self, model: DiscreteModel, prescription: Prescription,
                 options: HyperthermiaOptions):
        super().__init__(model, prescription, options)
        outputs = model.outputs
        volume = outputs.volume[outputs.target]
        self._weight, self._wanted = volume / volume.sum(), options.temperature
        self._limits = Limits(model, prescription.max_power, options.max_target,
                              Margins(options.margin, options.confidence, options.heating_margin))
        self._modal = BlockModel(model, LIMIT_ERROR).part(np.flatnonzero(outputs.target))
        rate, inputs = self._modal.rate[:, None], self._modal.input
        last = max(TIMES, round(options.horizon / model.interval))
        counts = np.linspace(last / TIMES, last, TIMES).round().astype(int)
        self._decays = [self._modal.decay(count)[:, None] for count in counts]
        self._responses = [self._modal.outputs((1 - decay) / (1 - rate) * inputs).astype(float)
                           for decay in self._decays]
        square = sum(response.T @ self._weighted(response) for response in self._responses)
        self._ridge = RIDGE * np.trace(square) / len(square)
        self._factor = la.cholesky(square + self._ridge * np.eye(len(square)))
        lasting = self._modal.outputs(inputs / (1 - rate)).astype(float)
        rise = self._weighted(self._wanted - outputs.baseline[outputs.target])
        square, wanted = lasting.T @ self._weighted(lasting), lasting.T @ rise
        factor = la.cholesky(square + RIDGE ** 2 * np.trace(square) / len(square)
                             * np.eye(len(square)))
        self._lasting = nnls(factor, la.solve_triangular(factor, wanted, trans="T"))[0]
        self._began: float | None = None

    def decide(self, estimate: Estimate) -> np.ndarray:
        mean = self._weight @ estimate.target_temperature
        if self._began is None and mean > self._wanted - self.options.tolerance:
            self._began = estimate.time
            self.note(f"the target is at {mean:.1f} degC: its time begins")
        state = self._modal.modal(estimate.state)[:, None]
        offset = estimate.target_temperature - self._modal.outputs(state)[:, 0]
        wanted = self._ridge * self._lasting
        for decay, response in zip(self._decays, self._responses, strict=True):
            free = self._modal.outputs(decay * state)[:, 0] + offset
            wanted = wanted + response.T @ self._weighted(self._wanted - free)
        planned, _ = nnls(self._factor, la.solve_triangular(self._factor, wanted, trans="T"))
        return self._limits.allowed(planned, estimate)

    def finished(self, estimate: Estimate) -> bool:
        return (self._began is not None
                and estimate.time - self._began >= self.options.hold - 1e-9)

    def metrics(self, trajectory: Trajectory) -> dict:
        """The held temperature in truth, as means over the time that it was held: of the volume's
        mean, and of what 90 %, 50 % and 10 % of the volume are above; and the part of that time
        in which the mean was within `window_k` of the temperature."""
        if self._began is None:
            return {**dict.fromkeys(["held_from_s", "held_mean_c", *SHARES,
                                     "time_in_window_fraction"]), "held_s": 0.0}
        last = np.flatnonzero(trajectory.power.sum(axis=1) > 0)[-1]
        end = trajectory.t[min(last + 1, len(trajectory.t) - 1)]  # it acts until the next sample
        rows = trajectory.target_temperature[(trajectory.t >= self._began) & (trajectory.t <= end)]
        mean = rows @ self._weight
        shares = {name: float(np.mean([dose_to_fraction(row, self._weight, part) for row in rows]))
                  for name, part in SHARES.items()}
        inside = np.abs(mean - self._wanted) <= self.options.window
        return {"held_from_s": self._began, "held_s": float(end - self._began),
                "held_mean_c": float(mean.mean()), **shares,
                "time_in_window_fraction": float(inside.mean())}

    def _weighted(self, values: np.ndarray) -> np.ndarray:
        """W values (n_v, ...), with W = diag(w) + m w w'."""
        mean = MEAN * (self._weight @ values)
        return (self._weight * (values + mean).T).T
