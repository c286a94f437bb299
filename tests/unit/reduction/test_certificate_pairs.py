"""A certificate is shown with the model that it is about, and with no other."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from hifuflow.errors import DamagedFile
from hifuflow.job import read_json, write_json
from hifuflow.provenance import file_sha256
from hifuflow.records.certificate import read_certificate, save_certified
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.reduction.external import reduce_file


def save(folder, seed=0, order=2):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    outputs = Outputs(np.array(["target"]), rng.random((1, 3)), np.ones(1), np.ones(1), np.ones(1))
    model = ReducedModel(rng.random((2, 2)), rng.random((2, 1)), rng.random((1, 2)), rng.random(3),
                         rng.random(3), "by hand", outputs, rng.random((1, 3)))
    save_certified(model, {"order": order, "stable": True}, folder / "rom.h5",
                   folder / "certificate.json", "anna", "a" * 64, "f" * 64)
    return folder / "certificate.json", folder / "rom.h5"


def test_model_and_certificate_carry_each_others_hash(tmp_path):
    path, model = save(tmp_path / "a")
    certificate, note = read_certificate(path, model)
    assert certificate == {"order": 2, "stable": True, "full_model_sha256": "f" * 64,
                           "rom_sha256": file_sha256(model)}
    assert note == ""
    assert ReducedModel.load(model).order == 2


def test_a_certificate_of_another_model_is_not_shown(tmp_path):
    path, model = save(tmp_path / "a")
    other_path, other_model = save(tmp_path / "b", seed=1)
    for pair in ((path, other_model), (other_path, model)):
        certificate, note = read_certificate(*pair)
        assert certificate == {} and note.startswith("Not certified: certificate.json")
    assert read_certificate(tmp_path / "none.json", model) == ({}, "")


def test_another_certificate_of_the_same_model_is_not_shown(tmp_path):
    path, model = save(tmp_path / "a")
    write_json(path, {**read_json(path), "stable": False})  # with a valid checksum of its own
    assert read_certificate(path, model)[0] == {}


def test_a_damaged_certificate_is_an_error(tmp_path):
    path, model = save(tmp_path / "a")
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(DamagedFile, match=r"certificate\.json"):
        read_certificate(path, model)


@pytest.mark.parametrize("kind", ["h5", "mat"])
def test_a_reduced_model_of_another_program_is_certified_in_the_same_way(tmp_path, kind):
    a = sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(20, 20)).tocsr()
    for name, matrix in {"A": a, "B": np.eye(20, 1), "C": np.eye(1, 20)}.items():
        scipy.io.mmwrite(tmp_path / f"{name}.mtx", sp.coo_array(matrix))
    hashes = []
    for _ in range(2):
        model, path = reduce_file(tmp_path, 4, tmp_path / f"small.{kind}")
        certificate = read_json(path)
        assert certificate["rom_sha256"] == file_sha256(model)
        hashes.append(certificate["full_model_sha256"])
        scipy.io.mmwrite(tmp_path / "B.mtx", sp.coo_array(2 * np.eye(20, 1)))
    assert len(set(hashes)) == 2  # every matrix counts
    if kind == "h5":
        assert read_certificate(path, model)[0]["order"] == 4
