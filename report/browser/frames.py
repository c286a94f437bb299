"""Frames of the report's time slider: slices and lesion at every snapshot, in few bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from skimage.measure import marching_cubes

from hifuflow.formats.hdf5 import get_csr, open_artifact
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.trajectory import Trajectory
from hifuflow.report.figures.treatment import LOWEST_DOSE, constraint_limits, worst_points

MARGIN = 3  # voxels around the shown parts
MOST_PIXELS = 96  # along an edge of a slice
# Rounding of what is stored: temperature [K], log10 of the dose in CEM43 min, length [m].
CELSIUS_STEP, DOSE_STEP, LENGTH_STEP = 0.05, 0.01, 2e-5


@dataclass
class VoxelTemperatures:
    """Interpolation of any voxel's temperature from the plant's unknowns, see `fem/plant.h5`.

    Attributes
    ----------
    interpolation : (n_voxels, n) CSR.  baseline : (n_voxels,) [degC].  node_baseline : (n,) [degC].
    """

    interpolation: object
    baseline: np.ndarray
    node_baseline: np.ndarray

    @classmethod
    def load(cls, path) -> VoxelTemperatures:
        """Read `fem/plant.h5`."""
        with open_artifact(path, "bioheat_model") as file:
            return cls(get_csr(file, "voxels/interpolation"), file["voxels/baseline"][:],
                       file["baseline"][:])

    def at(self, voxels, node_temperature) -> np.ndarray:
        """(n_s, len(voxels)) temperatures [degC] from (n_s, n) of the unknowns."""
        rise = self.interpolation[voxels] @ (node_temperature - self.node_baseline).T
        return rise.T + self.baseline[voxels]


@dataclass
class Packed:
    """Arrays of whole numbers in one byte string, with an index of their places.

    Attributes
    ----------
    index : name -> {"type", "start" [bytes], "shape"}.  parts : byte strings.  length : in bytes.
    """

    index: dict = field(default_factory=dict)
    parts: list = field(default_factory=list)
    length: int = 0

    def put(self, name: str, values) -> None:
        """Append an array; each begins at a multiple of 8 bytes."""
        values = np.ascontiguousarray(values)
        self.index[name] = {"type": values.dtype.name, "start": self.length,
                            "shape": list(values.shape)}
        self.parts.append(values.tobytes())
        self.length += values.nbytes
        padding = -self.length % 8
        self.parts.append(bytes(padding))
        self.length += padding

    @property
    def content(self) -> bytes:
        """All bytes."""
        return b"".join(self.parts)


def shown_box(anatomy: Anatomy, constraints: dict, lesions: list) -> np.ndarray:
    """(2, 3) first and last voxel index around target, constrained points and lesions."""
    points = np.asarray(constraints["position_m"], dtype=float).reshape(-1, 3)
    shown = [np.argwhere(anatomy.target_mask), np.rint(anatomy.index(points)), *lesions]
    every = np.vstack([indices for indices in shown if len(indices)])
    last = np.array(anatomy.labels.shape) - 1
    return np.clip([every.min(axis=0) - MARGIN, every.max(axis=0) + MARGIN], 0, last).astype(int)


def slice_axes(anatomy: Anatomy, box: np.ndarray) -> list[dict]:
    """The three planes through the target's centre along the voxels' axes.

    Each plane has its normal axis, its two other axes (right, up), the voxel index along the normal
    (at), and the voxel indices shown along right and up (ticks).
    """
    centre = np.argwhere(anatomy.target_mask).mean(axis=0)
    stride = int(np.ceil((box[1] - box[0] + 1).max() / MOST_PIXELS))
    planes = []
    for normal, right, up in ((2, 0, 1), (1, 0, 2), (0, 1, 2)):
        ticks = [np.arange(box[0][axis], box[1][axis] + 1, stride) for axis in (right, up)]
        planes.append({"normal": normal, "right": right, "up": up,
                       "at": round(float(centre[normal])), "ticks": ticks})
    return planes


def plane_index(plane: dict) -> np.ndarray:
    """(n_up, n_right, 3) voxel index of the pixels of a plane."""
    up, right = np.meshgrid(*plane["ticks"][::-1], indexing="ij")
    index = np.empty((*up.shape, 3), dtype=int)
    index[..., plane["normal"]] = plane["at"]
    index[..., plane["right"]], index[..., plane["up"]] = right, up
    return index


def pack_controller(packed: Packed, name: str, trajectory: Trajectory, anatomy: Anatomy,
                    box: np.ndarray, planes: list, temperatures: VoxelTemperatures | None,
                    dose: float) -> dict:
    """Add a controller's frames; returns their times, numbers and worst points."""
    row = np.full(anatomy.labels.shape, -1)
    row[tuple(trajectory.voxel_index.T)] = np.arange(len(trajectory.voxel_index))
    _pack_slices(packed, name, trajectory, row, planes, temperatures)
    _pack_lesion(packed, name, trajectory, anatomy, box, dose)
    sample = np.searchsorted(trajectory.t, trajectory.snapshot_t)
    limited = trajectory.constraint_temperature[sample]
    packed.put(f"{name}.constraints", np.rint(limited / CELSIUS_STEP).astype(np.int16))
    packed.put(f"{name}.power", _shares(trajectory, sample))
    room = np.nan_to_num(limited - constraint_limits(trajectory), nan=-np.inf)
    return {"t": np.round(trajectory.snapshot_t, 3).tolist(),
            "coverage": np.round(trajectory.coverage[sample], 4).tolist(),
            "mean": np.round(np.average(trajectory.target_temperature[sample], axis=1,
                                        weights=trajectory.outputs.volume[
                                            trajectory.outputs.target]), 2).tolist(),
            "hottest": np.round(trajectory.target_temperature[sample].max(axis=1), 2).tolist(),
            "worst": (room.argmax(axis=1) + 1).tolist() if room.shape[1] else [],
            "worst_over": [int(point) + 1 for point in worst_points(trajectory, 1)]}


def _shares(trajectory: Trajectory, sample) -> np.ndarray:
    """(n_s, n_foci) uint8 mean power of each focus since the last frame; 255: the highest total."""
    shares = np.zeros((len(sample), trajectory.power.shape[1]))
    for frame in range(1, len(sample)):
        part = trajectory.power[sample[frame - 1]:sample[frame]]
        if len(part):
            shares[frame] = part.mean(axis=0)
    highest = max(trajectory.power.sum(axis=1).max(), 1e-12)
    return np.rint(255 * shares / highest).astype(np.uint8)


def _pack_slices(packed, name, trajectory, row, planes, temperatures) -> None:
    dose_column = np.full(len(trajectory.voxel_index), -1)
    dose_column[trajectory.snapshot_voxel] = np.arange(len(trajectory.snapshot_voxel))
    frames = len(trajectory.snapshot_t)
    for number, plane in enumerate(planes):
        voxel = row[tuple(np.moveaxis(plane_index(plane), -1, 0))]
        inside = voxel >= 0
        log_dose = np.full((frames, *voxel.shape), np.log10(LOWEST_DOSE))
        column = np.where(inside, dose_column[voxel], -1)
        has_dose = column >= 0
        log_dose[:, has_dose] = np.log10(np.maximum(trajectory.snapshot_dose[:, column[has_dose]],
                                                    LOWEST_DOSE))
        packed.put(f"{name}.dose{number}", np.rint(log_dose / DOSE_STEP).astype(np.int16))
        if temperatures is not None:
            shown = np.zeros((frames, *voxel.shape))
            shown[:, inside] = temperatures.at(voxel[inside], trajectory.snapshot_temperature)
            packed.put(f"{name}.temperature{number}",
                       np.rint(shown / CELSIUS_STEP).astype(np.int16))


def _pack_lesion(packed, name, trajectory, anatomy, box, dose) -> None:
    """Add the lesion's surfaces, frame by frame; equal frames are stored once."""
    shape = box[1] - box[0] + 1
    index = trajectory.voxel_index[trajectory.snapshot_voxel] - box[0]
    kept = ((index >= 0) & (index < shape)).all(axis=1)
    place = tuple(index[kept].T + 1)
    vertices, faces, starts = [np.zeros((0, 3))], [np.zeros((0, 3), int)], []
    counts, last = np.zeros(2, dtype=int), None
    for amounts in trajectory.snapshot_dose:
        volume = np.full(shape + 2, np.log2(LOWEST_DOSE))
        volume[place] = np.log2(np.maximum(amounts[kept], LOWEST_DOSE))
        treated = volume >= np.log2(dose)
        if last is not None and np.array_equal(treated, last):
            starts.append(starts[-1])
            continue
        last = treated
        points, cells = np.zeros((0, 3)), np.zeros((0, 3), int)
        if treated.any():
            points, cells, _, _ = marching_cubes(volume, np.log2(dose) - 1e-6)
        starts.append([*counts, len(points), len(cells)])
        vertices.append(points - 1)
        faces.append(cells)
        counts += len(points), len(cells)
    points = np.rint(np.vstack(vertices) * anatomy.spacing / LENGTH_STEP)
    packed.put(f"{name}.vertices", np.clip(points, 0, 65535).astype(np.uint16))
    corner = np.uint16 if max(row[2] for row in starts) < 2**16 else np.uint32
    packed.put(f"{name}.faces", np.vstack(faces).astype(corner))
    packed.put(f"{name}.lesion", np.array(starts, dtype=np.int32))


def nearest_region(anatomy: Anatomy, plane: dict) -> np.ndarray:
    """(n_up, n_right) label of each pixel of a plane."""
    return anatomy.labels[tuple(np.moveaxis(plane_index(plane), -1, 0))]

