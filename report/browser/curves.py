"""Interactive figures, drawn in the browser by plotly.js: curves over time, dose, reduction.

Colours are those of `style`. Text and grid colours are set in the browser, which knows whether the
page is light or dark.
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hifuflow.report.figures.style import BLUE, GREEN, ORANGE, SERIES, VERMILION
from hifuflow.report.figures.treatment import (
    LOWEST_DOSE,
    constraint_limits,
    target_shares,
    worst_points,
)
from hifuflow.report.settings import HoldSettings
from hifuflow.settings import Prescription

HEAT_SCALE = [[0, "#ffffff"], [0.2, "#fde3b4"], [0.4, "#f6a95a"], [0.6, "#d9622b"],
              [0.8, "#9c2a28"], [1, "#4a1236"]]
GREY = "#8a949e"  # readable on white and on black
DASHED = {"color": GREY, "dash": "dash", "width": 1.2}
LEGEND = {"orientation": "h", "x": 0.05, "y": 1, "yanchor": "bottom", "traceorder": "normal"}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MEAN_OVER = 60.0  # length of the moving average of the power [s]
COLUMNS = 300  # of the figure of the foci, along time


def course(trajectory, prescription: Prescription, hold: HoldSettings | None = None) -> go.Figure:
    """Power, focus, constrained temperatures and fraction treated against time.

    If a temperature is held (`hold`), that of the target replaces the fraction treated.
    """
    figure = make_subplots(rows=4, shared_xaxes=True, vertical_spacing=0.045,
                           row_heights=[0.22, 0.24, 0.32, 0.22])
    t, total = trajectory.t.astype(np.float32), trajectory.power.sum(axis=1)
    figure.add_scatter(x=t, y=_short(total), line={"shape": "hv", "color": BLUE, "width": 0.8},
                       opacity=0.5, name="power", showlegend=False, row=1, col=1)
    window = max(1, round(MEAN_OVER / float(np.median(np.diff(t)))))
    mean = np.convolve(total, np.ones(window), "same") / np.convolve(
        np.ones(len(total)), np.ones(window), "same")
    figure.add_scatter(x=t, y=_short(mean), line={"color": VERMILION, "width": 1.8},
                       name=f"mean over {MEAN_OVER:g} s", showlegend=False,
                       row=1, col=1)
    # No more columns than a small screen has pixels: single samples would vanish.
    block = -(-len(t) // COLUMNS)
    most = np.maximum.reduceat(trajectory.power, np.arange(0, len(t), block), axis=0)
    figure.add_heatmap(
        x=t[::block] + block * np.median(np.diff(t)) / 2,
        y=np.arange(1, trajectory.power.shape[1] + 1),
        z=np.where(most > 0, most, np.nan).T.astype(np.float32),
        zmin=0, zmax=float(total.max()) or 1.0, colorscale=[[0, "#9ed2e6"], [1, "#0072b2"]],
        showscale=False, hovertemplate="focus %{y}: %{z:.1f} W<extra></extra>", name="focus",
        row=2, col=1)
    _constraints(figure, trajectory, t)
    if hold:
        _held(figure, trajectory, t, hold)
    else:
        figure.add_scatter(x=t, y=_short(trajectory.coverage), line={"color": GREEN, "width": 2},
                           name="fraction treated", showlegend=False,
                           hovertemplate="%{y:.1%}<extra></extra>", row=4, col=1)
        figure.add_hline(y=prescription.coverage, line=DASHED, row=4, col=1)
        figure.update_yaxes(tickformat=".0%", range=[0, 1.08], row=4, col=1)
    figure.add_hline(y=prescription.max_power, line=DASHED, row=1, col=1)
    for row, title in enumerate(("power (W)", "focus", "temperature (°C)",
                                 "target (°C)" if hold else "treated"), start=1):
        figure.update_yaxes(title_text=title, row=row, col=1)
    figure.update_xaxes(title_text="time (s)", row=4, col=1)
    figure.update_layout(height=760, hovermode="x unified", legend=LEGEND)
    _letters(figure)
    # The cursor of the time slider is the last shape.
    figure.add_shape(type="line", visible=False, xref="x", yref="paper", x0=0, x1=0, y0=0, y1=1,
                     line={"color": ORANGE, "width": 1.5})
    return figure


def _held(figure, trajectory, t, hold: HoldSettings) -> None:
    """Draw mean, T90 and T10 of the target, and the window for the mean."""
    shares = target_shares(trajectory)
    for name, width, fill in (("t90", 0.8, None), ("t10", 0.8, "tonexty")):
        figure.add_scatter(x=t, y=_short(shares[name]), line={"color": GREY, "width": width},
                           fill=fill, fillcolor="rgba(138,148,158,0.3)", name=name.upper(),
                           showlegend=False, hovertemplate="%{y:.2f} °C", row=4, col=1)
    figure.add_scatter(x=t, y=_short(shares["mean"]), line={"color": GREEN, "width": 2},
                       name="target's mean", showlegend=False, hovertemplate="%{y:.2f} °C",
                       row=4, col=1)
    for side in (-1, 1):
        figure.add_hline(y=hold.temperature + side * hold.window, line=DASHED, row=4,
                         col=1)


def _constraints(figure, trajectory, t) -> None:
    """Draw the band of all constrained temperatures, the worst ones by name, and the limits."""
    values = trajectory.constraint_temperature
    if not values.shape[1]:
        return
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(x=t, y=_short(values.min(axis=1)), showlegend=False, **band, row=3, col=1)
    figure.add_scatter(x=t, y=_short(values.max(axis=1)), fill="tonexty", **band,
                       fillcolor="rgba(138,148,158,0.3)", row=3, col=1,
                       name=f"all {values.shape[1]} locations")
    for point, colour in zip(worst_points(trajectory), SERIES, strict=False):
        figure.add_scatter(x=t, y=_short(values[:, point]), line={"color": colour, "width": 1.3},
                           name=f"location {point + 1}", row=3, col=1,
                           hovertemplate="%{y:.2f} °C")
    limits = constraint_limits(trajectory)
    for limit in np.unique(limits[np.isfinite(limits)]):
        figure.add_hline(y=float(limit), line=DASHED, row=3, col=1,
                         annotation={"text": f"limit {limit:g} °C", "font": {"size": 11}},
                         annotation_position="top right")


def compare(trajectories: dict, prescription: Prescription, holding=()) -> go.Figure:
    """Fraction treated, and distance of the hottest constraint from its limit, per controller.

    Controllers that hold a temperature (`holding`, names) have no fraction treated.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.08)
    for (name, trajectory), colour, dash in zip(trajectories.items(), SERIES, DASHES,
                                                strict=False):
        over = trajectory.constraint_temperature - constraint_limits(trajectory)
        style = {"x": trajectory.t.astype(np.float32), "legendgroup": name, "name": name,
                 "line": {"color": colour, "dash": dash, "width": 1.6}}
        treats = name not in holding
        if treats:
            figure.add_scatter(y=_short(trajectory.coverage), row=1, col=1,
                               hovertemplate="%{y:.1%}", **style)
        if over.shape[1]:
            figure.add_scatter(y=_short(np.nanmax(over, axis=1)), row=2, col=1,
                               showlegend=not treats, hovertemplate="%{y:.2f} K", **style)
    figure.add_hline(y=prescription.coverage, line=DASHED, row=1, col=1)
    figure.add_hline(y=0, line=DASHED, row=2, col=1)
    figure.update_yaxes(title_text="target at the dose", tickformat=".0%", range=[0, 1.08],
                        row=1, col=1)
    figure.update_yaxes(title_text="hottest constraint<br>above its limit (K)", row=2, col=1)
    figure.update_xaxes(title_text="time (s)", row=2, col=1)
    figure.update_layout(height=520, hovermode="x unified", legend=LEGEND)
    _letters(figure)
    return figure


def histogram(trajectories: dict, prescription: Prescription) -> go.Figure:
    """Dose-volume histogram of the target, one line per controller."""
    figure = go.Figure()
    for (name, trajectory), colour, dash in zip(trajectories.items(), SERIES, DASHES,
                                                strict=False):
        volume = trajectory.outputs.volume[trajectory.outputs.target]
        dose = np.maximum(trajectory.target_dose[-1], LOWEST_DOSE)
        order = np.argsort(dose)
        share = np.cumsum(volume[order][::-1])[::-1] / volume.sum()
        figure.add_scatter(x=_short(dose[order]), y=_short(share), name=name,
                           line={"color": colour, "shape": "vh", "dash": dash, "width": 2},
                           hovertemplate="%{y:.1%} has at least %{x:.3~s} CEM43")
    prescribed = prescription.dose
    _vertical(figure, prescribed, f"prescribed {prescribed:g}", at=np.log10(prescribed))
    figure.update_xaxes(type="log", title_text="final dose (CEM43 min)", range=[0, 6])
    figure.update_yaxes(title_text="target with at least this", tickformat=".0%", range=[0, 1.03])
    figure.update_layout(height=400, legend={"x": 0.02, "y": 0.05})
    return figure


def hankel(hsv, error_bound, order: int) -> go.Figure:
    """Hankel singular values and the H-infinity error bound, relative, against the order."""
    figure = go.Figure()
    number = np.arange(1, len(hsv) + 1)
    bound = np.where(np.asarray(error_bound) > 0, error_bound, np.nan)
    for values, label, colour, dash in ((hsv, "Hankel singular values", BLUE, "solid"),
                                        (bound, "error bound, cut after this state", VERMILION,
                                         "dash")):
        figure.add_scatter(x=number, y=np.asarray(values) / hsv[0], name=label,
                           line={"color": colour, "dash": dash, "width": 1.8})
    _vertical(figure, order, f"order {order:,}", at=order)
    figure.update_xaxes(title_text="state number")
    figure.update_yaxes(type="log", title_text="relative to the largest", exponentformat="power")
    figure.update_layout(height=400, hovermode="x unified", legend=LEGEND)
    return figure


def truncation(record: dict, order: int) -> go.Figure:
    """Largest output error in a replayed treatment against the order, by method."""
    figure = go.Figure()
    for key, label, colour, symbol in (
            ("balanced_k", "balanced truncation", BLUE, "circle"),
            ("reachable_space_k", "reachable-space truncation", GREEN, "square"),
            ("modal_k", "modal truncation", ORANGE, "triangle-up")):
        figure.add_scatter(x=record["order"], y=record[key], name=label, mode="lines+markers",
                           line={"color": colour}, marker={"symbol": symbol, "size": 8})
    _vertical(figure, order, f"order {order:,}", at=np.log10(order))
    figure.update_xaxes(type="log", title_text="states")
    figure.update_yaxes(type="log", title_text="largest error of any output (K)",
                        exponentformat="power")
    figure.update_layout(height=400, legend=LEGEND)
    return figure


def _letters(figure) -> None:
    """Write the captions' letters above the panels, which are stacked."""
    for number, letter in enumerate("abcd"[:len(list(figure.select_yaxes()))]):
        axis = "y" if number == 0 else f"y{number + 1}"
        figure.add_annotation(text=f"<b>{letter}</b>", showarrow=False, xref="paper", x=0,
                              yref=f"{axis} domain", y=1, yanchor="bottom", xanchor="left")


def _vertical(figure, x: float, text: str, at: float) -> None:
    """Draw a dashed vertical line at `x` with its name at `at`.

    On a logarithmic axis plotly takes the place of an annotation as a logarithm, but not a line's.
    """
    figure.add_vline(x=x, line=DASHED)
    figure.add_annotation(x=float(at), y=0, yref="paper", text=text, showarrow=False,
                          xanchor="right", yanchor="bottom", font={"size": 11})


def _short(values) -> np.ndarray:
    """Single precision: half the bytes in the page."""
    return np.asarray(values, dtype=np.float32)
