"""Random stable models of heat: compartments that exchange it, lose it to blood, and keep it.

    c_i dx_i/dt = sum_j g_ij (x_j - x_i) - w_i x_i + sum_f b_if u_f

c, g, w and b are positive, so no focus cools anything; heat that has to pass several compartments
arrives late at the last of them. All is exact: the model has every state of the patient.
"""

import numpy as np
from hypothesis import strategies as st

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel

BASELINE, LIMIT, INTERVAL = 37.0, 43.0, 2.0


def compartment_model(rng: np.random.Generator, length: int, n_foci: int, seconds: float,
                      loss: float, interval: float = INTERVAL) -> DiscreteModel:
    """A chain of compartments with some short cuts. Foci heat those near its beginning, where two
    target voxels lie; the constraint points are the rest.

    Parameters
    ----------
    seconds : time in which heat goes from one compartment to the next, about.
    loss : rate at which blood carries it away, in exchanges.
    """
    n = length + 2
    exchange = np.zeros((n, n))
    ahead = np.arange(n - 1)
    exchange[ahead, ahead + 1] = rng.uniform(0.3, 1.0, n - 1)
    for _ in range(2):
        i, j = np.sort(rng.choice(n, 2, replace=False))
        exchange[i, j] += 0.05 * rng.uniform()
    exchange = (exchange + exchange.T) / seconds
    capacity = rng.uniform(0.5, 2.0, n)
    rates = (exchange - np.diag(exchange.sum(axis=1)
                                + loss / seconds * rng.uniform(0.2, 1.0, n))) / capacity[:, None]
    heating = np.zeros((n, n_foci))
    heating[rng.integers(0, 2, n_foci), np.arange(n_foci)] = rng.uniform(0.1, 0.4, n_foci)
    heating[2, rng.integers(n_foci)] += 0.02 * rng.uniform()  # some of the beam goes astray
    rows = np.eye(n)[[*range(2, n), 0, 1]]
    is_target = np.arange(n) >= n - 2
    position = np.column_stack([np.argmax(rows, axis=1), np.zeros((n, 2))]) * 1e-3
    outputs = Outputs(np.where(is_target, "target", "constraint"), position,
                      np.where(is_target, 1e-9, 0.0), np.full(n, BASELINE),
                      np.where(is_target, np.nan, LIMIT))
    foci = position[is_target][np.argmax(heating[:2], axis=0)] + 1e-5 * np.arange(n_foci)[:, None]
    rom = ReducedModel(rates, heating / capacity[:, None], rows, np.ones(n), np.ones(n), "exact",
                       outputs, foci)
    return DiscreteModel.sampled(rom, interval)


models = st.builds(
    compartment_model, st.integers(0, 2 ** 32 - 1).map(np.random.default_rng),
    st.integers(2, 8), st.integers(1, 3), st.floats(1.0, 60.0), st.floats(1e-4, 0.3))


def exact_estimate(model: DiscreteModel, state, time=0.0, dose=None) -> Estimate:
    """Estimate without any error."""
    outputs = model.outputs
    temperature = model.C @ state + outputs.baseline
    n_c, n_v = int(outputs.constraint.sum()), int(outputs.target.sum())
    dose = np.zeros(n_c + n_v) if dose is None else dose
    return Estimate(time, state, temperature[outputs.constraint], temperature[outputs.target],
                    dose[outputs.target], np.zeros(n_c), dose[outputs.constraint],
                    np.ones(len(model.foci)), np.ones(n_c))


def hottest_with_power_off(model: DiscreteModel, state, samples: int = 3000) -> float:
    """Highest temperature above its limit of any constraint point at any later sample [K], if the
    power is off from now on."""
    outputs, rows = model.outputs, model.constraint_rows
    room = (outputs.limit - outputs.baseline)[outputs.constraint]
    worst = -np.inf
    for _ in range(samples):
        worst = max(worst, (rows @ state - room).max())
        state = model.A @ state
    return worst
