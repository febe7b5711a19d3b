"""The figure of a bootstrap: how the draws of each parameter are spread."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from estimation import Estimates
from shorematch.drawing import save_figure, styled

_BINS = 30
# Beyond this many parameters panels are half as wide.
_FEW = 30


def draw_bootstrap(folder: Path, estimates: Estimates, stem: str = "") -> list[Path]:
    """Write the figure, where there are draws, as PDF and PNG into a folder; its paths."""
    if estimates.bootstrap is None or estimates.bootstrap.failed.all():
        return []
    return save_figure(bootstrap_figure(estimates), folder, f"bootstrap{stem}")


@styled
def bootstrap_figure(estimates: Estimates) -> Figure:
    """Draws of each parameter that varies, without the outer 0.5 % on either side.

    Solid is the estimate, dashed its interval.
    """
    assert estimates.bootstrap is not None
    draws = estimates.bootstrap.values[~estimates.bootstrap.failed]
    intervals = estimates.confint()
    shown = np.flatnonzero(np.ptp(draws, axis=0) > 0)
    columns, height, size = (3, 1.5, 7.5) if len(shown) <= _FEW else (6, 0.9, 5.0)
    columns = min(columns, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(6.3, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for ax in panels.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, k in zip(panels.flat, shown, strict=False):
        low, high = np.percentile(draws[:, k], [0.5, 99.5])
        ax.hist(np.clip(draws[:, k], low, high), bins=_BINS, color="0.8", edgecolor="0.5",
                linewidth=0.3)  # fmt: skip
        ax.axvline(estimates.values[k], color="black")
        for end in intervals[k]:
            ax.axvline(end, color="black", linestyle=(0, (4, 2)), linewidth=0.8)
        ax.set_title(estimates.names[k].removeprefix("affinity."), fontsize=size)
        ax.tick_params(labelsize=size)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=4)
    figure.supxlabel(
        f"{len(draws)} draws; solid: the estimate, dashed: the 95 % interval.", x=0.01, ha="left",
        fontsize=7.5,
    )  # fmt: skip
    return figure
