"""Paths through the space of economies: from the closed economy to full integration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from matching import Economy, Equilibrium, InvalidInput, solve_batch, solve_equilibrium
from matching.market import exponents, market_of
from matching.statistics import mean_wage_home, offshoring_rate

# The closed economy is where foreign matches are at most this share of home matches.
_NEGLIGIBLE = 1e-4
_TINY = jnp.finfo(jnp.float64).tiny


@dataclass(frozen=True)
class IntegrationPath:
    """Equilibria along a falling gap between foreign origins and home; arrays are ``(P,)``.

    Where ``status`` says that a point has not converged, its numbers mean nothing.
    """

    gap: jax.Array  # of the remotest origin, falling, the last is zero
    mean_wage: jax.Array  # E(w) over home matches, money
    offshoring_rate: jax.Array  # |f*|/|f|
    status: jax.Array  # a :class:`~matching.status.Status` each
    wage_error_bound: jax.Array  # of any wage, money
    own: int | None  # the point that is the economy itself; None where it is not on the path


def offshoring_cost_path(economy: Economy, points: int = 41) -> IntegrationPath:
    """Solve the economy as its cost of offshoring ``c_F = C − C*`` falls to zero, money.

    The path starts where offshoring is at most 1e-4 of home matches, or at the economy's own cost
    if that is higher. The costs of several foreign origins fall together until they are the
    economy's own, ``c_o``, and then in proportion: an origin bears ``c_o + c_F − max c``, then
    ``c_o c_F/max c``, where ``c_F`` is the highest. So the economy itself is one more point of the
    path, unless no match abroad costs more than at home.

    Raises :class:`~matching.errors.InvalidInput` where there is no foreign origin, and
    :class:`~matching.errors.NotConverged` where the closed economy cannot be solved; a point that
    does not converge says so in ``status``.
    """
    return _path(economy, ("constant",), points)


def matching_intensity_path(economy: Economy, points: int = 41) -> IntegrationPath:
    """Solve the economy as foreign workers and firms come to meet as easily as at home.

    The gaps ``ν_x − ν_x*`` and ``ν_y − ν_y*`` of every foreign origin, log points, fall together to
    the economy's own and then in proportion to zero, as costs do in :func:`offshoring_cost_path`;
    raises what that raises.
    """
    return _path(economy, ("nu_x", "nu_y"), points)


def closed_economy_gap(economy: Economy, keys: Sequence[str]) -> jax.Array:
    """A gap of all ``keys`` at which foreign matches are at most 1e-4 of home matches.

    In ``π* = K* f0*^(λ_x/λ) g0^(λ_y/λ)`` the unmatched are at most ``f̄*`` abroad and, among firms,
    those of the closed economy; ``K*`` falls as ``exp(−c_F/λ)``, and one for one in logs as both
    ``ν*`` fall. At least one unit, ``λ`` or a log point, for economies that are closed at any gap.
    """
    closed = solve_equilibrium(replace(economy, origins=economy.origins[:1]), kernel="dense")
    open_economy = _at_gaps(economy, keys, jnp.zeros((len(economy.origins) - 1, len(keys))))
    market = market_of(open_economy)
    t = (1.0 - market.theta) * (closed.log_unmatched_firms - jnp.log(market.mass_y))
    kernel, row, column = exponents(market, jnp.zeros_like(market.mass_x), t)
    most = logsumexp((row + kernel.log_row_sums(column))[len(economy.home.mass) :])
    home = logsumexp(closed.log_matches[0])
    unit = economy.scale if keys == ("constant",) else 1.0
    return unit * jnp.maximum(most - home - jnp.log(_NEGLIGIBLE), 1.0)


# ---------------------------------------------------------------- helpers


def _path(economy: Economy, keys: tuple[str, ...], points: int) -> IntegrationPath:
    if len(economy.origins) < 2:
        raise InvalidInput(
            [f"origin: {economy.home.name!r} is the only one; offshoring needs a foreign origin"]
        )
    if points < 2:
        raise InvalidInput([f"points: {points} do not make a path; ask for at least 2"])
    home, *foreign = economy.origins
    own_gaps = jnp.array([
        [getattr(home, key) - getattr(origin, key) for key in keys] for origin in foreign
    ])  # fmt: skip
    widest = own_gaps.max()
    start = jnp.maximum(closed_economy_gap(economy, keys) + widest - own_gaps.min(), widest)
    gap = jnp.linspace(start, 0.0, points)
    own = None
    if widest >= 0.0:
        gap = jnp.union1d(gap, widest[None])[::-1]
        own = int(jnp.argmax(gap == widest))

    def at(value: jax.Array) -> Economy:
        if own is None:
            return _at_gaps(economy, keys, jnp.full_like(own_gaps, value))
        share = jnp.minimum(value / jnp.maximum(widest, _TINY), 1.0)
        return _at_gaps(economy, keys, own_gaps * share + jnp.maximum(value - widest, 0.0))

    mean_wage, offshoring, status, bound = map(jnp.asarray, solve_batch(jax.vmap(at)(gap), _point))
    return IntegrationPath(gap, mean_wage, offshoring, status, bound, own)


def _at_gaps(economy: Economy, keys: Sequence[str], gaps: jax.Array) -> Economy:
    """Every foreign origin with home's parameters less its gaps, ``(O − 1, K)``."""
    home, *foreign = economy.origins
    terms = jnp.stack([getattr(home, key) for key in keys])[None] - gaps
    abroad = [
        replace(origin, **dict(zip(keys, own, strict=True)))
        for origin, own in zip(foreign, terms, strict=True)
    ]
    return replace(economy, origins=(home, *abroad))


def _point(eq: Equilibrium) -> tuple[jax.Array, ...]:
    return (
        mean_wage_home(eq),
        offshoring_rate(eq),
        eq.status,
        eq.wage_error_bound * eq.economy.scale,
    )
