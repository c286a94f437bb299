"""Models of other people: Hankel values against published ones, errors against the bound.

The SLICOT benchmark collection and the steel profiles of the Oberwolfach collection, where they lie
beside the project (`shared/data/models`); without them there is nothing to check.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.io
import scipy.linalg as la
import scipy.sparse as sp
from run import ROOT, Check, at_most, within

from hifuflow.reduction.exchange import as_full_model, read_matrices
from hifuflow.reduction.external import reduce_any
from hifuflow.reduction.whole import reduce_whole

MODELS = ROOT.parent / "shared" / "data" / "models"
LEVEL = 1e-9  # Hankel values above this part of the largest are compared
SLICOT = ("building", "cdplayer", "beam")  # with `hsv`, their Hankel values, in the file
RAILS = ("rail_371", "railABCE_1357", "railABCE_5177")
RAIL_371_NORM = 0.9171
RAIL_5177_HANKEL = (0.25446203, 0.03765892, 0.02825649, 0.01618769, 0.01398120, 0.01082137)
ORDERS = ("auto", 20)
POINTS = 60


def checks() -> list[Check]:
    """All of them."""
    if not MODELS.is_dir():
        print(f"models: skipped, no sample models at {MODELS}")
        return []
    found = []
    for name in (*SLICOT, *RAILS):
        path = MODELS / f"{name}.mat"
        matrices = read_matrices(path)
        for order in ORDERS:
            rom, record = reduce_any(path, order, None, 2)
            error, gain = largest_error(matrices, rom)
            bound = record["hinf_bound_relative"] * record["hinf_norm"]
            states = f"{name}: {rom.order} of {record['full_order']} states"
            found.append(at_most(f"{states}, H-infinity error over its bound", error / bound, 1,
                                 "its own bound"))
            found.append(at_most(f"{states}, bound over the gain", bound / gain,
                                 1e-5 if order == "auto" else 1, "goal"))
            if order == "auto":
                found += _hankel_values(name, matrices, rom, gain)
    return found


def _hankel_values(name, matrices, rom, gain) -> list[Check]:
    if name in SLICOT:
        published = scipy.io.loadmat(MODELS / f"{name}.mat", spmatrix=False)["hsv"].ravel()
        return [_agreement(name, rom.hsv, published, 1e-7, "SLICOT benchmark collection")]
    if name == "rail_371":
        return [within(f"{name}: H-infinity norm", gain, RAIL_371_NORM, 1e-4, "M-M.E.S.S.")]
    if name == "railABCE_5177":
        return [within(f"{name}: Hankel value {i + 1}", rom.hsv[i], value, 1e-6,
                       "SLICOT on the whole model") for i, value in enumerate(RAIL_5177_HANKEL)]
    whole, _ = reduce_whole(as_full_model(matrices), threads=2)
    return [_agreement(name, rom.hsv, whole.hsv, 1e-4, "SLICOT on the whole model", 1e-6)]


def _agreement(name, found, reference, allowed, origin, level=LEVEL) -> Check:
    large = np.flatnonzero(reference > level * reference[0])
    return at_most(f"{name}: relative error of {len(large)} Hankel values above {level:g}",
                   np.abs(found[large] / reference[large] - 1).max(), allowed, origin)


def largest_error(matrices, rom) -> tuple[float, float]:
    """Largest error and gain over frequencies: 0, the full model's poles where they are not too
    many to compute, the reduced model's, and evenly spread ones."""
    e, a, b, c = (matrices[name] for name in "EABC")
    own = [np.abs(la.eigvals(rom.A))]
    if len(b) < 500:
        own.append(np.abs(la.eigvals(a.toarray(), e.toarray())))
    poles = np.sort(np.concatenate(own))
    frequencies = np.unique(np.concatenate([
        [0.0], poles[:: max(1, len(poles) // (4 * POINTS))],
        np.geomspace(poles[0] / 10, 10 * poles[-1], POINTS)]))
    errors, gains = [], []
    for frequency in frequencies:
        solve = sp.linalg.splu(sp.csc_array(1j * frequency * e - a)).solve
        full = c @ solve(b.astype(complex))
        small = rom.C @ np.linalg.solve(1j * frequency * np.eye(rom.order) - rom.A, rom.B)
        errors.append(np.linalg.norm(full - small, 2))
        gains.append(np.linalg.norm(full, 2))
    return max(errors), max(gains)
