"""Common style of all figures: sizes, type, and colours that colour-blind readers can tell apart.

The hues are those of Okabe and Ito (2008), "Color universal design"; maps of a quantity use one
sequential map whose lightness rises steadily, so they also survive a grey print.
"""

from __future__ import annotations

from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

WIDTH = 7.2  # inches, a journal's two columns

INK, MUTED, FAINT, PAPER = "#1d252d", "#66717c", "#d5dae0", "#ffffff"
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PURPLE = "#56b4e9", "#cc79a7"

TARGET, LIMIT, LESION, UNTREATED, BEAM = VERMILION, INK, GREEN, ORANGE, BLUE
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
# Regions that are not the target: quiet tints, in the order in which the regions appear.
TINTS = ("#f1e6d0", "#d9c6d6", "#c9d8e4", "#cfdcc4", "#e3cdb9", "#d9d9d9", "#c3cfcf", "#e9d5d0")

HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#ffffff", "#fde3b4", "#f6a95a", "#d9622b", "#9c2a28", "#4a1236"])
DEPTH = LinearSegmentedColormap.from_list("depth", ["#9ed2e6", "#2a7fb0", "#0b2f5b"])

_RC = {
    "font.family": "DejaVu Sans", "font.size": 7.5, "axes.titlesize": 8, "axes.labelsize": 7.5,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "figure.dpi": 100,
    "axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.titlecolor": INK,
    "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 2.5, "ytick.major.size": 2.5, "lines.linewidth": 1.1,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left",
    "legend.frameon": False, "legend.handlelength": 1.8, "hatch.linewidth": 0.5,
    "hatch.color": "#7a5200",
    "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
    "image.interpolation": "nearest", "svg.hashsalt": "hifuflow", "axes.axisbelow": True,
}


@contextmanager
def style():
    """Apply the look inside the block, and leave the caller's matplotlib settings alone."""
    with mpl.rc_context(_RC):
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of `width` x `height` inches, drawn off screen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel(ax, letter: str, title: str = "") -> None:
    """Letter and title of a panel, at its upper left."""
    ax.set_title(f"$\\bf{{{letter}}}$  {title}")


def image_axes(ax) -> None:
    """Frame an axes that shows an image: all four sides, equal scales."""
    ax.set_aspect("equal")
    for spine in ax.spines.values():
        spine.set_visible(True)


def region_colours(anatomy) -> dict[str, str]:
    """Region name -> colour: the target's regions stand out, the others are quiet tints."""
    colours, tint = {}, 0
    for name in anatomy.regions:
        if name in anatomy.target:
            colours[name] = TARGET
        else:
            colours[name] = TINTS[tint % len(TINTS)]
            tint += 1
    return colours


def label_image(anatomy, labels) -> np.ndarray:
    """(..., 4) RGBA picture of a slice of labels; outside is transparent."""
    picture = np.zeros((*labels.shape, 4))
    for name, colour in region_colours(anatomy).items():
        alpha = 0.55 if name in anatomy.target else 1.0
        picture[labels == anatomy.regions[name]["label"]] = mpl.colors.to_rgba(colour, alpha)
    return picture
