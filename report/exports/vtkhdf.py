"""A treatment as a VTKHDF file: the patient's mesh with temperature and dose over time.

The cells are quadratic tetrahedra on the nodes of the finite elements, so that ParaView evaluates
the temperature with the very shape functions it was computed with. Format: "VTKHDF File Format"
in VTK's documentation, version 2.2, unstructured grid with temporal data and a static mesh.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from hifuflow.errors import InputError
from hifuflow.formats.hdf5 import create, put
from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.mesh import check_mesh
from hifuflow.records.mesh_groups import region_of
from hifuflow.records.trajectory import Trajectory

QUADRATIC_TETRAHEDRON = 24  # VTK's number; corners first, then the middles of these edges
VTK_EDGES = np.array([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)])
SAME_NODE = 1e-9  # m
LOWEST_DOSE = 1e-3  # CEM43 min; doses are interpolated as logarithms above it


def write_vtkhdf(path, mesh_path, model: BioheatModel, anatomy: Anatomy, trajectory: Trajectory,
                 surfaces: Mapping[str, float], patient: str, config_sha256: str) -> None:
    """Write the snapshots of a treatment on the plant's mesh.

    Point data `temperature` [degC] and `dose` [CEM43 min]; cell data `region`, the label in
    `anatomy/labels.nii.gz`. Positions in metres, time in seconds. The dose is known at voxels; at
    the nodes it is interpolated linearly as a logarithm.

    Parameters
    ----------
    mesh_path : `mesh/plant.msh`.  model : `fem/plant.h5`, made from it.
    surfaces : name -> temperature at it [degC], of all whose nodes may be held.

    Raises
    ------
    InputError : mesh and model do not belong together.
    """
    mesh = read_mesh_file(check_mesh(mesh_path))
    points, cells = quadratic(mesh.points, mesh.cells)
    nodes = cKDTree(points)
    distance, node = nodes.query(model.dof_coordinates)
    if distance.max() > SAME_NODE or len(np.unique(node)) < len(node):
        raise InputError("the mesh's nodes are not those of the model", file=mesh_path)
    temperature = np.empty((len(trajectory.snapshot_t), len(points)), dtype=np.float32)
    temperature[:] = _held_temperatures(mesh, nodes, surfaces)
    temperature[:, node] = trajectory.snapshot_temperature
    labels = {name: region["label"] for name, region in anatomy.regions.items()}
    region = np.array([labels[region_of(mesh.names[int(tag)])] for tag in mesh.tags],
                      dtype=np.int16)
    with create(path, "treatment_mesh", patient, config_sha256) as file:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = (2, 2)
        root.attrs.create("Type", b"UnstructuredGrid", dtype="S16")
        _write_mesh(root, points, cells, region)
        _write_steps(root, trajectory.snapshot_t, {
            "temperature": (temperature, "degC", "temperature of the patient"),
            "dose": (_node_dose(points, anatomy, trajectory), "min", "thermal dose CEM43")})


def quadratic(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, 3) and cells (m, 10) of the quadratic tetrahedra on straight ones (m, 4)."""
    ends = np.sort(cells[:, VTK_EDGES].reshape(-1, 2), axis=1)
    edges, number = np.unique(ends, axis=0, return_inverse=True)
    middles = points[edges].mean(axis=1)
    return (np.vstack([points, middles]),
            np.hstack([cells, len(points) + number.reshape(-1, len(VTK_EDGES))]))


def _held_temperatures(mesh, nodes: cKDTree, surfaces) -> np.ndarray:
    """(n,) temperature of the nodes on held surfaces [degC]; where they meet, skin rules."""
    values = np.full(nodes.n, np.nan, dtype=np.float32)
    for surface in ("cut", "skin"):
        if surface in surfaces:
            corners = mesh.points[mesh.facets[mesh.facet_names == surface]]
            middles = (corners + np.roll(corners, 1, axis=1)) / 2
            held = nodes.query(np.concatenate([corners, middles]).reshape(-1, 3))[1]
            values[held] = surfaces[surface]
    return values


def _node_dose(points, anatomy: Anatomy, trajectory: Trajectory) -> np.ndarray:
    """(n_s, n) dose at positions, from that of the voxels around them."""
    weights = _voxel_weights(points, anatomy, trajectory.voxel_index)
    floor = np.log2(LOWEST_DOSE)
    amount = np.log2(np.maximum(trajectory.snapshot_dose, LOWEST_DOSE)) - floor
    amount = (weights[:, trajectory.snapshot_voxel] @ amount.T).T
    return np.where(amount > 1e-6, np.exp2(amount + floor), 0.0).astype(np.float32)


def _voxel_weights(points, anatomy: Anatomy, voxel_index) -> sp.csc_array:
    """(n, n_voxels) trilinear weights of the body's voxels at positions, rows summing to one."""
    number = np.full(np.array(anatomy.labels.shape) + 2, -1)
    number[tuple(voxel_index.T + 1)] = np.arange(len(voxel_index))
    at = anatomy.index(points)
    low = np.clip(np.floor(at).astype(int), -1, np.array(anatomy.labels.shape) - 1)
    part = np.clip(at - low, 0, 1)
    rows, columns, values = [], [], []
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        voxel = number[tuple((low + 1 + corner).T)]
        found = np.flatnonzero((voxel >= 0) & (weight > 0))
        rows.append(found)
        columns.append(voxel[found])
        values.append(weight[found])
    rows, values = np.concatenate(rows), np.concatenate(values)
    total = np.bincount(rows, values, minlength=len(points))
    return sp.csc_array((values / total[rows], (rows, np.concatenate(columns))),
                        shape=(len(points), len(voxel_index)))


def _write_mesh(root, points, cells, region) -> None:
    n_cells, per_cell = cells.shape
    for name, value in (("NumberOfPoints", len(points)), ("NumberOfCells", n_cells),
                        ("NumberOfConnectivityIds", cells.size)):
        _put_numbers(root, name, [value], "size of the one part")
    put(root, "Points", points, "m", "nodes of the finite elements")
    _put_numbers(root, "Connectivity", cells.ravel(), "nodes of each cell")
    _put_numbers(root, "Offsets", per_cell * np.arange(n_cells + 1), "where each cell starts")
    put(root, "Types", np.full(n_cells, QUADRATIC_TETRAHEDRON, dtype=np.uint8), "1",
        "VTK's number of the kind of cell")
    put(root.create_group("CellData"), "region", region, "1", "label in anatomy/labels.nii.gz")


def _write_steps(root, times, fields: dict) -> None:
    """Fields over time, one step's values after another's; every step reads the one mesh."""
    n = len(times)
    steps = root.create_group("Steps")
    steps.attrs["NSteps"] = n
    put(steps, "Values", np.asarray(times, dtype=float), "s", "time of each step")
    for name in ("PartOffsets", "PointOffsets"):
        _put_numbers(steps, name, np.zeros(n), "every step reads the same mesh")
    _put_numbers(steps, "NumberOfParts", np.ones(n), "every step has one part")
    for name in ("CellOffsets", "ConnectivityIdOffsets"):
        _put_numbers(steps, name, np.zeros((n, 1)), "every step reads the same mesh")
    _put_numbers(steps.create_group("CellDataOffsets"), "region", np.zeros(n),
                 "every step reads the same regions")
    point_data, offsets = root.create_group("PointData"), steps.create_group("PointDataOffsets")
    for name, (values, units, description) in fields.items():
        put(point_data, name, values.ravel(), units, f"{description}, step after step",
            compression="gzip", compression_opts=4, shuffle=True, chunks=(values.shape[1],))
        _put_numbers(offsets, name, values.shape[1] * np.arange(n), "where each step starts")


def _put_numbers(group, name: str, values, description: str) -> None:
    put(group, name, np.asarray(values, dtype=np.int64), "1", description)
