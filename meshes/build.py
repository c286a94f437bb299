"""Tetrahedral mesh of the body with a chosen number of cells."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.numerics.tetrahedra import cell_quality, smallest_dihedral
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.mesh_groups import CUT, SKIN, volume_group

from .cell_regions import tag_cells
from .compartments import LEAST_VOXELS, REST, TARGET, Compartments
from .distances import surface_distances
from .facets import boundary_facets, interface_facets, unknowns_p2
from .lost_parts import lost_parts
from .msh import write_msh
from .organs import follow_organs
from .search import adjusted_mesh, goals_of
from .settings import MeshSettings
from .sizes import SizeField

COARSEST = 0.5  # largest cell size over the target's radius
FINEST = 0.15  # smallest cell size over the voxel size: the masks are smoothed
MOST_CELLS = 1_000_000
WATER, AIR = "water", "air"
NEAR_TARGET = 0.04  # distance from the target up to which skin counts as near it [m]
MOST_BESIDE = 0.5  # largest mean distance of a surface from the voxels' [voxels]


def mesh_anatomy(anatomy: Anatomy, plan, settings: MeshSettings, msh_path) -> dict:
    """Mesh that conforms to body, target and organs with a boundary, written as MSH 4.1.

    The surfaces are iso-surfaces of the smoothed voxel masks; flat facets follow them as closely as
    they can (`fit`). The size field is adjusted until the number of cells is the wanted one.

    Parameters
    ----------
    anatomy : segmented body.
    plan : `Plan`; cells are as fine at its foci as in the target. None: in the target alone.
    settings : number of cells, and the organs that the mesh conforms to.
    msh_path : file to write. Volume groups carry region names (see `tag_cells` and
        `records.mesh_groups`). Facet groups: ``skin`` (next to water or air) and ``cut`` (where
        the model ends inside the body).

    Returns
    -------
    dict : `n_cells`, `n_vertices`, `n_unknowns_p2`, `n_unknowns_p2_off_skin`, `min_quality` and
        `quality_p01` (radius ratio: 1 regular, 0 flat), `min_dihedral_deg` and
        `dihedral_p01_deg` (smallest angle of each cell), `regions` (see `tag_cells`), `surfaces`
        (body, target, organs -> `volume_m3`, `label_volume_m3`, `volume_error`),
        `surface_area_m2` (of skin in water and in air, and cut), `distance` (see `Distances`: of
        body, body near the target, target), `lost_volume_m3` (see `lost_parts`), `islands`
        (pieces without a surface of their own), `averaged` (organs without one, see
        `follow_organs`), `method` (`route`, `fallback_reason`, `attempts`
        of all routes; a failed attempt has a `failure`).

    Raises
    ------
    InputError : the target is too small, or no mesh with so many cells is acceptable.
    """
    compartments, sizes, averaged = check_cells(anatomy, plan, settings)
    mesh, method = adjusted_mesh(compartments, sizes, settings)
    facets = boundary_facets(mesh.cells)
    lost, lost_volume = lost_parts(mesh.points, mesh.cells, anatomy)
    free = _nearest(mesh.points[facets].mean(axis=1), anatomy, lost)
    facet_group = np.where(free == CUT, CUT, SKIN)
    area = _areas(mesh.points[facets], free)
    log.info("surface: %.1f cm2 of skin in water, %.1f in air; %.1f cm2 where the body is cut",
             *(1e4 * area[name] for name in (WATER, AIR, CUT)))
    cell_group, regions = tag_cells(mesh.points, mesh.cells, mesh.group, anatomy, compartments)
    surfaces = _surfaces(mesh, compartments, goals_of(settings.cells).volumes[3])
    groups = np.array([volume_group(name) for name in cell_group.tolist()])
    write_msh(msh_path, mesh.points, mesh.cells, groups, facets, facet_group)
    quality = cell_quality(mesh.points, mesh.cells)
    angle = smallest_dihedral(mesh.points, mesh.cells)
    unknowns = unknowns_p2(mesh.cells)
    return {
        "n_cells": len(mesh.cells),
        "n_vertices": len(mesh.points),
        "n_unknowns_p2": unknowns,
        "n_unknowns_p2_off_skin": unknowns - unknowns_p2(facets[facet_group == SKIN]),
        "min_quality": float(quality.min()),
        "quality_p01": float(np.percentile(quality, 1)),
        "min_dihedral_deg": float(angle.min()),
        "dihedral_p01_deg": float(np.percentile(angle, 1)),
        "regions": regions,
        "surfaces": surfaces,
        "surface_area_m2": area,
        "distance": _distances(mesh, facets, compartments, anatomy, settings),
        "lost_volume_m3": lost_volume,
        "islands": compartments.dropped,
        "averaged": averaged,
        "method": method,
    }


def check_cells(anatomy: Anatomy, plan, settings: MeshSettings):
    """Compartments and cell sizes of a mesh, checked before anything is meshed.

    Parameters : see `mesh_anatomy`.

    Returns
    -------
    compartments : `Compartments`, without the organs that so many cells cannot resolve.
    sizes : `SizeField`.
    averaged : list of those organs, see `follow_organs`.

    Raises
    ------
    InputError : the target is too small, or there are too few cells for its surface, or too many
        for the label map or to compute with.
    """
    voxels = int(anatomy.target_mask.sum())
    if voxels < LEAST_VOXELS:
        raise InputError(f"the target is too small: {voxels} voxels",
                         file=settings.written.file, key="target", value=", ".join(anatomy.target),
                         allowed=f"at least {LEAST_VOXELS} voxels: a finer map, a larger target, "
                                 "or target.margin_mm")
    sizes = SizeField(anatomy, np.empty((0, 3)) if plan is None else plan.foci)
    least = int(np.ceil(sizes.cells(COARSEST * sizes.radius)))
    most = int(min(sizes.cells(FINEST * anatomy.spacing.min()), MOST_CELLS))
    if not least <= settings.cells <= most:
        problem = ("so few cells cannot hold the target's surface" if settings.cells < least
                   else "so many cells are too fine for this map, or too many to compute with")
        raise settings.written.error(problem, "cells",
                                     allowed=f"a whole number from {least} to {most}")
    compartments = Compartments.of(anatomy, settings)
    return compartments, sizes, follow_organs(compartments, sizes, settings.cells)


def _nearest(positions, anatomy, lost):
    """(n,) the nearest thing to each point of the surface: `WATER`, `AIR` or `CUT`.

    `CUT` stands for all that the model leaves out, parts of the body included.
    """
    spacing, pad = anatomy.spacing, 2
    masks = {WATER: np.pad(anatomy.coupling, pad), AIR: np.pad(anatomy.air, pad)}
    masks[CUT] = ~(masks[WATER] | masks[AIR] | np.pad(anatomy.body_mask & ~lost, pad))
    index, distance = anatomy.index(positions).T + pad, []
    for name in (CUT, WATER, AIR):  # the first one wins where two are equally near
        away = ndimage.distance_transform_edt(~masks[name], sampling=spacing) \
            if masks[name].any() else np.full(masks[name].shape, np.inf)
        distance.append(ndimage.map_coordinates(away, index, order=1, mode="nearest"))
    return np.array([CUT, WATER, AIR])[np.argmin(distance, axis=0)]


def _areas(corners, group) -> dict:
    """Area [m2] of the facets (n, 3, 3) of each group."""
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]),
                          axis=1) / 2
    return {name: float(area[group == name].sum()) for name in (WATER, AIR, CUT)}


def _distances(mesh, facets, compartments, anatomy, settings) -> dict:
    """Distances of the surfaces of body and target from the voxels', by `Distances`.

    The body's are taken once more near the target.

    Raises
    ------
    InputError : the mean distance of a surface exceeds `MOST_BESIDE` voxels.
    """
    target = anatomy.position(np.argwhere(anatomy.target_mask))
    between, sides = interface_facets(mesh.cells, mesh.group)
    inner = between[(sides == TARGET).any(axis=1)]
    tree = cKDTree(target)
    record = {}
    for name, surface, mask, counted in (
            ("body", facets, compartments.mask(REST), None),
            ("body_near_target", facets, compartments.mask(REST),
             lambda positions: tree.query(positions)[0] < NEAR_TARGET),
            ("target", inner, compartments.mask(TARGET), None)):
        distances = surface_distances(mesh.points, surface, mask, compartments.origin,
                                      compartments.spacing, counted)
        if distances is None:
            continue
        record[name] = {f"{key}_m": value for key, value in asdict(distances).items()}
        off = abs(distances.mean) / anatomy.spacing.max()
        if off > MOST_BESIDE:
            raise settings.written.error(
                f"the mesh's surface of {name.replace('_', ' ')} lies {off:.2f} voxels off the "
                "label map's on average", "cells", allowed="more cells; or a smoother label map")
    log.info("skin %.2f mm from the voxels' (rms), near the target %+.2f mm on average; "
             "target %.2f mm", 1e3 * record["body"]["rms_m"],
             1e3 * record.get("body_near_target", record["body"])["mean_m"],
             1e3 * record["target"]["rms_m"])
    return record


def _surfaces(mesh, compartments, tolerance):
    """Volumes enclosed by the mesh's surfaces and the voxels'; organs that are off are logged."""
    names, volumes = ["body", *compartments.names[2:]], {}
    for name, volume, voxels in zip(names, mesh.volumes(len(names)), compartments.volumes,
                                    strict=True):
        volumes[name] = {"volume_m3": float(volume), "label_volume_m3": float(voxels),
                         "volume_error": float(volume / voxels - 1)}
        if name not in ("body", "target") and abs(volume / voxels - 1) > tolerance:
            log.warning("organ %s is %+.0f %% off its volume in the mesh; use more cells, or take "
                        "it out of boundary_regions", name, 100 * (volume / voxels - 1))
    return volumes
