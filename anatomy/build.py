"""From a patient's images, mesh or the built-in phantom to the body that will be treated."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.formats.dicom_source import check_holds, open_source
from hifuflow.job import log
from hifuflow.numerics.sphere import RAYS, cone, fibonacci_sphere
from hifuflow.provenance import config_hash
from hifuflow.records.anatomy import Anatomy

from .beam_window import (
    apart,
    beam_record,
    best_axis,
    check_open,
    look_around,
    ranked_axes,
)
from .body_size import check_extent
from .cleaning import cleaned
from .crop import behind, bounding_box, crop_box, cropped, scan_edge, surroundings
from .labelmap import LabelMap, read_label_map
from .mesh_map import read_mesh_map
from .phantom import breast_phantom
from .plausible import check_body
from .regions import named_regions
from .settings import AnatomySettings, TargetSettings
from .source_settings import MeshMapSettings, PhantomSettings, ScanSettings, SurfaceSettings
from .surface_map import read_surface_map
from .target import split_regions, target_mask, with_margin
from .thresholds import classified

# Of the target that an axis should, and must, leave within reach of steering and moving.
WELL_REACHED, LEAST_REACHED = 0.95, 0.5
NEAR_BEST = 0.7  # of the heat per watt, that is given up for reach


def build_anatomy(settings: AnatomySettings) -> Anatomy:
    """Segmented body in RAS+ with its regions, target and coupling water.

    In this order: read; name the regions; clean away the segmentation's noise; find the target and
    the beam's way to it; crop around both; remove the cut regions and all that lies behind them
    along the axis, and end the model where the scan ends, aligned with the patient's axes or not;
    drop what is not connected with the target; add the target's margin, splitting the regions it
    reaches into; find the outside voxels that hold coupling water, or air.

    Parameters
    ----------
    settings : where the anatomy comes from, its regions, the target and the transducer's beam.

    Returns
    -------
    Anatomy : labels (nx, ny, nz) with `affine` to metres. Its `record` says where it came from,
        region by region how many voxels the crop, the cut, the loss of islands and the cleaning
        left out (negative where the cleaning gave more), and, in `notes`, what a person should
        know.

    Raises
    ------
    InputError : input that cannot be read or does not fit the regions and the target, no way for
        the beam through the skin.
    """
    source, labels, regions, raw, notes = _named(settings)
    edge = scan_edge(labels > 0, source.beyond)
    core = target_mask(labels, regions, source.affine, edge, settings.target)
    if settings.series:  # hours before anything refers to it
        check_holds(open_source(settings.series, "export.dicom_series").image,
                    np.argwhere(core) @ source.affine[:3, :3].T + source.affine[:3, 3], "target")
    spacing = np.diag(source.affine)[:3]
    wall = np.zeros_like(edge) if source.wall is None else source.wall
    cut = _cut(labels, regions, settings)
    axis, beam = _beam(labels, source.affine, core, regions, cut | wall | edge, cut | wall,
                       settings)
    box = (slice(None),) * 3
    if not isinstance(settings.source, PhantomSettings):
        wall = wall | behind(cut, spacing, axis)
        box = crop_box(labels > 0, core, wall, spacing, axis, settings.crop_margin,
                       settings.beam.half_angle)
        wall |= edge
    coupling, air = surroundings(labels > 0, wall, spacing, axis, box)
    counts = [_counts(labels, regions)]
    labels, affine = cropped(labels, source.affine, box)
    counts.append(_counts(labels, regions))
    core, wall = core[box], wall[box]
    core = _uncut(core, core & ~wall, "behind the cut regions, seen along the axis", "cut_regions "
                  "behind the target", settings.target, notes)
    labels = np.where(wall, 0, labels)
    counts.append(_counts(labels, regions))
    labels, core = _one_piece(labels, core, settings.target, affine, notes)
    counts.append(_counts(labels, regions))
    check_open(beam, settings.pose)
    left_out = _left_out(counts, raw - counts[0], regions)
    enclosed = int((ndimage.binary_fill_holes(labels > 0) & (labels == 0)).sum())
    if enclosed:
        log.info("%d voxels that belong to no region lie inside the body: no water there", enclosed)
    mask = with_margin(core, labels, affine, settings.target.margin)
    labels, target = split_regions(labels, regions, mask, settings)
    _measure(labels, regions, affine)
    anatomy = Anatomy(labels.astype(np.int16), affine, regions, target, coupling, axis,
                      source.sha256, beam, {"source": source.record, "left_out_voxels": left_out,
                                            "enclosed_outside_voxels": enclosed,
                                            "notes": notes}, air)
    notes += check_body(anatomy)
    return anatomy


def _beam(labels, affine, target, regions, cut, walls, settings: AnatomySettings):
    """Direction of the ultrasound, given or found, and what is in the beam's way."""
    given, beam = settings.pose.axis, settings.beam
    if given is None:
        rays = look_around(labels, affine, target, regions, cut, fibonacci_sphere(RAYS),
                           settings.tissues, beam.frequency)
        axis = _best(rays, target, walls, affine, settings)
        log.info("best direction of the beam: (%.3f, %.3f, %.3f)", *axis)
    else:
        axis = np.array(given, float) / np.linalg.norm(given)
        rays = look_around(labels, affine, target, regions, cut, cone(axis, beam.half_angle),
                           settings.tissues, beam.frequency)
    return axis, beam_record(rays, axis, beam.half_angle)


def _best(rays, target, walls, affine, settings: AnatomySettings):
    """The axis with the most heat per watt: of those near the best that leave all of the target
    within reach, or else of all that leave enough of it."""
    def refused(most_missed):
        return lambda axis: _refused(axis, target, walls, affine, most_missed, settings)

    try:
        return best_axis(rays, settings.beam, settings.pose, refused(1 - WELL_REACHED), NEAR_BEST)
    except InputError:
        return best_axis(rays, settings.beam, settings.pose, refused(1 - LEAST_REACHED))


def _refused(axis, target, walls, affine, most_missed, settings: AnatomySettings) -> str:
    """Why the target cannot be treated along an axis, "" if it can.

    `walls` : (nx, ny, nz) bool, where the model is cut with all that lies behind.
    `most_missed` : part of the target that may be out of reach.
    """
    spacing, beam = np.diag(affine)[:3], settings.beam
    offset = np.argwhere(target) * spacing
    offset = offset - offset.mean(axis=0)
    along = offset @ axis
    lateral = np.linalg.norm(offset - along[:, None] * axis, axis=1)
    reached = ((lateral <= beam.reach_lateral) & (np.abs(along) <= beam.reach_axial)).mean()
    if 1 - reached > most_missed and beam.reach_lateral > 0:
        return f"only {reached:.0%} of the target is within reach of steering and moving"
    behind_cut = behind(walls, spacing, axis)[target].mean() if walls.any() else 0.0
    if behind_cut > settings.target.max_left_out:
        return f"{behind_cut:.0%} of the target lies behind the cut regions"
    return ""


def pose_candidates(settings: AnatomySettings, count: int) -> list[tuple]:
    """The best directions of the beam that lie well apart, best first: axis (3,) and heat per watt
    at the target over that of the best.

    Raises
    ------
    InputError : as `build_anatomy`.
    """
    source, labels, regions, _, _ = _named(settings)
    edge = scan_edge(labels > 0, source.beyond)
    core = target_mask(labels, regions, source.affine, edge, settings.target)
    cut = _cut(labels, regions, settings) | edge
    if source.wall is not None:
        cut |= source.wall
    rays = look_around(labels, source.affine, core, regions, cut, fibonacci_sphere(RAYS),
                       settings.tissues, settings.beam.frequency)
    axes, score = ranked_axes(rays, settings.beam, settings.pose.max_blocked)
    return [(axes[i], float(score[i] / score[0])) for i in apart(axes, count)]


def _named(settings: AnatomySettings):
    """What the anatomy is made from, its labels without noise, regions, voxels of each region in
    the source, and notes on what was cleaned away."""
    source = _source(settings.source)
    labels, regions = named_regions(source, settings)
    raw, notes = _counts(labels, regions), []
    if not isinstance(settings.source, PhantomSettings):
        check_extent(np.diag(source.affine)[:3] * [s.stop - s.start
                                                   for s in bounding_box(labels > 0)], settings)
        labels, notes = cleaned(labels, regions, float(np.prod(np.diag(source.affine)[:3])),
                                settings)
    return source, labels, regions, raw, notes


def _cut(labels, regions, settings: AnatomySettings) -> np.ndarray:
    return np.isin(labels, [regions[region]["label"] for region in settings.cut_regions])


def _source(source: PhantomSettings | MeshMapSettings | SurfaceSettings | ScanSettings
            ) -> LabelMap:
    """The label map that all ways of giving an anatomy come to."""
    if isinstance(source, PhantomSettings):
        labels, affine, wall = breast_phantom(source)
        return LabelMap([labels.astype(np.int32)], affine, config_hash(source.written.values),
                        record={"format": "phantom"}, wall=wall)
    if isinstance(source, MeshMapSettings):
        return read_mesh_map(source)
    if isinstance(source, SurfaceSettings):
        return read_surface_map(source)
    base = read_label_map(source.labels, source.nifti_transform) if source.labels else None
    return classified(source, base) if source.image else base


def _uncut(target, kept, where, remedy, settings: TargetSettings, notes: list):
    """What is kept of the target; none of its voxels may be lost without a word."""
    lost, whole = int(target.sum() - kept.sum()), int(target.sum())
    if not lost:
        return target
    share = "the target lies wholly" if lost == whole else (
        f"{lost} of the target's {whole} voxels lie")
    if lost > settings.max_left_out * whole:
        raise settings.written.error(
            f"{share} {where}", settings.chosen,
            allowed=f"{remedy}; or one component of it: at_mm or largest_component; at most "
                    f"{settings.max_left_out:.0%} is left out (target.max_left_out_fraction)")
    notes.append(f"{share} {where}: they are left out and not treated")
    log.warning("%s", notes[-1])
    return kept


def _one_piece(labels, core, settings: TargetSettings, affine, notes: list):
    """The component of the body that holds the target, and what of the target it holds."""
    component, n = ndimage.label(labels > 0)
    held = np.bincount(component[core], minlength=n + 1)
    keep = component == held.argmax()
    if (keep <= core).all():
        raise settings.written.error(
            f"the target of {int(core.sum())} voxels lies outside of the body", settings.chosen,
            allowed="a target that touches another region")
    core = _uncut(core, core & keep, "apart from the body around the rest of it",
                  "a target within one piece of body", settings, notes)
    if n > 1:
        lost = int((labels > 0).sum() - keep.sum())
        log.info("dropped %d island(s) of body: %d voxel(s) (%.3f ml)", n - 1, lost,
                 lost * np.prod(np.diag(affine)[:3]) * 1e6)
    return np.where(keep, labels, 0), core


def _counts(labels, regions):
    return np.bincount(labels.ravel(), minlength=len(regions) + 1)


def _left_out(counts, specks, regions):
    """Region -> voxels that the crop, the cut, the loss of islands and the cleaning took."""
    steps = -np.diff(counts, axis=0)
    found = {}
    for region, entry in regions.items():
        label = entry["label"]
        if steps[:, label].any() or specks[label]:
            found[region] = {name: int(steps[i, label])
                             for i, name in enumerate(("crop", "cut", "islands"))}
            if specks[label]:
                found[region]["cleaning"] = int(specks[label])
    return found


def _measure(labels, regions, affine):
    """Fill in `volume_m3`; drop the regions that the crop or the cut left without a voxel."""
    count = _counts(labels, regions)
    for region in list(regions):
        voxels = int(count[regions[region]["label"]])
        regions[region]["volume_m3"] = voxels * float(np.prod(np.diag(affine)[:3]))
        if voxels == 0:
            del regions[region]
            log.info("region %s has no voxel in the domain", region)
