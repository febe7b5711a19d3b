"""Iterated proportional fitting in logs: exact block descent on the potential ``F``, extrapolated.

Fitting workers to given potentials ``t`` of firms, then firms to workers, is a map ``t → T(t)``
that rises with ``t`` and by no more than ``t`` does, so that the gap ``max |T(t) − t|`` never grows
along it. Where few are unmatched it closes slowly. Anderson's mixture of the last points, with
weights that make their steps nearly cancel, closes it in a tenth of the iterations. A mixture
counts if its gap is under a level that falls by a tenth with each that does; else plain fitting
goes on from the last point that counted. So either gaps fall to nothing, or plain fitting is left
to itself in the end: it converges from anywhere.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from matching.market import Market, exponents

# h(u) = log(e^u + e^{p+θu}) is convex with slope in [θ, 1] and at most log 2 at the start, so
# Newton from the right never overshoots; eight steps reach rounding for every θ in (0, 1).
_ROOT_STEPS = 8
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
    plain: jax.Array  # where plain fitting leads from the last point that counted
    level: jax.Array  # what the gap of a mixture has to be under
    fitted: jax.Array  # T(t), at the last point
    away: jax.Array  # from each point to the next, (_MIXED, J): round and round
    change: jax.Array  # of T(t) − t on the way
    gram: jax.Array  # inner products of those changes
    known: jax.Array  # how many differences there are to mix, the next one included
    iteration: jax.Array


def iterate(
    market: Market,
    start: tuple[jax.Array, jax.Array],
    tolerance: float,
    max_iter: int | jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Fit both sides until the margins are met; returns ``s, t, iterations``.

    ``tolerance`` bounds the relative residual of the firms' margins; the workers' hold exactly
    after each half step. An iteration is one half step of each side.
    """
    none_x, none_y = jnp.zeros_like(market.mass_x), jnp.zeros_like(market.mass_y)
    kernel, weight_x, weight_y = exponents(market, none_x, none_y)
    share_x, share_y = weight_x - jnp.log(market.mass_x), weight_y - jnp.log(market.mass_y)
    enough = jnp.maximum(tolerance, _ROUNDING * market.magnitude)

    def workers(t: jax.Array) -> jax.Array:
        return half_step(share_x + kernel.log_row_sums(weight_y + t), market.theta, market.singles)

    def firms(s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        p = share_y + kernel.log_column_sums(weight_x + s)
        left_over = jnp.expm1(t / (1.0 - market.theta)) if market.singles else -1.0
        inactive = jnp.isneginf(p)
        residual = jnp.where(inactive, 0.0, jnp.abs(jnp.exp(p + t) + left_over))
        return half_step(p, 1.0 - market.theta, market.singles), residual.max()

    def unfinished(state: _State) -> jax.Array:
        # a NaN residual ends the loop; the certificate then reports it
        return (state.residual > enough) & (state.iteration < max_iter)

    def sweep(state: _State) -> _State:
        t = state.trial
        s = workers(t)
        fitted, residual = firms(s, t)
        step = fitted - t
        gap = jnp.abs(step).max()
        mixed = jnp.any(t != state.plain)
        counts = (gap <= state.level) | ~mixed
        level = jnp.where(mixed & counts, _FALL, 1.0) * state.level
        newest = state.iteration % _MIXED
        change = state.change.at[newest].set(step - (state.fitted - state.t))
        away = state.away.at[newest].set(t - state.t)
        products = change @ change[newest]
        gram = state.gram.at[newest].set(products).at[:, newest].set(products)
        age = (newest - jnp.arange(_MIXED)) % _MIXED
        mixture = fitted - _weights(gram, change @ step, age < state.known) @ (away + change)
        mixture = jnp.where(jnp.all(jnp.isfinite(mixture)), mixture, fitted)
        return _State(
            s=s,
            t=t,
            residual=residual,
            trial=jnp.where(counts, mixture, state.plain),
            plain=jnp.where(counts, fitted, state.plain),
            level=jnp.where(state.iteration == 0, gap, level),
            fitted=fitted,
            away=away,
            change=change,
            gram=gram,
            # of the points that led astray only the last says something of where plain fitting is
            known=jnp.where(counts, state.known + 1, 1),
            iteration=state.iteration + 1,
        )

    s, t = start
    none, infinite = jnp.asarray(0), jnp.asarray(jnp.inf)
    empty, gram = jnp.zeros((_MIXED, len(t))), jnp.zeros((_MIXED, _MIXED))
    state = _State(s, t, infinite, t, t, infinite, t, empty, empty, gram, none, none)
    state = lax.while_loop(unfinished, sweep, state)
    return state.s, state.t, state.iteration


def _weights(gram: jax.Array, products: jax.Array, known: jax.Array) -> jax.Array:
    """How much of each known change to take from a step for the rest to be least in squares.

    ``gram`` has the changes' inner products, ``products`` those with the step.
    """
    size = jnp.sqrt(jnp.diag(gram))
    unit = jnp.where(known & (size > 0), 1.0 / jnp.where(size > 0, size, 1.0), 0.0)
    gram = unit[:, None] * gram * unit[None, :] + _RIDGE * jnp.eye(len(gram))
    return unit * jnp.linalg.solve(gram, unit * products)


def half_step(p: jax.Array, theta: jax.Array, singles: bool = True) -> jax.Array:
    """The potential ``s`` that meets one side's margins given the other side's.

    Solves ``e^{s/θ} + e^{p+s} = 1``, the margin over its mass, ``p = log Σ K e^t − log f̄``. For
    ``θ = ½`` it is a quadratic in ``e^s``; otherwise a monotone scalar root. Without singles
    ``s = −p``.
    """
    if not singles:
        return jnp.where(jnp.isneginf(p), 0.0, -p)

    def closed_form(p: jax.Array) -> jax.Array:
        # e^s = (−e^p + √(e^{2p}+4))/2, that is s = −asinh(e^p/2); −p where e^p would overflow
        return jnp.where(p > 40.0, -p, -jnp.arcsinh(0.5 * jnp.exp(jnp.minimum(p, 40.0))))

    def root(p: jax.Array) -> jax.Array:
        def newton(_: int, u: jax.Array) -> jax.Array:
            single, match = u, p + theta * u
            level = jnp.logaddexp(single, match)
            slope = jnp.exp(single - level) + theta * jnp.exp(match - level)
            return u - level / slope

        return theta * lax.fori_loop(0, _ROOT_STEPS, newton, jnp.minimum(0.0, -p / theta))

    finite = jnp.where(jnp.isneginf(p), 0.0, p)
    return jnp.where(jnp.isneginf(p), 0.0, lax.cond(theta == 0.5, closed_form, root, finite))
