"""Reduction of the finite-element model to a certified reduced model."""

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

# A given order needs order / (number of inputs) solves with all inputs; these are the solves beyond
# that, and the fewest columns that all solves must give. On the reference patient the projection's
# error is then below half the truncation's at order 300, and about equal to it at order 1000.
MORE_BLOCKS, FEWEST_COLUMNS = 7, 540
# For residuals from 1e-4 to 1e-10 the replayed error of the projection was 0.2 to 1 K times the
# root of the residual. With this factor it is a tenth of the tolerance. No looser residual was
# tried.
RESIDUAL_PER_KELVIN, LOOSEST_RESIDUAL = 0.1, 1e-4
# The replayed treatment: ten minutes in samples of 2 s [s], one time step each. The time scale of a
# model from elsewhere is not known: its sample is this fraction of the slowest time constant.
SAMPLE, SAMPLES, OTHER_SAMPLE = 2.0, 300, 0.1
FREQUENCIES = 12  # at which the transfer functions are compared
METHOD = ("low-rank ADI with Wachspress shifts, Galerkin projection in the E inner product, "
          "balanced truncation from Gramian factors by SLICOT SB03OD")


def reduce_model(model: BioheatModel, settings: ReductionSettings,
                 threads: int = 1) -> tuple[ReducedModel, dict]:
    """Reduce E x' = -K x + B u, y = C x, and certify the result against the full model.

    Parameters
    ----------
    model : the full model, E [J/K] and K [W/K] (n, n), B (n, m), C (p, n).
    settings : number of states, or the accuracy from which it follows.

    Other Parameters
    ----------------
    threads : number of steps of the reduction and of its certificate that run side by side.

    Returns
    -------
    reduced : balanced model, A (r, r) [1/s], B (r, m), C (p, r), with the full model's outputs.
    certificate : ready for JSON, see `certificate.certificate`.

    Raises
    ------
    InputError : the model or the order cannot be used, or there is too little memory.
    NumericalError : E or K is not positive definite, or a step failed its own accuracy check.
    """
    check_order(settings.order, settings.written.file)
    check_model(model, settings.order, settings.written.file)
    check_memory(model, settings)
    findings = Findings(model, settings, clock=Clock())
    # One BLAS thread each: steps that run side by side gain more than matrix products do.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        *full, means = unit_capacity(model.E, model.K, model.B, model.C, model.C_mean)
        capacity, stiffness, inputs, _ = full
        with findings.clock("low_rank"):
            solver = shifted_solver(capacity, stiffness, settings.solver)
            findings.interval = spectral_interval(capacity, stiffness, solver)
            findings.step = replay_step(model, findings.interval)
            tolerance = residual_needed(settings, inputs, findings.interval,
                                        model.outputs.temperatures)
            check_reachable(settings, most_states(inputs, findings.interval, tolerance))
            findings.space = reachable_space(capacity, solver, inputs, findings.interval, tolerance,
                                             threads)
        steps = submit_steps(pool, findings, full, solver)
        for step in steps:
            step.result()
        reduced, modal = findings.reduced, findings.modal
    record = certificate(findings)
    log.info("order %d: largest output error %s", len(reduced.A), ", ".join(
        f"{error:.1e}{model.outputs.unit} ({kind})" for kind, error in largest_by_kind(
            findings.truncation.error, model.outputs).items()))
    return ReducedModel(reduced.A, reduced.B, reduced.C, findings.truncation.hsv,
                        error_bound(findings), METHOD, model.outputs, model.foci,
                        rows_times(means, modal.basis) @ (modal.vectors @ reduced.T)), record


def replay_step(model: BioheatModel, interval) -> float:
    """Time step of the replayed treatment [s]."""
    return SAMPLE if model.outputs.temperatures else OTHER_SAMPLE / interval[0]


def residual_needed(settings: ReductionSettings, inputs, interval, kelvin: bool = True) -> float:
    """Relative residual of the Lyapunov equation at which the projection is accurate enough.

    A tolerance in other units than kelvin says nothing of the residual: the outputs may be of any
    size. The residual of the settings is used then.
    """
    least = settings.gramian_residual
    if settings.tolerance is not None and kelvin:
        return max(least, min(LOOSEST_RESIDUAL, (RESIDUAL_PER_KELVIN * settings.tolerance) ** 2))
    if settings.order == "auto":
        return least
    m = inputs.shape[1]
    blocks = max(-(-FEWEST_COLUMNS // m), -(-settings.order // m) + MORE_BLOCKS)
    return max(least, tolerance_of_blocks(*interval, blocks))


def check_reachable(settings: ReductionSettings, reachable: int) -> None:
    """Refuse an order above the number of states that the inputs reach, before the long steps."""
    if settings.order != "auto" and settings.order > reachable:
        raise settings.written.error(f"the inputs reach only {reachable} states", "order",
                                     allowed=f"auto or 1 to {reachable}")


def submit_steps(pool, findings: Findings, full, solver) -> list:
    """Submit all steps after the reachable space to a pool of workers.

    Steps begin in this order and wait only for earlier ones, so that one worker suffices. Two of
    them use `solver`: the second waits for the first.
    """
    powers = switching_treatment(full[2].shape[1], findings.settings.max_power, SAMPLES)
    frequencies = sweep_frequencies(findings.interval, FREQUENCIES)
    modal = pool.submit(project_model, findings, full)
    truth = pool.submit(replay_full_model, findings, full, solver, powers)
    see_factor = pool.submit(observe, findings, modal)
    reach_factor = pool.submit(reach, findings, modal)
    balanced = pool.submit(balance, findings, modal, reach_factor, see_factor)
    projection_error = pool.submit(projection_lost, findings, full, solver, modal, truth,
                                   frequencies)
    chosen = pool.submit(choose, findings, reach_factor, balanced, truth, powers)
    compared = pool.submit(compare, findings, balanced, truth, powers)
    swept = pool.submit(sweep, findings, chosen, projection_error, frequencies)
    return [modal, truth, see_factor, reach_factor, balanced, projection_error, chosen, compared,
            swept]


def project_model(findings: Findings, full) -> ModalModel:
    """Project the full model onto the reachable space."""
    _, stiffness, inputs, outputs = full
    with findings.clock("projection"):
        findings.modal = modal = project(stiffness, inputs, outputs, findings.space.basis)
    log.info("%d of %d states are reachable, rates %.2e to %.2e 1/s", len(modal.rates),
             len(inputs), modal.rates[0], modal.rates[-1])
    check_reachable(findings.settings, len(modal.rates))
    return modal


def replay_full_model(findings: Findings, full, solver, powers) -> np.ndarray:
    """(samples, p) temperature rises [K] of the full model in the replayed treatment."""
    capacity, _, inputs, outputs = full
    with findings.clock("replay"):
        return replayed(full_stepper(capacity, solver, inputs, findings.step), outputs, powers)


def observe(findings: Findings, modal: Future) -> np.ndarray:
    """Factor of the projected model's observability Gramian."""
    modal = modal.result()
    with findings.clock("observability"):
        return observability(np.diag(-modal.rates), modal.outputs)


def reach(findings: Findings, modal: Future) -> np.ndarray:
    """Factor of the projected model's reachability Gramian."""
    modal = modal.result()
    with findings.clock("reachability"):
        return reachability(np.diag(-modal.rates), modal.inputs)


def balance(findings: Findings, modal: Future, reached: Future, seen: Future) -> Balanced:
    """Balance the projected model, to the given order or to the numerically minimal one."""
    modal, factors, settings = modal.result(), (reached.result(), seen.result()), findings.settings
    with findings.clock("balancing"):
        order = settings.order if settings.tolerance is None else "auto"
        return balanced_truncation(np.diag(-modal.rates), modal.inputs, modal.outputs, order,
                                   settings.written.file, factors)


def projection_lost(findings: Findings, full, solver, modal: Future, truth: Future,
                    frequencies) -> np.ndarray:
    """(f,) error of the projection at each frequency; its bound at all of them is kept."""
    capacity, stiffness, inputs, outputs = full
    truth.result()  # the replay uses the solver until then
    modal = modal.result()
    with findings.clock("projection_error"):
        findings.projection = projection_bound(solver, outputs, findings.space.residual_factor)
        return projection_errors(capacity, stiffness, solver, inputs, outputs, modal, frequencies)


def choose(findings: Findings, reached: Future, balanced: Future, truth: Future, powers) -> None:
    """Choose the states to keep: by the given order, or the fewest within the tolerance."""
    balanced, truth, settings = balanced.result(), truth.result(), findings.settings
    with findings.clock("order"):
        if settings.tolerance is None and settings.order != "auto":
            findings.truncation = equalized(findings.modal, reached.result(), balanced, truth,
                                            powers, findings.step)
        else:
            if settings.tolerance is not None:
                balanced = smallest_order(balanced, truth, powers, findings.step,
                                          settings.tolerance, settings.written.file,
                                          findings.model.outputs.unit)
            findings.truncation = Truncation(balanced, balanced.hsv, np.ones(len(balanced.C)),
                                             replay_error(truth, balanced, powers, findings.step))
    findings.clock.reached("model_ready")


def compare(findings: Findings, balanced: Future, truth: Future, powers) -> None:
    """Compare with other reductions of the same orders in the same treatment."""
    balanced, truth = balanced.result(), truth.result()
    with findings.clock("comparison"):
        findings.comparison = error_against_order(findings.modal, balanced, truth, powers,
                                                  findings.step)


def sweep(findings: Findings, chosen: Future, projection_error: Future, frequencies) -> None:
    """Compare the transfer functions of the reduced and the full model."""
    chosen.result()
    projection_error = projection_error.result()
    with findings.clock("frequency_sweep"):
        findings.sweep = frequency_sweep(findings.modal, findings.reduced, frequencies,
                                         projection_error)
