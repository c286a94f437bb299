"""Label maps and images brought onto a RAS+ grid whose axes are the patient's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import nibabel as nib
import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.formats.image import Image, Segment
from hifuflow.formats.images import MOST_VOXELS
from hifuflow.formats.label_folder import open_labels
from hifuflow.formats.side_files import source_sha256
from hifuflow.job import log

OBLIQUE = 1e-3  # off-diagonal part of a column of the affine that still counts as aligned
VOLUME_CHANGE = 0.05  # of a label by resampling: more is refused
SAMPLES = 100_000  # voxels whose mean displacement by resampling is kept small
SHIFTS = [k / 16 for k in range(-4, 5)]  # that are tried for it, in voxels
HALFWAY = 1e-3
FEW_VOXELS = 1000  # of a label whose volume may change by more, being small


@dataclass
class LabelMap:
    """What a patient's regions are picked from, on a RAS+ grid.

    Attributes
    ----------
    layers : label maps (nx, ny, nz) int32; 0 is none. More than one where segments overlap.
    affine : (4, 4), voxel index to position [m]; diagonal and positive.
    sha256 : hash of what it came from.
    segments : named label values.
    record : how it came about, for `regions.json`.
    wall : (nx, ny, nz) bool, where the model ends, or None: to be found from the cut regions.
    beyond : (nx, ny, nz) bool, voxels that the image does not reach, or None: it reaches all.
    sparse : the file leaves out what is empty: around the grid is background, as far as the scan
        reached.
    """

    layers: list
    affine: np.ndarray
    sha256: str
    segments: tuple[Segment, ...] = ()
    record: dict = field(default_factory=dict)
    wall: np.ndarray | None = None
    beyond: np.ndarray | None = None
    sparse: bool = False


def read_label_map(path, nifti_transform: str = "auto", key="anatomy.labels") -> LabelMap:
    """Read a label map of any format, axis order, voxel type or orientation.

    The array is permuted and flipped to RAS+; a grid that is oblique to the patient's axes is
    resampled, nearest neighbour, onto an aligned one.

    Raises
    ------
    InputError : see `formats.label_folder`; a label loses or gains too much volume by resampling.
    """
    image = open_labels(path, key, nifti_transform)
    stored = image.labels()
    layers, affine = aligned(image, stored, order=0)
    record, beyond = {"format": image.format, "resampled": not is_aligned(image),
                      **image.record}, None
    if record["resampled"]:
        (reached,), _ = aligned(image, [np.ones(image.shape, np.uint8)], order=0)
        beyond = reached == 0
        record["largest_volume_change"] = check_volumes(image, stored, layers, affine)
        log.info("%s is oblique: resampled onto an aligned grid %s, volumes of labels change by "
                 "up to %.2f %%", image.file.name, layers[0].shape,
                 100 * record["largest_volume_change"])
    return LabelMap(layers, affine, source_sha256(path), image.segments, record, beyond=beyond,
                    sparse=image.sparse)


def grown_over(base: LabelMap, image: Image) -> LabelMap:
    """A sparse map on as much of its own grid as the image reaches; what it left out is 0."""
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in image.shape])))
    positions = corners @ image.affine[:3, :3].T + image.affine[:3, 3]
    index = (positions - base.affine[:3, 3]) / np.diag(base.affine)[:3]
    shape = np.array(base.layers[0].shape)
    before = np.maximum(np.rint(-index.min(axis=0)), 0).astype(int)
    behind = np.maximum(np.rint(index.max(axis=0) + 1 - shape), 0).astype(int)
    if np.prod((shape + before + behind).astype(float)) > MOST_VOXELS:
        raise InputError(f"together with {base.record['format']} labels takes a grid of "
                         f"{tuple((shape + before + behind).tolist())} voxels", file=image.file,
                         key=image.key, allowed=f"at most {MOST_VOXELS} voxels")
    affine = base.affine.copy()
    affine[:3, 3] -= np.diag(affine)[:3] * before
    around = np.column_stack([before, behind])
    return replace(base, layers=[np.pad(layer, around) for layer in base.layers], affine=affine)


def is_aligned(image: Image) -> bool:
    """Whether the voxels' axes are the patient's, in whatever order and direction."""
    columns = np.sort(np.abs(image.affine[:3, :3]), axis=0)
    return bool((columns[:2] <= OBLIQUE * image.spacing.min()).all())


def aligned(image: Image, arrays, order: int):
    """Arrays on the image's grid brought onto a RAS+ one; see `read_label_map`.

    Parameters
    ----------
    order : of the interpolation on an oblique grid; 0 keeps labels, 1 is linear and leaves NaN
        beside the image.

    Returns
    -------
    arrays : in RAS+ order.  affine : (4, 4), diagonal and positive [m].
    """
    orientation = nib.io_orientation(image.affine)
    affine = image.affine @ nib.orientations.inv_ornt_aff(orientation, image.shape)
    arrays = [nib.apply_orientation(array, orientation) for array in arrays]
    if is_aligned(image):
        affine[:3, :3] = np.diag(np.diag(affine)[:3])
        return [np.ascontiguousarray(array) for array in arrays], affine
    shape, grid = _aligned_grid(arrays[0].shape, affine)
    if np.prod(shape, dtype=float) > MOST_VOXELS:
        raise InputError(f"an aligned grid takes {shape} voxels", file=image.file, key=image.key,
                         allowed=f"at most {MOST_VOXELS} voxels: crop or coarsen it")
    back = np.linalg.inv(affine) @ grid
    return [onto(array, back, shape, order) for array in arrays], grid


def onto(array, back, shape, order):
    """The array at the voxels of another grid; `back` maps their indices to the array's."""
    if order == 0:  # up to half a voxel beside the outermost centres, these are the nearest
        return ndimage.affine_transform(array, back[:3, :3], back[:3, 3], order=0, cval=0,
                                        output_shape=tuple(shape), mode="grid-constant")
    return ndimage.affine_transform(array.astype(np.float32), back[:3, :3], back[:3, 3], order=1,
                                    output_shape=tuple(shape), mode="constant", cval=np.nan)


def _aligned_grid(shape, affine):
    """Smallest aligned grid around an oblique one.

    A step along an aligned axis moves no index of the oblique grid by more than one, so that no
    voxel is stepped over; and it is never longer than the voxels' own edge. Nearest neighbours are
    on average not displaced: where slices are shifted by simple fractions of a voxel they could
    all be to one side.
    """
    edge = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = np.minimum(edge, 1 / np.abs(np.linalg.inv(affine[:3, :3])).max(axis=0))
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape]), -1).reshape(-1, 3)
    positions = corners @ affine[:3, :3].T + affine[:3, 3]
    low, high = positions.min(axis=0), positions.max(axis=0)
    grid = np.diag([*spacing, 1.0])
    grid[:3, 3] = low
    size = tuple(np.ceil((high - low) / spacing).astype(int) + 1)
    back = np.linalg.inv(affine) @ grid
    index = np.random.default_rng(0).integers(0, size, (SAMPLES, 3)) @ back[:3, :3].T + back[:3, 3]
    grid[:3, 3] += affine[:3, :3] @ [_balanced(of_axis) for of_axis in index.T]
    return size, grid


def _balanced(index) -> float:
    """Shift of a grid, in voxels, that leaves its nearest neighbours undisplaced on average.

    Of sixteenths the one with the smallest mean displacement and the fewest centres halfway
    between two voxels, which rounding would send to one side.
    """
    costs = []
    for shift in SHIFTS:
        beside = (index + shift + 0.5) % 1 - 0.5
        halfway = np.abs(beside) > 0.5 - HALFWAY
        costs.append(abs(beside[~halfway].sum()) / len(index) + halfway.mean() + abs(shift) / 100)
    return SHIFTS[int(np.argmin(costs))]


def check_volumes(image, stored, layers, affine) -> float:
    """Largest relative change of a larger label's volume by resampling.

    Raises
    ------
    InputError : it is too large.
    """
    ratio = np.linalg.det(affine[:3, :3]) / abs(np.linalg.det(image.affine[:3, :3]))
    worst = 0.0
    for before, after in zip(stored, layers, strict=True):
        for label, voxels in zip(*np.unique(before[before != 0], return_counts=True), strict=True):
            now = np.count_nonzero(after == label)
            change = abs(now * ratio / voxels - 1)
            if now == 0 or (voxels >= FEW_VOXELS and change > VOLUME_CHANGE):
                raise InputError(f"the grid is oblique, and resampling it changes label {label} of "
                                 f"{voxels} voxels by {100 * change:.1f} %", file=image.file,
                                 key=image.key, allowed="a map on a grid along the patient's axes, "
                                                        "or one of smaller voxels")
            if voxels >= FEW_VOXELS:
                worst = max(worst, change)
    return float(worst)
