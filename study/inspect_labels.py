"""Content of a label map or a scan, and the section `regions` of a patient file made from it."""

from __future__ import annotations

import json

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError

from .patient import TISSUES
from .region_guesses import guess_regions
from .yaml_file import read_yaml

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
        rows = label_rows(image, maps)
    except InputError as error:
        values = layers[0][np.isfinite(layers[0])]
        levels = np.percentile(values, PERCENTILES) if values.size else [np.nan] * len(PERCENTILES)
        yield f"  a scan, not a label map ({error.problem}); intensities: " + ", ".join(
            f"{p} %: {value:.5g}" for p, value in zip(PERCENTILES, levels, strict=True))
        return
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
        yield "regions:"
        for region in guess_regions(rows, len(maps) > 1, known_tissues(),
                                    by_name(image)):
            yield f"  {region.line()}"


def by_name(image) -> bool:
    """Whether its labels are better told by their names: their values are only their order."""
    return image.file.is_dir() or "RTSTRUCT" in image.format


def known_tissues() -> list[str]:
    """Names of the tissues that every patient file knows."""
    return list(read_yaml(TISSUES)["tissues"])


def label_rows(image, maps) -> list[dict]:
    """Rows about each label: `label`, `name`, `voxels`, `ml`, `components`, `largest`.

    `components` is the number of connected components, `largest` has the volume [ml] and innermost
    point [mm] of the largest of them.

    Parameters
    ----------
    image : `formats.image.Image`.  maps : its label maps, see `Image.labels`.

    Raises
    ------
    InputError : there are too many different values for a label map.
    """
    counts = [np.unique(layer[layer != 0], return_counts=True) for layer in maps]
    values = sum(len(labels) for labels, _ in counts)
    if values > MOST_LABELS:
        raise InputError(f"{values} different values", file=image.file,
                         allowed=f"a label map of at most {MOST_LABELS} labels; a scan goes into "
                                 "anatomy.image, with thresholds")
    rows = []
    for index, (layer, label_counts) in enumerate(zip(maps, counts, strict=True)):
        lowest = layer.min()  # may be negative
        boxes = ndimage.find_objects(layer - lowest + 1)
        rows += [_row(image, layer, int(label), int(voxels), index, boxes[label - lowest])
                 for label, voxels in zip(*label_counts, strict=True)]
    return rows


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

