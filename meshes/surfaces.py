"""Closed triangle surfaces around voxel masks that enclose a given volume."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.optimize import brentq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtri
from skimage.measure import marching_cubes

from hifuflow.errors import NumericalError

LEVELS = 2.0  # largest iso-level, in steps of the surface grid
BELOW_PEAK = 0.05  # steps between the highest level and the field's peak
NEAR = 2.0  # standard deviations within which the smoothed mask gives the distance
CLIP = 1e-4  # distance of the smoothed mask from 0 and 1 at which it no longer does
TAUBIN, ROUNDS = (0.5, -0.53), 8  # factors of Taubin's two steps, and how often they are taken
# Samples of a field whose volume is computed: most in all, and most along a step of its grid.
MOST_SAMPLES, FINEST_SAMPLES = 1e7, 4
SMOOTHING = 0.7  # standard deviation of the Gaussian over the surface grid's spacing


class SmoothMask:
    """Signed distance from the surface of a smoothed voxel mask [m], positive inside.

    A half-space smoothed by a Gaussian of standard deviation s is Phi(d / s) at the distance d
    from its face. So near the surface the distance is s Phi^-1 of the smoothed mask, free of the
    voxels' stairs. Farther away it is the distance to the nearest grid point on the other side.

    Parameters
    ----------
    mask : (nx, ny, nz) bool.
    origin, spacing : (3,) position of the first voxel centre, voxel size [m].
    steps : spacing of the surface grid = cube root of the mask's volume / `steps`, but not less
        than the voxels'.

    The Gaussian's standard deviation is `SMOOTHING` times that spacing.
    """

    def __init__(self, mask, origin, spacing, steps):
        spacing = np.asarray(spacing, float)
        step = np.maximum((mask.sum() * np.prod(spacing)) ** (1 / 3) / steps, spacing)
        width = SMOOTHING * step
        box = ndimage.find_objects(mask.astype(np.int8))[0]
        pad = np.ceil((3 * width + 2 * step) / spacing).astype(int)
        inner = np.pad(mask[box], [(n, n) for n in pad]).astype(np.float32)
        start = np.asarray(origin) + spacing * ([s.start for s in box] - pad)
        smooth = ndimage.gaussian_filter(inner, width / spacing)
        extent = spacing * (np.array(inner.shape) - 1)
        shape = np.ceil(extent / step).astype(int) + 1
        axes = [np.linspace(0, n - 1, m) for n, m in zip(inner.shape, shape, strict=True)]
        smooth = ndimage.map_coordinates(smooth, np.stack(np.meshgrid(*axes, indexing="ij")),
                                         order=1)
        self.origin, self.step = start, extent / (shape - 1)
        self.values = _distance(smooth, width.mean(), self.step)

    def surface(self, volume):
        """The closed iso-surface that encloses `volume` [m3].

        Returns
        -------
        points (n, 3) [m], triangles (m, 3) with normals outward.

        Raises
        ------
        NumericalError : no level gives a surface in one piece that encloses the volume.
        """
        peak, reach = self.values.max(), LEVELS * self.step.max()
        low, high = min(-reach, peak - reach), min(reach, peak - BELOW_PEAK * reach)

        def excess(level):
            return enclosed_volume(*self._largest(level)) - volume

        if low >= high or excess(low) < 0 or excess(high) > 0:
            raise NumericalError(f"no iso-surface encloses {volume * 1e6:.3f} ml")
        return self._largest(brentq(excess, low, high, xtol=1e-4 * reach))

    def level(self, volume):
        """The iso-level [m] above which the interpolated field has the volume `volume` [m3]."""
        finer = int(np.clip(round((MOST_SAMPLES / self.values.size) ** (1 / 3)), 1, FINEST_SAMPLES))
        shape = [finer * (n - 1) + 1 for n in self.values.shape]
        axes = [np.linspace(0, n - 1, m) for n, m in zip(self.values.shape, shape, strict=True)]
        values = ndimage.map_coordinates(self.values, np.stack(np.meshgrid(
            *axes, indexing="ij", copy=False)), order=1).ravel()
        behind = round(volume / np.prod(self.step / finer))
        return -float(np.partition(-values, min(behind, len(values) - 1))[behind])

    def __call__(self, positions):
        """Values of the field at positions (n, 3) [m]."""
        index = (np.asarray(positions) - self.origin) / self.step
        return ndimage.map_coordinates(self.values, index.T, order=1, mode="nearest")

    def _largest(self, level):
        """The iso-surface's largest piece; cavities are left out."""
        points, triangles, *_ = marching_cubes(self.values, level)
        # scikit-image orients towards the brighter side
        points = _even(points * self.step + self.origin, triangles)
        return max(connected_pieces(points, triangles[:, ::-1]),
                   key=lambda piece: enclosed_volume(*piece))


def _distance(smooth, width, step):
    """Signed distance [m] from the surface where a mask smoothed with `width` [m] is 1/2."""
    near = width * ndtri(np.clip(smooth, CLIP, 1 - CLIP))
    inside = smooth > 0.5
    if not inside.any() or inside.all():
        return near
    far = np.where(inside, ndimage.distance_transform_edt(inside, sampling=step),
                   -ndimage.distance_transform_edt(~inside, sampling=step))
    beyond = np.sign(near) * np.maximum(np.abs(far), NEAR * width)
    return np.where(np.abs(near) < NEAR * width, near, beyond)


def _even(points, triangles):
    """Points after Taubin's smoothing (SIGGRAPH 1995), which evens out triangles without shrinkage.

    Marching cubes leaves slivers wherever the surface passes close to a grid point. Gmsh cannot
    parametrise them, and does not report that.
    """
    n = len(points)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    graph = coo_array((np.ones(len(edges)), edges.T), (n, n)).tocsr()  # each edge both ways
    degree = graph.sum(axis=1)[:, None]
    for factor in TAUBIN * ROUNDS:
        points = points + factor * (graph @ points / degree - points)
    return points


def enclosed_volume(points, triangles):
    """Volume inside a closed surface, by the divergence theorem [m3]; > 0 if normals point out."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6


def connected_pieces(points, triangles):
    """Split a surface into its connected pieces, each renumbered."""
    n = len(points)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges)), edges.T), (n, n))
    count, piece = connected_components(graph, directed=False)
    pieces = []
    for k in range(count):
        part = triangles[piece[triangles[:, 0]] == k]
        if len(part):
            used, inverse = np.unique(part, return_inverse=True)
            pieces.append((points[used], inverse.reshape(-1, 3)))
    return pieces
