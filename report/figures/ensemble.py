"""Figure of the outcomes of a treatment over many drawn patients."""

from __future__ import annotations

import numpy as np

from .style import INK, MUTED, SERIES, new_figure, panel, style

PANELS = (("time_to_t90_s", "90 % treated", "time (s)", 1),
          ("coverage", "Coverage", "fraction of the target", 1),
          ("max_overshoot_k", "Limit exceeded", "temperature (K)", 1),
          ("damaged_normal_volume_m3", "Damaged tissue", "volume outside (ml)", 1e6))


def ensemble_distributions(ensembles: dict):
    """Empirical distribution of each metric over the draws, one panel per metric.

    Damaged tissue is normal tissue at 240 CEM43. Where a metric does not exist for some draws (a
    time that was never reached), the curve does not reach 1.

    Parameters
    ----------
    ensembles : controller -> content of `ensemble/{controller}.json`.
    """
    with style():
        figure = new_figure(2.4)
        axes = figure.subplots(1, len(PANELS), sharey=True)
        for ax, letter, (name, title, label, scale) in zip(axes, "abcd", PANELS, strict=True):
            for colour, (controller, content) in zip(SERIES, ensembles.items(), strict=False):
                known = np.sort([scale * value for value in content[name]["values"]
                                 if value is not None])
                share = np.arange(1, len(known) + 1) / content["draws"]
                ax.step(known, share, where="post", color=colour, lw=0.8)
                ax.plot(known, share, ".", ms=3.5, color=colour, gid=f"{controller} {name}",
                        label=f"{controller}, {content['draws']} draws")
            ax.axhline(0.95, color=MUTED, ls="--", lw=0.6, zorder=0.5)
            ax.set_xlabel(label)
            panel(ax, letter, title)
        axes[0].set_ylabel("fraction of the draws", color=INK)
        axes[0].set_ylim(0, 1.03)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center",
                      ncols=len(ensembles))
        return figure
