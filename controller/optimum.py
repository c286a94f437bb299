"""A yardstick for controllers: the shortest treatment that an offline search can find.

It is a plan as `mintime` makes one, improved for longer than a treatment would wait for it, with
no margin and no doubt, and carried out as it is: no image changes its powers, the estimate only
ends it. What it knows is the reduced model; the finer patient shows how far that carries. The
result is an upper bound of the model's least time, not a proof: the problem is not convex. Nobody
should be treated like this.
"""

from __future__ import annotations

import math

import numpy as np

from .base import Controller
from .estimator import Estimate
from .limits import LIMIT_ERROR, Limits
from .planning import Goal
from .prediction import DiscreteModel
from .preparation import first_plan
from .settings import Prescription


class Optimum(Controller):
    """Powers of a plan that never changes; options as in the patient schema.

    Attributes
    ----------
    power : (n, n_foci) acoustic power [W], sample by sample.
    """

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: dict):
        super().__init__(model, prescription, options)
        outputs, points = model.outputs, model.outputs.constraint
        # A plan has four blocks at least.
        samples = max(1, round(min(options["block_s"], options["horizon_s"] / 4) / model.interval))
        block = samples * model.interval
        limits = Limits(model, LIMIT_ERROR, options["max_target_c"], prescription.max_power)
        highest = limits.temperature(None, options["horizon_s"])
        room = np.where(outputs.soft[points], outputs.limit[points], highest)
        goal = Goal(prescription.dose, room - outputs.baseline[points], ~outputs.soft[points],
                    options["max_target_c"], prescription.max_power,
                    math.ceil(options["coast_s"] / block))
        theta, _, _ = first_plan(model, samples, goal,
                                 (options["first_coverage"], prescription.coverage),
                                 options["rounds"], int(options["horizon_s"] / block))
        power = np.repeat(theta ** 2, samples, axis=0)
        # Full power is a soft limit of the plan.
        self.power = power * np.minimum(1.0, prescription.max_power / np.maximum(
            power.sum(axis=1, keepdims=True), 1e-9))
        self._end = len(self.power) * model.interval + options["coast_s"]

    def decide(self, estimate: Estimate) -> np.ndarray:
        self.unreachable = estimate.time >= self._end
        sample = round(estimate.time / self.model.interval)
        return self.power[sample] if sample < len(self.power) else np.zeros(self.power.shape[1])
