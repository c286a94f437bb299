"""What is to be treated: a region or a part of one, or a drawn shape, and a margin around it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.settings import Written

from .crop import bounding_box
from .settings import AnatomySettings, Ellipsoid, TargetSettings

ON_SURFACE = 1 + 1e-9  # a voxel's centre on the surface of a drawn shape is in it
REACH = 3.0  # voxels that a point may lie beside the component it is meant for


def target_mask(labels, regions, affine, edge, settings: TargetSettings) -> np.ndarray:
    """Voxels of the target without its margin, (nx, ny, nz) bool.

    Parameters
    ----------
    labels : (nx, ny, nz), regions : name -> {"label", ...}, affine : (4, 4) to metres; the whole
        map.
    edge : (nx, ny, nz) bool, voxels beside the body that the scan does not reach.
    settings : a region, its largest component, or the one at a point; without a region the
        component of whichever region is at the point; or a drawn shape.

    Raises
    ------
    InputError : no voxel of the body there; a target that reaches the edge of the map.
    """
    if settings.shape:
        mask = _drawn(labels, affine, settings.shape)
    else:
        mask = _of_region(labels, regions, affine, settings)
    box = bounding_box(mask)
    around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    if any(s.start == 0 or s.stop == n for s, n in zip(box, mask.shape, strict=True)) or (
            edge[around] & ndimage.binary_dilation(mask[around], np.ones((3, 3, 3)))).any():
        raise settings.written.error(
            f"the target of {int(mask.sum())} voxels touches the edge of the label map",
            settings.chosen,
            allowed="a target that ends inside the map; one component of it by at_mm")
    return mask


def _of_region(labels, regions, affine, settings: TargetSettings):
    """Region of the target, or one face-connected component of it."""
    point, written = settings.at, settings.written
    if settings.region:
        label = regions[settings.region]["label"]
    else:
        label = labels[_voxel(labels, affine, point, written, "at_mm")]
    mask = labels == label
    if point is None and not settings.largest_component:
        return mask
    box = bounding_box(mask)
    component, n = ndimage.label(mask[box])
    if point is None:
        chosen = np.bincount(component.ravel())[1:].argmax() + 1
    else:
        position = np.argwhere(component) + [s.start for s in box]
        offset = (position @ affine[:3, :3] + affine[:3, 3]) - point
        distance = np.linalg.norm(offset, axis=1)
        nearest = int(distance.argmin())
        if distance[nearest] > REACH * np.diag(affine)[:3].max():
            there = (position[nearest] @ affine[:3, :3] + affine[:3, 3]) * 1e3
            raise written.error(f"no component of the target is there; the nearest is "
                                f"{distance[nearest] * 1e3:.1f} mm away", "at_mm",
                                allowed=f"a point in it, such as {np.round(there, 1).tolist()}")
        chosen = component[component > 0][nearest]
    held = np.zeros_like(mask)
    held[box] = component == chosen
    log.info("target: one of %d components, %d of %d voxels", n, held.sum(), mask.sum())
    return held


def _drawn(labels, affine, shape: Ellipsoid):
    """Body voxels whose centres lie in an ellipsoid."""
    _voxel(labels, affine, shape.centre, shape.written, "centre_mm")
    directions = _frame(shape.first_axis, shape.second_axis)
    x, y, z = (affine[i, 3] + affine[i, i] * np.arange(n) - c
               for i, (n, c) in enumerate(zip(labels.shape, shape.centre, strict=True)))
    reach = max(shape.semi_axes) + np.diag(affine)[:3].max()  # holds the centre's voxel at least
    box = tuple(slice(*(np.flatnonzero(np.abs(a) <= reach)[[0, -1]] + [0, 1])) for a in (x, y, z))
    x, y, z = (a[s] for a, s in zip((x, y, z), box, strict=True))
    inside = sum(((u[0] * x[:, None, None] + u[1] * y[:, None] + u[2] * z) / a) ** 2
                 for u, a in zip(directions, shape.semi_axes, strict=True)) <= ON_SURFACE
    if not (inside & (labels[box] > 0)).any():
        edges = " x ".join(f"{edge:.3g}" for edge in np.diag(affine)[:3] * 1e3)
        raise shape.written.error(f"holds the centre of no voxel of {edges} mm in the body",
                                  value=shape.written.values, allowed="a larger shape")
    mask = np.zeros(labels.shape, bool)
    mask[box] = inside & (labels[box] > 0)
    if mask.sum() < inside.sum():
        log.warning("%d of the %d voxels of %s lie outside of the body and are left out",
                    inside.sum() - mask.sum(), inside.sum(), shape.written.key)
    return mask


def _frame(first, second):
    """Rows: unit vectors along `first`, along what of `second` is normal to it, and the third."""
    u = np.array(first, float) / np.linalg.norm(first)
    v = np.array(second, float) - np.dot(second, u) * u
    v /= np.linalg.norm(v)
    return np.stack([u, v, np.cross(u, v)])


def _voxel(labels, affine, point, written: Written, key: str):
    """Index of the voxel at a point [m], which must be body; it was `written` under a key."""
    index = np.rint((np.array(point) - affine[:3, 3]) / np.diag(affine)[:3]).astype(int)
    low, high = affine[:3, 3], affine[:3, 3] + np.diag(affine)[:3] * (np.array(labels.shape) - 1)
    extent = "; ".join(f"{name} {a * 1e3:.0f} to {b * 1e3:.0f}"
                       for name, a, b in zip("RAS", low, high, strict=True))
    allowed = f"a point in the body, in mm along R, A, S; the map covers {extent}"
    if (index < 0).any() or (index >= labels.shape).any():
        raise written.error("lies outside of the map", key, allowed=allowed)
    if labels[tuple(index)] == 0:
        raise written.error("lies outside of the body", key, allowed=allowed)
    return tuple(index)


def with_margin(mask, labels, affine, margin):
    """The target and all body voxels within `margin` [m] of it, (nx, ny, nz) bool."""
    if margin == 0:
        return mask
    distance = ndimage.distance_transform_edt(~mask, sampling=np.diag(affine)[:3])
    return (distance <= margin) & (labels > 0)


def split_regions(labels, regions, mask, settings: AnatomySettings):
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
    first = settings.target.region
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
                             file=settings.written.file, key="regions", value=new,
                             allowed="another name")
        regions[new] = {"label": label, "tissue": regions[region]["tissue"]}
        labels[mask & (labels == old)] = label
        target.append(new)
    return labels, target
