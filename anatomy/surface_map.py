"""Closed surfaces, one for each region, as a label map."""

from __future__ import annotations

import numpy as np

from hifuflow.errors import InputError
from hifuflow.formats.filled import filled_surface
from hifuflow.formats.image import Segment
from hifuflow.formats.images import MOST_VOXELS
from hifuflow.formats.layers import Piece, packed
from hifuflow.formats.side_files import source_sha256
from hifuflow.formats.surface_file import Surface, read_surfaces, surface_files
from hifuflow.job import log
from hifuflow.provenance import config_hash

from .labelmap import LabelMap
from .source_settings import SurfaceSettings

KEY = "anatomy.surfaces"
PAD = 4  # voxels of outside around the surfaces
LARGEST = 3.0  # of a body [m]
SIGNS = {"RAS": np.array([1.0, 1, 1]), "LPS": np.array([-1.0, -1, 1])}
CROSSING = 0.02  # part of a shell's voxels that may lie on the other side of another shell
FOLDED, MANY = 0.05, 1000  # a shell of so many voxels may differ so much from its own volume


def read_surface_map(settings: SurfaceSettings) -> LabelMap:
    """Label map of closed surfaces, at voxels of the size asked for.

    A region's label is its file's place among their names, from 1, its name the file's. A shell
    within another of the same file is a cavity. Regions that overlap others stand in further
    layers: of the regions of the patient file the one written first holds the voxel.

    Raises
    ------
    InputError : a surface that cannot be read, is not closed or crosses itself; an impossible
        size; a region that holds no voxel's centre.
    """
    surfaces = read_surfaces(surface_files(settings.path, KEY), KEY)
    signs = SIGNS[_axes(surfaces, settings)] * settings.unit
    placed = [surface.points * signs for surface in surfaces]
    used = np.concatenate([points[surface.triangles].reshape(-1, 3)
                           for points, surface in zip(placed, surfaces, strict=True)])
    low, high = used.min(axis=0), used.max(axis=0)
    _check_extent(high - low, settings)
    spacing = settings.voxel_size
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing - 1e-6) + 2 * PAD)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low + (0.5 - PAD) * spacing
    pieces, volumes = [], {}
    for number, (surface, points) in enumerate(zip(surfaces, placed, strict=True), 1):
        piece = _inside(surface, (points - affine[:3, 3]) / spacing, number, settings)
        pieces.append(piece)
        volumes[surface.name] = float(piece.mask.sum() * spacing**3)
        log.info("region %s: %d voxels inside its surface", surface.name, piece.mask.sum())
    source = config_hash([source_sha256(settings.path),
                          settings.written.values | {"path": ""}])
    return LabelMap([layer.astype(np.int32) for layer in packed(pieces, shape)], affine, source,
                    tuple(Segment(number, one.name) for number, one in enumerate(surfaces, 1)),
                    {"format": "surfaces", "volume_m3": volumes})


def _axes(surfaces: list[Surface], settings: SurfaceSettings) -> str:
    """In which axes the coordinates are: as the files or the patient file tell."""
    told = {surface.axes: surface.file.name for surface in surfaces if surface.axes}
    given = settings.axes
    if len(told) > 1 or (given and told and given not in told):
        raise settings.written.error(
            "headers of the surfaces tell of other axes: " + ", ".join(
                f"{name} is in {axes}" for axes, name in told.items()), "axes",
            allowed="surfaces in the axes that their headers tell")
    axes = given or next(iter(told), "RAS")
    if not given and not told:
        log.warning("%s: nothing tells whether its coordinates are R, A, S or L, P, S: taken as "
                    "R, A, S (anatomy.surfaces.axes)", settings.path)
    return axes


def _check_extent(extent, settings: SurfaceSettings) -> None:
    """A body part in voxels that fit into memory; see `anatomy.body_size`."""
    if extent.max() > LARGEST or extent.min() <= 0:
        size = " x ".join(f"{edge * 1e3:.4g}" for edge in extent)
        raise settings.written.error(
            f"the surfaces measure {size} mm", "unit", allowed="the unit, m, cm or mm, in which "
            f"they measure at most {LARGEST * 1e3:g} mm")
    voxels = np.prod(extent / settings.voxel_size + 2 * PAD)
    if voxels > MOST_VOXELS:
        raise settings.written.error(f"{voxels:.3g} voxels", "voxel_size_mm",
                                     allowed=f"at most {MOST_VOXELS} voxels")


def _inside(surface: Surface, points, number, settings: SurfaceSettings) -> Piece:
    """The voxels of a region, `points` in voxels: its shells from the largest to the smallest."""
    fault = {"file": surface.file, "key": KEY}
    low = np.floor(points[surface.triangles].min(axis=(0, 1))).astype(int)
    high = np.ceil(points[surface.triangles].max(axis=(0, 1))).astype(int)
    inside = np.zeros(high - low + 1, bool)
    corners = points[surface.triangles] - low
    volume = np.linalg.det(corners) / 6
    size = np.abs(np.bincount(surface.shell, volume))
    for shell in np.argsort(-size, kind="stable"):
        own = surface.triangles[surface.shell == shell]
        start = np.floor((points[own] - low).min(axis=(0, 1))).astype(int)
        end = np.ceil((points[own] - low).max(axis=(0, 1))).astype(int) + 1
        box = tuple(map(slice, start, end))
        mask = filled_surface(points - low - start, own, tuple(end - start))
        held = int(mask.sum())
        other = int(inside[box][mask].sum())
        if min(other, held - other) > CROSSING * held:
            raise InputError("two of its shells cross each other", **fault,
                             allowed="shells apart from each other or one inside another")
        if held > MANY and abs(held - size[shell]) > FOLDED * held:
            raise InputError(f"crosses itself: {held} voxels lie inside, but its triangles enclose "
                             f"{size[shell]:.0f}", **fault,
                             allowed="a surface that has an inside and an outside")
        inside[box] ^= mask
    piece = Piece.of(number, inside)
    if piece is None:
        raise settings.written.error(f"region {surface.name} of {size.sum():.3g} voxels holds no "
                                     "voxel's centre", "voxel_size_mm", allowed="smaller voxels")
    return Piece(number, tuple(slice(one.start + first, one.stop + first)
                               for one, first in zip(piece.box, low.tolist(), strict=True)),
                 piece.mask)
