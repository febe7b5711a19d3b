"""Figures of an estimate on types: matches and wages, data beside model; the bootstrap."""

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shorematch.drawing import save_figure, styled
from shorematch.estimates.estimate_files import Part
from shorematch.estimates.three_step_results import TypedResult, draws_of

_BINS = 30
# beyond this many types a side, signs no longer fit into cells
_SIGNED = 14


def draw_typed(folder: Path, part: Part, result: TypedResult, stem: str = "") -> list[Path]:
    """Write the figures of a part as PDF and PNG into a folder; their paths."""
    figures = {"matches": matches_figure(result), "wages": wages_figure(result)}
    if result.estimate.failed is not None:
        figures["bootstrap"] = bootstrap_figure(part, result)
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, folder, f"{name}{stem}")
    ]


@styled
def matches_figure(result: TypedResult) -> Figure:
    """Shares of the cells relative to a random matching: data, model and their difference.

    Data cells with fewer matches than may be shown are left white.
    """
    estimate = result.estimate
    random = np.outer(estimate.matches.sum(1), estimate.matches.sum(0))
    shown = (result.sample.counts > 0) & ~result.thin
    with np.errstate(divide="ignore", invalid="ignore"):
        data = np.where(shown, np.log(estimate.matches / random), np.nan)
        model = np.log(estimate.fitted_matches / random)
    level = float(np.nanmax(np.abs([data, model])))
    gap = float(np.nanmax(np.abs(data - model))) if shown.any() else 0.0
    figure = Figure(figsize=(6.3, 2.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for ax, values, title, reach in zip(
        panels,
        (data, model, data - model),
        ("Data", "Model", "Data less model"),
        (level, level, max(gap, 1e-12)),
        strict=True,
    ):
        norm = Normalize(-reach, reach)
        ax.imshow(values.T, origin="lower", norm=norm, cmap="RdBu_r", aspect="auto")
        ax.set_title(title)
        if max(values.shape) <= _SIGNED:
            # so that the figure survives grey print
            for i, j in np.argwhere(values < 0):
                ax.text(i, j, "−", ha="center", va="center", fontsize=6)
        for axis, count in ((ax.xaxis, values.shape[0]), (ax.yaxis, values.shape[1])):
            places = np.unique(np.linspace(0, count - 1, min(count, 5)).astype(int))
            axis.set_ticks(places, [str(place + 1) for place in places])
        ax.set_xlabel("Worker type")
        if title != "Model":
            bar = figure.colorbar(ScalarMappable(norm, "RdBu_r"), ax=ax, location="bottom")
            bar.set_label("Log share over random" if title == "Data" else "Log points")
    panels[0].set_ylabel("Firm type")
    if result.thin.any():
        figure.supxlabel(
            f"White: no matches, or fewer than {result.smallest_cell}.", x=0.01, ha="left",
            fontsize=7.5,
        )  # fmt: skip
    return figure


@styled
def wages_figure(result: TypedResult) -> Figure:
    """Mean wages by type of worker and of firm, data and model."""
    estimate, fit = result.estimate, []
    with np.errstate(invalid="ignore"):
        bill = np.nan_to_num(estimate.matches * estimate.mean_wages)
    for axis in (1, 0):
        rows = result.sample.counts.sum(axis)
        data = bill.sum(axis) / estimate.matches.sum(axis)
        model = (estimate.fitted_matches * estimate.fitted_wages).sum(axis)
        model = model / estimate.fitted_matches.sum(axis)
        fit.append((np.where(rows < result.smallest_cell, np.nan, data), model))
    figure = Figure(figsize=(6.3, 2.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (data, model), side in zip(panels, fit, ("Worker", "Firm"), strict=True):
        place = np.arange(1, len(data) + 1)
        ax.plot(place, model, "-", color="0.5", label="Model")
        ax.plot(place, data, "o", color="black", label="Data")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel(f"{side} type")
    panels[0].set_ylabel("Mean wage")
    panels[0].legend()
    return figure


@styled
def bootstrap_figure(part: Part, result: TypedResult) -> Figure:
    """Draws of each parameter between their 0.5th and 99.5th percentile, estimate and interval."""
    failed = result.estimate.failed
    draws = draws_of(result.estimate)
    draws = draws if failed is None else draws[~failed]
    columns = min(3, draws.shape[1])
    rows = -(-draws.shape[1] // columns)
    figure = Figure(figsize=(6.3, 1.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for ax in panels.flat[draws.shape[1] :]:
        ax.set_axis_off()
    for k, (ax, name) in enumerate(zip(panels.flat, result.estimate.names, strict=False)):
        low, high = np.percentile(draws[:, k], [0.5, 99.5])
        ax.hist(np.clip(draws[:, k], low, high), bins=_BINS, color="0.8", edgecolor="0.5",
                linewidth=0.3)  # fmt: skip
        ax.axvline(part.values[k], color="black")
        for end in part.intervals[k]:
            ax.axvline(end, color="black", linestyle=(0, (4, 2)), linewidth=0.8)
        ax.set_title(name, fontsize=7.5)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=4)
    figure.supxlabel(
        f"{len(draws)} draws; solid: the estimate, dashed: the 95 % interval.", x=0.01, ha="left",
        fontsize=7.5,
    )  # fmt: skip
    return figure
