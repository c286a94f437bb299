"""From a patient's label map, or the built-in phantom, to the body that will be treated."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from scipy import ndimage

from hifuflow.artifacts import Anatomy
from hifuflow.errors import InputError
from hifuflow.job import log

from .labelmap import LabelMap, read_label_map
from .phantom import breast_phantom
from .roi import behind, coupling_mask, crop_box, cropped

MOST_LABELS_LISTED = 40


def build_anatomy(config: dict) -> Anatomy:
    """Segmented body in RAS+ with its regions, target and coupling water.

    In this order: read; name the regions; crop around the target; remove the cut regions and all
    that lies behind them along the axis; drop what is not connected with the target; split off
    the regions of the target's margin; find the outside voxels that hold coupling water.

    Parameters
    ----------
    config : ``file`` (the patient file), ``anatomy`` ({phantom: {...}} or {labels: path,
        crop_margin_mm}), ``regions`` (name -> {labels, tissue}), ``cut_regions`` (names),
        ``target`` ({region, margin_mm}), ``axis`` (3 numbers, direction in which the ultrasound
        travels).

    Raises
    ------
    InputError : a label map that cannot be read or that does not fit the regions and the target.
    """
    axis = np.array(config["axis"], float) / np.linalg.norm(config["axis"])
    source, wall = _source(config["anatomy"], config["file"])
    labels, regions = _named_regions(source.labels, config)
    target_label = regions[config["target"]["region"]]["label"]
    _check_target(labels == target_label, config)
    spacing = np.diag(source.affine)[:3]
    box = (slice(None),) * 3
    if wall is None:
        cut_labels = [regions[region]["label"] for region in config["cut_regions"]]
        wall = behind(np.isin(labels, cut_labels), spacing, axis)
        box = crop_box(labels > 0, labels == target_label, wall, spacing, axis,
                       config["anatomy"]["crop_margin_mm"] * 1e-3)
    coupling = coupling_mask(labels > 0, wall, spacing, axis, box)
    labels, affine = cropped(np.where(wall, 0, labels), source.affine, box)
    labels = _one_piece(labels, target_label, config, affine)
    labels, target = _split_margin(labels, regions, config, affine)
    _measure(labels, regions, affine)
    return Anatomy(labels.astype(np.int16), affine, regions, target, coupling, axis,
                   source.sha256)


def _source(section, file):
    """Label map, and the mask behind the chest wall (phantom only)."""
    if "labels" in section:
        return read_label_map(section["labels"]), None
    labels, affine, wall = breast_phantom(section["phantom"], file)
    text = json.dumps(section["phantom"], sort_keys=True)
    return LabelMap(labels, affine, hashlib.sha256(text.encode()).hexdigest()), wall


def _named_regions(source, config):
    """Renumber the map: region i of the patient file becomes label i + 1, outside stays 0."""
    present, count = np.unique(source, return_counts=True)
    listed = ", ".join(map(str, present[:MOST_LABELS_LISTED]))
    if len(present) > MOST_LABELS_LISTED:
        listed += f", ... ({len(present)} in all)"
    table, regions, named = np.zeros(len(present), np.int16), {}, {0}
    for number, (region, entry) in enumerate(config["regions"].items(), start=1):
        for label in entry["labels"]:
            if label not in present:
                raise InputError("no such label in the map", file=config["file"],
                                 key=f"regions.{region}.labels", value=label,
                                 allowed=f"labels of the map: {listed}")
            named.add(label)
            table[np.searchsorted(present, label)] = number
        regions[region] = {"label": number, "tissue": entry["tissue"]}
    missing = [f"{label} ({n} voxels)" for label, n in zip(present, count, strict=True)
               if label not in named]
    if missing:
        raise InputError(f"no region names the labels {', '.join(missing)}", file=config["file"],
                         key="regions", allowed="every label of the map but 0 in a region")
    return table[np.searchsorted(present, source)], regions


def _check_target(target, config):
    """The target must end inside the map."""
    inner = ndimage.find_objects(target.astype(np.int8))[0]
    if any(s.start == 0 or s.stop == n for s, n in zip(inner, target.shape, strict=True)):
        raise InputError("the target touches the edge of the label map", file=config["file"],
                         key="target.region", value=config["target"]["region"],
                         allowed="a target that ends inside the map")


def _one_piece(labels, target_label, config, affine):
    """Keep the component of the body that holds the largest part of the target."""
    file, key, value = config["file"], "target.region", config["target"]["region"]
    target = labels == target_label
    if not target.any():
        raise InputError("the target lies wholly behind the cut regions", file=file, key=key,
                         value=value, allowed="cut_regions behind the target, seen along the axis")
    component, n = ndimage.label(labels > 0)
    held = np.bincount(component[target], minlength=n + 1)
    keep = component == held.argmax()
    if (labels[keep] == target_label).all():
        raise InputError("the target lies outside of the body", file=file, key=key, value=value,
                         allowed="a target that touches another region")
    if n > 1:
        voxel = np.prod(np.diag(affine)[:3]) * 1e6
        lost = int((labels > 0).sum() - keep.sum())
        lost_target = int(target.sum() - (target & keep).sum())
        log.info("dropped %d islands of body: %d voxels (%.3f ml), %d of them target", n - 1, lost,
                 lost * voxel, lost_target)
    return np.where(keep, labels, 0)


def _split_margin(labels, regions, config, affine):
    """Voxels within the margin of the target become regions of their own, part of the target."""
    target, margin = [config["target"]["region"]], config["target"]["margin_mm"] * 1e-3
    if margin == 0:
        return labels, target
    core = labels == regions[target[0]]["label"]
    distance = ndimage.distance_transform_edt(~core, sampling=np.diag(affine)[:3])
    inside = (distance <= margin) & ~core & (labels > 0)
    labels = labels.copy()
    for region in list(regions):
        part = inside & (labels == regions[region]["label"])
        if part.any():
            new, label = f"{region}_target", len(regions) + 1
            if new in regions:
                raise InputError("the name is needed for the target's margin", file=config["file"],
                                 key="regions", value=new, allowed="another name")
            regions[new] = {"label": label, "tissue": regions[region]["tissue"]}
            labels[part] = label
            target.append(new)
    return labels, target


def _measure(labels, regions, affine):
    """Fill in `volume_m3`; drop the regions that the crop or the cut left without a voxel."""
    count = np.bincount(labels.ravel(), minlength=len(regions) + 1)
    for region in list(regions):
        voxels = int(count[regions[region]["label"]])
        regions[region]["volume_m3"] = voxels * float(np.prod(np.diag(affine)[:3]))
        if voxels == 0:
            del regions[region]
            log.info("region %s has no voxel in the domain", region)
