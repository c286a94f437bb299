"""A yardstick for controllers: the shortest treatment that an offline search can find.

It is a plan as `mintime` makes one, improved for longer than a treatment would wait for it, with
no margin, and carried out as it is: no image changes its powers, the estimate only
ends it. What it knows is the reduced model; the finer patient shows how far that carries. The
result is an upper bound of the model's least time, not a proof: the problem is not convex. Nobody
should be treated like this.
"""

from __future__ import annotations

import math

import numpy as np

from hifuflow.controller.dose import cem43, covered
from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.model_difference import predicted_temperature
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.settings import Prescription

from .base import Controller
from .first_plan import first_plan
from .limits import Limits, Margins
from .options import OptimumOptions
from .planning import Goal

# Of the prescribed dose, tried one after the other where full power bounds the plan: heating for
# longer at less power brings less dose.
DOSE_FACTORS = (1.0, 1.5, 2.5, 5.0)
ENOUGH = 0.995  # of the prescribed coverage, by the model: what a little less power may cost


class Optimum(Controller):
    """Yardstick for controllers: the powers of a plan that never changes.

    Attributes
    ----------
    power : (n, n_foci) acoustic power [W], sample by sample.
    """

    Options = OptimumOptions
    yardstick = True

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: OptimumOptions):
        super().__init__(model, prescription, options)
        outputs = model.outputs
        # A plan has four blocks at least.
        samples = max(1, round(min(options.block, options.horizon / 4) / model.interval))
        block = samples * model.interval
        room = Limits(model, prescription.max_power, options.max_target,
                      Margins(0.0, 0.0, 0.0)).room(None, options.horizon)
        for factor in DOSE_FACTORS:
            goal = Goal(factor * prescription.dose, room, ~outputs.soft[outputs.constraint],
                        options.max_target, prescription.max_power,
                        math.ceil(options.coast / block))
            theta, _, _ = first_plan(model, samples, goal,
                                     (options.first_coverage, prescription.coverage),
                                     options.rounds, int(options.horizon / block))
            if self._adopted(theta ** 2, samples):
                break
        self._end = len(self.power) * model.interval + options.coast

    def _adopted(self, power: np.ndarray, samples: int) -> bool:
        """Carry out a plan (N, n_foci) with blocks of so many samples; False if full power keeps
        it from the dose.

        Full power is a soft limit of plans: what exceeds it is left out or, where that brings too
        little dose, takes longer.
        """
        excess = np.maximum(1.0, power.sum(axis=1) / self.prescription.max_power)
        for longer in (np.ones_like(excess), excess):
            length = np.ceil(samples * longer - 1e-9).astype(int)
            self.power = np.repeat(power * (longer / excess * samples / length)[:, None], length,
                                   axis=0)
            if self._treated() >= ENOUGH * self.prescription.coverage:
                return True
        return not (excess > 1).any()

    def _treated(self) -> float:
        """Fraction of the target that has the dose after cooling, by the model."""
        model, outputs = self.model, self.model.outputs
        cooling = round(self.options.coast / model.interval) + 1
        power = np.vstack([self.power, np.zeros((cooling, self.power.shape[1]))])
        temperature = predicted_temperature(model, power)[:, outputs.target]
        dose = cem43(temperature[:-1], temperature[1:], model.interval).sum(axis=0)
        return covered(dose, self.prescription.dose, outputs.volume[outputs.target])

    def decide(self, estimate: Estimate) -> np.ndarray:
        self.unreachable = estimate.time >= self._end
        sample = round(estimate.time / self.model.interval)
        return self.power[sample] if sample < len(self.power) else np.zeros(self.power.shape[1])
