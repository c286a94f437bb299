"""What is written comes back, with units, and never half."""

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.job import atomic
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.heating import Heating
from hifuflow.records.outputs import Outputs
from hifuflow.study.inspect import describe, quality_table


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    outputs = Outputs(np.array(["constraint", "target"]), rng.random((2, 3)), np.array([0, 1e-9]),
                      np.full(2, 37.0), np.array([43.0, np.nan]))
    matrix = sp.random_array((5, 5), density=0.5, rng=rng, format="csr")
    return BioheatModel(matrix, matrix.T.tocsr(), rng.random((5, 3)),
                        sp.csr_array(np.eye(2, 5)), rng.random((5, 3)), np.full(5, 37.0), outputs,
                        rng.random((3, 3)),
                        Voxels(sp.csr_array(np.eye(4, 5)), np.zeros((4, 3), int), np.full(4, 37.0),
                               np.array([True, False, True, False]), 1e-9))


def test_bioheat_model_round_trip(model, tmp_path):
    path = tmp_path / "control.h5"
    model.save(path, "someone", "hash")
    again = BioheatModel.load(path)
    for name in ("E", "K", "C", "C_mean"):
        assert (getattr(again, name) != getattr(model, name)).nnz == 0
    np.testing.assert_array_equal(again.B, model.B)
    np.testing.assert_array_equal(again.outputs.kind, model.outputs.kind)
    np.testing.assert_array_equal(again.outputs.limit, model.outputs.limit)
    assert (again.voxels.interpolation != model.voxels.interpolation).nnz == 0
    np.testing.assert_array_equal(again.voxels.target, model.voxels.target)
    assert again.voxels.volume == 1e-9


def test_every_data_set_names_its_units_and_the_file_its_origin(model, tmp_path):
    path = tmp_path / "control.h5"
    model.save(path, "someone", "hash")
    with h5py.File(path) as file:
        assert set(file.attrs) >= {"artifact", "schema_version", "patient", "created_by",
                                   "config_sha256"}
        found = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset)
                        and not {"units", "description"} <= set(item.attrs) else None)
        assert found == []


@pytest.mark.parametrize("name", ["K", "E/indptr", "voxels/index", "outputs/kind"])
def test_missing_data_set_is_named_with_its_file(model, tmp_path, name):
    path = tmp_path / "control.h5"
    model.save(path, "someone", "hash")
    with h5py.File(path, "a") as file:
        del file[name]
    with pytest.raises(InputError, match=rf"control\.h5: {name}.*: holds no such data set"):
        BioheatModel.load(path)


def test_wrong_artifact_is_refused(model, tmp_path):
    model.save(tmp_path / "control.h5", "someone", "hash")
    with pytest.raises(InputError, match="heating"):
        Heating.load(tmp_path / "control.h5")
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(InputError, match="not a readable"):
        Heating.load(tmp_path / "junk.h5")


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_anatomy_round_trip(tmp_path):
    labels = np.zeros((4, 5, 6), np.int16)
    labels[1:3, 1:4, 2:5] = 1
    labels[1, 2, 3] = 2
    affine = np.diag([1e-3, 1.5e-3, 2e-3, 1.0])
    affine[:3, 3] = [0.01, -0.02, 0.03]
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 17 * 3e-9},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": 3e-9}}
    anatomy = Anatomy(labels, affine, regions, ["tumour"], labels == 0, np.array([0.0, 0, 1]), "s")
    anatomy.save(tmp_path)
    again = Anatomy.load(tmp_path)
    np.testing.assert_allclose(again.affine, affine, atol=1e-9)
    np.testing.assert_array_equal(again.labels, labels)
    np.testing.assert_allclose(again.position([1, 2, 3]), [0.011, -0.017, 0.036], atol=1e-9)
    np.testing.assert_allclose(again.index(again.position([1, 2, 3])), [1, 2, 3], atol=1e-6)
    assert again.target_mask.sum() == 1
    assert "2" in describe(tmp_path / "labels.nii.gz", quality_table)
    assert "centroid_m" in describe(tmp_path / "regions.json", quality_table)


def test_inspect_refuses_what_it_does_not_know(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(InputError, match="not a known kind"):
        describe(tmp_path / "x.txt", quality_table)
