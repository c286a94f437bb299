"""Models from and for other programs: Matrix Market, MATLAB, python-control, pyMOR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse as sp
from scipy.io.matlab import MatReadError

from hifuflow.errors import InputError
from hifuflow.job import atomic
from hifuflow.provenance import config_hash, file_sha256
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel

MATRICES = ("E", "A", "B", "C")
FORMS = ("a fem/*.h5 of this workflow; a .mat file with A, B, C and E (identity if there is none); "
         "a folder with A.mtx, B.mtx, C.mtx and E.mtx; or the NAME.A among NAME.A, NAME.B, NAME.C "
         "and NAME.E (Matrix Market)")


def read_matrices(path) -> dict:
    """E x' = A x + B u, y = C x from another program: {"E", "A": sparse, "B": dense, "C": sparse}.

    Raises
    ------
    InputError : no such model, or it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no such file", file=path, allowed=FORMS)
    try:
        if path.suffix == ".mat":
            content = scipy.io.loadmat(path)
            given = {name: content[name] for name in MATRICES if name in content}
        else:
            given = {name: scipy.io.mmread(file, spmatrix=False)
                     for name, file in _matrix_files(path).items()}
    except (OSError, ValueError, NotImplementedError, MatReadError) as error:
        raise InputError(f"cannot be read: {error}", file=path, allowed=FORMS) from error
    missing = [name for name in MATRICES[1:] if name not in given]
    if missing:
        raise InputError(f"{', '.join(missing)} not found", file=path, allowed=FORMS)
    if any(np.iscomplexobj(matrix) or matrix.ndim != 2 for matrix in given.values()):
        raise InputError("holds something else than real matrices", file=path)
    given.setdefault("E", sp.eye_array(given["A"].shape[0]))
    b = given["B"]
    return {"E": sp.csr_array(given["E"], dtype=float), "A": sp.csr_array(given["A"], dtype=float),
            "B": np.asarray(b.toarray() if sp.issparse(b) else b, dtype=float),
            "C": sp.csr_array(given["C"], dtype=float)}


def _matrix_files(path: Path) -> dict[str, Path]:
    """Files of the matrices that there are, by name."""
    files = ({name: path / f"{name}.mtx" for name in MATRICES} if path.is_dir()
             else {name: path.with_suffix(f".{name}") for name in MATRICES})
    return {name: file for name, file in files.items() if file.is_file()}


def model_sha256(path) -> str:
    """Hash of all that `read_matrices` or `BioheatModel.load` reads of a model."""
    path = Path(path)
    if path.suffix in (".h5", ".mat"):
        return file_sha256(path)
    return config_hash({name: file_sha256(file) for name, file in _matrix_files(path).items()})


def as_full_model(matrices: dict) -> BioheatModel:
    """A model from elsewhere, E x' = -K x + B u with K = -A, without positions or a baseline."""
    n, m, p = matrices["A"].shape[0], matrices["B"].shape[1], matrices["C"].shape[0]
    nowhere = np.full((p, 3), np.nan)
    outputs = Outputs(np.full(p, "output"), nowhere, np.zeros(p), np.zeros(p), np.full(p, np.nan))
    voxels = Voxels(sp.csr_array((0, n)), np.zeros((0, 3), np.int32), np.zeros(0),
                    np.zeros(0, bool), 0.0)
    return BioheatModel(matrices["E"], -matrices["A"], matrices["B"], matrices["C"],
                        np.full((n, 3), np.nan), np.zeros(n), outputs, np.full((m, 3), np.nan),
                        voxels)


def write_mat(rom: ReducedModel, path) -> None:
    """For MATLAB: `load(path); sys = ss(A, B, C, D);`."""
    with atomic(path) as temporary:
        scipy.io.savemat(temporary, {
            "A": rom.A, "B": rom.B, "C": rom.C, "D": np.zeros((len(rom.C), rom.B.shape[1])),
            "hsv": rom.hsv[:, None], "error_bound": rom.error_bound[:, None]})


def to_control(rom: ReducedModel):
    """`control.StateSpace` of a reduced model; needs python-control."""
    import control

    return control.ss(rom.A, rom.B, rom.C, np.zeros((len(rom.C), rom.B.shape[1])))


def to_pymor(rom: ReducedModel):
    """`LTIModel` of a reduced model; needs pyMOR."""
    from pymor.models.iosys import LTIModel

    return LTIModel.from_matrices(rom.A, rom.B, rom.C)
