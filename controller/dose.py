"""Thermal dose: cumulative equivalent minutes at 43 degC (Sapareto and Dewey 1984).

    dD/dt = R^(43 - T),   R = 0.5 for T >= 43, 0.25 for 39 <= T < 43, 0 below 39 degC.
"""

from __future__ import annotations

import numpy as np

THRESHOLD, BREAK = 39.0, 43.0
LN2, LN4 = np.log(2.0), np.log(4.0)
RATE_AT_THRESHOLD = 4.0 ** (THRESHOLD - BREAK)
SECONDS_PER_MINUTE = 60.0


def cem43_rate(temperature) -> np.ndarray:
    """Dose rate [min of equivalent time per min] at temperatures [degC]."""
    excess = np.asarray(temperature, dtype=float) - BREAK
    rate = np.exp2(np.where(excess >= 0, excess, 2 * excess))
    return np.where(excess >= THRESHOLD - BREAK, rate, 0.0)


def temperature_of_rate(rate) -> np.ndarray:
    """Highest temperature [degC] at which the dose grows no faster than `rate` [min per min]."""
    doublings = np.log2(np.maximum(rate, RATE_AT_THRESHOLD))
    return BREAK + np.where(doublings >= 0, doublings, doublings / 2)


def cem43(start, end, duration: float) -> np.ndarray:
    """Dose [CEM43 min] while the temperature runs linearly from `start` to `end`.

    The exact integral D = (F(end) - F(start)) / (end - start) * duration, with F the
    antiderivative of the rate over temperature.

    Parameters
    ----------
    start, end : temperatures [degC], arrays of one shape.
    duration : time between them [s].
    """
    path = np.stack([np.asarray(start, dtype=float), np.asarray(end, dtype=float)])
    return cem43_path(path, duration)


def cem43_path(path: np.ndarray, step: float) -> np.ndarray:
    """Dose [CEM43 min] along temperatures (n_points, ...) [degC], linear between points.

    `step` is the time from one point to the next [s].
    """
    return _dose_along(path, _antiderivative(path), step)


def cem43_smooth(path: np.ndarray, step: float) -> np.ndarray:
    """As `cem43_path`, for points on a smooth curve: of fourth order in `step`.

    What straight lines miss is a quarter of what they miss between every second point, so
    D = D_h + (D_h - D_2h) / 3 (Richardson extrapolation). An even number of steps is needed.
    """
    fine, missed = _fine_and_missed(path, step)
    return np.maximum(fine + missed, 0.0)


def cem43_calm(path: np.ndarray, step: float, stride: int, tolerance: float = 1e-3) -> np.ndarray:
    """As `cem43_smooth`, from every `stride`-th point only where that is enough.

    It is where the extrapolation changes the dose by less than this share of it, and its own error
    is smaller still; elsewhere, near the focus, all points count.

    Parameters
    ----------
    path : (n_points, n) [degC], the number of steps an even multiple of `stride`.
    """
    fine, missed = _fine_and_missed(path[::stride], stride * step)
    dose = np.maximum(fine + missed, 0.0)
    restless = np.flatnonzero(np.abs(missed) > tolerance * fine)
    dose[restless] = cem43_smooth(path[:, restless], step)
    return dose


def _fine_and_missed(path: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Dose by straight lines, and what they miss to the next order."""
    integral = _antiderivative(path)
    fine = _dose_along(path, integral, step)
    return fine, (fine - _dose_along(path[::2], integral[::2], 2 * step)) / 3


def _dose_along(path: np.ndarray, integral: np.ndarray, step: float) -> np.ndarray:
    """Dose along a path, whose `_antiderivative` is known."""
    rise = np.diff(path, axis=0)
    flat = np.abs(rise) < 1e-4
    some = flat.any()
    rate = np.diff(integral, axis=0)
    rate /= np.where(flat, 1.0, rise) if some else rise
    if some:
        rate[flat] = cem43_rate((0.5 * (path[1:] + path[:-1]))[flat])
    return rate.sum(axis=0) * (step / SECONDS_PER_MINUTE)


def _antiderivative(temperature: np.ndarray) -> np.ndarray:
    """Integral of the rate from 39 degC up to each temperature [K]."""
    excess = np.maximum(temperature - BREAK, THRESHOLD - BREAK)
    above = excess >= 0
    power = np.exp2(np.where(above, excess, 2 * excess))
    return np.where(above, (power - 1) / LN2 + (1 - RATE_AT_THRESHOLD) / LN4,
                    (power - RATE_AT_THRESHOLD) / LN4)


def covered(dose: np.ndarray, prescribed: float, volume: np.ndarray) -> float:
    """Fraction of the volume at or above the prescribed dose."""
    return float(volume[dose >= prescribed].sum() / volume.sum())
