"""From the finite-element model to a certified reduced model."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from hifuflow.artifacts import BioheatModel, ReducedModel
from hifuflow.cholesky import ShiftedSolver
from hifuflow.errors import InputError, NumericalError
from hifuflow.job import log

from .balance import (
    balanced_truncation,
    check_order,
    minimal_order,
    rounding_level,
    truncation_bound,
)
from .certificate import (
    DenseStepper,
    FullStepper,
    frequency_sweep,
    replay_error,
    sweep_frequencies,
    switching_treatment,
)
from .low_rank import project, reachable_space, unit_capacity
from .shifts import spectral_interval

# Relative residual of the Lyapunov equation at which the reachable space is taken as complete.
TOLERANCE = 1e-12
# The replayed treatment: samples of 2 s over ten minutes, two time steps in each.
SAMPLE, SAMPLES, SUBSTEPS = 2.0, 300, 2
FREQUENCIES = 20
SYMMETRY = 1e-10
METHOD = ("low-rank ADI with Wachspress shifts, Galerkin projection in the E inner product, "
          "balanced truncation by SLICOT AB09AX")


def reduce_model(model: BioheatModel, config: dict, threads: int) -> tuple[ReducedModel, dict]:
    """Reduce E x' = -K x + B u, y = C x, and certify the result against the full model.

    Parameters
    ----------
    model : the full model.
    config : "order": "auto" (the numerically minimal realization) or a number of states;
        "max_power_w": power into the one focus heated in the replayed treatment, default 22;
        "file": where these were set, for the messages.
    threads : for the matrix products of the projection.

    Returns
    -------
    The reduced model with the full model's outputs, and the certificate, ready for JSON. The
    outputs are all temperatures [K] and the inputs powers [W], so the H-infinity norm and the
    Hankel singular values are in K/W. `hinf_norm_k_w`, `hinf_error_relative` and
    `projection_error_relative` are maxima over `n_frequencies` sampled frequencies (0 and the
    decay rates from the slowest to the fastest, evenly in the logarithm), not over all.
    `hinf_bound_relative` adds the projection's sampled error, and the rounding of the balancing
    (2 k eps times the first of k Hankel values), to `truncation_bound_relative`,
    Enns' bound, which holds at every frequency.

    Raises
    ------
    InputError : the model or the order cannot be used.
    NumericalError : E or K is not positive definite, or a step missed its own accuracy check.
    """
    order = config.get("order", "auto")
    power = float(config.get("max_power_w", 22))
    file = config.get("file")
    check_order(order, file)
    check_model(model, order, file)
    clock = Clock()
    # One BLAS thread: the blocks of 45 columns and the eigenvalue routines run slower on two.
    with threadpool_limits(limits=1):
        with clock("low_rank"):
            full = unit_capacity(model.E, model.K, model.B, model.C)
            capacity, stiffness, inputs, outputs = full
            solver = ShiftedSolver(capacity, stiffness)
            interval = spectral_interval(capacity, stiffness, solver)
            space = reachable_space(capacity, solver, inputs, interval, TOLERANCE)
        with clock("projection"), threadpool_limits(limits=threads):
            modal = project(stiffness, inputs, outputs, space.basis)
        log.info("%d of %d states are reachable, rates %.2e to %.2e 1/s", len(modal.rates),
                 len(inputs), modal.rates[0], modal.rates[-1])
        with clock("balancing"):
            reduced = balanced_truncation(np.diag(-modal.rates), modal.inputs, modal.outputs,
                                          order, file)
        with clock("stability"):
            slowest = float(np.linalg.eigvals(reduced.A).real.max())
        if not slowest < 0:
            raise NumericalError(f"the reduced model of order {len(reduced.A)} is not stable: "
                                 f"an eigenvalue has the real part {slowest:.3e} 1/s")
        with clock("frequency_sweep"):
            peak = frequency_sweep(capacity, stiffness, solver, inputs, outputs, modal, reduced,
                                   sweep_frequencies(interval, FREQUENCIES))
        with clock("replay"):
            powers = switching_treatment(inputs.shape[1], power, SAMPLES)
            step = SAMPLE / SUBSTEPS
            worst = replay_error(FullStepper(capacity, solver, inputs, step), outputs,
                                 DenseStepper(reduced.A, reduced.B, step), reduced.C, powers,
                                 SUBSTEPS)
    truncation = truncation_bound(reduced.hsv)
    # Where next to nothing is truncated, what is left is the rounding of the balancing itself.
    rounding = 2 * rounding_level(reduced.hsv)
    bound = truncation + peak["projection"] + rounding
    r = len(reduced.A)
    certificate = {
        "order": r,
        "full_order": len(inputs),
        "reachable_order": len(modal.rates),
        "minimal_order": minimal_order(reduced.hsv),
        "n_frequencies": FREQUENCIES,
        "hinf_norm_k_w": peak["gain"],
        "hinf_error_relative": peak["error"] / peak["gain"],
        "hinf_bound_relative": float(bound[r - 1]) / peak["gain"],
        "truncation_bound_relative": float(truncation[r - 1]) / peak["gain"],
        "projection_error_relative": peak["projection"] / peak["gain"],
        "gramian_residual": float(space.residual[-1]),
        "n_shifts": len(space.shifts),
        "spectrum_per_s": list(interval),
        "max_output_error_k": {
            kind: float(worst[model.outputs.kind == kind].max(initial=0.0))
            for kind in ("constraint", "target")},
        "replay_s": SAMPLE * SAMPLES,
        "replay_power_w": power,
        "stable": True,
        "slowest_rate_per_s": -slowest,
        "seconds": clock.seconds | {"total": sum(clock.seconds.values())},
        "peak_memory_bytes": 1024 * max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)),
    }
    log.info("order %d: largest output error %.1e K at constraints, %.1e K in the target", r,
             *certificate["max_output_error_k"].values())
    return ReducedModel(reduced.A, reduced.B, reduced.C, reduced.hsv, bound, METHOD,
                        model.outputs, model.foci), certificate


def check_model(model: BioheatModel, order, file=None) -> None:
    """Refuse a model that is not what the equations above need, with the numbers."""
    n = model.E.shape[0]
    shapes = {"E": (model.E, (n, n)), "K": (model.K, (n, n)), "B": (model.B, (n, len(model.foci))),
              "C": (model.C, (len(model.outputs.kind), n))}
    for name, (matrix, shape) in shapes.items():
        if matrix.shape != shape:
            raise InputError("has the wrong shape", key=name, value=matrix.shape, allowed=shape)
        values = matrix.data if sp.issparse(matrix) else matrix
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise InputError(f"{bad} of {values.size} values are not finite", key=name)
        if not np.any(values):
            raise InputError("is zero: there is nothing to reduce", key=name)
    for name in ("E", "K"):
        matrix = shapes[name][0]
        skew = abs(matrix - matrix.T).max() / abs(matrix).max()
        if skew > SYMMETRY:
            raise InputError(f"is not symmetric: {skew:.1e} of its largest entry", key=name,
                             allowed=f"{SYMMETRY:g}")
    diagonal = model.E.diagonal()
    if not (diagonal > 0).all():
        raise InputError(f"{np.count_nonzero(diagonal <= 0)} of {n} diagonal entries are not "
                         "positive", key="E", allowed="a positive definite matrix")
    if order != "auto" and order > n:
        raise InputError("more states than the full model has", file=file,
                         key="reduction.order", value=order, allowed=f"auto or at most {n}")


class Clock:
    """Wall-clock seconds of named steps."""

    def __init__(self):
        self.seconds = {}

    @contextmanager
    def __call__(self, name: str):
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
