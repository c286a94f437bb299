"""Faults of the simulated array: each changes the heating of the patient, and nothing that a
controller knows."""

from dataclasses import replace

import numpy as np
import pytest
from small_treatment import treat

from hifuflow.controller.fault_settings import read_faults
from hifuflow.controller.patient.array import Array
from hifuflow.controller.patient.faulty_loads import with_faulty_loads
from hifuflow.errors import InputError
from hifuflow.records.faulty_load import FaultyLoad

COMMAND = np.array([3.0, 0.0, 1.0])


def fault(kind, from_s=0, until_s=None, **further):
    return {"kind": kind, "from_s": from_s, "until_s": until_s, **further}


def radiated(*faults, commands=(COMMAND,) * 6):
    """(n_samples, n_inputs) of commands, one every 2 s."""
    array = Array(3, read_faults(list(faults)))
    return np.array([array.radiated(2.0 * k, command) for k, command in enumerate(commands)])


def test_without_faults_the_command_is_radiated():
    np.testing.assert_array_equal(radiated(), [COMMAND] * 6)


def test_power_factor():
    np.testing.assert_array_equal(radiated(fault("power_factor", 4, 8, value=2)),
                                  np.outer([1, 1, 2, 2, 1, 1], COMMAND))


def test_swapped_foci():
    np.testing.assert_array_equal(radiated(fault("swapped_foci", 4)),
                                  [COMMAND] * 2 + [COMMAND[::-1]] * 4)


def test_stuck_power_ignores_commands():
    off = np.zeros(3)
    commands = [COMMAND, 2 * COMMAND, off, COMMAND, off, COMMAND]
    np.testing.assert_array_equal(radiated(fault("power_stuck", 4, 10), commands=commands),
                                  [COMMAND, *[2 * COMMAND] * 4, COMMAND])
    # An array that gives nothing is stuck at the next power that it gets.
    commands = [off, off, COMMAND, off, off, off]
    np.testing.assert_array_equal(radiated(fault("power_stuck", 2), commands=commands),
                                  [off, off, *[COMMAND] * 4])


def test_faults_of_power_add_up():
    commands = [COMMAND, *[np.zeros(3)] * 5]
    found = radiated(fault("power_stuck", 2), fault("swapped_foci", 4),
                     fault("power_factor", 0, value=0.5), commands=commands)
    np.testing.assert_array_equal(found, [0.5 * COMMAND] * 2 + [0.5 * COMMAND[::-1]] * 4)


def test_power_is_in_the_field_that_is_there():
    found = radiated(fault("focal_shift", 4, 8, mm=[4, 0, 0]))
    assert found.shape == (6, 6)
    for k, block in enumerate([0, 0, 1, 1, 0, 0]):
        np.testing.assert_array_equal(found[k].reshape(2, 3)[block], COMMAND)
        assert found[k].sum() == COMMAND.sum()


def test_dead_elements_need_their_loads(small_patient):
    faults = read_faults([fault("dead_elements", 10, count=5, seed=1)])
    weak = FaultyLoad(0.5 * small_patient.B, small_patient.foci)
    found = with_faulty_loads(small_patient, faults, weak).B
    np.testing.assert_array_equal(found, np.hstack([small_patient.B, weak.B]))
    for unusable in (None, replace(weak, B=weak.B[:, 1:])):
        with pytest.raises(InputError, match="dead elements are missing"):
            with_faulty_loads(small_patient, faults, unusable)


def test_without_faults_of_the_field_the_model_is_the_same(small_patient):
    assert with_faulty_loads(small_patient, read_faults([fault("swapped_foci")])) is small_patient


def heated(rom, plant, section, *faults):
    """Trajectory of a treatment with the first image only: open loop."""
    section["faults"] = list(faults)
    section["prescription"]["max_time_s"] = 40
    section["thermometry"]["lost_s"] = [[1, 600]]
    section["safety"]["max_gap_s"] = 600
    return treat(rom, plant, "paper", section)[0]


def test_faults_of_the_array_are_in_the_patient_alone(small_rom, small_patient, treatment_config):
    sound = heated(small_rom, small_patient, treatment_config)
    twice, later = (heated(small_rom, small_patient, treatment_config,
                           fault("power_factor", from_s, value=2)) for from_s in (0, 6))
    for one in (twice, later):
        for name in ("power", "estimated_constraint_temperature", "measured_temperature"):
            np.testing.assert_array_equal(getattr(one, name)[:10], getattr(sound, name)[:10], name)
        assert "simulated fault begins: power_factor" in one.event
    rise, of_twice, of_later = (one.target_temperature - 37 for one in (sound, twice, later))
    np.testing.assert_allclose(of_twice[:10], 2 * rise[:10], atol=0.01)
    np.testing.assert_allclose(of_later[:4], rise[:4], atol=1e-9)
    assert (of_later[4:8] > rise[4:8] + 0.1).all() and (of_later[4:8] < of_twice[4:8] - 0.1).all()


def test_a_stuck_array_heats_until_the_treatment_ends(small_rom, small_patient, treatment_config):
    """After the end, which cuts the supply, the patient cools; until then nothing helps."""
    treatment_config["safety"]["abort_after_s"] = 10
    treatment_config["thermometry"]["lost_s"] = [[10, 600]]
    treatment_config["safety"]["max_gap_s"] = 2
    treatment_config["prescription"]["dose_cem43_min"] = 1e30
    treatment_config["faults"] = [fault("power_stuck", 4)]
    treatment_config["prescription"]["max_power_w"] = 3
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    hottest, end = trajectory.target_temperature.max(axis=1), round(metrics["treatment_time_s"] / 2)
    off = np.flatnonzero(trajectory.power.any(axis=1))[-1] + 1
    assert metrics["status"] == "aborted" and end - off >= 5
    assert (np.diff(hottest[off:end + 1]) > 0).all()  # though no power is commanded
    assert (np.diff(hottest[end:]) < 0).all()
