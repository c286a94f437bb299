"""Exchange of models with other programs: Matrix Market, MATLAB, python-control, pyMOR."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.formats.matlab import NotNumbers, read_mat
from hifuflow.formats.matrix_market import PACKED, read_market
from hifuflow.job import atomic
from hifuflow.provenance import config_hash, file_sha256
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel

NEEDED, OPTIONAL = ("A", "B", "C"), ("E", "D")
FORMS = ("a fem/*.h5 of this workflow; a .mat file with A, B, C, E (identity if there is none) and "
         "D (zero if there is none), also as the fields of one structure; a folder with A.mtx, "
         "B.mtx, C.mtx, E.mtx and D.mtx; or the NAME.A among NAME.A, NAME.B, NAME.C, NAME.E and "
         "NAME.D (Matrix Market, also .gz and .bz2)")
# NAME.A, NAME.A.mtx, A.mtx, NAME_A.mtx.gz: groups before and behind the letter.
LETTER = re.compile(r"(|.*[._-])A((?:\.mtx)?(?:\.gz|\.bz2)?)")
ENDINGS = tuple(f".mtx{packed}" for packed in PACKED)
# Entries that, where not zero, mean a model in discrete time or with delays: as variables beside
# the matrices, or as fields of their structure.
NOT_CONTINUOUS = {"variable": ("ts",), "field": ("ts", "dt", "inputdelay", "outputdelay", "iodelay",
                                                 "internaldelay")}


def read_matrices(path) -> dict:
    """Read a model E x' = A x + B u, y = C x + D u of another program.

    Parameters
    ----------
    path : one of `FORMS`.

    Returns
    -------
    {"E", "A": (n, n) sparse, "B": (n, m), "C": (p, n) sparse, "D": (p, m)}.

    Raises
    ------
    InputError : there is no such model, or it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no such file", file=path, allowed=FORMS)
    matrices = _from_mat(path) if path.suffix.lower() == ".mat" else read_market(
        matrix_files(path))
    missing = [name for name in NEEDED if name not in matrices]
    if missing:
        raise InputError(f"{', '.join(missing)} not found", file=path, allowed=FORMS)
    matrices = {name: _real(matrix, name, path) for name, matrix in matrices.items()}
    n, m, p = matrices["A"].shape[0], matrices["B"].shape[1], matrices["C"].shape[0]
    if 0 in matrices.get("E", matrices["A"]).shape:  # MATLAB's [] for none
        del matrices["E"]
    if 0 in matrices.setdefault("D", np.zeros((p, m))).shape or (
            # MATLAB's ss(A, B, C, 0)
            matrices["D"].shape == (1, 1) and not _dense(matrices["D"]).any()):
        matrices["D"] = np.zeros((p, m))
    matrices.setdefault("E", sp.eye_array(n))
    return {**{name: sp.csr_array(matrices[name], dtype=float) for name in ("E", "A", "C")},
            **{name: _dense(matrices[name]) for name in ("B", "D")}}


def matrix_files(path: Path) -> dict:
    """Name of a matrix -> its Matrix Market file, in a folder or beside the file of A.

    Raises
    ------
    InputError : the name of the file is none of a matrix A.
    """
    if path.is_dir():
        candidates = {name: [path / f"{name}{ending}" for ending in ENDINGS]
                      for name in (*NEEDED, *OPTIONAL)}
    else:
        parts = LETTER.fullmatch(path.name)
        if parts is None:
            raise InputError("is not the file of A", file=path, allowed=FORMS)
        before, behind = parts.groups()
        plain = behind.removesuffix(".gz").removesuffix(".bz2")
        candidates = {name: [path.with_name(f"{before}{name}{ending}") for ending in dict.fromkeys(
            (behind, *(plain + packed for packed in PACKED)))] for name in (*NEEDED, *OPTIONAL)}
    return {name: present[0] for name, files in candidates.items()
            if (present := [file for file in files if file.is_file()])}


def _from_mat(path: Path) -> dict:
    """Read the matrices of a .mat file: its variables, or the fields of one structure."""
    content = read_mat(path)
    if letters := _letters(content):
        _check_continuous(content, "variable", path)
        return _matrices(content, letters, path)
    models = {name: item for name, item in content.items()
              if isinstance(item, dict) and _letters(item)}
    if len(models) > 1:
        raise InputError(f"holds several models: {', '.join(models)}", file=path,
                         allowed="one model, or A, B, C as variables")
    for model in models.values():
        _check_continuous(model, "field", path)
        return _matrices(model, _letters(model), path)
    objects = [f"{name} ({item.kind})" for name, item in content.items()
               if isinstance(item, NotNumbers) and "object" in item.kind]
    if objects:
        raise InputError(f"holds {', '.join(objects)}, which only MATLAB can read", file=path,
                         allowed="matrices: save those of [A, B, C, D, E] = dssdata(sys)")
    return {name: content[name] for name in NEEDED if name in content}


def _letters(fields: dict) -> dict:
    """Matrix -> name of its variable or field: all in capitals, or all in small letters."""
    for case in (str.upper, str.lower):
        if all(case(name) in fields for name in NEEDED):
            return {name: case(name) for name in (*NEEDED, *OPTIONAL) if case(name) in fields}
    return {}


def _matrices(fields: dict, letters: dict, path: Path) -> dict:
    mass = getattr(fields.get("M"), "shape", None)
    if "E" not in letters and mass == getattr(fields[letters["A"]], "shape", ()):
        raise InputError("has a matrix M of the size of A, but no E", file=path, key="M",
                         allowed="E, for E x' = A x + B u, or no M")
    return {name: fields[key] for name, key in letters.items()}


def _check_continuous(fields: dict, place: str, path: Path) -> None:
    for key, value in fields.items():
        if key.lower() in NOT_CONTINUOUS[place] and isinstance(value, np.ndarray) and value.any():
            raise InputError("belongs to a model in discrete time, or with delays", file=path,
                             key=key, value=value.ravel()[0].item(),
                             allowed="x' = A x + B u, in continuous time and without delays")


def _real(matrix, name, path):
    """Refuse all but real matrices; complex numbers without an imaginary part count as real."""
    if isinstance(matrix, dict | NotNumbers):
        kind = matrix.kind if isinstance(matrix, NotNumbers) else "a structure"
        raise InputError(f"is {kind}", file=path, key=name, allowed="a real matrix")
    if matrix.ndim != 2:
        raise InputError(f"has {matrix.ndim} dimensions", file=path, key=name,
                         allowed="a real matrix")
    if np.iscomplexobj(matrix):
        largest = float(abs(matrix.imag).max()) if 0 not in matrix.shape else 0.0
        if largest:
            raise InputError(f"is complex, with imaginary parts up to {largest:.3g}", file=path,
                             key=name, allowed="a real matrix")
        return matrix.real
    return matrix


def _dense(matrix) -> np.ndarray:
    return np.array(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=float)


def model_sha256(path) -> str:
    """SHA-256 of all files that `read_matrices` or `BioheatModel.load` reads for a model."""
    path = Path(path)
    if path.suffix.lower() in (".h5", ".mat"):
        return file_sha256(path)
    return config_hash({name: file_sha256(file) for name, file in matrix_files(path).items()})


def as_full_model(matrices: dict) -> BioheatModel:
    """Full model E x' = -K x + B u, K = -A, of another program's matrices.

    Positions are NaN and the baseline is zero, as nothing is known of them.
    """
    n, m, p = matrices["A"].shape[0], matrices["B"].shape[1], matrices["C"].shape[0]
    nowhere = np.full((p, 3), np.nan)
    outputs = Outputs(np.full(p, "output"), nowhere, np.zeros(p), np.zeros(p), np.full(p, np.nan))
    voxels = Voxels(sp.csr_array((0, n)), np.zeros((0, 3), np.int32), np.zeros(0),
                    np.zeros(0, bool), 0.0)
    return BioheatModel(matrices["E"], -matrices["A"], matrices["B"], matrices["C"],
                        np.full((n, 3), np.nan), np.zeros(n), outputs, np.full((m, 3), np.nan),
                        voxels)


def write_mat(rom: ReducedModel, path) -> None:
    """Write a reduced model for MATLAB: `load(path); sys = ss(A, B, C, D);`."""
    with atomic(path) as temporary:
        scipy.io.savemat(temporary, {
            "A": rom.A, "B": rom.B, "C": rom.C, "D": rom.D,
            "hsv": rom.hsv[:, None], "error_bound": rom.error_bound[:, None]})


def to_control(rom: ReducedModel):
    """`control.StateSpace` of a reduced model; needs python-control."""
    import control

    return control.ss(rom.A, rom.B, rom.C, rom.D)


def to_pymor(rom: ReducedModel):
    """`LTIModel` of a reduced model; needs pyMOR."""
    from pymor.models.iosys import LTIModel

    return LTIModel.from_matrices(rom.A, rom.B, rom.C, rom.D if rom.D.any() else None)
