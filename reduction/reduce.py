"""From the finite-element model to a certified reduced model."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from hifuflow.job import log
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.reduced_model import ReducedModel

from .balance import Balanced, balanced_truncation, observability, reachability
from .certificate import Clock, Findings, certificate, error_bound, largest_by_kind
from .checks import check_memory, check_model, check_order
from .comparison import error_against_order
from .frequency import frequency_sweep, projection_bound, projection_errors, sweep_frequencies
from .low_rank import ModalModel, most_states, project, reachable_space, rows_times, unit_capacity
from .order import Truncation, equalized, smallest_order
from .replay import full_stepper, replay_error, replayed, switching_treatment
from .settings import ReductionSettings
from .shifts import spectral_interval, tolerance_of_blocks
from .solvers import shifted_solver

# Solves beyond the order asked for over the number of inputs, and the fewest columns they give.
# On the reference patient the projection's error is then below half the truncation's at order 300,
# and about it at order 1000.
MORE_BLOCKS, FEWEST_COLUMNS = 7, 540
# The replayed error of the projection was 0.2 to 1 K times the root of the residual, from
# 1e-4 to 1e-10: with this it is a tenth of the tolerance.
RESIDUAL_PER_KELVIN = 0.1
# The replayed treatment: ten minutes in samples of 2 s, one time step each. In a model from
# elsewhere, whose time scale is not known, a sample is this part of the slowest time constant.
SAMPLE, SAMPLES, OTHER_SAMPLE = 2.0, 300, 0.1
FREQUENCIES = 12
METHOD = ("low-rank ADI with Wachspress shifts, Galerkin projection in the E inner product, "
          "balanced truncation from Gramian factors by SLICOT SB03OD")


def reduce_model(model: BioheatModel, settings: ReductionSettings,
                 threads: int = 1) -> tuple[ReducedModel, dict]:
    """Reduce E x' = -K x + B u, y = C x, and certify the result against the full model.

    Parameters
    ----------
    model : the full model, E and K (n, n), B (n, m), C (p, n).
    settings : how many states, or how accurate.

    Other Parameters
    ----------------
    threads : steps of the reduction and of its certificate that run side by side.

    Returns
    -------
    reduced : balanced, A (r, r), B (r, m), C (p, r), with the full model's outputs.
    certificate : ready for JSON, see `certificate.certificate`.

    Raises
    ------
    InputError : the model or the order cannot be used, or the memory does not suffice.
    NumericalError : E or K is not positive definite, or a step missed its own accuracy check.
    """
    check_order(settings.order, settings.written.file)
    check_model(model, settings.order, settings.written.file)
    check_memory(model, settings)
    found = Findings(model, settings, clock=Clock())
    # One BLAS thread each: steps that run side by side gain more than matrix products do.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        *full, means = unit_capacity(model.E, model.K, model.B, model.C, model.C_mean)
        capacity, stiffness, inputs, _ = full
        with found.clock("low_rank"):
            solver = shifted_solver(capacity, stiffness, settings.solver)
            found.interval = spectral_interval(capacity, stiffness, solver)
            found.step = replay_step(model, found.interval)
            tolerance = residual_needed(settings, inputs, found.interval,
                                        model.outputs.temperatures)
            check_reachable(settings, most_states(inputs, found.interval, tolerance))
            found.space = reachable_space(capacity, solver, inputs, found.interval, tolerance,
                                          threads)
        steps = submit_steps(pool, found, full, solver)
        for step in steps:
            step.result()
        reduced, modal = found.reduced, found.modal
    record = certificate(found)
    log.info("order %d: largest output error %s", len(reduced.A), ", ".join(
        f"{error:.1e}{model.outputs.unit} ({kind})" for kind, error in largest_by_kind(
            found.truncation.error, model.outputs).items()))
    return ReducedModel(reduced.A, reduced.B, reduced.C, found.truncation.hsv, error_bound(found),
                        METHOD, model.outputs, model.foci,
                        rows_times(means, modal.basis) @ (modal.vectors @ reduced.T)), record


def replay_step(model: BioheatModel, interval) -> float:
    """Time step of the replayed treatment [s]."""
    return SAMPLE if model.outputs.temperatures else OTHER_SAMPLE / interval[0]


def residual_needed(settings: ReductionSettings, inputs, interval, kelvin: bool = True) -> float:
    """Residual of the Lyapunov equation at which the projection is accurate enough.

    A tolerance that is not in `kelvin` may be large or small against the outputs: it saves nothing.
    """
    least = settings.gramian_residual
    if settings.tolerance is not None and kelvin:
        return max(least, min(1e-4, (RESIDUAL_PER_KELVIN * settings.tolerance) ** 2))
    if settings.order == "auto":
        return least
    m = inputs.shape[1]
    blocks = max(-(-FEWEST_COLUMNS // m), -(-settings.order // m) + MORE_BLOCKS)
    return max(least, tolerance_of_blocks(*interval, blocks))


def check_reachable(settings: ReductionSettings, reachable: int) -> None:
    """Refuse an order above what the inputs can reach, before the long steps."""
    if settings.order != "auto" and settings.order > reachable:
        raise settings.written.error(f"the inputs reach only {reachable} states", "order",
                                     allowed=f"auto or 1 to {reachable}")


def submit_steps(pool, found: Findings, full, solver) -> list:
    """What follows the reachable space, as steps in a pool of workers.

    They are begun in this order and wait only for steps before them, so that one worker suffices.
    `solver` is asked by two of them, one after the other.
    """
    powers = switching_treatment(full[2].shape[1], found.settings.max_power, SAMPLES)
    frequencies = sweep_frequencies(found.interval, FREQUENCIES)
    modal = pool.submit(project_model, found, full)
    truth = pool.submit(replay_full_model, found, full, solver, powers)
    seen = pool.submit(observe, found, modal)
    reached = pool.submit(reach, found, modal)
    balanced = pool.submit(balance, found, modal, reached, seen)
    lost = pool.submit(projection_lost, found, full, solver, modal, truth, frequencies)
    chosen = pool.submit(choose, found, reached, balanced, truth, powers)
    compared = pool.submit(compare, found, balanced, truth, powers)
    swept = pool.submit(sweep, found, chosen, lost, frequencies)
    return [modal, truth, seen, reached, balanced, lost, chosen, compared, swept]


def project_model(found: Findings, full) -> ModalModel:
    """The full model in the reachable space."""
    _, stiffness, inputs, outputs = full
    with found.clock("projection"):
        found.modal = modal = project(stiffness, inputs, outputs, found.space.basis)
    log.info("%d of %d states are reachable, rates %.2e to %.2e 1/s", len(modal.rates),
             len(inputs), modal.rates[0], modal.rates[-1])
    check_reachable(found.settings, len(modal.rates))
    return modal


def replay_full_model(found: Findings, full, solver, powers) -> np.ndarray:
    """(samples, p) temperatures of the full model in the replayed treatment."""
    capacity, _, inputs, outputs = full
    with found.clock("replay"):
        return replayed(full_stepper(capacity, solver, inputs, found.step), outputs, powers)


def observe(found: Findings, modal: Future) -> np.ndarray:
    """Factor of the projected model's observability Gramian."""
    modal = modal.result()
    with found.clock("observability"):
        return observability(np.diag(-modal.rates), modal.outputs)


def reach(found: Findings, modal: Future) -> np.ndarray:
    """Factor of the projected model's reachability Gramian."""
    modal = modal.result()
    with found.clock("reachability"):
        return reachability(np.diag(-modal.rates), modal.inputs)


def balance(found: Findings, modal: Future, reached: Future, seen: Future) -> Balanced:
    """The projected model balanced, with the order asked for or all that can be told apart."""
    modal, factors, settings = modal.result(), (reached.result(), seen.result()), found.settings
    with found.clock("balancing"):
        order = settings.order if settings.tolerance is None else "auto"
        return balanced_truncation(np.diag(-modal.rates), modal.inputs, modal.outputs, order,
                                   settings.written.file, factors)


def projection_lost(found: Findings, full, solver, modal: Future, truth: Future,
                    frequencies) -> np.ndarray:
    """(f,) errors of the projection, and its bound at every frequency."""
    capacity, stiffness, inputs, outputs = full
    truth.result()  # the replay holds the solver until then
    modal = modal.result()
    with found.clock("projection_error"):
        found.projection = projection_bound(solver, outputs, found.space.rest)
        return projection_errors(capacity, stiffness, solver, inputs, outputs, modal, frequencies)


def choose(found: Findings, reached: Future, balanced: Future, truth: Future, powers) -> None:
    """The states to keep."""
    balanced, truth, settings = balanced.result(), truth.result(), found.settings
    with found.clock("order"):
        if settings.tolerance is None and settings.order != "auto":
            found.truncation = equalized(found.modal, reached.result(), balanced, truth,
                                         powers, found.step)
        else:
            if settings.tolerance is not None:
                balanced = smallest_order(balanced, truth, powers, found.step, settings.tolerance,
                                          settings.written.file, found.model.outputs.unit)
            found.truncation = Truncation(balanced, balanced.hsv, np.ones(len(balanced.C)),
                                          replay_error(truth, balanced, powers, found.step))
    found.clock.reached("model_ready")


def compare(found: Findings, balanced: Future, truth: Future, powers) -> None:
    """Other reductions of the same orders over the same treatment."""
    balanced, truth = balanced.result(), truth.result()
    with found.clock("comparison"):
        found.comparison = error_against_order(found.modal, balanced, truth, powers,
                                               found.step)


def sweep(found: Findings, chosen: Future, lost: Future, frequencies) -> None:
    """The reduced model's transfer function beside the full model's."""
    chosen.result()
    lost = lost.result()
    with found.clock("frequency_sweep"):
        found.sweep = frequency_sweep(found.modal, found.reduced, frequencies, lost)
