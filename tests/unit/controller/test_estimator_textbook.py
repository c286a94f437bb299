"""The Kalman filter sample by sample against textbook formulas, each of its parts by itself.

The model is small and made up. Its filter is written here anew, in double precision and with
SciPy's Riccati equation; what is not looked at is switched off by settings of zero.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.controller.dose import cem43_rate
from hifuflow.controller.estimation.kalman import KalmanFilter, solve_riccati
from hifuflow.controller.imaging import Imaging
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.settings import EstimatorSettings
from hifuflow.errors import NumericalError
from hifuflow.records.outputs import Outputs

INTERVAL, MAX_POWER, NOISE, FLOOR = 2.0, 15.0, 0.4, 0.3
R = NOISE ** 2 + FLOOR ** 2
PLAIN = EstimatorSettings(
    input_error=0.05, model_noise=0.2, measurement_floor=FLOOR, gain_error=0.0,
    focus_gain_error=0.0, gain_walk=0.0, heating_error=0.0, absorption_error=0.0,
    heating_error_walk=0.0, target_error_smoothing=0.0, max_innovation=10.0)
# The state is believed as it is predicted.
CERTAIN = replace(PLAIN, input_error=0.0, model_noise=1e-7)
C, V = slice(0, 3), slice(3, 8)  # constraint points, target voxels


@pytest.fixture(scope="module")
def model():
    """Six states, two foci; three constraint points and five target voxels."""
    random = np.random.default_rng(5)
    a = random.standard_normal((6, 6))
    a *= 0.9 / np.abs(la.eigvals(a)).max()
    rows = random.random((8, 6))
    means = rows + 0.05 * random.standard_normal((8, 6)) * (np.arange(8)[:, None] >= 3)
    # Two target voxels lie in each of two voxels of the image, one alone in a third.
    place = 1e-3 * np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 0], [0, 0, 1], [0, 0, 3],
                             [0, 3, 0], [0, 4, 0]])
    outputs = Outputs(np.array(["constraint"] * 3 + ["target"] * 5), place,
                      np.r_[np.zeros(3), 1e-9 * np.array([1.0, 3, 2, 2, 2])],
                      37 + random.random(8), np.r_[np.full(3, 43.0), np.full(5, np.nan)],
                      region=np.array(["skin", "fat", "skin"] + ["tumour"] * 5),
                      mean_baseline=37 + random.random(8))
    return DiscreteModel(a, 0.3 * random.random((6, 2)), rows, INTERVAL, outputs, np.zeros((2, 3)),
                         np.zeros(6), means)


def imaging(model, latency=0.0):
    return Imaging(SimpleNamespace(noise=NOISE, latency=latency, interval=INTERVAL,
                                   no_signal_regions=[], voxel=np.full(3, 3e-3)), model.outputs)


class Textbook:
    """x(k|k) = x(k|k-1) + L (y - H x(k|k-1)), L stationary, and its covariance."""

    def __init__(self, model, settings):
        averages = np.zeros((6, 8))
        averages[range(3), range(3)] = 1
        averages[3, 3:5], averages[4, 5], averages[5, 6:8] = [0.25, 0.75], 1, 0.5
        self.model, self.rows = model, averages @ model.C_mean
        self.baseline = averages @ model.outputs.mean_baseline
        load = settings.input_error * MAX_POWER * model.B
        # The outputs' mean square over one sample is model_noise^2.
        spread = settings.model_noise ** 2 / (np.sum(model.C ** 2) / 8)
        self.process = load @ load.T + spread * np.eye(6)
        prior = la.solve_discrete_are(model.A.T, self.rows.T, self.process, R * np.eye(6))
        self.innovation = self.rows @ prior @ self.rows.T + R * np.eye(6)
        self.gain = prior @ self.rows.T @ la.inv(self.innovation)
        self.covariance = prior - self.gain @ self.rows @ prior

    def temperatures(self, state):
        return self.model.outputs.baseline + self.model.C @ state

    def deviation(self, samples):
        """(3,) of the constraint points so many samples after an image."""
        covariance = self.covariance
        for _ in range(samples):
            covariance = self.model.A @ covariance @ self.model.A.T + self.process
        return np.sqrt(np.diag(self.model.C[C] @ covariance @ self.model.C[C].T))


def scenario(model, samples=16, seed=0):
    """Powers (samples, 2) [W], images (samples, 6) [degC] of some tissue that is not the model."""
    random = np.random.default_rng(seed)
    powers = 12 * random.random((samples, 2)) * (random.random((samples, 2)) < 0.7)
    state, images = np.zeros(6), []
    book = Textbook(model, PLAIN)
    for power in powers:
        images.append(book.baseline + book.rows @ state + random.standard_normal(6))
        state = model.A @ state + 1.2 * model.B @ power + 0.3 * random.standard_normal(6)
    return powers, np.array(images)


def followed(observer, powers, images):
    """Estimates at each sample."""
    estimates = []
    for k, (power, image) in enumerate(zip(powers, images, strict=True)):
        estimates.append(observer.update(INTERVAL * k, image))
        observer.predict(power)
    return estimates


def dose(path):
    """(n,) of temperatures (k, n) that are linear over each sample, by many small steps."""
    fine = np.linspace(0, 1, 2001)[:, None, None]
    course = path[:-1] + fine * (path[1:] - path[:-1])
    return INTERVAL / 60 * np.trapezoid(cem43_rate(course), fine, axis=0).sum(axis=0)


def test_filter_is_the_textbook_filter(model):
    powers, images = scenario(model)
    images[5:7] = np.nan                            # lost
    images[9, [0, 4]] = np.nan                      # two of six without a signal
    images[10, :3] = np.nan                         # half of them is enough,
    images[11, :4] = np.nan                         # less is not
    images[13] += np.array([11, 0, 11, -11, 11, 0]) * 3  # spoilt: more than 10 K in the median
    images[14] += np.array([30, 0, 0, -30, 0, 0])        # two voxels do not spoil it
    valid = ~np.isin(np.arange(16), [5, 6, 11, 13])
    estimates = followed(KalmanFilter(model, PLAIN, imaging(model), MAX_POWER), powers, images)
    book, state, missed, path = Textbook(model, PLAIN), np.zeros(6), 0, []
    for k, estimate in enumerate(estimates):
        if valid[k]:
            innovation = np.nan_to_num(images[k] - book.baseline - book.rows @ state)
            state = state + book.gain @ innovation
        missed = max(0, missed - 1) if valid[k] else missed + 1
        path.append(book.temperatures(state))
        assert estimate.valid == valid[k] and estimate.time == INTERVAL * k
        np.testing.assert_allclose(estimate.state, state, atol=2e-5)
        np.testing.assert_allclose(estimate.constraint_temperature, path[-1][C], atol=1e-4)
        np.testing.assert_allclose(estimate.target_temperature, path[-1][V], atol=1e-4)
        # One valid image for each that was lost, until the deviation is the filter's again.
        np.testing.assert_allclose(estimate.constraint_deviation, book.deviation(missed), rtol=1e-5)
        expected = dose(np.array(path))
        np.testing.assert_allclose(estimate.constraint_dose, expected[C], rtol=2e-3, atol=1e-9)
        np.testing.assert_allclose(estimate.target_dose, expected[V], rtol=2e-3, atol=1e-9)
        state = model.A @ state + model.B @ powers[k]
    assert (expected > 1e-3).all()


def test_late_images_are_taken_in_where_they_belong(model):
    powers, images = scenario(model, 12)
    late = np.concatenate([np.full((2, 6), np.nan), images[:-2]])
    observer = KalmanFilter(model, PLAIN, imaging(model, latency=3.5), MAX_POWER)
    estimates = followed(observer, powers, late)
    book, state, path = Textbook(model, PLAIN), np.zeros(6), []
    for k, estimate in enumerate(estimates[2:]):  # with the image of time k, at time k + 2
        state = state + book.gain @ (images[k] - book.baseline - book.rows @ state)
        path.append(book.temperatures(state))
        present, ahead = state, []
        for power in powers[k:k + 2]:
            present = model.A @ present + model.B @ power
            ahead.append(book.temperatures(present))
        assert estimate.time == INTERVAL * (k + 2) and estimate.valid
        np.testing.assert_allclose(estimate.state, present, atol=2e-5)
        np.testing.assert_allclose(estimate.constraint_temperature, ahead[-1][C], atol=1e-4)
        np.testing.assert_allclose(estimate.target_temperature, ahead[-1][V], atol=1e-4)
        expected = dose(np.array([*path, *ahead]))
        np.testing.assert_allclose(estimate.target_dose, expected[V], rtol=2e-3, atol=1e-9)
        np.testing.assert_allclose(estimate.constraint_dose, expected[C], rtol=2e-3, atol=1e-9)
        if k >= 2:  # until then the two images are made up for that never came
            np.testing.assert_allclose(estimate.constraint_deviation, book.deviation(2), rtol=1e-5)
        state = model.A @ state + model.B @ powers[k]


@pytest.mark.parametrize(("latency", "gap", "longest"), [(0.0, 10.0, 6), (0.0, 5.0, 3),
                                                         (3.5, 5.0, 5)])
def test_deviations_grow_for_as_long_as_images_may_be_missing(model, latency, gap, longest):
    observer = KalmanFilter(model, PLAIN, imaging(model, latency), MAX_POWER, gap)
    book = Textbook(model, PLAIN)
    for k in range(9):
        found = observer.update(INTERVAL * k, np.full(6, np.nan)).constraint_deviation
        observer.predict(np.zeros(2))
        late = min(k + 1 + min(k, 2 if latency else 0), longest)
        np.testing.assert_allclose(found, book.deviation(late), rtol=1e-5)


def second_stage(book, prior, power, innovation):
    """Change of the foci's gains by one innovation, and their covariance after it."""
    rows = book.rows @ book.model.B * power
    gain = prior @ rows.T @ la.inv(rows @ prior @ rows.T + book.innovation)
    return gain @ innovation, prior - gain @ rows @ prior


def test_gains_of_the_foci_follow_from_the_innovations(model):
    """Friedland's second stage, and what it changes in the state; not right after a gap."""
    settings = replace(PLAIN, gain_error=0.2, focus_gain_error=0.1, gain_walk=0.03)
    powers, images = scenario(model)
    powers[7] = 0
    images[5] = np.nan
    estimates = followed(KalmanFilter(model, settings, imaging(model), MAX_POWER), powers, images)
    book, state, gains = Textbook(model, settings), np.zeros(6), np.ones(2)
    covariance = 0.04 * np.ones((2, 2)) + 0.01 * np.eye(2)
    for k, estimate in enumerate(estimates):
        power = powers[k - 1] if k else np.zeros(2)
        if k != 5:
            innovation = images[k] - book.baseline - book.rows @ state
            state = state + book.gain @ innovation
            if k != 6 and power.any():  # after a gap the heat of several samples shows at once
                covariance = covariance + 0.03 ** 2 * np.eye(2)
                more, covariance = second_stage(book, covariance, power, innovation)
                gains = gains + more
                heat = model.B @ (power * more)
                state = state + heat - book.gain @ book.rows @ heat
        np.testing.assert_allclose(estimate.gain, gains, atol=1e-5)
        np.testing.assert_allclose(estimate.state, state, atol=1e-4)
        state = model.A @ state + model.B @ (gains * powers[k])
    assert np.abs(gains - 1).min() > 0.01


def test_points_that_heat_more_are_found_while_the_state_is_certain(model):
    """f of the first constraint point: regression of what is seen on the rise by the model."""
    settings = replace(CERTAIN, heating_error=0.2)
    powers, images = scenario(model)
    images[7] = np.nan
    estimates = followed(KalmanFilter(model, settings, imaging(model), MAX_POWER), powers, images)
    state, information, product = np.zeros(6), 1 / 0.2 ** 2, 0.0
    for k, estimate in enumerate(estimates):
        rise = model.C[C] @ state
        if k != 7:
            seen = model.C_mean[0] @ state
            information += seen ** 2 / R
            product += seen * (images[k, 0] - model.outputs.mean_baseline[0] - seen) / R
        factor = 1 + product / information
        assert estimate.constraint_gain[0] == pytest.approx(factor, abs=1e-5)
        assert estimate.constraint_temperature[0] == pytest.approx(
            model.outputs.baseline[0] + factor * rise[0], abs=1e-4)
        # As a fraction of the heating as it is estimated.
        assert estimate.constraint_deviation[0] == pytest.approx(
            abs(factor * rise[0]) / np.sqrt(information), rel=1e-3, abs=1e-5)
        np.testing.assert_allclose(estimate.target_temperature,
                                   model.outputs.baseline[V] + model.C[V] @ state, atol=1e-4)
        state = model.A @ state + model.B @ powers[k]
    assert abs(factor - 1) > 0.02


@pytest.mark.parametrize("latency", [0.0, 3.5])
def test_heat_absorbed_lately_fades_within_a_minute_and_is_led_on(model, latency):
    settings = replace(CERTAIN, absorption_error=0.3)
    powers, images = scenario(model)
    delay = 2 if latency else 0
    late = np.concatenate([np.full((delay, 6), np.nan), images[:len(images) - delay]])
    observer = KalmanFilter(model, settings, imaging(model, latency), MAX_POWER)
    estimates = followed(observer, powers, late)
    lately = np.zeros(2)
    for k, estimate in enumerate(estimates):
        np.testing.assert_allclose(estimate.absorbed.lately, lately, rtol=1e-9)
        assert estimate.absorbed.left == pytest.approx(np.exp(-INTERVAL / 60), rel=1e-12)
        heating = model.C[C] @ model.B
        more = estimate.absorbed.rise / heating  # a of each point's tissue
        np.testing.assert_allclose(more, more[:, :1] * [1, 1], rtol=1e-9)
        assert more[0, 0] == pytest.approx(more[2, 0])  # both in the skin
        # Constraint points are as hot as the model says and by what they absorbed beyond it.
        np.testing.assert_allclose(
            estimate.constraint_temperature,
            model.outputs.baseline[C] + model.C[C] @ estimate.state
            + more[:, 0] * (heating @ lately), atol=1e-4)
        lately = np.exp(-INTERVAL / 60) * lately + powers[k]
    assert np.abs(more[:, 0]).min() > 1e-3


def test_errors_of_the_model_in_the_target_are_smoothed_and_shrunk(model):
    """b = s e^2 / (e^2 + 4 R s / (2 - s)) of the smoothed residuals e, spread over each voxel."""
    smoothing = 0.3
    settings = replace(CERTAIN, target_error_smoothing=smoothing)
    powers, images = scenario(model)
    images[:, 3:] += [4.0, -3.0, 0.2]
    images[6] = np.nan
    images[8, 4] = np.nan
    estimates = followed(KalmanFilter(model, settings, imaging(model), MAX_POWER), powers, images)
    book, state, error = Textbook(model, settings), np.zeros(6), np.zeros(6)
    passing = R * smoothing / (2 - smoothing)  # variance of smoothed noise
    for k, estimate in enumerate(estimates):
        residual = images[k] - book.baseline - book.rows @ state
        seen = np.isfinite(residual)
        error[seen] += smoothing * (residual - error)[seen]
        shrunk = error ** 3 / (error ** 2 + 4 * passing)
        expected = book.temperatures(state)
        expected[V] += shrunk[[3, 3, 4, 5, 5]]
        np.testing.assert_allclose(estimate.target_temperature, expected[V], atol=2e-4)
        np.testing.assert_allclose(estimate.constraint_temperature, expected[C], atol=2e-4)
        state = model.A @ state + model.B @ powers[k]
    assert shrunk[3] > 2 and abs(shrunk[5]) < 0.4


def test_nothing_is_heated_at_first(model):
    estimate = KalmanFilter(model, PLAIN, imaging(model), MAX_POWER).update(
        0.0, Textbook(model, PLAIN).baseline)
    np.testing.assert_allclose(estimate.constraint_temperature, model.outputs.baseline[C])
    np.testing.assert_allclose(estimate.target_temperature, model.outputs.baseline[V])
    assert not estimate.target_dose.any() and not estimate.constraint_dose.any()
    np.testing.assert_array_equal(estimate.gain, [1, 1])
    np.testing.assert_array_equal(estimate.constraint_gain, [1, 1, 1])


def test_a_covariance_that_never_settles_is_an_error():
    """A state that wanders and is never seen."""
    with pytest.raises(NumericalError, match="Riccati equation did not converge"):
        solve_riccati(np.eye(2), np.zeros((2, 2)), np.eye(2))
