"""Data beside model and their difference, as three heat maps."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

# beyond this many cells a side, signs no longer fit into them
_SIGNED = 14
# differences of less than this part of the largest number are those of rounding
_ROUNDING = 1e-6


def data_and_model(data: np.ndarray, model: np.ndarray, what: str, difference: str) -> Figure:
    """Panels of workers' (across) by firms' cells, ``(N, J)`` each; NaN cells stay white."""
    shown = np.isfinite(data)
    level = float(np.nanmax(np.abs([data, model])))
    gap = float(np.nanmax(np.abs(data - model))) if shown.any() else 0.0
    figure = Figure(figsize=(6.3, 2.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for ax, values, title, reach in zip(
        panels,
        (data, model, data - model),
        ("Data", "Model", "Data less model"),
        (level, level, max(gap, _ROUNDING * level)),
        strict=True,
    ):
        norm = Normalize(-reach, reach)
        ax.imshow(values.T, origin="lower", norm=norm, cmap="RdBu_r", aspect="auto")
        ax.set_title(title)
        if max(values.shape) <= _SIGNED:
            # so that the figure survives grey print
            for i, j in np.argwhere(values < -_ROUNDING * level):
                ax.text(i, j, "−", ha="center", va="center", fontsize=6)
        if title != "Model":
            bar = figure.colorbar(ScalarMappable(norm, "RdBu_r"), ax=ax, location="bottom")
            bar.set_label(what if title == "Data" else difference)
    return figure
