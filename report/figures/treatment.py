"""Figures of the treatment: lesion, power, foci, temperatures, fraction treated."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from hifuflow.report.settings import HoldSettings
from hifuflow.settings import Prescription

from .anatomy import slice_plane
from .style import (
    BLUE,
    FAINT,
    INK,
    LESION,
    LIMIT,
    MUTED,
    SERIES,
    TARGET,
    UNTREATED,
    VERMILION,
    WIDTH,
    image_axes,
    new_figure,
    panel,
    style,
)
from .view import View, ellipsoid_value, ellipsoids, scattered_points, target_heights, volume_of

MAX_SLICES = 16
NEAR = 1.5e-3  # largest distance of constrained points from a slice that shows them [m]
DOTS = {"ls": "", "marker": "o", "ms": 2.2, "mfc": BLUE, "mec": "white", "mew": 0.3,
        "gid": "constrained points"}
LOWEST_DOSE = 1e-3  # CEM43 min; doses are drawn and interpolated as logarithms above it
WORST = 3  # constrained locations that are drawn by name
MEAN_OVER = 60  # length of the moving average of the power [s]


def dose_volume(anatomy, trajectory) -> np.ndarray:
    """(nx, ny, nz) final dose [CEM43 min] on the anatomy's grid, 0 outside the model."""
    return volume_of(anatomy, trajectory.voxel_index, trajectory.voxel_dose, 0.0)


def treated_by_slice(anatomy, trajectory, dose: float, view: View):
    """Slices across the beam through the target, and the treated fraction of each.

    Returns
    -------
    heights : (n,) coordinate along the beam [m].
    treated : (n,) fraction of the slice's target voxels at or above `dose` [CEM43 min].
    volume : (n,) the target's volume on the slice [m3].
    """
    heights = target_heights(anatomy, view)
    index = np.argwhere(anatomy.target_mask)
    along = anatomy.position(index) @ view.upright
    slot = np.argmin(np.abs(along[:, None] - heights), axis=1)
    done = dose_volume(anatomy, trajectory)[tuple(index.T)] >= dose
    count = np.bincount(slot, minlength=len(heights))
    treated = np.bincount(slot, weights=done, minlength=len(heights)) / np.maximum(count, 1)
    return heights, treated, count * anatomy.voxel_volume


def lesion(anatomy, trajectory, constraints: dict, dose: float, view: View):
    """Figure 6: the lesion, where the final dose reaches `dose` [CEM43 min], slice by slice.

    The slices show the target's outline, its untreated parts, the cross-sections of constraint
    ellipsoids, and the points of other constraints nearer than `NEAR`. There are at most
    `MAX_SLICES`, spread evenly over target and lesion, each wide enough for both.
    """
    target, treated, _ = treated_by_slice(anatomy, trajectory, dose, view)
    reached = anatomy.position(trajectory.voxel_index[trajectory.voxel_dose >= dose])
    heights, share_of = _heights(target, treated, reached @ view.upright, anatomy, view)
    chosen = np.unique(np.linspace(0, len(heights) - 1, min(len(heights), MAX_SLICES)).astype(int))
    if not view.deeper_is_larger:
        chosen = chosen[::-1]
    volume = np.log2(np.maximum(dose_volume(anatomy, trajectory), LOWEST_DOSE))
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    margin = room_around(anatomy, constraints, reached, view, centroid)
    with style():
        columns = min(4, len(chosen))
        rows = -(-len(chosen) // columns)
        wide = WIDTH if columns == 4 else 1.75 * columns + 0.6
        tall = slice_plane(anatomy, view, centroid, heights[0], margin)
        tall = (wide - 0.5) / columns * len(tall.vs) / len(tall.us)
        figure = new_figure(0.75 + rows * (tall + 0.2), wide)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for ax, number in zip(panels.flat, chosen, strict=False):
            plane = slice_plane(anatomy, view, centroid, heights[number], margin)
            _lesion_slice(ax, anatomy, plane, volume, dose, constraints)
            title = f"{view.name(view.upright)} = {heights[number] * 1e3:.1f} mm"
            ax.set_title(title, fontsize=7.5)
            share = share_of[number]
            if share is not None:
                # Never round an incomplete slice up to 100 %.
                percent = "100" if share == 1 else f"{min(share * 100, 99.4):.0f}"
                ax.set_title(f"{percent} %", loc="right", fontsize=7.5,
                             color=LESION if share == 1 else VERMILION)
            image_axes(ax)
        for ax in panels.flat[len(chosen):]:
            ax.set_axis_off()
        for ax in panels.flat[max(0, len(chosen) - columns):len(chosen)]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(view.label(view.across[0]))
        for ax in panels[:, 0]:
            ax.set_ylabel(view.label(view.across[1]))
        figure.legend(handles=_lesion_legend(dose, constraints), loc="outside lower center",
                      ncols=4)
        return figure


def _heights(target, treated, lesion, anatomy, view: View) -> tuple[np.ndarray, list]:
    """Layers (n,) across the beam through target and lesion [m], and their treated fractions.

    The fraction of a layer is that of its part of the target; None where it has none.
    """
    step = float(np.abs(view.upright) @ anatomy.spacing)
    number = np.round((target - target[0]) / step).astype(int)
    beyond = np.round((lesion - target[0]) / step).astype(int)
    layers = np.unique(np.concatenate([number, beyond]))
    share = dict(zip(number.tolist(), treated.tolist(), strict=True))
    return target[0] + step * layers, [share.get(layer) for layer in layers.tolist()]


def _lesion_slice(ax, anatomy, plane, log_dose, dose, constraints):
    u, v = plane.us * 1e3, plane.vs * 1e3
    amount = plane.sample(log_dose, anatomy.affine, outside=np.log2(LOWEST_DOSE))
    target = plane.sample(anatomy.target_mask.astype(np.float32), anatomy.affine)
    reached = amount - np.log2(dose)
    # Voxels just at the dose belong to the lesion.
    if reached.max() >= 0:
        drawn = ax.contourf(u, v, reached, [-1e-6, 1e3], colors=[LESION], alpha=0.45)
        drawn.set_gid("lesion")
    left = (target >= 0.5) & (reached < 0)
    if left.any():
        missing = ax.contourf(u, v, left.astype(float), [0.5, 1.5], colors=[UNTREATED], alpha=0.55)
        missing.set_gid("untreated")
        ax.contourf(u, v, left.astype(float), [0.5, 1.5], colors="none", hatches=["////"])
    if target.max() >= 0.5:
        ax.contour(u, v, target, [0.5], colors=[TARGET], linewidths=1.1, linestyles="--")
    body = plane.sample(anatomy.body_mask.astype(np.float32), anatomy.affine)
    if body.min() < 0.5 <= body.max():
        ax.contour(u, v, body, [0.5], colors=[MUTED], linewidths=0.8)
    for surface in ellipsoids(constraints):
        value = ellipsoid_value(plane.points, surface)
        if value.min() < 1 < value.max():
            ax.contour(u, v, value, [1], colors=[BLUE], linewidths=0.9, linestyles="-.")
    points = scattered_points(constraints)
    near = points[np.abs(points @ plane.w - plane.height) < NEAR]
    near = near[(np.abs(near @ plane.u - plane.us.mean()) <= np.ptp(plane.us) / 2)
                & (np.abs(near @ plane.v - plane.vs.mean()) <= np.ptp(plane.vs) / 2)]
    ax.plot(near @ plane.u * 1e3, near @ plane.v * 1e3, **DOTS)


def room_around(anatomy, constraints, lesion, view, centroid) -> float:
    """Margin around the target [m] that shows all constraint points and the lesion (n, 3) [m]."""
    points = anatomy.position(np.argwhere(anatomy.target_mask)) - centroid
    outside = np.vstack([np.reshape(constraints["position_m"], (-1, 3)), lesion]) - centroid
    room = [np.abs(outside @ axis).max(initial=0) - np.abs(points @ axis).max()
            for axis in view.across]
    return max(0.0, *room) + 0.002


def _lesion_legend(dose, constraints):
    entries = [Patch(fc=LESION, alpha=0.45, label=f"lesion, at least {dose:g} CEM43"),
               Patch(fc=UNTREATED, alpha=0.55, hatch="////", ec=INK, lw=0,
                     label="target left untreated"),
               Line2D([], [], color=TARGET, ls="--", label="target's outline")]
    if ellipsoids(constraints):
        entries.append(Line2D([], [], color=BLUE, ls="-.", label="constraint surface"))
    if len(scattered_points(constraints)):
        entries.append(Line2D([], [], **DOTS, label="constrained point"))
    return entries


def target_shares(trajectory) -> dict[str, np.ndarray]:
    """Temperatures (n_t,) [degC] of the target over time: its mean, and T90, T50 and T10.

    T90 is the temperature that 90 % of the volume reach or exceed. Keys: "mean", "t90", "t50",
    "t10".
    """
    volume = trajectory.outputs.volume[trajectory.outputs.target]
    temperature = trajectory.target_temperature
    order = np.argsort(-temperature, axis=1)
    hottest = np.take_along_axis(temperature, order, axis=1)
    share = np.cumsum(volume[order], axis=1) / volume.sum()
    temperatures = {"mean": temperature @ volume / volume.sum()}
    for name, part in (("t90", 0.9), ("t50", 0.5), ("t10", 0.1)):
        first = (share >= part - 1e-12).argmax(axis=1)
        temperatures[name] = np.take_along_axis(hottest, first[:, None], axis=1)[:, 0]
    return temperatures


def treatment_course(trajectory, prescription: Prescription, early: float = 500.0,
                     hold: HoldSettings | None = None):
    """Figure 7: (a) power, (b) focus, (c) constrained temperatures, (d) fraction treated.

    Left column: the first `early` seconds; right column: the whole treatment. If a temperature is
    held (`hold`), (d) is the temperature of the target.
    """
    t = trajectory.t
    spans = [(t[0], min(early, t[-1])), (t[0], t[-1])]
    if spans[0] == spans[1]:
        spans = spans[:1]
    with style():
        figure = new_figure(7.4)
        panels = figure.subplots(4, len(spans), sharex="col", sharey="row", squeeze=False,
                                 height_ratios=[1, 1.1, 1.35, 1])
        for column, span in enumerate(spans):
            whole = column == len(spans) - 1
            power, focus, temperature, treated = panels[:, column]
            _power(power, trajectory, prescription, smooth=whole and len(t) > 400)
            _focus(focus, trajectory, span)
            _temperature(temperature, trajectory, named=column == 0)
            if hold:
                _held(treated, trajectory, hold)
            else:
                _treated(treated, trajectory, prescription)
            treated.set(xlim=span, xlabel="time (s)")
        title = f"first {early:g} s" if len(spans) == 2 else "whole treatment"
        panel(panels[0, 0], "a", f"Power, {title}")
        panel(panels[1, 0], "b", "Focus")
        panel(panels[2, 0], "c", "Constrained locations")
        panel(panels[3, 0], "d", "Target" if hold else "Fraction treated")
        if len(spans) == 2:
            panels[0, 1].set_title("Whole treatment")
        panels[0, 0].set_ylabel("acoustic power (W)")
        panels[1, 0].set_ylabel("focus number")
        panels[2, 0].set_ylabel("temperature (°C)")
        panels[3, 0].set_ylabel("temperature (°C)" if hold else "target at the dose")
        return figure


def _held(ax, trajectory, hold: HoldSettings):
    """Draw mean, T90, T50 and T10 of the target, and the window for the mean."""
    shares, goal, window = target_shares(trajectory), hold.temperature, hold.window
    t = trajectory.t
    ax.fill_between(t, shares["t90"], shares["t10"], color=FAINT, lw=0, label="T90 to T10")
    ax.plot(t, shares["t50"], color=MUTED, lw=0.7, ls=":", label="T50")
    ax.plot(t, shares["mean"], color=LESION, lw=1.2, label="mean", gid="mean")
    for limit in (goal - window, goal + window):
        ax.axhline(limit, color=LIMIT, ls="--", lw=0.8, gid="window")
    low, high = shares["t90"].min(), max(shares["t10"].max(), goal + window)
    ax.set_ylim(low - 0.03 * (high - low), high + 0.3 * (high - low))
    ax.legend(loc="upper left", ncols=3, columnspacing=1.2)


def _power(ax, trajectory, prescription, smooth):
    total = trajectory.power.sum(axis=1)
    if smooth:
        ax.step(trajectory.t, total, where="post", color=BLUE, alpha=0.25, lw=0.5, gid="power",
                rasterized=True)
        step = float(np.median(np.diff(trajectory.t)))
        window = max(1, round(MEAN_OVER / step))
        mean = np.convolve(total, np.ones(window), "same") / np.convolve(
            np.ones(len(total)), np.ones(window), "same")
        ax.plot(trajectory.t, mean, color=INK, lw=0.8, label=f"mean over {MEAN_OVER} s")
        ax.legend(loc="upper right", bbox_to_anchor=(1, 1.22))
    else:
        ax.fill_between(trajectory.t, total, step="post", color=BLUE, alpha=0.25, lw=0)
        ax.step(trajectory.t, total, where="post", color=BLUE, lw=0.9, gid="power")
    highest = prescription.max_power
    ax.axhline(highest, color=MUTED, ls="--", lw=0.8, zorder=0.5)
    ax.set_ylim(0, 1.08 * max(highest, total.max()))


def _focus(ax, trajectory, span):
    """Draw a mark for every sample and focus with power, pale where its share is small."""
    when, which = np.nonzero(trajectory.power > 0)
    share = trajectory.power[when, which] / trajectory.power.sum(axis=1)[when]
    ax.scatter(trajectory.t[when], which + 1, s=3.0, marker="s", lw=0, c=BLUE, rasterized=True,
               alpha=np.clip(share, 0.15, 1), gid="foci")
    ax.set_ylim(0, trajectory.power.shape[1] + 1)


def worst_points(trajectory, count: int = WORST) -> np.ndarray:
    """Indices of the constrained locations that came closest to, or furthest above, their limit."""
    over = trajectory.constraint_temperature.max(axis=0) - constraint_limits(trajectory)
    return np.argsort(over)[::-1][:count]


def constraint_limits(trajectory) -> np.ndarray:
    """(n_c,) limits [degC] of the constrained locations."""
    return trajectory.outputs.limit[trajectory.outputs.constraint]


def _temperature(ax, trajectory, named):
    t, values = trajectory.t, trajectory.constraint_temperature
    if not values.shape[1]:
        ax.text(0.5, 0.5, "no constrained location", transform=ax.transAxes, ha="center")
        return
    ax.fill_between(t, values.min(axis=1), values.max(axis=1), color=FAINT, lw=0,
                    label=f"all {values.shape[1]} locations")
    for number, colour in zip(worst_points(trajectory), SERIES, strict=False):
        ax.plot(t, values[:, number], color=colour, lw=0.8, label=f"location {number + 1}")
    limits = np.unique(constraint_limits(trajectory))
    for limit in limits:
        ax.axhline(limit, color=LIMIT, ls="--", lw=0.9, gid="limit",
                   label=f"limit {limit:g} °C" if len(limits) <= 2 else None)
    low, high = values.min(), max(values.max(), limits.max())
    ax.set_ylim(low - 0.03 * (high - low), high + 0.42 * (high - low))
    if named:
        ax.legend(loc="upper left", ncols=3, columnspacing=1.2)


def _treated(ax, trajectory, prescription):
    ax.plot(trajectory.t, trajectory.coverage, color=LESION, lw=1.4, gid="coverage")
    goal = prescription.coverage
    ax.axhline(goal, color=LIMIT, ls="--", lw=0.8)
    ax.annotate(f"goal {goal:.0%}", (1, goal), (-2, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="bottom", fontsize=6.5)
    ax.set_ylim(0, 1.14)
    ax.yaxis.set_major_formatter(PercentFormatter(1))


def compare_controllers(treatments: dict, prescription: Prescription, holding=()):
    """Fraction treated and the worst overshoot against time, one line per controller.

    Controllers that hold a temperature (`holding`, names) have no fraction treated.
    """
    with style():
        figure = new_figure(2.5)
        treated, worst = figure.subplots(1, 2)
        for (name, trajectory), colour in zip(treatments.items(), SERIES, strict=False):
            if name not in holding:
                treated.plot(trajectory.t, trajectory.coverage, color=colour, label=name)
            over = (trajectory.constraint_temperature - constraint_limits(trajectory)).max(axis=1)
            worst.plot(trajectory.t, over, color=colour, lw=0.8, label=name)
        treated.axhline(prescription.coverage, color=LIMIT, ls="--", lw=0.8)
        worst.axhline(0, color=LIMIT, ls="--", lw=0.8)
        treated.yaxis.set_major_formatter(PercentFormatter(1))
        treated.set(xlabel="time (s)", ylabel="target at the dose", ylim=(0, 1.05), xlim=0)
        worst.set(xlabel="time (s)", xlim=0,
                  ylabel="hottest constrained location\nabove its limit (K)")
        panel(treated, "a", "Fraction treated")
        panel(worst, "b", "Distance to the limit")
        (worst if holding else treated).legend(loc="lower right")
        return figure


def dose_histogram(treatments: dict, prescription: Prescription):
    """Fraction of the target's volume with at least each final dose, one line per controller."""
    with style():
        figure = new_figure(2.7, 4.2)
        ax = figure.subplots()
        for (name, trajectory), colour in zip(treatments.items(), SERIES, strict=False):
            volume = trajectory.outputs.volume[trajectory.outputs.target]
            dose = np.maximum(trajectory.target_dose[-1], LOWEST_DOSE)
            order = np.argsort(dose)
            share = np.cumsum(volume[order][::-1])[::-1] / volume.sum()
            # A voxel counts up to and including its own dose.
            ax.step(dose[order], share, where="pre", color=colour, label=name, gid="histogram")
        ax.axvline(prescription.dose, color=LIMIT, ls="--", lw=0.8)
        ax.annotate(f"prescribed {prescription.dose:g}",
                    (prescription.dose, 0.03), (-3, 0), ha="right",
                    xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=6.5)
        ax.set(xscale="log", xlabel="final dose (CEM43 min)", ylabel="target with at least this",
               xlim=(1, 1e6), ylim=(0, 1.03))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 0.1))
        return figure
