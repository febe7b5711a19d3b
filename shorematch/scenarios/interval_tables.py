"""Scenarios with intervals as tables and a figure: levels, and changes from the baseline."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterfactuals.intervals import ScenarioDraws, percentile_interval
from counterfactuals.measures import PROFILES
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


def write_intervals(folder: Path, result: ScenarioDraws, *, figures: bool = True) -> None:
    """Write ``levels`` and ``changes`` in three forms each, and the figure of changes."""
    for stem, estimate, draws in (
        ("levels", result.estimate, result.draws),
        ("changes", result.estimated_change[1:], result.changes[1:]),
    ):
        names = result.scenarios[-len(estimate) :]
        bounds = percentile_interval(draws, LEVEL)
        used = (~np.isnan(draws).all(-1)).sum(-1)
        write_tables(
            folder,
            stem,
            _long(result, names, estimate, bounds, used),
            title=_title(stem, len(result.failed)),
            printed=_printed(result, names, estimate, bounds, used),
        )
    if figures:
        save_figure(changes_figure(result), folder / "figures", "changes")


def failures(result: ScenarioDraws) -> pd.DataFrame:
    """Per scenario: draws, how many of them no interval rests on, and why."""
    lost = ~result.used
    return pd.DataFrame({
        "scenario": result.scenarios,
        "draws": len(result.failed),
        "estimation failed": int(result.failed.sum()),
        "not solved": (lost & ~result.failed).sum(1),
        "used": result.used.sum(1),
    })  # fmt: skip


@styled
def changes_figure(result: ScenarioDraws) -> Figure:
    """One panel per headline statistic: changes from the baseline with their intervals."""
    labels = [(name, "") for name in _PANELS]
    names = result.scenarios[1:]
    place = np.arange(len(names))
    rows = -(-len(labels) // 2)
    figure = Figure(figsize=(6.3, rows * (0.8 + 0.22 * len(names)) + 0.3), layout="constrained")
    for ax, label in zip(
        figure.subplots(rows, 2, squeeze=False, sharey=True).flat, labels, strict=False
    ):
        k = result.labels.index(label)
        low, high = percentile_interval(result.changes[1:, :, k, None], LEVEL)[..., 0].T
        ax.axvline(0.0, color="black", linewidth=0.6)
        ax.hlines(place, low, high, "#0072B2", linewidth=1.6)
        ax.plot(result.estimated_change[1:, k], place, "o", color="#0072B2", markersize=4.5)
        ax.set_yticks(place, names)
        ax.locator_params(axis="x", nbins=4)
        ax.set_title(_PANELS[label[0]])
    for ax in figure.axes[len(labels) :]:
        ax.set_visible(False)
    figure.axes[0].invert_yaxis()
    fewest = result.used.sum(1).min()
    figure.supxlabel(
        f"Changes from {result.scenarios[0]}; lines are {LEVEL:.0%} percentile intervals over at "
        f"least {fewest} of {len(result.failed)} draws.", x=0.01, ha="left", fontsize=7.5,
    )  # fmt: skip
    return figure


# ---------------------------------------------------------------- helpers


def _title(stem: str, count: int) -> str:
    what = "Levels" if stem == "levels" else "Changes from the baseline, paired draw by draw"
    return f"{what}; {LEVEL:.0%} percentile intervals over {count} bootstrap draws in brackets"


def _long(
    result: ScenarioDraws,
    names: tuple[str, ...],
    estimate: np.ndarray,
    bounds: np.ndarray,
    used: np.ndarray,
) -> pd.DataFrame:
    """A row per scenario and measure, with the number of draws behind its interval."""
    statistics, groups = zip(*result.labels, strict=True)
    size = len(statistics)
    return pd.DataFrame({
        "scenario": np.repeat(np.array(names, object), size),
        "statistic": statistics * len(names),
        "group": groups * len(names),
        "estimate": estimate.ravel(),
        "ci_low": bounds[:, 0].ravel(),
        "ci_high": bounds[:, 1].ravel(),
        "draws": np.repeat(used, size),
    })  # fmt: skip


def _printed(
    result: ScenarioDraws,
    names: tuple[str, ...],
    estimate: np.ndarray,
    bounds: np.ndarray,
    used: np.ndarray,
) -> pd.DataFrame:
    """Scalars, each with its interval in brackets below it.

    A row per statistic and a column per scenario; of many scenarios, the other way round.
    """
    scalars = [k for k, (statistic, _) in enumerate(result.labels) if statistic not in PROFILES]
    labels = ["_".join(filter(None, result.labels[k])) for k in scalars]
    numbers, brackets = (
        np.array([[text(row[..., k]) for k in scalars] for row in rows], object)
        for rows, text in ((estimate, _number), (bounds, _bracket))
    )
    few = len(names) <= SIDE_BY_SIDE
    if few:
        numbers, brackets = numbers.T, brackets.T
    rows = []
    for label, above, below in zip(labels if few else names, numbers, brackets, strict=True):
        rows += [[label, *above], ["", *below]]
    frame = pd.DataFrame(rows, columns=["statistic", *names] if few else ["scenario", *labels])
    if few:
        frame.loc[len(frame)] = ["draws used", *map(str, used)]
    else:
        frame["draws used"] = [text for count in used for text in (str(count), "")]
    return frame


def _number(value: np.ndarray) -> str:
    return rounded(float(value))


def _bracket(ends: np.ndarray) -> str:
    return f"[{rounded(float(ends[0]))}, {rounded(float(ends[1]))}]"
