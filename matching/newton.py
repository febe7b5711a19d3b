"""Damped Newton on the convex potential ``F``, with continuation in the taste scale.

Where types are many iterated proportional fitting comes first: a sweep takes two products of the
kernel, a step of Newton dozens, or the elimination of a matrix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from matching import ipfp
from matching.first_guess import first_guess
from matching.half_step import half_step
from matching.kernel import Kernel
from matching.m_matrix import FEW, solve_margins
from matching.market import (
    Market,
    active,
    excess,
    gaps,
    largest_change,
    log_demands,
    relative,
    relative_rounding,
    step_length,
)
from matching.scaled_kernel import Features, ScaledKernel

# Continuation starts where no log affinity exceeds this size; levels are those of a first guess.
_GENTLE = 20.0
# Conjugate gradients leave so large a share of a step's residual at first, for exact steps would
# cost more products; then, as Newton converges quadratically, the residual's own size, and no less.
_INEXACT, _EXACT = 1e-4, 1e-7
# A step that changes no exponent by more is the last.
_LAST = 1e-7
# A stage of the continuation is left as soon as Newton's steps are nearly whole.
_NEAR = 0.8
# Scalings of a low rank that range over so many log points lose digits at potentials of zero.
_FAR = 20.0
# Sweeps of fitting after which Newton begins anew, if margins are not met by then.
_SWEEPS = 250


class _State(NamedTuple):
    s: jax.Array
    t: jax.Array
    kappa: jax.Array
    change: jax.Array  # the largest of any exponent by the last step
    iteration: jax.Array
    done: jax.Array


def iterate(
    market: Market,
    start: jax.Array | None,
    tolerance: float,
    max_iter: int | jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minimise ``F`` from firms' ``t``; returns ``s, t, iterations``.

    Steps are damped by :func:`~matching.market.step_length`, so they decrease ``F`` from anywhere
    without a line search. Iterations go on until a step changes next to nothing, or the margins are
    met to ``tolerance`` or rounding and steps shrink no more.
    """

    def unfinished(state: _State) -> jax.Array:
        return ~state.done & (state.iteration < max_iter)

    def step(state: _State) -> _State:
        s, t, kappa = state.s, state.t, state.kappa
        matched, excess_x, excess_y = excess(market, s, t, kappa)
        residual = relative(market, excess_x, excess_y)
        floor = relative_rounding(market, s, t)
        ds, minus_dt = solve_margins(
            matched, *gaps(market, s, t), -excess_x, excess_y,
            grounded=not market.singles, tolerance=jnp.clip(residual, _EXACT, _INEXACT),
        )  # fmt: skip
        change = largest_change(market, ds, -minus_dt)
        length = step_length(change)
        # convergence is quadratic: what so small a step leaves is rounding, and so are steps that
        # shrink no more where margins are met; where few are unmatched log f0 moves long after
        met = residual <= jnp.maximum(tolerance, floor)
        last = (change <= _LAST) | (met & (change > 0.25 * state.change))
        # potentials are money over λ too, so a stage hands them on scaled like the kernel
        kappa_next = jnp.where(length > _NEAR, jnp.minimum(1.0, 2.0 * kappa), kappa)
        grow = kappa_next / kappa
        lost = jnp.isnan(residual)
        return _State(
            s=jnp.where(lost, s, (s + length * ds) * grow),
            t=jnp.where(lost, t, (t - length * minus_dt) * grow),
            kappa=kappa_next,
            change=jnp.where(kappa == 1.0, change, jnp.inf),
            iteration=state.iteration + 1,
            done=((kappa == 1.0) & last) | lost,
        )

    state = lax.while_loop(unfinished, step, _begin(market, start, tolerance, max_iter))
    return state.s, state.t, state.iteration


def _begin(
    market: Market,
    start: jax.Array | None,
    tolerance: float,
    max_iter: int | jax.Array,
) -> _State:
    """Where to begin: fitted, if that pays and does, else lowered and with a share of the money."""

    # potentials are money over λ too: a stage takes them scaled like the kernel
    kappa = _first_stage(market)
    of_workers, of_firms = log_demands(market, kappa)
    first, demand = _even(market) if start is None else start * kappa, None
    if start is None and market.singles:
        demand = of_workers(first)
        level = first_guess(market, demand)
        first, demand = first + level, demand + level

    def lowered(sweeps: jax.Array) -> _State:
        """Workers fitted, then firms, downwards only, so that no type exceeds its mass.

        From above a damped step gains one log point, from below it gains any distance.
        """
        p = of_workers(first) if demand is None else demand
        s = half_step(p, market.theta, market.singles)
        fitted = half_step(of_firms(s), 1.0 - market.theta, market.singles)
        t = jnp.minimum(first, fitted)
        return _State(s, t, kappa, jnp.asarray(jnp.inf), sweeps, jnp.asarray(False))

    few = min(len(market.mass_x), len(market.mass_y)) <= FEW and market.kernel.name == "dense"
    if few or (market.singles and _is_cheap(market.kernel)):
        return lowered(jnp.asarray(0))
    most = jnp.minimum(max_iter, _SWEEPS)
    s, t, sweeps = ipfp.iterate(market, first / kappa, tolerance, most)
    met = (sweeps < most) & jnp.isfinite(s.sum() + t.sum())
    # where few are unmatched margins are met long before log f0 is known: a step tells
    done = jnp.asarray(not market.singles)
    fitted = _State(s, t, jnp.asarray(1.0), jnp.asarray(jnp.inf), sweeps, done)
    return lax.cond(met, lambda: fitted, lambda: lowered(sweeps))


def _even(market: Market) -> jax.Array:
    """Firms' potentials at which sums of a low rank keep their digits, ``(J,)``.

    At zero, where scalings range far, the table's error times the largest drowns types of small
    ones. Potentials that cancel the scalings leave none such: matches are about as dense
    everywhere, as they are where nearly all are matched.
    """
    zero, kernel = jnp.zeros_like(market.mass_y), market.kernel
    if not isinstance(kernel, ScaledKernel) or kernel.name != "low rank":
        return zero
    scalings = (kernel.shift_x + market.log_worth_x, kernel.shift_y + market.log_worth_y)
    active_x, active_y = active(market)
    (low_x, high_x), (low_y, high_y) = (
        (some.min(where=there, initial=jnp.inf), some.max(where=there, initial=-jnp.inf))
        for some, there in zip(scalings, (active_x, active_y), strict=True)
    )
    far = high_x - low_x + high_y - low_y > _FAR
    return jnp.where(far & active_y, low_y - scalings[1], zero)


def _is_cheap(kernel: Kernel) -> bool:
    """Whether dozens of products take less than the roots of a few sweeps of fitting."""
    if not isinstance(kernel, ScaledKernel):
        return False
    return isinstance(kernel.table, Features) and len(kernel.table.left) == 1


def _first_stage(market: Market) -> jax.Array:
    """The share ``κ`` of money over ``λ`` to begin with; 1 if it does not shrink or is gentle."""
    if not market.kernel.shrinks:
        return jnp.ones(())
    size = jnp.nan_to_num(market.kernel.magnitude)
    return jnp.minimum(1.0, _GENTLE / jnp.maximum(size, _GENTLE))
