"""How many states, and which: by number, numerically minimal, or by a tolerance in kelvin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.numerics.hankel import truncation_bound

from .balance import Balanced, balanced_truncation, observability, rounding_level
from .replay import replay_error

# Outputs are weighted by their replayed errors while the largest error is above this [K]: below,
# it does not matter whose error is how large.
UNIMPORTANT = 1e-4
ROUNDS = 4
SMALLEST_WEIGHT = 0.1


@dataclass
class Truncation:
    """A reduced model, and how its error in the replayed treatment came out.

    Attributes
    ----------
    model : `Balanced`; its Hankel values are those of the weighted outputs.
    hsv : (k,) Hankel values without weights.
    weights : (p,) weight of each output in the balancing, largest 1.
    error : (p,) largest error in the replayed treatment [K].
    """

    model: Balanced
    hsv: np.ndarray
    weights: np.ndarray
    error: np.ndarray

    def bound(self) -> np.ndarray:
        """(k,) bound on the truncation's H-infinity error at each order, this one's weighted.

        With outputs weighted by w <= 1, the error is at most that of the weighted outputs over
        the smallest w. What rounding does to the balancing is counted too: it is what is left
        where nothing is truncated.
        """
        bound = truncation_bound(self.hsv) + 2 * rounding_level(self.hsv)
        order, weighted = len(self.model.A), self.model.hsv
        bound[order - 1] = (truncation_bound(weighted)[order - 1]
                            + 2 * rounding_level(weighted)) / self.weights.min()
        return bound


def truncated(balanced: Balanced, order: int) -> Balanced:
    """Its first states: truncations of a balanced realization are balanced."""
    return Balanced(balanced.A[:order, :order], balanced.B[:order], balanced.C[:, :order],
                    balanced.hsv, balanced.T[:, :order])


def smallest_order(balanced: Balanced, truth, powers, step: float, tolerance: float,
                   file=None, unit: str = " K") -> Balanced:
    """The truncation with the fewest states whose replayed error is within `tolerance` [K].

    Found by bisection; the error does not fall strictly from each order to the next, so a
    smaller order may by chance do as well.

    Parameters
    ----------
    truth : (samples, p) temperatures of the full model under `powers`, see `replay`.
    unit : of the outputs, for the message; empty where it is not known.

    Raises
    ------
    InputError : not even all states are accurate enough.
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
    """The truncation of the same order with outputs weighted so that no error stands out.

    Balanced truncation makes the error small in the mean over the outputs; what counts is the
    largest. Each round multiplies every output's weight by the root of its replayed error
    (Lawson's algorithm, a power 1/2 for damping) and balances again; the best round is kept.
    `reached` is the factor of the reachability Gramian, which weights do not change.

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
        found = balanced_truncation(a, modal.inputs, outputs, order,
                                    factors=(reached, observability(a, outputs)))
        found.C = found.C / weights[:, None]
        error = replay_error(truth, found, powers, step)
        log.info("outputs weighted, round %d: largest error %.2e K (%.2e K without weights)",
                 number, error.max(), plain)
        if error.max() < best.error.max():
            best = Truncation(found, balanced.hsv, weights, error)
    return best
