"""A whole treatment of the reference patient, by finite elements and by finite volumes on voxels.

The powers of the treatment by `paper` are replayed through `VoxelBioheat` on the heating's grid,
0.75 mm, and compared with the plant's temperatures: everywhere in the body at every snapshot of
the trajectory, and at constraint points and target voxels in every sample. Where they differ:

- in the foci of the last minute. The beam is 1.6 mm wide and the plant's cells are 2 to 3 mm:
  they keep the mean and flatten the peak (`bioheat_meshes` has finer ones); half a minute later
  conduction has spread it. Along the beam single voxels show the same.
- within 3 mm of the skin, which is smooth in one model and a stair of voxels in the other.
"""

from __future__ import annotations

from hifuflow import fem as stage  # noqa: F401 # isort: skip
from pathlib import Path

import numpy as np
from dolfinx import fem as dolfinx_fem
from run import ROOT, Check, at_most, run_patient, within
from scipy.ndimage import distance_transform_edt
from voxel_bioheat import VoxelBioheat

from hifuflow.controller.dose import cem43
from hifuflow.fem.mesh_input import read_mesh
from hifuflow.fem.point_evaluation import PointEvaluator
from hifuflow.fem.settings import ModelSettings
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.heating import Heating
from hifuflow.records.trajectory import Trajectory
from hifuflow.study.patient import load_patient

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"
ORIGIN = "finite volumes, 0.75 mm"
SKIN, RECENT = 0.003, 60.0  # m, s: where and for how long after heating models may differ
FOCUS, BEAM = (0.002, 0.007), (0.004, 0.010)  # m: half axes, across and along the beam
WARM = 0.1  # K: less is not compared
TREATED = 0.9  # of the target's volume


def checks() -> list[Check]:
    """The treatment in both models."""
    return compared(run_patient("breast_reference", "config/patients"))


def compared(folder: Path) -> list[Check]:
    """The checks for a folder of results."""
    model = BioheatModel.load(folder / "fem" / "plant.h5")
    trajectory = Trajectory.load(folder / "control" / "paper" / "trajectory.h5")
    fields, outputs = replayed(folder, model, trajectory)
    return [*_fields(model, Anatomy.load(folder / "anatomy"), trajectory, fields),
            *_outputs(model, trajectory, outputs)]


def replayed(folder: Path, model: BioheatModel, trajectory: Trajectory):
    """Rises by voxels: (n_s, n_voxels) of the body's voxels at the snapshots, and (n_t, p) of the
    outputs; NaN beside the voxels' body."""
    anatomy, heating = (Anatomy.load(folder / "anatomy"),
                        Heating.load(folder / "acoustics" / "heating.h5"))
    # One voxel more on every side, as the skin may lie at the end of the heating's grid.
    shape, spacing = np.array(heating.q.shape[1:]) + 2, heating.affine[0, 0]
    origin = heating.affine[:3, 3] - spacing
    solver = _solver(folder, anatomy, shape, spacing, origin)
    at_voxels, at_outputs = ((points - origin) / spacing for points in (
        anatomy.position(model.voxels.index), model.outputs.position))
    interval, sources = trajectory.t[1] - trajectory.t[0], {}

    def source(focus):
        if focus not in sources:
            sources[focus] = solver.source(np.pad(heating.q[focus], 1))
        return sources[focus]

    fields, outputs = [solver.at(at_voxels)], [solver.at(at_outputs)]
    for time, power in zip(trajectory.t[1:], trajectory.power, strict=False):
        solver.advance(sum((np.float32(power[focus]) * source(focus)
                            for focus in np.flatnonzero(power)), np.float32(0)), interval)
        outputs.append(solver.at(at_outputs))
        if np.isclose(trajectory.snapshot_t, time).any():
            fields.append(solver.at(at_voxels))
            print(f"voxels: {time:,.0f} of {trajectory.t[-1]:,.0f} s", flush=True)
    return np.array(fields), np.array(outputs)


def _solver(folder: Path, anatomy: Anatomy, shape, spacing: float, origin) -> VoxelBioheat:
    """The plant's tissues on voxels."""
    centre = np.indices(shape).reshape(3, -1).T * spacing + origin
    labels, water = (part.reshape(shape) for part in _labels_in_mesh(
        anatomy, folder / "mesh" / "plant.msh", centre))
    return VoxelBioheat(*(table[labels] for table in tissue_tables(anatomy)), water, spacing)


def tissue_tables(anatomy: Anatomy) -> list[np.ndarray]:
    """rho c, k and w of the plant by label, 0 outside the body."""
    settings = ModelSettings.read(load_patient(REFERENCE).section("assemble", "plant"))
    return [anatomy.table({name: value(tissue) for name, tissue in settings.tissues.items()}, 0.0)
            for value in (lambda t: t.density * t.specific_heat, lambda t: t.conductivity,
                          lambda t: t.perfusion * settings.blood_specific_heat)]


def _labels_in_mesh(anatomy: Anatomy, mesh_path: Path, centre):
    """(n,) labels at points, and where there is water; the body is the mesh's, so that both models
    have the skin at the same place to half a voxel. Only points near the labelled surface are
    looked up in the mesh. What is behind the cut is no water."""
    mesh = read_mesh(mesh_path)
    evaluator = PointEvaluator(dolfinx_fem.functionspace(mesh.domain, ("Lagrange", 2)))
    index = tuple(np.clip(np.rint(anatomy.index(centre)).astype(int), 0,
                          np.array(anatomy.labels.shape) - 1).T)
    outside, nearest = distance_transform_edt(anatomy.labels == 0, return_indices=True)
    inside = distance_transform_edt(anatomy.labels > 0)[index]
    body = inside > 0
    close = np.flatnonzero((outside[index] < 2) & (inside < 2))
    body[close] = evaluator.locate(centre[close]).distance == 0
    behind = ~anatomy.coupling[index] & (anatomy.labels[index] == 0)
    return (np.where(body, anatomy.labels[tuple(nearest[(slice(None), *index)])], 0),
            ~body & ~behind)


def _fields(model: BioheatModel, anatomy: Anatomy, trajectory: Trajectory, voxel) -> list[Check]:
    """The whole body at the snapshots, zone by zone; over the largest rise outside the foci."""
    depth = distance_transform_edt(~anatomy.coupling, sampling=anatomy.spacing)[
        tuple(model.voxels.index.T)]
    position, off, foci = anatomy.position(model.voxels.index), {}, []
    rises = (trajectory.snapshot_temperature - model.baseline) @ model.voxels.interpolation.T
    for time, ours, theirs in zip(trajectory.snapshot_t[1:], rises[1:], voxel[1:], strict=True):
        recent = (trajectory.t < time) & (trajectory.t >= time - RECENT)
        heated = model.foci[trajectory.power[recent].any(axis=0)]
        warm = np.flatnonzero(theirs > WARM)
        ours, theirs, skin = ours[warm], theirs[warm], depth[warm] <= SKIN
        focus, beam = (around(position[warm], heated, *axes) for axes in (FOCUS, BEAM))
        largest = theirs[~skin & ~beam].max()
        for zone, where in (("outside the foci", ~skin & ~beam), ("skin", skin),
                            ("foci of the last minute", beam & ~skin)):
            if where.any():
                off.setdefault(zone, []).append(np.abs(ours - theirs)[where] / largest)
        if focus.any():
            foci.append([part[focus].mean() for part in (ours, theirs)])
    found = []
    for zone, parts in off.items():
        allowed = (0.01, 0.02) if zone == "outside the foci" else (np.inf, np.inf)
        name = f"{zone}, off over the largest rise outside them,"
        measures = (("rms", lambda part: np.sqrt((part**2).mean())),
                    ("99 % of voxels", lambda part: np.percentile(part, 99)),
                    ("worst voxel", np.max))
        for (measure, of), limit in zip(measures, (*allowed, np.inf), strict=True):
            found.append(at_most(f"{name} worst of {len(parts)} times: {measure}",
                                 max(of(part) for part in parts), limit, ORIGIN))
    ours, theirs = np.array(foci).T
    worst = np.abs(ours / theirs - 1).argmax()
    found.append(within("mean rise in the foci of the last minute, worst time [K]", ours[worst],
                        theirs[worst], 0.02, ORIGIN))
    return found


def around(position, centre, across: float, along: float) -> np.ndarray:
    """(n,) whether positions lie in an ellipsoid around any of the centres."""
    offset = position[:, None] - centre
    return ((np.linalg.norm(offset[..., :2], axis=2) / across) ** 2
            + (offset[..., 2] / along) ** 2 < 1).any(axis=1)


def _outputs(model: BioheatModel, trajectory: Trajectory, voxel) -> list[Check]:
    """Constraint points and target in every sample, and when the target is treated."""
    outputs, found = model.outputs, []
    for name, kind, ours in (
            ("constraint points", outputs.constraint, trajectory.constraint_temperature),
            ("target", outputs.target, trajectory.target_temperature)):
        ours, theirs = ours - outputs.baseline[kind], voxel[:, kind]
        inside = np.isfinite(theirs).all(axis=0)
        off = (ours - theirs)[:, inside]
        print(f"{name}: {inside.sum()} of {len(inside)} points are in the voxels' body")
        found += [at_most(f"{name}, all samples: rms off over rms rise",
                          np.sqrt((off**2).mean() / (theirs[:, inside]**2).mean()), 0.02, ORIGIN),
                  Check(f"{name}, all samples: largest rise [K]", ours.max(),
                        theirs[:, inside].max(), 0, np.inf,
                        f"{ORIGIN}; worst point and time {np.abs(off).max():.2g} K off")]
    ours, theirs = (_treated_after(trajectory, outputs.volume[outputs.target], temperature)
                    for temperature in (trajectory.target_temperature,
                                        voxel[:, outputs.target]
                                        + outputs.baseline[outputs.target]))
    return [*found, within(f"time until {TREATED:.0%} of the target has 240 CEM43 [s]", ours,
                           theirs, 0.02, ORIGIN)]


def _treated_after(trajectory: Trajectory, volume, temperature) -> float:
    """Temperatures (n_t, n) linear between samples [degC]; NaN where never."""
    dose = np.zeros(len(volume))
    for k in range(1, len(temperature)):
        dose += cem43(temperature[k - 1], temperature[k], trajectory.t[k] - trajectory.t[k - 1])
        if volume[dose >= 240].sum() >= TREATED * volume.sum():
            return trajectory.t[k]
    return np.nan
