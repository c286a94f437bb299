"""Small models from elsewhere, with right values by python-control or exact arithmetic."""

import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.reduction.external import reduce_file

CASES = ROOT.parent / "shared" / "cases" / "reduction"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no sample models at {CASES}")


def reduced(name, tmp_path) -> ReducedModel:
    return ReducedModel.load(reduce_file(CASES / name, output=tmp_path / "out.h5")[0])


@pytest.mark.parametrize(("name", "gain", "hankel", "poles"), [
    ("D_nonzero.mat", 2.95, (), ()),
    ("coolant_scaled_nonsym.mat", 1 / 3, (0.18613, 0.02181, 0.00236), ()),
    # The pole at -2 cancels in 1.5 / (s + 1) + 1e-11 / (s + 3e-11), and so does the third value.
    ("scaled_E.mat", 11 / 6, (0.75, 0.16667), (-1, -3e-11)),
    ("one_state.mat", 1.5, (0.75,), (-2,)),
    ("stiff_sym.mat", 1.1111111111111e12, (), ()),
    ("Escaled.mat", -0.05, (0.075, 0.05), (-4, -2e9, -5e17)),
])
def test_right_values(tmp_path, name, gain, hankel, poles):
    rom = reduced(name, tmp_path)
    static = rom.D - rom.C @ np.linalg.solve(rom.A, rom.B)
    assert static[0, 0] == pytest.approx(gain, rel=1e-8)
    np.testing.assert_allclose(rom.hsv[:len(hankel)], hankel, atol=5e-6)
    found = la.eigvals(rom.A)
    assert found.real.max() < 0
    if poles:
        np.testing.assert_allclose(np.sort(found.real)[::-1], np.sort(poles)[::-1], rtol=1e-6)


@pytest.mark.parametrize(("name", "message"), [
    ("decay_chain_blind.mat", "no input reaches an output"),
    ("disconnected.mat", "no input reaches an output"),
    ("B_as_row.mat", r"B_as_row\.mat: B = \(1, 3\): .*its transpose would fit"),
])
def test_right_errors(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        reduced(name, tmp_path)
