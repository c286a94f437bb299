"""Each entry of the certificate against dense algebra, an independent replay and the process."""

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg as la
from heated_cube import heated_cube
from test_reduction_reduce import settings

from hifuflow.errors import NumericalError
from hifuflow.reduction import reduce as stage
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.replay import switching_treatment

POWER, SAMPLE, SAMPLES = 22, 2.0, 300  # of the replayed treatment
ORDER = 30


@pytest.fixture(scope="module")
def run():
    """Model, reduced model, certificate, and the seconds that it took."""
    model, start = heated_cube(cells=4), time.perf_counter()
    reduced, certificate = reduce_model(model, settings(ORDER), threads=1)
    return model, reduced, certificate, time.perf_counter() - start


@pytest.fixture(scope="module")
def modes(run):
    """Decay rates, inputs and outputs of the full model in its eigenvectors."""
    model = run[0]
    rates, vectors = la.eigh(model.K.toarray(), model.E.toarray())
    return rates, vectors.T @ model.B, model.C @ vectors


def gain_and_error(modes, reduced, frequency):
    """Norms of the full model's transfer function and of the difference to the reduced one's."""
    rates, inputs, outputs = modes
    full = outputs @ (inputs / (1j * frequency + rates)[:, None])
    shifted = 1j * frequency * np.eye(len(reduced.A)) - reduced.A
    small = reduced.C @ np.linalg.solve(shifted, reduced.B)
    return np.linalg.norm(full, 2), np.linalg.norm(full - small, 2)


def test_sizes_and_spectrum(run, modes):
    _, reduced, certificate, _ = run
    assert certificate["order"] == len(reduced.A) == ORDER
    assert certificate["full_order"] == 343
    assert ORDER < certificate["minimal_order"] <= certificate["reachable_order"] <= 343
    assert len(reduced.hsv) == certificate["reachable_order"]
    low, high = certificate["spectrum_per_s"]
    assert 0.9 * modes[0][0] < low <= modes[0][0] and modes[0][-1] <= high < 1.1 * modes[0][-1]
    slowest = -np.linalg.eigvals(reduced.A).real.max()
    assert certificate["slowest_rate_per_s"] == pytest.approx(slowest, rel=1e-9)
    assert certificate["stable"] is True
    assert certificate["n_shifts"] >= 1 and 0 < certificate["gramian_residual"] <= 1e-10


def test_errors_and_bounds_in_the_h_infinity_norm(run, modes):
    _, reduced, certificate, _ = run
    sampled = np.append(0.0, np.geomspace(*certificate["spectrum_per_s"],
                                          certificate["n_frequencies"] - 1))
    pairs = [gain_and_error(modes, reduced, frequency) for frequency in sampled]
    gain, error = np.max(pairs, axis=0)
    assert certificate["hinf_norm_k_w"] == pytest.approx(gain, rel=1e-9)
    lost = certificate["projection_error_relative"]
    assert error / gain <= certificate["hinf_error_relative"] <= error / gain + 2 * lost
    assert 0 < lost <= certificate["projection_bound_relative"] < 0.1 * error / gain
    everywhere = max(gain_and_error(modes, reduced, frequency)[1]
                     for frequency in np.append(0.0, np.geomspace(1e-5, 1e2, 50)))
    assert everywhere / gain <= certificate["hinf_bound_relative"]
    assert certificate["hinf_bound_relative"] == pytest.approx(
        certificate["truncation_bound_relative"] + certificate["projection_bound_relative"])
    assert reduced.error_bound[ORDER - 1] / gain == pytest.approx(
        certificate["hinf_bound_relative"])


def exact_course(rates, inputs, outputs, powers):
    """(samples, p) of z' = -diag(rates) z + B u, exact for power held over each sample."""
    decay = np.exp(-rates * SAMPLE)
    grown = (1 - decay) / rates
    state, course = np.zeros(len(rates)), []
    for power in powers:
        state = decay * state + grown * (inputs @ power)
        course.append(outputs @ state)
    return np.array(course)


def test_replayed_errors_are_those_of_exact_steps(run, modes):
    """The replay takes steps of second order: their largest differences agree to two percent."""
    model, reduced, certificate, _ = run
    powers = switching_treatment(5, POWER, SAMPLES)
    rates, vectors = la.eig(-reduced.A)
    small = exact_course(rates, la.solve(vectors, reduced.B.astype(complex)),
                         reduced.C @ vectors, powers)
    error = np.abs(exact_course(*modes, powers) - small).max(axis=0)
    kind = model.outputs.kind
    assert certificate["max_output_error_k"].keys() == {"constraint", "target"}
    for name, worst in certificate["max_output_error_k"].items():
        assert worst == pytest.approx(error[kind == name].max(), rel=0.03)
    assert certificate["replay_power_w"] == POWER
    assert certificate["error_against_order"]["order"][-1] == ORDER
    assert 0.1 <= certificate["smallest_output_weight"] < 1


def test_seconds_and_memory(run):
    _, _, certificate, seconds = run
    steps = dict(certificate["seconds"])
    assert steps.keys() == {
        "low_rank", "projection", "replay", "observability", "reachability", "balancing",
        "projection_error", "order", "model_ready", "comparison", "frequency_sweep", "total"}
    total, ready = steps.pop("total"), steps.pop("model_ready")
    assert 0.5 * seconds < total <= seconds and 0 < ready < total
    # On one thread they follow each other.
    assert all(second > 0 for second in steps.values())
    assert 0.8 * total < sum(steps.values()) <= total
    status = Path("/proc/self/status").read_text()
    peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
    assert 0.5 * peak < certificate["peak_memory_bytes"] < 64e9


def test_steps_side_by_side_are_counted_by_the_clock_on_the_wall(run):
    _, certificate = reduce_model(run[0], settings(ORDER), threads=3)
    assert max(certificate["seconds"].values()) == certificate["seconds"]["total"]


@pytest.mark.parametrize("slowest", [0.0, 1e-9, np.nan])
def test_what_does_not_decay_is_not_certified(run, slowest, monkeypatch):
    """As it would come out if the balancing had gone wrong."""
    def wrong(*arguments, real=stage.frequency_sweep):
        return replace(real(*arguments), slowest=slowest)
    monkeypatch.setattr(stage, "frequency_sweep", wrong)
    shown = re.escape(f"{slowest:.3e}")
    with pytest.raises(NumericalError, match=rf"order {ORDER} is not stable.*{shown} 1/s"):
        reduce_model(run[0], settings(ORDER), threads=1)
