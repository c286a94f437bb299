"""Reduced models from elsewhere: certified against dense transfer functions, and every refusal."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.reduction import given
from hifuflow.reduction.given import check_fits, difference_bound, read_given, use_given
from hifuflow.reduction.low_rank import ModalModel
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.settings import ReductionSettings
from hifuflow.report.tables import certificate_table

OPTIONS = {"order": "auto", "tolerance_k": None, "solver": "auto", "gramian_residual": 1e-12,
           "max_power_w": 20.0, "file": "patient.yaml", "model": None}
FREQUENCIES = [0.0, *np.geomspace(1e-5, 100, 40)]


def dense_response(model, frequency):
    return model.C.toarray() @ la.solve(model.K.toarray() + 1j * frequency * model.E.toarray(),
                                        model.B.astype(complex))


def response(rom, frequency):
    return rom.C @ la.solve(1j * frequency * np.eye(len(rom.A)) - rom.A, rom.B.astype(complex))


def largest_error(model, rom):
    """(error, gain): largest singular values over many frequencies."""
    full = [dense_response(model, w) for w in FREQUENCIES]
    return (max(np.linalg.norm(f - response(rom, w), 2)
                for f, w in zip(full, FREQUENCIES, strict=True)),
            max(np.linalg.norm(f, 2) for f in full))


def krylov_model(model, blocks):
    """What another program may make: Galerkin projection onto K^-1 B, K^-1 E K^-1 B, ..., neither
    balanced nor with Hankel values that mean anything."""
    K, E = model.K.toarray(), model.E.toarray()
    block, basis = la.solve(K, model.B), []
    for _ in range(blocks):
        basis.append(block)
        block = la.solve(K, E @ block)
    basis = la.orth(np.hstack([part / np.linalg.norm(part) for part in basis]))
    inverse = la.inv(basis.T @ E @ basis)
    r = basis.shape[1]
    return ReducedModel(-inverse @ (basis.T @ K @ basis), inverse @ (basis.T @ model.B),
                        model.C @ basis, np.zeros(r), np.zeros(r), "moments at 0", model.outputs,
                        model.foci, 0.9 * (model.C @ basis))


@pytest.fixture
def written(tmp_path):
    """Write a reduced model as HDF5, with an edit of the open file; the path."""
    def write(rom, edit=lambda file: None):
        path = tmp_path / "mine.h5"
        rom.save(path, "elsewhere", "none")
        with h5py.File(path, "r+") as file:
            edit(file)
        return path
    return write


def taken(path, model):
    return use_given(model, ReductionSettings.read({**OPTIONS, "model": str(path)}), 1)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_the_certificate_of_a_foreign_model_holds_against_dense_transfer_functions(
        fine_cube, written, blocks):
    foreign = krylov_model(fine_cube, blocks)
    rom, record = taken(written(foreign), fine_cube)
    error, gain = largest_error(fine_cube, foreign)
    assert record["certified"] is True and record["stable"] is True
    assert record["hinf_norm_k_w"] == pytest.approx(gain, rel=1e-6)
    assert error / gain <= record["hinf_bound_relative"] * (1 + 1e-6)
    assert 0.3 * error / gain <= record["hinf_error_relative"] <= 1.01 * error / gain
    assert record["hinf_bound_relative"] < 30 * error / gain  # and it is no empty one
    assert record["full_order"] == len(fine_cube.B)
    assert set(record["max_output_error_k"]) == {"constraint", "target"}
    # Balancing changes the states and nothing else.
    for frequency in FREQUENCIES[::8]:
        np.testing.assert_allclose(response(rom, frequency), response(foreign, frequency),
                                   rtol=1e-6, atol=1e-9 * gain)
    np.testing.assert_allclose(rom.C_mean, 0.9 * rom.C, rtol=1e-6, atol=1e-9)
    assert (np.diff(rom.hsv) <= 0).all() and rom.hsv[0] > 0.1 * gain / 2
    assert (rom.error_bound[-1] >= 0.99 * error) and "mine.h5" in rom.method


def test_a_model_made_here_is_taken_back_with_the_same_certificate(fine_cube, written):
    own, before = reduce_model(fine_cube, ReductionSettings.read({**OPTIONS, "order": 20}), 1)
    _, record = taken(written(own), fine_cube)
    assert before["certified"] is True
    assert record["order"] == 20
    for key in ("hinf_norm_k_w", "hinf_error_relative"):
        assert record[key] == pytest.approx(before[key], rel=1e-3), key
    for kind, error in before["max_output_error_k"].items():
        assert record["max_output_error_k"][kind] == pytest.approx(error, rel=1e-2)
    assert record["hinf_error_relative"] <= record["hinf_bound_relative"]
    assert set(before) - set(record) == {
        "minimal_order", "truncation_bound_relative", "error_against_order",
        "smallest_output_weight"}  # how its states were chosen is known to its maker


def test_states_are_in_falling_order_of_importance_whatever_the_file_says(fine_cube, written):
    """Controllers truncate by the Hankel values: those of the file, all zero, would leave one."""
    foreign = krylov_model(fine_cube, 4)
    rom, _ = taken(written(foreign), fine_cube)
    for order in (5, 10):
        cut = replace(rom, A=rom.A[:order, :order], B=rom.B[:order], C=rom.C[:, :order])
        error = max(np.linalg.norm(response(rom, w) - response(cut, w), 2) for w in FREQUENCIES)
        assert error <= rom.truncation_bound[order - 1] * (1 + 1e-6)


def test_limits_and_baseline_are_the_patients(fine_cube, written):
    foreign = krylov_model(fine_cube, 2)
    foreign.outputs = replace(foreign.outputs, limit=foreign.outputs.limit + 5,
                              baseline=foreign.outputs.baseline - 9)
    rom, _ = taken(written(foreign), fine_cube)
    assert rom.outputs is fine_cube.outputs and rom.foci is fine_cube.foci


def test_only_what_is_needed_must_be_there(fine_cube, written):
    def strip(file):
        for name in ("hsv", "error_bound", "C_mean"):
            del file[name]
        for name in ("limit", "baseline", "volume", "name", "region", "soft", "dose_limit",
                     "mean_baseline"):
            del file[f"outputs/{name}"]
        for name in list(file.attrs):
            del file.attrs[name]
        for name in ("A", "B", "C", "foci"):
            del file[name].attrs["units"]

    rom, record = taken(written(krylov_model(fine_cube, 2), strip), fine_cube)
    assert record["certified"] and record["method"] == "made elsewhere"
    np.testing.assert_array_equal(rom.C_mean, rom.C)


def test_the_documented_example_makes_one_that_is_taken(fine_cube, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "reduced_model.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "PATIENT" / "fem").mkdir(parents=True)
    fine_cube.save("results/PATIENT/fem/control.h5", "cube", "none")
    exec(compile(code, "reduced_model.md", "exec"), {})
    _, record = taken(tmp_path / "my_rom.h5", fine_cube)
    assert record["certified"] and record["hinf_error_relative"] < 0.05
    assert max(record["max_output_error_k"].values()) < 0.5
    assert record["method"] == "six moments at frequency 0"


def test_what_cannot_be_compared_is_not_certified_and_the_page_says_so(fine_cube, written,
                                                                       monkeypatch):
    def too_large(*arguments):
        raise InputError("needs about 900 GB", key="reduction.order")

    monkeypatch.setattr(given, "check_memory", too_large)
    rom, record = taken(written(krylov_model(fine_cube, 2)), fine_cube)
    assert record["certified"] is False and "900 GB" in record["not_certified_because"]
    assert record["max_output_error_k"] is None and record["hinf_bound_relative"] is None
    assert np.isnan(rom.error_bound).all() and np.isfinite(rom.hsv).all()
    rows = dict(certificate_table(record))
    assert rows["Certified"].startswith("not certified: ") and "900 GB" in rows["Certified"]
    assert "not_certified_because" not in str(rows)


def test_a_certified_one_is_shown_as_such(fine_cube, written):
    _, record = taken(written(krylov_model(fine_cube, 1)), fine_cube)
    rows = dict(certificate_table(record))
    assert rows["Certified"] == "against the full model"
    assert rows["Made elsewhere, read from"] == "mine.h5"


def shifted(name, change):
    """An edit that changes a data set."""
    def edit(file):
        value = change(file[name][()])
        units = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update(units)
    return edit


@pytest.mark.parametrize(("edit", "key", "words"), [
    (lambda file: file.pop("A"), "A", "holds no such data set"),
    (lambda file: file["outputs"].pop("kind"), "outputs/kind", "holds no such data set"),
    (shifted("A", lambda a: a[:, :-1]), "A", "allowed: (10, 10)"),
    (shifted("B", lambda b: b[:-1]), "B", "allowed: (10, 5)"),
    (shifted("C", lambda c: c[:, :-1]), "C", "allowed: (32, 10)"),
    (shifted("C_mean", lambda c: c[:-1]), "C_mean", "allowed: (32, 10)"),
    (shifted("A", lambda a: a.ravel()), "A", "not a matrix of real numbers"),
    (shifted("A", lambda a: a + 0j), "A", "not a matrix of real numbers"),
    (shifted("A", lambda a: np.where(np.eye(len(a)), np.nan, a)), "A", "not finite"),
    (shifted("A", lambda a: -a), "A", "is not stable"),
    (lambda file: file.create_dataset("D", data=np.ones((32, 5))), "D", "change a temperature at"),
    (lambda file: file["A"].attrs.update(units="1/ms"), "A", "'1/ms': has another unit"),
    (lambda file: file["foci"].attrs.update(units="mm"), "foci", "'mm': has another unit"),
    (shifted("outputs/kind", lambda kind: np.zeros(len(kind))), "outputs/kind", "is not text"),
    (shifted("outputs/position", lambda x: x[:-1]), "outputs/position", "allowed: (32, 3)"),
])
def test_a_file_that_cannot_be_read_is_one_error(fine_cube, written, edit, key, words):
    path = written(krylov_model(fine_cube, 2), edit)
    with pytest.raises(InputError) as caught:
        read_given(path)
    assert str(caught.value.file) == str(path) and caught.value.key == key
    assert words in str(caught.value)


@pytest.mark.parametrize(("edit", "key", "words"), [
    (shifted("foci", lambda foci: foci + np.array([0, 0, 2e-3])), "foci", "up to 2 mm off"),
    (shifted("foci", lambda foci: foci[::-1]), "foci", "in their order"),
    (shifted("outputs/position", lambda x: x + 1e-3), "outputs/position", "mm off"),
    (shifted("outputs/kind", lambda kind: kind[::-1]), "outputs/kind", "5 constraint points, 27"),
    (shifted("B", lambda b: 1e3 * b), "A, B, C", "is no model of this patient"),
    (shifted("B", lambda b: -b), "A, B, C", "B for W"),
])
def test_a_model_of_another_patient_is_one_error(fine_cube, written, edit, key, words):
    with pytest.raises(InputError) as caught:
        taken(written(krylov_model(fine_cube, 2), edit), fine_cube)
    assert caught.value.key == key and words in str(caught.value)


def test_other_numbers_of_foci_and_outputs_are_told(fine_cube, written):
    model = read_given(written(krylov_model(fine_cube, 2)))
    with pytest.raises(InputError, match=r"has 5 foci \(allowed: the patient's 4"):
        check_fits(model, "mine.h5", fine_cube.foci[:4], fine_cube.outputs)
    points = fine_cube.outputs.position[fine_cube.outputs.constraint]
    check_fits(model, "mine.h5", fine_cube.foci, points=points.tolist())
    with pytest.raises(InputError, match=r"has 5 constraint points \(allowed: the patient's 4"):
        check_fits(model, "mine.h5", fine_cube.foci, points=points[:4])


@pytest.mark.parametrize("content", [None, b"not HDF5"])
def test_what_is_no_hdf5_file_is_one_error(tmp_path, content):
    path = tmp_path / "mine.h5"
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"no such file|not a readable HDF5 file"):
        read_given(path)


def test_the_difference_of_two_models_is_bounded():
    """Two first-order lags 1 / (s + 1) and 2 / (s + 2): the difference is largest at w = sqrt 2,
    where it is 1/3."""
    one, two = np.eye(1), 2 * np.eye(1)
    modal = ModalModel(np.array([1.0]), one, one, one, one)
    reduced = given.Balanced(-two, two, one, None)
    bound = difference_bound(modal, reduced)
    assert 1 / 3 <= bound <= 1.0
    same = given.Balanced(-one, one, one, None)
    assert difference_bound(modal, same) < 1e-12
