"""State estimation from thermometry: Kalman filter, errors of the model, dose.

Model        x(k+1) = A x(k) + B (diag(g) u(k) + e(k)) + w(k)
             y(k) = W (baseline + (1 + f(k)) C x(k) + a(k) d(k) + b(k)) + v(k),   W: averaging
                    by the thermometry, C and baseline: means over the target's voxels
g  gain of each focus (absorption, attenuation on the way): a random walk that starts from 1
e ~ N(0, (input_error * full power)^2) per focus, w ~ N(0, q^2 I), q such that the outputs' rms
   over one sample is `model_noise`
a, f, b  what no state of the reduced model can stand for: a, by which fraction a tissue beside the
   target absorbs more than the foci's gains say, of the heat d = C B s that a constraint point
   absorbed lately, s(k+1) = exp(-h/60 s) s(k) + diag(g) u(k); f, by which fraction each constraint
   point heats more for other reasons (perfusion, conductivity); both random walks from 0; b, the
   error of the model at each voxel of the target, where it changes with the focus
v ~ N(0, noise^2 + measurement_floor^2), independent from voxel to voxel.

The state's gain L is the stationary one; its Riccati equation is solved by the structure-preserving
doubling algorithm (Chu, Fan, Lin and Wang, Int. J. Control 77, 2004). The gains of the foci follow
from the innovations i by a second stage (Friedland, IEEE Trans. Automatic Control 14, 1969), cut
to one sample: an innovation shows i = H B diag(u) (g - g_estimated), with the covariance S of the
filter's own innovations. a and f follow from what the state's update leaves of them, by Kalman
filters of one state for each tissue and each constraint point: their variances are part of that of
the point's temperature, small where little is heated and where much has been seen. b follows the
same residuals in the target by exponential smoothing, each value shrunk by b^2 / (b^2 + s^2), with
s two standard deviations of the noise that passes through: where the model is right, next to
nothing of it is left.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import scipy.linalg as la

from hifuflow.controller.dose import cem43
from hifuflow.controller.imaging import Imaging
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.settings import EstimatorSettings
from hifuflow.errors import NumericalError
from hifuflow.job import log

from .estimate import Absorbed, Estimate
from .heating_errors import FocusGains, HeatingErrors
from .innovation import Innovation


class KalmanFilter:
    """Kalman filter of the reduced model's state; measurements that are NaN are left out.

    A missing measurement counts as one that agrees with the prediction, so an image that is
    missing as a whole leaves the prediction as it is. An image whose median innovation is above
    `max_innovation` is not believed, and counts as missing.

    Images that come late are taken in where they belong: the filter stays that many samples
    behind, and its state is led on to the present by the powers since.

    The dose is that of the estimated temperatures, linear from sample to sample. With 2 s
    samples of the exact temperatures the lines alone gave 0.88 to 1.08 of the dose per voxel
    after 180 s on the reference plant, its foci switched every 12 s.

    Parameters
    ----------
    longest_gap : longest time without images for which the deviations grow [s].

    Attributes
    ----------
    model, settings : as given.  innovation : of the last image.
    heating : (n_m, n_foci) H B, what a watt at each focus brings to an image [K/W].
    rows : (n_m, r) H.  variance : R, of a measurement [K2].
    """

    def __init__(self, model: DiscreteModel, settings: EstimatorSettings,
                 imaging: Imaging, max_power: float, longest_gap: float = 10.0):
        self.model, self.settings = model, settings
        log.info("Kalman gain for %d states...", len(model.A))
        averaging = imaging.averaging
        rows = averaging @ model.C_mean
        process, variance = noise_covariances(model, settings, imaging.noise, max_power)
        gain, covariance = stationary_gain(model.A, rows, process, variance)
        self._constraint, self._target = model.outputs.constraint, model.outputs.target
        steps = imaging.delay + int(longest_gap / model.interval) + 1
        self._variance = predicted_variances(model.A, model.C[self._constraint], process,
                                             covariance, steps)
        self._missed, self._delay = 0, imaging.delay
        self.heating, self.variance = rows @ model.B, variance
        self._gains = FocusGains(self.heating, rows @ gain, variance, settings)
        self._learned = model.B - gain @ self.heating
        # Single precision halves the memory traffic of a step and costs some 1e-5 K.
        self.gain, self.rows = gain.astype(np.float32), rows.astype(np.float32)
        self._all_rows = model.C.astype(np.float32)
        self._spread = (averaging[:, np.flatnonzero(self._target)] > 0).astype(float).T.tocsr()
        self._measured_baseline = averaging @ model.outputs.mean_baseline
        self._heating = HeatingErrors(model.outputs, averaging, model.C[self._constraint] @ model.B,
                                      model.interval, variance, settings)
        smoothing = settings.target_error_smoothing
        self._error, self._passing = np.zeros(len(rows)), variance * smoothing / (2 - smoothing)
        self._powers: deque = deque()
        self._last_power = np.zeros(model.B.shape[1])
        self.state = np.zeros(len(model.A))
        self._temperature = model.outputs.baseline.copy()
        self._dose = np.zeros(len(model.C))
        self._shown = np.zeros(len(rows))  # rise of the last image by the state, once taken in
        self._ahead: np.ndarray | None = None  # rise that the next image is expected to show
        self.innovation: Innovation | None = None

    @property
    def expected(self) -> np.ndarray:
        """(n_m,) what the next image is expected to show [degC]."""
        return self._measured_baseline + self._expected_rise()

    def _expected_rise(self) -> np.ndarray:
        if self._ahead is None:
            self._ahead = self.rows @ self.state.astype(np.float32)
        return self._ahead

    @property
    def gains(self) -> np.ndarray:
        """(n_foci,) gains of the foci."""
        return self._gains.value

    @property
    def most_heated(self) -> np.ndarray:
        """(n_c,) bool, see `HeatingErrors.most_heated`."""
        return self._heating.most_heated

    def update(self, time: float, measured: np.ndarray) -> Estimate:
        """Take in the image (n_m,) [degC] that arrives at this sampling time [s]."""
        expected, self._ahead = self._expected_rise(), None
        innovation = measured - self._measured_baseline - expected
        seen = np.isfinite(innovation)
        valid = bool(2 * np.count_nonzero(seen) >= len(seen) and
                     np.median(np.abs(innovation[seen])) <= self.settings.max_innovation)
        self._keep(expected, innovation, valid)
        if valid:
            self._take_in(expected, np.where(seen, innovation, 0.0), seen)
        self._missed = max(0, self._missed - 1) if valid else self._missed + 1
        behind = self._temperatures(self.state, self._heating.lately)
        if time > self._delay * self.model.interval:
            self._dose = self._dose + cem43(self._temperature, behind, self.model.interval)
        self._temperature = behind
        return self._estimate(time, valid)

    def predict(self, power: np.ndarray) -> None:
        """Go on by one sample with power (n_foci,) [W]."""
        self._powers.append(np.array(power, dtype=float))
        if len(self._powers) > self._delay:
            self._last_power = self._powers.popleft()
            self._heating.lately = self._heating.later(self._heating.lately,
                                                       self._gains.value * self._last_power)
            self.state = self._led_on(self.state, self._last_power)
            self._ahead = None

    def _keep(self, expected: np.ndarray, innovation: np.ndarray, valid: bool) -> None:
        """Keep what an image shows beside what was expected, before it is taken in."""
        power, gain = self._last_power, self._gains
        heat = self.heating @ (gain.value * power)
        self.innovation = Innovation(
            innovation, innovation + expected, heat, expected - self._shown - heat, power,
            gain.value, gain.deviation(power), valid)
        self._shown = expected

    def _take_in(self, expected: np.ndarray, innovation: np.ndarray, seen: np.ndarray) -> None:
        change = self.gain @ innovation.astype(np.float32)
        self.state = self.state + change
        if not self._missed:  # otherwise the heat of several samples shows at once
            more = self._gains.update(self._last_power, innovation)
            self.state = self.state + self._learned @ (self._last_power * more)
        seen_change = self.rows @ change
        self._shown = expected + seen_change
        residual = innovation - seen_change
        self._heating.update(expected + seen_change, residual, seen)
        self._error += np.where(seen, self.settings.target_error_smoothing
                                * (residual - self._error), 0.0)

    def _estimate(self, time: float, valid: bool) -> Estimate:
        """The present, from the state that is `delay` samples behind."""
        state, temperature, dose = self.state, self._temperature, self._dose
        heating, lately = self._heating, self._heating.lately
        for power in self._powers:
            state, before = self._led_on(state, power), temperature
            lately = heating.later(lately, self._gains.value * power)
            temperature = self._temperatures(state, lately)
            dose = dose + cem43(before, temperature, self.model.interval)
        c, v = self._constraint, self._target
        late = min(self._missed + len(self._powers), len(self._variance) - 1)
        rise = (temperature - self.model.outputs.baseline)[c]
        deviation = np.sqrt(self._variance[late] + heating.variance(rise, lately))
        return Estimate(time, state, temperature[c], temperature[v], dose[v], deviation, dose[c],
                        self._gains.value, heating.factor,
                        Absorbed(heating.absorbed, lately, heating.left), valid)

    def _led_on(self, state: np.ndarray, power: np.ndarray) -> np.ndarray:
        return self.model.A @ state + self.model.B @ (self._gains.value * power)

    def _temperatures(self, state: np.ndarray, lately: np.ndarray) -> np.ndarray:
        rise = self._all_rows @ state.astype(np.float32)
        rise[self._constraint] = self._heating.temperature(rise[self._constraint], lately)
        rise[self._target] += self._spread @ (self._trust() * self._error)
        return rise + self.model.outputs.baseline

    def _trust(self) -> np.ndarray:
        """(n_m,) share of the smoothed residuals that counts as an error of the model, b."""
        square = self._error ** 2
        return square / (square + 4 * self._passing + 1e-12)


def noise_covariances(model: DiscreteModel, settings: EstimatorSettings, noise: float,
                      max_power: float) -> tuple[np.ndarray, float]:
    """(process noise (r, r), variance of a measurement [K2]); see the top of this file."""
    heating = model.B * (settings.input_error * max_power)
    p, r = model.C.shape
    unmodelled = settings.model_noise ** 2 * p / np.sum(model.C ** 2)
    process = heating @ heating.T + unmodelled * np.eye(r)
    return process, noise ** 2 + settings.measurement_floor ** 2


def stationary_gain(A: np.ndarray, rows: np.ndarray, process: np.ndarray,
                    variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Kalman gain L (r, n_m) of x(k|k) = x(k|k-1) + L (y - H x(k|k-1)), and the covariance (r, r)
    of x(k|k).

    With P the stationary covariance of x(k|k-1), H the measured rows and R = variance * I,
    L = P H' (H P H' + R)^-1 = (I + P H' R^-1 H)^-1 P H' R^-1, and the covariance of x(k|k) is
    (I + P H' R^-1 H)^-1 P.
    """
    information = rows.T @ rows / variance
    covariance = solve_riccati(A, information, process)
    filtered = la.solve(np.eye(len(A)) + covariance @ information, covariance)
    filtered = (filtered + filtered.T) / 2
    return filtered @ rows.T / variance, filtered


def predicted_variances(A: np.ndarray, rows: np.ndarray, process: np.ndarray,
                        covariance: np.ndarray, steps: int) -> np.ndarray:
    """(steps + 1, n) variances of outputs `rows` (n, r) [K2] so many samples after the last image,

    diag(C (A^k P A'^k + sum_(i<k) A^i Q A'^i) C').
    """
    variances, grown = [], np.zeros(len(rows))
    for _ in range(steps + 1):
        variances.append(np.einsum("nr,nr->n", rows @ covariance, rows) + grown)
        grown = grown + np.einsum("nr,nr->n", rows @ process, rows)
        rows = rows @ A
    return np.maximum(variances, 0.0)


def solve_riccati(A: np.ndarray, information: np.ndarray, process: np.ndarray,
                  tolerance: float = 1e-10) -> np.ndarray:
    """Stationary P = A P (I + G P)^-1 A' + Q, with G = C' R^-1 C and Q the process noise.

    Doubling converges quadratically: the relative error of P after a step is about the square of
    the relative change by it, so the iteration ends when that square is below `tolerance`.

    Raises
    ------
    NumericalError
        if doubling has not converged after 50 steps (2^50 samples).
    """
    identity = np.eye(len(A))
    F, G, P = A.T, information, process
    for _ in range(50):
        inner = la.lu_factor(identity + G @ P, overwrite_a=True)
        solved_F, solved_G = la.lu_solve(inner, F), la.lu_solve(inner, G)
        step = F.T @ P @ solved_F
        G = G + F @ solved_G @ F.T
        F = F @ solved_F
        P = P + step
        P, G = (P + P.T) / 2, (G + G.T) / 2
        if np.linalg.norm(step) <= np.sqrt(tolerance) * np.linalg.norm(P):
            return P
    raise NumericalError("the Kalman filter's Riccati equation did not converge")
