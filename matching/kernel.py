"""Kernels: sums of ``π_ij = exp(u_i·v_j + row_i + column_j)`` over one side of the market.

``u_i·v_j`` is the log affinity ``x'Φy/λ`` of a pair, row and column its potentials and weights.
Three kernels answer the same questions:

- :class:`DenseKernel` keeps the ``N × J`` matrix of logs;
- :class:`~matching.streamed_kernel.StreamedKernel` forms it block by block and never keeps it;
- :class:`~matching.scaled_kernel.ScaledKernel` keeps features (:mod:`matching.low_rank`): the
  exponential of bounded arguments has a tiny numerical rank, so ``N J`` becomes ``(N + J) rank``.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass

# Up to this many cells the matrix of matches is wanted as such and costs little.
SMALL = 1_000_000


class Factors(NamedTuple):
    """A log affinity of every pair that is never formed: ``u_i·v_j``."""

    u: jax.Array  # (N, d)
    v: jax.Array  # (J, d)


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

    @property
    def log_affinity(self) -> jax.Array:
        """``u_i·v_j`` of every pair, ``(N, J)``."""

    def of(self, u: jax.Array, v: jax.Array) -> "Kernel":
        """This kernel for factors ``u (N, d)``, ``v (J, d)`` of the log affinity."""

    def prepared(self) -> "Kernel":
        """The same kernel in the form whose products are fastest, without derivatives in it."""

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


@partial(register_dataclass, data_fields=["log_affinity"], meta_fields=["stored"])
@dataclass(frozen=True)
class DenseKernel:
    """The log affinity of every pair, kept; ``(N, J)``.

    Where there are many cells, of a moderate range, searches run on stored exponentials.
    """

    log_affinity: jax.Array
    stored: bool = False

    name = "dense"

    def of(self, u: jax.Array, v: jax.Array) -> "DenseKernel":  # noqa: D102
        return DenseKernel(u @ v.T, self.stored)

    def prepared(self) -> Kernel:  # noqa: D102
        from matching.scaled_kernel import stored_kernel

        return stored_kernel(self.log_affinity) if self.stored else self

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


def sums(matches: Matches, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Row and column sums of matches of a shape ``(N, J)``."""
    if isinstance(matches, DenseMatches):
        return matches.pi.sum(1), matches.pi.sum(0)
    rows, columns = shape
    return (
        matches.times(jnp.ones((columns, 1)))[:, 0],
        matches.transposed_times(jnp.ones((rows, 1)))[:, 0],
    )
