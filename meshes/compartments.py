"""Compartments that the mesh conforms to: body, target, and organs with a real boundary."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy

from .settings import MeshSettings

# Outside of the body; in it, but in neither target nor organ; the target. Organs follow.
OUTSIDE, REST, TARGET = 0, 1, 2
TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner are connected
LEAST_VOXELS = 8  # of a piece that gets a surface
SMALLEST_PIECE = 0.02  # volume over that of the compartment's largest piece; below it no surface
MOST_PIECES = 24  # more pieces than this are not meshed one by one


@dataclass
class Compartments:
    """The label map divided into the compartments that the mesh conforms to.

    Attributes
    ----------
    names : of the compartments: "outside", "rest", "target", then organs by their region's name.
    index : (nx, ny, nz) int16, compartment of each voxel; cavities of the body are "rest".
    origin, spacing : (3,) position of the first voxel centre, voxel size [m].
    volumes : (n - 1,) volume enclosed by each surface, by the voxels: of the body, the target, the
        organs [m3]. Islands without a surface do not count.
    dropped : islands without a surface: {"compartment", "pieces", "volume_m3"}.
    """

    names: list
    index: np.ndarray
    origin: np.ndarray
    spacing: np.ndarray
    volumes: np.ndarray
    dropped: list = field(default_factory=list)

    @classmethod
    def of(cls, anatomy: Anatomy, settings: MeshSettings) -> Compartments:
        """Compartments of a segmented body.

        Raises
        ------
        InputError : the target has no piece large enough for a surface.
        """
        organs = [name for name in settings.organs
                  if name in anatomy.regions and name not in anatomy.target]
        body = anatomy.body_mask
        index = np.where(ndimage.binary_fill_holes(body), REST, OUTSIDE).astype(np.int16)
        index[anatomy.target_mask] = TARGET
        for number, name in enumerate(organs, start=TARGET + 1):
            index[anatomy.labels == anatomy.regions[name]["label"]] = number
        names = ["outside", "rest", "target", *organs]
        voxels = np.bincount(index.ravel(), minlength=len(names))[REST:]
        volumes = np.array([voxels.sum(), *voxels[1:]]) * anatomy.voxel_volume
        made = cls(names, index, anatomy.affine[:3, 3].copy(), anatomy.spacing, volumes)
        made._drop_islands(anatomy, settings.written.file)
        return made

    def _drop_islands(self, anatomy, file):
        """Join small pieces to what is around them; of the body, keep only the target's piece."""
        whole = self.index != OUTSIDE
        piece, count = ndimage.label(whole)
        if count > 1:
            target_voxels = np.bincount(piece[self.index == TARGET], minlength=count + 1)
            dropped = whole & (piece != target_voxels.argmax())
            self._note("body", count - 1, dropped)
            self.volumes[0] -= dropped.sum() * np.prod(self.spacing)
            self.index[dropped] = OUTSIDE
        for number, name in list(enumerate(self.names))[TARGET:]:
            piece, count = ndimage.label(self.index == number, TOUCHING)
            voxels = np.bincount(piece.ravel(), minlength=count + 1)
            voxels[0] = 0
            small = voxels < max(LEAST_VOXELS, SMALLEST_PIECE * voxels.max(initial=0))
            small[0] = False
            if small.any():
                dropped = small[piece]
                self._note(name, int(small.sum()), dropped)
                self.index[dropped] = REST
                self.volumes[number - REST] -= dropped.sum() * np.prod(self.spacing)
            if number == TARGET and not (self.index == TARGET).any():
                raise InputError(
                    f"the target is too small: {int(anatomy.target_mask.sum())} voxels, the "
                    f"largest piece has {int(voxels.max())}", file=file, key="target",
                    allowed=f"a piece of at least {LEAST_VOXELS} voxels: a finer map, a larger "
                            "target, or target.margin_mm")

    def _note(self, name, pieces, dropped):
        volume = float(dropped.sum() * np.prod(self.spacing))
        self.dropped.append({"compartment": name, "pieces": pieces, "volume_m3": volume})
        log.info("%d island(s) of %s (%.3f ml in all) without a surface of their own", pieces, name,
                 volume * 1e6)

    def give_up(self, name) -> None:
        """Join an organ that gets no surface to what is around it."""
        number = self.names.index(name, TARGET + 1)
        self.index[self.index == number] = REST
        self.index[self.index > number] -= 1
        del self.names[number]
        self.volumes = np.delete(self.volumes, number - REST)

    def mask(self, number) -> np.ndarray:
        """(nx, ny, nz) bool, voxels of a compartment; `REST` stands for the whole body."""
        return self.index >= REST if number == REST else self.index == number


@dataclass
class Piece:
    """A connected piece of a compartment and all that lies inside it.

    Attributes
    ----------
    compartment : its number.  hull : (nx, ny, nz) bool, the piece without holes.
    parent : index of the piece around it; None for the outermost.
    gap : smallest distance of the hull from anything but its parent [m].
    """

    compartment: int
    hull: np.ndarray
    parent: int | None
    gap: float


def nested_pieces(compartments: Compartments):
    """The nested pieces (list of `Piece`, outer ones first), or why there are none (str)."""
    pieces = np.zeros(compartments.index.shape, np.int32)
    owner = [OUTSIDE]
    for number in range(REST, len(compartments.names)):
        labels, count = ndimage.label(compartments.index == number, TOUCHING)
        pieces[labels > 0] = labels[labels > 0] + len(owner) - 1
        owner += [number] * count
    if len(owner) > MOST_PIECES:
        return f"{len(owner) - 1} pieces in all"
    pieces = np.pad(pieces, 1)
    neighbours = _neighbours(pieces)
    parent = _tree(neighbours, len(owner))
    if parent is None:
        a, b = _cycle(neighbours, len(owner))
        return (f"{compartments.names[owner[a]]} and {compartments.names[owner[b]]} touch, and a "
                "third beside them")
    order, nested = [0], []
    for node in order:
        order += [child for child in range(1, len(owner)) if parent[child] == node]
    for node in order[1:]:
        inside = np.isin(pieces, _descendants(parent, node))
        free = inside | (pieces == parent[node])
        depth = ndimage.distance_transform_edt(free, sampling=compartments.spacing)
        outer = None if parent[node] == 0 else order.index(parent[node]) - 1
        gap = np.inf if outer is None else float(depth[inside].min())
        nested.append(Piece(owner[node], inside[1:-1, 1:-1, 1:-1], outer, gap))
    return nested


def _neighbours(pieces):
    """Set of pairs (a, b), a < b, of pieces that share at least a voxel's corner."""
    pairs, count = set(), int(pieces.max()) + 1
    for step in product((-1, 0, 1), repeat=3):
        if step > (0, 0, 0):
            here = tuple(slice(max(-s, 0), n - max(s, 0))
                         for s, n in zip(step, pieces.shape, strict=True))
            there = tuple(slice(max(s, 0), n - max(-s, 0))
                          for s, n in zip(step, pieces.shape, strict=True))
            a, b = pieces[here], pieces[there]
            differ = a != b
            code = (np.minimum(a, b)[differ].astype(np.int64) * count
                    + np.maximum(a, b)[differ])
            pairs |= {(int(c) // count, int(c) % count) for c in np.unique(code)}
    return pairs


def _tree(pairs, count):
    """Parent of each piece, from the outside (0) inwards; None if the pieces form a cycle."""
    parent, frontier = {0: None}, [0]
    for node in frontier:
        for a, b in sorted(pairs):
            if node in (a, b):
                other = b if node == a else a
                if other not in parent:
                    parent[other] = node
                    frontier.append(other)
    return parent if len(pairs) == count - 1 == len(parent) - 1 else None


def _cycle(pairs, count):
    """A pair on a cycle: the last one without which all pieces still connect."""
    for pair in sorted(pairs, reverse=True):
        others = pairs - {pair}
        seen, frontier = {0}, [0]
        for node in frontier:
            for a, b in others:
                if node in (a, b):
                    other = b if node == a else a
                    if other not in seen:
                        seen.add(other)
                        frontier.append(other)
        if len(seen) == count:
            return pair
    return max(pairs)


def _descendants(parent, node):
    descendants = [node]
    for other in descendants:
        descendants += [child for child, above in parent.items() if above == other]
    return descendants
