"""Reduction of general and of small models: all states balanced, errors sampled over frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from hifuflow.errors import InputError, NumericalError
from hifuflow.job import Progress, log
from hifuflow.numerics.hankel import truncation_bound
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.reduced_model import ReducedModel

from .balance import Balanced, balanced_truncation, check_available, minimal_order, no_path
from .certificate import Clock, check_bound, check_reduced_stable, in_units_of, largest_by_kind
from .checks import SYMMETRY, asymmetry, check_order, free_memory
from .order import smallest_order, truncated
from .replay import PART, Stepper, replay_error, replayed, switching_treatment
from .stability import largest_real_part
from .standard import EPS, StandardForm, solver_of, standard_form, symmetric_form

# SLICOT takes cubic time, about five minutes at this size.
MOST_STATES = 5000
MATRICES = 16  # most matrices of the size of A in memory at once
ONE_THREAD = 1000  # states up to which a second BLAS thread costs more time than it saves
# Number of frequencies at which the full model is solved: fewer where each takes longer.
FREQUENCIES, FEWEST_FREQUENCIES, EASY_STATES = 150, 12, 500
REFINEMENTS = 3  # steps of iterative refinement in extended precision
# Between the sampled frequencies, the effect of rounding may be larger by this factor.
SAFETY = 4.0
# A model that rounding changes by more than this fraction of its gain is not reduced.
ACCURACY = 1e-3
# Number of samples of the replayed inputs; length of one over the leading pole's time constant.
SAMPLES, SAMPLE = 300, 0.1
METHOD = "balanced truncation of all states from Gramian factors by SLICOT SB03OD"


@dataclass
class Measured:
    """Gain of the full model and errors of the reduced one at sampled frequencies.

    Gain and errors are in units of an output per unit of an input.

    Attributes
    ----------
    gain : largest gain of the full model, its H-infinity norm.
    rounding : largest of three errors: of the balanced model of numerically minimal order, of the
        full model's response in double precision, and n eps times the gain.
    error : largest error of the reduced model.  count : number of frequencies.
    """

    gain: float
    rounding: float
    error: float
    count: int


def reduce_whole(model: BioheatModel, order="auto", tolerance=None, file=None,
                 threads: int = 1) -> tuple[ReducedModel, dict]:
    """Balanced truncation of any stable model with a regular E, and its certificate.

    Parameters
    ----------
    model : E x' = -K x + B u, y = C x; E, K (n, n), B (n, m), C (p, n).
    order : number of states, or "auto" for the numerically minimal realization.
    tolerance : None, or the largest error allowed in any output under the replayed inputs (one
        at a time, switched between 0 and 1); the fewest states within it are kept.
    file : name of the model, for the messages.
    threads : of the matrix products, where more than one is faster.

    Returns
    -------
    The reduced model, balanced, and the certificate, ready for JSON (see `whole_certificate`).

    Raises
    ------
    InputError : the model is too large, E is singular, or the order or tolerance is out of reach.
    NumericalError : the model is not stable, or too sensitive to rounding.
    """
    n = len(model.B)
    check_order(order, file)
    check_size(n, order, file)
    clock = Clock()
    with threadpool_limits(limits=threads if n > ONE_THREAD else 1):
        with clock("standard_form"):
            standard = in_standard_form(model)
        outputs, *means = standard.outputs
        with clock("balancing"):
            whole = balanced_truncation(standard.A, standard.B, outputs, faint=True)
        check_available(order, len(whole.A), file)
        rates = leading_poles(whole)
        with clock("replay"):
            step = SAMPLE / float(abs(rates[0]))
            kept, error = chosen(model, standard, whole, step, order, tolerance, file)
        with clock("frequency_sweep"):
            measured = measure(model, standard.scales, whole, kept, frequencies(rates, n))
    bound = truncation_bound(whole.hsv) + SAFETY * measured.rounding
    record = whole_certificate(model, whole, kept, measured, bound)
    record |= {"max_output_error_k": largest_by_kind(error, model.outputs), "replay_power_w": 1.0,
               "replay_step_s": step,
               "seconds": {**clock.seconds, "total": clock.total()}}
    log.info("order %d: H-infinity error %.1e of the gain, bound %.1e", len(kept.A),
             record["hinf_error_relative"], record["hinf_bound_relative"])
    return (ReducedModel(kept.A, kept.B, kept.C, whole.hsv, bound, METHOD, model.outputs,
                         model.foci, *(mean @ kept.T for mean in means)),
            in_units_of(model.outputs, record))


def whole_certificate(model: BioheatModel, whole: Balanced, kept: Balanced, measured: Measured,
                      bound) -> dict:
    """The certificate of a reduced model, as `certificate.certificate` has it.

    `hinf_norm_k_w` and `hinf_error_relative` are maxima over `n_frequencies` sampled frequencies.
    `hinf_bound_relative` holds at all frequencies: Enns' bound plus SAFETY times the measured
    rounding.

    Raises
    ------
    NumericalError : the model is not stable, or its error exceeds its bound.
    """
    order, gain = len(kept.A), measured.gain
    slowest = largest_real_part(kept.A)
    check_reduced_stable(order, slowest)
    check_bound(measured.error, float(bound[order - 1]))
    return {
        "certified": True, "order": order, "full_order": len(model.B),
        "minimal_order": minimal_order(whole.hsv),
        "n_frequencies": measured.count, "hinf_norm_k_w": gain,
        "hinf_error_relative": measured.error / gain,
        "hinf_bound_relative": float(bound[order - 1]) / gain,
        "truncation_bound_relative": float(truncation_bound(whole.hsv)[order - 1]) / gain,
        "rounding_bound_relative": SAFETY * measured.rounding / gain,
        "stable": True, "slowest_rate_per_s": -slowest}


def check_size(n: int, order, file) -> None:
    """Refuse a model too large to balance as a whole, or an order above its number of states."""
    if n > MOST_STATES:
        raise InputError(f"has {n} unknowns and is not symmetric and definite", file=file,
                         allowed=f"at most {MOST_STATES}, or symmetric positive definite E and -A")
    if order != "auto" and order > n:
        raise InputError("more states than the full model has", file=file, key="reduction.order",
                         value=order, allowed=f"auto or at most {n}")
    needed, free = 8.0 * MATRICES * n**2, free_memory()
    if needed > free:
        raise InputError(f"needs about {needed / 1e9:.1f} GB to balance all {n} states; "
                         f"{free / 1e9:.1f} GB are free", file=file)


def in_standard_form(model: BioheatModel) -> StandardForm:
    """The model in standard form.

    By `standard.symmetric_form` if E and K are symmetric and definite. Its output matrices are C
    and, where it is another matrix, C_mean.
    """
    outputs = [model.C.toarray()]
    if model.C_mean is not model.C:
        outputs.append(model.C_mean.toarray())
    capacity, stiffness = model.E.toarray(), model.K.toarray()
    if max(asymmetry(model.E), asymmetry(model.K)) <= SYMMETRY:
        try:
            return symmetric_form((capacity + capacity.T) / 2, (stiffness + stiffness.T) / 2,
                                  model.B, *outputs)
        except NumericalError as error:
            log.info("%s", error)
    return standard_form(capacity, -stiffness, model.B, *outputs)


def leading_poles(whole: Balanced) -> np.ndarray:
    """(k,) poles r [1/s] of the balanced model, by falling contribution to the gain.

    A pole with the residue c b' contributes ||c|| ||b|| / |Re r|.
    """
    rates, right = np.linalg.eig(whole.A)
    weights = (np.linalg.norm(whole.C @ right, axis=0)
               * np.linalg.norm(np.linalg.solve(right, whole.B.astype(complex)), axis=1))
    return rates[np.argsort(-weights / np.abs(rates.real), kind="stable")]


def chosen(model: BioheatModel, standard: StandardForm, whole: Balanced, step: float, order,
           tolerance, file) -> tuple[Balanced, np.ndarray]:
    """The truncated model, and the (p,) largest errors of its outputs under the replayed inputs.

    `step` is the time step of the replay [s].
    """
    powers = switching_treatment(model.B.shape[1], 1.0, SAMPLES)
    solve = solver_of(model.E + PART * step * model.K, standard.scales)
    truth = replayed(Stepper(model.E.__matmul__, solve, model.B, step), model.C, powers)
    kept = whole if order == "auto" else truncated(whole, order)
    if tolerance is not None:
        kept = smallest_order(whole, truth, powers, step, tolerance, file, model.outputs.unit)
    return kept, replay_error(truth, kept, powers, step)


def frequencies(rates, n: int) -> np.ndarray:
    """Angular frequencies [rad/s] to sample, ascending.

    Zero, the magnitudes of the leading poles, and, for a third of them, frequencies spread evenly
    in the logarithm from a third of the smallest magnitude to three times the largest.
    """
    count = int(np.clip(FREQUENCIES * (EASY_STATES / n) ** 3, FEWEST_FREQUENCIES, FREQUENCIES))
    magnitudes = np.abs(rates)
    spread = np.geomspace(magnitudes.min() / 3, magnitudes.max() * 3, count // 3)
    return np.unique(np.concatenate([[0.0], magnitudes[:count - count // 3 - 1], spread]))


def measure(model: BioheatModel, scales, whole: Balanced, kept: Balanced, sampled) -> Measured:
    """Gain and errors of two balanced models at sampled angular frequencies [rad/s].

    In extended precision, so that the rounding error of the full model itself in double precision
    is seen: it counts as rounding too.

    Raises
    ------
    NumericalError : rounding is not small against the gain.
    InputError : the gain is zero.
    """
    norms = []
    with Progress("frequency sweep", total=len(sampled), unit="frequencies") as progress:
        for frequency in sampled:
            plain, full = response(model.E, -model.K, model.B, model.C, scales, frequency)
            balanced = [response(np.eye(len(part.A)), part.A, part.B, part.C,
                                 np.ones(len(part.A)), frequency)[1]
                        for part in ((whole, kept) if kept is not whole else (whole,))]
            norms.append([spectral_norm(part) for part in (
                full, full - plain, full - balanced[0], full - balanced[-1])])
            progress.advance()
    gain, noise, rounding, error = np.max(norms, axis=0)
    if gain == 0:
        raise no_path()
    rounding = max(rounding, noise, len(model.B) * EPS * gain)
    if not rounding <= ACCURACY * gain:
        raise NumericalError(f"the balanced model is off by {rounding / gain:.1e} of the gain: "
                             "the effect of the inputs on the outputs cannot be told from rounding")
    return Measured(float(gain), float(rounding), float(error), len(sampled))


def response(capacity, a, inputs, outputs, scales, frequency: float):
    """(p, m) transfer function C (iw E - A)^-1 B in double precision, and in extended precision
    by iterative refinement."""
    frequency = np.longdouble(frequency)
    exact = 1j * frequency * capacity.astype(np.longdouble) - a.astype(np.longdouble)
    solve = solver_of(exact.astype(complex), scales)
    states = plain = solve(inputs).astype(exact.dtype)
    for _ in range(REFINEMENTS):
        states = states + solve((inputs - exact @ states).astype(complex))
    outputs = outputs.astype(np.longdouble)
    return outputs @ plain, outputs @ states


def spectral_norm(matrix) -> float:
    """2-norm of a matrix in extended precision."""
    largest = np.abs(matrix).max()
    if largest == 0:
        return 0.0
    return float(largest * np.linalg.norm((matrix / largest).astype(complex), 2))
