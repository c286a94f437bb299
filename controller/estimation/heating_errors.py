"""Multiplicative heating errors of foci, tissues and constraint points; see `kalman`."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.controller.settings import EstimatorSettings
from hifuflow.records.outputs import Outputs

FRESH_S = 60.0  # time constant with which heat that was absorbed at a point spreads (assumed)


class FocusGains:
    """Gains of the foci: by which factor each heats more than the model says, from the innovations.

    With D = diag(u), the information of one image on the gains is D G D, G = (H B)' S^-1 H B, and
    S^-1 = (I - H L) / R by the stationary gain L.

    Parameters
    ----------
    heating : (n_m, n_foci) H B.  seen_gain : (n_m, n_m) H L.
    variance : R [K2].

    Attributes
    ----------
    value : (n_foci,) gains, within `settings.gain_range`.
    """

    def __init__(self, heating: np.ndarray, seen_gain: np.ndarray, variance: float,
                 settings: EstimatorSettings):
        self._weight = (heating - seen_gain @ heating) / variance
        self._information = heating.T @ self._weight
        n = heating.shape[1]
        self._covariance = (settings.gain_error ** 2 * np.ones((n, n))
                            + settings.focus_gain_error ** 2 * np.eye(n))
        self._walk, self._range = settings.gain_walk ** 2 * np.eye(n), settings.gain_range
        self.value = np.ones(n)

    def update(self, power: np.ndarray, innovation: np.ndarray) -> np.ndarray:
        """Take in an innovation (n_m,) [K] after a sample of power (n_foci,) [W]; the change."""
        on = np.flatnonzero(power)
        if not len(on):
            return np.zeros_like(self.value)
        u, before = power[on], self.value
        self._covariance += self._walk
        information = u[:, None] * self._information[np.ix_(on, on)] * u
        cross = self._covariance[:, on]
        inner = np.eye(len(on)) + information @ cross[on]
        change = cross @ la.solve(inner, u * (self._weight[:, on].T @ innovation))
        self._covariance -= cross @ la.solve(inner, information @ cross.T)
        self._covariance = (self._covariance + self._covariance.T) / 2
        self.value = np.clip(before + change, *self._range)
        return self.value - before

    def deviation(self, power: np.ndarray) -> float:
        """Standard deviation of the gains' mean, weighted by a power (n_foci,) [W]."""
        weight = power / max(power.sum(), 1e-12)
        return float(np.sqrt(max(0.0, weight @ self._covariance @ weight)))


class HeatingErrors:
    """Heating errors of the constraint points: what they are heated more than the model says.

    A measurement is y - baseline = (1 + f) r + a d + v, with r the rise that the state stands for,
    and d = C B s what was absorbed at the point lately: s(k+1) = exp(-h / FRESH_S) s(k) + u(k). a,
    one for each tissue, is the error of its absorption; f, one for each point, that of everything
    else. 1 + f and 1 + a stay within `settings.heating_range` and `settings.absorption_range`.

    Parameters
    ----------
    outputs : of the model.  averaging : (n_m, p) W.
    heating : (n_c, n_foci) C B at the constraint points [K/W].  interval : h [s].
    variance : R [K2].

    Attributes
    ----------
    left : exp(-h / FRESH_S).  lately : (n_foci,) s [W].
    """

    def __init__(self, outputs: Outputs, averaging: sp.csr_array, heating: np.ndarray,
                 interval: float, variance: float, settings: EstimatorSettings):
        points = np.flatnonzero(outputs.constraint)
        # A constraint point is measured as it is: its row of W has this one entry.
        self._row, self._point = averaging[:, points].nonzero()
        regions, self._region = np.unique(np.asarray(outputs.region)[points].astype(str),
                                          return_inverse=True)
        self._noise, self._heating = variance, heating
        self.left = np.exp(-interval / FRESH_S)
        self._most = settings.heating_error ** 2, settings.absorption_error ** 2
        self._walk = settings.heating_error_walk ** 2
        self._f_range, self._a_range = (np.subtract(factors, 1) for factors in (
            settings.heating_range, settings.absorption_range))
        self.lately = np.zeros(heating.shape[1])
        self._f, self._f_variance = np.zeros(len(points)), np.full(len(points), self._most[0])
        self._a, self._a_variance = np.zeros(len(regions)), np.full(len(regions), self._most[1])

    def later(self, lately: np.ndarray, power: np.ndarray) -> np.ndarray:
        """s (n_foci,) one sample with a power (n_foci,) later [W]."""
        return self.left * lately + power

    def update(self, rise: np.ndarray, residual: np.ndarray, seen: np.ndarray) -> None:
        """Take in what an image shows beyond the rises by the state; all (n_m,), [K].

        First the tissues' errors, from all their points together, and then the points' own.
        """
        row = self._row[seen[self._row]]
        at = self._point[seen[self._row]]
        rise, residual, fresh = rise[row], residual[row], (self._heating @ self.lately)[at]
        self._f_variance = np.minimum(self._f_variance + self._walk, self._most[0])
        self._a_variance = np.minimum(self._a_variance + self._walk, self._most[1])

        noise = self._noise + self._f_variance[at] * rise ** 2
        region, n = self._region[at], len(self._a)
        left = residual - self._f[at] * rise - self._a[region] * fresh
        self._a_variance = 1 / (1 / np.maximum(self._a_variance, 1e-12)
                                + np.bincount(region, fresh ** 2 / noise, n))
        self._a += self._a_variance * np.bincount(region, fresh * left / noise, n)
        self._a = np.clip(self._a, *self._a_range)

        gain = self._f_variance[at] * rise / (self._f_variance[at] * rise ** 2 + self._noise)
        self._f[at] += gain * (residual - self._f[at] * rise - self._a[region] * fresh)
        self._f[at] = np.clip(self._f[at], *self._f_range)
        self._f_variance[at] *= 1 - gain * rise

    @property
    def factor(self) -> np.ndarray:
        """(n_c,) 1 + f."""
        return 1 + self._f

    @property
    def most_heated(self) -> np.ndarray:
        """(n_c,) bool: points that heat as much more, or whose tissue absorbs as much more, than
        the model says as is allowed to be learned."""
        return (self._f >= self._f_range[1]) | (self._a >= self._a_range[1])[self._region]

    @property
    def absorbed(self) -> np.ndarray:
        """(n_c, n_foci) a C B: rise beyond the model's for what each focus gave lately [K/W]."""
        return self._a[self._region, None] * self._heating

    def temperature(self, rise: np.ndarray, lately: np.ndarray) -> np.ndarray:
        """(n_c,) rises [K] with the errors, from those by the state."""
        return self.factor * rise + self._a[self._region] * (self._heating @ lately)

    def variance(self, rise: np.ndarray, lately: np.ndarray) -> np.ndarray:
        """(n_c,) of `temperature` [K2]."""
        return (self._f_variance * rise ** 2
                + self._a_variance[self._region] * (self._heating @ lately) ** 2)
