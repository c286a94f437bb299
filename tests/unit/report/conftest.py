"""A small synthetic patient and treatment, along any axis of the patient."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import meshio
import numpy as np
import pytest

from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.heating import Heating
from hifuflow.records.outputs import Outputs
from hifuflow.records.plan import Plan
from hifuflow.records.trajectory import Trajectory
from hifuflow.report.settings import ReportSettings
from hifuflow.study.patient import load_patient

DOSE, LIMIT = 240.0, 43.0
# A phantom; 240 CEM43 to 99 % of the target, 22 W, 7200 s, an image every 2 s.
SECTION = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml").section("report")
SETTINGS = replace(ReportSettings.read(SECTION), controllers=("paper",))
N_UNKNOWNS = 50
METRICS = {
    "treatment_time_s": 1198.0, "time_to_t90_s": 820.0, "on_time_s": 301.5, "energy_j": 5120.0,
    "coverage": 0.7413, "t90_cem43_min": 31.7, "max_constraint_temperature_c": 44.25,
    "max_overshoot_k": 1.25, "overshoot_k_s": 87.5, "max_target_temperature_c": 71.4,
    "damaged_normal_volume_m3": 3.2e-8, "damaged_target_volume_m3": 6.4e-7,
    "estimator_rmse_k": 0.213, "step_time_p50_s": 0.0041, "step_time_p99_s": 0.0123,
    "n_foci": 9, "n_constraints": 24, "rom_order": 87,
    "status": "timeout", "first_focus_hold_s": 12.0, "first_focus_limit_s": 36.4,
    "min_temperature_c": 36.62, "max_baseline_undershoot_k": 0.31,
    "full_power_s": 40.0,
    "model_difference": {
        "constraint": {"rms_k": 0.0123, "max_k": 0.087, "rms_fraction": 0.0041,
                       "max_fraction": 0.0149},
        "target": {"rms_k": 0.31, "max_k": 4.5, "rms_fraction": 0.034, "max_fraction": 0.15},
        "time_to_t90_s": {"model": 812.0, "patient": None}, "t90_ratio": 1.083},
}


def make_anatomy(axis=(0, 0, 1)):
    """Half ball of fat, an ellipsoidal target 12 mm under its skin; the beam enters the dome."""
    shape, spacing = (40, 36, 30), 2e-3
    depth = np.argmax(np.abs(axis))
    order = [i for i in range(3) if i != depth] + [depth]
    a, b, d = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    a, b, d = (a - 19.5) * spacing, (b - 17.5) * spacing, d * spacing
    body = (a**2 + b**2 + (d - 0.05) ** 2 < 0.034**2) & (d < 0.045)
    target = (a / 0.009) ** 2 + (b / 0.007) ** 2 + ((d - 0.03) / 0.006) ** 2 < 1
    labels = body.astype(np.int16) + target
    origin = np.array([0.02, -0.01, 0.004])
    sign = np.sign(axis[depth])
    if sign < 0:
        labels = labels[:, :, ::-1]
    labels = np.moveaxis(labels, (0, 1, 2), order)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = origin
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 1e-5},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": 1e-6}}
    return Anatomy(np.ascontiguousarray(labels), affine, regions, ["tumour"], labels == 0,
                   np.array(axis, dtype=float), "0" * 64)

BALANCE = {"entered": 0.9, "absorbed": 0.4, "scattered": 0.02, "reflected": 0.03, "sideways": 0.05,
           "transmitted": 0.4}


def make_case(tmp_path, axis=(0, 0, 1)):
    """All artifacts of one patient: consistent, but made up."""
    rng = np.random.default_rng(0)
    anatomy = make_anatomy(axis)
    axis = anatomy.axis
    across = [unit for unit in np.eye(3) if abs(unit @ axis) < 0.5]
    target = anatomy.position(np.argwhere(anatomy.target_mask))
    centre = target.mean(axis=0)
    offsets = np.array(list(itertools.product((-0.004, 0, 0.004), repeat=2)))
    foci = centre + offsets @ np.array(across)
    plan = Plan(centre - 0.13 * axis, axis, foci, 0.004)

    turn = rng.normal(size=(24, 3))
    turn /= np.linalg.norm(turn, axis=1)[:, None]
    semi_axes = np.abs(np.column_stack([*across, axis])) @ np.array([0.016, 0.014, 0.011])
    surface = {"name": "ellipsoid", "kind": "ellipsoid", "n_points": 24,
               "centre_m": centre.tolist(), "semi_axes_m": semi_axes.tolist(),
               "rotation": np.eye(3).tolist()}
    constraints = {"position_m": (centre + turn * semi_axes).tolist(), "limit_c": [LIMIT] * 24,
                   "name": ["ellipsoid"] * 24,
                   "surface": surface, "surfaces": [surface]}

    voxels = np.argwhere(anatomy.body_mask)
    points = anatomy.position(voxels)
    depth = (points - centre) @ axis
    radius = np.sqrt((((points - centre) @ np.array(across).T) ** 2).sum(1) + depth**2)
    # The lesion leaves the target's part nearest the skin untreated.
    dose = DOSE * 2.0 ** ((0.010 - radius) / 0.001)
    dose[depth < -0.0035] = 0.5
    in_target = anatomy.target_mask[tuple(voxels.T)]

    t = np.arange(0, 1200.0, 2)
    power = np.zeros((len(t), len(foci)))
    power[np.arange(len(t)), rng.integers(0, len(foci), len(t))] = 22 * (rng.random(len(t)) < 0.4)
    rise = 6 * (1 - np.exp(-t / 90))[:, None] * (0.6 + 0.4 * rng.random(24))
    temperature = 37 + rise
    temperature[:, 7] = 37 + rise.max(axis=1) * 1.2083333
    n = int(in_target.sum())
    outputs = Outputs(np.array(["constraint"] * 24 + ["target"] * n),
                      np.vstack([constraints["position_m"], points[in_target]]),
                      np.r_[np.zeros(24), np.full(n, anatomy.voxel_volume)],
                      np.full(24 + n, 37.0), np.r_[np.full(24, LIMIT), np.full(n, np.nan)])
    grow = (t / t[-1])[:, None]
    doses = dose[in_target] * grow
    shown = np.arange(0, len(t), 60)
    dosed = np.flatnonzero(dose > 0.6)
    trajectory = Trajectory(
        t, power, temperature, 37 + 30 * grow * np.ones(n), doses, temperature - 0.2,
        37 + rng.normal(size=(len(t), 5)), points[:5], (doses >= DOSE).mean(axis=1),
        np.array([0.0, 12.0, 1198.0]),
        np.array(["start", "limit in sight at location 8", "timeout <7200 s>"]), voxels,
        37 + np.clip(np.log2(np.maximum(dose, 0.5)), 0, 40), dose, t[shown],
        37 + 20 * grow[shown] * np.ones(N_UNKNOWNS), dosed, dose[dosed] * grow[shown],
        outputs, foci)

    grid = anatomy.affine.copy()
    index = np.moveaxis(np.indices(anatomy.labels.shape), 0, -1)
    away = anatomy.position(index) - foci[4]
    along = away @ axis
    beam = np.exp(-((away**2).sum(-1) - along**2) / 0.003**2 - (along / 0.008) ** 2)
    q = np.stack([beam * anatomy.body_mask * 2e6 * (0.5 + 0.5 * (i == 4)) for i in range(9)])
    heating = Heating(q, grid, foci, np.linspace(6e5, 4e5, 9), np.full(9, 0.4), 1e6, "random256",
                      {name: np.full(9, share) for name, share in BALANCE.items()})
    heating.save(tmp_path / "acoustics" / "heating.h5", "test", "0" * 64)
    mesh_paths = {name: make_mesh(tmp_path / "mesh" / f"{name}.msh", anatomy, coarse)
                  for name, coarse in (("control", 5), ("plant", 3))}
    return SimpleNamespace(anatomy=anatomy, plan=plan, constraints=constraints,
                           trajectory=trajectory, heating_path=tmp_path / "acoustics/heating.h5",
                           mesh_paths=mesh_paths, settings=SETTINGS, metrics=dict(METRICS),
                           folder=tmp_path)


def make_mesh(path: Path, anatomy, coarse: int) -> Path:
    """The body's box cut into bricks of five tetrahedra, coloured by the label map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ticks = [np.arange(0, n, coarse) for n in anatomy.labels.shape]
    shape = [len(tick) for tick in ticks]
    points = anatomy.position(np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, 3))
    number = np.arange(len(points)).reshape(shape)
    cells = []
    for i, j, k in itertools.product(*(range(n - 1) for n in shape)):
        c = number[i:i + 2, j:j + 2, k:k + 2]
        even = (i + j + k) % 2
        c = c[::-1] if even else c
        cells += [[c[0, 0, 0], c[1, 0, 0], c[0, 1, 0], c[0, 0, 1]],
                  [c[1, 1, 0], c[1, 0, 0], c[0, 1, 0], c[1, 1, 1]],
                  [c[1, 0, 1], c[1, 0, 0], c[0, 0, 1], c[1, 1, 1]],
                  [c[0, 1, 1], c[0, 1, 0], c[0, 0, 1], c[1, 1, 1]],
                  [c[1, 0, 0], c[0, 1, 0], c[0, 0, 1], c[1, 1, 1]]]
    cells = np.array(cells)
    mirrored = np.linalg.det(points[cells[:, 1:]] - points[cells[:, :1]]) < 0
    cells[mirrored] = cells[mirrored][:, [0, 2, 1, 3]]
    middle = np.round(anatomy.index(points[cells].mean(axis=1))).astype(int)
    tag = anatomy.labels[tuple(middle.T)]
    cells, tag = cells[tag > 0], tag[tag > 0]
    mesh = meshio.Mesh(points, [("tetra", cells)],
                       cell_data={"gmsh:physical": [tag], "gmsh:geometrical": [tag]},
                       field_data={"fat": np.array([1, 3]), "tumour": np.array([2, 3])})
    mesh.write(path, file_format="gmsh22")
    return path


@pytest.fixture(scope="session", params=[(0, 0, 1), (0, -1, 0)], ids=["+z", "-y"])
def case(request, tmp_path_factory):
    """The synthetic patient, once with the beam along +z and once along -y."""
    return make_case(tmp_path_factory.mktemp("patient"), request.param)


@pytest.fixture(scope="session")
def plain_case(tmp_path_factory):
    """The synthetic patient with the beam along +z only."""
    return make_case(tmp_path_factory.mktemp("plain"))
