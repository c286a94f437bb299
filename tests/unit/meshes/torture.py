"""Small label maps, each with something that defeats a mesher."""

import numpy as np

from hifuflow.records.anatomy import Anatomy

N = 32  # voxels along an edge


def torture_maps() -> dict:
    """Name -> (`Anatomy`, names of the regions with a boundary). The target is ``tumour``."""
    x, y, z = np.indices((N, N, N)) - (N - 1) / 2

    def ball(cx, cy, cz, r):
        return (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= r**2

    body, random = ball(0, 0, 0, 13.5), np.random.default_rng(4)
    holed = ball(0, 0, 0, 7) & ~ball(0, 0, 0, 4)
    specks = body & (random.random(body.shape) < 0.02)
    edge = np.zeros_like(body)
    edge[12:16, 12:16, 12:20] = edge[16:20, 16:20, 12:20] = True  # share one voxel's edge
    seeds = random.uniform(-9, 9, (6, 3))
    nearest = np.argmin([(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 for a, b, c in seeds], axis=0)
    ring = (np.hypot(x, y) - 7) ** 2 + z**2 <= 2.6**2
    cup = body & ~((np.hypot(x, y) < 6) & (z < 2))
    spots = body & (random.random(body.shape) < 0.5)
    bone = (np.abs(x - 2) < 4) & (np.abs(y) < 6) & body
    return {
        "nested": _anatomy(body, ball(1, 0, -2, 5)),
        "at the skin": _anatomy(body, ball(0, 0, -9, 5)),
        "two components": _anatomy(body, ball(-5, 0, 0, 3.5) | ball(5, 1, 0, 4)),
        "hole": _anatomy(body, holed),
        "islands": _anatomy(body, ball(0, 0, 0, 5) | specks),
        "edge contact": _anatomy(body, edge),
        "thin layer": _anatomy(body, (np.abs(z) < 1.1) & (np.hypot(x, y) < 8)),
        "six touching": _anatomy(body, nearest == 0, {f"organ{k}": nearest == k
                                                      for k in range(1, 6)}),
        "in bone": _anatomy(body, ball(2, 0, 0, 2.8), {"bone": bone}),
        "long voxels": _anatomy(body, ball(0, 1, 0, 5), spacing=(1e-3, 1e-3, 3e-3)),
        "ring": _anatomy(body, ring),
        "cup, speckled": _anatomy(cup, ball(0, 0, 7, 4), speckled=spots),
    }


def _anatomy(body, target, organs=None, speckled=None, spacing=(2e-3,) * 3):
    """Fat (and gland in spots) with organs and the target, water in front."""
    labels, names = body.astype(np.int16), {"fat": 1}
    if speckled is not None:
        labels[speckled & body] = names["gland"] = 2
    for name, mask in (organs or {}).items():
        names[name] = len(names) + 1
        labels[mask & body] = names[name]
    names["tumour"] = len(names) + 1
    labels[target & body] = names["tumour"]
    affine = np.diag([*spacing, 1.0])
    volume = np.bincount(labels.ravel(), minlength=len(names) + 1) * np.prod(spacing)
    regions = {name: {"label": label, "tissue": "fat", "volume_m3": float(volume[label])}
               for name, label in names.items() if volume[label] > 0}
    water = (labels == 0) & (np.indices(labels.shape)[2] < N / 2)
    made = Anatomy(labels, affine, regions, ["tumour"], water, np.array([0, 0, 1.0]), "")
    return made, [name for name in organs or {} if name in regions]
