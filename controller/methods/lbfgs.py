"""Minimisation by limited-memory BFGS, one evaluation at a time.

Nocedal and Wright, Numerical Optimization, 2nd ed., chapter 7.
"""

from __future__ import annotations

from collections import deque

import numpy as np

MEMORY = 20


def lbfgs(function, start: np.ndarray):
    """Generator of improving points; every `next` costs one evaluation of `function`.

    Backtracking line search on sufficient decrease; steps without positive curvature are not
    remembered. Yields the best point so far, and ends when no step improves it.
    """
    point, (value, gradient) = start, function(start)
    pairs: deque = deque(maxlen=MEMORY)
    yield point
    while True:
        direction = -_apply_inverse(pairs, gradient)
        slope = np.vdot(direction, gradient)
        if not slope < 0:
            return
        step = 1.0 if pairs else min(1.0, 0.1 / np.sqrt(-slope))
        while True:
            trial = point + step * direction
            trial_value, gradient_there = function(trial)
            if trial_value <= value + 1e-4 * step * slope:
                break
            step *= 0.4
            if step < 1e-6:
                return
            yield point
        move, change = trial - point, gradient_there - gradient
        if np.vdot(move, change) > 1e-10 * np.vdot(change, change):
            pairs.append((move, change, 1 / np.vdot(move, change)))
        point, value, gradient = trial, trial_value, gradient_there
        yield point


def _apply_inverse(pairs, gradient: np.ndarray) -> np.ndarray:
    """Two-loop recursion: the L-BFGS inverse Hessian times the gradient."""
    result, factors = gradient.copy(), []
    for move, change, scale in reversed(pairs):
        factors.append(scale * np.vdot(move, result))
        result -= factors[-1] * change
    if pairs:
        move, change, _ = pairs[-1]
        result *= np.vdot(move, change) / np.vdot(change, change)
    for (move, change, scale), factor in zip(pairs, reversed(factors), strict=True):
        result += (factor - scale * np.vdot(change, result)) * move
    return result
