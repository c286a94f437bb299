"""By which factors foci and constraint points heat more than the model says; see `estimator`."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from .settings import EstimatorSettings

LEAST_GAIN = 0.05  # least factor by which a focus, or a constraint point, heats


class FocusGains:
    """By which factor each focus heats more than the model says, from the innovations.

    With D = diag(u), the information of one image on the gains is D G D, G = (H B)' S^-1 H B, and
    S^-1 = (I - H L) / R by the stationary gain L.

    Parameters
    ----------
    heating : (n_m, n_foci) H B.  seen_gain : (n_m, n_m) H L.
    variance : R [K2].

    Attributes
    ----------
    value : (n_foci,) gains.
    """

    def __init__(self, heating: np.ndarray, seen_gain: np.ndarray, variance: float,
                 settings: EstimatorSettings):
        self._weight = (heating - seen_gain @ heating) / variance
        self._information = heating.T @ self._weight
        n = heating.shape[1]
        self._covariance = (settings.gain_error ** 2 * np.ones((n, n))
                            + settings.focus_gain_error ** 2 * np.eye(n))
        self._walk = settings.gain_walk ** 2 * np.eye(n)
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
        self.value = np.maximum(before + change, LEAST_GAIN)
        return self.value - before


class HeatingError:
    """By which factor each constraint point heats more than the model says.

    Its measurement y - baseline = (1 + f) r + v, with r the rise that the state stands for.

    Parameters
    ----------
    averaging : (n_m, p) W.  constraint : (p,) bool.
    variance : R [K2].

    Attributes
    ----------
    factor : (n_c,) 1 + f.  variance : (n_c,) of f; as before the treatment where nothing is
        measured.
    """

    def __init__(self, averaging: sp.csr_array, constraint: np.ndarray, variance: float,
                 settings: EstimatorSettings):
        points = np.flatnonzero(constraint)
        # A constraint point is measured as it is: its row of W has this one entry.
        self._measured, self._point = averaging[:, points].nonzero()
        self._noise = variance
        self._most, self._walk = settings.heating_error ** 2, settings.heating_error_walk ** 2
        self.factor, self.variance = np.ones(len(points)), np.full(len(points), self._most)

    def update(self, rise: np.ndarray, residual: np.ndarray, seen: np.ndarray) -> None:
        """Take in what an image shows beyond the rises (n_m,) by the state; both (n_m,) [K]."""
        at = self._point[seen[self._measured]]
        rise, residual = (values[self._measured[seen[self._measured]]]
                          for values in (rise, residual))
        self.variance = np.minimum(self.variance + self._walk, self._most)
        gain = self.variance[at] * rise / (self.variance[at] * rise ** 2 + self._noise)
        change = gain * (residual - (self.factor[at] - 1) * rise)
        self.variance[at] *= 1 - gain * rise
        self.factor[at] = np.maximum(self.factor[at] + change, LEAST_GAIN)
