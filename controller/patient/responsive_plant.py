"""Simulated patient whose tissue responds to heat.

    rho c dT/dt = div(k(T, D) grad T) - w(T, D) (T - T_a) + a(T, D) Q,   T at most the boiling point

k, w and a are those of the model times factors: of temperature by a curve per region (1 at the
temperature before treatment, which thus stays steady), and of the coagulated fraction
c = 1 - exp(-D / D_c) of tissue with the thermal dose D: first-order kinetics, as in the Arrhenius
integral; coagulated tissue is not perfused. Heat above the boiling point goes into steam.

Conduction and perfusion are constant in a cell, with the mean factor of its nodes; the absorbed
power of a node is scaled by the factor there.

Time steps are those of the Rosenbrock method ROS2, second order with any approximate Jacobian,
L-stable with the exact one:

    (E + g h J) k1 = F(x, D),   (E + g h J) k2 = F(x + h k1, D + h D') - 2 E k1,
    x+ = x + 3/2 h k1 + 1/2 h k2,   g = 1 - sqrt(1/2),

here with one J for the whole treatment, K with each region's highest conductivity: where the true
one is lower, the stiffest modes are still not amplified. Dose goes along (Heun's rule, which is
what the method becomes for J = 0). Every step of length 2 h is compared with two of
h: the difference controls h, and is used to extrapolate. Power switches between samples only, so
no step reaches across a switch. Source: J. G. Verwer, E. J. Spee, J. G. Blom, W. Hundsdorfer, A
second-order Rosenbrock method applied to photochemical dispersion problems, SIAM J. Sci. Comput.
20 (1999).
"""

from __future__ import annotations

import numpy as np

from hifuflow.controller.dose import SECONDS_PER_MINUTE, cem43_rate
from hifuflow.errors import NumericalError
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.records.bioheat_model import BioheatModel

from .plant import HeatedPatient
from .tissue_response import TissueResponse

GAMMA = 1 - np.sqrt(0.5)
FINEST = 2**10  # a sample is cut into at most so many pairs of steps
NODE_SHARE = np.full(10, 0.1)  # of each node in a cell's mean
GROW = 16  # steps get twice as long when the error is this much below the tolerance


class ResponsivePlant(HeatedPatient):
    """Simulated patient whose tissue properties follow temperature and coagulation.

    Parameters
    ----------
    model : the full model, with its cells.
    interval, substep : see `HeatedPatient`.
    response : how the tissue responds.
    tolerance : largest estimated error of one pair of steps, before extrapolation [K]; that left
        after it was a fifth or less of this in focused pulses.
    """

    def __init__(self, model: BioheatModel, interval: float, substep: float,
                 response: TissueResponse, tolerance: float = 0.1):
        super().__init__(model, interval, substep, response.boiling)
        cells = model.cells
        self._response, self._tolerance = response, tolerance
        self._baseline = np.concatenate([model.baseline, cells.held_baseline])
        self._conductivity = cells.share * cells.conductivity
        self._perfusion = cells.share * cells.perfusion
        self._at_rest = response.factors(self._baseline, np.zeros(cells.n_nodes))
        self._dose = np.zeros(cells.n_nodes)
        self._jacobian = model.K + cells.stiffness(
            self._conductivity @ (response.highest_conductivity - 1),
            np.zeros(len(cells.nodes)))[:len(model.baseline), :len(model.baseline)]
        self._parts = 1
        self._state = np.zeros(len(model.baseline))
        self._solvers: dict[float, ShiftedSolver] = {}

    @property
    def state(self) -> np.ndarray:
        return self._state

    def advance(self, power) -> None:
        states = self._states_within(power, self._times)
        self._observe(self._model.C @ states)
        self._follow(self._state, states)
        self._state = states[:, -1]
        self._count()

    def _states_within(self, power, times) -> np.ndarray:
        """(n, n_times) states at times since the start of a sample, the last at its end [K].

        Pairs of steps as long as the tolerance allows; between them, parabolas.
        """
        load = self._model.B @ power
        states, done = np.empty((len(self._state), len(times))), 0
        now = (self._state, self._dose)
        while done < FINEST:
            length = FINEST // self._parts
            step = 0.5 * length * self._interval / FINEST
            middle, end, error = self._pair(now, load, step)
            if error > self._tolerance:
                if length == 1:
                    raise NumericalError(f"the plant's steps of {step:g} s still err by "
                                         f"{error:.2g} K")
                self._parts *= 2
                continue
            s = times / step - 2 * done / length
            within = (s > 1e-9) & (s < 2 + 1e-9)
            s = s[within]
            weights = np.stack([0.5 * (1 - s) * (2 - s), s * (2 - s), 0.5 * s * (s - 1)])
            states[:, within] = np.stack([now[0], middle[0], end[0]], axis=1) @ weights
            now, done = end, done + length
            if error * GROW < self._tolerance and self._parts > 1 and done % (2 * length) == 0:
                self._parts //= 2
        self._dose = now[1]
        return states

    def _pair(self, start, load, step: float):
        """State and dose after one and two steps, and the estimated error of the second [K]."""
        rate = self._rates(*start, load)
        middle = self._step(start, rate, load, step)
        end = self._step(middle, self._rates(*middle, load), load, step)
        excess = [(fine - coarse) / 3 for fine, coarse in zip(
            end, self._step(start, rate, load, 2 * step), strict=True)]
        return ((self._below_boiling(middle[0] + 0.5 * excess[0]), middle[1] + 0.5 * excess[1]),
                (self._below_boiling(end[0] + excess[0]), np.maximum(end[1] + excess[1], start[1])),
                np.abs(excess[0]).max())

    def _step(self, start, rate, load, step: float):
        """One step of ROS2 from state and dose, whose rates are known."""
        (state, dose), (flow, dose_rate) = start, rate
        solver = self._solver(step)
        first = solver.solve(flow)
        ahead = self._below_boiling(state + step * first), dose + step * dose_rate
        flow, later_rate = self._rates(*ahead, load)
        second = solver.solve(flow - 2 * (self._model.E @ first))
        return (self._below_boiling(state + step * (1.5 * first + 0.5 * second)),
                dose + 0.5 * step * (dose_rate + later_rate))

    def _rates(self, state, dose, load) -> tuple[np.ndarray, np.ndarray]:
        """E x' (n,) [W], and the dose's rate at all nodes [CEM43 min/s]."""
        model, cells, n = self._model, self._model.cells, len(state)
        temperature = self._baseline.copy()
        temperature[:n] += state
        conductivity, perfusion, absorption = (
            now / rest for now, rest in zip(self._response.factors(temperature, dose),
                                            self._at_rest, strict=True))
        lost = cells.losses(temperature - cells.arterial,
                            self._change(self._conductivity, conductivity),
                            self._change(self._perfusion, perfusion))[:n]
        absorption = np.einsum("nr,nr->n", cells.node_shares[:n], absorption[:n])
        return (absorption * load - model.K @ state - lost,
                cem43_rate(temperature) / SECONDS_PER_MINUTE)

    def _change(self, at_rest, factor) -> np.ndarray:
        """(n_cells,) by how much a coefficient differs from its value at rest.

        `at_rest` (n_cells, n_regions), `factor` (n_nodes, n_regions).
        """
        change = np.zeros(len(at_rest))
        for part, factors in zip(at_rest.T, factor.T, strict=True):
            change += part * ((factors - 1)[self._model.cells.nodes] @ NODE_SHARE)
        return change

    def _below_boiling(self, state):
        return np.minimum(state, self._response.boiling - self._model.baseline)

    def _solver(self, step: float) -> ShiftedSolver:
        """Factors of E + g h J, one for every length of a step that occurs."""
        if step not in self._solvers:
            solver = ShiftedSolver(self._model.E, self._jacobian)
            self._solvers[step] = solver.factor(GAMMA * step, 1.0)
        return self._solvers[step]
