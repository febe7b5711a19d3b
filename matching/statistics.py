"""Statistics of an equilibrium, one small function each, with the slides' definitions.

Home is the first origin. Wages, outputs and profits are averaged over matches by their mass.
Profiles by type come first, the scalars of the published tables after them; ``STATISTICS`` lists
the scalars under their public keys.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from matching.equilibrium import Equilibrium
from matching.market import log_partner_space

# ---------------------------------------------------------------- profiles by type


def matched_workers(eq: Equilibrium) -> tuple[jax.Array, ...]:
    """Matched mass of each worker type ``f = Σ_y π``, ``(N_o,)`` per origin."""
    return tuple(pi.sum(1) for pi in eq.matches)


def hires(eq: Equilibrium) -> tuple[jax.Array, ...]:
    """Mass of each firm type's hires from each origin ``Σ_x π``, ``(J,)`` per origin."""
    return tuple(pi.sum(0) for pi in eq.matches)


def unemployment_by_worker(eq: Equilibrium) -> tuple[jax.Array, ...]:
    """Unmatched share ``f0/f̄`` of each worker type, ``(N_o,)`` per origin."""
    return tuple(_ratio(f0, o.mass) for f0, o in zip(eq.unmatched, eq.economy.origins, strict=True))


def mean_wage_by_worker(eq: Equilibrium) -> tuple[jax.Array, ...]:
    """``E[w|x]`` of each worker type, money, ``(N_o,)`` per origin."""
    return tuple(
        _ratio(_total(pi, w, axis=1), pi.sum(1))
        for pi, w in zip(eq.matches, eq.wages, strict=True)
    )  # fmt: skip


def mean_wage_by_firm(eq: Equilibrium) -> jax.Array:
    """``E[w|y]`` over each firm type's home hires, money, ``(J,)``."""
    return _ratio(_total(eq.matches[0], eq.wages[0], axis=0), eq.matches[0].sum(0))


def mean_match_quality_by_firm(eq: Equilibrium) -> jax.Array:
    """``E[x|y]`` over each firm type's home hires, ``(J, m)``."""
    pi = eq.matches[0]
    return _ratio(pi.T @ eq.economy.home.skills, pi.sum(0)[:, None])


def offshoring_share_by_firm(eq: Equilibrium) -> jax.Array:
    """Share of each firm type's hires that are foreign, ``(J,)``."""
    home, *foreign = hires(eq)
    abroad = sum(foreign, jnp.zeros_like(home))
    return _ratio(abroad, home + abroad)


# ---------------------------------------------------------------- scalars


def unemployment_rate(eq: Equilibrium) -> jax.Array:
    """``|f0|/|f̄|`` at home."""
    return eq.unmatched[0].sum() / eq.economy.home.mass.sum()


def offshoring_rate(eq: Equilibrium) -> jax.Array:
    """``|f*|/|f|``: matches with all foreign origins over home matches."""
    home, *foreign = (pi.sum() for pi in eq.matches)
    return _ratio(sum(foreign, jnp.zeros_like(home)), home)


def mean_wage_home(eq: Equilibrium) -> jax.Array:
    """``E(w)`` over home matches, money."""
    return _mean(eq.matches[:1], eq.wages[:1])


def sd_wage_home(eq: Equilibrium) -> jax.Array:
    """Standard deviation of wages over home matches, money."""
    return jnp.sqrt(var_wage(eq))


def mean_wage_foreign(eq: Equilibrium) -> jax.Array:
    """``E(w*)`` over all foreign matches, money; NaN without any."""
    return _mean(eq.matches[1:], eq.wages[1:])


def wage_spread_by_skill(eq: Equilibrium, skill: int = 0) -> jax.Array:
    """``E(wage|x)_{10−90}``: mean home wage of the top skill decile minus the bottom, money."""
    pi = eq.matches[0]
    values = eq.economy.home.skills[:, skill]
    return _decile_spread(
        values, eq.economy.home.mass, _total(pi, eq.wages[0], axis=1), pi.sum(1)
    )  # fmt: skip


def wage_spread_by_firm(eq: Equilibrium, characteristic: int = 0) -> jax.Array:
    """``E(wage|y)_{10−90}``: mean home wage in the top firm decile minus the bottom, money."""
    pi = eq.matches[0]
    firms = eq.economy.firms
    return _decile_spread(
        firms.characteristics[:, characteristic], firms.mass, _total(pi, eq.wages[0], axis=0),
        pi.sum(0),
    )  # fmt: skip


def var_wage(eq: Equilibrium) -> jax.Array:
    """Variance of wages over home matches, money²."""
    return _variance(eq.matches[0], _defined(eq.matches[0], eq.wages[0]))


def var_wage_between_firms(eq: Equilibrium) -> jax.Array:
    """Variance over home matches of the firm type's mean wage ``E[w|y]``, money²."""
    weight = eq.matches[0].sum(0)
    return _variance(weight, _defined(weight, mean_wage_by_firm(eq)))


def var_skill(eq: Equilibrium) -> jax.Array:
    """Variance of each skill over home matches, ``(m,)``."""
    return _variance_of_skills(eq.matches[0].sum(1), eq.economy.home.skills)


def var_skill_between_firms(eq: Equilibrium) -> jax.Array:
    """Variance over home matches of the firm type's mean skill ``E[x|y]``, ``(m,)``."""
    weight = eq.matches[0].sum(0)
    quality = _defined(weight[:, None], mean_match_quality_by_firm(eq))
    return _variance_of_skills(weight, quality)


def mean_output(eq: Equilibrium) -> jax.Array:
    """``E(q)`` over home matches, money."""
    return _mean(eq.matches[:1], eq.outputs[:1])


def wage_share(eq: Equilibrium) -> jax.Array:
    """``W/Y = E(w)/E(q)`` over home matches: the wage bill over value added."""
    return mean_wage_home(eq) / mean_output(eq)


def mean_profit_home(eq: Equilibrium) -> jax.Array:
    """``E(r)`` over home matches, money."""
    return _mean(eq.matches[:1], eq.profits[:1])


def mean_profit_foreign(eq: Equilibrium) -> jax.Array:
    """``E(r*)`` over all foreign matches, money; NaN without any."""
    return _mean(eq.matches[1:], eq.profits[1:])


def sorting(eq: Equilibrium) -> jax.Array:
    """Correlation over home matches of the leading indices ``x'u`` and ``y'v`` of ``Φ = UΣV'``.

    NaN where the affinity matrix is zero or one index does not vary.
    """
    economy = eq.economy
    u, _, vt = jnp.linalg.svd(economy.affinity, full_matrices=False)
    pi = eq.matches[0]
    index_x = economy.home.skills @ u[:, 0]
    index_y = economy.firms.characteristics @ vt[0]
    total = pi.sum()
    dx = index_x - pi.sum(1) @ index_x / total
    dy = index_y - pi.sum(0) @ index_y / total
    variance = (pi.sum(1) @ dx**2) * (pi.sum(0) @ dy**2)
    varies = (variance > 0) & jnp.any(economy.affinity != 0)
    return jnp.where(varies, dx @ pi @ dy / jnp.sqrt(jnp.where(varies, variance, 1.0)), jnp.nan)


def welfare_workers_home(eq: Equilibrium) -> jax.Array:
    """Expected utility of all home workers ``Σ f̄ (w0 + λ_x log(f̄/f0))``, money times mass."""
    return _welfare_workers(eq, slice(None, 1))


def welfare_workers_foreign(eq: Equilibrium) -> jax.Array:
    """Expected utility of all foreign workers, money times mass."""
    return _welfare_workers(eq, slice(1, None))


def welfare_firms(eq: Equilibrium) -> jax.Array:
    """Expected profit of all firms ``Σ ḡ (r0 + λ_y log(ḡ/g0))``, money times mass."""
    mass = eq.economy.firms.mass
    return jnp.sum(mass * _defined(mass, eq.expected_profits))


def welfare(eq: Equilibrium) -> jax.Array:
    """``W``: workers' and firms' expected utility; equals output + outside options + entropy."""
    return welfare_workers_home(eq) + welfare_workers_foreign(eq) + welfare_firms(eq)


def output(eq: Equilibrium) -> jax.Array:
    """``Σ π q`` over all origins, money times mass."""
    return sum(
        (jnp.sum(pi * q) for pi, q in zip(eq.matches, eq.outputs, strict=True)), jnp.asarray(0.0)
    )


def outside_income(eq: Equilibrium) -> jax.Array:
    """``Σ f0 w0 + Σ g0 r0`` over all origins and firms, money times mass."""
    economy = eq.economy
    workers = (
        jnp.sum(f0 * o.outside_option) for f0, o in zip(eq.unmatched, economy.origins, strict=True)
    )
    return sum(workers, jnp.sum(eq.unmatched_firms * economy.firms.outside_option))


def entropy(eq: Equilibrium) -> jax.Array:
    """The taste terms of welfare, both sides (docs/equations.md, welfare), money times mass."""
    economy = eq.economy
    firms = economy.firms
    log_omega_y = log_partner_space(economy, firms.mass)
    total = economy.lambda_y * _self_information(
        eq.unmatched_firms, eq.log_unmatched_firms - jnp.log(firms.mass)
    )
    for o, pi, log_pi, f0, log_f0 in zip(
        economy.origins, eq.matches, eq.log_matches, eq.unmatched, eq.log_unmatched, strict=True
    ):
        log_omega_x = log_partner_space(economy, o.mass)
        to_workers = log_pi - jnp.log(o.mass)[:, None] - log_omega_y[None, :] - o.nu_x
        to_firms = log_pi - jnp.log(firms.mass)[None, :] - log_omega_x[:, None] - o.nu_y
        total += economy.lambda_x * _self_information(pi, to_workers)
        total += economy.lambda_x * _self_information(f0, log_f0 - jnp.log(o.mass))
        total += economy.lambda_y * _self_information(pi, to_firms)
    return -total


STATISTICS: dict[str, Callable[[Equilibrium], jax.Array]] = {
    function.__name__: function
    for function in (
        unemployment_rate,
        offshoring_rate,
        mean_wage_home,
        sd_wage_home,
        mean_wage_foreign,
        wage_spread_by_skill,
        wage_spread_by_firm,
        var_wage,
        var_wage_between_firms,
        var_skill,
        var_skill_between_firms,
        mean_output,
        wage_share,
        mean_profit_home,
        mean_profit_foreign,
        sorting,
        welfare_workers_home,
        welfare_workers_foreign,
        welfare_firms,
        welfare,
        output,
        outside_income,
        entropy,
    )
}


def statistics(
    eq: Equilibrium, order_skill: int = 0, order_characteristic: int = 0
) -> dict[str, jax.Array]:
    """Every scalar statistic under its public key; skill variances are ``(m,)`` where ``m > 1``.

    The orders say by which skill and characteristic the wage spreads rank types into deciles.

    >>> from matching import make_economy, make_firms, make_origin, solve_equilibrium
    >>> workers = make_origin([0.0, 1.0], [0.5, 0.5], constant=2.0)
    >>> economy = make_economy([workers], make_firms([0.0, 1.0], [0.5, 0.5]), affinity=1.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> table = statistics(solve_equilibrium(economy))
    >>> bool(table["sorting"] > 0)
    True
    """
    table = {key: function(eq) for key, function in STATISTICS.items()}
    table["wage_spread_by_skill"] = wage_spread_by_skill(eq, order_skill)
    table["wage_spread_by_firm"] = wage_spread_by_firm(eq, order_characteristic)
    return table


# ---------------------------------------------------------------- helpers


def _defined(weight: jax.Array, value: jax.Array) -> jax.Array:
    """Zero where there is no mass to carry an undefined value."""
    return jnp.where(weight > 0, value, 0.0)


def _total(pi: jax.Array, value: jax.Array, axis: int | None = None) -> jax.Array:
    return jnp.sum(pi * _defined(pi, value), axis=axis)


def _ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """NaN, with zero gradient, where there is nothing to divide by."""
    some = denominator > 0
    return jnp.where(some, numerator / jnp.where(some, denominator, 1.0), jnp.nan)


def _mean(matches: tuple[jax.Array, ...], values: tuple[jax.Array, ...]) -> jax.Array:
    zero = jnp.asarray(0.0)
    total = sum((_total(pi, value) for pi, value in zip(matches, values, strict=True)), zero)
    return _ratio(total, sum((pi.sum() for pi in matches), zero))


def _variance(weight: jax.Array, value: jax.Array) -> jax.Array:
    mass = weight.sum()
    mean = jnp.sum(weight * value) / mass
    return jnp.sum(weight * (value - mean) ** 2) / mass


def _variance_of_skills(weight: jax.Array, skills: jax.Array) -> jax.Array:
    """One variance per skill; a scalar where there is one skill."""
    return jnp.squeeze(jax.vmap(_variance, in_axes=(None, 1))(weight, skills))


def _welfare_workers(eq: Equilibrium, which: slice) -> jax.Array:
    each = (
        jnp.sum(o.mass * _defined(o.mass, utility))
        for o, utility in zip(eq.economy.origins[which], eq.expected_utilities[which], strict=True)
    )
    return sum(each, jnp.asarray(0.0))


def _self_information(mass: jax.Array, log_ratio: jax.Array) -> jax.Array:
    return jnp.sum(mass * _defined(mass, log_ratio))


def _decile_spread(
    values: jax.Array, mass: jax.Array, wage_bill: jax.Array, matched: jax.Array
) -> jax.Array:
    """Mean wage of the top minus the bottom decile of one side; types on an edge count in part.

    Types with equal values share an edge in proportion to their mass, so the order in which they
    stand, and how finely they are split, is of no account.
    """
    order = jnp.argsort(values)
    ranked = values[order]
    cumulative = jnp.concatenate([jnp.zeros(1), jnp.cumsum(mass[order])]) / mass.sum()
    below = cumulative[jnp.searchsorted(ranked, values, side="left")]
    upto = cumulative[jnp.searchsorted(ranked, values, side="right")]
    width = upto - below

    def mean_wage(start: float, end: float) -> jax.Array:
        inside = jnp.minimum(upto, end) - jnp.maximum(below, start)
        share = jnp.where(
            width > 0, jnp.maximum(inside, 0.0) / jnp.where(width > 0, width, 1.0), 0.0
        )
        return _ratio(jnp.sum(share * wage_bill), jnp.sum(share * matched))

    return mean_wage(0.9, 1.0) - mean_wage(0.0, 0.1)
