"""Where to begin: as if all firms were alike.

Their potential is then one number ``t``. Workers, each fitted to it, leave a mass ``U(t)`` of
themselves unmatched, and firms ``V(t) = G e^{t/(1−θ)}``. Of ``F`` workers and ``G`` firms in all as
many match on one side as on the other where

    V + max(F − G, 0) = U + max(G − F, 0),

of which the logs are nearly linear in ``t``. Solvers that look for this level themselves take many
iterations where few are unmatched.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp

from matching.half_step import half_step
from matching.market import Market, active

# Workers that stand for all. Most steps of Newton on that equation, and the difference of those
# logs that is left to a last one.
_SAMPLE, _STEPS, _NEAR = 256, 8, 0.1


class _State(NamedTuple):
    t: jax.Array
    low: jax.Array
    high: jax.Array
    too_high: jax.Array  # the second side's log less the first's
    steps: jax.Array


def first_guess(market: Market, demand: jax.Array) -> jax.Array:
    """The potential ``t ()`` of all firms, where there are singles.

    ``demand (N,)`` is what each worker type would match were it zero, over its mass, in logs. Or
    what is to be added to given potentials, if that is demand at those.
    """
    theta = market.theta
    some = slice(None, None, max(1, len(demand) // _SAMPLE))
    demand = demand[some]
    active_x, active_y = active(market)
    mass_x = jnp.where(active_x, market.mass_x, 0.0)
    workers, firms = mass_x.sum(), jnp.where(active_y, market.mass_y, 0.0).sum()
    log_mass = jnp.log(mass_x[some]) + jnp.log(workers / mass_x[some].sum())
    beyond_x, beyond_y = (jnp.log(jnp.maximum(d, 0.0)) for d in (firms - workers, workers - firms))

    def unfinished(state: _State) -> jax.Array:
        return (jnp.abs(state.too_high) > _NEAR) & (state.steps < _STEPS)

    def step(state: _State) -> _State:
        t = state.t
        log_single = half_step(demand + t, theta) / theta
        single, match = jnp.exp(log_single), -jnp.expm1(log_single)
        left_x = jnp.logaddexp(logsumexp(log_mass + log_single), beyond_x)
        log_firms = jnp.log(firms) + t / (1.0 - theta)
        left_y = jnp.logaddexp(log_firms, beyond_y)
        share = jnp.exp(log_mass + log_single - left_x)
        slope = jnp.exp(log_firms - left_y) / (1.0 - theta)
        slope += jnp.sum(share * match / (single + theta * match))
        too_high = left_y - left_x
        low, high = jnp.where(too_high < 0, t, state.low), jnp.where(too_high > 0, t, state.high)
        t = t - too_high / slope
        t = jnp.where((low < t) & (t < high), t, 0.5 * (low + high))
        return _State(t, low, high, too_high, state.steps + 1)

    least = -(jnp.maximum(demand.max(), 0.0) + jnp.log1p(workers / firms) + 1.0)
    zero = jnp.zeros(())
    start = _State(zero, least, zero, jnp.asarray(jnp.inf), jnp.asarray(0))
    return lax.while_loop(unfinished, step, start).t
