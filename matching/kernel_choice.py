"""Which kernel a market takes: dense where small, low rank where that pays, else streamed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from matching.economy import Economy
from matching.errors import InvalidInput
from matching.kernel import DenseKernel, Factors, Kernel, Matches, sums
from matching.low_rank import low_rank_kernel
from matching.market import factors
from matching.scaled_kernel import STORED_RANGE, ScaledKernel, ScaledMatches
from matching.status import Status
from matching.streamed_kernel import StreamedKernel

KERNELS = ("auto", "dense", "streamed", "low rank")

# Up to this many cells the matrix of matches is wanted as such and costs little.
_SMALL = 1_000_000
# A dense kernel and what a solver derives from it must fit in this many bytes.
_DENSE_BYTES = 4e9
# Low rank pays where it is this many times smaller than the matrix.
_SAVING = 3.0
# Cells that a streamed kernel forms at a time.
_BLOCK_CELLS = 4_000_000


# The error asked for where the first low rank did not do.
_CLOSER = 1e-12

_LOG = logging.getLogger("matching")


class _Solved(Protocol):
    """What a solution says of itself."""

    @property
    def status(self) -> jax.Array: ...
    @property
    def max_residual(self) -> jax.Array: ...
    @property
    def wage_error_bound(self) -> jax.Array: ...
    @property
    def all_matches(self) -> Matches: ...
    @property
    def potentials(self) -> tuple[jax.Array, jax.Array]: ...


_S = TypeVar("_S", bound=_Solved)


@dataclass(frozen=True)
class KernelChoice:
    """A kernel and the reason for it."""

    kernel: Kernel
    reason: str


def choose_kernel(economy: Economy, name: str = "auto", *, low_rank: bool = True) -> Kernel:
    """The kernel called ``name``, or the one that suits the economy; see :func:`explain_kernel`."""
    return explain_kernel(economy, name, low_rank=low_rank).kernel


def explain_kernel(economy: Economy, name: str = "auto", *, low_rank: bool = True) -> KernelChoice:
    """Choose a kernel for an economy and say why; ``low_rank=False`` leaves that one out.

    Raises :class:`~matching.errors.InvalidInput` for an unknown name, for a low rank that would
    not be one, and for any kernel but the dense one inside ``jit``, where nothing is known.
    """
    mass_x = jnp.concatenate([origin.mass for origin in economy.origins])
    return kernel_of_factors(
        factors(economy), mass_x, economy.firms.mass, name, low_rank=low_rank
    )  # fmt: skip


def kernel_of_factors(
    pair: Factors,
    mass_x: jax.Array,
    mass_y: jax.Array,
    name: str = "auto",
    *,
    low_rank: bool = True,
) -> KernelChoice:
    """Choose a kernel for the log affinity ``u_i·v_j`` of types with these masses."""
    if name not in KERNELS:
        raise InvalidInput([f"kernel: {name!r} is unknown; choose from {KERNELS}"])
    u, v = pair
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in (u, v, mass_x, mass_y))
    if traced and name in ("streamed", "low rank"):
        raise InvalidInput(
            [f"kernel: a {name} kernel cannot be chosen inside jit; pass choose_kernel(economy, "
             f"{name!r}) of an economy with values"]
        )  # fmt: skip
    cells = len(u) * len(v)
    if traced or (name in ("auto", "dense") and cells <= _SMALL):
        return KernelChoice(DenseKernel(u @ v.T), f"dense: {cells:,} cells are few")
    if name == "dense":
        return KernelChoice(dense_kernel(u @ v.T), f"dense: {cells:,} cells, as asked")
    if name == "low rank" or (name == "auto" and low_rank):
        kernel = _low_rank(pair, mass_x, mass_y, name)
        if kernel is not None:
            return KernelChoice(
                kernel, f"low rank: {cells:,} cells have numerical rank {kernel.table.rank}"
            )
        if name == "low rank":
            raise InvalidInput(["kernel: the affinity of this economy is not of low rank; choose "
                                "'streamed' or 'dense'"])  # fmt: skip
    if name == "auto" and 24.0 * cells <= _DENSE_BYTES:
        return KernelChoice(dense_kernel(u @ v.T), f"dense: {cells:,} cells of no low rank fit")
    block = max(1, _BLOCK_CELLS // len(v))
    reason = f"streamed: {cells:,} cells of no low rank, {block:,} worker types at a time"
    return KernelChoice(StreamedKernel(u, v, block), reason)


def dense_kernel(log_affinity: jax.Array) -> DenseKernel:
    """The dense kernel; it stores exponentials where they are many and range over little."""
    if isinstance(log_affinity, jax.core.Tracer) or log_affinity.size <= _SMALL:
        return DenseKernel(log_affinity)
    return DenseKernel(log_affinity, bool(jnp.ptp(log_affinity) <= STORED_RANGE))


def solve_by_kernels(
    pair: Factors,
    mass_x: jax.Array,
    mass_y: jax.Array,
    kernel: str | Kernel,
    solve: Callable[[Kernel, Any], _S],
    start: Any = None,
) -> _S:
    """Solve with a given kernel, or with the first of those that suit that is certified.

    ``solve`` takes a kernel and potentials to start from. After a low rank that leaves a solution
    uncertified comes a closer one, made for the types that it matched, then an exact kernel.
    """
    if not isinstance(kernel, str):
        return solve(kernel, start)
    chosen = kernel_of_factors(pair, mass_x, mass_y, kernel).kernel
    solution = solve(chosen, start)
    if kernel != "auto" or chosen.name != "low rank" or solution.status == Status.CERTIFIED:
        return solution
    if np.isfinite(solution.max_residual):
        _LOG.info("the low-rank kernel left the solution uncertified; absorbing its potentials")
        closer = _absorbing(pair, mass_x, mass_y, solution.all_matches)
        if closer is not None:
            start = solution.potentials
            solution = solve(closer, start)
            if solution.status == Status.CERTIFIED:
                return solution
    exact = kernel_of_factors(pair, mass_x, mass_y, low_rank=False).kernel
    _LOG.info("no low-rank kernel certified the solution; solving with the %s one", exact.name)
    return solve(exact, start)


def _low_rank(
    pair: Factors, mass_x: jax.Array, mass_y: jax.Array, name: str, **absorbed: Any
) -> ScaledKernel | None:
    """The low-rank kernel for types of these masses, where it pays or was asked for by name."""
    u, v = (np.asarray(side) for side in pair)
    most = min(len(u), len(v))
    if name == "auto":
        most = max(1, int(len(u) * len(v) / (_SAVING * (len(u) + len(v)))))
    return low_rank_kernel(u, v, np.asarray(mass_x), np.asarray(mass_y), max_rank=most, **absorbed)


def _absorbing(
    pair: Factors, mass_x: jax.Array, mass_y: jax.Array, matches: Matches
) -> ScaledKernel | None:
    """The low-rank kernel whose table is the density of these matches, centred on them."""
    assert isinstance(matches, ScaledMatches)

    def potential(exponent: jax.Array, mass: jax.Array) -> np.ndarray:
        log_density = exponent - jnp.log(mass / mass.sum())
        least = log_density.min(where=mass > 0, initial=jnp.inf)
        return np.asarray(jnp.where(mass > 0, log_density, least))

    return _low_rank(
        pair,
        *sums(matches, (len(mass_x), len(mass_y))),
        "auto",
        log_density=(potential(matches.row, mass_x), potential(matches.column, mass_y)),
        tolerance=_CLOSER,
    )
