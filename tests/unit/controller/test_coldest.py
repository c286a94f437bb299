"""Temperatures below those before treatment: measured, said, and refused where they are large."""

from dataclasses import replace

import numpy as np
import pytest
from small_treatment import treat

from hifuflow.controller.patient.coldest import Coldest
from hifuflow.errors import InputError
from hifuflow.numerics.undershoot import REFUSED, SAID, cells_for


def swinging(patient, share):
    """The patient with nodes beside the foci that lose a share of the foci's heat."""
    B = patient.B.copy()
    B[np.argsort(B[:, 2])[-9:-8]] *= -share
    return replace(patient, B=B)


def test_the_coldest_of_nodes_outputs_and_voxels_counts(small_patient):
    for lowest in range(3):
        coldest = Coldest(small_patient)
        rises = [np.full(4, 0.1), np.full((5, 2), 0.2), np.full(6, 0.3)]
        rises[lowest].flat[-1] = -0.7
        coldest.watch(np.array([[36.4, 38.0]]), *rises)
        coldest.watch(np.array([[36.6, 38.0]]), np.zeros(3))
        assert coldest.metrics() == {"min_temperature_c": 36.4, "max_baseline_undershoot_k": 0.7}


def test_a_warm_patient_is_never_colder_than_before(small_patient, small_rom, treatment_config):
    _, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["min_temperature_c"] == pytest.approx(37, abs=1e-3)
    assert 0 <= metrics["max_baseline_undershoot_k"] < 1e-3  # what the plant's states are right to


def test_an_undershoot_is_measured_and_said(small_patient, small_rom, treatment_config, logged):
    plant = swinging(small_patient, 0.4)
    trajectory, metrics = treat(small_rom, plant, "paper", treatment_config)
    truth = np.concatenate([trajectory.constraint_temperature, trajectory.target_temperature], 1)
    assert metrics["min_temperature_c"] == pytest.approx(truth.min(), abs=1e-5)
    assert SAID < metrics["max_baseline_undershoot_k"] < REFUSED  # at a node, which is no output
    assert "colder than before treatment" in logged.text and "more cells" in logged.text


def test_a_large_undershoot_ends_the_treatment(small_patient, small_rom, treatment_config):
    with pytest.raises(InputError, match=r"mesh\.plant\.cells.* colder than before treatment"):
        treat(small_rom, swinging(small_patient, 4.0), "paper", treatment_config)


def test_how_many_cells_would_mend_it():
    assert cells_for(SAID, 16_000) == 16_000
    # As measured: half the undershoot with 2^(1/0.8) = 2.38 times as many cells, rounded up.
    assert cells_for(2 * SAID, 10_000) == 24_000
