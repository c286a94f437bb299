"""Figures of the models: meshes and the reduction."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.numerics.tetrahedra import EDGES, smallest_dihedral
from hifuflow.records.mesh import check_mesh
from hifuflow.records.mesh_groups import region_of

from .anatomy import beam_arrow, depth_axis
from .style import (
    BLUE,
    GREEN,
    INK,
    LIMIT,
    ORANGE,
    VERMILION,
    image_axes,
    label_image,
    new_figure,
    panel,
    region_colours,
    style,
)
from .view import Plane, View


def read_tetrahedra(path):
    """Vertices (n, 3) [m], tetrahedra (m, 4) and the region name of each (m,) of a mesh file."""
    mesh = read_mesh_file(check_mesh(path))
    regions = np.array([region_of(mesh.names.get(tag, "")) for tag in mesh.tags.tolist()])
    return mesh.points, mesh.cells, regions


def cut_tetrahedra(points, cells, normal, height: float):
    """Polygons in which the plane {x : normal . x = height} cuts tetrahedra.

    Parameters
    ----------
    points : (n, 3) [m].  cells : (m, 4).  normal : (3,) unit vector.  height : [m].

    Returns
    -------
    polygons : list of (3 or 4, 3) corners in order around the polygon [m].
    owner : (len(polygons),) index of the tetrahedron of each.
    """
    distance = points @ normal - height
    # A vertex exactly on the plane would give polygons with repeated corners.
    scale = np.ptp(points, axis=0).max() * 1e-9
    distance = np.where(np.abs(distance) < scale, scale, distance)
    sign = distance[cells] > 0
    owner = np.flatnonzero(sign.any(axis=1) & ~sign.all(axis=1))
    polygons = []
    for cell in cells[owner]:
        ends = cell[EDGES]
        d = distance[ends]
        crossed = d[:, 0] * d[:, 1] < 0
        d, ends = d[crossed], ends[crossed]
        share = (d[:, 0] / (d[:, 0] - d[:, 1]))[:, None]
        corners = points[ends[:, 0]] * (1 - share) + points[ends[:, 1]] * share
        polygons.append(_around(corners, normal))
    return polygons, owner


def _around(corners, normal):
    """Corners of a convex polygon in order."""
    arm = corners - corners.mean(axis=0)
    angle = np.arctan2(np.cross(normal, arm[0]) @ arm.T, arm @ arm[0])
    return corners[np.argsort(angle)]


def mesh_cuts(mesh_paths: dict, anatomy, view: View):
    """Cuts through the meshes and the label map, along the beam through the target's centre.

    First row: the whole cut; second row: around the target.
    """
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    body = anatomy.position(np.argwhere(anatomy.body_mask))
    target = anatomy.position(np.argwhere(anatomy.target_mask))
    u, v = view.across[0], view.upright
    middle = (body.min(axis=0) + body.max(axis=0)) / 2
    centre = centroid + sum(((middle - centroid) @ axis) * axis for axis in (u, v))
    step = anatomy.spacing.min()
    halves = [np.abs((body - centre) @ axis).max() + 2 * step for axis in (u, v)]
    plane = Plane.around(centre, u, v, *halves, step / 2)
    labels = plane.sample(anatomy.labels, anatomy.affine, order=0)
    near = [float(np.abs((target - centroid) @ axis).max()) + 6 * step for axis in (u, v)]
    colours = region_colours(anatomy)
    with style():
        width = 3.3
        rows = (width * halves[1] / halves[0], width * near[1] / near[0])
        figure = new_figure(0.9 + sum(rows))
        panels = figure.subplots(2, max(2, len(mesh_paths)), squeeze=False, height_ratios=rows)
        for column, (name, path) in enumerate(mesh_paths.items()):
            points, cells, regions = read_tetrahedra(path)
            polygons, owner = cut_tetrahedra(points, cells, plane.w, plane.height)
            flat = [polygon @ np.column_stack([u, v]) * 1e3 for polygon in polygons]
            fill = [colours.get(regions[i], "#ffffff") for i in owner]
            for row, ax in enumerate(panels[:, column]):
                ax.imshow(label_image(anatomy, labels), extent=plane.extent, origin="lower")
                ax.add_collection(PolyCollection(flat, facecolors=fill, edgecolors=INK, alpha=0.5,
                                                 linewidths=(0.25, 0.6)[row]))
                image_axes(ax)
                at = centroid if row else centre
                reach = near if row else halves
                ax.set(xlim=[1e3 * (at @ u + s * reach[0]) for s in (-1, 1)],
                       ylim=[1e3 * (at @ v + s * reach[1]) for s in (-1, 1)],
                       xlabel=view.label(u))
                depth_axis(ax, view)
            beam_arrow(panels[0, column], view, 0.04)
            panel(panels[0, column], "ab"[column] if column < 2 else str(column),
                  f"{name.capitalize()} mesh, {len(cells):,} tetrahedra")
            panels[1, column].set_title("Around the target")
        for ax in panels[:, len(mesh_paths):].flat:
            ax.set_axis_off()
        figure.legend(handles=[Patch(fc=colour, ec=INK, lw=0.4, label=name)
                               for name, colour in colours.items()],
                      loc="outside lower center", ncols=min(6, len(colours)))
        return figure


def mesh_angles(mesh_paths: dict):
    """Histogram of the cells' smallest dihedral angles, with their first percentile."""
    with style():
        figure = new_figure(2.5, 4.8)
        ax = figure.subplots()
        for (name, path), colour, line in zip(mesh_paths.items(), (BLUE, VERMILION), ("-", "--"),
                                              strict=False):
            points, cells, _ = read_tetrahedra(path)
            angles = smallest_dihedral(points, cells)
            ax.hist(angles, bins=np.arange(0, 73, 2), histtype="step", color=colour, ls=line,
                    weights=np.full(len(angles), 1 / len(angles)), gid=f"angles {name}",
                    label=f"{name}, least {angles.min():.1f}, "
                          f"first percentile {np.percentile(angles, 1):.1f}")
        ax.set(xlabel="smallest dihedral angle of a cell (degrees)", ylabel="share of the cells",
               xlim=(0, 72))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend(loc="upper left")
        return figure


def hankel(hsv, error_bound, order: int, full_order: int | None = None):
    """Hankel singular values and the H-infinity error bound, relative, against the order."""
    hsv, bound = np.asarray(hsv), np.asarray(error_bound)
    number = np.arange(1, len(hsv) + 1)
    with style():
        figure = new_figure(2.9, 4.8)
        ax = figure.subplots()
        ax.semilogy(number, hsv / hsv[0], color=BLUE, label="Hankel singular values", gid="hsv")
        positive = bound > 0
        ax.semilogy(number[positive], bound[positive] / hsv[0], color=VERMILION, ls="--",
                    label="error bound of the model cut after this state", gid="bound")
        ax.axvline(order, color=LIMIT, lw=0.8, ls=":")
        left = order > len(hsv) / 2
        ax.annotate(f"order {order:,}" + (f" of {full_order:,}" if full_order else ""),
                    (order, 0.02), (-4 if left else 4, 0), xycoords=("data", "axes fraction"),
                    textcoords="offset points", fontsize=7, ha="right" if left else "left")
        ax.set(xlabel="state number", ylabel="relative to the largest Hankel value",
               xlim=(1, max(len(hsv), order) * 1.02))
        ax.set_ylim(bottom=max((hsv[hsv > 0] / hsv[0]).min(), 1e-17) * 0.3)
        ax.legend(loc="upper center")
        return figure


def truncation_errors(record: dict, order: int):
    """Largest error of any output in a replayed treatment against the order, by method.

    `record` is `error_against_order` of the certificate.
    """
    kinds = (("balanced_k", "balanced truncation", BLUE, "o"),
             ("reachable_space_k", "reachable-space truncation", GREEN, "s"),
             ("modal_k", "modal truncation", ORANGE, "^"))
    with style():
        figure = new_figure(2.9, 4.8)
        ax = figure.subplots()
        for key, label, colour, marker in kinds:
            ax.loglog(record["order"], record[key], color=colour, marker=marker, ms=3.5,
                      label=label, gid=key)
        ax.axvline(order, color=LIMIT, lw=0.8, ls=":")
        ax.set(xlabel="states", ylabel="largest error of any output (K)")
        ax.legend(loc="lower left")
        return figure
