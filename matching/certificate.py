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

from matching.kernel import Matches
from matching.m_matrix import solve_margins
from matching.market import (
    Market,
    Matched,
    active,
    excess,
    exponents,
    gaps,
    largest_change,
    rounding,
    step_length,
)

# Most Newton steps from the solution to either end; one or two do where the bound is small.
CERTIFICATE_STEPS = 60
# Twice the rounding is aimed at, so a step need not be exact.
_INEXACT = 1e-3


class Certificate(NamedTuple):
    """What is proven about a pair of potentials; all zero or positive, smaller is better."""

    residual_x: jax.Array  # (N,): |margin − mass| / mass, the kernel's error included
    residual_y: jax.Array  # (J,)
    bound_s: jax.Array  # (N,): the true s_i is within this of the one found
    bound_t: jax.Array  # (J,)

    @property
    def max_residual(self) -> jax.Array:
        """Largest relative residual of both sides."""
        return jnp.maximum(self.residual_x.max(), self.residual_y.max())


def certify(
    market: Market, s: jax.Array, t: jax.Array, most_steps: int | jax.Array = CERTIFICATE_STEPS
) -> Certificate:
    """Residuals, and an enclosure of the equilibrium around ``(s, t)``; infinite where unproven."""
    middle = _look(market, s, t)
    residual_x, residual_y = _residuals(market, s, t, middle.excess_x, middle.excess_y)
    # one step from the middle serves for both ends: far enough whatever the sign of its excess
    ds, dt = _step(market, middle, jnp.abs(middle.excess_x), jnp.abs(middle.excess_y))
    # one after the other: the program holds once what finds an end
    ends_s, ends_t, proven = lax.map(
        lambda side: _one_end(market, most_steps, side, s + side * ds, t - side * dt),
        jnp.asarray([1.0, -1.0]),
    )

    def widest(ends: jax.Array, centre: jax.Array, active: jax.Array) -> jax.Array:
        distance = jnp.abs(ends - centre[None, :]).max(0)
        return jnp.where(active, jnp.where(proven.all(), distance, jnp.inf), 0.0)

    active_x, active_y = active(market)
    return Certificate(
        residual_x=residual_x,
        residual_y=residual_y,
        bound_s=widest(ends_s, s, active_x),
        bound_t=widest(ends_t, t, active_y),
    )


def residuals(market: Market, s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each margin's error relative to its mass, what the kernel may be wrong by included."""
    return _residuals(market, s, t, *excess(market, s, t)[1:])


def _residuals(
    market: Market, s: jax.Array, t: jax.Array, excess_x: jax.Array, excess_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    error_x, error_y = _matches(market, s, t).error()
    return (
        (jnp.abs(excess_x) + error_x) / market.mass_x,
        (jnp.abs(excess_y) + error_y) / market.mass_y,
    )


class _Look(NamedTuple):
    """A point, its excess demand, and a bound on the numerical error of that."""

    s: jax.Array
    t: jax.Array
    workers: jax.Array  # matched, as the firms
    firms: jax.Array
    excess_x: jax.Array
    excess_y: jax.Array
    round_x: jax.Array
    round_y: jax.Array


class _End(NamedTuple):
    look: _Look
    proven: jax.Array
    steps: jax.Array


def _one_end(
    market: Market, most_steps: int | jax.Array, side: jax.Array, s: jax.Array, t: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A point above (``side`` 1) or below (−1) the equilibrium in ``(s, −t)``, and if it is so."""
    active_x, active_y = active(market)

    def at(s: jax.Array, t: jax.Array, steps: jax.Array) -> _End:
        look = _look(market, s, t)
        missing_x = jnp.where(active_x, look.round_x - side * look.excess_x, 0.0)
        missing_y = jnp.where(active_y, look.round_y + side * look.excess_y, 0.0)
        return _End(look, (missing_x.max() <= 0.0) & (missing_y.max() <= 0.0), steps)

    def onward(end: _End) -> _End:
        look = end.look
        ds, dt = _step(market, look, -side * look.excess_x, side * look.excess_y)
        return at(look.s + side * ds, look.t - side * dt, end.steps + 1)

    end = lax.while_loop(
        lambda end: ~end.proven & (end.steps < most_steps), onward, at(s, t, jnp.asarray(1))
    )
    return end.look.s, end.look.t, end.proven


def _step(
    market: Market, look: _Look, missing_x: jax.Array, missing_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """How far to move ``s`` to one side and ``t`` to the other, towards a rounding beyond zero.

    Twice the rounding is aimed at, so that what is reached survives it; ``missing`` is what the
    excess is short of zero.
    """
    active_x, active_y = active(market)
    ds, dt = solve_margins(
        Matched(_matches(market, look.s, look.t), look.workers, look.firms),
        *gaps(market, look.s, look.t),
        jnp.where(active_x, 2.0 * look.round_x + missing_x, 0.0),
        jnp.where(active_y, 2.0 * look.round_y + missing_y, 0.0),
        tolerance=_INEXACT,
    )
    length = step_length(largest_change(market, ds, -dt))
    return length * ds, length * dt


def _look(market: Market, s: jax.Array, t: jax.Array) -> _Look:
    matched, excess_x, excess_y = excess(market, s, t)
    round_x, round_y = rounding(market, matched, s, t)
    return _Look(s, t, matched.workers, matched.firms, excess_x, excess_y, round_x, round_y)


def _matches(market: Market, s: jax.Array, t: jax.Array) -> Matches:
    _, row, column = exponents(market, s, t)
    return market.kernel.matches(row, column)
