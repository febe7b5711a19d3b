"""The kernel that is formed block by block at every product and never kept."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass

from matching.kernel import Factors, log_matches_if_small


@partial(register_dataclass, data_fields=["u", "v"], meta_fields=["block"])
@dataclass(frozen=True)
class StreamedKernel:
    """Rows ``u (N, d)`` and columns ``v (J, d)``; ``block`` rows are formed at a time."""

    u: jax.Array
    v: jax.Array
    block: int

    name = "streamed"
    shrinks = True

    @property
    def log_affinity(self) -> jax.Array:  # noqa: D102
        return Factors(self.u, self.v).product

    @property
    def magnitude(self) -> jax.Array:  # noqa: D102
        return Factors(self.u, self.v).magnitude

    def of(self, u: jax.Array, v: jax.Array) -> "StreamedKernel":  # noqa: D102
        return StreamedKernel(u, v, self.block)

    def prepared(self) -> "StreamedKernel":  # noqa: D102
        return self

    def fastest(self) -> "StreamedKernel":  # noqa: D102
        return self

    def scaled(self, kappa: jax.Array) -> "StreamedKernel":  # noqa: D102
        return StreamedKernel(kappa * self.u, self.v, self.block)

    def log_row_sums(self, column: jax.Array) -> jax.Array:  # noqa: D102
        return lax.map(
            lambda u: logsumexp(self.v @ u + column), self.u, batch_size=self.block
        )  # fmt: skip

    def log_column_sums(self, row: jax.Array) -> jax.Array:  # noqa: D102
        return self.flipped().log_row_sums(row)

    def matches(self, row: jax.Array, column: jax.Array) -> "StreamedMatches":  # noqa: D102
        return StreamedMatches(self, row, column)

    def flipped(self) -> "StreamedKernel":
        """The kernel with the two sides exchanged; as many cells are formed at a time."""
        block = max(1, self.block * len(self.v) // len(self.u))
        return StreamedKernel(self.v, self.u, block)


@partial(register_dataclass, data_fields=["kernel", "row", "column"], meta_fields=[])
@dataclass(frozen=True)
class StreamedMatches:
    """Matches formed block by block at every product."""

    kernel: StreamedKernel
    row: jax.Array
    column: jax.Array

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        k = self.kernel

        @jax.checkpoint  # reverse derivatives form the blocks again instead of keeping them
        def one(worker: tuple[jax.Array, jax.Array]) -> jax.Array:
            u, row = worker
            return jnp.exp(k.v @ u + row + self.column) @ values

        return lax.map(one, (k.u, self.row), batch_size=k.block)

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return StreamedMatches(self.kernel.flipped(), self.column, self.row).times(values)

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        return jnp.zeros_like(self.row), jnp.zeros_like(self.column)

    def rows(self, start: int, stop: int) -> "StreamedMatches":  # noqa: D102
        kernel = replace(self.kernel, u=self.kernel.u[start:stop])
        return StreamedMatches(kernel, self.row[start:stop], self.column)

    @property
    def log_cells(self) -> jax.Array | None:  # noqa: D102
        return log_matches_if_small(self.kernel, self.row, self.column)
