"""Figures of an affinity matrix: the matrix itself, and along which indices the market sorts."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from estimation import Estimates, PenaltyPath
from estimation.penalties import PENALTIES
from shorematch.drawing import save_figure, styled
from shorematch.estimates.fit_figures import data_and_model

# Beyond this many cells a side, numbers no longer fit into cells.
_NUMBERED = 14
_PAIRS_SHOWN = 3


def draw_affinity(
    folder: Path, estimate: Estimates, stem: str = ""
) -> list[Path]:  # fmt: skip
    """Write the figures of an affinity matrix as PDF and PNG into a folder; their paths."""
    figures = {
        "affinity": affinity_heat_map(estimate),
        "saliency": saliency_figure(estimate),
        "covariances": covariances_figure(estimate),
    }
    if estimate.penalty is not None and len(estimate.penalty.gains):
        figures["penalty"] = penalty_figure(estimate.penalty)
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, folder, f"{name}{stem}")
    ]


@styled
def affinity_heat_map(estimate: Estimates) -> Figure:
    """``Φ/λ``, rows skills and columns characteristics; bold where 95 % intervals exclude zero.

    Shade is the size of an affinity, so that the figure survives grey print; the number has the
    sign. In large matrices, where numbers do not fit, negative cells bear a minus.
    """
    affinity = estimate.affinity()
    low, high = estimate.confint().T.reshape(2, *affinity.shape)
    m, n = affinity.shape
    size = (np.clip(1.9 + 0.5 * n, 4.4, 9.0), np.clip(1.3 + 0.34 * m, 2.4, 9.0))
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(np.abs(affinity), cmap="Greys", vmin=0, aspect="auto")
    ax.set_xticks(range(n), estimate.characteristic_names, rotation=40, ha="right")
    ax.set_yticks(range(m), estimate.skill_names)
    ax.set_xlabel("Firm characteristic")
    ax.set_ylabel("Worker skill")
    ax.tick_params(length=0)
    dark = np.abs(affinity) > 0.55 * np.abs(affinity).max()
    sure = (low > 0) | (high < 0)
    for (i, j), value in np.ndenumerate(affinity):
        number = f"{value:.2f}".replace("-", "−")
        text = number if max(m, n) <= _NUMBERED else "−" if value < 0 else ""
        ax.text(j, i, text, ha="center", va="center", fontsize=7.5,
                color="white" if dark[i, j] else "black",
                weight="bold" if sure[i, j] else "normal")  # fmt: skip
    figure.colorbar(image, ax=ax, label="Size of affinity |Φ/λ|", pad=0.02)
    figure.supxlabel(
        "Log points per unit of each column. Bold: the 95 % interval excludes zero."
        if np.isfinite(low).any()
        else "Log points per unit of each column.",
        x=0.01, ha="left", fontsize=7.5,
    )  # fmt: skip
    return figure


@styled
def saliency_figure(estimate: Estimates) -> Figure:
    """Shares of the index pairs and loadings of the first few, with 95 % intervals."""
    found = estimate.saliency()
    pairs = min(_PAIRS_SHOWN, len(found.shares))
    rows = max(len(estimate.skill_names), len(estimate.characteristic_names))
    height = float(np.clip(0.9 + 0.2 * rows, 1.7, 6.0))
    figure = Figure(figsize=(6.3, 2.3 + height), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.1, height])
    top, bottom = parts.flat
    ax = top.subplots()
    count = np.arange(1, len(found.shares) + 1)
    ax.bar(
        count,
        100 * found.shares,
        yerr=196 * found.share_std_errors,
        width=0.6,
        color="0.75",
        edgecolor="black",
        linewidth=0.6,
        error_kw={"linewidth": 0.8, "capsize": 2},
    )
    ax.set_xticks(count)
    ax.set_xlim(0.3, max(len(count), 5) + 0.7)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("Index pair")
    ax.set_ylabel("Share of sorting (%)")
    left, right = bottom.subplots(1, 2)
    _loadings(left, estimate.skill_names, found.skill_loadings[:, :pairs],
              found.skill_loading_std_errors)  # fmt: skip
    _loadings(right, estimate.characteristic_names, found.characteristic_loadings[:, :pairs],
              found.characteristic_loading_std_errors)  # fmt: skip
    left.set_title("Worker skills")
    right.set_title("Firm characteristics")
    bottom.supxlabel("Loading", fontsize=9)
    bottom.legend(
        *left.get_legend_handles_labels(), loc="outside upper center", ncols=pairs
    )  # fmt: skip
    return figure


@styled
def covariances_figure(estimate: Estimates) -> Figure:
    """Covariances of skills with characteristics over matches: data, model and difference."""
    shape = len(estimate.skill_names), len(estimate.characteristic_names)
    data, model = (v.reshape(shape) for v in (estimate.fit.data, estimate.fit.model))
    figure = data_and_model(data, model, "Covariance", "Difference")
    panels = figure.axes[:3]
    for ax in panels:
        ax.set_xticks(range(shape[0]), estimate.skill_names, rotation=60, ha="right")
    panels[0].set_yticks(range(shape[1]), estimate.characteristic_names)
    return figure


@styled
def penalty_figure(path: PenaltyPath) -> Figure:
    """Log likelihood out of sample by strength of the penalty, and what is left of the matrix."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    top.errorbar(path.strengths, path.mean_gain, yerr=path.std_error, fmt="o-", color="black",
                 markersize=3, linewidth=0.8, elinewidth=0.6)  # fmt: skip
    top.axhline(0.0, color="0.6", linewidth=0.6)
    top.set_ylabel("Gain out of sample\n(log points a match)")
    bottom.step(path.strengths, path.sizes, where="mid", color="black")
    bottom.set_ylabel(PENALTIES[path.penalty].counts.capitalize().replace(" that ", "\nthat "))
    bottom.set_xscale("log")
    bottom.xaxis.set_major_formatter("{x:g}")
    bottom.set_xlabel("Strength of the penalty γ")
    for ax in (top, bottom):
        ax.axvline(path.strength, color="black", linestyle=(0, (4, 2)), linewidth=0.8)
    figure.supxlabel(
        "Bars: one standard error over folds. Dashed: the largest strength within one of the best.",
        x=0.01, ha="left", fontsize=7.5,
    )  # fmt: skip
    return figure


def _loadings(ax: Axes, names: tuple[str, ...], loadings: np.ndarray, errors: np.ndarray) -> None:
    """One row per column of the data, one marker with its 95 % interval per index pair."""
    place = np.arange(len(names))
    ax.axvline(0.0, color="0.6", linewidth=0.6)
    shades = ("black", "0.45", "white")
    for k, (marker, shade) in enumerate(zip("os^", shades, strict=True)):
        if k < loadings.shape[1]:
            ax.errorbar(loadings[:, k], place + 0.2 * (k - 1), xerr=1.96 * errors[:, k],
                        fmt=marker, color="black", markersize=4, markerfacecolor=shade,
                        markeredgewidth=0.7, elinewidth=0.6, label=f"Pair {k + 1}")  # fmt: skip
    ax.set_yticks(place, names)
    ax.set_xlim(-1.05, 1.05)
    ax.set_ylim(len(names) - 0.5, -0.5)
