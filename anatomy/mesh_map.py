"""A ready mesh as a label map: the region of each voxel is that of the cell around its centre."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from hifuflow.errors import InputError
from hifuflow.formats.image import HIGHEST, LOWEST, Segment
from hifuflow.formats.images import MOST_VOXELS
from hifuflow.formats.mesh_file import MeshFile, read_mesh_file
from hifuflow.formats.side_files import source_sha256
from hifuflow.job import log
from hifuflow.numerics.tetrahedra import signed_volumes
from hifuflow.provenance import config_hash

from .labelmap import LabelMap
from .source_settings import MeshMapSettings

KEY = "anatomy.mesh"
PAD = 4  # voxels of outside around the mesh
AT_ONCE = 2_000_000  # pairs of cell and voxel that are tested together
ON_FACE = 1e-9  # how far outside, in barycentric coordinates, a point still counts as inside
LARGEST = 3.0  # of a body [m]
CUT = "cut"  # facets where the mesh ends inside the body


def read_mesh_map(settings: MeshMapSettings) -> LabelMap:
    """Label map of a mesh, at voxels of the size asked for.

    Facets of a group named ``cut`` mark where the mesh ends inside the body: no water there. All
    other boundary facets are skin.

    Raises
    ------
    InputError : a mesh that cannot be read, of an impossible size, or with a region that holds no
        voxel's centre.
    """
    path, spacing = settings.path, settings.voxel_size
    mesh = read_mesh_file(path, settings.tags, KEY)
    points = mesh.points * (settings.unit * np.array(settings.signs))
    _check_extent(points[mesh.cells], settings)
    low = min(layer.min() for layer in mesh.layers)
    high = max(layer.max() for layer in mesh.layers)
    if low < LOWEST or high > HIGHEST or (mesh.tags == 0).any():
        raise InputError(f"region tags from {low} to {high}", file=path, key=KEY,
                         allowed=f"from {LOWEST} to {HIGHEST} and not 0, which is the outside of "
                                 "the body")
    owner, affine = voxel_cells(points, mesh.cells, spacing)
    layers = [np.where(owner < 0, 0, layer[owner]).astype(np.int32) for layer in mesh.layers]
    volumes = _compare(layers, settings, points, mesh)
    wall = _beside_cut(owner >= 0, affine, points, mesh)
    names = tuple(Segment(int(tag), mesh.names[tag], index)
                  for index, layer in enumerate(mesh.layers)
                  for tag in np.unique(layer).tolist() if tag in mesh.names)
    source = config_hash([source_sha256(path), settings.written.values | {"file": ""}])
    return LabelMap(layers, affine, source, names,
                    {"format": "mesh", "n_cells": mesh.n_cells, "mesh_volume_m3": volumes,
                     **mesh.record}, wall)


def voxel_cells(points, cells, spacing: float):
    """Index of the cell that holds each voxel's centre; of several at a face, the lowest.

    For every cell, the centres in its bounding box are tested by their barycentric coordinates;
    cells whose boxes hold equally many are tested together.

    Parameters
    ----------
    points : (n, 3) [m].  cells : (m, 4).  spacing : edge of the voxels [m].

    Returns
    -------
    owner : (nx, ny, nz) int64, -1 outside of the mesh, with `PAD` voxels of outside around it.
    affine : (4, 4), voxel index to position [m].
    """
    low, high = points[cells].min(axis=(0, 1)), points[cells].max(axis=(0, 1))
    shape = np.ceil((high - low) / spacing - 1e-6).astype(int) + 2 * PAD
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low + (0.5 - PAD) * spacing
    corners = (points[cells] - affine[:3, 3]) / spacing  # in voxels
    edges = corners[:, 1:] - corners[:, :1]
    solid = np.abs(np.linalg.det(edges)) > 1e-12
    if not solid.all():
        log.info("%d cells without volume are left out", (~solid).sum())
    first = np.ceil(corners.min(axis=1) - ON_FACE).astype(int)
    size = np.floor(corners.max(axis=1) + ON_FACE).astype(int) - first + 1
    used = np.flatnonzero(solid & (size > 0).all(axis=1))
    owner = np.full(np.prod(shape), len(cells))
    sizes, group = np.unique(size[used], axis=0, return_inverse=True)
    for number, box in enumerate(sizes):
        offsets = np.stack(np.meshgrid(*map(np.arange, box), indexing="ij"), -1).reshape(-1, 3)
        members = used[group.ravel() == number]
        for part in np.array_split(members, -(-len(members) * len(offsets) // AT_ONCE)):
            index = first[part, None] + offsets
            # point - corner = lambda @ edges, one row of lambda for each point
            weights = (index - corners[part, :1]) @ np.linalg.inv(edges[part])
            inside = (weights >= -ON_FACE).all(axis=2) & (weights.sum(axis=2) <= 1 + ON_FACE)
            flat = np.ravel_multi_index(tuple(index[inside].T), shape)
            np.minimum.at(owner, flat, np.broadcast_to(part[:, None], inside.shape)[inside])
    owner[owner == len(cells)] = -1
    return owner.reshape(shape), affine


def _check_extent(points, settings: MeshMapSettings):
    """A body part, not a planet, in voxels that fit into memory; see `anatomy.body_size`."""
    extent = np.ptp(points.reshape(-1, 3), axis=0)
    if extent.max() > LARGEST or extent.min() <= 0:
        size = " x ".join(f"{edge * 1e3:.4g}" for edge in extent)
        raise settings.written.error(
            f"the mesh measures {size} mm", "unit", allowed="the unit, m or mm, in which it "
            f"measures at most {LARGEST * 1e3:g} mm")
    voxels = np.prod(extent / settings.voxel_size)
    if voxels > MOST_VOXELS:
        raise settings.written.error(f"{voxels:.3g} voxels", "voxel_size_mm",
                                     allowed=f"at most {MOST_VOXELS} voxels")


def _compare(layers, settings: MeshMapSettings, points, mesh: MeshFile):
    """Volume of each region's cells [m3]; say how far the voxels are from it."""
    volume, volumes = np.abs(signed_volumes(points[mesh.cells])), {}
    for labels, tags in zip(layers, mesh.layers, strict=True):
        for tag in np.unique(tags[tags != 0]):
            name = mesh.names.get(int(tag), str(tag))
            volumes[name] = float(volume[tags == tag].sum())
            voxels = np.count_nonzero(labels == tag)
            if voxels == 0:
                raise settings.written.error(
                    f"region {name}, {(tags == tag).sum()} cells of {volumes[name] * 1e9:.3g} "
                    "mm3, holds no voxel's centre", "voxel_size_mm", allowed="smaller voxels")
            log.info("region %s: %d voxels, volume %+.2f %% of its cells'", name, voxels,
                     100 * (voxels * settings.voxel_size**3 / volumes[name] - 1))
    return volumes


def _beside_cut(body, affine, points, mesh):
    """Outside voxels next to the body whose nearest boundary facet is a cut, in any group."""
    if CUT not in mesh.facet_names:
        return None
    _, number = np.unique(np.sort(mesh.facets, axis=1), axis=0, return_inverse=True)
    is_cut = np.bincount(number.ravel(), mesh.facet_names == CUT)[number.ravel()] > 0
    spacing = affine[0, 0]
    corners = points[mesh.facets]
    fine = int(np.ceil(np.linalg.norm(np.ptp(corners, axis=1), axis=1).max() / spacing)) + 1
    i, j = np.mgrid[:fine + 1, :fine + 1]
    keep = i + j <= fine
    share = np.stack([i[keep], j[keep], fine - i[keep] - j[keep]], -1) / fine
    samples = np.einsum("sk,fkd->fsd", share, corners)
    near = ndimage.binary_dilation(body, np.ones((3, 3, 3))) & ~body
    index = np.argwhere(near)
    tree = cKDTree(samples.reshape(-1, 3))
    nearest = tree.query(index * spacing + affine[:3, 3])[1] // len(share)
    wall = np.zeros_like(body)
    wall[tuple(index[is_cut[nearest]].T)] = True
    return wall
