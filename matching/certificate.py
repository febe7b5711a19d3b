"""The certificate of a solution: residuals of every margin and proven bounds on the potentials.

Margins can be right to 1e-10 while the level of wages is wrong by hundreds of kroner, because
where matches are nearly sure the margins hardly depend on ``log f0``. So the error of the
potentials is bounded itself. The scarcity constraints form an inverse-isotone map (an M-function,
Rheinboldt 1970) of ``(s, −t)``: a point with nonnegative excess for every worker and nonpositive
excess for every firm lies above the equilibrium, the reverse lies below. The certificate looks for
such a pair around the solution, with the rounding error of the excess on the unfavourable side.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from matching.m_matrix import solve_margins
from matching.market import Market, active, excess, gaps, rounding

# The linearised bound times 2^0, 2^1, …: enough to reach any log mass that float64 can hold.
_WIDENINGS = 60


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
    pi, excess_x, excess_y = excess(market, s, t)
    round_x, round_y = rounding(market, pi, s, t)
    up_x, up_y = solve_margins(
        pi,
        *gaps(market, s, t),
        2.0 * (jnp.abs(excess_x) + 2.0 * round_x),
        2.0 * (jnp.abs(excess_y) + 2.0 * round_y),
    )
    active_x, active_y = active(market)

    def proven(widening: jax.Array) -> jax.Array:
        """Whether the widened pair encloses the equilibrium."""

        def above(sign: float) -> jax.Array:
            s_moved, t_moved = s + sign * widening * up_x, t - sign * widening * up_y
            pi, ex, ey = excess(market, s_moved, t_moved)
            rx, ry = rounding(market, pi, s_moved, t_moved)
            return jnp.all((sign * ex >= rx) | ~active_x) & jnp.all((-sign * ey >= ry) | ~active_y)

        return above(1.0) & above(-1.0)

    def widen(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        step, _ = state
        return step + 1, proven(2.0 ** (step + 1.0))

    step, found = lax.while_loop(
        lambda state: ~state[1] & (state[0] < _WIDENINGS),
        widen,
        (jnp.asarray(0), proven(jnp.asarray(1.0))),
    )
    width = jnp.where(found, 2.0**step, jnp.inf)
    return Certificate(
        residual_x=jnp.abs(excess_x) / market.mass_x,
        residual_y=jnp.abs(excess_y) / market.mass_y,
        bound_s=jnp.where(active_x, width * up_x, 0.0),
        bound_t=jnp.where(active_y, width * up_y, 0.0),
    )
