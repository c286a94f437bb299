"""Shifts against the closed form of Zolotarev's problem, the spectrum against dense eigenvalues."""

import numpy as np
import pytest
import scipy.linalg as la
from scipy.special import ellipk, ellipkm1

from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.reduction.shifts import interleaved, spectral_interval, wachspress_shifts


@pytest.mark.parametrize(("low", "high", "tolerance"), [
    (1e-3, 13.0, 1e-12), (1e-3, 13.0, 1e-5), (0.1, 1.0, 1e-8), (1e-4, 1e3, 1e-10)])
def test_error_factor_equioscillates_at_the_optimal_height(low, high, tolerance):
    shifts = wachspress_shifts(low, high, tolerance)
    spectrum = np.geomspace(low, high, 100_001)
    factor = np.abs(np.prod((spectrum - shifts[:, None]) / (spectrum + shifts[:, None]), axis=0))
    peaks = factor[1:-1][(factor[1:-1] > factor[:-2]) & (factor[1:-1] > factor[2:])]
    heights = np.concatenate([factor[[0, -1]], peaks])
    assert len(heights) == len(shifts) + 1
    k2 = (low / high) ** 2
    best = 2 * np.exp(-np.pi * len(shifts) * ellipk(k2) / ellipkm1(k2))
    np.testing.assert_allclose(heights, best, rtol=1e-4)
    assert best**2 <= tolerance < best**2 * np.exp(2 * np.pi * ellipk(k2) / ellipkm1(k2))


def test_one_rate_needs_one_shift():
    np.testing.assert_allclose(wachspress_shifts(2.0, 2.0, 1e-12), [2.0])


@pytest.mark.parametrize("count", [1, 2, 5, 8, 30])
def test_interleaving_keeps_every_shift(count):
    shifts = np.geomspace(1, 100, count)
    assert sorted(interleaved(shifts)) == sorted(shifts)


def test_spectral_interval_encloses_the_dense_spectrum_closely(cube):
    rates = la.eigh(cube.K.toarray(), cube.E.toarray(), eigvals_only=True)
    low, high = spectral_interval(cube.E, cube.K, ShiftedSolver(cube.E, cube.K))
    assert 0.95 * rates[0] < low <= rates[0]
    assert rates[-1] <= high < 1.05 * rates[-1]
