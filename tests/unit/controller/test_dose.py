import numpy as np
import pytest
from scipy.integrate import quad

from hifuflow.controller.dose import cem43, cem43_path, cem43_rate, cem43_smooth

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
