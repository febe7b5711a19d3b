"""Calibration: constants and intensities that meet the published aggregates, exactly.

Types with their masses ``f̄, ḡ, f̄*``, the affinity ``Φ``, the scales ``λ_x, λ_y`` and the outside
options are given. Two facts make it short (docs/equations.md, calibration):

- Matches depend on each origin's ``C + λ_x ν_x + λ_y ν_y`` alone, so one number per origin makes
  the masses of matches right. Those numbers maximise a concave function: they are unique.
- At given matches, ``λ_x ν_x`` lowers every wage of its origin one for one and ``λ_y ν_y`` every
  profit, so mean wages and mean profits fix both, and ``C``, in closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from matching import (
    STATISTICS,
    Economy,
    Equilibrium,
    InvalidInput,
    NotConverged,
    solve_equilibrium,
)

# Relative error at which a restriction counts as met.
RESTRICTION_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Aggregates:
    """What the data say about an economy as a whole; one foreign origin, or none."""

    unemployment_rate: float  # |f0|/|f̄| at home
    mean_wage_home: float  # E(w), money
    wage_share: float  # W/Y = E(w)/E(q)
    offshoring_rate: float | None = None  # |f*|/|f|; None without a foreign origin
    mean_wage_foreign: float | None = None  # E(w*), money


@dataclass(frozen=True)
class Calibration:
    """An economy that meets every restriction, and what each of its numbers rests on."""

    economy: Economy
    equilibrium: Equilibrium
    restrictions: Mapping[str, tuple[float, float]]  # name → (data, model)
    rests_on: Mapping[str, str]  # parameter → the data or assumption that fixes it

    @property
    def max_gap(self) -> float:
        """Largest relative gap between model and data."""
        return max(abs(model / data - 1.0) for data, model in self.restrictions.values())


def calibrate(economy: Economy, aggregates: Aggregates) -> Calibration:
    """Find ``C, ν_x, ν_y`` of every origin such that the equilibrium meets the aggregates.

    Takes everything but the constants and intensities from ``economy``. Restrictions: the
    unemployment rate, ``E(w)``, ``W/Y`` and, with a foreign origin, the offshoring rate, ``E(w*)``
    and firms' indifference ``E(r*) = E(r)``. ``ḡ`` and ``f̄*`` are assumptions of whoever gives
    them; the slides take ``|ḡ| = |f̄|(1 + |f*|/|f|)`` (slides, "Identification").

    Raises :class:`~matching.errors.InvalidInput` for aggregates that no parameters can meet, and
    :class:`~matching.errors.NotConverged` if a restriction is missed by more than 1e-9.

    >>> from matching import make_economy, make_firms, make_origin
    >>> workers = make_origin([0.0, 1.0], [0.5, 0.5], constant=0.0, outside_option=40.0)
    >>> economy = make_economy([workers], make_firms([0.0, 1.0], [0.5, 0.5]), affinity=1.0,
    ...                        lambda_x=20.0, lambda_y=20.0)
    >>> result = calibrate(economy, Aggregates(0.05, 150.0, 0.7))
    >>> round(float(result.economy.home.constant), 2)  # 150/0.7 less the mean of x'Φy
    214.03
    """
    economy = _with_matches(economy, _log_odds_of_data(economy, aggregates))
    equilibrium = solve_equilibrium(economy, kernel="dense")
    economy = _with_wage_levels(economy, equilibrium, aggregates)
    equilibrium = solve_equilibrium(economy)
    result = Calibration(
        economy, equilibrium, _restrictions(equilibrium, aggregates), _rests_on(economy)
    )
    if not result.max_gap <= RESTRICTION_TOLERANCE:
        raise NotConverged(
            f"calibration: a restriction is missed by {result.max_gap:.3g}; compare "
            "result.restrictions, and look for aggregates at the edge of what is possible",
            result,
        )
    return result


# ---------------------------------------------------------------- masses of matches


def _log_odds_of_data(economy: Economy, aggregates: Aggregates) -> np.ndarray:
    """``log |f|/|f0|`` of every origin, after a check that the aggregates can be met at all."""
    defects = []
    count = len(economy.origins)
    if count > 2:
        defects.append(f"origins: {count} are given; a calibration takes home and one foreign one")
    positive = {
        "wage_share": aggregates.wage_share,
        "unemployment_rate": aggregates.unemployment_rate,
    }
    foreign = {"offshoring_rate": aggregates.offshoring_rate,
               "mean_wage_foreign": aggregates.mean_wage_foreign}  # fmt: skip
    for name, value in foreign.items():
        if (value is None) == (count > 1):
            defects.append(
                f"{name}: is missing, and there is a foreign origin" if value is None
                else f"{name}: is given, but there is no foreign origin"
            )  # fmt: skip
    rate = aggregates.offshoring_rate
    if rate is not None:
        positive["offshoring_rate"] = rate
    for name, value in positive.items():
        if not value > 0 or (name != "offshoring_rate" and not value < 1):
            limit = "positive" if name == "offshoring_rate" else "between 0 and 1, both excluded"
            defects.append(f"{name}: is {value!r}; it must be {limit}")
    if defects:
        raise InvalidInput(defects)

    home = float(economy.home.mass.sum())
    unmatched = [home * aggregates.unemployment_rate]  # not a difference: the rate may be tiny
    matched = [home * (1.0 - aggregates.unemployment_rate)]
    rates = [] if rate is None else [rate]
    for origin, rate in zip(economy.origins[1:], rates, strict=True):
        matched.append(matched[0] * rate)
        unmatched.append(float(origin.mass.sum()) - matched[-1])
        if not unmatched[-1] > 0:
            defects.append(
                f"offshoring_rate: {matched[-1]:.6g} foreign workers would be hired, and origin "
                f"{origin.name} has {float(origin.mass.sum()):.6g}"
            )
    firms = float(economy.firms.mass.sum())
    if not sum(matched) < firms:
        defects.append(
            f"firms.mass: {sum(matched):.6g} matches would be made by a mass {firms:.6g} of firms; "
            "the slides take |ḡ| = |f̄|(1 + offshoring rate)"
        )
    if defects:
        raise InvalidInput(defects)
    return np.log(matched) - np.log(unmatched)


def _with_matches(economy: Economy, target: np.ndarray) -> Economy:
    """The economy with ``ν = 0`` and constants at which each origin's matches have their mass."""
    scale = float(economy.scale)
    start = np.array([float(jnp.mean(o.outside_option)) for o in economy.origins])

    def gap(c: Any) -> Any:
        return np.asarray(_log_odds(scale * c, economy)) - target

    def slope(c: Any) -> Any:
        return scale * np.asarray(_slope_of_log_odds(scale * c, economy))

    search = scipy.optimize.root(gap, start / scale, jac=slope, tol=1e-14)
    return _with_constants(economy, scale * search.x)


@jax.jit
def _log_odds(constants: jax.Array, economy: Economy) -> jax.Array:
    """Log odds of being matched in each origin, which hardly bend in the constants."""
    equilibrium = solve_equilibrium(_with_constants(economy, constants), throw=False)
    matched = jnp.stack([pi.sum() for pi in equilibrium.matches])
    unmatched = jnp.stack([f0.sum() for f0 in equilibrium.unmatched])
    return jnp.log(matched) - jnp.log(unmatched)


_slope_of_log_odds = jax.jit(jax.jacfwd(_log_odds))


def _with_constants(economy: Economy, constants: jax.Array | np.ndarray) -> Economy:
    zero = jnp.zeros(())
    origins = tuple(
        replace(o, constant=jnp.asarray(c), nu_x=zero, nu_y=zero)
        for o, c in zip(economy.origins, constants, strict=True)
    )
    return replace(economy, origins=origins)


# ---------------------------------------------------------------- levels of wages and profits


def _with_wage_levels(
    economy: Economy, equilibrium: Equilibrium, aggregates: Aggregates
) -> Economy:
    """Move ``ν_x, ν_y`` and ``C`` along the line on which no match moves."""
    mean_wages = [aggregates.mean_wage_home]
    if aggregates.mean_wage_foreign is not None:
        mean_wages.append(aggregates.mean_wage_foreign)
    mean_profit = aggregates.mean_wage_home * (1.0 / aggregates.wage_share - 1.0)
    origins = []
    for o, pi, w, r, mean_wage in zip(
        economy.origins, equilibrium.matches, equilibrium.wages, equilibrium.profits, mean_wages,
        strict=True,
    ):  # fmt: skip
        cut_wage = jnp.nansum(pi * w) / pi.sum() - mean_wage
        cut_profit = jnp.nansum(pi * r) / pi.sum() - mean_profit  # abroad too: E(r*) = E(r)
        origins.append(
            replace(
                o,
                constant=o.constant - cut_wage - cut_profit,
                nu_x=cut_wage / economy.lambda_x,
                nu_y=cut_profit / economy.lambda_y,
            )
        )
    return replace(economy, origins=tuple(origins))


def _restrictions(
    equilibrium: Equilibrium, aggregates: Aggregates
) -> dict[str, tuple[float, float]]:
    model = {key: float(STATISTICS[key](equilibrium)) for key in (
        "unemployment_rate", "mean_wage_home", "wage_share", "offshoring_rate",
        "mean_wage_foreign", "mean_profit_home", "mean_profit_foreign",
    )}  # fmt: skip
    restrictions = {
        key: (float(data), model[key]) for key, data in vars(aggregates).items() if data is not None
    }
    if aggregates.offshoring_rate is not None:
        restrictions["mean_profit_foreign"] = (
            model["mean_profit_home"],
            model["mean_profit_foreign"],
        )
    return restrictions


def _rests_on(economy: Economy) -> dict[str, str]:
    home, *foreign = (f"origin.{o.name}" for o in economy.origins)
    reasons = {
        f"{home}.constant": "E(w), W/Y and the given Φ",
        f"{home}.nu_x": "E(w), w0 and the unemployment rate",
        f"{home}.nu_y": "E(w) and W/Y, relative to the assumed mass of firms",
    }
    for name in foreign:
        reasons |= {
            f"{name}.constant": "E(w*) and the assumption E(r*) = E(r)",
            f"{name}.nu_x": "E(w*), w0* and the offshoring rate, relative to the assumed mass of "
            "foreign workers",
            f"{name}.nu_y": "the assumption E(r*) = E(r), relative to the assumed mass of firms",
        }
    return reasons
