"""Loads of an array whose field is not the one that was planned."""

from dataclasses import replace

import numpy as np
import pytest
from box_patient import box_anatomy, gaussian_heating, settings
from test_fem_model import build

from hifuflow.controller.fault_settings import read_faults
from hifuflow.controller.patient.faulty_loads import with_faulty_loads
from hifuflow.fem.model import build_faulty_load
from hifuflow.records.faulty_load import FaultyLoad

SHIFT = (2.0, -1.0, 3.0)  # mm


def shifted(from_s=0, until_s=None, mm=SHIFT):
    return {"kind": "focal_shift", "from_s": from_s, "until_s": until_s, "mm": list(mm)}


@pytest.fixture(scope="module")
def model(mesh_path):
    return build(mesh_path, box_anatomy())


def faulty_load(mesh_path, heating, **deviations):
    return build_faulty_load(mesh_path, box_anatomy(), heating, settings(deviations=deviations))


def test_the_load_of_the_same_heating_is_that_of_the_model(mesh_path, model, tmp_path):
    heating = gaussian_heating(0.00075, 0.0015)
    load = faulty_load(mesh_path, heating)
    np.testing.assert_array_equal(load.B, model.B)
    weak = faulty_load(mesh_path, replace(heating, q=0.25 * heating.q), absorption_factor=2)
    np.testing.assert_allclose(weak.B, 0.5 * model.B, rtol=1e-5, atol=1e-9 * model.B.max())
    weak.save(tmp_path / "load.h5", "someone", "hash")
    read = FaultyLoad.load(tmp_path / "load.h5")
    np.testing.assert_array_equal(read.B, weak.B)
    np.testing.assert_array_equal(read.foci, heating.foci)


def test_a_shift_moves_the_heat_and_keeps_its_power(model):
    moved = with_faulty_loads(model, read_faults([shifted(10, 20)])).B
    n = model.B.shape[1]
    np.testing.assert_array_equal(moved[:, :n], model.B)  # before and after
    during = moved[:, n:]
    np.testing.assert_allclose(during.sum(axis=0), model.B.sum(axis=0), rtol=1e-3)
    centre = [load.T @ model.dof_coordinates / load.sum(axis=0)[:, None]
              for load in (model.B, during)]
    np.testing.assert_allclose(centre[1] - centre[0], 1e-3 * np.array([SHIFT] * 2), atol=2e-5)


def test_shifts_add_up_and_act_on_dead_arrays_too(model):
    dead = {"kind": "dead_elements", "from_s": 0, "until_s": None, "count": 9, "seed": 1}
    half = tuple(0.5 * part for part in SHIFT)
    weak = FaultyLoad(0.5 * model.B, model.foci)
    once = with_faulty_loads(model, read_faults([shifted()])).B
    twice = with_faulty_loads(model, read_faults([shifted(mm=half), shifted(mm=half), dead]),
                              weak).B
    np.testing.assert_allclose(twice, 0.5 * once, atol=1e-12)
