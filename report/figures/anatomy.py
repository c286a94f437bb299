"""Figures of the patient, the constraint surface and the planned foci."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from .style import BEAM, BLUE, DEPTH, INK, MUTED, SKY, TARGET, WIDTH, image_axes, new_figure, style
from .view import Plane, View, ellipsoids, target_heights

SKIN = "#dfc6a6"


def geometry(anatomy, constraints: dict, view: View):
    """Figure 3: (a) body and target; (b) the constraint surface with its points, and the target.

    Surfaces are marching-cubes surfaces of the lightly smoothed voxel masks.
    """
    with style():
        figure = new_figure(3.3)
        figure.set_layout_engine("none")
        body = surface(anatomy, anatomy.body_mask, coarse=True)
        target = surface(anatomy, anatomy.target_mask)
        points = np.asarray(constraints["position_m"], dtype=float).reshape(-1, 3)
        shown = [target[0], points]
        left, right = [0.0, 0.06, 0.5, 0.94], [0.48, 0.06, 0.5, 0.94]
        ax = _axes(figure, left, view, body[0])
        _draw(ax, view, *target, TARGET)
        _glass(figure, left, view, body[0], *body, SKIN, 0.42)
        ax.text2D(0.06, 0.94, "$\\bf{a}$  Body and target", transform=ax.transAxes, fontsize=8)

        shells = [ellipsoid_mesh(surface) for surface in ellipsoids(constraints)]
        shown = np.vstack(shown + [vertices for vertices, _ in shells])
        ax = _axes(figure, right, view, shown)
        _draw(ax, view, *target, TARGET)
        dots = {"ls": "", "marker": "o", "ms": 2.6, "mfc": BLUE, "mec": "white", "mew": 0.4}
        front = _in_front(ax, points, view)
        ax.plot(*_coordinates(points[~front], view).T, **dots, gid="constraints behind")
        for shell in shells:
            _glass(figure, right, view, shown, *shell, SKY, 0.38)
        above = _axes(figure, right, view, shown)
        above.set_axis_off()
        above.plot(*_coordinates(points[front], view).T, **dots, gid="constraints in front")
        ax.text2D(0.06, 0.94, f"$\\bf{{b}}$  Constraint surface, {len(points)} points",
                  transform=ax.transAxes, fontsize=8)
        figure.legend(handles=[Patch(fc=SKIN, label="body"), Patch(fc=TARGET, label="target"),
                               *([Patch(fc=SKY, alpha=0.5, label="constraint surface")]
                                 if shells else []),
                               Line2D([], [], ls="", marker="o", ms=4, color=BLUE,
                                      label="constrained point")],
                      loc="lower center", ncols=4)
        return figure


def surface(anatomy, mask, coarse: bool = False):
    """Vertices [m] and triangles around a mask; closed also where the image ends."""
    padded = np.pad(mask.astype(np.float32), 2)
    smooth = gaussian_filter(padded, 1.0 if coarse else 0.6)
    level = min(0.5, 0.5 * float(smooth.max()))  # a few voxels are smoothed away
    step = max(1, round(max(mask.shape) / 50)) if coarse else 1
    vertices, faces = isosurface(smooth, level, step)
    return anatomy.position(vertices - 2), faces


def isosurface(field, level: float, step: int):
    """Vertices [cells] and triangles of the surface where a field (nx, ny, nz) has a level.

    It is computed on every `step`-th cell, or on every cell if the surface slips through these.
    """
    try:
        return marching_cubes(field, level, step_size=step)[:2]
    except (RuntimeError, ValueError):
        return marching_cubes(field, level)[:2]


def ellipsoid_mesh(surface: dict, n: int = 40):
    """Vertices [m] and triangles of an ellipsoid (rotation: semi-axes as columns)."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi, n // 2 + 1), np.linspace(0, 2 * np.pi, n + 1),
                              indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1)
    rotation = np.asarray(surface.get("rotation", np.eye(3)))
    vertices = (unit * surface["semi_axes_m"]).reshape(-1, 3) @ rotation.T + surface["centre_m"]
    row, column = np.meshgrid(np.arange(n // 2), np.arange(n), indexing="ij")
    a = (row * (n + 1) + column).ravel()
    b, c, d = a + 1, a + n + 1, a + n + 2
    return vertices, np.vstack([np.column_stack([a, c, b]), np.column_stack([b, c, d])])


def _coordinates(points, view: View):
    """Positions [mm] in the order across, across, depth."""
    return np.asarray(points) @ np.column_stack([*view.across, view.upright]) * 1e3


def _axes(figure, box, view: View, points):
    """3-D axes around `points`, turned so that the beam comes from above, and not mirrored."""
    ax = figure.add_axes(box, projection="3d", computed_zorder=False, facecolor="none")
    ax.set_proj_type("persp", focal_length=1.6)
    low, high = _coordinates(points, view).min(0), _coordinates(points, view).max(0)
    pad = 0.03 * (high - low).max()
    limits = np.column_stack([low - pad, high + pad])
    turned = np.linalg.det(np.column_stack([*view.across, view.upright]))
    if view.deeper_is_larger:
        limits[2] = limits[2, ::-1]
        turned = -turned
    if turned < 0:
        limits[1] = limits[1, ::-1]
    ax.set(xlim=limits[0], ylim=limits[1], zlim=limits[2])
    sides = np.abs(limits[:, 1] - limits[:, 0])
    # A tall box needs more room above and below than a flat one.
    ax.set_box_aspect(sides, zoom=1.3 - 0.77 * sides[2] / np.linalg.norm(sides))
    ax.view_init(elev=20, azim=-60)
    for axis, direction in zip((ax.xaxis, ax.yaxis, ax.zaxis), (*view.across, view.upright),
                               strict=True):
        axis.set_pane_color((1, 1, 1, 0))
        axis._axinfo["grid"].update(color="#e3e7eb", linewidth=0.4)
        axis.set_tick_params(labelsize=6, pad=-2)
        axis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axis.set_label_text(view.label(direction), fontsize=6.5)
        axis.labelpad = -6
    return ax


def _draw(ax, view, vertices, faces, colour):
    """Draw a closed surface, lit from above the viewer's left shoulder."""
    p = _coordinates(vertices, view)
    corners = p[faces] - p.mean(axis=0)
    if np.linalg.det(corners).sum() < 0:
        faces = faces[:, ::-1]  # shading takes the side from which corners run anticlockwise
    x, y, z = _from_viewer(ax, turn=-35, rise=35)
    light = mpl.colors.LightSource(90 - np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arcsin(z)))
    ax.plot_trisurf(p[:, 0], p[:, 1], p[:, 2], triangles=faces, color=colour, linewidth=0,
                    antialiased=False, shade=True, lightsource=light)


def _from_viewer(ax, turn: float = 0, rise: float = 0) -> np.ndarray:
    """Unit vector, in the axes' data, towards the viewer turned and raised by so many degrees."""
    elevation, azimuth = np.deg2rad([ax.elev + rise, ax.azim + turn])
    box = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                    np.sin(elevation)])
    return box * [np.sign(high - low) for low, high in (ax.get_xlim(), ax.get_ylim(),
                                                        ax.get_zlim())]


def _in_front(ax, points, view) -> np.ndarray:
    """(n,) bool: points on the half of their cloud that faces the viewer of `ax`."""
    p = _coordinates(points, view)
    return (p - p.mean(axis=0)) @ _from_viewer(ax) > 0


def _glass(figure, box, view, around, vertices, faces, colour, alpha):
    """Lay a translucent surface over the axes at `box`.

    It is drawn opaque on a sheet of its own, which is then made translucent as a whole:
    translucent triangles would show every edge that two of them share.
    """
    sheet = Figure(figsize=figure.get_size_inches(), dpi=300, facecolor="none")
    canvas = FigureCanvasAgg(sheet)
    ax = _axes(sheet, box, view, around)
    ax.set_axis_off()
    _draw(ax, view, vertices, faces, colour)
    canvas.draw()
    over = figure.add_axes([0, 0, 1, 1], facecolor="none")
    over.imshow(np.asarray(canvas.buffer_rgba()), alpha=alpha, aspect="auto",
                interpolation="bilinear")
    over.set_axis_off()


def planned_foci(anatomy, plan, view: View):
    """Figure 5: foci of each focal plane, numbered as planned, on the target's outlines.

    One panel per focal plane; the target's outline on every slice across the beam that lies nearer
    to this plane than to the others is coloured by the slice's position, the one on the plane is
    drawn bold.
    """
    heights = target_heights(anatomy, view)
    planes = np.round(plan.foci @ view.upright, 5)
    levels = np.unique(planes)
    first, second = view.across
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    norm = mpl.colors.Normalize(heights[0] * 1e3, heights[-1] * 1e3 + 1e-6)
    shades = DEPTH if view.deeper_is_larger else DEPTH.reversed()
    with style():
        columns = min(len(levels), 2)
        rows = -(-len(levels) // columns)
        wide = 4.6 if columns == 1 else WIDTH
        figure = new_figure(0.6 + rows * (0.86 * (wide - 0.6) / columns), wide)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for ax, level in zip(panels.flat, levels, strict=False):
            # Halfway between two slices the plan counts the voxel at the larger coordinate.
            nearest = heights[np.argmin(np.abs(heights - level - 1e-6))]
            share = np.abs(heights[:, None] - levels).argmin(axis=1)
            for height in heights[levels[share] == level]:
                _outline(ax, anatomy, view, centroid, height, shades(norm(height * 1e3)),
                         bold=height == nearest)
            here = np.flatnonzero(planes == level)
            across = plan.foci[here] @ np.column_stack([first, second]) * 1e3
            ax.plot(*across.T, ls="", marker="*", ms=6.5, color=INK, mec="white", mew=0.4,
                    zorder=4, gid="foci")
            if len(here) <= 80:
                for number, (x, y) in zip(here + 1, across, strict=True):
                    ax.annotate(str(number), (x, y), (0, -3.5), textcoords="offset points",
                                ha="center", va="top", fontsize=5, color=INK, zorder=5,
                                path_effects=[withStroke(linewidth=1.6, foreground="white")])
            ax.plot(centroid @ first * 1e3, centroid @ second * 1e3, marker="o", ms=9, mfc="none",
                    mec=TARGET, mew=1.2, ls="", zorder=3)
            ax.set_title(f"Focal plane {view.name(view.upright)} = {level * 1e3:.1f} mm, "
                         f"{len(here)} foci")
            image_axes(ax)
        for ax in panels.flat[len(levels):]:
            ax.set_axis_off()
        for ax in panels.flat[max(0, len(levels) - columns):len(levels)]:
            ax.set_xlabel(view.label(first))
            ax.tick_params(labelbottom=True)
        for ax in panels[:, 0]:
            ax.set_ylabel(view.label(second))
        bar = figure.colorbar(mpl.cm.ScalarMappable(norm, shades), ax=panels, shrink=0.75,
                              aspect=30, pad=0.02)
        bar.set_label(f"target's outline at {view.name(view.upright)} (mm)")
        bar.outline.set_linewidth(0.5)
        if view.deeper_is_larger:
            bar.ax.invert_yaxis()
        figure.legend(handles=[Line2D([], [], ls="", marker="*", ms=7, color=INK, label="focus"),
                               Line2D([], [], ls="", marker="o", ms=7, mfc="none", mec=TARGET,
                                      label="target's centre"),
                               Line2D([], [], ls="--", lw=0.8, color=MUTED,
                                      label="target's outline on each slice")],
                      loc="outside lower center", ncols=3)
        return figure


def _outline(ax, anatomy, view, centre, height, colour, bold):
    """Dashed outline of the target on the slice at `height` along the beam."""
    plane = slice_plane(anatomy, view, centre, height)
    mask = plane.sample(anatomy.target_mask.astype(np.float32), anatomy.affine)
    if mask.max() >= 0.5:
        ax.contour(plane.us * 1e3, plane.vs * 1e3, mask, [0.5], colors=[colour],
                   linewidths=1.6 if bold else 0.6, linestyles="-" if bold else "--")


def slice_plane(anatomy, view: View, centre, height: float, margin: float = 0.004,
                step: float | None = None) -> Plane:
    """Plane across the beam at `height` [m], wide enough for the target and a `margin` [m]."""
    points = anatomy.position(np.argwhere(anatomy.target_mask)) - centre
    halves = [float(np.abs(points @ axis).max()) + margin for axis in view.across]
    centre = centre + (height - centre @ view.upright) * view.upright
    return Plane.around(centre, *view.across, *halves, step or anatomy.spacing.min() / 4)


def beam_arrow(ax, view: View, width: float = 0.5):
    """Draw an arrow where the beam comes from, at the upper edge of an axes over the depth."""
    ax.annotate("", (width, 0.86), (width, 0.99), xycoords="axes fraction",
                arrowprops={"arrowstyle": "-|>", "color": BEAM, "lw": 1.2, "shrinkA": 0,
                            "shrinkB": 0})
    ax.text(width + 0.03, 0.97, "beam", transform=ax.transAxes, color=BEAM, va="top", fontsize=6.5)


def depth_axis(ax, view: View):
    """Make depth run downwards, whatever the sign of the patient's coordinate."""
    low, high = sorted(ax.get_ylim())
    ax.set_ylim((high, low) if view.deeper_is_larger else (low, high))
    ax.set_ylabel(view.label(view.upright))
