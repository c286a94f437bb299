"""A small patient: finite differences on a cube, a ball as target, foci in one plane."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp

from hifuflow.controller.prediction import DiscreteModel
from hifuflow.job import log
from hifuflow.provenance import ROOT
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.study.patient import load_patient

SIDE, SPACING = 11, 3e-3
HEAT_CAPACITY, CONDUCTIVITY, PERFUSION = 3.3e6, 0.5, 2000.0
FOCUS_WIDTH = 2.5e-3


def _small_patient(conductivity=1.0, perfusion=1.0, shift=0.0) -> BioheatModel:
    """Its tissue's factors, and how far its foci lie off their places along the first axis [m]."""
    index = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    position = (index + 1.0) * SPACING
    centre = position[len(position) // 2]
    volume = SPACING ** 3
    second = sp.diags_array([-np.ones(SIDE - 1), 2 * np.ones(SIDE), -np.ones(SIDE - 1)],
                            offsets=[-1, 0, 1])
    eye = sp.eye_array(SIDE)
    laplacian = (sp.kron(sp.kron(second, eye), eye) + sp.kron(sp.kron(eye, second), eye)
                 + sp.kron(sp.kron(eye, eye), second)) / SPACING ** 2
    n = len(position)
    foci = centre + 3e-3 * np.array([[-1, -1, 0], [1, -1, 0], [0, 0, 0], [-1, 1, 0], [1, 1, 0]])
    heated = foci + np.array([shift, 0, 0])
    lateral = ((position[:, None, :2] - heated[None, :, :2]) ** 2).sum(axis=2)
    depth = (position[:, None, 2] - foci[None, :, 2]) ** 2
    heating = np.exp(-lateral / FOCUS_WIDTH ** 2 - depth / (3 * FOCUS_WIDTH) ** 2)
    heating = 0.7 * heating / heating.sum(axis=0)
    radius = np.linalg.norm(position - centre, axis=1)
    target = np.flatnonzero(radius < 5.5e-3)
    constraint = np.flatnonzero((radius > 11.5e-3) & (radius < 12.5e-3))
    rows = np.concatenate([constraint, target])
    is_target = np.arange(len(rows)) >= len(constraint)
    outputs = Outputs(np.where(is_target, "target", "constraint"), position[rows],
                      np.where(is_target, volume, 0.0), np.full(len(rows), 37.0),
                      np.where(is_target, np.nan, 43.0))
    identity = sp.csr_array(sp.eye_array(n))
    return BioheatModel(
        identity * (HEAT_CAPACITY * volume),
        sp.csr_array((conductivity * CONDUCTIVITY * laplacian
                      + perfusion * PERFUSION * sp.eye_array(n)) * volume),
        heating, identity[rows], position, np.full(n, 37.0), outputs, foci,
        Voxels(identity, index.astype(np.int32) + 4, np.full(n, 37.0),
               radius < 5.5e-3, volume))


@pytest.fixture(scope="session")
def small_patient() -> BioheatModel:
    return _small_patient()


@pytest.fixture(scope="session")
def altered_patient():
    """The small patient with other properties than its reduced model has."""
    return _small_patient


@pytest.fixture(scope="session")
def small_rom(small_patient) -> ReducedModel:
    """Galerkin projection on the step responses of the foci at many times."""
    capacity = small_patient.E[0, 0]
    rate, modes = np.linalg.eigh(small_patient.K.toarray() / capacity)
    load = modes.T @ small_patient.B / capacity
    times = np.geomspace(0.2, 2000, 30)
    response = -np.expm1(-rate[:, None, None] * times) / rate[:, None, None] * load[:, :, None]
    snapshots = response.reshape(len(rate), -1)
    left, size, _ = np.linalg.svd(snapshots / np.linalg.norm(snapshots, axis=0),
                                  full_matrices=False)
    basis = left[:, size > 1e-7 * size[0]]
    return ReducedModel(-basis.T @ (rate[:, None] * basis), basis.T @ load,
                        small_patient.C @ modes @ basis, size, size, "Galerkin",
                        small_patient.outputs, small_patient.foci)


@pytest.fixture(scope="module")
def model(small_rom) -> DiscreteModel:
    """The small patient's reduced model from image to image."""
    return DiscreteModel.sampled(small_rom, 2.0)


@pytest.fixture
def treatment_config() -> dict:
    reference = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    config = copy.deepcopy(reference.section("control", "paper"))
    config["prescription"].update(coverage=0.9, max_power_w=15, max_time_s=600)
    config["thermometry"]["noise_c"] = 0.0
    return config


@pytest.fixture
def logged(caplog, monkeypatch):
    """What is logged, whatever a job of another test has set up."""
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level("WARNING", log.name)
    return caplog
