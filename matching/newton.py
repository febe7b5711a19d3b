"""Damped Newton on the convex potential ``F``, with continuation in the taste scale."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from matching.m_matrix import solve_margins
from matching.market import Market, excess, gaps, log_kernel, relative, rounding

# Continuation starts where no log kernel entry that is money over λ exceeds this size.
_GENTLE = 8.0
# A stage of the continuation is left as soon as the step is in Newton's quadratic region.
_NEAR = 0.5


class _State(NamedTuple):
    s: jax.Array
    t: jax.Array
    kappa: jax.Array
    residual: jax.Array
    iteration: jax.Array
    done: jax.Array


def iterate(
    market: Market, start: tuple[jax.Array, jax.Array], tolerance: float, max_iter: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minimise ``F``; returns ``s, t, iterations``.

    ``F`` is a sum of exponentials, hence generalised self-concordant: the step length
    ``log(1+d)/d``, with ``d`` the largest change of any exponent, decreases it from anywhere
    without a line search (Sun and Tran-Dinh 2019, Theorem 2). Iterations go on until the relative
    residual of the margins is below ``tolerance`` and has stopped falling, so that rounding alone
    is left.
    """
    log_k = log_kernel(market)
    size = jnp.abs(log_k - market.log_weight_x[:, None] - market.log_weight_y[None, :])
    largest = jnp.max(jnp.where(jnp.isnan(size), 0.0, size))
    kappa = jnp.minimum(1.0, _GENTLE / jnp.maximum(largest, _GENTLE))

    def unfinished(state: _State) -> jax.Array:
        return ~state.done & (state.iteration < max_iter)

    def step(state: _State) -> _State:
        s, t, kappa = state.s, state.t, state.kappa
        pi, excess_x, excess_y = excess(market, s, t, kappa)
        residual = relative(market, excess_x, excess_y)
        floor = relative(market, *rounding(market, pi, s, t))
        near = residual <= jnp.maximum(tolerance, floor)
        stalled = near & (residual > 0.25 * state.residual)
        done = (kappa == 1.0) & (stalled | (residual == 0.0)) | jnp.isnan(residual)

        ds, minus_dt = solve_margins(pi, *gaps(market, s, t), -excess_x, excess_y)
        dt = -minus_dt
        d = _largest_change(market, ds, dt)
        length = jnp.where(d > 1e-8, jnp.log1p(d) / jnp.maximum(d, 1e-8), 1.0)
        # potentials are money over λ too, so a stage hands them on scaled like the kernel
        kappa_next = jnp.where(d < _NEAR, jnp.minimum(1.0, 2.0 * kappa), kappa)
        grow = kappa_next / kappa
        return _State(
            s=jnp.where(done, s, (s + length * ds) * grow),
            t=jnp.where(done, t, (t + length * dt) * grow),
            kappa=kappa_next,
            residual=jnp.where(kappa == 1.0, residual, jnp.inf),
            iteration=state.iteration + 1,
            done=done,
        )

    s, t = start
    state = _State(
        s * kappa, t * kappa, kappa, jnp.asarray(jnp.inf), jnp.asarray(0), jnp.asarray(False)
    )
    state = lax.while_loop(unfinished, step, state)
    return state.s, state.t, state.iteration


def _largest_change(market: Market, ds: jax.Array, dt: jax.Array) -> jax.Array:
    pairs = jnp.maximum(ds.max() + dt.max(), -(ds.min() + dt.min()))
    if not market.singles:
        return pairs
    alone = jnp.maximum(
        jnp.max(jnp.abs(ds)) / market.theta, jnp.max(jnp.abs(dt)) / (1.0 - market.theta)
    )
    return jnp.maximum(pairs, alone)
