"""Models from elsewhere: published benchmarks, files of other programs, and every refusal."""

import json
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.errors import InputError, NumericalError
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.reduction.balance import balanced_truncation
from hifuflow.reduction.exchange import as_full_model, read_matrices, to_control, to_pymor
from hifuflow.reduction.external import reduce_file
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.settings import ReductionSettings


def heat_equation(n=200):
    """The heat equation of the SLICOT benchmark collection, from its definition: a thin rod with
    cold ends, finite differences, heated at one and measured at two thirds of its length.
    The diffusivity of 0.01 and the unit input are assumed.

    Source: Y. Chahlaoui, P. Van Dooren, "A collection of benchmark examples for model reduction
    of linear time invariant dynamical systems", SLICOT Working Note 2002-2.
    """
    a = 0.01 * (n + 1) ** 2 * sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))
    b, c = np.zeros((n, 1)), np.zeros((1, n))
    b[round(n / 3) - 1, 0] = c[0, round(2 * n / 3) - 1] = 1
    return sp.csr_array(a), b, c


def three_peaks():
    """FOM of the SLICOT benchmark collection: 1006 states, three resonances, not symmetric.

    Source: T. Penzl, "Algorithms for model reduction of large dynamical systems", Linear Algebra
    Appl. 415 (2006) 322-343.
    """
    blocks = [np.array([[-1.0, w], [-w, -1.0]]) for w in (100.0, 200.0, 400.0)]
    a = la.block_diag(*blocks, np.diag(-np.arange(1.0, 1001.0)))
    b = np.append(np.full(6, 10.0), np.ones(1000))[:, None]
    return a, b, b.T.copy()


def write(folder, e, a, b, c):
    for name, matrix in zip("EABC", (e, a, b, c), strict=True):
        scipy.io.mmwrite(folder / f"{name}.mtx", sp.coo_array(matrix))
    return folder


def gain(a, b, c, w):
    return c @ np.linalg.solve(1j * w * np.eye(len(a)) - a, b)


def test_hankel_values_of_the_heat_equation_agree_with_slicot_on_all_of_it():
    a, b, c = heat_equation()
    whole = balanced_truncation(a.toarray(), b, c)
    model = as_full_model({"E": sp.eye_array(200, format="csr"), "A": a, "B": b,
                           "C": sp.csr_array(c)})
    for tolerance, level in ((1e-12, 1e-5), (1e-20, 1e-9)):
        settings = replace(ReductionSettings.of_file("heat.mat", "auto", None),
                           gramian_residual=tolerance)
        reduced, _ = reduce_model(model, settings, threads=1)
        large = whole.hsv > level * whole.hsv[0]
        np.testing.assert_allclose(reduced.hsv[: large.sum()], whole.hsv[large], rtol=1e-6)


def test_symmetric_model_from_matrix_market_and_to_matlab(tmp_path):
    a, b, c = heat_equation()
    folder = write(tmp_path, sp.eye_array(200), a, b, c)
    rom, record = reduce_file(folder, 12, tmp_path / "rod.mat")
    found = scipy.io.loadmat(rom)
    for w in (0.0, 0.01, 1.0):
        exact, near = (gain(*model, w) for model in (
            (a.toarray(), b, c), (found["A"], found["B"], found["C"])))
        np.testing.assert_allclose(near, exact, atol=found["error_bound"][11, 0])
    certificate = json.loads(record.read_text())
    assert certificate["order"] == 12
    assert certificate["hinf_error_relative"] < certificate["hinf_bound_relative"] < 1e-2


def test_three_peaks_against_the_closed_form(tmp_path):
    scipy.io.savemat(tmp_path / "fom.mat", dict(zip("ABC", three_peaks(), strict=True)))
    rom, _ = reduce_file(tmp_path / "fom.mat", 12, tmp_path / "out.h5")
    with h5py.File(rom) as file:
        small = [file[name][:] for name in "ABC"]
        bound, hsv = file["error_bound"][11], file["hsv"][:]
    errors = []
    for w in np.concatenate([[0.0, 100.0, 200.0, 400.0], np.geomspace(0.1, 1e4, 60)]):
        s = 1j * w
        exact = (1 / (s + np.arange(1.0, 1001.0))).sum() + sum(
            200 * (s + 1) / ((s + 1) ** 2 + peak**2) for peak in (100.0, 200.0, 400.0))
        errors.append(abs(exact - gain(*small, w)[0, 0]))
    assert hsv[12] < max(errors) <= bound < 1e-2 * hsv[0]


def test_general_model_goes_to_slicot_as_a_whole(tmp_path):
    n = 30
    a = la.circulant(np.eye(n)[1]) - 2 * np.eye(n)
    e, b, c = np.diag(np.linspace(1, 2, n)), np.eye(n)[:, :2], np.ones((1, n))
    scipy.io.savemat(tmp_path / "ring.mat", {"E": e, "A": a, "B": b, "C": c})
    rom, record = reduce_file(tmp_path / "ring.mat", 10, tmp_path / "out.h5")
    inverse = np.linalg.inv(e)
    with h5py.File(rom) as file:
        small = [file[name][:] for name in "ABC"]
        bound = file["error_bound"][9]
    for w in (0.0, 0.3, 2.0):
        error = np.linalg.norm(gain(inverse @ a, inverse @ b, c, w) - gain(*small, w), 2)
        assert error <= bound < 1e-2 * np.linalg.norm(gain(inverse @ a, inverse @ b, c, 0), 2)
    assert json.loads(record.read_text())["stable"]


def test_oberwolfach_names(tmp_path):
    a, b, c = heat_equation(20)
    for name, matrix in (("A", a), ("B", b), ("C", c)):
        with open(tmp_path / f"rod.{name}", "wb") as file:
            scipy.io.mmwrite(file, sp.coo_array(matrix))
    found = read_matrices(tmp_path / "rod.A")
    np.testing.assert_allclose(found["A"].toarray(), a.toarray())
    np.testing.assert_array_equal(found["E"].toarray(), np.eye(20))


@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda e, a, b, c: (e, -a, b, c), NumericalError, "20 of 20 eigenvalues do not decay"),
    (lambda e, a, b, c: (0 * e, a, b, c), InputError, r"bad\.mat: E: is zero"),
    (lambda e, a, b, c: (e, a, 0 * b, c), InputError, r"bad\.mat: B: is zero"),
    (lambda e, a, b, c: (e, a, b, 0 * c), InputError, r"bad\.mat: C: is zero"),
    (lambda e, a, b, c: (e, a, b * np.nan, c), InputError, "B: 20 of 20 values are not finite"),
    (lambda e, a, b, c: (e + np.inf, a, b, c), InputError, "E: 400 of 400 values are not finite"),
    (lambda e, a, b, c: (e, a, b[:-1], c), InputError, "B = .*wrong shape .allowed: 20 x any"),
    (lambda e, a, b, c: (e, a, b.T, c), InputError, "B = .1, 20.: .* its transpose would fit"),
    (lambda e, a, b, c: (e, a, b, c.T), InputError, "C = .20, 1.: .* its transpose would fit"),
    (lambda e, a, b, c: (e, a[:-1], b, c), InputError, "A = .19, 20.: has the wrong shape"),
    (lambda e, a, b, c: (e[:3, :3], a, b, c), InputError, "E = .3, 3.: .*allowed: 20 x 20"),
    (lambda e, a, b, c: (e, a + 9 * np.eye(20)[[1, *range(19)]], b, c), NumericalError,
     "not stable"),
    (lambda e, a, b, c: (np.diag([0.0, *np.ones(19)]), a + np.triu(np.ones((20, 20)), 1), b, c),
     InputError, "E: is singular"),
    (lambda e, a, b, c: (e, a * (1 + 1e-3j), b, c), InputError, "A: is complex, with imag.* up to"),
    (lambda e, a, b, c: (e, "heat", b, c), InputError, "A: is text"),
    (lambda e, a, b, c: (e, np.array([[a]], object), b, c), InputError, "A: is a cell array"),
    (lambda e, a, b, c: (e, a[:, :, None] * np.ones(2), b, c), InputError, "A: has 3 dimensions"),
])
def test_models_that_cannot_be_reduced(tmp_path, change, error, message):
    a, b, c = heat_equation(20)
    model = change(np.eye(20), a.toarray(), b, c)
    scipy.io.savemat(tmp_path / "bad.mat", dict(zip("EABC", model, strict=True)))
    with pytest.raises(error, match=message):
        reduce_file(tmp_path / "bad.mat", 3, tmp_path / "out.h5")


def test_files_that_hold_no_model(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        reduce_file(tmp_path / "none.mat")
    scipy.io.savemat(tmp_path / "half.mat", {"A": -np.eye(3)})
    with pytest.raises(InputError, match="B, C not found"):
        reduce_file(tmp_path / "half.mat")
    (tmp_path / "text.mat").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read"):
        reduce_file(tmp_path / "text.mat")
    (tmp_path / "B.mtx").write_text("nothing")
    with pytest.raises(InputError, match=r"B\.mtx: is not the file of A"):
        reduce_file(tmp_path / "B.mtx")


@pytest.mark.parametrize("name", ["model.txt", ".", "no/x.h5/y.mat"])
def test_names_that_cannot_be_written(tmp_path, name):
    a, b, c = heat_equation(5)
    write(tmp_path, sp.eye_array(5), a, b, c)
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / "x.h5").write_text("a file, no folder")
    with pytest.raises(InputError, match="--output"):
        reduce_file(tmp_path, output=tmp_path / name)


def test_own_model_that_is_not_symmetric_keeps_its_means_and_kelvin(cube, tmp_path):
    """A bioheat model whose K flows one way: balanced as a whole, with the means over voxels."""
    skew = cube.K.tolil()
    skew[0, 1] *= 1.5
    cube.K = sp.csr_array(skew)
    cube.C_mean = sp.csr_array(0.5 * cube.C + 0.5 * cube.C[::-1])
    cube.save(tmp_path / "cube.h5", "cube", "0" * 64)
    rom, record = reduce_file(tmp_path / "cube.h5", 30, tmp_path / "out.h5")
    model = ReducedModel.load(rom)
    np.testing.assert_allclose(model.C_mean, 0.5 * model.C + 0.5 * model.C[::-1],
                               atol=1e-9 * np.abs(model.C).max())
    found = json.loads(record.read_text())
    assert set(found["max_output_error_k"]) == {"constraint", "target"}
    full = cube.C @ np.linalg.solve(cube.K.toarray(), cube.B)
    small = -model.C @ np.linalg.solve(model.A, model.B)
    assert np.linalg.norm(full - small, 2) <= found["hinf_bound_relative"] * found["hinf_norm_k_w"]
    with h5py.File(rom) as file:
        assert file["hsv"].attrs["units"] == "K/W"


def test_command(tmp_path):
    a, b, c = heat_equation(40)
    write(tmp_path, sp.eye_array(40), a, b, c)
    command = [sys.executable, "-m", "hifuflow", "reduce", str(tmp_path)]
    done = subprocess.run([*command, "--order", "6", "--output", str(tmp_path / "r.h5")],
                          capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "r.h5"), str(tmp_path / "r.json")]
    done = subprocess.run([*command, "--order", "50"], capture_output=True, text=True)
    assert done.returncode == 1 and "order = 50" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run([*command, "--tolerance-k", "1e-3", "--output", str(tmp_path / "t.mat")],
                          capture_output=True, text=True, check=True)
    assert json.loads((tmp_path / "t.json").read_text())["max_output_error"]["output"] <= 1e-3
    assert " K" not in done.stderr


@pytest.mark.parametrize(("library", "convert", "evaluate"), [
    ("control", to_control, lambda system, s: system(s)),
    ("pymor", to_pymor, lambda system, s: system.transfer_function.eval_tf(s))])
def test_hand_over_to_other_libraries(library, convert, evaluate):
    pytest.importorskip(library)
    a, b, c = heat_equation(20)
    whole = balanced_truncation(a.toarray(), b, c, 4)
    rom = ReducedModel(whole.A, whole.B, whole.C, whole.hsv, whole.hsv, "", None, np.zeros((1, 3)),
                       D=np.full((1, 1), 3.0))
    np.testing.assert_allclose(np.atleast_2d(evaluate(convert(rom), 0.5j)),
                               3 + gain(whole.A, whole.B, whole.C, 0.5), rtol=1e-9)
