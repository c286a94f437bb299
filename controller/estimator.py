"""What a controller knows about the patient: Kalman filter and dose bookkeeping.

Model        x(k+1) = A x(k) + B (u(k) + e(k)) + w(k),   y(k) = baseline + C x(k) + v(k)
e ~ N(0, (input_error * full power)^2) per focus: absorption, focal shift
w ~ N(0, q^2 I), q such that the outputs' rms over one sample is `model_noise`: all else
v ~ N(0, noise^2 + measurement_floor^2), independent from voxel to voxel.

The gain is the stationary one. Its Riccati equation is solved by the structure-preserving
doubling algorithm (Chu, Fan, Lin and Wang, Int. J. Control 77, 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hifuflow.errors import NumericalError
from hifuflow.job import log

from .dose import cem43
from .prediction import DiscreteModel
from .settings import EstimatorSettings


@dataclass(frozen=True)
class Estimate:
    """All that a controller is told at a sampling time.

    Attributes
    ----------
    time : [s].
    state : (r,) of the reduced model.
    constraint_temperature, target_temperature : (n_c,), (n_v,) [degC].
    target_dose : (n_v,) thermal dose of the target voxels by the estimated temperatures
        [CEM43 min].
    constraint_deviation : (n_c,) standard deviation of the error of `constraint_temperature` by
        the filter's own covariance [K].
    """

    time: float
    state: np.ndarray
    constraint_temperature: np.ndarray
    target_temperature: np.ndarray
    target_dose: np.ndarray
    constraint_deviation: np.ndarray


class KalmanFilter:
    """State of the reduced model from thermometry; measurements that are NaN are left out.

    A missing measurement counts as one that agrees with the prediction, so an image that is
    missing as a whole leaves the prediction as it is.

    The dose is that of the estimated temperatures, linear from sample to sample. With 2 s
    samples of the exact temperatures the lines alone gave 0.88 to 1.08 of the dose per voxel
    after 180 s on the reference plant, its foci switched every 12 s.
    """

    def __init__(self, model: DiscreteModel, settings: EstimatorSettings, noise: float,
                 max_power: float):
        self.model = model
        log.info("Kalman gain for %d states...", len(model.A))
        gain, variance = stationary_gain(model, *noise_covariances(model, settings, noise,
                                                                   max_power))
        # Single precision halves the memory traffic of a step and costs some 1e-5 K.
        self.gain, self._rows = gain.astype(np.float32), model.C.astype(np.float32)
        self.state = np.zeros(len(model.A))
        self._constraint, self._target = model.outputs.constraint, model.outputs.target
        self._deviation = np.sqrt(variance[self._constraint])
        self._temperature = model.outputs.baseline.copy()
        self._dose = np.zeros(int(self._target.sum()))

    def update(self, time: float, measured: np.ndarray) -> Estimate:
        """Take in the measurements (p,) [degC] of this sampling time."""
        predicted = self._temperatures()
        innovation = np.where(np.isfinite(measured), measured - predicted, 0.0)
        self.state = self.state + self.gain @ innovation.astype(np.float32)
        temperature = self._temperatures()
        if time > 0:
            self._dose = self._dose + cem43(self._temperature[self._target],
                                            temperature[self._target], self.model.interval)
        self._temperature = temperature
        return Estimate(time, self.state, temperature[self._constraint],
                        temperature[self._target], self._dose, self._deviation)

    def predict(self, power: np.ndarray) -> None:
        """Go on by one sample with power (n_foci,) [W]."""
        self.state = self.model.A @ self.state + self.model.B @ power

    def _temperatures(self) -> np.ndarray:
        return self._rows @ self.state.astype(np.float32) + self.model.outputs.baseline


def noise_covariances(model: DiscreteModel, settings: EstimatorSettings, noise: float,
                      max_power: float) -> tuple[np.ndarray, float]:
    """(process noise (r, r), variance of a measurement [K2]); see the top of this file."""
    heating = model.B * (settings.input_error * max_power)
    p, r = model.C.shape
    unmodelled = settings.model_noise ** 2 * p / np.sum(model.C ** 2)
    process = heating @ heating.T + unmodelled * np.eye(r)
    return process, noise ** 2 + settings.measurement_floor ** 2


def stationary_gain(model: DiscreteModel, process: np.ndarray,
                    variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Kalman gain L (r, p) of x(k|k) = x(k|k-1) + L (y - C x(k|k-1)), and the variances (p,) of
    the outputs C x(k|k) [K2].

    With P the stationary covariance of x(k|k-1) and R = variance * I,
    L = P C' (C P C' + R)^-1 = (I + P C' R^-1 C)^-1 P C' R^-1, and the covariance of x(k|k) is
    (I + P C' R^-1 C)^-1 P, so that of the outputs is C L R.
    """
    information = model.C.T @ model.C / variance
    covariance = solve_riccati(model.A, information, process)
    inner = np.eye(len(model.A)) + covariance @ information
    gain = la.solve(inner, covariance @ model.C.T) / variance
    return gain, np.maximum(np.einsum("pr,rp->p", model.C, gain) * variance, 0.0)


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
