"""Which kernel a market takes: dense where small, low rank where that pays, else streamed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matching.arrays import is_traced
from matching.blas import one_blas_thread
from matching.economy import Economy
from matching.errors import InvalidInput
from matching.kernel import SMALL, DenseKernel, Factors, Kernel
from matching.low_rank import TOLERANCE, RankTooLow, low_rank_kernel
from matching.m_matrix import FEW
from matching.market import stacked
from matching.memory import available_bytes, gigabytes
from matching.scaled_kernel import STORED_RANGE, ScaledKernel, Table
from matching.streamed_kernel import StreamedKernel

KERNELS = ("auto", "dense", "streamed", "low rank")

# With one skill features are few, whatever the range: they pay where cells are more than these.
_FEW = 250_000
# What a solver holds: bytes a cell of a dense kernel, copies of features, arrays of each type.
_DENSE_CELL, _COPIES, _ARRAYS = 24.0, 2.5, 30
# A dense kernel is not chosen beyond so many bytes, however large the machine.
_DENSE_BYTES = 1e9
# Low rank pays where it is this many times smaller than the matrix.
_SAVING = 3.0
# Cells that a streamed kernel forms at a time, and copies of them that it holds.
_BLOCK_CELLS, _BLOCK_COPIES = 400_000, 20.0


@dataclass(frozen=True)
class KernelChoice:
    """A kernel and the reason for it."""

    kernel: Kernel
    reason: str


def choose_kernel(
    economy: Economy,
    name: str = "auto",
    *,
    low_rank: bool = True,
    rank: int | None = None,
    memory: float | None = None,
) -> Kernel:
    """The kernel called ``name``, or the one that suits the economy.

    ``low_rank=False`` leaves that one out; ``rank`` is the most features of it, ``memory`` the most
    bytes of a kernel and what a solver makes of it, within what the device and the limits of the
    process leave.

    Raises :class:`~matching.errors.InvalidInput` for an unknown name, for a rank that cannot meet
    the bound on the error, for a kernel that does not fit (with those that do), and for any kernel
    but the dense one inside ``jit``, where nothing is known.
    """
    pair, mass_x = stacked(economy)
    return kernel_of_factors(
        pair, mass_x, economy.firms.mass, name, low_rank=low_rank, rank=rank, memory=memory
    )


def explain_kernel(
    economy: Economy,
    name: str = "auto",
    *,
    low_rank: bool = True,
    rank: int | None = None,
    memory: float | None = None,
) -> KernelChoice:
    """The kernel that :func:`choose_kernel` takes, and why; raises as it does."""
    kernel = choose_kernel(economy, name, low_rank=low_rank, rank=rank, memory=memory)
    pair, mass_x = stacked(economy)
    return KernelChoice(kernel, _reason(kernel, pair, mass_x, economy.firms.mass, name, memory))


def kernel_of_factors(
    pair: Factors,
    mass_x: jax.Array,
    mass_y: jax.Array,
    name: str = "auto",
    *,
    low_rank: bool = True,
    rank: int | None = None,
    memory: float | None = None,
    begin: Callable[[ScaledKernel], None] | None = None,
) -> Kernel:
    """Choose a kernel for the log affinity ``u_i·v_j`` of types with these masses.

    ``begin`` as :func:`~matching.low_rank.low_rank_kernel` takes it.
    """
    if name not in KERNELS:
        raise InvalidInput([f"kernel: {name!r} is unknown; choose from {KERNELS}"])
    traced = is_traced((pair, mass_x, mass_y))
    if traced and name in ("streamed", "low rank"):
        raise InvalidInput(
            [f"kernel: a {name} kernel cannot be chosen inside jit; pass choose_kernel(economy, "
             f"{name!r}) of an economy with values"]
        )  # fmt: skip
    if traced or (_is_few(pair) and name in ("auto", "dense")):
        return dense_kernel(pair)
    budget = _Budget.of(pair, memory)
    if name == "dense":
        budget.require("a dense", budget.dense)
        return dense_kernel(pair)
    if name == "low rank" or (name == "auto" and low_rank):
        budget.require("any", budget.low_rank(1))
        most = budget.rank
        if name == "auto":
            most = min(most, max(1, int(budget.cells / (_SAVING * sum(map(len, pair))))))
        most = min(most, rank or most)
        kernel = low_rank_of_factors(pair, mass_x, mass_y, most, begin=begin)
        if isinstance(kernel, ScaledKernel):
            return kernel
        if name == "low rank":
            raise InvalidInput(
                [f"kernel: {kernel.explanation(most)}; choose 'streamed' or 'dense'"]
            )
    if name == "auto" and budget.dense <= min(_DENSE_BYTES, budget.available):
        return dense_kernel(pair)
    budget.require("a streamed", budget.streamed(1))
    return StreamedKernel(*pair, budget.block)


def _reason(
    kernel: Kernel,
    pair: Factors,
    mass_x: jax.Array,
    mass_y: jax.Array,
    name: str,
    memory: float | None,
) -> str:
    """Why this kernel was chosen, for people."""
    budget = _Budget.of(pair, memory)
    cells = f"{kernel.name}: {budget.cells:,} cells"
    if isinstance(kernel, ScaledKernel):
        error = _mean_error(kernel, mass_x, mass_y)
        return (
            f"{cells} come of {kernel.table.rank:,} features a type, with an error of {error:.0e} "
            f"of the largest match at most; {budget.share(budget.features(kernel.table))}"
        )
    if isinstance(kernel, StreamedKernel):
        why = "as asked" if name == "streamed" else "of no low rank, too many to keep"
        return (
            f"{cells}, {why}, {kernel.block:,} worker types at a time; "
            f"{budget.share(budget.streamed(kernel.block))}"
        )
    if _is_few(pair):
        return f"{cells} are few"
    why = "as asked" if name == "dense" else "of no low rank, fit"
    return f"{cells}, {why}; {budget.share(budget.dense)}"


def _is_few(pair: Factors) -> bool:
    """Whether there are so few cells that a dense kernel costs little."""
    return len(pair.u) * len(pair.v) <= (SMALL if pair.u.shape[1] > 1 else _FEW)


def low_rank_of_factors(
    pair: Factors,
    mass_x: jax.Array,
    mass_y: jax.Array,
    most: int,
    log_density: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    begin: Callable[[ScaledKernel], None] | None = None,
) -> ScaledKernel | RankTooLow:
    """The low-rank kernel for types of these masses, of at most ``most`` features."""
    weights = np.asarray(mass_x), np.asarray(mass_y)
    with one_blas_thread():
        return low_rank_kernel(
            *pair, *weights, log_density=log_density, tolerance=tolerance, max_rank=most,
            begin=begin,
        )  # fmt: skip


def most_features(pair: Factors, memory: float | None) -> int:
    """Features of a low-rank kernel that fit into memory, of so many bytes at most."""
    return _Budget.of(pair, memory).rank


def dense_kernel(affinity: Factors | jax.Array) -> DenseKernel:
    """The dense kernel; it stores exponentials where they are many and no row ranges over much."""
    if isinstance(affinity, Factors):
        shape: tuple[int, ...] = len(affinity.u), len(affinity.v)
    else:
        shape = affinity.shape
    if is_traced(affinity) or min(shape) <= FEW:
        return DenseKernel(affinity)
    return DenseKernel(affinity, bool(_row_range(affinity) <= STORED_RANGE))


def _row_range(affinity: Factors | jax.Array) -> Any:
    """What no worker type's log affinities range over more than."""
    if isinstance(affinity, Factors):
        u, v = map(np.asarray, affinity)
        return (np.abs(u) * np.ptp(v, axis=0)).sum(axis=1).max()
    return jnp.ptp(affinity, axis=1).max()


def _mean_error(kernel: ScaledKernel, mass_x: jax.Array, mass_y: jax.Array) -> float:
    """The largest bound of any type on the average over its partners' masses."""
    x, y, f, g = map(np.asarray, (kernel.error_x, kernel.error_y, mass_x, mass_y))
    return float(max(x.max() * (y @ g) / g.sum(), y.max() * (x @ f) / f.sum()))


@dataclass(frozen=True)
class _Budget:
    """What each kernel of ``rows × columns`` cells needs of the memory that is available."""

    rows: int
    columns: int
    available: float

    @classmethod
    def of(cls, pair: Factors, memory: float | None) -> "_Budget":
        """The budget of these types, of at most so many bytes."""
        return cls(
            len(pair.u), len(pair.v), min(available_bytes(), math.inf if memory is None else memory)
        )

    @property
    def cells(self) -> int:
        """Pairs of types."""
        return self.rows * self.columns

    @property
    def types(self) -> float:
        """Bytes of the arrays that every kernel needs."""
        return 8.0 * _ARRAYS * (self.rows + self.columns)

    @property
    def dense(self) -> float:
        """Bytes of a dense kernel."""
        return self.types + _DENSE_CELL * self.cells

    def low_rank(self, rank: int) -> float:
        """Bytes of a low-rank kernel of so many features, all of them kept."""
        return self.types + 8.0 * _COPIES * rank * (self.rows + self.columns)

    def features(self, table: Table) -> float:
        """Bytes of a low-rank kernel whose table this is, which may form features anew."""
        return self.types + _COPIES * sum(leaf.nbytes for leaf in jax.tree.leaves(table))

    def streamed(self, block: int) -> float:
        """Bytes of a streamed kernel that forms ``block`` rows at a time."""
        return self.types + 8.0 * _BLOCK_COPIES * block * self.columns

    @property
    def block(self) -> int:
        """Rows that a streamed kernel forms at a time."""
        fits = (self.available - self.types) / (8.0 * _BLOCK_COPIES * self.columns)
        return max(1, min(self.rows, _BLOCK_CELLS // self.columns, int(min(fits, 1e12))))

    @property
    def rank(self) -> int:
        """Features that fit."""
        fits = (self.available - self.types) / (self.low_rank(1) - self.types)
        return max(1, int(min(fits, self.rows + self.columns)))

    def share(self, need: float) -> str:
        """What a kernel needs of what there is, for people."""
        return f"{gigabytes(need)} of {gigabytes(self.available)} of memory"

    def require(self, name: str, need: float) -> None:
        """Raise unless so many bytes are available, with the kernels that would fit."""
        if need <= self.available:
            return
        fits = []
        if self.streamed(1) <= self.available:
            size = gigabytes(self.streamed(self.block))
            fits.append(f"kernel 'streamed', {self.block:,} worker types at a time, {size}")
        if self.low_rank(1) <= self.available:
            fits.append(
                f"kernel 'low rank' where the affinity takes at most {self.rank:,} features, "
                f"{gigabytes(self.low_rank(1))} and more"
            )
        what = f"what would fit: {'; '.join(fits)}; or" if fits else "no kernel fits; take"
        raise InvalidInput(
            [f"memory: {name} kernel of {self.rows:,} x {self.columns:,} types needs "
             f"{gigabytes(need)} and {gigabytes(self.available)} are available; {what} a machine "
             f"or device with {gigabytes(need)} to spare, or fewer types"]
        )  # fmt: skip
