"""The certificate of a solution: residuals of every margin and proven bounds on the potentials.

Margins can be right to 1e-10 while the level of wages is wrong by hundreds of kroner, because
where matches are nearly sure the margins hardly depend on ``log f0``. So the error of the
potentials is bounded itself. The scarcity constraints form an inverse-isotone map (an M-function,
Rheinboldt 1970) of ``(s, −t)``: a point with nonnegative excess for every worker and nonpositive
excess for every firm lies above the equilibrium, the reverse lies below. The certificate looks for
such a pair: the solutions for slightly more workers and fewer firms, and the reverse, checked with
the rounding error of the excess on the unfavourable side.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from matching.m_matrix import solve_margins
from matching.market import (
    Market,
    Matched,
    active,
    excess,
    gaps,
    largest_change,
    rounding,
    step_length,
)

# Most Newton steps from the solution to either end; one or two do where the bound is small.
CERTIFICATE_STEPS = 60
# Twice the rounding is aimed at, so a step need not be exact.
_INEXACT = 1e-3
# The solution, and the sides on which ends are looked for.
_SIDES = (0.0, 1.0, -1.0)


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

    # the solution and both ends one after the other: the program holds once what looks at a point
    def onward(known: _Known, side: jax.Array) -> tuple[_Known, None]:
        begin = _End(s, t, known.seen, proven=jnp.asarray(False), looks=jnp.asarray(0))
        end = _search(market, most_steps, side, begin)
        middle = side == 0.0

        def widest(bound: jax.Array, end_of: jax.Array, centre: jax.Array) -> jax.Array:
            distance = jnp.where(end.proven, jnp.abs(end_of - centre), jnp.inf)
            return jnp.where(middle, bound, jnp.maximum(bound, distance))

        # one step from the solution serves for both ends: far enough whatever its excess's sign
        seen = jax.tree.map(partial(jnp.where, middle), end.seen, known.seen)
        widths = widest(known.bound_s, end.s, s), widest(known.bound_t, end.t, t)
        return _Known(seen, *widths), None

    zeros = jnp.zeros_like(s), jnp.zeros_like(t)
    known, _ = lax.scan(onward, _Known(_Seen(*zeros, *zeros), *zeros), jnp.asarray(_SIDES))
    active_x, active_y = active(market)
    return Certificate(
        residual_x=known.seen.residual_x,
        residual_y=known.seen.residual_y,
        bound_s=jnp.where(active_x, known.bound_s, 0.0),
        bound_t=jnp.where(active_y, known.bound_t, 0.0),
    )


def residuals(market: Market, s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each margin's error relative to its mass, what the kernel may be wrong by included."""
    return _residuals(market, *excess(market, s, t))


def _residuals(
    market: Market, matched: Matched, excess_x: jax.Array, excess_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    error_x, error_y = matched.matches.error()
    return (
        (jnp.abs(excess_x) + error_x) / market.mass_x,
        (jnp.abs(excess_y) + error_y) / market.mass_y,
    )


class _Seen(NamedTuple):
    """How far to go from a point, ``s`` to one side and ``t`` to the other, and its residuals."""

    ds: jax.Array
    dt: jax.Array
    residual_x: jax.Array
    residual_y: jax.Array


class _Known(NamedTuple):
    """What was seen at the solution, and how far away the ends are."""

    seen: _Seen
    bound_s: jax.Array
    bound_t: jax.Array


class _End(NamedTuple):
    """Where was looked last, and whether that is an end; what was seen there if it is not."""

    s: jax.Array
    t: jax.Array
    seen: _Seen
    proven: jax.Array
    looks: jax.Array


def _search(market: Market, most_steps: int | jax.Array, side: jax.Array, begin: _End) -> _End:
    """A point above (``side`` 1) or below (−1) the equilibrium in ``(s, −t)``, if one is found.

    With ``side`` 0 the solution itself is looked at, once.
    """
    middle = side == 0.0
    most = jnp.where(middle, 1, most_steps)
    active_x, active_y = active(market)

    def unfinished(end: _End) -> jax.Array:
        return ~end.proven & (end.looks < most)

    def onward(end: _End) -> _End:
        s, t = end.s + side * end.seen.ds, end.t - side * end.seen.dt
        matched, excess_x, excess_y = excess(market, s, t)
        round_x, round_y = rounding(market, matched, s, t)
        # what the excess is short of zero
        missing_x = jnp.where(middle, jnp.abs(excess_x), -side * excess_x)
        missing_y = jnp.where(middle, jnp.abs(excess_y), side * excess_y)
        proven = jnp.all((missing_x <= -round_x) | ~active_x)
        proven &= jnp.all((missing_y <= -round_y) | ~active_y)

        # twice the rounding beyond zero is aimed at, so that what is reached survives it
        aim = (
            jnp.where(active_x, 2.0 * round_x + missing_x, 0.0),
            jnp.where(active_y, 2.0 * round_y + missing_y, 0.0),
        )

        def look(state: Any) -> tuple[_Seen, jax.Array]:
            # what depends on nothing of the round would be found out before the loop, wanted or not
            own_aim, _ = lax.optimization_barrier((aim, state))
            ds, dt = solve_margins(matched, *gaps(market, s, t), *own_aim, tolerance=_INEXACT)
            length = step_length(largest_change(market, ds, -dt))
            residual = _residuals(market, matched, excess_x, excess_y)
            return _Seen(length * ds, length * dt, *residual), jnp.asarray(False)

        wanted = middle | (~proven & (end.looks + 1 < most))
        # a loop of one round at most: among many lanes a condition would look for all of them
        seen, _ = lax.while_loop(lambda state: state[1], look, (end.seen, wanted))
        return _End(s, t, seen, proven, end.looks + 1)

    return lax.while_loop(unfinished, onward, begin)
