"""Planes through the patient, along and across the beam.

Every figure is drawn in patient coordinates [mm]. A plane is spanned by two unit vectors; for a
beam along an axis of the patient these are the other two patient axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

NAMES = ("x", "y", "z")
SENSES = ("L → R", "P → A", "I → S")


@dataclass(frozen=True)
class View:
    """The directions in which a patient is drawn.

    Attributes
    ----------
    depth : (3,) unit vector along the beam.  across : two (3,) unit vectors normal to it.
    anatomical : whether x, y, z mean left-right, back-front and foot-head of a person.
    """

    depth: np.ndarray
    across: tuple[np.ndarray, np.ndarray]
    anatomical: bool = True

    @classmethod
    def of(cls, axis, anatomical: bool = True) -> View:
        """View along `axis`; an axis that is oblique by more than rounding gets its own frame."""
        axis = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
        main = int(np.argmax(np.abs(axis)))
        unit = np.eye(3)
        if np.abs(axis[main]) > 1 - 1e-9:
            first, second = (unit[i] for i in range(3) if i != main)
        else:
            first = np.cross(unit[(main + 1) % 3], axis)
            first /= np.linalg.norm(first)
            second = np.cross(axis, first)
        return cls(axis, (first, second), anatomical)

    @property
    def upright(self) -> np.ndarray:
        """(3,) depth direction with the patient's sign: along +x, +y or +z if axis-aligned."""
        sign = np.sign(self.depth[np.argmax(np.abs(self.depth))])
        return self.depth * sign

    @property
    def deeper_is_larger(self) -> bool:
        """Whether the beam travels towards larger coordinates."""
        return bool(np.allclose(self.upright, self.depth))

    def label(self, direction) -> str:
        """Axis label of a direction, e.g. 'x (mm), L → R'."""
        main = int(np.argmax(np.abs(direction)))
        if direction[main] < 1 - 1e-9:
            if np.allclose(direction, self.upright):
                return "along the beam (mm)"
            return "across the beam (mm)"
        sense = f", {SENSES[main]}" if self.anatomical else ""
        return f"{NAMES[main]} (mm){sense}"

    def name(self, direction) -> str:
        """Short name of a direction: 'x', 'y', 'z', or 'depth' and 'across' when oblique."""
        main = int(np.argmax(np.abs(direction)))
        if direction[main] < 1 - 1e-9:
            return "depth" if np.allclose(direction, self.upright) else "across"
        return NAMES[main]


@dataclass(frozen=True)
class Plane:
    """A rectangle of sample points in the patient.

    Attributes
    ----------
    u, v : (3,) unit vectors, shown to the right and upwards.
    us, vs : coordinates of the samples along them [m].
    w : (3,) normal.  height : coordinate of the plane along w [m].
    """

    u: np.ndarray
    v: np.ndarray
    us: np.ndarray
    vs: np.ndarray
    w: np.ndarray
    height: float

    @classmethod
    def around(cls, centre, u, v, half_u: float, half_v: float, step: float) -> Plane:
        """Rectangle of half widths `half_u`, `half_v` about `centre`, sampled every `step` [m]."""
        w = np.cross(u, v)
        return cls(u, v, *(centre @ axis + step * np.arange(-round(half / step),
                                                            round(half / step) + 1)
                           for axis, half in ((u, half_u), (v, half_v))), w, float(centre @ w))

    @property
    def points(self) -> np.ndarray:
        """(n_v, n_u, 3) patient positions of the samples [m]."""
        v, u = np.meshgrid(self.vs, self.us, indexing="ij")
        return (u[..., None] * self.u + v[..., None] * self.v) + self.height * self.w

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Edges for `imshow(origin="lower")` [mm]."""
        u, v = self.us * 1e3, self.vs * 1e3
        du, dv = (u[1] - u[0]) / 2, (v[1] - v[0]) / 2
        return u[0] - du, u[-1] + du, v[0] - dv, v[-1] + dv

    def sample(self, volume, affine, order: int = 1, outside: float = 0) -> np.ndarray:
        """(n_v, n_u) values of a voxel image on the plane (order 0: nearest voxel)."""
        inverse = np.linalg.inv(affine)
        index = self.points @ inverse[:3, :3].T + inverse[:3, 3]
        # Rounding must not push a sample that lies on the border of the image outside it.
        index = np.round(index, 6)
        return map_coordinates(volume, np.moveaxis(index, -1, 0), order=order, cval=outside,
                               mode="constant")


def volume_of(anatomy, index, values, outside) -> np.ndarray:
    """(nx, ny, nz) float image of per-voxel values on the grid of `anatomy`."""
    volume = np.full(anatomy.labels.shape, outside, dtype=np.float32)
    volume[tuple(np.asarray(index).T)] = values
    return volume


def target_heights(anatomy, view: View) -> np.ndarray:
    """Coordinates along the beam [m] of every layer of voxels with a part of the target, ascending.

    For an oblique beam the layers are one voxel apart.
    """
    points = anatomy.position(np.argwhere(anatomy.target_mask)) @ view.upright
    step = float(np.abs(view.upright) @ anatomy.spacing)
    start = points.min()
    return start + step * np.unique(np.round((points - start) / step).astype(int))


def ellipsoids(constraints: dict) -> list[dict]:
    """The constraint surfaces that are ellipsoids."""
    return [surface for surface in constraints["surfaces"] if surface["kind"] == "ellipsoid"]


def scattered_points(constraints: dict) -> np.ndarray:
    """(n, 3) points [m] of the other constraints, which have no surface to draw."""
    drawn = {surface["name"] for surface in ellipsoids(constraints)}
    points = np.asarray(constraints["position_m"], dtype=float).reshape(-1, 3)
    return points[[name not in drawn for name in constraints["name"]]]


def ellipsoid_value(points, surface: dict) -> np.ndarray:
    """|R^T (p - centre) / semi-axes|^2: below 1 inside the ellipsoid, 1 on it.

    `surface["rotation"]` holds the directions of the semi-axes as columns.
    """
    rotation = np.asarray(surface.get("rotation", np.eye(3)), dtype=float)
    local = (points - np.asarray(surface["centre_m"])) @ rotation
    return np.sum((local / np.asarray(surface["semi_axes_m"])) ** 2, axis=-1)
