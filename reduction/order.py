"""Choice of the order: a given number of states, the minimal order, or a tolerance in kelvin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.numerics.hankel import truncation_bound

from .balance import Balanced, balanced_truncation, observability, rounding_level
from .replay import replay_error

# Outputs are weighted by their replayed errors while the largest error is above this [K]. Below it
# no error matters.
UNIMPORTANT = 1e-4
ROUNDS = 4  # of weighting and balancing
SMALLEST_WEIGHT = 0.1  # of an output; the largest is 1


@dataclass
class Truncation:
    """A reduced model and its error in the replayed treatment.

    Attributes
    ----------
    model : the reduced model; its Hankel values are those of the weighted outputs.
    hsv : (k,) Hankel values without weights.
    weights : (p,) weight of each output in the balancing, largest 1.
    error : (p,) largest error in the replayed treatment [K].
    """

    model: Balanced
    hsv: np.ndarray
    weights: np.ndarray
    error: np.ndarray

    def bound(self) -> np.ndarray:
        """(k,) bound on the truncation's H-infinity error at each order [K/W].

        With outputs weighted by w <= 1, the error is at most that of the weighted outputs divided
        by the smallest w; this holds for the order of the model. Rounding in the balancing is
        added: it remains where nothing is truncated.
        """
        bound = truncation_bound(self.hsv) + 2 * rounding_level(self.hsv)
        order, weighted = len(self.model.A), self.model.hsv
        bound[order - 1] = (truncation_bound(weighted)[order - 1]
                            + 2 * rounding_level(weighted)) / self.weights.min()
        return bound


def truncated(balanced: Balanced, order: int) -> Balanced:
    """The model of the first `order` states: truncations of a balanced realization are balanced."""
    return Balanced(balanced.A[:order, :order], balanced.B[:order], balanced.C[:, :order],
                    balanced.hsv, balanced.T[:, :order])


def smallest_order(balanced: Balanced, truth, powers, step: float, tolerance: float,
                   file=None, unit: str = " K") -> Balanced:
    """The truncation with the fewest states whose replayed error is within `tolerance` [K].

    The order is found by bisection. The error does not fall strictly from one order to the next,
    so a smaller order may by chance be as accurate.

    Parameters
    ----------
    truth : (samples, p) temperature rises [K] of the full model under `powers`, see `replay`.
    powers : (samples, m) [W].  step : time step [s].
    unit : of the outputs, for the message; empty where it is not known.

    Raises
    ------
    InputError : even with all states the error exceeds the tolerance.
    """
    def error(order):
        return float(replay_error(truth, truncated(balanced, order), powers, step).max())

    low, high = 0, len(balanced.A)
    least = error(high)
    if not least <= tolerance:
        raise InputError("no order is that accurate", file=file, key="reduction.tolerance_k",
                         value=tolerance, allowed=f"at least {least:.1e}{unit}, the error of "
                         f"all {high} states")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= tolerance else (middle, high)
    return truncated(balanced, high)


def equalized(modal, reached, balanced: Balanced, truth, powers, step: float) -> Truncation:
    """The truncation of the same order whose weighted outputs make the largest error small.

    Balanced truncation keeps the error small on average over the outputs, but the largest error
    counts. Each round multiplies every output's weight by the root of its replayed error
    (Lawson's algorithm, with the power 1/2 for damping) and balances again. The best round is
    kept. `reached` is the factor of the reachability Gramian, which the weights do not change.

    Source: C. L. Lawson, "Contributions to the theory of linear least maximum approximation",
    PhD thesis, University of California, Los Angeles, 1961.
    """
    weights = np.ones(len(balanced.C))
    best = Truncation(balanced, balanced.hsv, weights,
                      replay_error(truth, balanced, powers, step))
    plain, error, order = best.error.max(), best.error, len(balanced.A)
    a = np.diag(-modal.rates)
    for number in range(1, ROUNDS + 1):
        if best.error.max() <= UNIMPORTANT or order == len(modal.rates):
            break
        weights = weights * np.sqrt(error / error.max())
        weights = np.maximum(weights / weights.max(), SMALLEST_WEIGHT)
        outputs = weights[:, None] * modal.outputs
        candidate = balanced_truncation(a, modal.inputs, outputs, order,
                                        factors=(reached, observability(a, outputs)))
        candidate.C = candidate.C / weights[:, None]
        error = replay_error(truth, candidate, powers, step)
        log.info("outputs weighted, round %d: largest error %.2e K (%.2e K without weights)",
                 number, error.max(), plain)
        if error.max() < best.error.max():
            best = Truncation(candidate, balanced.hsv, weights, error)
    return best
