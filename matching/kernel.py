"""Kernels: sums of ``π_ij = exp(u_i·v_j + row_i + column_j)`` over one side of the market.

``u_i·v_j`` is the log affinity ``x'Φy/λ`` of a pair, row and column its potentials and weights.
Three kernels answer the same questions:

- :class:`DenseKernel` keeps the ``N × J`` matrix of logs;
- :class:`StreamedKernel` forms it block by block and never keeps it;
- :class:`LowRankKernel` keeps features (:mod:`matching.low_rank`): the exponential of bounded
  arguments has a tiny numerical rank, so ``N J`` becomes ``(N + J) rank``.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass


class Matches(Protocol):
    """Masses ``π_ij`` behind the products that solvers and statistics need."""

    def times(self, values: jax.Array) -> jax.Array:
        """``π values``, from ``(J, k)`` to ``(N, k)``."""

    def transposed_times(self, values: jax.Array) -> jax.Array:
        """``π' values``, from ``(N, k)`` to ``(J, k)``."""

    def error(self) -> tuple[jax.Array, jax.Array]:
        """Bound on the kernel's error in each row and column sum, ``(N,)`` and ``(J,)``."""

    def rows(self, start: int, stop: int) -> "Matches":
        """The matches of some worker types alone."""


class Kernel(Protocol):
    """The kernel of a market; a pytree."""

    @property
    def name(self) -> str:
        """``dense``, ``streamed`` or ``low rank``."""

    def of(self, u: jax.Array, v: jax.Array) -> "Kernel":
        """This kernel for factors ``u (N, d)``, ``v (J, d)`` of the log affinity."""

    def scaled(self, kappa: jax.Array) -> "Kernel":
        """The kernel of ``κ u·v``, for continuation; itself where that would cost too much."""

    def largest(self) -> jax.Array:
        """A bound on what continuation has to shrink: ``|u_i·v_j|``, or 0 if it cannot."""

    def log_row_sums(self, column: jax.Array) -> jax.Array:
        """``log Σ_j exp(u_i·v_j + column_j)``, ``(N,)``."""

    def log_column_sums(self, row: jax.Array) -> jax.Array:
        """``log Σ_i exp(u_i·v_j + row_i)``, ``(J,)``."""

    def matches(self, row: jax.Array, column: jax.Array) -> Matches:
        """The matches with these potentials and weights."""


# ---------------------------------------------------------------- dense


@partial(register_dataclass, data_fields=["log_affinity"], meta_fields=[])
@dataclass(frozen=True)
class DenseKernel:
    """The log affinity of every pair, kept; ``(N, J)``."""

    log_affinity: jax.Array

    name = "dense"

    def of(self, u: jax.Array, v: jax.Array) -> "DenseKernel":  # noqa: D102
        return DenseKernel(u @ v.T)

    def scaled(self, kappa: jax.Array) -> "DenseKernel":  # noqa: D102
        return DenseKernel(kappa * self.log_affinity)

    def largest(self) -> jax.Array:  # noqa: D102
        return jnp.abs(self.log_affinity).max()

    def log_row_sums(self, column: jax.Array) -> jax.Array:  # noqa: D102
        return logsumexp(self.log_affinity + column[None, :], axis=1)

    def log_column_sums(self, row: jax.Array) -> jax.Array:  # noqa: D102
        return logsumexp(self.log_affinity + row[:, None], axis=0)

    def matches(self, row: jax.Array, column: jax.Array) -> "DenseMatches":  # noqa: D102
        return DenseMatches(jnp.exp(self.log_affinity + row[:, None] + column[None, :]))


@partial(register_dataclass, data_fields=["pi"], meta_fields=[])
@dataclass(frozen=True)
class DenseMatches:
    """Matches as a matrix."""

    pi: jax.Array  # (N, J)

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return self.pi @ values

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return self.pi.T @ values

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        return jnp.zeros(self.pi.shape[0]), jnp.zeros(self.pi.shape[1])

    def rows(self, start: int, stop: int) -> "DenseMatches":  # noqa: D102
        return DenseMatches(self.pi[start:stop])


# ---------------------------------------------------------------- streamed


@partial(register_dataclass, data_fields=["u", "v"], meta_fields=["block"])
@dataclass(frozen=True)
class StreamedKernel:
    """Rows ``u (N, d)`` and columns ``v (J, d)``; ``block`` rows are formed at a time."""

    u: jax.Array
    v: jax.Array
    block: int

    name = "streamed"

    def of(self, u: jax.Array, v: jax.Array) -> "StreamedKernel":  # noqa: D102
        return StreamedKernel(u, v, self.block)

    def scaled(self, kappa: jax.Array) -> "StreamedKernel":  # noqa: D102
        return StreamedKernel(kappa * self.u, self.v, self.block)

    def largest(self) -> jax.Array:  # noqa: D102
        return jnp.abs(self.u).max(0) @ jnp.abs(self.v).max(0)

    def log_row_sums(self, column: jax.Array) -> jax.Array:  # noqa: D102
        return lax.map(
            lambda u: logsumexp(self.v @ u + column), self.u, batch_size=self.block
        )  # fmt: skip

    def log_column_sums(self, row: jax.Array) -> jax.Array:  # noqa: D102
        return StreamedKernel(self.v, self.u, self._other_block()).log_row_sums(row)

    def matches(self, row: jax.Array, column: jax.Array) -> "StreamedMatches":  # noqa: D102
        return StreamedMatches(self.u, self.v, row, column, self.block, self._other_block())

    def _other_block(self) -> int:
        return max(1, self.block * len(self.v) // len(self.u))


@partial(
    register_dataclass,
    data_fields=["u", "v", "row", "column"],
    meta_fields=["block", "other_block"],
)
@dataclass(frozen=True)
class StreamedMatches:
    """Matches formed block by block at every product."""

    u: jax.Array
    v: jax.Array
    row: jax.Array
    column: jax.Array
    block: int
    other_block: int

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        @jax.checkpoint  # reverse derivatives form the blocks again instead of keeping them
        def one(worker: tuple[jax.Array, jax.Array]) -> jax.Array:
            u, row = worker
            return jnp.exp(self.v @ u + row + self.column) @ values

        return lax.map(one, (self.u, self.row), batch_size=self.block)

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        flipped = StreamedMatches(
            self.v, self.u, self.column, self.row, self.other_block, self.block
        )
        return flipped.times(values)

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        return jnp.zeros(len(self.u)), jnp.zeros(len(self.v))

    def rows(self, start: int, stop: int) -> "StreamedMatches":  # noqa: D102
        u, row = self.u[start:stop], self.row[start:stop]
        return StreamedMatches(u, self.v, row, self.column, self.block, self.other_block)


# ---------------------------------------------------------------- low rank


@partial(
    register_dataclass,
    data_fields=["u", "v", "left", "right", "shift_x", "shift_y", "bound"],
    meta_fields=[],
)
@dataclass(frozen=True)
class LowRankKernel:
    """``exp(u_i·v_j) = exp(shift_x_i + shift_y_j) (left_i·right_j + e_ij)``, ``|e_ij| ≤ bound``.

    ``left (N, r)``, ``right (J, r)``: features of a Gaussian of the distance between ``u_i`` and
    ``v_j``, which is at most one, so that nothing overflows and near pairs keep all their digits.
    They are found outside of any trace; derivatives go through ``u`` and ``v``.
    """

    u: jax.Array
    v: jax.Array
    left: jax.Array
    right: jax.Array
    shift_x: jax.Array
    shift_y: jax.Array
    bound: jax.Array

    name = "low rank"

    def of(self, u: jax.Array, v: jax.Array) -> "LowRankKernel":
        """This kernel with derivatives through ``u`` and ``v``; NaN if they are not its own."""
        own = _near(u, self.u) & _near(v, self.v)
        return replace(self, u=u, v=v, shift_x=jnp.where(own, self.shift_x, jnp.nan))

    def scaled(self, kappa: jax.Array) -> "LowRankKernel":  # noqa: D102
        del kappa
        return self

    def largest(self) -> jax.Array:  # noqa: D102
        return jnp.zeros(())

    def flipped(self) -> "LowRankKernel":
        """The kernel with the two sides exchanged."""
        return LowRankKernel(
            self.v, self.u, self.right, self.left, self.shift_y, self.shift_x, self.bound
        )

    def log_row_sums(self, column: jax.Array) -> jax.Array:  # noqa: D102
        column = self.shift_y + column
        top = column.max()
        return jnp.log(self.left @ (self.right.T @ jnp.exp(column - top))) + top + self.shift_x

    def log_column_sums(self, row: jax.Array) -> jax.Array:  # noqa: D102
        return self.flipped().log_row_sums(row)

    def matches(self, row: jax.Array, column: jax.Array) -> "LowRankMatches":  # noqa: D102
        return LowRankMatches(self, row, column)


@partial(register_dataclass, data_fields=["kernel", "row", "column"], meta_fields=[])
@dataclass(frozen=True)
class LowRankMatches:
    """``π_ij = exp(row_i + shift_x_i) (left_i·right_j) exp(column_j + shift_y_j)``."""

    kernel: LowRankKernel
    row: jax.Array
    column: jax.Array

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return _low_rank_times(self.kernel, self.row, self.column, values)

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return _low_rank_times(self.kernel.flipped(), self.column, self.row, values)

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        scale_x, scale_y = _balanced(self.kernel, self.row, self.column)
        bound = self.kernel.bound
        return bound * scale_x * scale_y.sum(), bound * scale_y * scale_x.sum()

    def rows(self, start: int, stop: int) -> "LowRankMatches":  # noqa: D102
        k = self.kernel
        part = replace(k, u=k.u[start:stop], left=k.left[start:stop], shift_x=k.shift_x[start:stop])
        return LowRankMatches(part, self.row[start:stop], self.column)


def _near(factor: jax.Array, own: jax.Array) -> jax.Array:
    """Whether a factor is the one that features were made for, but for rounding."""
    distance = jnp.abs(lax.stop_gradient(factor) - own).max()
    return distance <= 1e-12 * jnp.abs(own).max()


def _balanced(
    kernel: LowRankKernel, row: jax.Array, column: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two diagonal scalings, the larger exponents moved to the rows."""
    column = kernel.shift_y + column
    top = lax.stop_gradient(column.max())
    return jnp.exp(kernel.shift_x + row + top), jnp.exp(column - top)


@jax.custom_jvp
def _low_rank_times(
    kernel: LowRankKernel, row: jax.Array, column: jax.Array, values: jax.Array
) -> jax.Array:
    scale_x, scale_y = _balanced(kernel, row, column)
    return scale_x[:, None] * (kernel.left @ (kernel.right.T @ (scale_y[:, None] * values)))


@_low_rank_times.defjvp
def _low_rank_jvp(primals: Any, tangents: Any) -> Any:
    """``dπ_ij/π_ij = du_i·v_j + u_i·dv_j + drow_i + dcolumn_j``; products cost no more for it."""
    kernel, row, column, values = primals
    d_kernel, d_row, d_column, d_values = tangents

    def times(weights: jax.Array) -> jax.Array:
        return _low_rank_times(kernel, row, column, weights)

    result = times(values)
    change = d_row[:, None] * result + times(d_values + d_column[:, None] * values)
    for k in range(kernel.u.shape[1]):
        change += d_kernel.u[:, k, None] * times(kernel.v[:, k, None] * values)
        change += kernel.u[:, k, None] * times(d_kernel.v[:, k, None] * values)
    return result, change


def sums(matches: Matches, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Row and column sums of matches of a shape ``(N, J)``."""
    rows, columns = shape
    return (
        matches.times(jnp.ones((columns, 1)))[:, 0],
        matches.transposed_times(jnp.ones((rows, 1)))[:, 0],
    )
