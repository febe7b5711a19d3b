"""The three steps as one differentiable function of shares and mean wages of cells, and aggregates.

Its derivatives give the influence of a match on every parameter, its batches the bootstrap.
"""

import jax
import jax.numpy as jnp

from estimation.levels import Market, matched_economy
from matching import Economy, FixedMargins, get_parameter, solve_fixed_margins


@jax.jit
def estimate_cells(
    affinity: jax.Array,
    share: jax.Array,
    mean_wage: jax.Array,
    counted: jax.Array,
    x: jax.Array,
    y: jax.Array,
    market: Market | None,
) -> tuple[jax.Array, Economy | None]:
    """All parameters, and the economy, from ``Φ/λ``, shares and wages of cells, and aggregates."""
    a = moment_step(affinity, share, x, y)
    solved = matching_at(a, share, x, y)
    lam, lam_x, _ = _wage_equation(solved, share, mean_wage)
    scales = (lam_x, lam - lam_x)
    values = jnp.concatenate([lam * a.ravel(), jnp.stack(scales)])
    if market is None:
        return values, None
    market = market.with_counted(counted)
    economy = matched_economy(
        x, y, solved.log_matches, (solved.multiplier_x, solved.multiplier_y), lam * a, scales,
        jnp.sum(share * mean_wage), market,
    )  # fmt: skip
    levels = [get_parameter(economy, name) for name in market.rests_on]
    return jnp.concatenate([values, jnp.stack(levels)]), economy


slopes_of_cells = jax.jit(jax.jacrev(estimate_cells, argnums=(1, 2, 3), has_aux=True))


@jax.jit
def moment_step(affinity: jax.Array, share: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Newton's step to where moments meet; at that point its derivative is the exact one."""
    affinity = jax.lax.stop_gradient(affinity)

    def gap(a: jax.Array) -> jax.Array:
        return x.T @ (share - matching_at(a, share, x, y).matches) @ y

    slope = jax.lax.stop_gradient(jax.jacrev(gap)(affinity)).reshape(affinity.size, -1)
    return affinity - jnp.linalg.solve(slope, gap(affinity).ravel()).reshape(affinity.shape)


def matching_at(affinity: jax.Array, share: jax.Array, x: jax.Array, y: jax.Array) -> FixedMargins:
    """The matching with the margins of the shares."""
    return solve_fixed_margins(x @ affinity @ y.T, share.sum(1), share.sum(0), throw=False)


def _terms(solved: FixedMargins) -> jax.Array:
    """The wage equation's terms of each cell, ``ã(x)``, ``log π(x, y)`` and one, ``(N, J, 3)``."""
    a = jnp.broadcast_to(solved.multiplier_x[:, None], solved.log_matches.shape)
    return jnp.stack([a, solved.log_matches, jnp.ones_like(a)], axis=-1)


def _wage_equation(solved: FixedMargins, share: jax.Array, mean_wage: jax.Array) -> jax.Array:
    """``λ, λ_x, const`` by least squares."""
    terms = _terms(solved).reshape(-1, 3)
    weighted = share.reshape(-1, 1) * terms
    return jnp.linalg.solve(weighted.T @ terms, weighted.T @ mean_wage.ravel())


@jax.jit
def fitted_cells(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Wages and shares of the cells in the model."""
    solved = matching_at(affinity, share, x, y)
    return _terms(solved) @ _wage_equation(solved, share, mean_wage), solved.matches
