"""The beam's own voxel grid: where it lies and what the sound finds in each cell."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from math import tan

import numpy as np
from scipy import fft

from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.plan import Plan

from .angular_spectrum import EDGE
from .fading import STEPS_PER_VOXEL, continued, fading_depth, power_left
from .frame import beam_frame
from .medium import Medium
from .settings import AcousticTissue, HeatingSettings
from .transducer import Transducer

MARGIN = 17  # wavelengths beside the geometric cone in which the scattered beam is followed
FINEST, COARSEST = 0.1, 0.6  # spacing, in wavelengths in water
AUTOMATIC = 0.5
FADED = 0.01  # part of the power that is not followed any further
WEAK = 0.1  # part of the power for which the grid no longer widens: what spreads leaves sideways
CELL_LIMIT = 60_000_000
MARGINS = (0.03, 0.02, 0.01, 0.005)  # of the crop, that are tried as a remedy [m]
SUBSAMPLES = 2  # label map read at this many points per cell edge, and averaged


@dataclass(frozen=True)
class BeamGrid:
    """Grid aligned with the beam, in the transducer's frame (z = distance from the apex).

    x, y : cell centres across the beam [m].  z : cell centres along the beam [m].
    rotation, apex : transducer's frame to the patient's, r = rotation @ (x, y, z) + apex.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    spacing: float
    rotation: np.ndarray
    apex: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(nz, nx, ny), the order in which the beam is computed."""
        return len(self.z), len(self.x), len(self.y)

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) index (ix, iy, iz) to patient position [m]."""
        affine = np.eye(4)
        affine[:3, :3] = self.rotation * self.spacing
        affine[:3, 3] = self.rotation @ [self.x[0], self.y[0], self.z[0]] + self.apex
        return affine

    def to_beam(self, position) -> np.ndarray:
        """Patient positions (..., 3) in the transducer's frame [m]."""
        return (np.asarray(position) - self.apex) @ self.rotation

    def index(self, position) -> np.ndarray:
        """Fractional (plane, x, y) index of positions (..., 3) in the transducer's frame."""
        return (np.asarray(position)[..., [2, 0, 1]]
                - [self.z[0], self.x[0], self.y[0]]) / self.spacing


def check_grid(anatomy: Anatomy, plan: Plan, settings: HeatingSettings) -> BeamGrid:
    """The beam's grid, once its spacing suits the wave and its size is one to compute with.

    A spacing that is left to the default is as much coarser as the number of cells needs.

    Raises
    ------
    InputError : a spacing that does not suit the wavelength or needs too many cells.
    """
    device = Transducer.of(settings.transducer)
    wavelength = settings.water.speed / device.frequency
    spacing = _spacing(settings, wavelength)
    extent = _extent(anatomy, plan, device, settings.tissues)
    grid = _lay(plan, extent, spacing)
    if _cells(grid) <= CELL_LIMIT:
        return grid
    wider = _coarser(plan, extent, spacing, COARSEST * wavelength)
    if wider is not None and settings.spacing is None:
        log.warning("the beam's grid is laid with cells of %.3g mm instead of %.3g: it would have "
                    "more than %d million", wider.spacing * 1e3, spacing * 1e3, CELL_LIMIT / 1e6)
        return wider
    nz, nx, ny = grid.shape
    remedies = [] if wider is None else [f"a spacing of at least {_upwards(wider.spacing)} mm"]
    margin = _smaller_margin(anatomy, plan, extent, spacing)
    if margin is not None:
        remedies.append(f"anatomy.crop_margin_mm: {margin * 1e3:g}")
    remedies.append("a transducer of a lower frequency or a narrower beam, or fewer foci at a time "
                    "(a smaller target)")
    raise settings.written.error(
        f"the beam's grid would have {nx} x {ny} x {nz} cells of {spacing * 1e3:.3g} mm",
        "spacing_mm", allowed=f"at most {CELL_LIMIT} cells: {', or '.join(remedies)}")


def _spacing(settings: HeatingSettings, wavelength: float) -> float:
    """The grid's spacing [m], which must suit the wavelength [m]."""
    spacing = settings.spacing
    if spacing is None:
        return AUTOMATIC * wavelength
    low, high = FINEST * wavelength, COARSEST * wavelength
    if not low <= spacing <= high:
        raise settings.written.error(
            "does not resolve the wave" if spacing > high else "is needlessly fine", "spacing_mm",
            allowed=f"{low * 1e3:.3g} to {high * 1e3:.3g}, {FINEST} to {COARSEST} wavelengths in "
                    "water")
    return spacing


@dataclass(frozen=True)
class _Extent:
    """Where the beam is followed, transducer's frame [m].

    start, end : first and last depth.  weak : depth from which the grid no longer widens.
    focus : nearest and deepest focus.  spread : of the foci across.  margin : beside the cones.
    slope : by which the cones widen with depth.
    """

    start: float
    end: float
    weak: float
    focus: tuple[float, float]
    spread: float
    margin: float
    slope: float

    def half_width(self, depth):
        """Across, from the axis to where the scattered beam ends, at depths [m]."""
        off_focus = np.maximum(depth - self.focus[0], self.focus[1] - depth)
        return off_focus * self.slope + self.spread + self.margin


def place_grid(anatomy: Anatomy, plan: Plan, transducer: Transducer, spacing: float,
               tissues: Mapping[str, AcousticTissue]) -> BeamGrid:
    """Lay a grid over the part of the body that the beams of all foci cross.

    The first plane lies in the water just before the body, but not nearer than the rim allows;
    the last plane behind the body, or where the tissue that the beams cross has taken 99 % of the
    power (see `power_left`). Across, the grid covers the geometric cones of all foci, down to
    where 10 % of the power is left, a margin for the scattered side of the beam and the absorbing
    edge.

    Parameters
    ----------
    spacing : edge length of the cells [m].
    tissues : by their names, all of the anatomy's and "water".
    """
    return _lay(plan, _extent(anatomy, plan, transducer, tissues), spacing)


def _extent(anatomy: Anatomy, plan: Plan, transducer: Transducer, tissues) -> _Extent:
    """How deep and wide the beams of all foci are followed."""
    rotation, apex = beam_frame(plan.axis), np.asarray(plan.apex, dtype=float)
    foci = (plan.foci - apex) @ rotation
    body = (anatomy.position(np.argwhere(anatomy.body_mask)) - apex) @ rotation
    extent = _Extent(0, 0, 0, (foci[:, 2].min(), foci[:, 2].max()), np.abs(foci[:, :2]).max(),
                     MARGIN * tissues["water"].speed / transducer.frequency,
                     tan(transducer.half_angle))
    crossed = body[np.abs(body[:, :2]).max(axis=1) <= extent.half_width(body[:, 2]), 2]
    reach = anatomy.spacing.max()
    moved = (plan.apex_shift @ rotation)[:, 2].max()
    start = max(crossed.min() - reach, transducer.first_depth + moved)
    depth = np.arange(crossed.min(), crossed.max() + reach,
                      anatomy.spacing.min() / STEPS_PER_VOXEL)
    left = power_left(anatomy, plan.foci, rotation, depth + apex @ rotation[:, 2], transducer,
                      tissues)
    faded, weak = (fading_depth(left, depth, part) for part in (FADED, WEAK))
    return replace(extent, start=start, weak=weak,
                   end=min(crossed.max() + reach, max(foci[:, 2].max(), faded)))


def _lay(plan: Plan, extent: _Extent, spacing: float) -> BeamGrid:
    """A grid of cells of that edge length [m] over the beam."""
    n_planes = int(np.ceil((extent.end - extent.start) / spacing)) + 1
    z = extent.start + spacing * np.arange(n_planes)
    ends = np.array([z[0], min(z[-1], extent.weak)])
    width = extent.half_width(ends).max() / (1 - 2 * EDGE)
    count = fft.next_fast_len(2 * int(np.ceil(width / spacing)) + 1)
    across = spacing * (np.arange(count) - count // 2)
    return BeamGrid(across, across, z, spacing, beam_frame(plan.axis),
                    np.asarray(plan.apex, dtype=float))


def _cells(grid: BeamGrid) -> int:
    return len(grid.x) * len(grid.y) * len(grid.z)


def _coarser(plan: Plan, extent: _Extent, spacing: float, coarsest: float) -> BeamGrid | None:
    """The finest grid, in steps of 1 %, that is small enough; None if none up to `coarsest` is."""
    while (spacing := spacing * 1.01) <= coarsest:
        grid = _lay(plan, extent, spacing)
        if _cells(grid) <= CELL_LIMIT:
            return grid
    return None


def _upwards(spacing: float) -> str:
    """A spacing [m] in mm with three digits, rounded up."""
    digits = 2 - int(np.floor(np.log10(spacing * 1e3)))
    return f"{np.ceil(spacing * 1e3 * 10**digits) / 10**digits:g}"


def _smaller_margin(anatomy: Anatomy, plan: Plan, extent: _Extent, spacing: float):
    """A crop margin [m] with which the body ends so soon that the grid is small enough, or None.

    The body ends a margin behind the target, but where a cut is straight behind it no sooner than
    that.
    """
    frame, apex = beam_frame(plan.axis), np.asarray(plan.apex, dtype=float)
    target = (anatomy.position(np.argwhere(anatomy.target_mask)) - apex) @ frame
    cut = ~anatomy.body_mask & ~anatomy.coupling & ~anatomy.air
    walls = (anatomy.position(np.argwhere(cut)) - apex) @ frame
    behind = target[:, 2].max() + 2 * anatomy.spacing.max()
    straight = ((walls[:, :2] >= target[:, :2].min(axis=0))
                & (walls[:, :2] <= target[:, :2].max(axis=0))).all(axis=1)
    if (walls[straight, 2] > target[:, 2].max()).any():
        return None
    for margin in MARGINS:
        if behind + margin < extent.end and _cells(
                _lay(plan, replace(extent, end=behind + margin), spacing)) <= CELL_LIMIT:
            return margin
    return None


def sample_medium(anatomy: Anatomy, grid: BeamGrid, tissues: Mapping[str, AcousticTissue],
                  frequency: float, threads: int = 1) -> Medium:
    """Properties of the cells, averaged over the regions that each cell holds.

    The impedance is that of the cell's centre: an interface reflects in one step.
    Coupling voxels are water. Voxels behind a cut, and positions beside the label map, continue
    the nearest body or water voxel, but nothing outside the body counts as absorbing.
    """
    tissue = 2 * continued(anatomy).astype(np.int32) + anatomy.body_mask  # odd: in the body
    table = {name: np.repeat(values, 2)
             for name, values in _property_tables(anatomy, tissues, frequency).items()}
    table["absorption"][::2] = 0
    columns = np.stack(list(table.values()), axis=1)  # one look-up for all properties
    offsets = (np.arange(SUBSAMPLES) + 0.5) / SUBSAMPLES - 0.5
    medium = Medium(**{name: np.empty(grid.shape, dtype=np.float32) for name in table})

    def sample(plane):
        layer = replace(grid, z=grid.z[plane:plane + 1])
        total = sum(columns.take(_in_cells(tissue, anatomy, layer, offset)[0], axis=0)
                    for offset in product(offsets * grid.spacing, repeat=3))
        for name, values in zip(table, np.moveaxis(total / SUBSAMPLES**3, -1, 0), strict=True):
            getattr(medium, name)[plane] = values
        centre = _in_cells(tissue, anatomy, layer, np.zeros(3))[0]
        medium.impedance[plane] = table["impedance"].take(centre)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(sample, range(len(grid.z))))
    return medium


def _in_cells(tissue: np.ndarray, anatomy: Anatomy, grid: BeamGrid, offset) -> np.ndarray:
    """(nz, nx, ny) `tissue` of the nearest voxel to each cell's centre plus an offset [m].

    Beside the label map that of its nearest voxel, made even: not in the body.
    """
    flat, inside = np.zeros((1, 1, 1), dtype=np.int32), np.ones((1, 1, 1), dtype=bool)
    z, x, y = np.ix_(grid.z + offset[2], grid.x + offset[0], grid.y + offset[1])
    for axis, count in enumerate(tissue.shape):
        row = grid.rotation[axis] / anatomy.spacing[axis]
        index = (grid.apex[axis] - anatomy.affine[axis, 3]) / anatomy.spacing[axis]
        for part, along in zip(row, (x, y, z), strict=True):
            if part:  # a beam along an axis of the patient: the index depends on one of the three
                index = index + part * along
        index = np.rint(index)
        inside = inside & (index >= 0) & (index < count)
        flat = flat * count + np.clip(index, 0, count - 1).astype(np.int32)
    return tissue.ravel().take(flat) & np.where(inside, -1, -2).astype(np.int32)


def _property_tables(anatomy: Anatomy, tissues, frequency: float) -> dict:
    """Per property of `Medium` a look-up table from label to value; label 0 is water."""
    properties = {"wavenumber": lambda tissue: 2 * np.pi * frequency / tissue.speed,
                  "impedance": lambda tissue: tissue.density * tissue.speed,
                  "attenuation": lambda tissue: tissue.attenuation_at(frequency),
                  "absorption": lambda tissue: tissue.absorption_at(frequency)}
    return {name: anatomy.table({key: value(tissue) for key, tissue in tissues.items()},
                                value(tissues["water"])).astype(np.float32)
            for name, value in properties.items()}
