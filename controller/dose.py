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
    rise = np.diff(path, axis=0)
    flat = np.abs(rise) < 1e-4
    rate = np.diff(_antiderivative(path), axis=0) / np.where(flat, 1.0, rise)
    if flat.any():
        rate[flat] = cem43_rate((0.5 * (path[1:] + path[:-1]))[flat])
    return rate.sum(axis=0) * (step / SECONDS_PER_MINUTE)


def cem43_smooth(path: np.ndarray, step: float) -> np.ndarray:
    """As `cem43_path`, for points on a smooth curve: of fourth order in `step`.

    What straight lines miss is a quarter of what they miss between every second point, so
    D = D_h + (D_h - D_2h) / 3 (Richardson extrapolation). An even number of steps is needed.
    """
    fine, coarse = cem43_path(path, step), cem43_path(path[::2], 2 * step)
    return np.maximum(fine + (fine - coarse) / 3, 0.0)


def _antiderivative(temperature: np.ndarray) -> np.ndarray:
    """Integral of the rate from 39 degC up to each temperature [K]."""
    excess = temperature - BREAK
    below = (np.exp2(2 * np.clip(excess, THRESHOLD - BREAK, 0.0)) - RATE_AT_THRESHOLD) / LN4
    return below + np.expm1(LN2 * np.maximum(excess, 0.0)) / LN2


def covered(dose: np.ndarray, prescribed: float, volume: np.ndarray) -> float:
    """Fraction of the volume at or above the prescribed dose."""
    return float(volume[dose >= prescribed].sum() / volume.sum())
