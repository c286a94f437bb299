"""A controller of your own: power in proportion to the temperature that is missing."""

from dataclasses import dataclass

import numpy as np

from hifuflow.controller.methods.base import Controller
from hifuflow.controller.methods.limits import Limits, Margins
from hifuflow.controller.methods.option import option

WANTED = 55.0  # degC, at which 240 CEM43 take 3.5 s


@dataclass(frozen=True)
class GentleOptions:
    """Options of the controller `gentle`."""

    gain: float = option(0.3, "Power for each kelvin that a focus's untreated voxels lack on "
                         "average.", "w_k", above=0, at_most=10)


class Gentle(Controller):
    """Proportional controller: each focus serves the target voxels nearest to it."""

    Options = GentleOptions

    def __init__(self, model, prescription, options):
        super().__init__(model, prescription, options)
        voxels = model.outputs.position[model.outputs.target]
        distance = np.linalg.norm(voxels[:, None] - model.foci, axis=2)
        self.served = distance.argmin(axis=1)[:, None] == np.arange(len(model.foci))
        self.limits = Limits(model, prescription.max_power, 85.0, Margins(0.02, 1.5, 0.1))

    def decide(self, estimate):
        untreated = estimate.target_dose < self.prescription.dose
        lacks = np.where(untreated, np.maximum(WANTED - estimate.target_temperature, 0.0), 0.0)
        count = np.maximum(untreated @ self.served, 1)
        return self.limits.allowed(self.options.gain * (lacks @ self.served) / count, estimate)
