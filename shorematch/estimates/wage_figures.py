"""Figures of an estimate with wages: coefficients with intervals, and the fit of wages."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shorematch.drawing import save_figure, styled
from shorematch.estimates.estimate_files import QUANTILE
from shorematch.estimates.wage_estimation import WageResult


def draw_wages(folder: Path, result: WageResult, stem: str = "") -> list[Path]:
    """Write ``coefficients`` and ``wage_fit`` as PDF and PNG into a folder; their paths."""
    return [
        *save_figure(coefficient_figure(result), folder, f"coefficients{stem}"),
        *save_figure(wage_fit_figure(result), folder, f"wage_fit{stem}"),
    ]


@styled
def coefficient_figure(result: WageResult) -> Figure:
    """Amenities and productivity by term with 95 % intervals, each on its own axis."""
    estimate = result.estimate
    errors = dict(zip(estimate.names, estimate.std_errors(result.std_errors), strict=True))
    groups = {
        title: [name for name in estimate.names if name.startswith(kind)]
        for kind, title in (("amenity.", "Amenities"), ("productivity.", "Productivity"))
    }
    groups = {title: names for title, names in groups.items() if names}
    heights = [len(names) + 1.5 for names in groups.values()]
    figure = Figure(figsize=(5.6, 0.6 + 0.2 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)
    for ax, (title, names) in zip(panels[:, 0], groups.items(), strict=True):
        _intervals(ax, names, [estimate[n] for n in names], [errors[n] for n in names])
        ax.set_title(title, loc="left")
    panels[-1, 0].set_xlabel(
        f"In units of the {result.wage}, with 95 % intervals ({result.std_errors})"
    )
    return figure


@styled
def wage_fit_figure(result: WageResult) -> Figure:
    """Mean wage of groups of equal size, observed over predicted; the line is equality."""
    predicted, observed, count = result.estimate.wage_fit.T
    figure = Figure(figsize=(3.8, 3.5), layout="constrained")
    ax = figure.subplots()
    ends = [min(predicted.min(), observed.min()), max(predicted.max(), observed.max())]
    ax.plot(ends, ends, color="0.6", linewidth=0.8)
    ax.plot(predicted, observed, "o", color="black", markersize=4)
    ax.set_xlabel(f"Predicted {result.wage}")
    ax.set_ylabel(f"Observed {result.wage}")
    ax.set_title(
        f"{len(count)} groups of about {np.mean(count):.0f} matches, "
        f"R² = {result.estimate.r_squared:.3f}"
    )
    return figure


def _intervals(ax: Axes, names: list[str], values: list[float], errors: list[float]) -> None:
    place = np.arange(len(names))
    ax.axvline(0.0, color="0.6", linewidth=0.6)
    ax.errorbar(values, place, xerr=QUANTILE * np.array(errors), fmt="o", color="black",
                markersize=4, elinewidth=0.8, capsize=2)  # fmt: skip
    ax.set_yticks(place, [name.partition(".")[2] for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
