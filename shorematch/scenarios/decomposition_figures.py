"""Figures of a decomposition: what each group of parameters contributes to each change."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterfactuals import Decomposition
from shorematch.drawing import save_figure, styled

# statistic → title of its panel
_PANELS = {
    "var_wage_between_firms": "Between-firm variance of wages",
    "var_skill_between_firms": "Between-firm variance of skills",
    "wage_spread_by_firm": "Mean wage, top minus bottom firms",
    "sorting": "Sorting (correlation)",
    "unemployment_rate": "Unemployment rate",
    "offshoring_rate": "Rate of offshoring",
}
_PROFILES = {
    "offshoring_share_by_firm": "Offshored share of hires, by firm type",
    "offshoring_by_worker": "Offshored matches per home match, by foreign worker type",
}
_BARS = ("#0072B2", "#D55E00")  # raises, lowers
_HATCHES = ("", "////")
_LINES = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (10, 2)))


def decomposition_figures(folder: Path, result: Decomposition, causes: pd.DataFrame) -> list[Path]:
    """Draw contributions by group, by cause (``causes``) and to offshoring by type; their paths."""
    paths = save_figure(contributions(result), folder, "contributions")
    paths += save_figure(causes_of_inequality(causes), folder, "causes")
    if any(name == "offshoring_by_worker" for name, _ in result.labels):
        paths += save_figure(offshoring_profiles(result), folder, "offshoring_by_type")
    return paths


@styled
def contributions(result: Decomposition) -> Figure:
    """One panel per headline statistic: bars are Shapley contributions, lines the orders' range."""
    names = [group.name for group in result.groups]
    panels = {}
    for k, label in enumerate(result.labels):
        if label[0] in _PANELS:
            title = _PANELS[label[0]] + (f" ({label[1]})" if label[1] else "")
            change = f"{result.end[k] - result.start[k]:+.3g}".replace("-", "−")
            values = (result.shapley[:, k], result.least[:, k], result.most[:, k])
            panels[f"{title}\nchange {change}"] = values
    return _bars(names, panels)


@styled
def causes_of_inequality(causes: pd.DataFrame) -> Figure:
    """One panel per measure of between-firm inequality, with what each cause does to it."""
    names = list(dict.fromkeys(causes["cause"]))
    panels = {
        str(statistic): tuple(part[key].to_numpy() for key in ("shapley", "least", "most"))
        for statistic, part in causes.groupby("statistic", sort=False)
    }
    return _bars(names, panels)


@styled
def offshoring_profiles(result: Decomposition) -> Figure:
    """Shapley contributions to offshoring by firm type and by foreign worker type."""
    figure = Figure(figsize=(6.3, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for ax, (statistic, title) in zip(panels, _PROFILES.items(), strict=True):
        columns = [k for k, (name, _) in enumerate(result.labels) if name == statistic]
        place = np.arange(len(columns))
        marker = "o" if len(columns) == 1 else ""
        for g, group in enumerate(result.groups):
            ax.plot(place, result.shapley[g, columns], color=_LINES[g % len(_LINES)], marker=marker,
                    linestyle=_DASHES[g % len(_DASHES)], label=group.name)  # fmt: skip
        change = (result.end - result.start)[columns]
        ax.plot(place, change, color="0.6", linewidth=3, marker=marker, zorder=0, label="change")
        ax.set_title(title, wrap=True)
        ax.set_xlabel("Type, counted from 0")
        ax.locator_params(axis="x", integer=True)
    panels[0].set_ylabel("Contribution to the change")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _bars(names: list[str], panels: Mapping[str, tuple[np.ndarray, ...]]) -> Figure:
    """Bars with ranges, ``(shapley, least, most)`` of every panel, two panels a row."""
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(6.3, rows * (0.8 + 0.2 * len(names)) + 0.3), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False, sharey=True).flat
    place = np.arange(len(names))
    for ax, (title, (value, least, most)) in zip(axes, panels.items(), strict=False):
        for sign, colour, hatch in zip((1, -1), _BARS, _HATCHES, strict=True):
            bars = sign * value > 0
            ax.barh(place[bars], value[bars], 0.6, facecolor="white" if hatch else colour,
                    edgecolor=colour, hatch=hatch, linewidth=0.8)  # fmt: skip
        ax.hlines(place, least, most, "black", linewidth=0.8)
        ax.plot(value, place, "k|", markersize=7)
        ax.axvline(0.0, color="black", linewidth=0.6)
        ax.set_yticks(place, names)
        ax.locator_params(axis="x", nbins=4)
        ax.set_title(title)
    for ax in figure.axes[len(panels) :]:
        ax.set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.supxlabel(
        "Bars: average over all orders (Shapley), hatched where it lowers the statistic. "
        "Lines: range over the orders.", x=0.01, ha="left", fontsize=7.5,
    )  # fmt: skip
    return figure
