"""The whole model: outputs and their meaning, refusals, reproducibility, storage."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse.linalg as spla
from box_patient import BOX, SETTINGS, box_anatomy, gaussian_heating, settings

from hifuflow.errors import InputError
from hifuflow.fem.model import build_model, target_blocks
from hifuflow.records.bioheat_model import BioheatModel

POINTS = {"position_m": [[0.02, 0.02, 0.008], [0.02, 0.032, 0.02]], "limit_c": [43.0, 44.0],
          "name": ["ellipsoid", "skin"], "dose_limit_cem43_min": [None, 10.0],
          "soft": [False, True]}


def build(mesh_path, anatomy, constraints=POINTS, **deviations):
    return build_model(mesh_path, anatomy, gaussian_heating(0.00075, 0.0015), constraints,
                       settings(deviations=deviations))


@pytest.fixture(scope="module")
def model(mesh_path):
    return build(mesh_path, box_anatomy())


def test_outputs_are_the_constraints_then_the_target(model, anatomy):
    outputs = model.outputs
    assert list(np.flatnonzero(outputs.constraint)) == [0, 1]
    np.testing.assert_array_equal(outputs.position[:2], POINTS["position_m"])
    np.testing.assert_array_equal(outputs.limit[:2], POINTS["limit_c"])
    assert outputs.name[:3].tolist() == ["ellipsoid", "skin", ""]
    np.testing.assert_array_equal(outputs.dose_limit[:3], [np.nan, 10.0, np.nan])
    assert outputs.soft[:3].tolist() == [False, True, False]
    assert (outputs.region != "").all()
    assert np.all(np.isnan(outputs.limit[2:])) and np.all(outputs.volume[:2] == 0)
    assert outputs.target.sum() == anatomy.target_mask.sum()
    assert outputs.volume.sum() == pytest.approx(anatomy.target_mask.sum() * 8e-9)
    assert np.all(outputs.baseline == 37.0) and np.all(model.baseline == 37.0)


def test_outputs_and_voxels_see_the_same_field(model, anatomy):
    """A field that vanishes on the held skin and is quadratic is read exactly everywhere."""
    x = model.dof_coordinates[:, 2] * (1 + model.dof_coordinates[:, 0])
    position = model.outputs.position
    np.testing.assert_allclose(model.C @ x, position[:, 2] * (1 + position[:, 0]), atol=1e-12)
    voxel = anatomy.position(model.voxels.index)
    np.testing.assert_allclose(model.voxels.interpolation @ x, voxel[:, 2] * (1 + voxel[:, 0]),
                               atol=1e-12)
    assert len(voxel) == anatomy.body_mask.sum()


def test_means_are_those_of_the_targets_voxels(model):
    """z (1 + x) has its mean over a voxel at the centre; z^2 is h^2 / 12 above, h = 2 mm."""
    x, z = model.dof_coordinates[:, 0], model.dof_coordinates[:, 2]
    target, position = model.outputs.target, model.outputs.position
    assert abs(model.C_mean - model.C)[~target].nnz == 0
    np.testing.assert_allclose(model.C_mean @ (z * (1 + x)), position[:, 2] * (1 + position[:, 0]),
                               atol=1e-12)
    np.testing.assert_allclose((model.C_mean @ z**2)[target],
                               position[target, 2] ** 2 + 0.002**2 / 12, atol=1e-12)
    np.testing.assert_array_equal(model.outputs.mean_baseline, 37.0)


def test_steady_heating_gives_back_the_absorbed_power(model):
    """In steady state the power goes into perfusion and through the skin: x' K x = x' b."""
    x = spla.spsolve(model.K.tocsc(), model.B[:, 0])
    assert x.max() > 0 and np.all(model.E.sum(axis=1) @ x > 0)
    assert x @ (model.K @ x) == pytest.approx(x @ model.B[:, 0], rel=1e-10)
    assert model.B[:, 0].sum() == pytest.approx(0.5, rel=1e-6)


def test_deviations_change_the_plant(model, mesh_path, anatomy):
    plant = build(mesh_path, anatomy, absorption_factor=1.2, perfusion_factor=2.0)
    np.testing.assert_allclose(plant.B, 1.2 * model.B)
    assert abs(plant.E - model.E).max() == 0
    assert plant.K.sum() > model.K.sum()


@pytest.mark.parametrize("change, key", [
    ({"position_m": [[0.02, 0.02, -0.005], [0.02, 0.03, 0.02]]}, "constraints.position_m"),
    ({"position_m": [[0.02, 0.02, 0.01], [0.02, 0.08, 0.02]]}, "constraints.position_m"),
    ({"limit_c": [43.0, 37.0]}, "constraints.limit_c"),
    ({"limit_c": [43.0, float("nan")]}, "constraints.limit_c"),
    ({"limit_c": [43.0]}, "constraints.limit_c"),
])
def test_constraints_that_cannot_be_used_are_refused(mesh_path, anatomy, change, key):
    with pytest.raises(InputError) as caught:
        build(mesh_path, anatomy, {**POINTS, **change})
    assert caught.value.key == key and caught.value.file == SETTINGS.written.file


def test_a_mesh_of_another_anatomy_is_refused(mesh_path, anatomy):
    anatomy.regions["lesion"] = anatomy.regions.pop("tumour")
    with pytest.raises(InputError, match="regions that the anatomy does not have"):
        build(mesh_path, anatomy)


def test_large_targets_are_grouped_without_losing_volume(anatomy):
    alone, volume, _ = target_blocks(anatomy, 1000)
    assert len(alone) == anatomy.target_mask.sum()
    grouped, volumes, number = target_blocks(anatomy, 50)
    assert len(grouped) <= 50
    np.testing.assert_allclose(np.bincount(number[number >= 0]) * anatomy.voxel_volume, volumes)
    assert np.array_equal(number >= 0, anatomy.target_mask)
    assert volumes.sum() == pytest.approx(volume.sum())
    np.testing.assert_allclose(volumes @ grouped / volumes.sum(), alone.mean(axis=0))
    assert np.all(np.abs(grouped - 0.5 * BOX) < 0.5 * BOX)


def test_models_survive_storage_beside_dolfinx(model, tmp_path):
    """h5py and DOLFINx bring an HDF5 library each; both work in one process."""
    model.save(tmp_path / "control.h5", "box", "0" * 64)
    again = BioheatModel.load(tmp_path / "control.h5")
    assert digest(again) == digest(model)


def digest(model) -> str:
    """Hash of all numbers of a model."""
    parts = [model.B, model.dof_coordinates, model.baseline]
    for matrix in (model.E, model.K, model.C, model.C_mean, model.voxels.interpolation):
        parts += [matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes()
                                   for part in parts)).hexdigest()


def test_another_process_builds_the_same_model_bit_by_bit(model, mesh_path):
    code = ("import sys; import test_fem_model as t; from box_patient import box_anatomy;"
            "print('digest', t.digest(t.build(sys.argv[1], box_anatomy())))")
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code, str(mesh_path)], capture_output=True,
                          text=True, check=True, cwd=here)
    assert f"digest {digest(model)}" in done.stdout
