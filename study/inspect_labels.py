"""What a label map or a scan holds, and the `regions:` of a patient file made from it."""

from __future__ import annotations

import json
import re

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError

from .patient import TISSUES
from .schema import read_yaml

MOST_LABELS = 400
MOST_VOXELS = 500_000  # among which the deepest is looked for
MOST_COMPONENTS = 10  # that are listed one by one
PERCENTILES = (0, 1, 25, 50, 75, 99, 100)


def label_table(image, layers):
    """Lines about the labels of a map, or about the intensities of a scan.

    Parameters
    ----------
    image : `formats.image.Image`.  layers : its voxels.
    """
    try:
        maps = image.labels()
    except InputError as error:
        maps, why = [], error.problem
    counts = [np.unique(layer[layer != 0], return_counts=True) for layer in maps]
    held = sum(len(labels) for labels, _ in counts)
    if not maps or held > MOST_LABELS:
        why = f"{held} different values" if maps else why
        values = layers[0][np.isfinite(layers[0])]
        levels = np.percentile(values, PERCENTILES) if values.size else [np.nan] * len(PERCENTILES)
        yield f"  a scan, not a label map ({why}); intensities: " + ", ".join(
            f"{p} %: {value:.5g}" for p, value in zip(PERCENTILES, levels, strict=True))
        return
    rows = []
    for index, (layer, held) in enumerate(zip(maps, counts, strict=True)):
        lowest = layer.min()  # may be negative
        boxes = ndimage.find_objects(layer - lowest + 1)
        rows += [_row(image, layer, int(label), int(voxels), index, boxes[label - lowest])
                 for label, voxels in zip(*held, strict=True)]
    yield f"  {len(rows)} labels, and {sum(int((layer == 0).sum()) for layer in maps)} voxels of 0"
    if not rows:
        return
    yield (f"  {'label':>6} {'voxels':>9} {'ml':>9} {'components':>10}  "
           "point inside [mm]           name")
    for row in rows:
        yield (f"  {row['label']:6d} {row['voxels']:9d} {row['ml']:9.3f} {row['components']:10d}  "
               f"{json.dumps(row['largest'][0][1]):27}  {row['name'] or ''}")
        for volume, point in row["largest"] if row["components"] > 1 else ():
            yield f"  {'':6} {'':9} {volume:9.3f} {'':10}  {json.dumps(point)}"
    if not (image.file.parent / "regions.json").is_file():  # of an artifact they are known
        yield ""
        yield "# for a patient file; tissues: see config/tissues.yaml"
        yield from _regions(rows, layered=len(maps) > 1)


def _row(image, layer, label, voxels, index, box):
    """One label: size, and volume and innermost point of its components, largest first."""
    name = next((segment.name for segment in image.segments
                 if segment.label == label and segment.layer in (index, None)), None)
    component, n = ndimage.label(layer[box] == label)
    size = np.bincount(component.ravel())[1:]
    voxel = abs(np.linalg.det(image.affine[:3, :3])) * 1e6
    order = np.argsort(-size, kind="stable")[:MOST_COMPONENTS if n <= MOST_COMPONENTS else 1]
    parts = ndimage.find_objects(component)
    largest = []
    for i in order:
        index = _innermost(component[parts[i]] == i + 1, image.spacing)
        index = index + [p.start + s.start for p, s in zip(parts[i], box, strict=True)]
        point = (image.affine[:3, :3] @ index + image.affine[:3, 3]) * 1e3
        largest.append((size[i] * voxel, point.round(1).tolist()))
    return {"label": label, "name": name, "voxels": voxels, "ml": voxels * voxel, "components": n,
            "largest": largest}


def _innermost(mask, spacing):
    """Index of the voxel deepest in a mask; of a large mask only every other voxel counts."""
    step = int(np.ceil((mask.size / MOST_VOXELS) ** (1 / 3)))
    coarse = mask[::step, ::step, ::step]
    if not coarse.any():
        step, coarse = 1, mask
    depth = ndimage.distance_transform_edt(np.pad(coarse, 1), sampling=spacing)
    return step * (np.array(np.unravel_index(depth.argmax(), depth.shape)) - 1)


def _regions(rows, layered):
    """The `regions:` of a patient file; where segments overlap, the smallest come first."""
    tissues = read_yaml(TISSUES)["tissues"]
    used = set()
    yield "regions:"
    for row in sorted(rows, key=lambda row: row["voxels"] if layered else 0):
        words = re.findall(r"[a-z0-9]+", (row["name"] or "").lower())
        words = ["tumour" if word == "tumor" else word for word in words]
        name = "_".join(words) or f"label_{row['label']}".replace("-", "minus_")
        name = name if name[0].isalpha() else f"region_{name}"
        while name in used:
            name += "_"
        used.add(name)
        tissue = next((word for word in words if word in tissues), "FILL_IN")
        label = row["label"]
        if layered and row["name"]:  # the value may be that of other layers' segments, too
            label = json.dumps(row["name"], ensure_ascii=False)
        yield f"  {name}: {{labels: [{label}], tissue: {tissue}}}"
