"""What is to be treated: a region or a part of one, or a drawn shape, and a margin around it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.job import log

from .crop import bounding_box

REACH = 3.0  # voxels that a point may lie beside the component it is meant for


def target_key(target: dict) -> str:
    """The configuration's key that says what the target is."""
    return "target." + next(key for key in ("region", "sphere", "ellipsoid", "at_mm")
                            if key in target)


def target_mask(labels, regions, affine, edge, config) -> np.ndarray:
    """Voxels of the target without its margin, (nx, ny, nz) bool.

    Parameters
    ----------
    labels, regions, affine : the whole map.
    edge : (nx, ny, nz) bool, voxels beside the body that the scan does not reach.
    config : ``target``: ``region`` with ``at_mm`` (its component at that point) or
        ``largest_component``; ``at_mm`` alone (the component of whichever region is there);
        ``sphere`` {centre_mm, radius_mm} or ``ellipsoid`` {centre_mm, semi_axes_mm, first_axis,
        second_axis}; ``file``.

    Raises
    ------
    InputError : no voxel of the body there; a target that reaches the edge of the map.
    """
    target = config["target"]
    shape = target.get("ellipsoid") or target.get("sphere")
    if shape:
        mask = _drawn(labels, affine, shape, config)
    else:
        mask = _of_region(labels, regions, affine, config)
    box = bounding_box(mask)
    around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    if any(s.start == 0 or s.stop == n for s, n in zip(box, mask.shape, strict=True)) or (
            edge[around] & ndimage.binary_dilation(mask[around], np.ones((3, 3, 3)))).any():
        key = target_key(target)
        raise InputError(f"the target of {int(mask.sum())} voxels touches the edge of the label "
                         "map", file=config["file"], key=key, value=target[key.split(".")[1]],
                         allowed="a target that ends inside the map; one component of it by at_mm")
    return mask


def _of_region(labels, regions, affine, config):
    """Region of the target, or one face-connected component of it."""
    target, file = config["target"], config["file"]
    point = target.get("at_mm")
    if "region" in target:
        label = regions[target["region"]]["label"]
    else:
        label = labels[_voxel(labels, affine, point, "target.at_mm", config)]
    mask = labels == label
    if point is None and not target["largest_component"]:
        return mask
    box = bounding_box(mask)
    component, n = ndimage.label(mask[box])
    if point is None:
        chosen = np.bincount(component.ravel())[1:].argmax() + 1
    else:
        position = np.argwhere(component) + [s.start for s in box]
        offset = (position @ affine[:3, :3] + affine[:3, 3]) - np.array(point) * 1e-3
        distance = np.linalg.norm(offset, axis=1)
        nearest = int(distance.argmin())
        if distance[nearest] > REACH * np.diag(affine)[:3].max():
            there = (position[nearest] @ affine[:3, :3] + affine[:3, 3]) * 1e3
            raise InputError(f"no component of the target is there; the nearest is "
                             f"{distance[nearest] * 1e3:.1f} mm away", file=file,
                             key="target.at_mm", value=point,
                             allowed=f"a point in it, such as {np.round(there, 1).tolist()}")
        chosen = component[component > 0][nearest]
    held = np.zeros_like(mask)
    held[box] = component == chosen
    log.info("target: one of %d components, %d of %d voxels", n, held.sum(), mask.sum())
    return held


def _drawn(labels, affine, shape, config):
    """Body voxels whose centres lie in a sphere or an ellipsoid."""
    key = target_key(config["target"])
    _voxel(labels, affine, shape["centre_mm"], f"{key}.centre_mm", config)
    if "radius_mm" in shape:
        semi_axes, directions = np.full(3, shape["radius_mm"]), np.eye(3)
    else:
        semi_axes = np.array(shape["semi_axes_mm"], float)
        directions = _frame(shape["first_axis"], shape["second_axis"])
    x, y, z = (affine[i, 3] * 1e3 + affine[i, i] * 1e3 * np.arange(n) - c
               for i, (n, c) in enumerate(zip(labels.shape, shape["centre_mm"], strict=True)))
    reach = semi_axes.max() + np.diag(affine)[:3].max() * 1e3  # holds the centre's voxel at least
    box = tuple(slice(*(np.flatnonzero(np.abs(a) <= reach)[[0, -1]] + [0, 1])) for a in (x, y, z))
    x, y, z = (a[s] for a, s in zip((x, y, z), box, strict=True))
    inside = sum(((u[0] * x[:, None, None] + u[1] * y[:, None] + u[2] * z) / a) ** 2
                 for u, a in zip(directions, semi_axes, strict=True)) <= 1
    if not (inside & (labels[box] > 0)).any():
        edges = " x ".join(f"{edge:.3g}" for edge in np.diag(affine)[:3] * 1e3)
        raise InputError(f"holds the centre of no voxel of {edges} mm in the body",
                         file=config["file"], key=key, value=shape, allowed="a larger shape")
    mask = np.zeros(labels.shape, bool)
    mask[box] = inside & (labels[box] > 0)
    if mask.sum() < inside.sum():
        log.warning("%d of the %d voxels of %s lie outside of the body and are left out",
                    inside.sum() - mask.sum(), inside.sum(), key)
    return mask


def _frame(first, second):
    """Rows: unit vectors along `first`, along what of `second` is normal to it, and the third."""
    u = np.array(first, float) / np.linalg.norm(first)
    v = np.array(second, float) - np.dot(second, u) * u
    v /= np.linalg.norm(v)
    return np.stack([u, v, np.cross(u, v)])


def _voxel(labels, affine, point_mm, key, config):
    """Index of the voxel at a point, which must be body."""
    index = np.rint((np.array(point_mm) * 1e-3 - affine[:3, 3]) / np.diag(affine)[:3]).astype(int)
    low, high = affine[:3, 3], affine[:3, 3] + np.diag(affine)[:3] * (np.array(labels.shape) - 1)
    extent = "; ".join(f"{name} {a * 1e3:.0f} to {b * 1e3:.0f}"
                       for name, a, b in zip("RAS", low, high, strict=True))
    fault = {"file": config["file"], "key": key, "value": list(point_mm),
             "allowed": f"a point in the body, in mm along R, A, S; the map covers {extent}"}
    if (index < 0).any() or (index >= labels.shape).any():
        raise InputError("lies outside of the map", **fault)
    if labels[tuple(index)] == 0:
        raise InputError("lies outside of the body", **fault)
    return tuple(index)


def with_margin(mask, labels, affine, margin):
    """The target and all body voxels within `margin` [m] of it, (nx, ny, nz) bool."""
    if margin == 0:
        return mask
    distance = ndimage.distance_transform_edt(~mask, sampling=np.diag(affine)[:3])
    return (distance <= margin) & (labels > 0)


def split_regions(labels, regions, mask, config):
    """Make the target consist of whole regions; `regions` gets those that are split off.

    A region that lies wholly in the target keeps its name; of any other, the part in the target
    becomes a region of its own, NAME_target.

    Returns
    -------
    labels : (nx, ny, nz).  target : names of the regions that make up the target.
    """
    labels, target = labels.copy(), []
    inside = np.bincount(labels[mask], minlength=len(regions) + 1)
    whole = np.bincount(labels.ravel(), minlength=len(regions) + 1)
    first = config["target"].get("region")
    for region in sorted(regions, key=lambda name: name != first):
        old = regions[region]["label"]
        if inside[old] == 0:
            continue
        if inside[old] == whole[old]:
            target.append(region)
            continue
        new, label = f"{region}_target", len(regions) + 1
        if new in regions:
            raise InputError("the name is needed for the target's part of a region",
                             file=config["file"], key="regions", value=new,
                             allowed="another name")
        regions[new] = {"label": label, "tissue": regions[region]["tissue"]}
        labels[mask & (labels == old)] = label
        target.append(new)
    return labels, target
