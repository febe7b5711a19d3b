"""The certificate of a solution: residuals of every margin and proven bounds on the potentials.

Margins can be right to 1e-10 while the level of wages is wrong by hundreds of kroner, because
where matches are nearly sure the margins hardly depend on ``log f0``. So the error of the
potentials is bounded itself. The scarcity constraints form an inverse-isotone map (an M-function,
Rheinboldt 1970) of ``(s, −t)``: a point with nonnegative excess for every worker and nonpositive
excess for every firm lies above the equilibrium, the reverse lies below. The certificate looks for
such a pair: the solutions for slightly more workers and fewer firms, and the reverse, checked with
the rounding error of the excess on the unfavourable side.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from matching.m_matrix import solve_margins
from matching.market import Market, active, excess, gaps, rounding, step_length

# Newton steps from the solution to either end; one or two do where the bound is small.
_STEPS = 60


class Certificate(NamedTuple):
    """What is proven about a pair of potentials; all zero or positive, smaller is better."""

    residual_x: jax.Array  # (N,): |margin − mass| / mass
    residual_y: jax.Array  # (J,)
    bound_s: jax.Array  # (N,): the true s_i is within this of the one found
    bound_t: jax.Array  # (J,)

    @property
    def max_residual(self) -> jax.Array:
        """Largest relative residual of both sides."""
        return jnp.maximum(self.residual_x.max(), self.residual_y.max())


def certify(market: Market, s: jax.Array, t: jax.Array) -> Certificate:
    """Residuals, and an enclosure of the equilibrium around ``(s, t)``; infinite where unproven."""
    _, excess_x, excess_y = excess(market, s, t)
    ends_s, ends_t, proven = jax.vmap(lambda side: _one_end(market, s, t, side))(
        jnp.array([1.0, -1.0])
    )
    active_x, active_y = active(market)

    def widest(ends: jax.Array, middle: jax.Array, active: jax.Array) -> jax.Array:
        distance = jnp.abs(ends - middle[None, :]).max(0)
        return jnp.where(active, jnp.where(jnp.all(proven), distance, jnp.inf), 0.0)

    return Certificate(
        residual_x=jnp.abs(excess_x) / market.mass_x,
        residual_y=jnp.abs(excess_y) / market.mass_y,
        bound_s=widest(ends_s, s, active_x),
        bound_t=widest(ends_t, t, active_y),
    )


def _one_end(
    market: Market, s: jax.Array, t: jax.Array, side: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A point proven to lie above (``side`` 1) or below (−1) the equilibrium in ``(s, −t)``."""
    active_x, active_y = active(market)

    def look(state: _Search) -> _Search:
        matched, ex, ey = excess(market, state.s, state.t)
        round_x, round_y = rounding(market, matched, state.s, state.t)
        found = jnp.all((side * ex >= round_x) | ~active_x) & jnp.all(
            (-side * ey >= round_y) | ~active_y
        )
        # aim at twice the rounding, so that what is reached survives it
        ds, minus_dt = solve_margins(
            matched,
            *gaps(market, state.s, state.t),
            jnp.where(active_x, 2.0 * side * round_x - ex, 0.0),
            jnp.where(active_y, 2.0 * side * round_y + ey, 0.0),
        )
        length = jnp.where(found, 0.0, step_length(market, ds, -minus_dt))
        return _Search(state.s + length * ds, state.t - length * minus_dt, found, state.step + 1)

    start = _Search(s, t, jnp.asarray(False), jnp.asarray(0))
    end = lax.while_loop(lambda state: ~state.found & (state.step < _STEPS), look, start)
    return end.s, end.t, end.found


class _Search(NamedTuple):
    s: jax.Array
    t: jax.Array
    found: jax.Array
    step: jax.Array
