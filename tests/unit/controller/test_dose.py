from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from hifuflow.controller.dose import (
    cem43,
    cem43_calm,
    cem43_path,
    cem43_rate,
    cem43_smooth,
    covered,
    temperature_of_rate,
)

# Equivalents of 240 CEM43 minutes (Sapareto and Dewey 1984, R = 0.5).
EQUIVALENTS = [(43.0, 14400.0), (47.0, 900.0), (50.0, 112.5), (55.0, 3.515625), (57.0, 0.87890625)]


@pytest.mark.parametrize("temperature, seconds", EQUIVALENTS)
def test_published_equivalents_of_240_minutes(temperature, seconds):
    assert cem43(temperature, temperature, seconds) == pytest.approx(240.0, rel=1e-12)


def test_rate_on_both_sides_of_the_breaks():
    rate = cem43_rate([38.99, 39.0, 42.0, 43.0, 44.0])
    np.testing.assert_allclose(rate, [0.0, 0.25 ** 4, 0.25, 1.0, 2.0], rtol=1e-12)


@pytest.mark.parametrize("start, end", [(37, 38), (37, 41), (38, 60), (60, 38), (41, 45),
                                        (50, 50.00005), (50, 50.0002), (90, 37)])
def test_linear_segments_match_quadrature(start, end):
    exact = quad(lambda s: float(cem43_rate(start + (end - start) * s)), 0, 1, limit=400,
                 points=[(b - start) / (end - start) for b in (39, 43)
                         if min(start, end) < b < max(start, end)] or None)[0]
    assert cem43(start, end, 120.0) == pytest.approx(2 * exact, rel=1e-8, abs=1e-12)


def test_is_vectorised():
    start, end = np.array([[37.0, 50.0], [60.0, 43.0]]), np.array([[50.0, 37.0], [60.0, 43.0]])
    dose = cem43(start, end, 60.0)
    assert dose.shape == (2, 2)
    assert dose[0, 0] == pytest.approx(dose[0, 1])
    assert dose[1, 1] == pytest.approx(1.0)


def test_smooth_path_is_of_fourth_order():
    def temperature(t):
        return 43 + 15 * (1 - np.exp(-t / 4)) + 0.5

    exact = 1 / 60 * quad(lambda t: float(cem43_rate(temperature(t))), 0, 8)[0]
    errors = [abs(cem43_smooth(temperature(np.linspace(0, 8, n + 1)), 8 / n) / exact - 1)
              for n in (8, 16, 32)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.4)


def test_smooth_path_keeps_lines_and_never_takes_dose_back():
    line = np.linspace(44, 58, 9)
    assert cem43_smooth(line, 0.25) == pytest.approx(cem43_path(line, 0.25), rel=1e-12)
    random = np.random.default_rng(1).uniform(37, 41, (9, 500))
    assert (cem43_smooth(random, 0.25) >= 0).all()
    np.testing.assert_allclose(cem43_smooth(np.full((9, 3), [37.0, 41.0, 43.0]), 7.5),
                               [0, 1 / 16, 1], rtol=1e-12)


@pytest.mark.parametrize("rate, temperature", [(0.0625, 41.0), (0.25, 42.0), (1.0, 43.0),
                                               (2 ** 0.5, 43.5), (2.0, 44.0), (16.0, 47.0)])
def test_temperature_of_a_rate_is_where_tissue_has_that_rate(rate, temperature):
    assert temperature_of_rate(rate) == pytest.approx(temperature, rel=1e-12)
    assert cem43_rate(temperature) == pytest.approx(rate, rel=1e-12)


def test_no_temperature_of_a_rate_is_below_the_one_at_which_dose_begins():
    np.testing.assert_allclose(temperature_of_rate([0.0, 1e-9, 0.25 ** 4]), 39.0, rtol=1e-12)


def test_dose_of_a_path_is_the_sum_of_its_segments():
    """Steady, rising, falling and nearly steady segments behind each other."""
    path = np.array([41.0, 41.0, 50.0, 50.00005, 50.00005, 44.0, 37.0])
    segments = [cem43(start, end, 3.0) for start, end in pairwise(path)]
    assert cem43_path(path, 3.0) == pytest.approx(sum(segments), rel=1e-12)
    together = np.stack([path, path[::-1]], axis=1)
    np.testing.assert_allclose(cem43_path(together, 3.0), sum(segments), rtol=1e-9)


def test_dose_of_temperatures_in_single_precision_is_in_double_precision():
    """Estimates and stored courses are in single precision; sums of many small doses are not."""
    start, end = np.float32([42.1, 55.3]), np.float32([42.9, 56.7])
    exact = cem43(start.astype(float), end.astype(float), 2.0)
    np.testing.assert_allclose(cem43(start, end, 2.0), exact, rtol=1e-14)
    np.testing.assert_allclose(cem43_rate(start), cem43_rate(start.astype(float)), rtol=1e-14)


def test_covered_is_the_fraction_of_the_volume_that_has_at_least_the_dose():
    dose, volume = np.array([239.9, 240.0, 300.0, 0.0]), np.array([1.0, 2.0, 4.0, 3.0])
    assert covered(dose, 240.0, volume) == pytest.approx(0.6)


def test_calm_paths_need_fewer_points_and_restless_ones_all():
    """A slow and a fast rise, against sixteen times as many points."""
    t = np.linspace(0, 20, 81)  # 0.25 s apart, as 8 to a sample of 2 s

    def path(t):
        return np.column_stack([41 + 3 * np.sin(t / 15), 40 + 18 * (1 - np.exp(-t / 0.6))])

    exact = cem43_smooth(path(np.linspace(0, 20, 16 * 80 + 1)), 0.25 / 16)
    found = cem43_calm(path(t), 0.25, 4)
    np.testing.assert_allclose(found, exact, rtol=1e-3)
    coarse = cem43_smooth(path(t)[::4], 1.0)
    assert found[0] == coarse[0] and found[1] == cem43_smooth(path(t), 0.25)[1] != coarse[1]
