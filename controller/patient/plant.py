"""Simulated patient: the full finite-element model under piecewise constant power.

Time is cut into blocks of a few samples. Within a block that starts from x0, superposition gives

    x(t) = x0 + r(t) + sum_k s(t - t_k) (u_k - u_{k-1}),

with r the step response to the load -K x0 and s_j that of focus j at 1 W. Both come from
`krylov.StepResponseSolver`: exact in time up to its tolerance, whatever the length of a sample.
The s_j are computed once, when a focus is first used; r costs some eight solves per block.
"""

from __future__ import annotations

import math

import numpy as np

from hifuflow.controller.dose import cem43_smooth
from hifuflow.records.bioheat_model import BioheatModel

from .coldest import Coldest
from .krylov import StepResponse, StepResponseSolver
from .voxel_history import VoxelHistory

SAMPLES_PER_BLOCK = 20


class HeatedPatient:
    """Simulated patient that is heated, and what a perfect observer would see in it.

    Parameters
    ----------
    model : the full model.
    interval : length of a sample, during which the power is constant [s].
    substep : largest step for thermal dose and peak temperature within a sample [s]; an even
        number of them makes a sample.
    highest : temperature that nothing exceeds [degC].

    Attributes
    ----------
    temperature : (p,) outputs now [degC].
    target_dose : (n_v,) thermal dose of the target voxels so far [CEM43 min].
    voxels : peak temperature and dose of the whole body, `VoxelHistory`.
    coldest : lowest temperatures so far, `Coldest`.
    """

    def __init__(self, model: BioheatModel, interval: float, substep: float,
                 highest: float = np.inf):
        self._model = model
        self._interval = interval
        self._substeps = 2 * max(1, math.ceil(interval / (2 * substep) - 1e-9))
        self._state = np.zeros(len(model.baseline))
        self._sample = SAMPLES_PER_BLOCK
        self.temperature = model.outputs.baseline.copy()
        self.target_dose = np.zeros(int(model.outputs.target.sum()))
        self._highest = highest
        self.voxels = VoxelHistory(model, highest)
        self.coldest = Coldest(model)

    @property
    def state(self) -> np.ndarray:
        """(n,) temperature rise of the unknowns now [K]."""
        return self._state

    @property
    def mean_temperature(self) -> np.ndarray:
        """(p,) like `temperature`, but in the target the mean over each voxel [degC]."""
        return self._capped(self._model.C_mean @ self._state + self._model.outputs.mean_baseline)

    @property
    def node_temperature(self) -> np.ndarray:
        """(n,) temperature of the unknowns now [degC]."""
        return self._state + self._model.baseline

    def advance(self, power: np.ndarray) -> None:
        """One sample with constant power per focus (n_foci,) [W]."""
        if self._sample == SAMPLES_PER_BLOCK:
            self.coldest.watch(self.temperature, self.voxels.refresh_peak(self._state))
            self._begin_block()
            self._sample = 0
        step = self._interval / self._substeps
        states = self._states_within(power, step * np.arange(1, self._substeps + 1))
        self._observe(states, step)
        self.voxels.update(self._state, states, step)
        self._state = states[:, -1]
        self._sample += 1

    def _begin_block(self) -> None:
        """Prepare for the next `SAMPLES_PER_BLOCK` samples."""

    def _states_within(self, power: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, n_times) states at times since the start of a sample, the last at its end [K]."""
        raise NotImplementedError

    def _observe(self, states: np.ndarray, step: float) -> None:
        outputs = self._model.outputs
        rise = self._model.C @ states
        temperature = self._capped(rise + outputs.baseline[:, None])
        self.coldest.watch(temperature, rise, states)
        path = np.column_stack([self.temperature, temperature])[outputs.target].T
        self.target_dose = self.target_dose + cem43_smooth(path, step)
        self.temperature = temperature[:, -1]

    def _capped(self, temperature: np.ndarray) -> np.ndarray:
        """Between nodes, quadratic shape functions can exceed what no node does."""
        return np.minimum(temperature, self._highest)


class Plant(HeatedPatient):
    """Simulated patient with constant tissue properties.

    Parameters
    ----------
    model, interval, substep : see `HeatedPatient`.
    max_power : highest power, to which `tolerance` refers [W].
    tolerance : largest temperature error of one step response [K].
    """

    def __init__(self, model: BioheatModel, interval: float, substep: float, max_power: float,
                 tolerance: float = 1e-3):
        super().__init__(model, interval, substep)
        self._max_power = max_power
        self._solver = StepResponseSolver(model.E, model.K, SAMPLES_PER_BLOCK * interval,
                                          tolerance)
        self._foci: dict[int, StepResponse] = {}

    def _begin_block(self) -> None:
        self._start = self._state
        self._relaxation = self._solver.response(-(self._model.K @ self._start))
        self._power = np.zeros(self._model.B.shape[1])
        self._switches: dict[int, list] = {}

    def _states_within(self, power, times) -> np.ndarray:
        for focus in np.flatnonzero(power != self._power):
            change = power[focus] - self._power[focus]
            self._switches.setdefault(int(focus), []).append((self._sample, change))
        self._power = np.array(power, dtype=float)
        return self._states(self._sample * self._interval + times)

    def _states(self, times: np.ndarray) -> np.ndarray:
        """(n, n_times) states at times since the start of the block."""
        bases, coefficients = [self._relaxation.basis], [self._relaxation.coefficients(times)]
        for focus, switches in self._switches.items():
            response = self._focus(focus)
            bases.append(response.basis)
            coefficients.append(sum(change / self._max_power
                                    * response.coefficients(times - sample * self._interval)
                                    for sample, change in switches))
        states = np.repeat(self._start[:, None], len(times), axis=1)
        for basis, values in zip(bases, coefficients, strict=True):
            states += basis @ values
        return states

    def _focus(self, focus: int) -> StepResponse:
        """Step response of a focus at full power."""
        if focus not in self._foci:
            self._foci[focus] = self._solver.response(self._max_power
                                                      * self._model.B[:, focus])
        return self._foci[focus]
