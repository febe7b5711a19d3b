"""Figures of an estimate on types: matches and wages, data beside model."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from estimation import CellFit, Estimates
from shorematch.drawing import save_figure, styled
from shorematch.estimates.fit_figures import data_and_model


def draw_typed(
    folder: Path, estimates: Estimates, smallest_cell: int, stem: str = ""
) -> list[Path]:  # fmt: skip
    """Write the figures of a part as PDF and PNG into a folder; their paths."""
    figures = {}
    if estimates.cells is not None:
        figures["matches"] = matches_figure(estimates.cells, smallest_cell)
        figures["wages"] = wages_figure(estimates.cells, smallest_cell)
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, folder, f"{name}{stem}")
    ]


@styled
def matches_figure(cells: CellFit, smallest_cell: int) -> Figure:
    """Shares of the cells relative to a random matching: data, model and their difference.

    Data cells with fewer matches than may be shown are left white.
    """
    random = np.outer(cells.matches.sum(1), cells.matches.sum(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        data = np.where(cells.counts >= max(smallest_cell, 1), np.log(cells.matches / random),
                        np.nan)  # fmt: skip
        model = np.log(cells.fitted_matches / random)
    figure = data_and_model(data, model, "Log share over random", "Log points")
    panels = figure.axes[:3]
    for ax in panels:
        for axis, count in ((ax.xaxis, data.shape[0]), (ax.yaxis, data.shape[1])):
            places = np.unique(np.linspace(0, count - 1, min(count, 5)).astype(int))
            axis.set_ticks(places, [str(place + 1) for place in places])
        ax.set_xlabel("Worker type")
    panels[0].set_ylabel("Firm type")
    if np.isnan(data).any():
        figure.supxlabel(
            f"White: no matches, or fewer than {smallest_cell}.", x=0.01, ha="left", fontsize=7.5
        )
    return figure


@styled
def wages_figure(cells: CellFit, smallest_cell: int) -> Figure:
    """Mean wages by type of worker and of firm, data and model."""
    fit, bill = [], np.nan_to_num(cells.matches * cells.mean_wages)
    for axis in (1, 0):
        thin = cells.counts.sum(axis) < smallest_cell
        data = bill.sum(axis) / cells.matches.sum(axis)
        model = (cells.fitted_matches * cells.fitted_wages).sum(axis)
        fit.append((np.where(thin, np.nan, data), model / cells.fitted_matches.sum(axis)))
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
