"""The kernel that is formed block by block at every product and never kept."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass


@partial(register_dataclass, data_fields=["u", "v"], meta_fields=["block"])
@dataclass(frozen=True)
class StreamedKernel:
    """Rows ``u (N, d)`` and columns ``v (J, d)``; ``block`` rows are formed at a time."""

    u: jax.Array
    v: jax.Array
    block: int

    name = "streamed"

    @property
    def log_affinity(self) -> jax.Array:  # noqa: D102
        return self.u @ self.v.T

    def of(self, u: jax.Array, v: jax.Array) -> "StreamedKernel":  # noqa: D102
        return StreamedKernel(u, v, self.block)

    def prepared(self) -> "StreamedKernel":  # noqa: D102
        return self

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
