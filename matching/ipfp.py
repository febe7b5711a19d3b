"""Iterated proportional fitting in logs: exact block descent on the potential ``F``, extrapolated.

Fitting workers to given potentials ``t`` of firms, then firms to workers, is a map ``t → T(t)``
that rises with ``t`` and by no more than ``t`` does, so that the gap ``max |T(t) − t|`` never grows
along it. Where few are unmatched it closes slowly. Anderson's mixture of the last points, with
weights that make their steps nearly cancel, closes it in a tenth of the iterations. A mixture
counts if its gap is under a level that falls by a tenth with each that does; else plain fitting
goes on from the last point that counted. So either gaps fall to nothing, or plain fitting is left
to itself in the end: it converges from anywhere.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve

from matching.half_step import half_step
from matching.market import Market, log_demands

# Differences that are mixed. Those nearly parallel are told apart down to the root of this.
_MIXED, _RIDGE = 5, 1e-10
# How the level that a mixture's gap has to be under falls with each that counts.
_FALL = 0.9
# Rounding of log π moves margins by so much, relative to the terms in it; less is not aimed at.
_ROUNDING = 4.0 * float(jnp.finfo(jnp.float64).eps)


class _State(NamedTuple):
    s: jax.Array
    t: jax.Array  # with s, the pair whose residual was measured
    residual: jax.Array
    trial: jax.Array  # where to fit next
    mixed: jax.Array  # whether that is a mixture
    plain: jax.Array  # where plain fitting leads from the last point that counted
    level: jax.Array  # what the gap of a mixture has to be under
    fitted: jax.Array  # T(t), at the last point
    moved: jax.Array  # from T(t) at each point to that at the next, (_MIXED, J): round and round
    change: jax.Array  # of T(t) − t on the way
    gram: jax.Array  # inner products of those changes
    known: jax.Array  # how many differences there are to mix, the next one included
    iteration: jax.Array


def iterate(
    market: Market,
    start: jax.Array | None,
    tolerance: float,
    max_iter: int | jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Fit both sides until the margins are met, from firms' ``t``; returns ``s, t, iterations``.

    ``tolerance`` bounds the relative residual of the firms' margins; the workers' hold exactly
    after each half step. An iteration is one half step of each side.
    """
    of_workers, of_firms = log_demands(replace(market, kernel=market.kernel.fastest()))
    enough = jnp.maximum(tolerance, _ROUNDING * market.magnitude)

    def firms(s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``T(t)``, and by how much each margin is missed at ``t``, of its mass; to first order."""
        p = of_firms(s)
        fitted = half_step(p, 1.0 - market.theta, market.singles)
        if not market.singles:
            return fitted, fitted - t
        excess = jnp.exp(p + t) + jnp.expm1(t / (1.0 - market.theta))
        return fitted, jnp.where(jnp.isneginf(p), 0.0, excess)

    def unfinished(state: _State) -> jax.Array:
        # a NaN residual ends the loop; the certificate then reports it
        return (state.residual > enough) & (state.iteration < max_iter)

    def sweep(state: _State) -> _State:
        t = state.trial
        s = half_step(of_workers(t), market.theta, market.singles)
        fitted, excess = firms(s, t)
        step = fitted - t
        gap = jnp.abs(step).max()
        counts = (gap <= state.level) | ~state.mixed
        level = jnp.where(state.mixed & counts, _FALL, 1.0) * state.level
        newest = state.iteration % _MIXED
        change = state.change.at[newest].set(step - (state.fitted - state.t))
        moved = state.moved.at[newest].set(fitted - state.fitted)
        products = change @ change[newest]
        gram = state.gram.at[newest].set(products).at[:, newest].set(products)
        age = (newest - jnp.arange(_MIXED)) % _MIXED
        weights = _weights(gram, change @ step, age < state.known)
        return _State(
            s=s,
            t=t,
            residual=jnp.abs(excess).max(),
            trial=jnp.where(counts, fitted - weights @ moved, state.plain),
            mixed=counts & jnp.any(weights != 0.0),
            plain=jnp.where(counts, fitted, state.plain),
            level=jnp.where(state.iteration == 0, gap, level),
            fitted=fitted,
            moved=moved,
            change=change,
            gram=gram,
            # of the points that led astray only the last says something of where plain fitting is
            known=jnp.where(counts, state.known + 1, 1),
            iteration=state.iteration + 1,
        )

    s = jnp.zeros_like(market.mass_x)
    t = jnp.zeros_like(market.mass_y) if start is None else start
    none, infinite = jnp.asarray(0), jnp.asarray(jnp.inf)
    empty, gram = jnp.zeros((_MIXED, len(t))), jnp.zeros((_MIXED, _MIXED))
    never = jnp.asarray(False)
    state = _State(s, t, infinite, t, never, t, infinite, t, empty, empty, gram, none, none)
    state = lax.while_loop(unfinished, sweep, state)
    return state.s, state.t, state.iteration


def _weights(gram: jax.Array, products: jax.Array, known: jax.Array) -> jax.Array:
    """How much of each known change to take from a step for the rest to be least in squares.

    ``gram`` has the changes' inner products, ``products`` those with the step. None, where rounding
    leaves no such weights.
    """
    size = jnp.sqrt(jnp.diag(gram))
    unit = jnp.where(known & (size > 0), 1.0 / jnp.where(size > 0, size, 1.0), 0.0)
    gram = unit[:, None] * gram * unit[None, :] + _RIDGE * jnp.eye(len(gram))
    weights = unit * solve(gram, unit * products, assume_a="pos")
    return jnp.where(jnp.all(jnp.isfinite(weights)), weights, 0.0)
