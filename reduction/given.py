"""Reduced models made elsewhere: read, compared with the patient, balanced and certified."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.linalg as la
from threadpoolctl import threadpool_limits

from hifuflow.errors import InputError, NumericalError
from hifuflow.formats.hdf5 import LOCKING, ArtifactFile, get_text
from hifuflow.job import log
from hifuflow.numerics.hankel import truncation_bound
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel

from .balance import (
    Balanced,
    balanced_truncation,
    observability,
    reachability,
    rounding_level,
)
from .certificate import Clock, check_bound, largest_by_kind
from .checks import check_memory
from .frequency import frequency_sweep, projection_bound, projection_errors, sweep_frequencies
from .low_rank import project, reachable_space, unit_capacity
from .reduce import FREQUENCIES, SAMPLE, SAMPLES, reduce_model
from .replay import full_stepper, reduced_stepper, replayed, switching_treatment
from .settings import ReductionSettings
from .shifts import spectral_interval
from .solvers import shifted_solver

KEY = "reduction.model"
UNITS = {"A": "1/s", "foci": "m", "outputs/position": "m"}  # that a data set may state
NEAR = 1e-5  # largest distance of a focus or output from the patient's [m]
WORTHLESS = 1.0  # relative error of a model that predicts no heating at all


@dataclass(frozen=True)
class GivenModel:
    """A reduced model from a file: x' = A x + B u, y = C x, in s, W and K.

    Attributes
    ----------
    A : (r, r) [1/s].  B : (r, n_foci).  C : (p, r).
    C_mean : (p, r) like C, but with means over the target's voxels; None if the file has none.
    kind : (p,) "constraint" or "target".  position : (p, 3) of the outputs [m].
    foci : (n_foci, 3) [m].  method : how it was made.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    C_mean: np.ndarray | None
    kind: np.ndarray
    position: np.ndarray
    foci: np.ndarray
    method: str


def read_given(path) -> GivenModel:
    """Read a reduced model from HDF5: A, B, C, foci, outputs/kind and outputs/position.

    C_mean, D (which must be zero) and the attribute `method` are optional.

    Raises
    ------
    InputError : the file cannot be read or lacks a data set; a data set has the wrong shape or unit
        or values that are not finite; or an eigenvalue does not decay.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", file=path)
    try:
        file = ArtifactFile(path, "r", locking=LOCKING)
    except OSError as error:
        raise InputError("not a readable HDF5 file", file=path) from error
    with file:
        a = _numbers(file, "A", 2)
        r, m, p = len(a), _numbers(file, "B", 2).shape[1], len(_numbers(file, "C", 2))
        if "D" in file and _numbers(file, "D", 2, (p, m)).any():
            raise InputError("is not zero: power would change a temperature at once", file=path,
                             key="D", allowed="D = 0, or none")
        kind = file["outputs/kind"]
        if not h5py.check_string_dtype(kind.dtype):
            raise InputError("is not text", file=path, key="outputs/kind",
                             allowed="constraint or target for each row of C")
        model = GivenModel(
            _numbers(file, "A", 2, (r, r)), _numbers(file, "B", 2, (r, m)),
            _numbers(file, "C", 2, (p, r)),
            _numbers(file, "C_mean", 2, (p, r)) if "C_mean" in file else None, get_text(kind),
            _numbers(file, "outputs/position", 2, (p, 3)), _numbers(file, "foci", 2, (m, 3)),
            str(file.attrs.get("method", "made elsewhere")))
    slowest = float(np.linalg.eigvals(model.A).real.max())
    if not slowest < 0:
        raise InputError(f"is not stable: an eigenvalue has the real part {slowest:.3e} 1/s",
                         file=path, key="A", allowed="eigenvalues with negative real parts")
    return model


def check_fits(rom: GivenModel, path, foci, outputs: Outputs | None = None,
               points=None) -> None:
    """Refuse a model whose foci or outputs are not the patient's.

    Parameters
    ----------
    foci : (n_foci, 3) of the patient [m].
    outputs : of the patient's model; or, where there is none yet,
    points : (n_c, 3) its constraint points [m], which come first.
    """
    _same_places(rom.foci, foci, path, "foci", "foci")
    if outputs is not None:
        if not np.array_equal(rom.kind, outputs.kind):
            raise InputError(f"has other outputs: {_counts(rom.kind)}", file=path,
                             key="outputs/kind", allowed=f"{_counts(outputs.kind)}, in this order")
        _same_places(rom.position, outputs.position, path, "outputs/position", "outputs")
    else:
        _same_places(rom.position[rom.kind == "constraint"], np.asarray(points), path,
                     "outputs/position", "constraint points")


def use_given(model: BioheatModel, settings: ReductionSettings,
              threads: int) -> tuple[ReducedModel, dict]:
    """The controller's model from one that was made elsewhere, and its certificate.

    The model is balanced, whatever Hankel values the file states, because controllers truncate it
    further by them. Limits and baseline are the patient's. If it cannot be compared with the full
    model, the certificate says why.

    Parameters
    ----------
    settings : path of the model, and how it is compared.

    Raises
    ------
    InputError : the model cannot be read (see `read_given`), does not fit the patient, or is no
        better than a model of no heating at all.
    NumericalError : the model cannot be balanced.
    """
    path, clock = Path(settings.model), Clock()
    rom = read_given(path)
    check_fits(rom, path, model.foci, model.outputs)
    if rom.C_mean is None:
        log.warning("%s holds no C_mean: images are compared with temperatures at the centres of "
                    "the target's voxels, not with their means", path.name)
    with clock("balancing"):
        balanced = balanced_truncation(rom.A, rom.B, rom.C)
    hsv, slowest = balanced.hsv, float(np.linalg.eigvals(balanced.A).real.max())
    bound = np.full(len(hsv), np.nan)
    record = {"certified": False, "model": path.name, "method": rom.method,
              "order": len(balanced.A), "full_order": len(model.B)}
    try:
        check_memory(model, settings)
        with threadpool_limits(limits=1):
            compared = _compared(model, balanced, settings, threads, clock)
    except (InputError, NumericalError, MemoryError) as error:
        log.warning("%s is not certified: %s", path.name, error)
        compared = {"not_certified_because": str(error), "max_output_error_k": None,
                    "hinf_error_relative": None, "hinf_bound_relative": None}
    else:
        _check_worth(compared, path)
        record["certified"] = True
        bound = (truncation_bound(hsv) + 2 * rounding_level(hsv)
                 + compared["hinf_bound_relative"] * compared["hinf_norm_k_w"])
    record |= {**compared, "stable": slowest < 0, "slowest_rate_per_s": -slowest,
               "seconds": {**clock.seconds, "total": clock.total()},
               "peak_memory_bytes": 1024 * max(
                   resource.getrusage(who).ru_maxrss
                   for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))}
    means = None if rom.C_mean is None else rom.C_mean @ balanced.T
    return ReducedModel(balanced.A, balanced.B, balanced.C, hsv, bound,
                        f"{rom.method} ({path.name})", model.outputs, model.foci, means), record


def reduced_or_given(model: BioheatModel, settings: ReductionSettings,
                     threads: int) -> tuple[ReducedModel, dict]:
    """The reduced model of a patient and its certificate.

    The patient's own model is reduced (`reduce.reduce_model`), or the one that `settings` names is
    used (`use_given`).
    """
    return (use_given if settings.model else reduce_model)(model, settings, threads)


def _compared(model: BioheatModel, balanced: Balanced, settings: ReductionSettings, threads: int,
              clock: Clock) -> dict:
    """Entries of `certificate.certificate` for a model that was not made by projection.

    The full model projected onto the reachable space stands between the two. Its distance from the
    full model is bounded as in `certificate.error_bound`, and its distance from the model in
    question by `difference_bound`.
    """
    capacity, stiffness, inputs, outputs = unit_capacity(model.E, model.K, model.B, model.C)
    with clock("low_rank"):
        solver = shifted_solver(capacity, stiffness, settings.solver)
        interval = spectral_interval(capacity, stiffness, solver)
        space = reachable_space(capacity, solver, inputs, interval, settings.gramian_residual,
                                threads)
    with clock("projection"):
        modal = project(stiffness, inputs, outputs, space.basis)
    powers = switching_treatment(inputs.shape[1], settings.max_power, SAMPLES)
    with clock("replay"):
        truth = replayed(full_stepper(capacity, solver, inputs, SAMPLE), outputs, powers)
        error = np.abs(replayed(reduced_stepper(balanced.A, balanced.B, SAMPLE), balanced.C,
                                powers) - truth).max(axis=0)
    with clock("projection_error"):
        projection = projection_bound(solver, outputs, space.residual_factor)
        frequencies = sweep_frequencies(interval, FREQUENCIES)
        projection_error = projection_errors(capacity, stiffness, solver, inputs, outputs, modal,
                                             frequencies)
    with clock("frequency_sweep"):
        swept = frequency_sweep(modal, balanced, frequencies, projection_error)
    with clock("difference"):
        difference = difference_bound(modal, balanced)
    gain, bound = float(swept.gain.max()), difference + projection
    check_bound(float(swept.error.max()), bound)
    return {
        "reachable_order": len(modal.rates), "n_frequencies": len(frequencies),
        "hinf_norm_k_w": gain,
        "hinf_error_relative": float(swept.error.max()) / gain,
        "hinf_bound_relative": bound / gain,
        "projection_bound_relative": projection / gain,
        "projection_error_relative": float(swept.projection.max()) / gain,
        "gramian_residual": float(space.residual[-1]), "n_shifts": len(space.shifts),
        "spectrum_per_s": [float(end) for end in interval],
        "max_output_error_k": largest_by_kind(error, model.outputs),
        "replay_power_w": float(settings.max_power), "replay_step_s": SAMPLE}


def difference_bound(modal, reduced: Balanced) -> float:
    """Bound, at every frequency, on the 2-norm of the difference of two transfer functions.

    The difference is itself a stable model, with the states of both. No transfer function is larger
    than twice the sum of its Hankel values: this is Enns' bound for a truncation that keeps no
    state (see `hankel.truncation_bound`).

    Parameters
    ----------
    modal : projected full model, z' = -diag(rates) z + B u, y = C z.
    reduced : the other model, with the same inputs and outputs.
    """
    a, basis = la.schur(reduced.A)
    a = la.block_diag(np.diag(-modal.rates), a)
    inputs = np.vstack([modal.inputs, basis.T @ reduced.B])
    outputs = np.hstack([modal.outputs, -reduced.C @ basis])
    hsv = np.linalg.svd(observability(a, outputs) @ reachability(a, inputs), compute_uv=False)
    return float(2 * hsv.sum())


def _check_worth(compared: dict, path: Path) -> None:
    error, norm = compared["hinf_error_relative"], compared["hinf_norm_k_w"]
    if error >= WORTHLESS:
        raise InputError(
            f"is no model of this patient: its transfer function is off by {error:.3g} of the "
            f"full model's, {norm:.3g} K/W", file=path, key="A, B, C",
            allowed="less than 1, which a model of no heating at all has; A in 1/s, B for W, C in "
                    "K")


def _numbers(file, name: str, dimensions: int, shape=None) -> np.ndarray:
    """A data set of finite real numbers."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu" or (
            dataset.ndim != dimensions):
        raise InputError("is not a matrix of real numbers", file=file.filename, key=name)
    if shape is not None and dataset.shape != shape:
        raise InputError("has the wrong shape", file=file.filename, key=name, value=dataset.shape,
                         allowed=shape)
    unit = dataset.attrs.get("units", UNITS.get(name))
    if name in UNITS and unit != UNITS[name]:
        raise InputError("has another unit", file=file.filename, key=name, value=str(unit),
                         allowed=UNITS[name])
    values = np.asarray(dataset[:], dtype=float)
    if not np.isfinite(values).all():
        raise InputError("holds values that are not finite", file=file.filename, key=name)
    return values


def _same_places(positions, expected, path, key: str, what: str) -> None:
    if len(positions) != len(expected):
        raise InputError(f"has {len(positions)} {what}", file=path, key=key,
                         allowed=f"the patient's {len(expected)}")
    off = np.linalg.norm(positions - expected, axis=1).max(initial=0.0)
    if off > NEAR:
        raise InputError(f"has other {what}: they lie up to {off * 1e3:.3g} mm off the patient's",
                         file=path, key=key, allowed="the patient's, in their order")


def _counts(kind) -> str:
    return f"{np.sum(kind == 'constraint')} constraint points, {np.sum(kind == 'target')} voxels"
