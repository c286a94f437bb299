"""Closed triangle surfaces around voxel masks, with the volume chosen."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.optimize import brentq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from hifuflow.errors import NumericalError

LEVELS = (0.02, 0.98)  # where the iso-level of a smoothed mask is looked for
BELOW_PEAK = 0.99  # a mask of a few voxels, smoothed, nowhere reaches 1
TAUBIN, ROUNDS = (0.5, -0.53), 8
SMALLEST_PIECE = 0.02  # of the largest piece's volume; smaller ones cannot be meshed


class SmoothMask:
    """A voxel mask, smoothed and resampled: 1 deep inside, 0 far outside, about 1/2 between.

    Parameters
    ----------
    mask : (nx, ny, nz) bool.
    origin, spacing : (3,) position of the first voxel centre, voxel size [m].
    width : standard deviation of the Gaussian [m].
    step : spacing of the grid on which surfaces are drawn [m].
    """

    def __init__(self, mask, origin, spacing, width, step):
        spacing = np.asarray(spacing, float)
        box = ndimage.find_objects(mask.astype(np.int8))[0]
        pad = np.ceil((3 * width + 2 * step) / spacing).astype(int)
        inner = np.pad(mask[box], [(n, n) for n in pad]).astype(np.float32)
        start = np.asarray(origin) + spacing * ([s.start for s in box] - pad)
        smooth = ndimage.gaussian_filter(inner, width / spacing)
        extent = spacing * (np.array(inner.shape) - 1)
        shape = np.ceil(extent / step).astype(int) + 1
        axes = [np.linspace(0, n - 1, m) for n, m in zip(inner.shape, shape, strict=True)]
        self.values = ndimage.map_coordinates(
            smooth, np.stack(np.meshgrid(*axes, indexing="ij")), order=1)
        self.origin, self.step = start, extent / (shape - 1)

    def surface(self, volume):
        """Closed iso-surfaces at the level where together they enclose `volume` [m3].

        Cavities and pieces below `SMALLEST_PIECE` of the largest are left out.

        Returns
        -------
        list of (points (n, 3) [m], triangles (m, 3) with normals outward), largest first.

        Raises
        ------
        NumericalError : no level encloses that volume.
        """
        return self.pieces(self.level(volume))

    def level(self, volume):
        """The iso-level whose surfaces enclose `volume` [m3]."""
        def excess(level):
            return sum(enclosed_volume(*piece) for piece in self.pieces(level)) - volume

        low, high = LEVELS[0], min(LEVELS[1], BELOW_PEAK * self.values.max())
        if low >= high or excess(low) < 0 or excess(high) > 0:
            raise NumericalError(f"no iso-surface encloses {volume * 1e6:.3f} ml")
        return brentq(excess, low, high, xtol=1e-3, rtol=1e-3)

    def __call__(self, positions):
        """Values of the field at positions (n, 3) [m]."""
        index = (np.asarray(positions) - self.origin) / self.step
        return ndimage.map_coordinates(self.values, index.T, order=1, mode="nearest")

    def pieces(self, level):
        """Closed surfaces at an iso-level, as `surface` returns them."""
        points, triangles, *_ = marching_cubes(self.values, level)
        # scikit-image orients towards the brighter side
        points = _even(points * self.step + self.origin, triangles)
        found = connected_pieces(points, triangles[:, ::-1])
        volumes = np.array([enclosed_volume(*piece) for piece in found])
        order = np.argsort(-volumes, kind="stable")
        return [found[i] for i in order if volumes[i] > SMALLEST_PIECE * volumes.max()]


def _even(points, triangles):
    """Taubin's smoothing (SIGGRAPH 1995): evens out the triangles, shrinks next to nothing.

    Marching cubes leaves slivers wherever the surface passes close to a grid point; Gmsh can
    neither parametrise them nor tell that it cannot.
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
