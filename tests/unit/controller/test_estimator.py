import copy
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.controller.estimation.heating_errors import FocusGains, HeatingErrors
from hifuflow.controller.estimation.kalman import (
    KalmanFilter,
    noise_covariances,
    predicted_variances,
    solve_riccati,
    stationary_gain,
)
from hifuflow.controller.imaging import Imaging
from hifuflow.controller.patient.plant import Plant
from hifuflow.controller.patient.thermometry import Thermometry
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.settings import EstimatorSettings, ThermometrySettings
from hifuflow.job import log
from hifuflow.records.outputs import Outputs


@pytest.fixture
def settings(treatment_config):
    return EstimatorSettings.read(treatment_config["estimator"])


@pytest.fixture
def thermometry(treatment_config, small_rom):
    def make(noise=0.5, seed=1, **changes):
        section = {**treatment_config["thermometry"], "noise_c": noise, "seed": seed, **changes}
        settings = ThermometrySettings.read(section)
        return Thermometry(settings, Imaging(settings, small_rom.outputs))
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


def test_the_gain_is_announced(model, settings, thermometry, caplog):
    with caplog.at_level("INFO", logger=log.name):
        KalmanFilter(model, settings, thermometry().imaging, 15.0)
    assert f"Kalman gain for {len(model.A)} states..." in caplog.text


def test_gain_is_the_textbook_gain(model, settings):
    Q, variance = noise_covariances(model, settings, 0.5, 15.0)
    P = la.solve_discrete_are(model.A.T, model.C.T, Q, variance * np.eye(len(model.C)))
    S = model.C @ P @ model.C.T + variance * np.eye(len(model.C))
    L, filtered = stationary_gain(model.A, model.C, Q, variance)
    np.testing.assert_allclose(L, la.solve(S, model.C @ P, assume_a="pos").T, atol=1e-6)
    np.testing.assert_allclose(filtered, P - L @ S @ L.T, atol=1e-6 * np.abs(P).max())


def test_variances_grow_while_images_are_missing(model, settings):
    Q, variance = noise_covariances(model, settings, 0.5, 15.0)
    P = stationary_gain(model.A, model.C, Q, variance)[1]
    found = predicted_variances(model.A, model.constraint_rows, Q, P, 5)
    for k in range(6):
        np.testing.assert_allclose(found[k], np.diag(model.constraint_rows @ P
                                                     @ model.constraint_rows.T), rtol=1e-6)
        P = model.A @ P @ model.A.T + Q
    assert (np.diff(found, axis=0) > 0).all()


def test_sampling_is_exact_for_held_power(small_rom):
    model = DiscreteModel.sampled(small_rom, 2.0)
    rate, modes = la.eig(small_rom.A)
    decay = np.exp(2 * rate)
    load = la.solve(modes, small_rom.B)
    np.testing.assert_allclose(model.A, (modes * decay) @ la.inv(modes), atol=1e-9)
    np.testing.assert_allclose(model.B, modes @ (((decay - 1) / rate)[:, None] * load), atol=1e-9)


def _heat(patient, model, observer, images, gain=1.0, samples=90):
    """Errors (samples, p) of filter and model alone, while the patient is heated."""
    plant = Plant(patient, model.interval, 1.0, 15.0)
    alone, errors, estimates = np.zeros(len(model.A)), [], []
    target = model.outputs.target
    arriving = [images.image(0, plant.temperature) * np.nan] * images.imaging.delay
    for k in range(samples):
        arriving.append(images.image(k, plant.temperature))
        estimate = observer.update(model.interval * k, arriving.pop(0))
        found = np.where(target, 0.0, np.nan)
        found[target], found[~target] = (estimate.target_temperature,
                                         estimate.constraint_temperature)
        errors.append([found - plant.temperature, 37 + model.C @ alone - plant.temperature])
        estimates.append(estimate)
        power = np.eye(len(model.foci))[(k // 5) % 5] * 8.0 * (k % 10 < 5)
        plant.advance(power * gain)
        observer.predict(power)
        alone = model.A @ alone + model.B @ power
    return np.array(errors).transpose(1, 0, 2), estimates


def _rms(errors):
    return np.sqrt(np.mean(errors ** 2))


WRONG = {"exact": {}, "half of conductivity and perfusion": {"conductivity": 0.5, "perfusion": 0.5},
         "one and a half of both": {"conductivity": 1.5, "perfusion": 1.5},
         "perfusion": {"perfusion": 0.5}, "focal shift": {"shift": 1.5e-3}}


@pytest.mark.parametrize("case", WRONG)
def test_no_offset_under_a_wrong_model(altered_patient, model, settings, thermometry, case):
    images = thermometry(0.5, seed=3)
    (filtered, alone), _ = _heat(altered_patient(**WRONG[case]), model,
                                 KalmanFilter(model, settings, images.imaging, 15.0), images)
    for rows in (model.outputs.constraint, model.outputs.target):
        assert _rms(filtered[:, rows]) < max(0.25, 0.5 * _rms(alone[:, rows]))
    offset = np.abs(filtered[30:].mean(axis=0))
    assert offset.max() < 0.45


def test_the_gains_of_the_foci_are_found(altered_patient, model, settings, thermometry):
    images = thermometry(0.5, seed=3)
    factor = np.array([0.7, 1.3, 1.0, 1.2, 1.2])
    observer = KalmanFilter(model, settings, images.imaging, 15.0)
    (filtered, alone), estimates = _heat(altered_patient(), model, observer, images, gain=factor)
    np.testing.assert_allclose(estimates[-1].gain[:4], factor[:4], atol=0.05)
    assert _rms(filtered) < 0.2 * _rms(alone)


def test_gains_are_those_of_the_full_second_stage():
    """One image, all foci on: the Kalman update of g with the innovations' covariance S."""
    rng = np.random.default_rng(0)
    HB, H, R = rng.standard_normal((7, 3)), rng.standard_normal((7, 4)), 0.4
    P = 0.3 * np.eye(4)
    S = H @ P @ H.T + R * np.eye(7)
    filtered = la.inv(la.inv(P) + H.T @ H / R)
    gains = FocusGains(HB, H @ filtered @ H.T / R, R, GAINS)
    u, innovation = np.array([2.0, 0.0, 1.0]), rng.standard_normal(7)
    prior = 0.09 * np.ones((3, 3)) + 0.0225 * np.eye(3) + 1e-6 * np.eye(3)
    rows = HB * u
    expected = prior @ rows.T @ la.solve(rows @ prior @ rows.T + S, innovation)
    np.testing.assert_allclose(gains.update(u, innovation), expected, atol=1e-9)


GAINS = EstimatorSettings(0.05, 0.02, 0.1, 0.3, 0.15, 1e-3, 0.2, 0.3, 0.003, 0.2, 5.0)


def _errors(settings=GAINS):
    """Four constraint points in two tissues, the last one never measured, and two foci."""
    outputs = Outputs(np.array(["constraint"] * 4 + ["target"]), np.zeros((5, 3)), np.zeros(5),
                      np.full(5, 37.0), np.array([43.0] * 4 + [np.nan]),
                      region=np.array(["fat", "fat", "skin", "skin", "tumour"]))
    heating = np.random.default_rng(1).random((4, 2))
    return HeatingErrors(outputs, sp.csr_array(np.eye(5)[[0, 1, 2, 4]]), heating, 2.0, 0.3,
                         replace(settings, heating_error_walk=0.0)), heating


def test_point_errors_are_bayesian_regression():
    """f of residuals f r + v with v ~ N(0, R), from f ~ N(0, s^2): both in closed form."""
    rng = np.random.default_rng(0)
    rise, residual = 3 * rng.random((20, 4)), rng.standard_normal((20, 4))
    seen = rng.random((20, 4)) < 0.8
    errors, _ = _errors()
    for image in zip(rise, residual, seen, strict=True):
        errors.update(*image)
    squares, product = ((seen * rise * other).sum(axis=0)[:3] / 0.3 for other in (rise, residual))
    information = squares + 1 / 0.2 ** 2
    np.testing.assert_allclose(errors.factor[:3], 1 + product / information)
    np.testing.assert_allclose(errors.variance(np.ones(4), np.zeros(2))[:3], 1 / information)
    assert errors.factor[3] == 1
    assert errors.variance(np.ones(4), np.zeros(2))[3] == pytest.approx(0.04)


def test_tissue_errors_are_bayesian_regression():
    """a of what two points of a tissue absorbed lately, d, which fades by exp(-t / 60 s)."""
    rng = np.random.default_rng(0)
    errors, heating = _errors(replace(GAINS, heating_error=0.0))
    d, information, product = np.zeros(4), np.zeros(2), np.zeros(2)
    for power in 10 * rng.random((15, 2)):
        d = np.exp(-2 / 60) * d + heating @ power
        errors.lately = errors.later(errors.lately, power)
        residual = 0.4 * d + 0.5 * rng.standard_normal(4)
        errors.update(np.zeros(4), residual, np.ones(4, dtype=bool))
        information += [d[:2] @ d[:2] / 0.3, d[2] ** 2 / 0.3]
        product += [residual[:2] @ d[:2] / 0.3, residual[2] * d[2] / 0.3]
    expected = product / (information + 1 / 0.3 ** 2)
    a = expected[[0, 0, 1, 1]]
    np.testing.assert_allclose(errors.absorbed, a[:, None] * heating)
    np.testing.assert_allclose(errors.temperature(np.ones(4), errors.lately), 1 + a * d)
    assert expected == pytest.approx(0.4, abs=0.02)


def test_more_heat_beside_the_target_is_found(altered_patient, model, settings, thermometry):
    """Tissue around the target that absorbs 1.5 times as much as in the model."""
    patient = altered_patient()
    beside = ~patient.voxels.target
    patient.B = np.where(beside[:, None], 1.5, 1.0) * patient.B
    images, c = thermometry(0.5, seed=3), model.outputs.constraint
    observer = KalmanFilter(model, settings, images.imaging, 15.0)
    (filtered, alone), estimates = _heat(patient, model, observer, images)
    deviation = np.array([estimate.constraint_deviation for estimate in estimates])
    assert (np.abs(filtered[:, c]) < 2 * deviation + 0.05).mean() > 0.85
    assert _rms(filtered[40:, c]) < 0.25 * _rms(alone[40:, c])


def test_ten_seconds_without_images_are_survived(altered_patient, model, settings, thermometry):
    wrong = altered_patient(conductivity=0.5, perfusion=0.5)
    images = thermometry(0.5, seed=3, lost_s=[[81, 91]])
    observer = KalmanFilter(model, settings, images.imaging, 15.0)
    (filtered, _), estimates = _heat(wrong, model, observer, images)
    deviation = np.array([estimate.constraint_deviation.mean() for estimate in estimates])
    assert [k for k, e in enumerate(estimates) if not e.valid] == [41, 42, 43, 44, 45]
    assert (np.diff(deviation[40:46]) > 0).all()
    constraint = model.outputs.constraint
    assert np.abs(filtered[41:46][:, constraint]).max() < 1.5
    assert _rms(filtered[50:]) < 0.45


def test_a_missing_image_changes_nothing(model, settings, thermometry):
    observer = KalmanFilter(model, settings, thermometry().imaging, 15.0)
    observer.predict(np.full(5, 2.0))
    before = observer.state.copy()
    estimate = observer.update(2.0, np.full(len(model.C), np.nan))
    np.testing.assert_array_equal(observer.state, before)
    assert np.isfinite(estimate.target_temperature).all()
    assert not estimate.valid


def test_a_useless_image_is_not_believed(altered_patient, model, settings, thermometry):
    images = thermometry(0.5, seed=3, artefact_probability=0.2)
    (filtered, _), estimates = _heat(altered_patient(), model,
                                     KalmanFilter(model, settings, images.imaging, 15.0), images)
    assert 5 < sum(not estimate.valid for estimate in estimates) < 35
    assert _rms(filtered) < 0.25


def test_late_images_are_led_on_to_the_present(altered_patient, model, settings, thermometry):
    images = thermometry(0.2, seed=3, latency_s=3.5)
    assert images.imaging.delay == 2
    (filtered, _), estimates = _heat(altered_patient(), model,
                                     KalmanFilter(model, settings, images.imaging, 15.0), images)
    assert _rms(filtered) < 0.15
    assert not estimates[1].valid and estimates[2].valid


def test_points_without_a_signal_are_known_to_be_uncertain(small_rom, model, settings,
                                                           treatment_config, altered_patient):
    """Conductivity and perfusion wrong by half, and no signal outside of the target."""
    rom = copy.deepcopy(small_rom)
    rom.outputs.region = np.where(rom.outputs.target, "tumour", "fat")
    section = {**treatment_config["thermometry"], "noise_c": 0.5, "no_signal_regions": ["fat"]}
    imaging = ThermometrySettings.read(section)
    images = Thermometry(imaging, Imaging(imaging, rom.outputs))
    (filtered, _), estimates = _heat(altered_patient(conductivity=1.5, perfusion=1.5), model,
                                     KalmanFilter(model, settings, images.imaging, 15.0), images)
    error = np.abs(filtered[:, model.outputs.constraint])
    deviation = np.array([estimate.constraint_deviation for estimate in estimates])
    assert (error < 2 * deviation + 0.1).mean() > 0.8
    assert _rms(filtered[:, model.outputs.target]) < 0.4
