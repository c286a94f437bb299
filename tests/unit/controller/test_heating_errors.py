"""Gains of the foci and errors of tissues and points, image by image against scalar formulas."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.controller.estimation.heating_errors import FocusGains, HeatingErrors
from hifuflow.controller.settings import EstimatorSettings
from hifuflow.records.outputs import Outputs

R, INTERVAL = 0.4, 2.0
SETTINGS = EstimatorSettings(
    input_error=0.05, model_noise=0.2, measurement_floor=0.1, gain_error=0.3,
    focus_gain_error=0.15, gain_walk=0.05, heating_error=0.2, absorption_error=0.3,
    heating_error_walk=0.02, target_error_smoothing=0.2, max_innovation=5.0)
LEAST = 0.2  # factor of a focus or a point


class Images:
    """Seven measurements of three foci; S is the covariance of the filter's own innovations."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.heating, rows = random.standard_normal((7, 3)), random.standard_normal((7, 4))
        self.covariance = rows @ (0.3 * np.eye(4)) @ rows.T + R * np.eye(7)
        filtered = la.inv(np.eye(4) / 0.3 + rows.T @ rows / R)
        self.seen_gain = rows @ filtered @ rows.T / R

    def gains(self, settings=SETTINGS):
        return FocusGains(self.heating, self.seen_gain, R, settings)


def test_gains_are_a_random_walk_filtered_image_by_image():
    images, random = Images(), np.random.default_rng(1)
    gains, value = images.gains(), np.ones(3)
    covariance = 0.3 ** 2 * np.ones((3, 3)) + 0.15 ** 2 * np.eye(3)
    for power in ([2, 0, 1], [0, 3, 0], [0, 0, 0], [1, 1, 1], [0, 0, 2], [4, 0, 0]):
        innovation = 0.3 * random.standard_normal(7)
        change = np.zeros(3)
        if any(power):
            covariance = covariance + 0.05 ** 2 * np.eye(3)
            rows = images.heating * power
            gain = covariance @ rows.T @ la.inv(rows @ covariance @ rows.T + images.covariance)
            change = gain @ innovation
            covariance = (np.eye(3) - gain @ rows) @ covariance
        value = value + change
        np.testing.assert_allclose(gains.update(np.array(power, float), innovation), change,
                                   atol=1e-9)
        np.testing.assert_allclose(gains.value, value, atol=1e-9)
    assert np.ptp(value) > 0.05


def test_a_focus_never_cools():
    images = Images()
    gains, before = images.gains(), np.ones(3)
    cold = -20 * images.heating @ [1, 1, 1]
    change = gains.update(np.ones(3), cold)
    assert gains.value.min() == LEAST
    np.testing.assert_allclose(before + change, gains.value)  # the change that was made


def test_gains_without_power_stay():
    gains = Images().gains()
    np.testing.assert_array_equal(gains.update(np.zeros(3), np.ones(7)), np.zeros(3))
    np.testing.assert_array_equal(gains.value, np.ones(3))


# Points in an order that is not that of their tissues, measured in another one, after a voxel of
# the target; the last point is never measured.
REGION = np.array(["skin", "fat", "rib", "muscle"])
MEASURED = [4, 2, 0, 1]  # output of each measurement


def errors(settings=SETTINGS):
    """Four points, each in a tissue of its own, and two foci."""
    outputs = Outputs(np.array(["constraint"] * 4 + ["target"]), np.zeros((5, 3)), np.zeros(5),
                      np.full(5, 37.0), np.array([43.0] * 4 + [np.nan]),
                      region=np.append(REGION, "tumour"))
    heating = 0.5 + np.random.default_rng(2).random((4, 2))
    averaging = sp.csr_array(np.eye(5)[MEASURED])
    return HeatingErrors(outputs, averaging, heating, INTERVAL, R, settings), heating


class Point:
    """Errors a and f of one point by scalar Kalman filters, one after the other."""

    def __init__(self, settings=SETTINGS):
        self.a, self.f = 0.0, 0.0
        self.most = settings.absorption_error ** 2, settings.heating_error ** 2
        self.a_variance, self.f_variance = self.most
        self.walk = settings.heating_error_walk ** 2

    def wait(self):
        self.a_variance = min(self.a_variance + self.walk, self.most[0])
        self.f_variance = min(self.f_variance + self.walk, self.most[1])

    def see(self, rise, fresh, residual):
        spread = R + self.f_variance * rise ** 2 + self.a_variance * fresh ** 2
        gain = self.a_variance * fresh / spread
        self.a += gain * (residual - self.f * rise - self.a * fresh)
        self.a_variance *= 1 - gain * fresh
        gain = self.f_variance * rise / (R + self.f_variance * rise ** 2)
        self.f += gain * (residual - self.f * rise - self.a * fresh)
        self.f_variance *= 1 - gain * rise


def test_tissues_and_points_are_filtered_one_after_the_other():
    found, heating = errors()
    points, lately = [Point() for _ in range(4)], np.zeros(2)
    random = np.random.default_rng(3)
    for _ in range(25):
        power = 2 * random.random(2)
        lately = np.exp(-INTERVAL / 60) * lately + power
        found.lately = found.later(found.lately, power)
        rise, residual = 3 * random.random(4), random.standard_normal(4)
        seen = random.random(4) < 0.7
        found.update(rise, residual, seen)
        for point in points:
            point.wait()
        for row, output in enumerate(MEASURED):
            if seen[row] and output < 4:
                points[output].see(rise[row], heating[output] @ lately, residual[row])
    a, f = (np.array([getattr(point, name) for point in points]) for name in "af")
    np.testing.assert_allclose(found.lately, lately)
    np.testing.assert_allclose(found.factor, 1 + f)
    np.testing.assert_allclose(found.absorbed, a[:, None] * heating)
    rise, heat = 3 * random.random(4), random.random(2)
    fresh = heating @ heat
    np.testing.assert_allclose(found.temperature(rise, heat), (1 + f) * rise + a * fresh)
    variance = [point.f_variance * r ** 2 + point.a_variance * d ** 2
                for point, r, d in zip(points, rise, fresh, strict=True)]
    np.testing.assert_allclose(found.variance(rise, heat), variance)
    assert np.abs(a[:3]).min() > 0.01 and np.abs(f[:3]).min() > 0.01 and a[3] == f[3] == 0


def test_a_tissue_learns_from_all_its_points_together():
    """Two points of one tissue: one measurement with the information of both."""
    outputs = Outputs(np.array(["constraint"] * 3), np.zeros((3, 3)), np.zeros(3),
                      np.full(3, 37.0), np.full(3, 43.0), region=np.array(["fat", "rib", "fat"]))
    heating = np.array([[1.0], [3.0], [2.0]])
    settings = replace(SETTINGS, heating_error=0.0, heating_error_walk=0.0)
    found = HeatingErrors(outputs, sp.csr_array(np.eye(3)), heating, INTERVAL, R, settings)
    found.lately = np.array([1.5])
    residual = np.array([0.7, -0.4, 1.9])
    found.update(np.zeros(3), residual, np.ones(3, dtype=bool))
    d = 1.5 * heating[:, 0]
    information = 1 / 0.3 ** 2 + (d[0] ** 2 + d[2] ** 2) / R
    fat = (d[0] * residual[0] + d[2] * residual[2]) / R / information
    rib = d[1] * residual[1] / R / (1 / 0.3 ** 2 + d[1] ** 2 / R)
    np.testing.assert_allclose(found.absorbed[:, 0], np.array([fat, rib, fat]) * heating[:, 0])
    np.testing.assert_allclose(found.variance(np.zeros(3), np.ones(1))[0], 1 / information)


def test_doubt_comes_back_to_what_it_was_and_no_further():
    found, _ = errors()
    spread = found.variance(np.ones(4), np.zeros(2))
    np.testing.assert_allclose(spread, SETTINGS.heating_error ** 2)
    found.lately = np.ones(2)
    found.update(np.full(4, 5.0), np.zeros(4), np.ones(4, dtype=bool))
    learned = found.variance(np.ones(4), np.zeros(2))
    assert (learned[:3] < 0.5 * spread[:3]).all() and learned[3] == pytest.approx(spread[3])
    for _ in range(3):  # images without heat tell nothing
        found.update(np.zeros(4), np.zeros(4), np.ones(4, dtype=bool))
    walked = learned[:3] + 3 * SETTINGS.heating_error_walk ** 2
    np.testing.assert_allclose(found.variance(np.ones(4), np.zeros(2))[:3], walked)
    for _ in range(1000):
        found.update(np.zeros(4), np.zeros(4), np.zeros(4, dtype=bool))
    np.testing.assert_allclose(found.variance(np.ones(4), np.zeros(2)), spread)


def test_a_point_never_cools():
    found, _ = errors(replace(SETTINGS, heating_error=10.0))
    found.update(np.full(4, 5.0), np.full(4, -50.0), np.ones(4, dtype=bool))
    np.testing.assert_allclose(found.factor, [LEAST] * 3 + [1.0])
    np.testing.assert_allclose(found.temperature(np.full(4, 2.0), np.zeros(2)),
                               [2 * LEAST] * 3 + [2.0])
