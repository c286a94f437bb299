"""Model files of other programs: names, number types, layouts, and what is never overwritten."""

import bz2
import gzip
import io
import json
import os

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from matlab_file import write_hdf5
from test_reduction_external import heat_equation

from hifuflow.controller.prediction import DiscreteModel
from hifuflow.errors import InputError
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.reduction.balance import balanced_truncation
from hifuflow.reduction.exchange import read_matrices
from hifuflow.reduction.external import reduce_file


@pytest.fixture
def rod(tmp_path):
    """rod.mat with 20 unknowns, its matrices, and what reducing it to 4 states gives."""
    a, b, c = heat_equation(20)
    scipy.io.savemat(tmp_path / "rod.mat", {"A": a, "B": b, "C": c})
    return {"A": a.toarray(), "B": b, "C": c}, balanced_truncation(a.toarray(), b, c)


def reduced_hankel(path, output):
    rom, _ = reduce_file(path, 4, output)
    return ReducedModel.load(rom).hsv


def packed(matrix, pack):
    text = io.BytesIO()
    scipy.io.mmwrite(text, sp.coo_array(matrix))
    return pack(text.getvalue())


@pytest.mark.parametrize(("names", "pack", "model"), [
    ("{}.mtx.gz", gzip.compress, "."), ("{}.mtx.gz", gzip.compress, "A.mtx.gz"),
    ("{}.mtx.bz2", bz2.compress, "."), ("{}.mtx", bytes, "A.mtx"), ("rod.{}", bytes, "rod.A"),
    ("rod.{}.mtx.gz", gzip.compress, "rod.A.mtx.gz"), ("rod_{}.mtx", bytes, "rod_A.mtx")])
def test_matrix_market_files_by_any_of_their_names(rod, tmp_path, names, pack, model):
    folder = tmp_path / "market"
    folder.mkdir()
    for name, matrix in (rod[0] | {"E": np.eye(20)}).items():
        (folder / names.format(name)).write_bytes(packed(matrix, pack))
    np.testing.assert_allclose(reduced_hankel(folder / model, tmp_path / "out.h5")[:4],
                               rod[1].hsv[:4], rtol=1e-9)


def test_damaged_packed_file(rod, tmp_path):
    for name, matrix in rod[0].items():
        (tmp_path / f"{name}.mtx.gz").write_bytes(packed(matrix, gzip.compress))
    whole = (tmp_path / "A.mtx.gz").read_bytes()
    for place in (len(whole) // 2, len(whole) - 6):  # in the data, and in the checksum
        broken = bytearray(whole)
        broken[place] ^= 1
        (tmp_path / "A.mtx.gz").write_bytes(broken)
        with pytest.raises(InputError, match=r"A\.mtx\.gz: cannot be read"):
            read_matrices(tmp_path)


@pytest.mark.parametrize("change", [
    lambda m: {name: matrix.astype(np.float32) for name, matrix in m.items()},
    lambda m: {name: matrix.astype(complex) for name, matrix in m.items()},
    lambda m: {name: sp.csc_array(matrix) for name, matrix in m.items()},
    lambda m: m | {"B": m["B"].astype(bool), "C": m["C"].astype(np.int8)},
    lambda m: m | {"E": np.eye(20, dtype=np.uint8), "D": np.zeros((0, 0))},
    lambda m: m | {"E": np.zeros((0, 0)), "D": np.zeros((1, 1))},
    lambda m: {name.lower(): matrix for name, matrix in m.items()},
    lambda m: {"sys": m | {"Ts": 0.0, "Name": "rod"}, "notes": "by hand"},
    lambda m: m | {"Ts": 0.0, "w": np.arange(3.0), "mag": "no"},
], ids=["single", "complex", "sparse", "logical", "integer", "empty", "small-letters", "structure",
        "company"])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_number_types_and_layouts_of_matlab(rod, tmp_path, change, version):
    content = change(rod[0])
    file = tmp_path / "model.mat"
    if version == "5":
        scipy.io.savemat(file, content)
    else:
        write_hdf5(file, **content)
    np.testing.assert_allclose(reduced_hankel(file, tmp_path / "out.h5")[:4], rod[1].hsv[:4],
                               rtol=1e-5 if content.get("A", np.eye(1)).dtype == np.float32
                               else 1e-9)


@pytest.mark.parametrize(("content", "message"), [
    ({"sys": {"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), "Ts": 0.1}},
     "Ts = 0.1: belongs to a model in discrete time"),
    ({"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), "Ts": 1.0}, "discrete time"),
    ({"sys": {"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), "InputDelay": 3.0}},
     "InputDelay = 3.0: .* or with delays"),
    ({"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), "M": 2 * np.eye(2)},
     "M: has a matrix M of the size of A, but no E"),
    ({name: {"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2))} for name in ("p", "q")},
     "holds several models: p, q"),
    ({"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), "D": np.ones((2, 2))},
     r"D = \(2, 2\): has the wrong shape \(allowed: 1 x 1\)"),
    ({"A": -np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), "D": [[np.nan]]},
     "D: 1 of 1 values are not finite"),
])
def test_what_a_matlab_file_may_not_mean(tmp_path, content, message):
    scipy.io.savemat(tmp_path / "model.mat", content)
    with pytest.raises(InputError, match=message):
        reduce_file(tmp_path / "model.mat", output=tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_objects_of_matlab_are_named(tmp_path):
    with h5py.File(tmp_path / "model.mat", "w") as file:
        file["sys"] = np.zeros((1, 6), np.uint32)
        file["sys"].attrs.update(MATLAB_class=np.bytes_("ss"), MATLAB_object_decode=np.int32(3))
    with pytest.raises(InputError, match=r"sys \(an object of class ss\), which only MATLAB can"):
        read_matrices(tmp_path / "model.mat")


@pytest.mark.parametrize("n", [20, 600])
def test_feedthrough_is_kept_everywhere(tmp_path, n):
    a, b, c = heat_equation(n)
    a = a * (21 / (n + 1)) ** 2  # the same spectrum's beginning
    scipy.io.savemat(tmp_path / "rod.mat", {"A": a, "B": b, "C": c, "D": [[3.0]]})
    plain, _ = reduce_file(tmp_path / "rod.mat", 4, tmp_path / "plain.h5")
    model = ReducedModel.load(plain)
    assert model.D == [[3.0]]
    with h5py.File(plain) as file:
        assert file["D"].attrs["units"] == file["hsv"].attrs["units"] == "output/input"
    matlab, _ = reduce_file(tmp_path / "rod.mat", 4, tmp_path / "again.mat")
    found = scipy.io.loadmat(matlab)
    exact = 3 - c @ sp.linalg.spsolve(sp.csc_array(a), b)
    for one in (model, None):
        parts = [found[name] if one is None else getattr(one, name) for name in "ABCD"]
        static = parts[3] - parts[2] @ np.linalg.solve(parts[0], parts[1])
        np.testing.assert_allclose(static.ravel(), exact, rtol=1e-2)
    with pytest.raises(InputError, match="D: power that changes a temperature at once"):
        DiscreteModel.sampled(model, 2.0)


def test_feedthrough_alone_is_no_model(tmp_path):
    scipy.io.savemat(tmp_path / "gain.mat", {"A": -np.eye(2), "B": [[1.0], [0.0]],
                                             "C": [[0.0, 1.0]], "D": [[3.0]]})
    with pytest.raises(InputError, match="no input reaches an output"):
        reduce_file(tmp_path / "gain.mat", output=tmp_path / "out.h5")


@pytest.mark.parametrize("kind", ["same", "spelled", "link", "hard link", "folder link"])
def test_the_model_that_is_read_is_never_overwritten(rod, tmp_path, kind, monkeypatch):
    model = tmp_path / "rod.mat"
    before = model.read_bytes()
    (tmp_path / "sub").mkdir()
    output = {"same": model, "spelled": tmp_path / "sub" / ".." / "rod.mat",
              "link": tmp_path / "link.mat", "hard link": tmp_path / "hard.mat",
              "folder link": tmp_path / "other" / "rod.mat"}[kind]
    if kind == "link":
        output.symlink_to("rod.mat")
    elif kind == "hard link":
        os.link(model, output)
    elif kind == "folder link":
        output.parent.symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "sub")
    for given in (model, "../rod.mat"):
        with pytest.raises(InputError, match="is the model to be read"):
            reduce_file(given, 4, output)
    assert model.read_bytes() == before and not (tmp_path / "rod.json").exists()


def test_a_link_to_the_model_is_read_and_not_overwritten(rod, tmp_path):
    link = tmp_path / "link.mat"
    link.symlink_to("rod.mat")
    with pytest.raises(InputError, match="is the model to be read"):
        reduce_file(link, 4, tmp_path / "rod.mat")


def test_certificate_replaces_only_a_certificate(rod, tmp_path):
    record = tmp_path / "out.json"
    record.write_text('{"volume_m3": 1e-6}')
    with pytest.raises(InputError, match=r"would overwrite .*out\.json, which is something else"):
        reduce_file(tmp_path / "rod.mat", 4, tmp_path / "out.h5")
    assert json.loads(record.read_text()) == {"volume_m3": 1e-6}
    record.unlink()
    for order in (4, 5):
        reduce_file(tmp_path / "rod.mat", order, tmp_path / "out.h5")
        assert json.loads(record.read_text())["order"] == order


@pytest.mark.parametrize(("changes", "message"), [
    ({"tolerance": 0.0}, "--tolerance = 0.0"), ({"tolerance": -1.0}, "--tolerance = -1.0"),
    ({"tolerance": float("nan")}, "--tolerance = nan"), ({"threads": 0}, "--threads = 0"),
    ({"tolerance": 1.0, "order": 3}, "give one of order and tolerance"),
    ({"order": 0}, "order = 0")])
def test_arguments_that_cannot_be_used(rod, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        reduce_file(tmp_path / "rod.mat", output=tmp_path / "out.h5", **changes)
