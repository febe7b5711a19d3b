"""Paths through the space of economies: the cost of offshoring falling from autarky to zero."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from matching import Economy, InvalidInput, solve_equilibrium
from matching.market import exponents, market_of
from matching.statistics import mean_wage_home, offshoring_rate

# The closed economy is where foreign matches are at most this share of home matches.
_NEGLIGIBLE = 1e-4


@dataclass(frozen=True)
class OffshoringPath:
    """Equilibria along a falling cost of offshoring ``c_F = C − C*``; arrays are ``(P,)``.

    Where ``status`` says that a point has not converged, its numbers mean nothing.
    """

    cost: jax.Array  # c_F, money, falling, the last is zero
    mean_wage: jax.Array  # E(w) over home matches, money
    offshoring_rate: jax.Array  # |f*|/|f|
    status: jax.Array  # a :class:`~matching.status.Status` each
    wage_error_bound: jax.Array  # of any wage, money
    own: int | None  # the point that is the economy itself; None where it is not on the path


def offshoring_cost_path(economy: Economy, points: int = 41) -> OffshoringPath:
    """Solve the economy at ``points`` costs of offshoring, from the closed economy to ``c_F = 0``.

    Every foreign origin bears the same cost: ``C* = C − c_F``. The path starts where offshoring is
    at most 1e-4 of home matches (:func:`closed_economy_cost`), or at the economy's own
    cost if that is higher. With one foreign origin whose cost is not negative, the economy itself
    is one more point of the path.

    Raises :class:`~matching.errors.InvalidInput` where there is no foreign origin, and
    :class:`~matching.errors.NotConverged` where the closed economy cannot be solved; a point that
    does not converge says so in ``status``.
    """
    if len(economy.origins) < 2:
        raise InvalidInput(
            [f"origin: {economy.home.name!r} is the only one; offshoring needs a foreign origin"]
        )
    if points < 2:
        raise InvalidInput([f"points: {points} do not make a path; ask for at least 2"])
    own_costs = jnp.stack([economy.home.constant - o.constant for o in economy.origins[1:]])
    cost = jnp.linspace(jnp.maximum(closed_economy_cost(economy), own_costs.max()), 0.0, points)
    own = None
    if len(own_costs) == 1 and own_costs[0] >= 0.0:
        cost = jnp.union1d(cost, own_costs)[::-1]
        own = int(jnp.argmax(cost == own_costs[0]))

    def point(c_f: jax.Array) -> tuple[jax.Array, ...]:
        eq = solve_equilibrium(_at_cost(economy, c_f), throw=False)
        return (
            mean_wage_home(eq),
            offshoring_rate(eq),
            eq.status,
            eq.wage_error_bound * economy.scale,
        )

    mean_wage, offshoring, status, bound = jax.vmap(point)(cost)
    return OffshoringPath(cost, mean_wage, offshoring, status, bound, own)


def closed_economy_cost(economy: Economy) -> jax.Array:
    """A ``c_F`` at which foreign matches are at most 1e-4 of home matches, money.

    In ``π* = K* f0*^(λ_x/λ) g0^(λ_y/λ)`` the unmatched are at most ``f̄*`` abroad and, among firms,
    those of the closed economy; ``K*`` falls as ``exp(−c_F/λ)``. At least ``λ``, for economies
    that are closed at any cost.
    """
    closed = solve_equilibrium(replace(economy, origins=economy.origins[:1]), kernel="dense")
    market = market_of(_at_cost(economy, 0.0))
    t = (1.0 - market.theta) * (closed.log_unmatched_firms - jnp.log(market.mass_y))
    kernel, row, column = exponents(market, jnp.zeros_like(market.mass_x), t)
    most = logsumexp((row + kernel.log_row_sums(column))[len(economy.home.mass) :])
    home = logsumexp(closed.log_matches[0])
    return economy.scale * jnp.maximum(most - home - jnp.log(_NEGLIGIBLE), 1.0)


def _at_cost(economy: Economy, c_f: jax.Array | float) -> Economy:
    home, *foreign = economy.origins
    abroad = tuple(replace(o, constant=home.constant - c_f) for o in foreign)
    return replace(economy, origins=(home, *abroad))
