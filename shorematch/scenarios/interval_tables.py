"""Estimates with intervals over bootstrap draws, as tables and as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterfactuals.intervals import percentile_interval
from counterfactuals.measures import PROFILES, Label
from shorematch.drawing import save_figure, styled
from shorematch.files.tables import rounded, write_tables

LEVEL = 0.95
SIDE_BY_SIDE = 12  # scenarios that stand beside each other, in figures and as columns
# statistic → title of its panel
_PANELS = {
    "mean_wage_home": "Mean home wage",
    "sd_wage_home": "Standard deviation of home wages",
    "var_wage_between_firms": "Between-firm variance of wages",
    "unemployment_rate": "Unemployment rate",
    "offshoring_rate": "Rate of offshoring",
    "sorting": "Sorting (correlation)",
}


@dataclass(frozen=True)
class Intervals:
    """``S`` measures of ``K`` things of a kind at the estimates and under ``B`` draws of them."""

    kind: str  # what bears the names: the column that holds them
    names: tuple[str, ...]
    labels: tuple[Label, ...]
    estimate: np.ndarray  # (K, S)
    draws: np.ndarray  # (K, B, S), NaN where a draw is in no interval

    @property
    def bounds(self) -> np.ndarray:
        """Lower and upper end of each interval, ``(K, 2, S)``."""
        return percentile_interval(self.draws, LEVEL)

    @property
    def used(self) -> np.ndarray:
        """Number of draws that the intervals of each thing rest on, ``(K,)``."""
        return (~np.isnan(self.draws).all(-1)).sum(-1)


def write_intervals(folder: Path, stem: str, found: Intervals, what: str) -> None:
    """Write intervals in three forms; ``what`` says in words what the numbers are."""
    title = (f"{what}; {LEVEL:.0%} percentile intervals over {found.draws.shape[1]} bootstrap "
             "draws in brackets")  # fmt: skip
    write_tables(folder, stem, _long(found), title=title, printed=_printed(found))


def save_intervals(folder: Path, stem: str, found: Intervals, what: str) -> None:
    """Draw intervals of the headline statistics into ``folder``."""
    save_figure(interval_figure(found, what), folder, stem)


@styled
def interval_figure(found: Intervals, what: str) -> Figure:
    """One panel per headline statistic: estimates with their intervals; ``what`` they are."""
    names = found.names
    place = np.arange(len(names))
    rows = -(-len(_PANELS) // 2)
    figure = Figure(figsize=(6.3, rows * (0.8 + 0.22 * len(names)) + 0.3), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False, sharey=True).flat
    for ax, (statistic, title) in zip(panels, _PANELS.items(), strict=True):
        k = found.labels.index((statistic, ""))
        low, high = found.bounds[:, :, k].T
        ax.axvline(0.0, color="black", linewidth=0.6)
        ax.hlines(place, low, high, "#0072B2", linewidth=1.6)
        ax.plot(found.estimate[:, k], place, "o", color="#0072B2", markersize=4.5)
        ax.set_yticks(place, names)
        ax.locator_params(axis="x", nbins=4)
        ax.set_title(title)
    figure.axes[0].invert_yaxis()
    figure.supxlabel(
        f"{what}; lines are {LEVEL:.0%} percentile intervals over at least {found.used.min()} of "
        f"{found.draws.shape[1]} draws.", x=0.01, ha="left", fontsize=7.5,
    )  # fmt: skip
    return figure


def failure_lines(
    names: Sequence[str], failed: np.ndarray, used: np.ndarray, certified: np.ndarray
) -> tuple[list[str], bool]:
    """Which draws no interval rests on or are in doubt, in words, and whether there are doubts.

    ``failed`` ``(B,)`` are those of the estimation; ``used`` and ``certified`` are ``(K, B)``.
    """
    lines = []
    if count := int(failed.sum()):
        lines.append(f"{count} of {len(failed)} draws have failed in the estimation and are in no "
                     "interval; what made them fail may bear on what is left")  # fmt: skip
    lost, doubtful = (~used & ~failed).sum(1), (~certified & ~failed).sum(1)
    lines += [
        f"{name}: {doubts} OF {len(failed)} DRAWS ARE NOT CERTIFIED, {gone} of them not solved and "
        "in no interval"
        for name, gone, doubts in zip(names, lost, doubtful, strict=True)
        if doubts
    ]
    return lines, bool(doubtful.any())


# ---------------------------------------------------------------- helpers


def _long(found: Intervals) -> pd.DataFrame:
    """A row per name and measure, with the number of draws behind its interval."""
    statistics, groups = zip(*found.labels, strict=True)
    size, count = len(statistics), len(found.names)
    low, high = found.bounds.swapaxes(0, 1)
    return pd.DataFrame({
        found.kind: np.repeat(np.array(found.names, object), size),
        "statistic": statistics * count,
        "group": groups * count,
        "estimate": found.estimate.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "draws": np.repeat(found.used, size),
    })  # fmt: skip


def _printed(found: Intervals) -> pd.DataFrame:
    """Scalars, each with its interval in brackets below it.

    A row per statistic and a column per name; of many names, the other way round.
    """
    scalars = [k for k, (statistic, _) in enumerate(found.labels) if statistic not in PROFILES]
    labels = ["_".join(filter(None, found.labels[k])) for k in scalars]
    numbers, brackets = (
        np.array([[text(row[..., k]) for k in scalars] for row in rows], object)
        for rows, text in ((found.estimate, _number), (found.bounds, _bracket))
    )
    names = found.names
    few = len(names) <= SIDE_BY_SIDE
    if few:
        numbers, brackets = numbers.T, brackets.T
    rows = []
    for label, above, below in zip(labels if few else names, numbers, brackets, strict=True):
        rows += [[label, *above], ["", *below]]
    frame = pd.DataFrame(rows, columns=["statistic", *names] if few else [found.kind, *labels])
    if few:
        frame.loc[len(frame)] = ["draws used", *map(str, found.used)]
    else:
        frame["draws used"] = [text for count in found.used for text in (str(count), "")]
    return frame


def _number(value: np.ndarray) -> str:
    return rounded(float(value))


def _bracket(ends: np.ndarray) -> str:
    return f"[{rounded(float(ends[0]))}, {rounded(float(ends[1]))}]"
