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

COARSEST = 0.5  # cells no larger than this share of the target's radius
FINEST = 0.15  # cells no smaller than this share of a voxel: the masks are smoothed
MOST_CELLS = 1_000_000
WATER, AIR = "water", "air"
NEAR_TARGET = 0.04  # distance of the skin that counts as near it [m]
MOST_BESIDE = 0.5  # voxels that a surface may lie beside the voxels' on the whole


def mesh_anatomy(anatomy: Anatomy, plan, settings: MeshSettings, msh_path) -> dict:
    """Mesh that conforms to body, target and organs with a boundary, written as MSH 4.1.

    The surfaces are iso-surfaces of the smoothed voxel masks, on which every facet lies as well as
    flat facets can (`fit`). The size field is adjusted until the count is the wanted one.

    Parameters
    ----------
    anatomy : segmented body.
    plan : `Plan`; cells are as fine at its foci as in the target (None: the target alone).
    settings : how many cells, and which organs the mesh conforms to.
    msh_path : where the mesh goes. Volume groups carry region names (see `tag_cells` and
        `records.mesh_groups`). Facet groups: ``skin`` (next to water or air) and ``cut`` (where
        the body goes on).

    Returns
    -------
    dict : `n_cells`, `n_vertices`, `n_unknowns_p2`, `n_unknowns_p2_off_skin`, `min_quality` and
        `quality_p01` (radius ratio: 1 regular, 0 flat), `min_dihedral_deg` and
        `dihedral_p01_deg` (smallest angle of each cell), `regions` (see `tag_cells`), `surfaces`
        (body, target, organs -> `volume_m3`, `label_volume_m3`, `volume_error`),
        `surface_area_m2` (of skin in water and in air, and cut), `distance` (see `Distances`: of
        body, body near the target, target), `lost_volume_m3` (see `lost_parts`), `islands`
        (pieces without a surface of their own), `averaged` (organs without, see
        `follow_organs`), `method` (`route`, `fallback_reason`, `attempts`
        of all routes; one that failed has a `failure`).

    Raises
    ------
    InputError : the target is too small, or no mesh of that count is acceptable.
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
    """What to conform to, and the cells' sizes, once such a mesh of this body is conceivable.

    Parameters : see `mesh_anatomy`.

    Returns
    -------
    compartments : `Compartments`, without the organs that so many cells cannot hold.
    sizes : `SizeField`.
    averaged : list of those organs, see `follow_organs`.

    Raises
    ------
    InputError : the target is too small, the count cannot hold its surface, or nobody can compute
        with it.
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
    """(n,) to what points of the surface are nearest: `WATER`, `AIR`, or `CUT`, which stands for
    all that the model leaves out, of the body as well."""
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
    """How far the surfaces of body and target lie from the voxels'; the body's near the target too.

    Raises
    ------
    InputError : a surface lies beside the voxels' on the whole.
    """
    target = anatomy.position(np.argwhere(anatomy.target_mask))
    between, sides = interface_facets(mesh.cells, mesh.group)
    inner = between[(sides == TARGET).any(axis=1)]
    tree = cKDTree(target)
    found = {}
    for name, surface, mask, counted in (
            ("body", facets, compartments.mask(REST), None),
            ("body_near_target", facets, compartments.mask(REST),
             lambda positions: tree.query(positions)[0] < NEAR_TARGET),
            ("target", inner, compartments.mask(TARGET), None)):
        distances = surface_distances(mesh.points, surface, mask, compartments.origin,
                                      compartments.spacing, counted)
        if distances is None:
            continue
        found[name] = {f"{key}_m": value for key, value in asdict(distances).items()}
        off = abs(distances.mean) / anatomy.spacing.max()
        if off > MOST_BESIDE:
            raise settings.written.error(
                f"the mesh's surface of {name.replace('_', ' ')} lies {off:.2f} voxels beside the "
                "label map's on the whole", "cells", allowed="more cells; or a smoother label map")
    log.info("skin %.2f mm from the voxels' (rms), near the target %+.2f mm on the whole; "
             "target %.2f mm", 1e3 * found["body"]["rms_m"],
             1e3 * found.get("body_near_target", found["body"])["mean_m"],
             1e3 * found["target"]["rms_m"])
    return found


def _surfaces(mesh, compartments, tolerance):
    """Volumes that the mesh's surfaces enclose, against the voxels'; say which organs are off."""
    names, record = ["body", *compartments.names[2:]], {}
    for name, volume, voxels in zip(names, mesh.volumes(len(names)), compartments.volumes,
                                    strict=True):
        record[name] = {"volume_m3": float(volume), "label_volume_m3": float(voxels),
                        "volume_error": float(volume / voxels - 1)}
        if name not in ("body", "target") and abs(volume / voxels - 1) > tolerance:
            log.warning("organ %s is %+.0f %% off its volume in the mesh; more cells, or none of "
                        "its own boundary, serve it better", name, 100 * (volume / voxels - 1))
    return record
