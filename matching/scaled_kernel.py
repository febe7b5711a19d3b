"""The kernel as a table between two diagonal scalings: products are all it costs.

``exp(u_i·v_j) = exp(shift_x_i + shift_y_j) (table_ij + e_ij)``, ``|e_ij| ≤ error_x_i error_y_j``.
The scalings absorb what is large, so that the table lies in [0, 1] and nothing overflows, and the
potentials join them without touching the table, which is a matrix (:class:`Cells`) or the product
of two thin ones (:class:`Features`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import register_dataclass

from matching.kernel import DenseMatches, Factors, Kernel, Matches, log_matches_if_small

# Sums over either side of stored exponentials keep their digits without another scaling while no
# row's log affinities range over more: terms that underflow are e^-400 beside the largest.
STORED_RANGE = 300.0
# Indices that need no look at their bounds.
_WITHIN: Any = {"mode": "promise_in_bounds", "wrap_negative_indices": False}
# Rows of a stored matrix that meet in one step of a transposed product.
_BLOCK = 64


class Table(Protocol):
    """A matrix ``(N, J)`` behind its products."""

    name: str

    @property
    def rank(self) -> int:
        """Features of each row."""

    def times(self, values: jax.Array) -> jax.Array:
        """``table values``, from ``(J, k)`` to ``(N, k)``."""

    def flipped(self) -> "Table":
        """The transposed table."""

    def rows(self, start: int, stop: int) -> "Table":
        """Some rows alone."""


class Group(NamedTuple):
    """Features of some types, each a row, or factors whose products they are."""

    factors: tuple[jax.Array, ...]  # each (its own features, N)
    which: tuple[jax.Array, ...]  # of each factor the rows that are multiplied, (rank,); or none

    @property
    def rank(self) -> int:
        """How many features there are."""
        return len(self.which[0] if self.which else self.factors[0])

    def kept(self) -> "Group":
        """The same, formed for all types."""
        return Group((self.features(0, self.factors[0].shape[1]),), ())

    def features(self, start: Any, size: int) -> jax.Array:
        """Those of so many types, ``(rank, size)``."""
        some = [_slice(values, start, size) for values in self.factors]
        if not self.which:
            return some[0]
        rows = [a.at[k].get(**_WITHIN) for a, k in zip(some, self.which, strict=True)]
        return prod(rows[1:], start=rows[0])


@partial(register_dataclass, data_fields=["left", "right"], meta_fields=["at_once"])
@dataclass(frozen=True)
class Features:
    """``table_ij = Π_g Σ_k left_gki right_gkj`` over one group of features or two.

    Those of a lone group are kept. Products of two groups' features are summed by matrix products
    and never formed: they cost time, of which they take little where so many types at once stay in
    a processor's cache, and no memory.
    """

    left: tuple[Group, ...]  # of N types
    right: tuple[Group, ...]  # of J types
    at_once: int

    name = "low rank"

    @property
    def rank(self) -> int:  # noqa: D102
        return sum(group.rank for group in self.left)

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        if len(self.left) == 1:
            (left,), (right,) = self.left[0].factors, self.right[0].factors
            return ((right @ values).T @ left).T

        def column(weights: jax.Array) -> jax.Array:
            # a number for every product of features
            core = _weighted_gram(*self.right, weights, at_once=self.at_once)
            return _forms(*self.left, core, at_once=self.at_once)

        if values.shape[1] == 1:  # a mapped loop is larger
            return column(values[:, 0])[:, None]
        return jax.vmap(column, 1, 1)(values)

    def flipped(self) -> "Features":  # noqa: D102
        return replace(self, left=self.right, right=self.left)

    def kept(self) -> "Features":
        """The same, no feature formed anew."""
        left, right = (tuple(map(Group.kept, side)) for side in (self.left, self.right))
        return replace(self, left=left, right=right)

    def rows(self, start: int, stop: int) -> "Features":  # noqa: D102
        def some(group: Group) -> Group:
            return group._replace(factors=tuple(f[:, start:stop] for f in group.factors))

        return replace(self, left=tuple(map(some, self.left)))


@partial(jax.jit, static_argnames="at_once")  # traced once, wherever a program takes it
def _weighted_gram(a: Group, b: Group, weights: jax.Array, at_once: int) -> jax.Array:
    """``Σ_i a_ki w_i b_li``, so many types at once."""
    count = len(weights)

    def further(done: jax.Array, start: Any, size: int, fresh: Any) -> jax.Array:
        some = jnp.where(jnp.arange(size) >= fresh, _slice(weights, start, size), 0.0)
        return done + (a.features(start, size) * some[None, :]) @ b.features(start, size).T

    return in_parts(further, jnp.zeros((a.rank, b.rank)), count, at_once)


@partial(jax.jit, static_argnames="at_once")
def _forms(a: Group, b: Group, core: jax.Array, at_once: int) -> jax.Array:
    """``Σ_kl a_ki core_kl b_li`` of each type ``i``, so many at once."""
    count = a.factors[0].shape[1]

    def further(done: jax.Array, start: Any, size: int, fresh: Any) -> jax.Array:
        del fresh
        form = jnp.sum(a.features(start, size) * (core @ b.features(start, size)), axis=0)
        return lax.dynamic_update_slice(done, form, (start,), allow_negative_indices=False)

    return in_parts(further, jnp.zeros(count), count, at_once)


def in_parts(further: Callable[..., Any], done: Any, count: int, at_once: int) -> Any:
    """What ``further(done, start, size, fresh)`` makes of a count, so many at once.

    Of the last part some are another's: all before ``fresh``.
    """
    parts = -(-count // at_once)
    if parts <= 1:
        return further(done, 0, count, 0)
    size = -(-count // parts)

    def part(k: jax.Array, done: Any) -> Any:
        start = jnp.minimum(k * size, count - size)
        return further(done, start, size, k * size - start)

    return lax.fori_loop(0, parts, part, done)


def _slice(values: jax.Array, start: Any, size: int) -> jax.Array:
    """So many of the last axis."""
    if values.shape[-1] == size:
        return values
    starts, sizes = [0] * (values.ndim - 1), values.shape[:-1]
    return lax.dynamic_slice(values, (*starts, start), (*sizes, size), allow_negative_indices=False)


@partial(register_dataclass, data_fields=["blocks"], meta_fields=["count", "transposed"])
@dataclass(frozen=True)
class Cells:
    """A stored matrix of ``count`` rows, or its transpose, in blocks of rows.

    A transposed product sums a block's rows before it adds up blocks: either way the matrix is
    read once, in the order in which it lies in memory.
    """

    blocks: jax.Array  # (B, b, J); rows after the last are zero
    count: int
    transposed: bool = False

    name = "dense"

    @property
    def rank(self) -> int:  # noqa: D102
        return min(self.count, self.blocks.shape[2])

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        number, size, _ = self.blocks.shape
        if not self.transposed:
            product = jnp.einsum("bij,jk->bik", self.blocks, values)
            return product.reshape(number * size, -1)[: self.count]
        padded = jnp.pad(values, ((0, number * size - self.count), (0, 0)))
        padded = padded.reshape(number, size, -1)
        return jnp.einsum("bij,bik->bjk", self.blocks, padded).sum(0)

    def flipped(self) -> "Cells":  # noqa: D102
        return replace(self, transposed=not self.transposed)

    def rows(self, start: int, stop: int) -> "Cells":  # noqa: D102
        rows = self.blocks.reshape(-1, self.blocks.shape[2])[start:stop]
        return cells(rows)


def cells(matrix: jax.Array) -> Cells:
    """A matrix ``(N, J)`` as :class:`Cells`."""
    count, columns = matrix.shape
    padded = jnp.pad(matrix, ((0, -count % _BLOCK), (0, 0)))
    return Cells(padded.reshape(-1, _BLOCK, columns), count)


@partial(
    register_dataclass,
    data_fields=["u", "v", "table", "shift_x", "shift_y", "error_x", "error_y"],
    meta_fields=[],
)
@dataclass(frozen=True)
class ScaledKernel:
    """``exp(u_i·v_j)`` as a table between scalings, with the bound on its error.

    The table is found outside of any trace; derivatives go through ``u`` and ``v``.
    """

    u: jax.Array  # (N, d)
    v: jax.Array  # (J, d)
    table: Table  # (N, J)
    shift_x: jax.Array  # (N,)
    shift_y: jax.Array  # (J,)
    error_x: jax.Array  # (N,)
    error_y: jax.Array  # (J,)

    shrinks = False

    @property
    def name(self) -> str:  # noqa: D102
        return self.table.name

    @property
    def log_affinity(self) -> jax.Array:  # noqa: D102
        return Factors(self.u, self.v).product

    @property
    def magnitude(self) -> jax.Array:  # noqa: D102
        return Factors(self.u, self.v).magnitude

    def of(self, u: jax.Array, v: jax.Array) -> "ScaledKernel":
        """This kernel with derivatives through ``u`` and ``v``; NaN if they are not its own."""
        own = _near(u, self.u) & _near(v, self.v)
        return replace(self, u=u, v=v, shift_x=jnp.where(own, self.shift_x, jnp.nan))

    def prepared(self) -> "ScaledKernel":  # noqa: D102
        return self

    def fastest(self) -> "ScaledKernel":  # noqa: D102
        return self

    def scaled(self, kappa: jax.Array) -> "ScaledKernel":  # noqa: D102
        del kappa
        return self

    def flipped(self) -> "ScaledKernel":
        """The kernel with the two sides exchanged."""
        return ScaledKernel(
            self.v, self.u, self.table.flipped(), self.shift_y, self.shift_x, self.error_y,
            self.error_x,
        )  # fmt: skip

    def log_row_sums(self, column: jax.Array) -> jax.Array:
        """``log Σ_j exp(u_i·v_j + column_j)``; a sum lost in the table's error is that error."""
        column = self.shift_y + column
        top = column.max()
        scale = jnp.exp(column - top)
        total = self.table.times(scale[:, None])[:, 0]
        least = self.error_x * (self.error_y @ scale)
        return jnp.log(jnp.maximum(total, least)) + top + self.shift_x

    def log_column_sums(self, row: jax.Array) -> jax.Array:  # noqa: D102
        return self.flipped().log_row_sums(row)

    def matches(self, row: jax.Array, column: jax.Array) -> "ScaledMatches":  # noqa: D102
        return ScaledMatches(self, row, column, *_balanced(self, row, column))


def stored_kernel(log_affinity: jax.Array) -> ScaledKernel:
    """The exponentials of a log affinity ``(N, J)``, each row scaled to a largest one of 1."""
    top = log_affinity.max(1)
    rows, columns = log_affinity.shape
    return ScaledKernel(
        u=jnp.zeros((rows, 0)),
        v=jnp.zeros((columns, 0)),
        table=cells(jnp.exp(log_affinity - top[:, None])),
        shift_x=top,
        shift_y=jnp.zeros(columns),
        error_x=jnp.zeros(rows),
        error_y=jnp.zeros(columns),
    )


@partial(
    register_dataclass,
    data_fields=["kernel", "row", "column", "scale_x", "scale_y"],
    meta_fields=[],
)
@dataclass(frozen=True)
class ScaledMatches:
    """``π_ij = scale_x_i table_ij scale_y_j = exp(u_i·v_j + row_i + column_j)``."""

    kernel: ScaledKernel
    row: jax.Array
    column: jax.Array
    scale_x: jax.Array
    scale_y: jax.Array

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        scales = self.scale_x, self.scale_y
        return _times(self.kernel, self.row, self.column, scales, values)

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        scales = self.scale_y, self.scale_x
        return _times(self.kernel.flipped(), self.column, self.row, scales, values)

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        error_x, error_y = self.scale_x * self.kernel.error_x, self.scale_y * self.kernel.error_y
        return error_x * error_y.sum(), error_y * error_x.sum()

    @property
    def log_cells(self) -> jax.Array | None:  # noqa: D102
        return log_matches_if_small(self.kernel, self.row, self.column)

    def rows(self, start: int, stop: int) -> "ScaledMatches":  # noqa: D102
        k = self.kernel
        part = replace(
            k, u=k.u[start:stop], table=k.table.rows(start, stop), shift_x=k.shift_x[start:stop],
            error_x=k.error_x[start:stop],
        )  # fmt: skip
        return replace(
            self, kernel=part, row=self.row[start:stop], scale_x=self.scale_x[start:stop]
        )


def bare(matches: Matches) -> Matches:
    """The same without a large kernel, of which a compiled program would hand back a copy."""
    if isinstance(matches, DenseMatches) and isinstance(matches.kernel.affinity, Factors):
        return matches
    if isinstance(matches, (DenseMatches, ScaledMatches)):
        return replace(matches, kernel=None)  # type: ignore[arg-type]
    return matches


def dressed(matches: Matches, kernel: Kernel) -> Matches:
    """What :func:`bare` has left, with its kernel."""
    if isinstance(matches, (DenseMatches, ScaledMatches)) and matches.kernel is None:
        return replace(matches, kernel=kernel)
    return matches


def _near(factor: jax.Array, own: jax.Array) -> jax.Array:
    """Whether a factor is the one that the table was made for, but for rounding."""
    distance = jnp.abs(lax.stop_gradient(factor) - own).max()
    return distance <= 1e-12 * jnp.abs(own).max()


def _balanced(
    kernel: ScaledKernel, row: jax.Array, column: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two diagonal scalings, the larger exponents moved to the rows; no derivatives in them."""
    row, column = lax.stop_gradient((kernel.shift_x + row, kernel.shift_y + column))
    top = column.max()
    return jnp.exp(row + top), jnp.exp(column - top)


@jax.custom_jvp
def _times(
    kernel: ScaledKernel,
    row: jax.Array,
    column: jax.Array,
    scales: tuple[jax.Array, jax.Array],
    values: jax.Array,
) -> jax.Array:
    """``π values``; ``scales`` are those that rows and columns make."""
    del row, column  # by which the product is differentiated
    return scales[0][:, None] * kernel.table.times(scales[1][:, None] * values)


@_times.defjvp
def _times_jvp(primals: Any, tangents: Any) -> Any:
    """``dπ_ij/π_ij = du_i·v_j + u_i·dv_j + drow_i + dcolumn_j``; products cost no more for it."""
    *matches, values = primals
    kernel = matches[0]
    d_kernel, d_row, d_column, _, d_values = tangents

    def times(weights: jax.Array) -> jax.Array:
        return _times(*matches, weights)

    result = times(values)
    change = d_row[:, None] * result + times(d_values + d_column[:, None] * values)
    for k in range(kernel.u.shape[1]):
        change += d_kernel.u[:, k, None] * times(kernel.v[:, k, None] * values)
        change += kernel.u[:, k, None] * times(d_kernel.v[:, k, None] * values)
    return result, change
