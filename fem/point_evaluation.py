"""Values of a quadratic finite-element function at arbitrary points, as a sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from dolfinx import geometry
from dolfinx import mesh as dmesh

from hifuflow.numerics.quadratic import quadratic_shape_functions

POINTS_AT_ONCE = 200_000
ROUND_OFF = 1e-10  # barycentric distance outside a cell that still counts as inside


@dataclass
class Located:
    """Points located in a mesh.

    Attributes
    ----------
    cell : (n,) cell that contains the point, or the closest one.
    barycentric : (n, 4) coordinates of the point, or of the closest point of the mesh.
    distance : (n,) distance to the mesh [m], 0 inside.
    """

    cell: np.ndarray
    barycentric: np.ndarray
    distance: np.ndarray

    def __getitem__(self, selection) -> Located:
        """A selection of the points."""
        return Located(self.cell[selection], self.barycentric[selection],
                       self.distance[selection])


class PointEvaluator:
    """Evaluator of a quadratic Lagrange space at arbitrary points.

    Parameters
    ----------
    space : quadratic Lagrange space on a tetrahedral mesh, on one process.
    """

    def __init__(self, space):
        self.space = space
        domain = space.mesh
        self.vertices = domain.geometry.x[domain.geometry.dofmaps[0]]
        edges = np.swapaxes(self.vertices[:, 1:] - self.vertices[:, :1], 1, 2)
        self._origin = self.vertices[:, 0].copy()
        self._to_reference = np.ascontiguousarray(np.swapaxes(np.linalg.inv(edges), 0, 1))
        self._tree = geometry.bb_tree(domain, 3)
        domain.topology.create_connectivity(2, 3)
        domain.topology.create_connectivity(2, 0)
        self._surface = dmesh.exterior_facet_indices(domain.topology)
        self._surface_tree = geometry.bb_tree(domain, 2, entities=self._surface)
        self._surface_midpoints = geometry.create_midpoint_tree(domain, 2, self._surface)

    @property
    def n_nodes(self) -> int:
        """Number of nodes of the space."""
        return self.space.dofmap.index_map.size_local

    def locate(self, points: np.ndarray) -> Located:
        """Locate points (n, 3) [m]; for those outside the mesh, its closest point."""
        points = np.asarray(points, dtype=float).reshape(-1, 3)
        parts = [self._inside(points[start:start + POINTS_AT_ONCE])
                 for start in range(0, len(points), POINTS_AT_ONCE)]
        cell = np.concatenate([part[0] for part in parts] or [np.empty(0, dtype=np.int64)])
        barycentric = np.concatenate([part[1] for part in parts] or [np.empty((0, 4))])
        distance = np.zeros(len(points))
        outside = np.flatnonzero(cell < 0)
        if len(outside):
            closest = self._closest(points[outside])
            cell[outside], barycentric[outside], distance[outside] = closest
        return Located(cell, barycentric, distance)

    def interpolation(self, located: Located) -> sp.csr_array:
        """(n, n_nodes) CSR matrix: values at the located points = matrix @ nodal values."""
        n = len(located.cell)
        columns = self.space.dofmap.list[located.cell]
        values = quadratic_shape_functions(located.barycentric)
        starts = np.arange(0, 10 * n + 1, 10, dtype=np.int32 if 10 * n < 2**31 else np.int64)
        matrix = sp.csr_array((values.ravel(), columns.ravel(), starts), shape=(n, self.n_nodes))
        matrix.sort_indices()
        return matrix

    def barycentric(self, cells: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(n, 4) barycentric coordinates of points (n, 3) [m], each in its cell of `cells` (n,)."""
        offset = points - self._origin[cells]
        result = np.empty((4, len(points)))  # coordinate by coordinate: several times faster
        for row in range(3):
            np.einsum("nj,nj->n", self._to_reference[row][cells], offset, out=result[row + 1])
        result[0] = 1 - result[1] - result[2] - result[3]
        return result.T

    def _inside(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cell (-1 outside) and barycentric coordinates of each point.

        Among the cells whose box contains the point, the one in which it lies deepest.
        """
        candidates = geometry.compute_collisions_points(self._tree, points)
        cells, count = candidates.array, np.diff(candidates.offsets)
        boxed = np.flatnonzero(count)
        point = np.repeat(np.arange(len(points)), count)
        barycentric = self.barycentric(cells, points[point])
        depth = barycentric.min(axis=1)
        cell, best = np.full(len(points), -1, dtype=np.int64), np.zeros((len(points), 4))
        if len(boxed):
            deepest = np.maximum.reduceat(depth, candidates.offsets[boxed])
            hit = np.flatnonzero((depth == np.repeat(deepest, count[boxed]))
                                 & (depth >= -ROUND_OFF))[::-1]  # of equals, the first remains
            cell[point[hit]], best[point[hit]] = cells[hit], barycentric[hit]
        return cell, best

    def _closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cell, barycentric coordinates and distance [m] of the closest points of the surface."""
        domain = self.space.mesh
        facets = geometry.compute_closest_entity(self._surface_tree, self._surface_midpoints,
                                                 domain, points)
        corners = dmesh.entities_to_geometry(domain, 2, facets)
        closest = closest_point_on_triangle(points, domain.geometry.x[corners])
        links = domain.topology.connectivity(2, 3)
        cells = links.array[links.offsets[facets]].astype(np.int64)
        barycentric = np.clip(self.barycentric(cells, closest), 0, 1)
        barycentric /= barycentric.sum(axis=1, keepdims=True)
        return cells, barycentric, np.linalg.norm(points - closest, axis=1)


def closest_point_on_triangle(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(n, 3) closest points of triangles (n, 3, 3) to points (n, 3)."""
    a = triangles[:, 0]
    ab, ac = triangles[:, 1] - a, triangles[:, 2] - a
    gram = np.empty((len(points), 2, 2))
    gram[:, 0, 0], gram[:, 1, 1] = (ab * ab).sum(axis=1), (ac * ac).sum(axis=1)
    gram[:, 0, 1] = gram[:, 1, 0] = (ab * ac).sum(axis=1)
    offset = points - a
    rhs = np.stack([(offset * ab).sum(axis=1), (offset * ac).sum(axis=1)], axis=1)
    u, v = np.linalg.solve(gram, rhs[..., None])[..., 0].T
    closest = a + u[:, None] * ab + v[:, None] * ac
    off_plane = (u < 0) | (v < 0) | (u + v > 1)
    best = np.full(len(points), np.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        p, d = triangles[:, start], triangles[:, end] - triangles[:, start]
        t = np.clip(((points - p) * d).sum(axis=1) / (d * d).sum(axis=1), 0, 1)
        on_edge = p + t[:, None] * d
        distance = ((points - on_edge) ** 2).sum(axis=1)
        nearer = off_plane & (distance < best)
        closest[nearer], best[nearer] = on_edge[nearer], distance[nearer]
    return closest
