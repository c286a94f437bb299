"""Reduce any model file: symmetric ones as the workflow does, others densely by SLICOT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.linalg as la

from hifuflow.errors import InputError
from hifuflow.job import log, write_json
from hifuflow.provenance import file_sha256
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.certificate import FULL_MODEL, MODEL, save_certified
from hifuflow.records.reduced_model import ReducedModel

from .balance import balanced_truncation, minimal_order, rounding_level, truncation_bound
from .checks import SYMMETRY, asymmetry, check_matrices, check_order
from .exchange import as_full_model, model_sha256, read_matrices, write_mat
from .reduce import reduce_model
from .settings import ReductionSettings

# Where A or E is not symmetric, or -A or E not definite, the model is balanced as a whole; SLICOT
# then takes cubic time, some five minutes at this size.
DENSE_LIMIT = 5000
WRITERS = (".h5", ".mat")


def reduce_file(path, order="auto", output=None, tolerance: float | None = None,
                threads: int = 2) -> list[Path]:
    """Reduce a model file; write the reduced model and, beside it, the certificate.

    Parameters
    ----------
    path : see `exchange.FORMS`.
    order, tolerance : see `ReductionSettings`.

    Other Parameters
    ----------------
    output : NAME.h5 or NAME.mat; by default NAME_reduced.h5 in the working folder.
    threads : see `reduce.reduce_model`.

    Returns
    -------
    The files written.

    Raises
    ------
    InputError : the model, the order or the name cannot be used.
    NumericalError : the model is not stable or singular.
    """
    path = Path(path)
    output = Path(output or f"{path.stem}_reduced.h5")
    if output.suffix not in WRITERS:
        raise InputError("is not a kind of file that can be written", key="--output",
                         value=str(output), allowed=", ".join(WRITERS))
    check_order(order)
    if path.suffix == ".h5":
        model = BioheatModel.load(path)
    else:
        matrices = read_matrices(path)
        n, m = matrices["B"].shape
        check_matrices({name: (matrices[name], shape) for name, shape in {
            "E": (n, n), "A": (n, n), "B": (n, m), "C": (matrices["C"].shape[0], n)}.items()})
        model = as_full_model(matrices)
    symmetric = max(asymmetry(model.E), asymmetry(model.K)) <= SYMMETRY
    if symmetric:
        settings = ReductionSettings.of_file(path.name, order, tolerance)
        reduced, certificate = reduce_model(model, settings, threads)
    elif tolerance is not None:
        raise InputError("of a model that is not symmetric no treatment is replayed", file=path,
                         key="--tolerance-k", value=tolerance, allowed="--order")
    else:
        reduced, certificate = reduce_dense(model, order, path.name)
    record, full = output.with_suffix(".json"), model_sha256(path)
    if output.suffix == ".mat":
        write_mat(reduced, output)
        write_json(record, {**certificate, FULL_MODEL: full, MODEL: file_sha256(output)})
    else:
        save_certified(reduced, certificate, output, record, path.stem, "none", full)
    return [output, record]


def reduce_dense(model: BioheatModel, order="auto", file=None) -> tuple[ReducedModel, dict]:
    """Balanced truncation of a general stable model with a regular E, all of it by SLICOT.

    Raises
    ------
    InputError : too large, or the order is not available.
    NumericalError : E is singular, or the model is not stable.
    """
    n = model.E.shape[0]
    if n > DENSE_LIMIT:
        raise InputError(f"{n} unknowns of a model that is not symmetric", file=file,
                         allowed=f"at most {DENSE_LIMIT}, or symmetric E and A")
    capacity = model.E.toarray()
    condition = np.linalg.cond(capacity)
    if not condition < 1 / np.finfo(float).eps:
        raise InputError(f"is singular (condition {condition:.1e})", file=file, key="E",
                         allowed="a regular matrix")
    log.info("not symmetric: SLICOT balances all %d states", n)
    solved = la.lu_factor(capacity)
    a, b = la.lu_solve(solved, -model.K.toarray()), la.lu_solve(solved, model.B)
    reduced = balanced_truncation(a, b, model.C.toarray(), order, file)
    bound = truncation_bound(reduced.hsv) + 2 * rounding_level(reduced.hsv)
    r = len(reduced.A)
    slowest = float(np.linalg.eigvals(reduced.A).real.max())
    return (ReducedModel(reduced.A, reduced.B, reduced.C, reduced.hsv, bound,
                         "balanced truncation from Gramian factors by SLICOT SB03OD",
                         model.outputs, model.foci),
            {"order": r, "full_order": n, "minimal_order": minimal_order(reduced.hsv),
             "hinf_bound": float(bound[r - 1]), "stable": slowest < 0,
             "slowest_rate_per_s": -slowest})
