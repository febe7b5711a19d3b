"""One side's potentials given the other's: a scalar root for each type."""

import jax
import jax.numpy as jnp
from jax import lax

# h(u) = log(e^u + e^{p+θu}) has a slope in [θ, 1] and a root near −log(1 + e^{p/θ}), from which
# Halley's steps reach rounding in so many and one for every leading zero of θ, and one more.
_ROOT_STEPS = 2


def half_step(p: jax.Array, theta: jax.Array, singles: bool = True) -> jax.Array:
    """The potential ``s`` that meets one side's margins given the other side's.

    Solves ``e^{s/θ} + e^{p+s} = 1``, the margin over its mass, ``p = log Σ K e^t − log f̄``. For
    ``θ = ½`` it is a quadratic in ``e^s``; otherwise a monotone scalar root. Without singles
    ``s = −p``.
    """
    if not singles:
        return jnp.where(jnp.isneginf(p), 0.0, -p)

    def closed_form(p: jax.Array) -> jax.Array:
        # e^−s = (x + √(x²+4))/2 with x = e^p; −p where that would overflow
        x = jnp.exp(jnp.minimum(p, 40.0))
        beyond_one = 0.5 * (x + x**2 / (2.0 + jnp.sqrt(x**2 + 4.0)))
        return jnp.where(p > 40.0, -p, -jnp.log1p(beyond_one))

    def root(p: jax.Array) -> jax.Array:
        def halley(_: jax.Array, u: jax.Array) -> jax.Array:
            match = p + theta * u
            smaller = jnp.exp(-jnp.abs(match - u))
            level = jnp.maximum(match, u) + jnp.log1p(smaller)
            single = jnp.where(match > u, smaller, 1.0) / (1.0 + smaller)
            slope = theta + (1.0 - theta) * single
            bend = (1.0 - theta) ** 2 * single * (1.0 - single)
            return u - 2.0 * level * slope / (2.0 * slope**2 - level * bend)

        steps = _ROOT_STEPS + jnp.ceil(jnp.maximum(-jnp.log10(theta), 1.0)).astype(int)
        steps = jnp.where(theta == 0.5, 0, steps)  # among many lanes both ways are taken
        return theta * lax.fori_loop(0, steps, halley, -jnp.logaddexp(0.0, p / theta))

    finite = jnp.where(jnp.isneginf(p), 0.0, p)
    return jnp.where(jnp.isneginf(p), 0.0, lax.cond(theta == 0.5, closed_form, root, finite))
