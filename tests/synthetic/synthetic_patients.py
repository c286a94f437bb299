"""Random but repeatable patients: breasts, limbs and abdomens with targets anywhere in them.

Each seed gives one: its kind, size, voxels, target (0 to 80 mm deep, 0.1 to 20 ml, irregular), skin
of one voxel or none, sides where the scan ends, and noise as segmentations have it.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from scipy import ndimage

KINDS = ("breast", "limb", "abdomen")
FAT, MUSCLE, SKIN, BONE, ORGAN, TARGET = 1, 2, 3, 4, 5, 6
NAMES = {TARGET: ("lesion", "tumour"), BONE: ("bone", "bone"), SKIN: ("skin_layer", "skin"),
         MUSCLE: ("muscle", "muscle"), ORGAN: ("organ", "liver"), FAT: ("fat", "fat")}
SPECKS, STRAYS, HOLES = 8, 3, 6  # at most


def write_patient(seed: int, folder) -> Path:
    """Label map and patient file of one synthetic patient; the path of the latter."""
    random = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    spacing = np.array([random.uniform(1.2, 2.5)] * 2 + [random.uniform(1.2, 3.0)])
    labels, deep = {"breast": _breast, "limb": _limb, "abdomen": _abdomen}[kind](random, spacing)
    if random.random() < 0.5:
        body = labels > 0
        rim = body & ~ndimage.binary_erosion(body, border_value=1)
        labels[rim & (labels == FAT)] = SKIN
    _draw_target(labels, deep, spacing, random)
    noisy = random.random() < 0.5
    if noisy:
        _add_noise(labels, random, cut=MUSCLE if kind == "breast" else BONE)
    folder = Path(folder)
    name = f"{kind}{seed}"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), np.diag([*spacing, 1])),
             folder / f"{name}.nii.gz")
    patient = {"anatomy": {"labels": f"{name}.nii.gz"},
               "regions": {region: {"labels": [label], "tissue": tissue}
                           for label, (region, tissue) in NAMES.items() if (labels == label).any()},
               "target": {"region": "lesion"},
               "transducer": {"axis": "auto", "standoff_mm": "auto"},
               "foci": {"plane_offsets_mm": "auto"}}
    if kind == "breast":
        patient["cut_regions"] = ["muscle"]
    if random.random() < 0.2:
        patient["constraints"] = {"surface": str(random.choice(["skin", "near_field"])),
                                  "reach_mm": 100}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(patient))
    return path


def _grid(extent, spacing):
    """Coordinates [mm] (3, nx, ny, nz) of voxels over an extent (3,) around the origin."""
    count = np.ceil(np.asarray(extent) / spacing).astype(int)
    return np.moveaxis((np.indices(count).T - (count - 1) / 2) * spacing, -1, 0).transpose(
        0, 3, 2, 1)


def _breast(random, spacing):
    """A dome on a chest wall, towards +y; at the sides the scan may end within the body."""
    radius, wall = random.uniform(40, 70), random.uniform(6, 14)
    ended = random.random() < 0.5
    x, y, z = _grid([2.6 * radius, 1.4 * radius + 40, 2.6 * radius], spacing)
    y = y - y.min() - 15  # 15 mm of nothing behind the muscle, which begins at 0
    stretch = random.uniform(0.85, 1.15)
    labels = np.zeros(x.shape, int)
    labels[(y >= 0) & (y < wall + 8)] = FAT  # a layer beside the breast
    labels[(x**2 + (z * stretch) ** 2 + (y - wall) ** 2 < radius**2) & (y >= 0)] = FAT
    labels[(y >= 0) & (y < wall)] = MUSCLE
    if not ended:
        labels[np.hypot(x, z) > 1.2 * radius] = 0
    return labels, (labels == FAT) & (y > wall + 6)


def _limb(random, spacing):
    """A limb along z with its bone; the scan ends within it at both ends."""
    radius = random.uniform(40, 75)
    x, y, z = _grid([2 * radius + 30, 2 * radius + 30, random.uniform(120, 180)], spacing)
    off = random.uniform(-0.3, 0.3, 2) * radius
    r = np.hypot(x, y * random.uniform(0.9, 1.1))
    labels = np.where(r < radius, FAT, 0)
    labels[r < radius - random.uniform(4, 15)] = MUSCLE
    bone = np.hypot(x - off[0], y - off[1])
    labels[bone < random.uniform(9, 15)] = BONE
    inner = np.abs(z) < np.abs(z).max() - 25
    return labels, np.isin(labels, (FAT, MUSCLE)) & inner & (bone > 25)


def _abdomen(random, spacing):
    """A trunk along z with fat, a wall of muscle, liver and spine; the scan ends at both ends."""
    a, b = random.uniform(120, 160), random.uniform(85, 115)
    spacing = spacing + 0.8
    x, y, z = _grid([2 * a + 24, 2 * b + 24, 150], spacing)
    depth = (1 - np.sqrt((x / a) ** 2 + (y / b) ** 2)) * b
    fat = random.uniform(8, 25)
    labels = np.where(depth > 0, FAT, 0)
    labels[depth > fat] = MUSCLE
    labels[depth > fat + random.uniform(8, 14)] = ORGAN
    labels[np.hypot(x, y + 0.6 * b) < 18] = BONE
    inner = (np.abs(z) < np.abs(z).max() - 25) & (y > -0.2 * b)
    return labels, np.isin(labels, (FAT, MUSCLE, ORGAN)) & inner


def _draw_target(labels, allowed, spacing, random):
    """An irregular lesion, its skin-side end at a random depth of 0 to 80 mm."""
    volume = 10 ** random.uniform(-1, 1.3) * 1e3  # [mm3]
    semi = (3 * volume / 4 / np.pi) ** (1 / 3) * np.exp(random.normal(0, 0.2, 3))
    below = ndimage.distance_transform_edt(np.pad(labels > 0, 1, mode="edge"),
                                           sampling=spacing)[1:-1, 1:-1, 1:-1]
    wanted = random.uniform(0, 80) + semi.mean()
    places = np.argwhere(allowed)
    off = np.abs(below[allowed] - wanted)
    nearest = places[off <= off.min() + spacing.max()]
    centre = nearest[random.integers(len(nearest))]
    position = (np.indices(labels.shape).T - centre) * spacing
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    position = position @ turn / semi
    rough = ndimage.gaussian_filter(random.normal(size=labels.shape), 4 / spacing)
    rough *= 0.25 / rough.std()
    inside = (np.linalg.norm(position, axis=-1).T < 1 + rough) & (labels > 0)
    inside &= ~np.isin(labels, (BONE, SKIN))
    for axis in range(3):  # lesions end inside the scan
        np.moveaxis(inside, axis, 0)[[0, 1, -1, -2]] = False
    piece, _ = ndimage.label(inside)
    if piece.any():
        inside = piece == np.bincount(piece.ravel())[1:].argmax() + 1
    inside[tuple(centre)] = True
    if inside.sum() < 40:  # too few voxels to be meshed are no patient but noise
        inside |= ndimage.binary_dilation(inside, iterations=2) & np.isin(labels, (FAT, MUSCLE,
                                                                                    ORGAN))
    labels[inside] = TARGET


def _add_noise(labels, random, cut):
    """Specks of an obstacle, stray voxels of the target, holes, and islands beside the body."""
    body = np.argwhere(np.isin(labels, (FAT, ORGAN)))
    for value, most in ((cut, SPECKS), (TARGET, STRAYS), (0, HOLES)):
        for place in body[random.integers(len(body), size=random.integers(1, most + 1))]:
            labels[tuple(place)] = value
    outside = np.argwhere(labels == 0)
    labels[tuple(outside[random.integers(len(outside))])] = FAT
