"""Linear systems of the scarcity constraints, solved without a single subtraction.

The Hessian of the matching problem is, up to the sign of one side, the M-matrix

    M = [ diag(gap_x + π 1)      −π           ]
        [      −π'         diag(gap_y + π'1)  ]

whose row sums, the gaps, come from the unmatched. Where matches are nearly sure the gaps are tiny
beside ``π`` and a Cholesky factor loses them. Elimination that carries the gaps along instead of
the diagonal (Grassmann, Taksar and Heyman 1985; Alfa, Xue and Ye 2002) never subtracts, so
every entry of the inverse is right to rounding however near the matrix is to singular.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from matching.kernel import DIRECT, DenseMatches
from matching.market import Matched

# So many types of the smaller side are eliminated in the time of a few sweeps of fitting.
FEW = 32
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
    tolerance: float | jax.Array = _CG_TOLERANCE,
) -> tuple[jax.Array, jax.Array]:
    """Solve ``M [z_x; z_y] = [rhs_x; rhs_y]`` for matches ``π (N, J)`` and nonnegative gaps.

    Small dense matches are eliminated, the larger side first; large ones, and those that are no
    matrix, are left to conjugate gradients on the Schur complement of the firms, to a residual of
    ``tolerance``. ``grounded`` says that the only gap is one firm type's, which pins the gauge.
    """
    matches = matched.matches
    if isinstance(matches, DenseMatches) and min(len(rhs_x), len(rhs_y)) <= DIRECT:
        z = _by_elimination(matches.pi, gap_x, gap_y, rhs_x[:, None], rhs_y[:, None])
        return z[0][:, 0], z[1][:, 0]
    return _by_conjugate_gradients(matched, gap_x, gap_y, rhs_x, rhs_y, grounded, tolerance)


def _by_conjugate_gradients(
    matched: Matched,
    gap_x: jax.Array,
    gap_y: jax.Array,
    rhs_x: jax.Array,
    rhs_y: jax.Array,
    grounded: bool,
    tolerance: float | jax.Array,
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

    def schur(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The system, and what workers are matched for it."""
        met = times(z / root)
        return (diagonal_y * (z / root) - transposed_times(inverse * met)) / root, met

    rhs = (rhs_y + transposed_times(inverse * rhs_x)) / root
    if grounded:  # what rounding put along the null vector has no solution
        null = jnp.where(diagonal_y > 0, root, 0.0)
        rhs -= null * (null @ rhs) / (null @ null)
    z, met = _conjugate_gradients(schur, rhs, tolerance)
    z_y = z / root
    if grounded:
        shift = z_y[ground]
        return inverse * (rhs_x + met - shift * matched.workers), z_y - shift
    return inverse * (rhs_x + met), z_y


class _Search(NamedTuple):
    z: jax.Array
    met: jax.Array
    residual: jax.Array
    direction: jax.Array
    square: jax.Array  # of the residual's length
    steps: jax.Array


def _conjugate_gradients(
    system: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    rhs: jax.Array,
    tolerance: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Solve ``A z = rhs``; ``system`` gives ``A d`` and ``B d``, and so ``B z`` comes with ``z``.

    Steps end at a residual of ``tolerance`` times that of zero.
    """
    square = rhs @ rhs
    least = tolerance**2 * square

    def unfinished(state: _Search) -> jax.Array:
        return (state.square > least) & (state.steps < _CG_STEPS)

    def step(state: _Search) -> _Search:
        onward, met = system(state.direction)
        length = state.square / (state.direction @ onward)
        residual = state.residual - length * onward
        square = residual @ residual
        return _Search(
            z=state.z + length * state.direction,
            met=state.met + length * met,
            residual=residual,
            direction=residual + square / state.square * state.direction,
            square=square,
            steps=state.steps + 1,
        )

    # nothing is solved where that is not finite, and the answer says so
    zero = 0.0 * square
    z, met = (jnp.full_like(like, zero) for like in (rhs, jax.eval_shape(system, rhs)[1]))
    begin = _Search(z, met, rhs, rhs, square, jnp.asarray(0))
    end = lax.while_loop(unfinished, step, begin)
    return end.z, end.met


@custom_vmap
def _by_elimination(
    matches: jax.Array, gap_x: jax.Array, gap_y: jax.Array, rhs_x: jax.Array, rhs_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Solve for the columns of right-hand sides ``(N, k)`` and ``(J, k)``."""
    return _eliminated(matches, gap_x, gap_y, rhs_x, rhs_y, unrolled=False)


@_by_elimination.def_vmap
def _by_elimination_batch(
    axis_size: int, batched: list[bool], *system: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[bool, bool]]:
    """Many right-hand sides of one matrix are columns; many small ones take pivots unrolled."""
    axes = tuple(0 if on else None for on in batched)
    if not any(batched[:3]):
        columns = jax.vmap(lambda *rhs: rhs, axes[3:], 2, axis_size=axis_size)(*system[3:])
        solved = _by_elimination(*system[:3], *(c.reshape(len(c), -1) for c in columns))
        z_x, z_y = (z.reshape(c.shape) for z, c in zip(solved, columns, strict=True))
        return (jnp.moveaxis(z_x, 2, 0), jnp.moveaxis(z_y, 2, 0)), (True, True)
    unrolled = axis_size >= _MANY and min(system[0].shape[-2:]) <= _UNROLLED
    return jax.vmap(partial(_eliminated, unrolled=unrolled), axes)(*system), (True, True)


def _eliminated(
    matches: jax.Array,
    gap_x: jax.Array,
    gap_y: jax.Array,
    rhs_x: jax.Array,
    rhs_y: jax.Array,
    unrolled: bool,
) -> tuple[jax.Array, jax.Array]:
    """Eliminate the larger side, then the smaller one pivot by pivot."""
    n = matches.shape[1]
    if len(matches) < n:
        z_y, z_x = _eliminated(matches.T, gap_y, gap_x, rhs_y, rhs_x, unrolled)
        return z_x, z_y
    # where worker types lead: to each firm type, to no match, and to a right-hand side
    leads = jnp.concatenate([matches, gap_x[:, None], rhs_x], axis=1)
    leads = leads * _reciprocal(gap_x + matches.sum(1))[:, None]
    own = jnp.concatenate([jnp.zeros((n, n)), gap_y[:, None], rhs_y], axis=1)
    rows = own + matches.T @ leads
    z_y = _solve_unrolled(rows) if unrolled else _solve(rows)
    return leads[:, n + 1 :] + leads[:, :n] @ z_y, z_y


def _solve(rows: jax.Array) -> jax.Array:
    """Solve ``(diag(c + W 1) − W) z = r`` for rows ``[W | c | r]``, block of rows by block."""
    n, size = len(rows), _BLOCK
    if n <= size:
        return _eliminate(rows)
    blocks = -(-n // size)
    spare = blocks * size - n  # padding rows stand alone
    weights, gap, rhs = jnp.split(rows, [n, n + 1], axis=1)
    weights = jnp.pad(weights, (0, spare))
    gap = jnp.pad(gap, ((0, spare), (0, 0)), constant_values=1.0)
    rows = jnp.concatenate([weights, gap, jnp.pad(rhs, ((0, spare), (0, 0)))], axis=1)
    end = blocks * size
    index = jnp.arange(rows.shape[1])

    def forward(block: jax.Array, rows: jax.Array) -> jax.Array:
        start = block * size
        own = lax.dynamic_slice_in_dim(rows, start, size)
        inside = lax.dynamic_slice_in_dim(own, start, size, axis=1)
        onward = jnp.where(index[None, :] >= start + size, own, 0.0)
        leaving = onward[:, : end + 1].sum(1)
        solved = _eliminate(jnp.concatenate([inside, leaving[:, None], onward], axis=1))
        back = lax.dynamic_slice_in_dim(rows, start, size, axis=1)
        rows += jnp.where(index[:end, None] >= start + size, back, 0.0) @ solved
        # the finished rows now hold what back substitution needs
        return lax.dynamic_update_slice_in_dim(rows, solved, start, axis=0)

    def backward(step: jax.Array, z: jax.Array) -> jax.Array:
        start = (blocks - 1 - step) * size
        own = lax.dynamic_slice_in_dim(rows, start, size)
        found = own[:, end + 1 :] + own[:, :end] @ z
        return lax.dynamic_update_slice_in_dim(z, found, start, axis=0)

    rows = lax.fori_loop(0, blocks, forward, rows)
    return lax.fori_loop(0, blocks, backward, jnp.zeros_like(rows[:, end + 1 :]))[:n]


def _eliminate(rows: jax.Array) -> jax.Array:
    """Each pivot's row, divided by what leaves it, replaces the pivot in all other rows."""
    n = len(rows)
    index = jnp.arange(rows.shape[1])

    def pivot(k: jax.Array, rows: jax.Array) -> jax.Array:
        onward = jnp.where(index > k, rows[k], 0.0)
        onward *= _reciprocal(onward[: n + 1].sum())
        others = jnp.where(index[:n] == k, 0.0, rows[:, k])
        return (rows + others[:, None] * onward[None, :]).at[k].set(onward)

    return lax.fori_loop(0, n, pivot, rows)[:, n + 1 :]


def _solve_unrolled(rows: jax.Array) -> jax.Array:
    """The same, with the columns of past pivots dropped."""
    n, solved = len(rows), rows[:0]
    for left in reversed(range(n)):
        onward = rows[0, 1:]
        onward *= _reciprocal(onward[: left + 1].sum())
        solved = solved[:, 1:] + solved[:, :1] * onward[None, :]
        solved = jnp.concatenate([solved, onward[None, :]])
        rows = rows[1:, 1:] + rows[1:, :1] * onward[None, :]
    return solved[:, 1:]


def _reciprocal(value: jax.Array) -> jax.Array:
    """``1/value``; zero for a type that no one can reach."""
    return jnp.where(value > 0, 1.0 / jnp.where(value > 0, value, 1.0), 0.0)
