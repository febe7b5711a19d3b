"""Linear systems of the scarcity constraints, solved without a single subtraction.

The Hessian of the matching problem is, up to the sign of one side, the M-matrix

    M = [ diag(gap_x + π 1)      −π           ]
        [      −π'         diag(gap_y + π'1)  ]

whose row sums, the gaps, come from the unmatched. Where matches are nearly sure the gaps are tiny
beside ``π`` and a Cholesky factor loses them. Elimination that carries the gaps along instead of
the diagonal (Grassmann, Taksar and Heyman 1985; Alfa, Xue and Ye 2002) never subtracts, so
every entry of the inverse is right to rounding however near the matrix is to singular.
"""

import jax
import jax.numpy as jnp
from jax import lax

# Below this size elimination runs one pivot at a time, above it in halves by matrix products.
_LEAF = 32


def solve_margins(
    matches: jax.Array, gap_x: jax.Array, gap_y: jax.Array, rhs_x: jax.Array, rhs_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Solve ``M [z_x; z_y] = [rhs_x; rhs_y]`` for matches ``π (N, J)`` and nonnegative gaps.

    The larger side is eliminated first, so the cost is ``N J min(N, J)``.
    """
    if matches.shape[0] < matches.shape[1]:
        z_y, z_x = solve_margins(matches.T, gap_y, gap_x, rhs_y, rhs_x)
        return z_x, z_y
    diagonal = gap_x + matches.sum(1)
    inverse = jnp.where(diagonal > 0, 1.0 / jnp.where(diagonal > 0, diagonal, 1.0), 0.0)
    share = matches * inverse[:, None]  # the probability of leaving worker type i for firm type j
    z_y = _solve(
        matches.T @ share, gap_y + share.T @ gap_x, (rhs_y + share.T @ rhs_x)[:, None]
    )[:, 0]  # fmt: skip
    return inverse * rhs_x + share @ z_y, z_y


def _solve(weights: jax.Array, gap: jax.Array, rhs: jax.Array) -> jax.Array:
    """Solve ``(diag(gap + W 1) − W) z = rhs`` for several right-hand sides, ``(n, k)``."""
    n = weights.shape[0]
    if n <= _LEAF:
        return _eliminate(weights, gap, rhs)
    half = n // 2
    head, tail = slice(None, half), slice(half, None)
    coupling, back = weights[head, tail], weights[tail, head]
    solved = _solve(
        weights[head, head],
        gap[head] + coupling.sum(1),
        jnp.concatenate([coupling, gap[head, None], rhs[head]], axis=1),
    )
    to_tail, to_gap, own = jnp.split(solved, [n - half, n - half + 1], axis=1)
    z_tail = _solve(
        weights[tail, tail] + back @ to_tail,
        gap[tail] + (back @ to_gap)[:, 0],
        rhs[tail] + back @ own,
    )
    return jnp.concatenate([own + to_tail @ z_tail, z_tail])


def _eliminate(weights: jax.Array, gap: jax.Array, rhs: jax.Array) -> jax.Array:
    n = weights.shape[0]
    index = jnp.arange(n)

    def forward(k: jax.Array, state: tuple) -> tuple:
        w, c, r, inverse = state
        later = index > k
        row = jnp.where(later, w[k], 0.0)
        pivot = c[k] + row.sum()
        inv = jnp.where(pivot > 0, 1.0 / jnp.where(pivot > 0, pivot, 1.0), 0.0)
        column = jnp.where(later, w[:, k], 0.0) * inv
        return (
            w + column[:, None] * row[None, :],
            c + column * c[k],
            r + column[:, None] * r[k][None, :],
            inverse.at[k].set(inv),
        )

    def backward(step: jax.Array, z: jax.Array) -> jax.Array:
        k = n - 1 - step
        row = jnp.where(index > k, w[k], 0.0)
        return z.at[k].set(inverse[k] * (r[k] + row @ z))

    w, _, r, inverse = lax.fori_loop(0, n, forward, (weights, gap, rhs, jnp.zeros_like(gap)))
    return lax.fori_loop(0, n, backward, jnp.zeros_like(rhs))
