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
from jax.custom_batching import custom_vmap
from jax.scipy.sparse.linalg import cg

from matching.kernel import DenseMatches
from matching.market import Matched

# Up to this many types on the smaller side a dense system is eliminated.
_DIRECT = 300
# Steps of conjugate gradients, and the residual at which they end; the certificate checks anew.
_CG_STEPS, _CG_TOLERANCE = 500, 1e-11
# Pivots are taken one at a time inside a block of this many rows; blocks meet by matrix products.
_BLOCK = 32
# A loop over pivots compiles fast; unrolled it runs ten times faster, which pays in a large batch.
_MANY, _UNROLLED = 64, 12


def solve_margins(
    matched: Matched,
    gap_x: jax.Array,
    gap_y: jax.Array,
    rhs_x: jax.Array,
    rhs_y: jax.Array,
    *,
    grounded: bool = False,
    tolerance: float = _CG_TOLERANCE,
) -> tuple[jax.Array, jax.Array]:
    """Solve ``M [z_x; z_y] = [rhs_x; rhs_y]`` for matches ``π (N, J)`` and nonnegative gaps.

    Small dense matches are eliminated, the larger side first; large ones, and those that are no
    matrix, are left to conjugate gradients on the Schur complement of the firms, to a residual of
    ``tolerance``. ``grounded`` says that the only gap is one firm type's, which pins the gauge.
    """
    matches = matched.matches
    if isinstance(matches, DenseMatches) and min(matches.pi.shape) <= _DIRECT:
        return _by_elimination(matches.pi, gap_x, gap_y, rhs_x, rhs_y)
    return _by_conjugate_gradients(matched, gap_x, gap_y, rhs_x, rhs_y, grounded, tolerance)


def _by_conjugate_gradients(
    matched: Matched,
    gap_x: jax.Array,
    gap_y: jax.Array,
    rhs_x: jax.Array,
    rhs_y: jax.Array,
    grounded: bool,
    tolerance: float,
) -> tuple[jax.Array, jax.Array]:
    ground = jnp.argmax(gap_y)
    if grounded:  # without the gap the system is singular, but consistent and better conditioned
        gap_y = jnp.zeros_like(gap_y)
    diagonal_x, diagonal_y = gap_x + matched.workers, gap_y + matched.firms
    inverse = _reciprocal(diagonal_x)
    # in units of the firms' own diagonal the system has ones on it, whatever the masses
    root = jnp.sqrt(jnp.where(diagonal_y > 0, diagonal_y, 1.0))

    def times(z: jax.Array) -> jax.Array:
        return matched.matches.times(z[:, None])[:, 0]

    def transposed_times(z: jax.Array) -> jax.Array:
        return matched.matches.transposed_times(z[:, None])[:, 0]

    def schur(z: jax.Array) -> jax.Array:
        return (diagonal_y * (z / root) - transposed_times(inverse * times(z / root))) / root

    rhs = (rhs_y + transposed_times(inverse * rhs_x)) / root
    if grounded:  # what rounding put along the null vector has no solution
        null = jnp.where(diagonal_y > 0, root, 0.0)
        rhs -= null * (null @ rhs) / (null @ null)
    z, _ = cg(schur, rhs, tol=tolerance, maxiter=_CG_STEPS)
    z_y = z / root
    if grounded:
        z_y -= z_y[ground]
    return inverse * (rhs_x + times(z_y)), z_y


def _by_elimination(
    matches: jax.Array, gap_x: jax.Array, gap_y: jax.Array, rhs_x: jax.Array, rhs_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    if matches.shape[0] < matches.shape[1]:
        z_y, z_x = _by_elimination(matches.T, gap_y, gap_x, rhs_y, rhs_x)
        return z_x, z_y
    diagonal = gap_x + matches.sum(1)
    inverse = _reciprocal(diagonal)
    share = matches * inverse[:, None]  # the probability of leaving worker type i for firm type j
    z_y = _solve(
        matches.T @ share, gap_y + share.T @ gap_x, (rhs_y + share.T @ rhs_x)[:, None]
    )[:, 0]  # fmt: skip
    return inverse * rhs_x + share @ z_y, z_y


def _solve(weights: jax.Array, gap: jax.Array, rhs: jax.Array) -> jax.Array:
    """Solve ``(diag(gap + W 1) − W) z = rhs``, ``rhs (n, k)``, block of rows by block of rows."""
    n, size = weights.shape[0], _BLOCK
    if n <= size:
        return _eliminate(weights, gap, rhs)
    blocks = -(-n // size)
    spare = blocks * size - n  # padding rows stand alone
    weights = jnp.pad(weights, (0, spare))
    gap = jnp.pad(gap, (0, spare), constant_values=1.0)
    rhs = jnp.pad(rhs, ((0, spare), (0, 0)))
    index = jnp.arange(blocks * size)

    def forward(block: jax.Array, state: tuple) -> tuple:
        w, c, r = state
        start = block * size
        later = index >= start + size
        rows = lax.dynamic_slice_in_dim(w, start, size)
        own_c, own_r = (lax.dynamic_slice_in_dim(v, start, size) for v in (c, r))
        onward = jnp.where(later[None, :], rows, 0.0)
        solved = _eliminate(
            lax.dynamic_slice_in_dim(rows, start, size, axis=1),
            own_c + onward.sum(1),
            jnp.concatenate([onward, own_c[:, None], own_r], axis=1),
        )
        onward, to_gap, own_r = jnp.split(solved, [index.size, index.size + 1], axis=1)
        back = jnp.where(later[:, None], lax.dynamic_slice_in_dim(w, start, size, axis=1), 0.0)
        w, c, r = w + back @ onward, c + (back @ to_gap)[:, 0], r + back @ own_r
        # the finished rows now hold what back substitution needs
        return (
            lax.dynamic_update_slice_in_dim(w, onward, start, axis=0),
            c,
            lax.dynamic_update_slice_in_dim(r, own_r, start, axis=0),
        )

    def backward(step: jax.Array, z: jax.Array) -> jax.Array:
        start = (blocks - 1 - step) * size
        rows, own = (lax.dynamic_slice_in_dim(v, start, size) for v in (w, r))
        return lax.dynamic_update_slice_in_dim(z, own + rows @ z, start, axis=0)

    w, _, r = lax.fori_loop(0, blocks, forward, (weights, gap, rhs))
    return lax.fori_loop(0, blocks, backward, jnp.zeros_like(rhs))[:n]


@custom_vmap
def _eliminate(weights: jax.Array, gap: jax.Array, rhs: jax.Array) -> jax.Array:
    n = weights.shape[0]
    index = jnp.arange(n)

    def forward(k: jax.Array, state: tuple) -> tuple:
        w, c, r, inverse = state
        later = index > k
        row = jnp.where(later, w[k], 0.0)
        inv = _reciprocal(c[k] + row.sum())
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


@_eliminate.def_vmap
def _eliminate_batch(
    axis_size: int, batched: list[bool], weights: jax.Array, gap: jax.Array, rhs: jax.Array
) -> tuple[jax.Array, bool]:
    """Many right-hand sides of one matrix are columns; many matrices take their pivots unrolled."""
    if not any(batched[:2]):
        columns = jnp.moveaxis(rhs, 0, 1)
        solved = _eliminate(weights, gap, columns.reshape(len(gap), -1))
        return jnp.moveaxis(solved.reshape(columns.shape), 1, 0), True
    axes = tuple(0 if on else None for on in batched)
    unrolled = axis_size >= _MANY and weights.shape[-1] <= _UNROLLED
    one = _eliminate_unrolled if unrolled else _eliminate.fun
    return jax.vmap(one, axes)(weights, gap, rhs), True


def _eliminate_unrolled(weights: jax.Array, gap: jax.Array, rhs: jax.Array) -> jax.Array:
    w, c, r, pivots = weights, gap, rhs, []
    while len(c):
        row = w[0, 1:]
        inv = _reciprocal(c[0] + row.sum())
        column = w[1:, 0] * inv
        pivots.append((row, inv, r[0]))
        w = w[1:, 1:] + column[:, None] * row[None, :]
        r = r[1:] + column[:, None] * r[0][None, :]
        c = c[1:] + column * c[0]
    z = rhs[:0]
    for row, inv, top in reversed(pivots):
        z = jnp.concatenate([(inv * (top + row @ z))[None], z])
    return z


def _reciprocal(value: jax.Array) -> jax.Array:
    """``1/value``; zero for a type that no one can reach."""
    return jnp.where(value > 0, 1.0 / jnp.where(value > 0, value, 1.0), 0.0)
