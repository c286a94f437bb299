"""The law of the limits: at every later sample, on the exact model, whatever the model.

Heat arrives at the constraint points of these models up to several minutes after it was given, and
all that is planned would take them far above their limits.
"""

from dataclasses import replace

import numpy as np
import pytest
from compartments import LIMIT, compartment_model, exact_estimate, models
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from hifuflow.controller.dose import cem43
from hifuflow.controller.estimation.estimate import Absorbed
from hifuflow.controller.methods.hyperthermia import HyperthermiaController
from hifuflow.controller.methods.limits import TOLERANCE, Limits, Margins, judged_samples, last_rise
from hifuflow.controller.methods.mintime import MintimeController
from hifuflow.controller.methods.options import HyperthermiaOptions, MintimeOptions
from hifuflow.controller.methods.paper import PaperController
from hifuflow.controller.prediction import BlockModel
from hifuflow.settings import Prescription

NONE = Margins(0.0, 0.0, 0.0)
AHEAD = 4000  # samples after which all of these models have cooled
ALLOWED = 2 * TOLERANCE  # and single precision
slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LATE = compartment_model(np.random.default_rng(4), 8, 2, 60.0, 0.01)


def later_rows(model, samples=AHEAD):
    """(samples, n_c, r) rows C A^k, k = 1, 2, ... of the constraint points."""
    rows, power = [], model.constraint_rows
    for _ in range(samples):
        power = power @ model.A
        rows.append(power)
    return np.array(rows)


def room_of(model):
    return (model.outputs.limit - model.outputs.baseline)[model.outputs.constraint]


@slow
@given(model=models, planned=st.floats(1.0, 400.0), least=st.sampled_from([0.0, 0.5]),
       heating=st.sampled_from([0.0, 0.2]))
@example(model=LATE, planned=300.0, least=0.0, heating=0.0)
def test_power_off_is_always_allowed_next(model, planned, least, heating):
    """From an allowed power on, no point exceeds its limit at any later sample."""
    limits = Limits(model, 1000.0, 1e6, Margins(least, 0.0, heating), error=0.0)
    rows, room = later_rows(model), room_of(model)
    state, plan, cut = np.zeros(len(model.A)), np.full(len(model.foci), planned), False
    for _ in range(40):
        power = limits.allowed(plan, exact_estimate(model, state))
        assert (power >= 0).all() and (power <= plan).all()
        state = model.A @ state + model.B @ power
        assert (model.constraint_rows @ state - room).max() <= ALLOWED - least
        assert (rows @ state - room).max() <= ALLOWED - least
        cut |= power.sum() < plan.sum()
    assert cut or (rows @ state).max() < room.min()


def with_errors(estimate, rng):
    """The estimate with errors of the heating that were learned, and what they leave uncertain."""
    n_c, n = len(estimate.constraint_temperature), len(estimate.gain)
    return replace(
        estimate, gain=rng.uniform(0.7, 1.5, n), constraint_gain=rng.uniform(0.8, 1.3, n_c),
        absorbed=Absorbed(rng.uniform(0, 0.02, (n_c, n)), rng.uniform(0, 5, n), 0.97),
        constraint_temperature=estimate.constraint_temperature + rng.uniform(-0.2, 0.2, n_c),
        constraint_deviation=rng.uniform(0, 0.3, n_c))


@slow
@given(model=models, seed=st.integers(0, 99), errors=st.booleans())
@example(model=LATE, seed=0, errors=False)
@example(model=LATE, seed=3, errors=True)
def test_no_less_is_allowed_than_the_limits_ask_for(model, seed, errors):
    """Against one linear program with a row for every point at every later sample."""
    rng = np.random.default_rng(seed)
    n, full = len(model.foci), 150.0
    margins = Margins(0.1, 1.5, 0.2) if errors else NONE
    limits = Limits(model, full, 60.0, margins, error=0.0)
    state, later = np.zeros(len(model.A)), later_rows(model, 1500)
    for _ in range(rng.integers(1, 10)):
        state = model.A @ state + model.B @ limits.allowed(
            rng.uniform(0, 2, n), exact_estimate(model, state))
    planned, estimate = rng.uniform(0, 200, n), exact_estimate(model, state)
    if errors:
        estimate = with_errors(estimate, rng)
    found = limits.allowed(planned, estimate)

    rows = np.vstack([model.constraint_rows[None], later])[:1500]
    change = rows @ (model.A @ state) - model.constraint_rows @ state
    room = (model.outputs.limit[model.outputs.constraint] - margins.least
            - margins.confidence * estimate.constraint_deviation - estimate.constraint_temperature
            - estimate.constraint_gain * change)
    heating = (1 + margins.heating) * np.einsum(
        "c,kcn->kcn", estimate.constraint_gain, rows @ (model.B * estimate.gain))
    if errors:
        fading = 0.97 ** np.arange(1500)
        heating = heating + fading[:, None, None] * estimate.absorbed.rise * estimate.gain
    heated = model.target_rows @ model.B * estimate.gain
    cold = 60.0 - estimate.target_temperature - model.target_rows @ (model.A @ state - state)
    rows = np.vstack([*heating, heated, np.ones(n)])
    rooms = np.concatenate([room.ravel(), np.maximum(cold, 0.2), [full]])
    if rooms.min() <= TOLERANCE:  # a point is at its limit already
        assert (rows @ found <= np.maximum(rooms, 0) + ALLOWED).all()
        return
    best = linprog(-np.ones(n), rows, rooms, bounds=np.column_stack([np.zeros(n), planned]))
    assert found.sum() == pytest.approx(-best.fun, rel=2e-3)
    assert (rows @ found <= rooms + ALLOWED).all()


def closed_loop(model, controller, prescription, samples=150):
    """(temperature of the constraint points at every sample, powers): the estimate has no error,
    and after the treatment the power is off for long."""
    outputs, state = model.outputs, np.zeros(len(model.A))
    temperature, dose = outputs.baseline, np.zeros(len(outputs.baseline))
    record, powers = [], []
    for k in range(samples):
        estimate = exact_estimate(model, state, model.interval * k, dose)
        powers.append(np.zeros(len(model.foci)) if controller.finished(estimate)
                      else controller.decide(estimate))
        assert powers[-1].sum() <= prescription.max_power * (1 + 1e-9)
        state, before = model.A @ state + model.B @ powers[-1], temperature
        temperature = model.C @ state + outputs.baseline
        dose = dose + cem43(before, temperature, model.interval)
        record.append(temperature[outputs.constraint])
    cooling = later_rows(model, 1500) @ state + outputs.baseline[outputs.constraint]
    return np.vstack([record, cooling]), np.array(powers)


MIN_TIME = MintimeOptions(preparation=1, horizon=120.0, coast=60.0, margin=0.0, confidence=0.0,
                          heating_margin=0.0, max_target=99.0)
HOLD = HyperthermiaOptions(hold=200.0, margin=0.0, confidence=0.0, heating_margin=0.0,
                           max_target=99.0, temperature=45.0)


@pytest.mark.parametrize(("kind", "options"), [
    (MintimeController, MIN_TIME), (HyperthermiaController, HOLD)])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=models)
@example(model=LATE)
def test_a_controller_with_limits_keeps_them_at_every_sample(kind, options, model):
    """Without any margin; at times the plan is far above what the points allow."""
    prescription = Prescription(1e4, 1.0, 100.0, 3600.0)
    record, powers = closed_loop(model, kind(model, prescription, options), prescription)
    assert record.max() <= LIMIT + ALLOWED
    assert powers.any()


@settings(max_examples=15, deadline=None)
@given(model=models)
@example(model=LATE)
def test_the_papers_rules_keep_the_limits_of_the_next_sample(model):
    """Their equation (6) looks one sample ahead: heat that arrives later may exceed the limit, but
    while power is given the next sample never does."""
    prescription = Prescription(1e4, 1.0, 100.0, 3600.0)
    controller = PaperController(model, prescription, PaperController.Options())
    record, powers = closed_loop(model, controller, prescription)
    heated = powers.any(axis=1)
    assert record[:len(powers)][heated].max() <= LIMIT + 1e-9


@slow
@given(model=models)
@example(model=LATE)
def test_after_the_last_judged_sample_all_points_only_cool(model):
    points = BlockModel(model, 0.0).part(np.flatnonzero(model.outputs.constraint))
    last = last_rise(points)
    response = np.vstack([(model.constraint_rows @ model.B)[None],
                          later_rows(model, last + 1000) @ model.B])
    rise = np.diff(response[last - 1:], axis=0)
    assert (rise <= 2e-4 * response.max(axis=(0, 2))[:, None]).all()


def test_late_samples_are_judged_one_percent_apart():
    assert judged_samples(1).tolist() == [1]
    np.testing.assert_array_equal(judged_samples(300), np.arange(1, 301))
    late = judged_samples(3000)
    np.testing.assert_array_equal(late[:300], np.arange(1, 301))
    assert late[-1] == 3000 and (np.diff(late) > 0).all()
    assert (np.diff(late[299:]) <= 0.01 * late[299:-1] + 1).all()
    assert len(late) < 600
