"""Snapshots of the whole patient: times, temperatures and doses of a short treatment."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_treatment import treat

from hifuflow.controller.patient.snapshots import MOST, Snapshots


def fake_plant():
    return SimpleNamespace(node_temperature=np.zeros(2), voxels=SimpleNamespace(dose=np.zeros(5)))


def test_snapshots_stay_few_and_evenly_spaced():
    plant = fake_plant()
    snapshots = Snapshots(plant)
    for time in np.arange(0, 7201.0, 2):
        plant.node_temperature[:] = time
        plant.voxels.dose[3] = max(0.0, time - 100)
        plant.voxels.dose[1] = max(0.0, time - 5000)
        snapshots.offer(time)
    found = snapshots.arrays(7200.0)
    t = found["snapshot_t"]
    assert MOST / 2 < len(t) <= MOST + 1
    assert t[0] == 0 and t[-1] == 7200
    assert np.ptp(np.diff(t[:-1])) == 0 and (np.diff(t) > 0).all()
    np.testing.assert_array_equal(found["snapshot_temperature"][:, 0], t)
    np.testing.assert_array_equal(found["snapshot_voxel"], [1, 3])
    np.testing.assert_allclose(found["snapshot_dose"][:, 0], np.maximum(t - 5000, 0))
    np.testing.assert_allclose(found["snapshot_dose"][:, 1], np.maximum(t - 100, 0))


def test_a_moment_that_matters_is_kept():
    plant = fake_plant()
    snapshots = Snapshots(plant)
    for time in np.arange(0, 7201.0, 2):
        plant.node_temperature[:] = time
        snapshots.offer(time)
        if time == 1532:
            snapshots.keep(time)
    found = snapshots.arrays(7200.0)
    assert 1532 in found["snapshot_t"] and 1528 not in found["snapshot_t"]
    assert (np.diff(found["snapshot_t"]) > 0).all()
    np.testing.assert_array_equal(found["snapshot_temperature"][:, 0], found["snapshot_t"])


def test_snapshots_of_a_treatment_agree_with_its_samples(small_rom, small_patient,
                                                         treatment_config):
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["treatment_time_s"] in trajectory.snapshot_t
    sample = np.searchsorted(trajectory.t, trajectory.snapshot_t)
    np.testing.assert_array_equal(trajectory.t[sample], trajectory.snapshot_t)
    outputs = trajectory.outputs
    shown = (small_patient.C @ trajectory.snapshot_temperature.T).T
    np.testing.assert_allclose(shown[:, outputs.constraint],
                               trajectory.constraint_temperature[sample], atol=1e-4)
    assert trajectory.snapshot_temperature.max() > 45
    # The doses of the target's voxels stand in both places.
    rows = np.flatnonzero(small_patient.voxels.target)
    columns = np.searchsorted(trajectory.snapshot_voxel, rows)
    assert np.isin(rows, trajectory.snapshot_voxel).all()
    np.testing.assert_allclose(trajectory.snapshot_dose[:, columns],
                               trajectory.target_dose[sample], rtol=1e-3, atol=1e-3)
    assert trajectory.snapshot_dose[-1].max() == pytest.approx(trajectory.voxel_dose.max())


def test_a_dose_that_single_precision_cannot_hold_is_its_largest_number():
    plant = fake_plant()
    plant.voxels.dose[:2] = 1e60, 240.0
    snapshots = Snapshots(plant)
    snapshots.offer(0.0)
    np.testing.assert_array_equal(snapshots.arrays(0.0)["snapshot_dose"],
                                  np.array([[np.finfo(np.float32).max, 240.0]], np.float32))
