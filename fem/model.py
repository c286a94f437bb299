"""Build the finite-element model of a patient: matrices, loads and outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.job import log, read_json
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.cells import Cells
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.heating import Heating
from hifuflow.records.mesh import check_mesh
from hifuflow.records.outputs import Outputs

from . import MPI
from .heating_load import heating_load
from .mesh_input import TissueMesh, read_mesh
from .pennes import Bioheat, assemble_bioheat
from .point_evaluation import PointEvaluator
from .positive_load import positive_load
from .properties import RegionProperties, region_properties
from .settings import ModelSettings
from .voxel_means import voxel_means

MAX_TARGET_OUTPUTS = 4000  # more voxels than this are joined in blocks


def write_model(comm, path, patient: str, mesh, anatomy, heating, constraints,
                settings: ModelSettings, config_sha256: str) -> None:
    """Build a model from the files of the earlier stages, on all ranks of `comm`, and save it.

    The ranks share the factors and loads, which take the memory and the time. All have the mesh
    and the matrices, so that numbering and result do not depend on the number of ranks.

    Parameters
    ----------
    path : file to write.  mesh, heating, constraints : files to read.  anatomy : folder to read.
    settings : see `build_model`.  config_sha256 : hash of their configuration, which is stored.
    """
    with Heating.opened(heating) as opened:
        model = build_model(check_mesh(mesh), Anatomy.load(Path(anatomy)), opened,
                            read_json(constraints), settings, comm)
    if comm.rank == 0:
        model.save(path, patient, config_sha256)


def build_model(mesh_path, anatomy: Anatomy, heating: Heating, constraints: dict,
                settings: ModelSettings, comm=MPI.COMM_SELF) -> BioheatModel:
    """The bioheat model on one mesh: E x' = -K x + B u, y = C x with x = T - baseline.

    Parameters
    ----------
    mesh_path : MSH 4.1 file with the groups that `read_mesh` asks for.
    anatomy : the body that the mesh was made from.
    heating : of each focus at 1 W, `q` (n_foci, nx, ny, nz) [W/m3].
    constraints : content of constraints.json: `position_m` (n_c, 3), `limit_c` (n_c,) and the
        other lists of `anatomy.constraints`, one entry per point.
    settings : tissues, conditions at the surfaces, and the deviations of this model.

    Other Parameters
    ----------------
    comm : ranks that share the work; all get the model.

    Returns
    -------
    BioheatModel : E [J/K], K [W/K] (n, n), B (n, n_foci) [W per W acoustic], C (p, n).

    Raises
    ------
    InputError : the mesh belongs to another anatomy, or a boundary condition or constraint does not
        fit.
    NumericalError : a matrix is not positive definite, or power is lost outside the mesh.
    """
    mesh, properties, bioheat = _assembled(mesh_path, anatomy, settings, comm)
    evaluator = PointEvaluator(bioheat.space)
    free, cells = bioheat.free, _cells(mesh, bioheat, properties)
    B = _load(evaluator, bioheat, cells.node_shares @ properties.absorption, heating, settings,
              comm)
    C, C_mean, outputs = _outputs(evaluator, bioheat, anatomy, constraints,
                                  settings.written.file)
    return BioheatModel(
        E=bioheat.E[free][:, free], K=bioheat.K[free][:, free], B=B, C=C[:, free],
        dof_coordinates=bioheat.space.tabulate_dof_coordinates()[free],
        baseline=bioheat.baseline()[free], outputs=outputs, foci=heating.foci,
        voxels=_voxels(evaluator, bioheat, anatomy), cells=cells, C_mean=C_mean[:, free])


def build_faulty_load(mesh_path, anatomy: Anatomy, heating: Heating, settings: ModelSettings,
                      comm=MPI.COMM_SELF) -> FaultyLoad:
    """B alone, of another heating on the mesh and with the settings of `build_model`.

    The unknowns are numbered as there. Parameters and errors are those of `build_model`.
    """
    mesh, properties, bioheat = _assembled(mesh_path, anatomy, settings, comm)
    absorption = _cells(mesh, bioheat, properties).node_shares @ properties.absorption
    return FaultyLoad(_load(PointEvaluator(bioheat.space), bioheat, absorption, heating, settings,
                            comm), heating.foci)


def _assembled(mesh_path, anatomy: Anatomy, settings: ModelSettings,
               comm) -> tuple[TissueMesh, RegionProperties, Bioheat]:
    mesh = read_mesh(mesh_path)
    unknown = sorted(set(mesh.regions) - set(anatomy.regions))
    if unknown:
        raise InputError("the mesh has regions that the anatomy does not have", file=mesh_path,
                         key="physical groups", value=unknown, allowed=sorted(anatomy.regions))
    properties = region_properties(mesh.cell_vertices, anatomy, settings)
    bioheat = assemble_bioheat(mesh, properties.cells, settings.boundary, comm)
    log.info("%d cells, %d unknowns, %d nodes of prescribed temperature", len(mesh.cell_vertices),
             len(bioheat.free), bioheat.E.shape[0] - len(bioheat.free))
    return mesh, properties, bioheat


def _load(evaluator: PointEvaluator, bioheat: Bioheat, absorption: np.ndarray, heating: Heating,
          settings: ModelSettings, comm) -> np.ndarray:
    """(n, n_foci) B; `absorption` (n_nodes,) factor of the power that a node absorbs."""
    load = heating_load(evaluator, _shifted(heating, settings.deviations.focal_shift), comm)
    free = bioheat.free
    position = bioheat.space.tabulate_dof_coordinates()[free]
    return positive_load(bioheat.E[free][:, free], load[free], position) * (
        absorption[:len(free), None])


def _shifted(heating: Heating, shift) -> Heating:
    """The heating moved by `shift` (R, A, S) [m]."""
    affine = heating.affine.copy()
    affine[:3, 3] += shift
    return replace(heating, affine=affine)


def _cells(mesh: TissueMesh, bioheat: Bioheat, properties: RegionProperties) -> Cells:
    """Cells of the model, by the numbers of its unknowns; prescribed nodes come last."""
    n, free = bioheat.E.shape[0], bioheat.free
    fixed = np.setdiff1d(np.arange(n), free)
    number = np.empty(n, dtype=np.int32)
    number[np.concatenate([free, fixed])] = np.arange(n)
    return Cells(number[bioheat.space.dofmap.list], mesh.cell_vertices, properties.names,
                 properties.share, properties.conductivity, properties.perfusion,
                 bioheat.baseline()[fixed], bioheat.arterial)


def _outputs(evaluator: PointEvaluator, bioheat: Bioheat, anatomy: Anatomy, constraints: dict,
             file):
    """C and C_mean (p, n_nodes), by interpolation and by means over voxels, and the `Outputs`.

    Constraint points come first, then the target.
    """
    points = np.asarray(constraints["position_m"], dtype=float).reshape(-1, 3)
    limit = np.asarray(constraints["limit_c"], dtype=float).reshape(-1)
    if len(limit) != len(points):
        raise InputError(f"{len(limit)} limits for {len(points)} points", file=file,
                         key="constraints.limit_c", allowed="one limit per point")
    voxels, volume, block = target_blocks(anatomy, MAX_TARGET_OUTPUTS)
    at_points = evaluator.locate(points)
    _check_inside(points, at_points.distance, anatomy, file)
    C = sp.csr_array(sp.vstack([evaluator.interpolation(at_points),
                                evaluator.interpolation(evaluator.locate(voxels))]))
    C_mean = _means(evaluator, anatomy, block, C)
    baseline = bioheat.baseline(C)
    _check_limits(points, limit, baseline, file)
    n_points, n_voxels = len(points), len(voxels)
    return C, C_mean, Outputs(
        kind=np.array(["constraint"] * n_points + ["target"] * n_voxels),
        position=np.vstack([points, voxels]),
        volume=np.concatenate([np.zeros(n_points), volume]),
        baseline=baseline,
        mean_baseline=bioheat.baseline(C_mean),
        limit=np.concatenate([limit, np.full(n_voxels, np.nan)]),
        region=_regions(anatomy, np.vstack([points, voxels])),
        name=np.array([*constraints["name"], *[""] * n_voxels]),
        dose_limit=np.array([*constraints["dose_limit_cem43_min"], *[None] * n_voxels], float),
        soft=np.array([*constraints["soft"], *[False] * n_voxels]))


def _means(evaluator: PointEvaluator, anatomy: Anatomy, block: np.ndarray,
           C: sp.csr_array) -> sp.csr_array:
    """C_mean (p, n_nodes): means over the voxels of the target's outputs, which are the last rows.

    `block` is that of `target_blocks`. Outputs without voxels in the mesh keep their row of C.
    """
    means = voxel_means(evaluator, anatomy.affine, block)
    first = C.shape[0] - means.shape[0]
    means = sp.csr_array(sp.vstack([sp.csr_array((first, C.shape[1])), means]))
    empty = np.diff(means.indptr) == 0
    return sp.csr_array(means + sp.diags_array(empty.astype(float)) @ C)


def _regions(anatomy: Anatomy, points: np.ndarray) -> np.ndarray:
    """(p,) name of the region in which each point lies, "" outside the body."""
    index = np.rint(anatomy.index(points)).astype(int)
    label = anatomy.labels[tuple(np.clip(index, 0, np.array(anatomy.labels.shape) - 1).T)]
    names = {region["label"]: name for name, region in anatomy.regions.items()}
    return np.array([names.get(number, "") for number in label])


def _check_inside(points: np.ndarray, distance: np.ndarray, anatomy: Anatomy, file) -> None:
    """Refuse constraint points outside the mesh.

    The mesh rounds off the voxels' stairs: up to half a voxel outside still counts as inside, and
    the temperature is taken at the closest point of the mesh.
    """
    outside = np.flatnonzero(distance > 0.5 * anatomy.spacing.max())
    if len(outside):
        worst = outside[distance[outside].argmax()]
        raise InputError(f"{len(outside)} of {len(points)} constraint points lie outside the mesh, "
                         f"point {worst} by {1e3 * distance[worst]:.1f} mm", file=file,
                         key="constraints.position_m", value=points[worst].tolist(),
                         allowed="points in the body, in front of every cut")


def _check_limits(points: np.ndarray, limit: np.ndarray, baseline: np.ndarray, file) -> None:
    bad = np.flatnonzero(~(limit > baseline[:len(points)]))
    if len(bad):
        first = bad[0]
        raise InputError(f"not above the temperature before treatment, {baseline[first]:.2f} degC "
                         f"at {points[first].tolist()} ({len(bad)} such points)",
                         file=file, key="constraints.limit_c", value=float(limit[first]),
                         allowed="above the baseline at every constraint point")


def target_blocks(anatomy: Anatomy, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels of the target as outputs, joined in blocks if there are more than `most`.

    Blocks are of 2 x 2 x 2, 3 x 3 x 3, ... voxels. The centre of a block is the centroid of its
    target voxels, its volume the sum of theirs.

    Returns
    -------
    centres (n, 3) [m], volumes (n,) [m3], and (nx, ny, nz) number of the block of each voxel of the
    label map, -1 outside the target.
    """
    index = np.argwhere(anatomy.target_mask)
    edge = 1
    while True:
        _, block, count = np.unique(index // edge, axis=0, return_inverse=True,
                                    return_counts=True)
        if len(count) <= most:
            break
        edge += 1
    total = np.zeros((len(count), 3))
    np.add.at(total, block.ravel(), index)
    number = np.full(anatomy.labels.shape, -1)
    number[tuple(index.T)] = block.ravel()
    return anatomy.position(total / count[:, None]), count * anatomy.voxel_volume, number


def _voxels(evaluator: PointEvaluator, bioheat: Bioheat, anatomy: Anatomy) -> Voxels:
    """All voxels of the body; those just outside the mesh take its closest point."""
    index = np.argwhere(anatomy.body_mask)
    interpolation = evaluator.interpolation(evaluator.locate(anatomy.position(index)))
    return Voxels(interpolation[:, bioheat.free], index.astype(np.int32),
                  bioheat.baseline(interpolation), anatomy.target_mask[tuple(index.T)],
                  anatomy.voxel_volume)
