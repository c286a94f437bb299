import numpy as np
import pytest
import scipy.linalg as la

from controller.estimator import KalmanFilter, noise_covariances, solve_riccati, stationary_gain
from controller.plant import Plant
from controller.prediction import DiscreteModel
from controller.settings import EstimatorSettings, ThermometrySettings
from controller.thermometry import Thermometry
from hifuflow.job import log


@pytest.fixture
def settings(treatment_config):
    return EstimatorSettings.read(treatment_config["estimator"])


@pytest.fixture
def thermometry(treatment_config):
    def make(noise, seed):
        section = {**treatment_config["thermometry"], "noise_c": noise, "seed": seed}
        return Thermometry(ThermometrySettings.read(section))
    return make


def test_riccati_solution_matches_scipy():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 8))
    A *= 0.98 / np.abs(la.eigvals(A)).max()
    C, B = rng.standard_normal((5, 8)), rng.standard_normal((8, 3))
    Q, R = B @ B.T + 1e-3 * np.eye(8), 0.3
    P = solve_riccati(A, C.T @ C / R, Q, tolerance=1e-14)
    np.testing.assert_allclose(P, la.solve_discrete_are(A.T, C.T, Q, R * np.eye(5)), rtol=1e-7)


def test_riccati_stops_within_its_tolerance():
    rng = np.random.default_rng(0)
    A, C = 0.999 * la.qr(rng.standard_normal((8, 8)))[0], rng.standard_normal((2, 8))
    P = solve_riccati(A, C.T @ C, 1e-6 * np.eye(8), tolerance=1e-7)
    exact = la.solve_discrete_are(A.T, C.T, 1e-6 * np.eye(8), np.eye(2))
    assert np.linalg.norm(P - exact) < 1e-6 * np.linalg.norm(exact)


def test_the_gain_is_announced(small_rom, settings, caplog):
    with caplog.at_level("INFO", logger=log.name):
        KalmanFilter(DiscreteModel.sampled(small_rom, 2.0), settings, 0.5, 15.0)
    assert f"Kalman gain for {small_rom.order} states..." in caplog.text


def test_gain_is_the_textbook_gain(small_rom, settings):
    model = DiscreteModel.sampled(small_rom, 2.0)
    Q, variance = noise_covariances(model, settings, 0.5, 15.0)
    P = la.solve_discrete_are(model.A.T, model.C.T, Q, variance * np.eye(len(model.C)))
    S = model.C @ P @ model.C.T + variance * np.eye(len(model.C))
    L, output_variance = stationary_gain(model, Q, variance)
    np.testing.assert_allclose(L, la.solve(S, model.C @ P, assume_a="pos").T, atol=1e-6)
    filtered = P - L @ S @ L.T
    np.testing.assert_allclose(output_variance, np.diag(model.C @ filtered @ model.C.T), rtol=1e-4)


def test_sampling_is_exact_for_held_power(small_rom):
    model = DiscreteModel.sampled(small_rom, 2.0)
    rate, modes = la.eig(small_rom.A)
    decay = np.exp(2 * rate)
    load = la.solve(modes, small_rom.B)
    np.testing.assert_allclose(model.A, (modes * decay) @ la.inv(modes), atol=1e-9)
    np.testing.assert_allclose(model.B, modes @ (((decay - 1) / rate)[:, None] * load), atol=1e-9)


def _heat(patient, rom, settings, images, noise, wrong=1.0, lose=()):
    """Root mean square error over all outputs: (filtered, model alone)."""
    model = DiscreteModel.sampled(rom, 2.0)
    plant = Plant(patient, 2.0, 1.0, 15.0)
    observer = KalmanFilter(model, settings, noise, 15.0)
    alone, errors = np.zeros(len(model.A)), []
    for k in range(60):
        image = images.image(k, plant.temperature)
        observer.update(2.0 * k, np.full_like(image, np.nan) if k in lose else image)
        errors.append([np.mean((37 + model.C @ x - plant.temperature) ** 2)
                       for x in (observer.state, alone)])
        power = np.eye(len(model.foci))[(k // 5) % 5] * 8.0 * (k % 10 < 5)
        plant.advance(power)
        observer.predict(power * wrong)
        alone = model.A @ alone + model.B @ power * wrong
    return np.sqrt(np.mean(errors, axis=0))


def test_filter_beats_the_noise_and_the_model(small_patient, small_rom, settings, thermometry):
    filtered, alone = _heat(small_patient, small_rom, settings, thermometry(0.5, seed=3),
                            noise=0.5, wrong=0.7)
    assert filtered < 0.25
    assert filtered < 0.5 * alone


def test_missing_images_leave_the_prediction(small_patient, small_rom, settings, thermometry):
    filtered, _ = _heat(small_patient, small_rom, settings, thermometry(0.0, seed=3), noise=0.0,
                        lose=range(20, 25))
    assert filtered < 0.3


def test_a_missing_image_changes_nothing(small_rom, settings):
    observer = KalmanFilter(DiscreteModel.sampled(small_rom, 2.0), settings, 0.5, 15.0)
    observer.predict(np.full(5, 2.0))
    before = observer.state.copy()
    estimate = observer.update(2.0, np.full(len(small_rom.C), np.nan))
    np.testing.assert_array_equal(observer.state, before)
    assert np.isfinite(estimate.target_temperature).all()


def test_noise_is_seeded_per_image(thermometry):
    truth = np.full(4000, 40.0)
    first = thermometry(0.5, seed=1).image(7, truth)
    np.testing.assert_array_equal(first, thermometry(0.5, seed=1).image(7, truth))
    assert not np.array_equal(first, thermometry(0.5, seed=2).image(7, truth))
    assert not np.array_equal(first, thermometry(0.5, seed=1).image(8, truth))
    assert np.std(first - truth) == pytest.approx(0.5, rel=0.05)
