"""Figures of an estimate with wages: coefficients with intervals, and the fit of wages."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from estimation import Estimates
from shorematch.drawing import save_figure, styled


def draw_wages(folder: Path, estimates: Estimates, unit: str, stem: str = "") -> list[Path]:
    """Write ``coefficients`` and ``wage_fit`` as PDF and PNG into a folder; their paths."""
    return [
        *save_figure(coefficient_figure(estimates, unit), folder, f"coefficients{stem}"),
        *save_figure(wage_fit_figure(estimates, unit), folder, f"wage_fit{stem}"),
    ]


@styled
def coefficient_figure(estimates: Estimates, unit: str) -> Figure:
    """Amenities and productivity by term with 95 % intervals, each on its own axis."""
    groups = {
        title: [row for row in estimates.tidy() if row["parameter"].startswith(kind)]
        for kind, title in (("amenity.", "Amenities"), ("productivity.", "Productivity"))
    }
    groups = {title: rows for title, rows in groups.items() if rows}
    heights = [len(rows) + 1.5 for rows in groups.values()]
    figure = Figure(figsize=(5.6, 0.6 + 0.2 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)
    for ax, (title, rows) in zip(panels[:, 0], groups.items(), strict=True):
        _intervals(ax, pd.DataFrame(rows))
        ax.set_title(title, loc="left")
    panels[-1, 0].set_xlabel(
        f"In units of the {unit}, with 95 % intervals ({next(iter(estimates.covariances))})"
    )
    return figure


@styled
def wage_fit_figure(estimates: Estimates, unit: str) -> Figure:
    """Mean wage of groups of equal size, observed over predicted; the line is equality."""
    fit = estimates.fit
    groups = np.array([name.startswith("wage.") for name in fit.names]) & np.isfinite(fit.data)
    predicted, observed, count = (v[groups] for v in (fit.model, fit.data, fit.rows))
    figure = Figure(figsize=(3.8, 3.5), layout="constrained")
    ax = figure.subplots()
    ends = [min(predicted.min(), observed.min()), max(predicted.max(), observed.max())]
    ax.plot(ends, ends, color="0.6", linewidth=0.8)
    ax.plot(predicted, observed, "o", color="black", markersize=4)
    ax.set_xlabel(f"Predicted {unit}")
    ax.set_ylabel(f"Observed {unit}")
    ax.set_title(
        f"{len(count)} groups of about {np.mean(count):.0f} matches, R² = {estimates.r_squared:.3f}"
    )
    return figure


def _intervals(ax: Axes, rows: pd.DataFrame) -> None:
    place, value = np.arange(len(rows)), rows["estimate"]
    reach = np.array([value - rows["ci_low"], rows["ci_high"] - value])
    ax.axvline(0.0, color="0.6", linewidth=0.6)
    ax.errorbar(value, place, xerr=reach, fmt="o", color="black", markersize=4, elinewidth=0.8,
                capsize=2)  # fmt: skip
    ax.set_yticks(place, [name.partition(".")[2] for name in rows["parameter"]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
