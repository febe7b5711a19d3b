"""Figures of one or several equilibria.

Every figure takes a mapping ``{label: equilibrium}``: years or scenarios to compare, or just one.
Profiles are drawn over the values of one skill or firm characteristic; types that share a value
are averaged by mass, and types without mass are left out. What has not converged is not drawn,
and the figure says so.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from counterfactuals.paths import (
    IntegrationPath,
    matching_intensity_path,
    offshoring_cost_path,
)
from matching import Economy, Equilibrium, NotConverged, Status
from matching.statistics import (
    hires,
    matched_workers,
    mean_match_quality_by_firm,
    mean_wage_by_worker,
    offshoring_share_by_firm,
    unemployment_by_worker,
)
from shorematch.drawing import extent, finish, grid, legend, line_styles, save_figure, styled

Equilibria = Mapping[str, Equilibrium]

_FAINT = -5.0  # log densities below this share the darkest colour


# ---------------------------------------------------------------- figures


@styled
def matching_density(equilibria: Equilibria, *, skill: int = 0, characteristic: int = 0) -> Figure:
    """Who matches whom: home beside every foreign origin, on one scale.

    The log density of an origin's matches relative to a random matching of its workers and the
    firms, ``log(π/|π|) − log(f̄/|f̄| · ḡ/|ḡ|)``: 0 is random. Titles give ``|π|``.
    """
    solved = {label: eq for label, _, eq in _series(equilibria)}
    origins = max((len(eq.economy.origins) for eq in solved.values()), default=1)
    columns = origins * max(1, min(4 // origins, len(solved)))
    figure, panels = grid(origins * len(solved), columns, sharey=True)
    drawn = {}
    for row, (label, eq) in enumerate(solved.items()):
        for k, origin in enumerate(eq.economy.origins):
            ax, total = panels.flat[row * origins + k], float(eq.matches[k].sum())
            title = (label, f"{origin.name}, mass {total:.3g}")
            ax.set_title("\n".join(textwrap.fill(part, 84 // columns) for part in title))
            if total > 0:
                drawn[ax] = _log_density(eq, k, skill, characteristic)
    if drawn:
        low, high = (end([end(d) for *_, d in drawn.values()]) for end in (np.min, np.max))
        norm = Normalize(*extent(max(low, _FAINT), high))
        for ax, (x_edges, y_edges, log_density) in drawn.items():
            ax.pcolormesh(x_edges, y_edges, log_density.T, norm=norm, rasterized=True)
        bar = figure.colorbar(
            ScalarMappable(norm), ax=panels, pad=0.02, aspect=8 * figure.get_figheight(),
            extend="min" if low < _FAINT else "neither",
        )  # fmt: skip
        bar.set_label("Log density (0 = random)")
    finish(figure, panels, _skill(equilibria, skill), [_firm(equilibria, characteristic)],
            _caveats(equilibria))  # fmt: skip
    return figure


@styled
def wage_by_skill(equilibria: Equilibria, *, skill: int = 0, money: str = "money") -> Figure:
    """Mean home wage ``E[w|x]`` by skill."""
    return _profiles(
        equilibria,
        lambda eq: (
            eq.economy.home.skills[:, skill],
            mean_wage_by_worker(eq)[0],
            matched_workers(eq)[0],
        ),
        _skill(equilibria, skill),
        f"Mean home wage ({money})",
        money=money,
    )


@styled
def unemployment_by_skill(equilibria: Equilibria, *, skill: int = 0) -> Figure:
    """Unmatched share ``f0/f̄`` of home workers by skill."""
    return _profiles(
        equilibria,
        lambda eq: (
            eq.economy.home.skills[:, skill],
            unemployment_by_worker(eq)[0],
            eq.economy.home.mass,
        ),
        _skill(equilibria, skill),
        "Unemployment rate (%)",
        percent=True,
    )


@styled
def offshoring_by_firm(equilibria: Equilibria, *, characteristic: int = 0) -> Figure:
    """Probability that a hire is foreign by firm type, each equilibrium in a panel of its own.

    Levels differ by orders of magnitude between scenarios, slopes by little: overlaid, no slope
    could be seen.
    """
    return _profiles(
        equilibria,
        lambda eq: (
            eq.economy.firms.characteristics[:, characteristic],
            offshoring_share_by_firm(eq),
            sum(hires(eq)),
        ),
        _firm(equilibria, characteristic),
        "Offshoring (% of hires)",
        percent=True,
        apart=True,
    )


@styled
def match_quality_by_firm(
    equilibria: Equilibria, *, skill: int = 0, characteristic: int = 0
) -> Figure:
    """Mean skill ``E[x|y]`` of home hires by firm type."""
    return _profiles(
        equilibria,
        lambda eq: (
            eq.economy.firms.characteristics[:, characteristic],
            mean_match_quality_by_firm(eq)[:, skill],
            hires(eq)[0],
        ),
        _firm(equilibria, characteristic),
        _skill(equilibria, skill, "Mean match quality"),
    )


@styled
def mean_wage_by_offshoring_cost(
    paths: Mapping[str, IntegrationPath | None], *, money: str = "money"
) -> Figure:
    """Mean home wage, and offshoring, as ``c_F`` falls from the closed economy to zero.

    An economy without a path is ``None``: it is named, and other series keep their style.
    """
    return _integration(paths, f"Cost of offshoring C − C* ({money})", "cost of offshoring", money)


@styled
def mean_wage_by_matching_intensity(
    paths: Mapping[str, IntegrationPath | None], *, money: str = "money"
) -> Figure:
    """The same as ``ν_x*`` and ``ν_y*`` rise from the closed economy to home's intensities."""
    x_label = "Wider gap of ν_x and ν_y, home less abroad (log points)"
    return _integration(paths, x_label, "matching intensity", money)


def _integration(
    paths: Mapping[str, IntegrationPath | None], x_label: str, what: str, money: str
) -> Figure:
    """Mean home wage and offshoring along paths of a falling gap to home."""
    figure, panels = grid(2, 2)
    left, right = panels.flat
    caveats = []
    for (label, path), style in zip(paths.items(), line_styles(), strict=False):
        if path is None:
            caveats.append(f"“{label}”: no path of the {what}.")
            continue
        met = np.array([Status(code).converged for code in np.asarray(path.status)])
        own = [] if path.own is None else [path.own]
        for ax, values in ((left, path.mean_wage), (right, 100 * path.offshoring_rate)):
            ax.plot(path.gap, np.where(met, values, np.nan), **style, markevery=own, label=label)
        if not met.all():
            missing = f"{(~met).sum()} of {met.size} points"
            caveats.append(f"“{label}”: {missing} have not converged and are not drawn.")
        caveats += _wage_caveat(label, path.status, path.wage_error_bound, money)
    if any(path is not None and path.own is not None for path in paths.values()):
        caveats.append(f"A marker is the economy at its own {what}.")
    left.invert_xaxis()
    y_labels = [f"Mean home wage ({money})", "Offshoring (% of home matches)"]
    finish(figure, panels, x_label, y_labels, caveats)
    legend(figure, left)
    return figure


def economy_figures(
    folder: Path,
    equilibria: Equilibria,
    *,
    money: str = "money",
    skill: int = 0,
    characteristic: int = 0,
) -> list[Path]:
    """Draw the whole set into a folder, each figure comparing all the equilibria; their paths.

    ``money`` is the unit of wages, e.g. ``"DKK per hour"``; profiles run over the skill and the
    characteristic with these indices. Without a foreign origin the figures on offshoring do not
    exist.
    """
    over_x, over_y = {"skill": skill}, {"characteristic": characteristic}
    figures = {
        "matching_density": matching_density(equilibria, **over_x, **over_y),
        "wage_by_skill": wage_by_skill(equilibria, **over_x, money=money),
        "unemployment_by_skill": unemployment_by_skill(equilibria, **over_x),
        "match_quality_by_firm": match_quality_by_firm(equilibria, **over_x, **over_y),
    }
    if any(len(eq.economy.origins) > 1 for eq in equilibria.values()):
        figures["offshoring_by_firm"] = offshoring_by_firm(equilibria, **over_y)
        costs, intensities = (
            {label: _path(eq, path) for label, eq in equilibria.items()}
            for path in (offshoring_cost_path, matching_intensity_path)
        )
        figures["mean_wage_by_offshoring_cost"] = mean_wage_by_offshoring_cost(costs, money=money)
        figures["mean_wage_by_matching_intensity"] = mean_wage_by_matching_intensity(
            intensities, money=money
        )
    return [path for stem, figure in figures.items() for path in save_figure(figure, folder, stem)]


# ---------------------------------------------------------------- what is drawn


def _path(eq: Equilibrium, path: Callable[[Economy], IntegrationPath]) -> IntegrationPath | None:
    """The path of an economy that can be solved, open and closed."""
    if len(eq.economy.origins) < 2 or not Status(int(eq.status)).converged:
        return None
    try:
        return path(eq.economy)
    except NotConverged:
        return None


def _profiles(
    equilibria: Equilibria,
    profile: Callable[[Equilibrium], tuple[Any, Any, Any]],
    x_label: str,
    y_label: str,
    *,
    percent: bool = False,
    apart: bool = False,
    money: str | None = None,
) -> Figure:
    """One line per equilibrium of ``profile(eq) = (types, values, weights)``.

    ``percent`` draws shares in per cent.
    """
    series = list(_series(equilibria))
    apart = apart and len(series) > 1
    figure, panels = grid(len(series), min(3, len(series))) if apart else grid(1, 1)
    for k, (label, style, eq) in enumerate(series):
        ax = panels.flat[k if apart else 0]
        x, y = _averages(*profile(eq))
        y = 100 * y if percent else y
        # of many types or lines only some bear a marker, and not the same ones on every line
        step = max(1, min(max(-(-len(x) // 12), 2 if len(series) > 3 else 1), len(x)))
        ax.plot(x, y, **style, markevery=(k % step, step), label=label)
        if apart:
            ax.set_title(textwrap.fill(label, 84 // panels.shape[1]))
    finish(figure, panels, x_label, [y_label], _caveats(equilibria, money))
    if not apart:
        legend(figure, panels[0, 0])
    return figure


def _averages(types: Any, values: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean per distinct type value, without types of no weight and undefined values."""
    types, values, weights = map(np.asarray, (types, values, weights))
    kept = (weights > 0) & np.isfinite(values)
    distinct, index = np.unique(types[kept], return_inverse=True)
    total = np.bincount(index, weights[kept], len(distinct))
    return distinct, np.bincount(index, (weights * values)[kept], len(distinct)) / total


def _log_density(
    eq: Equilibrium, k: int, skill: int, characteristic: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of cells over distinct types of positive mass, and the log density in each."""
    origin, firms = eq.economy.origins[k], eq.economy.firms
    x, mass_x = np.asarray(origin.skills)[:, skill], np.asarray(origin.mass)
    y, mass_y = np.asarray(firms.characteristics)[:, characteristic], np.asarray(firms.mass)
    here, there = mass_x > 0, mass_y > 0
    x, rows = np.unique(x[here], return_inverse=True)
    y, columns = np.unique(y[there], return_inverse=True)
    matches = np.zeros((len(x), len(y)))
    np.add.at(matches, np.ix_(rows, columns), np.asarray(eq.matches[k])[np.ix_(here, there)])
    random = np.outer(np.bincount(rows, mass_x[here]), np.bincount(columns, mass_y[there]))
    density = (matches / matches.sum()) / (random / random.sum())
    tiny = np.finfo(float).tiny
    return _edges(x), _edges(y), np.log(np.maximum(density, tiny))


def _edges(values: np.ndarray) -> np.ndarray:
    """Midpoints between sorted values, and as far beyond the ends; unit width for one value."""
    if len(values) == 1:
        return values[0] + np.array([-0.5, 0.5])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _series(equilibria: Equilibria) -> Iterator[tuple[str, dict[str, Any], Equilibrium]]:
    """Label, style and equilibrium of those that converged."""
    for (label, eq), style in zip(equilibria.items(), line_styles(), strict=False):
        if Status(int(eq.status)).converged:
            yield label, style, eq


def _skill(equilibria: Equilibria, skill: int, what: str = "Worker skill") -> str:
    names = dict.fromkeys(eq.economy.skill_names[skill] for eq in equilibria.values())
    return f"{what} ({' / '.join(names)})"


def _firm(equilibria: Equilibria, characteristic: int) -> str:
    names = dict.fromkeys(
        eq.economy.characteristic_names[characteristic] for eq in equilibria.values()
    )
    return f"Firm type ({' / '.join(names)})"


def _caveats(equilibria: Equilibria, money: str | None = None) -> list[str]:
    """What is not drawn and, where there is ``money``, wages whose level is not determined."""
    caveats = []
    for label, eq in equilibria.items():
        if not Status(int(eq.status)).converged:
            caveats.append(f"“{label}” has not converged and is not drawn.")
        elif money:
            bound = eq.wage_error_bound * eq.economy.scale
            caveats += _wage_caveat(label, eq.status, bound, money)
    return caveats


def _wage_caveat(label: str, status: Any, bound: Any, money: str) -> list[str]:
    undetermined = np.asarray(status) == Status.UNDETERMINED
    if not undetermined.any():
        return []
    worst = float(np.max(np.asarray(bound)[undetermined]))
    return [f"“{label}”: the level of wages is known to ± {worst:.2g} {money} only."]
