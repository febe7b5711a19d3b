"""The three steps as one differentiable function of shares and mean wages of cells, and aggregates.

Its derivatives give the influence of a match on every parameter, its batches the bootstrap.
"""

import jax
import jax.numpy as jnp

from estimation.levels import Market, matched_economy
from matching import Economy, FixedMargins, get_parameter, solve_fixed_margins

# Of Gauss and Newton, from least squares: the first weighs, the second mends the terms. Further
# ones change little in samples of 20,000, and stray in those of 2,000.
_STEPS = 2
# Relative to the spread of wages: none is known better, so that exact ones leave weights.
_FINEST_WAGE = 1e-3


@jax.jit
def estimate_cells(
    affinity: jax.Array,
    share: jax.Array,
    mean_wage: jax.Array,
    wage_variance: jax.Array,
    counted: jax.Array,
    x: jax.Array,
    y: jax.Array,
    market: Market | None,
) -> tuple[jax.Array, Economy | None]:
    """All parameters, and the economy, from ``Φ/λ``, shares and wages of cells, and aggregates.

    The variance of wages within cells only weighs, so that its own error is of no first order.
    """
    a = moment_step(affinity, share, x, y)
    solved = matching_at(a, share, x, y)
    lam, lam_x = _wage_equation(solved, share, mean_wage, wage_variance)
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


slopes_of_cells = jax.jit(jax.jacrev(estimate_cells, argnums=(1, 2, 4), has_aux=True))


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


def _wage_equation(
    solved: FixedMargins, share: jax.Array, mean_wage: jax.Array, wage_variance: jax.Array
) -> jax.Array:
    """``λ, λ_x`` by least squares with errors ``α, β`` in the multipliers.

    A match's share of them has the variances ``1/f`` and ``1/g``, and of its wage ``s²``, so

        min Σ π (w − λ (ã + α) − λ_x (log π − α − β) − const)² + s² (Σ f α² + Σ g β²)
    """
    terms, margins = _terms(solved), jnp.concatenate([share.sum(1), share.sum(0)])
    n = len(solved.multiplier_x)
    effects = jnp.block([[jnp.diag(margins[:n]), share], [share.T, jnp.diag(margins[n:])]])

    def moments(of_cells: jax.Array) -> jax.Array:
        """Sums over the firms of each worker type, and over the workers of each firm type."""
        return jnp.concatenate([of_cells.sum(1), of_cells.sum(0)])

    weighted = share[..., None] * terms
    normal = jnp.einsum("ijk,ijl->kl", weighted, terms)
    first = jnp.linalg.solve(normal, jnp.einsum("ijk,ij->k", weighted, mean_wage))
    misfit = jnp.sum(share * (mean_wage - terms @ first) ** 2)
    spread = jnp.sum(share * (mean_wage - jnp.sum(share * mean_wage)) ** 2)
    s2 = jnp.maximum(wage_variance + misfit, _FINEST_WAGE**2 * spread)
    found = jnp.concatenate([first, jnp.zeros(len(margins))])
    for _ in range(_STEPS):
        lam, lam_x = found[:2]
        alpha = jnp.broadcast_to(found[3 : 3 + n, None], share.shape)
        beta = jnp.broadcast_to(found[3 + n :], share.shape)
        at = terms + jnp.stack([alpha, -alpha - beta, jnp.zeros_like(share)], axis=-1)
        loads = jnp.where(jnp.arange(len(margins)) < n, lam - lam_x, -lam_x)
        gap = share * (mean_wage - at @ found[:3])
        weighted = share[..., None] * at
        cross = loads[:, None] * moments(weighted)
        within = jnp.outer(loads, loads) * effects + s2 * jnp.diag(margins)
        found += jnp.linalg.solve(
            jnp.block([[jnp.einsum("ijk,ijl->kl", weighted, at), cross.T], [cross, within]]),
            jnp.concatenate([jnp.einsum("ijk,ij->k", at, gap),
                             loads * moments(gap) - s2 * margins * found[3:]]),
        )  # fmt: skip
    return found[:2]


@jax.jit
def fitted_cells(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, wage_variance: jax.Array,
    x: jax.Array, y: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Wages, of the same mean, and shares of the cells in the model."""
    solved = matching_at(affinity, share, x, y)
    fitted = _terms(solved)[..., :2] @ _wage_equation(solved, share, mean_wage, wage_variance)
    return fitted + jnp.sum(share * (mean_wage - fitted)), solved.matches
