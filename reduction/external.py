"""Reduce any model file: large symmetric ones as the workflow does, others balanced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

from hifuflow.errors import InputError, NumericalError
from hifuflow.job import log, read_json, write_json
from hifuflow.provenance import file_sha256
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.certificate import FULL_MODEL, MODEL, save_certified
from hifuflow.records.reduced_model import ReducedModel

from .checks import SYMMETRY, asymmetry, check_matrices, check_order, check_threads, check_tolerance
from .exchange import as_full_model, matrix_files, model_sha256, read_matrices, write_mat
from .reduce import reduce_model
from .settings import ReductionSettings
from .standard import check_path
from .whole import MOST_STATES, reduce_whole

# States up to which a symmetric model is balanced as a whole too: it takes seconds and drops none.
SMALL = 500
WRITERS = (".h5", ".mat")


def reduce_file(path, order="auto", output=None, tolerance=None, threads: int = 2) -> list[Path]:
    """Reduce a model file; write the reduced model and, beside it, the certificate.

    Parameters
    ----------
    path : see `exchange.FORMS`.
    order : number of states, or "auto" for the numerically minimal order.
    output : NAME.h5 or NAME.mat; by default NAME_reduced.h5 in the working folder.
    tolerance : instead of an order, the largest error of an output under replayed inputs, in K for
        a fem/*.h5 of this workflow, else in the outputs' own units.

    Returns
    -------
    The files written.

    Raises
    ------
    InputError : the model, the order, the tolerance or the name cannot be used.
    NumericalError : the model is not stable, or too sensitive to rounding.
    """
    path = Path(path)
    output = Path(output or f"{path.name.split('.')[0] or 'model'}_reduced.h5")
    record = output.with_suffix(".json")
    check_order(order)
    check_tolerance(tolerance, order)
    check_threads(threads)
    check_output(path, output, record)
    reduced, certificate = reduce_any(path, order, tolerance, threads)
    full = model_sha256(path)
    if output.suffix.lower() == ".mat":
        write_mat(reduced, output)
        write_json(record, {**certificate, FULL_MODEL: full, MODEL: file_sha256(output)})
    else:
        save_certified(reduced, certificate, output, record, path.stem, "none", full)
    return [output, record]


def check_output(path: Path, output: Path, certificate: Path) -> None:
    """Refuse a name that cannot be written, or that would overwrite another file than a result.

    Raises
    ------
    InputError : with the name and what is allowed.
    """
    if output.suffix.lower() not in WRITERS:
        raise InputError("is not a kind of file that can be written", key="--output",
                         value=str(output), allowed=", ".join(WRITERS))
    folder = next(parent for parent in (output.parent, *output.absolute().parents)
                  if parent.exists())
    if output.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError("cannot be written there", key="--output", value=str(output),
                         allowed="a name in a folder that can be written")
    if path.exists():
        sources = [path] if path.suffix.lower() in WRITERS else matrix_files(path).values()
        for written in (output, certificate):
            if any(written.exists() and os.path.samefile(file, written) for file in sources):
                raise InputError("is the model to be read, which is never overwritten",
                                 key="--output", value=str(output), allowed="another name")
    if certificate.exists() and not is_certificate(certificate):
        raise InputError(f"the certificate would overwrite {certificate}, which is something else",
                         key="--output", value=str(output), allowed="another name")


def is_certificate(file: Path) -> bool:
    """Whether a JSON file is the certificate of a reduction."""
    try:
        return "full_order" in read_json(file)
    except (OSError, ValueError, TypeError):
        return False


def reduce_any(path: Path, order, tolerance, threads: int) -> tuple[ReducedModel, dict]:
    """The reduced model of a file, and its certificate, by the method that fits."""
    if path.suffix.lower() == ".h5":
        model, feedthrough = BioheatModel.load(path), None
    else:
        matrices = read_matrices(path)
        n = matrices["A"].shape[0]
        check_matrices({name: (matrices[name], shape) for name, shape in {
            "A": (n, n), "E": (n, n), "B": (n, None), "C": (None, n)}.items()}, path.name)
        m, p = matrices["B"].shape[1], matrices["C"].shape[0]
        check_matrices({"D": (matrices["D"], (p, m))}, path.name, zero=True)
        log.info("%d states, %d inputs, %d outputs%s", n, m, p,
                 ", and D" if matrices["D"].any() else "")
        model, feedthrough = as_full_model(matrices), matrices["D"]
    try:
        reduced, certificate = reduce_by_kind(model, order, tolerance, path.name, threads)
    except InputError as error:
        if error.file is not None:
            raise
        raise InputError(error.problem, file=path.name, key=error.key, value=error.value,
                         allowed=error.allowed) from error
    # The feedthrough has no states: it is kept as it is.
    reduced.D = reduced.D if feedthrough is None else feedthrough
    return reduced, certificate


def reduce_by_kind(model: BioheatModel, order, tolerance, file: str,
                   threads: int) -> tuple[ReducedModel, dict]:
    """The reduced model and its certificate, by `reduce_model` or `reduce_whole`.

    `reduce_model` takes symmetric definite models that are not small, `reduce_whole` all others.
    """
    n = len(model.B)
    skew = {name: asymmetry(matrix) for name, matrix in (("E", model.E), ("A", model.K))}
    symmetric = max(skew.values()) <= SYMMETRY
    definite = (model.E.diagonal() > 0).all() and (model.K.diagonal() > 0).all()  # it may be
    if symmetric and definite and (n > SMALL or model.outputs.temperatures):
        check_path(abs(model.E) + abs(model.K) > 0, model.B, model.C)
        try:
            return reduce_model(model, ReductionSettings.of_file(file, order, tolerance), threads)
        except NumericalError as error:
            if n > MOST_STATES:
                raise
            log.info("balanced as a whole instead: %s", error)
    elif not symmetric:
        log.info("not symmetric (%s): all %d states are balanced", ", ".join(
            f"{name}: {value:.1e}" for name, value in skew.items()), n)
    return reduce_whole(model, order, tolerance, file, threads)
