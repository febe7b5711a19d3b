"""Kernels: sums of ``π_ij = exp(u_i·v_j + row_i + column_j)`` over one side of the market.

``u_i·v_j`` is the log affinity ``x'Φy/λ`` of a pair, row and column its potentials and weights.
Three kernels answer the same questions:

- :class:`DenseKernel` keeps the ``N × J`` matrix of logs;
- :class:`~matching.streamed_kernel.StreamedKernel` forms it block by block and never keeps it;
- :class:`~matching.scaled_kernel.ScaledKernel` keeps features (:mod:`matching.low_rank`): the
  exponential of bounded arguments has a tiny numerical rank, so ``N J`` becomes ``(N + J) rank``.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass

# Up to this many cells the matrix of matches is wanted as such and costs little.
SMALL = 1_000_000
# Up to this many types on the smaller side linear systems of a dense kernel are eliminated.
DIRECT = 300


class Factors(NamedTuple):
    """A log affinity of every pair that is never formed: ``u_i·v_j``."""

    u: jax.Array  # (N, d)
    v: jax.Array  # (J, d)

    @property
    def product(self) -> jax.Array:
        """All of it, ``(N, J)``, or each of a batch."""
        return jnp.einsum("...id,...jd->...ij", self.u, self.v)

    @property
    def magnitude(self) -> jax.Array:
        """What no ``|u_i·v_j|`` exceeds, ``()``."""
        return jnp.abs(self.u).max(0) @ jnp.abs(self.v).max(0)


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

    @property
    def log_cells(self) -> jax.Array | None:
        """``log π (N, J)``; ``None`` where that is too large to be wanted."""


class Kernel(Protocol):
    """The kernel of a market; a pytree."""

    @property
    def name(self) -> str:
        """``dense``, ``streamed`` or ``low rank``."""

    @property
    def shrinks(self) -> bool:
        """Whether :meth:`scaled` shrinks it; not where that would cost too much."""

    @property
    def log_affinity(self) -> jax.Array:
        """``u_i·v_j`` of every pair, ``(N, J)``."""

    @property
    def magnitude(self) -> jax.Array:
        """What no ``|u_i·v_j|`` exceeds, ``()``."""

    def of(self, u: jax.Array, v: jax.Array) -> "Kernel":
        """This kernel for factors ``u (N, d)``, ``v (J, d)`` of the log affinity."""

    def prepared(self) -> "Kernel":
        """The same kernel in the form that searches take, without derivatives in it."""

    def fastest(self) -> "Kernel":
        """The same kernel in the form whose sums over a side are fastest."""

    def scaled(self, kappa: jax.Array) -> "Kernel":
        """The kernel of ``κ u·v``, for continuation; itself where it does not shrink."""

    def log_row_sums(self, column: jax.Array) -> jax.Array:
        """``log Σ_j exp(u_i·v_j + column_j)``, ``(N,)``."""

    def log_column_sums(self, row: jax.Array) -> jax.Array:
        """``log Σ_i exp(u_i·v_j + row_i)``, ``(J,)``."""

    def matches(self, row: jax.Array, column: jax.Array) -> Matches:
        """The matches with these potentials and weights."""


@partial(register_dataclass, data_fields=["affinity"], meta_fields=["stored"])
@dataclass(frozen=True)
class DenseKernel:
    """The log affinity of every pair, which a search forms once and keeps.

    Sums run on stored exponentials where there are many cells, of a moderate range; all of a
    search does where no system is eliminated.
    """

    affinity: Factors | jax.Array  # its factors, or itself, (N, J)
    stored: bool = False

    name = "dense"
    shrinks = True

    @property
    def log_affinity(self) -> jax.Array:  # noqa: D102
        return self.affinity.product if isinstance(self.affinity, Factors) else self.affinity

    @property
    def magnitude(self) -> jax.Array:  # noqa: D102
        return jnp.abs(self.log_affinity).max()

    def of(self, u: jax.Array, v: jax.Array) -> "DenseKernel":  # noqa: D102
        return DenseKernel(Factors(u, v), self.stored)

    def prepared(self) -> Kernel:  # noqa: D102
        formed = replace(self, affinity=self.log_affinity)
        return formed if min(formed.log_affinity.shape) <= DIRECT else formed.fastest()

    def fastest(self) -> Kernel:  # noqa: D102
        from matching.scaled_kernel import stored_kernel

        return stored_kernel(self.log_affinity) if self.stored else self

    def scaled(self, kappa: jax.Array) -> "DenseKernel":  # noqa: D102
        return DenseKernel(kappa * self.log_affinity)

    def log_row_sums(self, column: jax.Array) -> jax.Array:  # noqa: D102
        return logsumexp(self.log_affinity + column[None, :], axis=1)

    def log_column_sums(self, row: jax.Array) -> jax.Array:  # noqa: D102
        return logsumexp(self.log_affinity + row[:, None], axis=0)

    def matches(self, row: jax.Array, column: jax.Array) -> "DenseMatches":  # noqa: D102
        return DenseMatches(self, row, column)


@partial(register_dataclass, data_fields=["kernel", "row", "column", "kept"], meta_fields=[])
@dataclass(frozen=True)
class DenseMatches:
    """Matches as a matrix, formed where it is asked for unless it is kept."""

    kernel: DenseKernel
    row: jax.Array
    column: jax.Array
    kept: jax.Array | None = None

    @property
    def pi(self) -> jax.Array:
        """``π (N, J)``."""
        return jnp.exp(self.log_cells) if self.kept is None else self.kept

    def formed(self) -> "DenseMatches":
        """The same, with the matrix kept."""
        return replace(self, kept=self.pi)

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return self.pi @ values

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return self.pi.T @ values

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        return jnp.zeros_like(self.row), jnp.zeros_like(self.column)

    def rows(self, start: int, stop: int) -> "DenseMatches":  # noqa: D102
        affinity = self.kernel.affinity
        if isinstance(affinity, Factors):
            some: Factors | jax.Array = affinity._replace(u=affinity.u[start:stop])
        else:
            some = affinity[start:stop]
        return DenseMatches(DenseKernel(some), self.row[start:stop], self.column).formed()

    @property
    def log_cells(self) -> jax.Array:  # noqa: D102
        return log_matches(self.kernel, self.row, self.column)


def sums(matches: Matches, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Row and column sums of matches of a shape ``(N, J)``."""
    if isinstance(matches, DenseMatches):
        pi = matches.pi
        return pi.sum(1), pi.sum(0)
    rows, columns = shape
    return (
        matches.times(jnp.ones((columns, 1)))[:, 0],
        matches.transposed_times(jnp.ones((rows, 1)))[:, 0],
    )


def log_matches(kernel: Kernel, row: jax.Array, column: jax.Array) -> jax.Array:
    """``log π_ij = u_i·v_j + row_i + column_j`` of every pair, ``(N, J)``; of each of a batch."""
    return kernel.log_affinity + row[..., :, None] + column[..., None, :]


def log_matches_if_small(kernel: Kernel, row: jax.Array, column: jax.Array) -> jax.Array | None:
    """:func:`log_matches` of a kernel that keeps no matrix, if small enough to be wanted."""
    few = row.shape[-1] * column.shape[-1] <= SMALL
    return log_matches(kernel, row, column) if few else None
