"""Recover the Danish type deciles, which are not published, from the published table.

Skills and firm characteristics are ten points a side shaped like the deciles of a skewed bell
curve; masses lean exponentially along the points. Eleven numbers are fitted by least squares to
the 28 cells of the counterfactual table and four aggregates of 2006. The year 1996 takes no part.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from matching import (
    STATISTICS,
    Economy,
    get_parameter,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
    with_parameter,
)
from shorematch.denmark import YEARS
from shorematch.denmark.published import AGGREGATES, COUNTERFACTUALS_2006, ESTIMATES

_DECILES = 10
# (location μ, spread σ, weight κ of the normal shape, skew χ) of skills and of characteristics,
# then the tilts of the masses: home workers, firms, foreign workers.
_STARTS = 20
_SPREAD = np.array([0.1, 0.05, 0.5, 0.2, 0.05, 0.03, 0.5, 0.2, 0.05, 0.05, 0.5])
_START = np.array([0.5, 0.28, 0.5, 0.0, 0.25, 0.14, 0.5, 0.0, 0.0, 0.0, -1.0])
# Relative gaps are weighted by how finely a number is published and how much rests on it.
_WEIGHTS = {"mean_wage_home": 20.0, "wage_share": 20.0}
_WEIGHT = 5.0
# Weak priors: equal masses of home workers and of firms, and mean skill ½, which only sets the
# unit of skill (skills times c with characteristics over c are the same economy).
_PRIOR = 0.02
_FITTED_AGGREGATES = ("unemployment_rate", "offshoring_rate", "mean_wage_foreign", "wage_share")


def danish_economy(year: int, shape: jax.Array) -> Economy:
    """A Danish economy with the published parameters of a year and types of a given shape."""
    aggregates, estimates = AGGREGATES[year], ESTIMATES[year]
    skills, characteristics = _points(shape[:4]), _points(shape[4:8])
    tilt_home, tilt_firms, tilt_foreign = shape[8], shape[9], shape[10]
    denmark = make_origin(
        skills,
        _masses(tilt_home),
        constant=estimates["constant"],
        outside_option=aggregates["outside_option"],
        nu_x=estimates["nu_x"],
        nu_y=estimates["nu_y"],
        name="denmark",
    )
    china = make_origin(
        skills,
        aggregates["mass_foreign"] * _masses(tilt_foreign),
        constant=estimates["constant_foreign"],
        outside_option=aggregates["outside_option_foreign"],
        nu_x=estimates["nu_x_foreign"],
        nu_y=estimates["nu_y_foreign"],
        name="china",
    )
    firms = make_firms(characteristics, (1.0 + aggregates["offshoring_rate"]) * _masses(tilt_firms))
    half = estimates["lambda"] / 2.0  # λ_x = λ_y: E(wage) under ν_y + 1 less ν_x + 1 is λ/2
    return make_economy(
        [denmark, china],
        firms,
        affinity=estimates["affinity"],
        lambda_x=half,
        lambda_y=half,
        skill_names=("skill",),
        characteristic_names=("productivity",),
    )


def published_scenarios(baseline: Economy) -> dict[str, Economy]:
    """The baseline and the six published counterfactuals, under the published names."""

    def plus_one(name: str) -> Economy:
        return with_parameter(baseline, name, get_parameter(baseline, name) + 1.0)

    constant = get_parameter(baseline, "origin.denmark.constant")
    return {
        "baseline": baseline,
        "c_F = 0": with_parameter(baseline, "origin.china.constant", constant),
        "Φ × 2": with_parameter(baseline, "technology.affinity", 2.0 * baseline.affinity),
        "ν_x + 1": plus_one("origin.denmark.nu_x"),
        "ν_y + 1": plus_one("origin.denmark.nu_y"),
        "ν_x* + 1": plus_one("origin.china.nu_x"),
        "ν_y* + 1": plus_one("origin.china.nu_y"),
    }


def recover_types() -> tuple[jax.Array, list[float]]:
    """Fit the eleven shape numbers from several starts: the best shape, and all minima's costs.

    The Jacobian is exact, by implicit differentiation of the equilibrium.
    """
    gaps = jax.jit(_weighted_gaps)
    jacobian = jax.jit(jax.jacfwd(_weighted_gaps))

    def value(shape: np.ndarray) -> np.ndarray:
        return np.asarray(gaps(shape))

    def slope(shape: np.ndarray) -> np.ndarray:
        return np.asarray(jacobian(shape))

    noise = np.random.default_rng(0).normal(size=(_STARTS - 1, len(_START)))
    minima = [
        least_squares(
            value, start, jac=slope, x_scale="jac", xtol=1e-13, ftol=1e-13, gtol=1e-13, max_nfev=600
        )
        for start in (_START, *(_START + _SPREAD * noise))
    ]
    minima.sort(key=lambda minimum: minimum.cost)
    return jnp.asarray(minima[0].x), [float(minimum.cost) for minimum in minima]


def _weighted_gaps(shape: jax.Array) -> jax.Array:
    economy = danish_economy(2006, jnp.asarray(shape))
    scenarios = published_scenarios(economy)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenarios.values())
    solved = jax.vmap(partial(solve_equilibrium, throw=False))(stacked)

    def statistic(key: str) -> jax.Array:
        return jax.vmap(STATISTICS[key])(solved)

    gaps = []
    for key in COUNTERFACTUALS_2006["baseline"]:
        published = jnp.array([cells[key] for cells in COUNTERFACTUALS_2006.values()])
        gaps.append(_WEIGHTS.get(key, _WEIGHT) * (statistic(key) / published - 1.0))
    for key in _FITTED_AGGREGATES:
        gap = statistic(key)[:1] / AGGREGATES[2006][key] - 1.0
        gaps.append(_WEIGHTS.get(key, _WEIGHT) * gap)
    gaps.append(_PRIOR * jnp.stack([shape[8], shape[9], shape[0] - 0.5]))
    return jnp.concatenate(gaps)


def _points(shape: jax.Array) -> jax.Array:
    """Ten values with mean μ and standard deviation σ, shaped between uniform and normal."""
    location, spread, normality, skew = shape
    z = jnp.linspace(-1.0, 1.0, _DECILES)
    quantiles = jax.scipy.special.ndtri((jnp.arange(_DECILES) + 0.5) / _DECILES)
    v = (1.0 - normality) * 1.5 * z + normality * quantiles
    v = v + skew * (v**2 - jnp.mean(v**2))
    return location + spread * (v - v.mean()) / v.std()


def _masses(tilt: jax.Array) -> jax.Array:
    weight = jnp.exp(tilt * jnp.linspace(-1.0, 1.0, _DECILES))
    return weight / weight.sum()


_TEMPLATE = """\
# Denmark {year}, offshorable occupations; Kim, Lee and Pozzoli (EEA 2025). Kroner per hour.
# The parameters are published. The types are recovered, not published: ten deciles a side, the
# same in both years, found by `shorematch denmark recover` from the counterfactuals of 2006.

[firms]
types = "firms_{year}.csv"      # total mass: home workers times one plus the rate of offshoring
outside_option = 0.0

[tastes]
lambda_x = {half}
lambda_y = {half}

[technology]
affinity = [[{affinity}]]
intensity_unit = "cell"

[[origin]]
name = "denmark"
types = "workers.csv"
constant = {constant}
outside_option = {outside_option}
nu_x = {nu_x}
nu_y = {nu_y}

[[origin]]
name = "china"
types = "foreign.csv"
constant = {constant_foreign}
outside_option = {outside_option_foreign}
nu_x = {nu_x_foreign}
nu_y = {nu_y_foreign}
"""


def run_recovery(out: Path) -> int:
    """Fit the types and write both years' economy files to ``out``; returns the exit code."""
    import pandas as pd

    from shorematch.console import console
    from shorematch.files.manifest import Run
    from shorematch.files.run_folder import write_csv

    run = Run(["denmark", "recover"], out)
    with run.folder() as folder:
        shape, costs = recover_types()
        run.lap("fit")
        for year in YEARS:
            economy = danish_economy(year, shape)
            china = economy.origins[1]
            tables = {
                "workers": ("skill", economy.home.skills, economy.home.mass),
                "foreign": ("skill", china.skills, china.mass),
                f"firms_{year}": (
                    "productivity", economy.firms.characteristics, economy.firms.mass,
                ),
            }  # fmt: skip
            for stem, (column, values, mass) in tables.items():
                frame = pd.DataFrame({"mass": np.asarray(mass), column: np.asarray(values)[:, 0]})
                write_csv(folder / f"{stem}.csv", frame)
            published = AGGREGATES[year] | ESTIMATES[year]
            text = _TEMPLATE.format(year=year, half=ESTIMATES[year]["lambda"] / 2.0, **published)
            (folder / f"{year}.toml").write_text(text, encoding="utf-8", newline="\n")
        lowest = [f"{cost:.6f}" for cost in costs]
        console().print(
            f"Types recovered, not published: best of {len(costs)} starts; "
            f"{sum(cost == lowest[0] for cost in lowest)} of them end at the same minimum "
            f"{lowest[0]}, the others at {', '.join(sorted(set(lowest[1:]) - {lowest[0]}))}."
        )
        console().print(f"Economy files of {' and '.join(map(str, YEARS))} written to {out}")
    return 0
