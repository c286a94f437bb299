"""A flipped bit in a result is one error that names the file, or changes nothing that is read."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from flips import silent_flips

from hifuflow.errors import DamagedFile
from hifuflow.formats.hdf5 import CHUNK_BYTES, chunk, create, open_artifact, put
from hifuflow.job import read_json, write_json
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.heating import Heating
from hifuflow.records.mesh import check_mesh, save_mesh_record
from hifuflow.records.outputs import Outputs
from hifuflow.records.plan import Plan
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.study.inspect import describe, quality_table

RNG = np.random.default_rng(1)
OUTPUTS = Outputs(np.array(["constraint", "target"]), RNG.random((2, 3)), np.array([0, 1e-9]),
                  np.full(2, 37.0), np.array([43.0, np.nan]), name=np.array(["skin", ""]),
                  region=np.array(["fat", "tümör"]))
FOCI = RNG.random((3, 3))


def matrix():
    return sp.random_array((5, 5), density=0.5, rng=RNG, format="csr")


def bioheat_model(path):
    BioheatModel(matrix(), matrix(), RNG.random((5, 3)), sp.csr_array(np.eye(2, 5)),
                 RNG.random((5, 3)), np.full(5, 37.0), OUTPUTS, FOCI,
                 Voxels(sp.csr_array(np.eye(4, 5)), np.zeros((4, 3), int), np.full(4, 37.0),
                        np.array([True, False, True, False]), 1e-9)).save(path, "anna", "a" * 64)
    return BioheatModel.load


def reduced_model(path):
    ReducedModel(RNG.random((4, 4)), RNG.random((4, 3)), RNG.random((2, 4)), RNG.random(6),
                 RNG.random(6), "by hand", OUTPUTS, FOCI).save(path, "anna", "a" * 64,
                                                               certificate_sha256="b" * 64)
    return ReducedModel.load


def heating(path):
    Heating(RNG.random((3, 7, 6, 5), np.float32), np.eye(4), FOCI, RNG.random(3), RNG.random(3),
            1e6, "array", {"absorbed": RNG.random(3)}).save(path, "anna", "a" * 64)
    return Heating.load


@pytest.mark.parametrize("write", [bioheat_model, reduced_model, heating])
def test_no_flipped_bit_of_an_hdf5_file_is_read_as_something_else(tmp_path, write):
    path = tmp_path / "artifact.h5"
    assert silent_flips(path, write(path), n=150) == []


def test_no_flipped_bit_of_a_json_file_is_read_as_something_else(tmp_path):
    path = tmp_path / "plan.json"
    Plan(np.zeros(3), np.array([0, 0, 1.0]), FOCI, 2e-3, warnings=["near the rib"]).save(path)
    assert silent_flips(path, Plan.load, n=2000) == []
    write_json(path, {"a": 0.1, "b": {"2": [1, 2.5e-3]}})
    assert silent_flips(path, read_json, n=10**6) == []  # every single bit


def test_no_flipped_bit_of_an_anatomy_is_read_as_something_else(tmp_path):
    labels = RNG.integers(0, 2, (60, 50, 40)).astype(np.int16)  # more than one buffer full
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 1e-9}}
    Anatomy(labels, np.diag([1e-3, 1e-3, 1e-3, 1]), regions, ["fat"], labels == 0,
            np.array([0.0, 0, 1]), "s").save(tmp_path)
    for name in ("labels.nii.gz", "coupling.nii.gz", "regions.json"):
        assert silent_flips(tmp_path / name, lambda path: Anatomy.load(path.parent), n=300) == []


def test_no_flipped_bit_of_a_mesh_goes_unseen(tmp_path):
    path = tmp_path / "control.msh"
    path.write_bytes(RNG.bytes(200))
    save_mesh_record(tmp_path / "control.json", {"n_cells": 3})
    assert read_json(tmp_path / "control.json")["n_cells"] == 3
    assert silent_flips(path, lambda path: check_mesh(path).read_bytes(), n=300) == []
    assert check_mesh(shutil.copy(path, tmp_path / "elsewhere.msh"))  # without a record


def test_inspect_says_so_too(tmp_path):
    write_json(tmp_path / "metrics.json", {"coverage": 0.25})
    text = (tmp_path / "metrics.json").read_text()
    (tmp_path / "metrics.json").write_text(text.replace("0.25", "0.95"))
    with pytest.raises(DamagedFile, match=r"metrics\.json.*delete it"):
        describe(tmp_path / "metrics.json", quality_table)
    reduced_model(tmp_path / "rom.h5")
    content = (tmp_path / "rom.h5").read_bytes()
    assert content.count(b"by hand") == 1  # text of an attribute, which HDF5 itself does not guard
    (tmp_path / "rom.h5").write_bytes(content.replace(b"by hand", b"by hint"))
    with pytest.raises(DamagedFile, match=r"rom\.h5.*delete it"):
        describe(tmp_path / "rom.h5", quality_table)


@pytest.mark.parametrize("write", [bioheat_model, reduced_model, heating])
def test_every_data_set_has_a_checksum(tmp_path, write):
    write(tmp_path / "artifact.h5")
    with h5py.File(tmp_path / "artifact.h5") as file:
        bare = []
        file.visititems(lambda name, item: bare.append(name) if isinstance(item, h5py.Dataset)
                        and not item.fletcher32 and item.id.get_create_plist().get_layout()
                        != h5py.h5d.COMPACT else None)
    assert bare == []


def test_empty_and_scalar_data_sets_come_back(tmp_path):
    with create(tmp_path / "x.h5", "test", "anna", "a" * 64) as file:
        put(file, "none", np.empty((0, 3)), "1", "nothing")
        put(file, "no_text", np.array([], dtype=str), "1", "no event")
        put(file, "one", 4.5, "m3", "a number")
    with open_artifact(tmp_path / "x.h5", "test") as file:
        assert file["none"][:].shape == (0, 3) and file["one"][()] == 4.5
        assert file["no_text"].asstr()[:].shape == (0,)


@pytest.mark.parametrize("shape", [(3,), (10**6,), (40, 10**5), (7, 9, 10**5), (1475, 1525), (1,)])
def test_chunks_are_runs_of_memory_of_a_good_size(shape):
    edges = chunk(shape, 8)
    assert all(1 <= edge <= full for edge, full in zip(edges, shape, strict=True))
    size, total = 8 * np.prod(edges), 8 * np.prod(shape)
    assert size <= max(CHUNK_BYTES, 8) and size >= min(total, CHUNK_BYTES) / 4
    first = next((i for i, edge in enumerate(edges) if edge > 1), 0)
    assert edges[first + 1:] == shape[first + 1:]
    padded = np.prod([-(-full // edge) * edge for edge, full in zip(edges, shape, strict=True)])
    assert padded < 1.2 * np.prod(shape)


def test_a_file_that_is_no_hdf5_is_named(tmp_path):
    path = Path(tmp_path / "rom.h5")
    path.write_bytes(b"junk")
    with pytest.raises(DamagedFile, match=r"rom\.h5.*not a readable"):
        ReducedModel.load(path)
