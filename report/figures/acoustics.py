"""Figures of the ultrasound: heating pattern, focal gain, power balance and steering."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle

from hifuflow.errors import InputError
from hifuflow.formats.hdf5 import open_artifact
from hifuflow.records.heating import Heating

from .anatomy import beam_arrow, depth_axis
from .style import (
    BLUE,
    DEPTH,
    HEAT,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SKY,
    TARGET,
    VERMILION,
    image_axes,
    label_image,
    new_figure,
    panel,
    region_colours,
    style,
)
from .view import Plane, View

DECIBELS = 30  # range of the picture of the whole beam
SHARES = {"absorbed": "heat in the body", "transmitted": "leaves behind it",
          "sideways": "leaves sideways", "reflected": "reflected",
          "scattered": "lost otherwise"}
DISCS = (44, 12)  # areas of the marks of the nearest and the furthest foci
GAINS = (0.25, 0.5, 0.75, 0.9, 1.1)  # contours of the steering map
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
ENLARGED = 3  # half width of the enlarged focal plane, in widths of the focus


def central_heating(path, anatomy) -> Heating:
    """Heating of the focus nearest the target's centre; the others are not read."""
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    with open_artifact(path, "heating") as file:
        foci = file["foci"][:]
        if not len(foci):
            raise InputError("holds no focus", file=path, key="foci")
        one = [int(np.argmin(np.linalg.norm(foci - centroid, axis=1)))]
        return Heating(file["q"][one], file["affine"][:], foci[one],
                       file["focal_pressure_pa"][one], file["absorbed_fraction"][one],
                       float(file.attrs["frequency_hz"]), str(file.attrs["transducer"]))


def heating_pattern(heating: Heating, anatomy, power: float, view: View):
    """Figure 4: heating [W/m3] at `power` [W] through the focus of a one-focus `Heating`.

    First row: two planes along the beam and the focal plane; second row: contours at fractions of
    the highest value; third row: profiles through the focus along the three directions.
    """
    focus = heating.foci[0]
    density = heating.q[0] * power
    points = anatomy.position(np.argwhere(anatomy.target_mask)) - focus
    lateral = max(np.abs(points @ axis).max() for axis in view.across) + 0.008
    # At least as long as wide, so that all panels share one scale.
    along = max(lateral, np.abs(points @ view.upright).max() + 0.012)
    step = np.linalg.norm(heating.affine[:3, :3], axis=0).min() / 3
    first, second = view.across
    planes = (Plane.around(focus, first, view.upright, lateral, along, step),
              Plane.around(focus, second, view.upright, lateral, along, step),
              Plane.around(focus, first, second, lateral, lateral, step))
    # Cubic: a focus is only two cells wide.
    images = [np.maximum(plane.sample(density, heating.affine, order=3), 0) / 1e6
              for plane in planes]
    peak = max(image.max() for image in images)
    if not peak > 0:
        raise InputError("no heating on the planes through the focus", key="q")
    with style():
        ratio = along / lateral
        figure = new_figure(3.0 + 2 * 1.72 * ratio)
        panels = figure.subplots(3, 3, height_ratios=[ratio, ratio, 0.72])
        names = [view.name(axis) for axis in (first, second, view.upright)]
        titles = (f"Plane {names[0]}–{names[2]}", f"Plane {names[1]}–{names[2]}", "Focal plane")
        for column, (plane, image) in enumerate(zip(planes, images, strict=True)):
            top, middle = panels[0, column], panels[1, column]
            drawn = top.imshow(image, extent=plane.extent, origin="lower", cmap=HEAT, vmin=0,
                               vmax=peak, interpolation="bilinear")
            middle.contour(plane.us * 1e3, plane.vs * 1e3, image, [f * peak for f in LEVELS],
                           cmap=HEAT, vmin=-0.35 * peak, vmax=peak, linewidths=0.9)
            panel(top, "abc"[column], titles[column])
            panel(middle, "def"[column], "Contours" if column < 2 else "Contours, enlarged")
            for ax in (top, middle):
                _tissue(ax, plane, anatomy)
                image_axes(ax)
                ax.set_anchor("N")
                ax.set_xlabel(view.label(plane.u))
                if column < 2:
                    depth_axis(ax, view)
                    beam_arrow(ax, view, 0.06)
                else:
                    ax.set_ylabel(view.label(second))
        width = ENLARGED * full_width(planes[2].us, images[2][len(planes[2].vs) // 2])
        if width < lateral:
            middle.set(xlim=[1e3 * (focus @ first + s * width) for s in (-1, 1)],
                       ylim=[1e3 * (focus @ second + s * width) for s in (-1, 1)])
        bar = figure.colorbar(drawn, ax=panels[0], shrink=0.8, aspect=22, pad=0.01)
        bar.set_label("$Q$ (10$^6$ W/m³)")
        bar.outline.set_linewidth(0.5)
        middle.annotate("contours at 5, 10, 25, 50,\n75, 90 % of the highest $Q$", (0.97, 0.03),
                        xycoords="axes fraction", ha="right", va="bottom", fontsize=6,
                        color=MUTED)
        for ax, axis, letter, half in zip(panels[2], (first, second, view.upright), "ghi",
                                          (lateral, lateral, along), strict=True):
            width = _profile(ax, density, heating.affine, focus, axis, half, step, anatomy)
            panel(ax, letter, f"Along {view.name(axis)}, FWHM {width * 1e3:.1f} mm")
            ax.set_xlabel(view.label(axis))
        panels[2, 0].set_ylabel("$Q$ (10$^6$ W/m³)")
        return figure


def beam_over_anatomy(heating: Heating, anatomy, view: View):
    """Heating of a one-focus `Heating` over the label map, on two planes along the beam.

    In decibels below its highest value, so that the converging and the passing beam show too.
    """
    focus, first = heating.foci[0], view.across
    body = anatomy.position(np.argwhere(anatomy.body_mask))
    low, high = body.min(axis=0), body.max(axis=0)
    middle = focus + ((low + high) / 2 - focus) @ view.upright * view.upright
    along = np.abs((high - low) @ view.upright) / 2 + 0.004
    step = anatomy.spacing.min() / 3
    peak = heating.q[0].max()
    if not peak > 0:
        raise InputError("the focus deposits no heat", key="q")
    with style():
        wide = min(0.06, max(np.abs((body - focus) @ axis).max() for axis in first) + 0.004)
        figure = new_figure(0.8 + 3.1 * along / wide)
        for ax, axis, letter in zip(figure.subplots(1, 2), first, "ab", strict=True):
            plane = Plane.around(middle, axis, view.upright, wide, along, step)
            labels = plane.sample(anatomy.labels, anatomy.affine, order=0)
            ax.imshow(label_image(anatomy, labels), extent=plane.extent, origin="lower")
            heat = plane.sample(heating.q[0], heating.affine)
            decibels = 10 * np.log10(np.maximum(heat / peak, 1e-9))
            shown = np.ma.masked_less(decibels, -DECIBELS)
            drawn = ax.imshow(shown, extent=plane.extent, origin="lower", cmap=HEAT,
                              alpha=np.clip(1 + decibels / DECIBELS, 0, 1) ** 0.5,
                              vmin=-DECIBELS, vmax=0, interpolation="bilinear")
            ax.contour(plane.us * 1e3, plane.vs * 1e3, decibels, [-6, -3], colors=INK,
                       linewidths=[0.5, 0.9])
            _tissue(ax, plane, anatomy)
            ax.plot(focus @ axis * 1e3, focus @ view.upright * 1e3, "+", color=BLUE, ms=7)
            image_axes(ax)
            ax.set_xlabel(view.label(axis))
            depth_axis(ax, view)
            beam_arrow(ax, view, 0.06)
            panel(ax, letter, f"Plane {view.name(axis)}–{view.name(view.upright)}")
        bar = figure.colorbar(drawn, ax=figure.axes, shrink=0.8, aspect=26, pad=0.01)
        bar.set_label("$Q$ below its highest value (dB)")
        bar.outline.set_linewidth(0.5)
        figure.legend(handles=[Patch(color=colour, alpha=0.55 if name in anatomy.target else 1,
                                     label=name)
                               for name, colour in region_colours(anatomy).items()],
                      loc="outside lower center", ncols=6)
        return figure


def focal_gain(path, apex, axis, view: View):
    """Loss of focal gain by steering and tissue, and the power balance of the foci.

    (a) focal intensity over that of the best focus, on the foci's positions across the beam;
    (b) the same against the distance from the array's axis; (c) shares of the radiated power.
    """
    with open_artifact(path, "heating") as file:
        foci, pressure = file["foci"][:], file["focal_pressure_pa"][:]
        balance = {name: values[:] for name, values in file["balance"].items()}
    gain = (pressure / pressure.max()) ** 2
    away = foci - apex
    aside = np.linalg.norm(away - np.outer(away @ axis, axis), axis=1) * 1e3
    depths = np.round(foci @ view.upright * 1e3, 2)
    first, second = view.across
    with style():
        figure = new_figure(2.75)
        panels = figure.subplots(1, 3, width_ratios=[1.15, 1, 1.3])
        along = np.round(away @ axis, 5)
        order = np.argsort(along)  # of foci one behind the other all show, the further ones smaller
        size = np.interp(along, np.unique(along)[[0, -1]], DISCS) if np.ptp(along) else DISCS[0]
        drawn = panels[0].scatter(*(foci[order] @ np.column_stack([first, second])).T * 1e3,
                                  c=gain[order], cmap=DEPTH, vmin=0.1 * np.floor(10 * gain.min()),
                                  vmax=1, s=np.broadcast_to(size, len(foci))[order],
                                  edgecolors=INK, linewidths=0.4, gid="gain")
        image_axes(panels[0])
        panels[0].margins(0.12)
        panels[0].set(xlabel=view.label(first), ylabel=view.label(second))
        bar = figure.colorbar(drawn, ax=panels[0], location="bottom", shrink=0.9, aspect=24)
        bar.outline.set_linewidth(0.5)
        panel(panels[0], "a", "Focal gain")
        levels = np.unique(depths)
        norm = Normalize(levels[0], levels[-1] + 1e-6)
        for level in levels:
            here = depths == level
            panels[1].plot(aside[here], gain[here], ls="", marker="o", ms=3.4,
                           mfc=DEPTH(norm(level)) if len(levels) > 1 else BLUE, mec="white",
                           mew=0.3, label=f"{level:g}")
        if 1 < len(levels) <= 8:
            panels[1].legend(title=f"{view.name(view.upright)} (mm)", loc="lower left")
        panels[1].set(xlabel="distance from the array's axis (mm)", ylim=(0, 1.05),
                      ylabel="focal intensity (best focus: 1)")
        panel(panels[1], "b", "Against steering")
        _power_shares(panels[2], balance)
        panel(panels[2], "c", "Where the power goes")
        return figure


def steers(path) -> bool:
    """Whether the heating is that of an array that steers its focus."""
    with open_artifact(path, "heating") as file:
        return len(file.get("steering", ())) > 0


def steering_gain(path, plan, view: View):
    """Intensity in water of a steered focus over that of the unsteered one, against its position.

    On two planes through the array's axis, with the planned foci seen from the side and the
    limits of steering.
    """
    with open_artifact(path, "heating") as file:
        steering = {name: values[:] for name, values in file["steering"].items()}
    lateral, axial, limit = (steering[f"{name}_m"] * 1e3 for name in ("lateral", "axial", "limit"))
    steered = (plan.foci - plan.apex_shift - steering["focus_m"]) * 1e3
    with style():
        figure = new_figure(1.0 + 2.9 * axial[-1] / lateral[-1])
        axes = figure.subplots(1, 2, sharey=True)
        axes[0].set_ylim(axial[-1], axial[0])  # before the contours: their labels stand upright
        for ax, gain, across, letter in zip(axes, steering["gain"], steering["across"], "ab",
                                            strict=True):
            drawn = ax.pcolormesh(lateral, axial, gain, cmap=DEPTH, vmin=0,
                                  vmax=steering["gain"].max(), shading="gouraud",
                                  gid="steering gain", rasterized=True)
            lines = ax.contour(lateral, axial, gain, GAINS,
                               colors=[INK, INK, PAPER, PAPER, PAPER], linewidths=0.8)
            ax.clabel(lines, fmt="%g", fontsize=6)
            ax.add_patch(Rectangle(-limit, *(2 * limit), fill=False, ec=INK, lw=1, ls="--"))
            ax.plot(steered @ across, steered @ plan.axis, ls="", marker="o", ms=3, mfc=ORANGE,
                    mec=INK, mew=0.4, gid="steered foci")
            image_axes(ax)
            ax.set_xlabel(f"steered along {view.name(across)} (mm)")
            panel(ax, letter, f"Plane {view.name(across)}–{view.name(view.upright)}")
        beam_arrow(axes[0], view, 0.06)
        axes[0].set_ylabel("steered along the beam (mm)")
        bar = figure.colorbar(drawn, ax=figure.axes, shrink=0.8, aspect=26, pad=0.01)
        bar.set_label("focal intensity (unsteered: 1)")
        bar.outline.set_linewidth(0.5)
        return figure


def _power_shares(ax, balance: dict):
    """Bars: mean share of the radiated power, with the range over the foci."""
    shares = {words: balance[name] for name, words in SHARES.items()}
    shares["beside the grid"] = 1 - balance["entered"]
    for row, (name, values) in enumerate(shares.items()):
        mean, low, high = (100 * value for value in (values.mean(), values.min(), values.max()))
        ax.barh(row, mean, color=VERMILION if name == SHARES["absorbed"] else SKY, height=0.66)
        ax.plot([low, high], [row, row], color=INK, lw=1.2)
        ax.text(max(high, mean) + 1.5, row, f"{mean:.1f} %", va="center", fontsize=6.5)
    ax.set_yticks(range(len(shares)), shares)
    ax.set(xlabel="of the radiated power (%)", xlim=(0, 100))
    ax.invert_yaxis()


def _tissue(ax, plane, anatomy):
    """Thin lines: the target's outline (dashed) and the body's surface."""
    lines = ((anatomy.target_mask, TARGET, "--"), (anatomy.body_mask, MUTED, "-"))
    for mask, colour, line in lines:
        on_plane = plane.sample(mask.astype(np.float32), anatomy.affine)
        if on_plane.min() < 0.5 <= on_plane.max():
            ax.contour(plane.us * 1e3, plane.vs * 1e3, on_plane, [0.5], colors=[colour],
                       linewidths=0.8, linestyles=line)


def _profile(ax, density, affine, focus, axis, half, step, anatomy) -> float:
    """Draw the heating along `axis` through the focus; returns its full width at half height."""
    line = Plane.around(focus, axis, _normal(axis), half, step, step)
    values = np.maximum(line.sample(density, affine, order=3)[1], 0) / 1e6
    inside = line.sample(anatomy.target_mask.astype(np.float32), anatomy.affine)[1] >= 0.5
    ax.plot(line.us * 1e3, values, color=BLUE)
    top = 1.16 * values.max()
    ax.fill_between(line.us * 1e3, 0, top, where=inside, color=TARGET, alpha=0.12, lw=0)
    if inside.any():
        ax.text(line.us[inside].mean() * 1e3, top * 0.99, "target", ha="center", va="top",
                color=TARGET, fontsize=6.5)
    ax.set(xlim=(line.us[0] * 1e3, line.us[-1] * 1e3), ylim=(0, top))
    return full_width(line.us, values)


def _normal(axis):
    """A unit vector perpendicular to `axis`."""
    other = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    return other / np.linalg.norm(other)


def full_width(x, values) -> float:
    """Full width at half maximum of the lobe around the highest value [units of x]."""
    half, top = values.max() / 2, int(np.argmax(values))
    below = values < half
    left = np.flatnonzero(below[:top])
    right = np.flatnonzero(below[top:])
    if not len(left) or not len(right):
        return float("nan")
    i, j = left[-1], top + right[0]
    start = np.interp(half, values[i:i + 2], x[i:i + 2])
    stop = np.interp(half, values[j - 1:j + 1][::-1], x[j - 1:j + 1][::-1])
    return float(stop - start)
