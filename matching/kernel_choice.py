"""Which kernel an economy takes: dense where small, low rank where that pays, else streamed."""

from dataclasses import dataclass, replace

import jax
import numpy as np

from matching.economy import Economy
from matching.errors import InvalidInput
from matching.kernel import DenseKernel, Kernel, LowRankKernel, StreamedKernel
from matching.low_rank import low_rank_kernel
from matching.market import factors

KERNELS = ("auto", "dense", "streamed", "low rank")

# Up to this many cells the matrix of matches is wanted as such and costs little.
_SMALL = 1_000_000
# A dense kernel and what a solver derives from it must fit in this many bytes.
_DENSE_BYTES = 4e9
# Low rank pays where it is this many times smaller than the matrix.
_SAVING = 3.0
# Cells that a streamed kernel forms at a time.
_BLOCK_CELLS = 4_000_000


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
    if name not in KERNELS:
        raise InvalidInput([f"kernel: {name!r} is unknown; choose from {KERNELS}"])
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(economy))
    u, v = factors(economy)
    if traced and name in ("streamed", "low rank"):
        raise InvalidInput(
            [f"kernel: a {name} kernel cannot be chosen inside jit; pass choose_kernel(economy, "
             f"{name!r}) of an economy with values"]
        )  # fmt: skip
    cells = len(u) * len(v)
    if name == "dense" or (name == "auto" and (traced or cells <= _SMALL)):
        return KernelChoice(DenseKernel(u @ v.T), f"dense: {cells:,} cells are few")
    if name == "low rank" or (name == "auto" and low_rank):
        pays = max(1, int(cells / (_SAVING * (len(u) + len(v)))))
        kernel = _low_rank(economy, u, v, pays if name == "auto" else min(len(u), len(v)))
        if kernel is not None:
            rank = kernel.left.shape[1]
            return KernelChoice(kernel, f"low rank: {cells:,} cells have numerical rank {rank}")
        if name == "low rank":
            raise InvalidInput(["kernel: the affinity of this economy is not of low rank; choose "
                                "'streamed' or 'dense'"])  # fmt: skip
    if name == "auto" and 24.0 * cells <= _DENSE_BYTES:
        return KernelChoice(DenseKernel(u @ v.T), f"dense: {cells:,} cells of no low rank fit")
    block = max(1, _BLOCK_CELLS // len(v))
    reason = f"streamed: {cells:,} cells of no low rank, {block:,} worker types at a time"
    return KernelChoice(StreamedKernel(u, v, block), reason)


def _low_rank(economy: Economy, u: jax.Array, v: jax.Array, most: int) -> LowRankKernel | None:
    """The low-rank kernel on the axes of the affinity's singular vectors, which need fewest."""
    skills = np.concatenate([np.asarray(o.skills) for o in economy.origins])
    p, s, qt = np.linalg.svd(np.asarray(economy.affinity / economy.scale), full_matrices=False)
    left, right = skills @ (p * s), np.asarray(economy.firms.characteristics) @ qt.T
    kernel = low_rank_kernel(left, right, max_rank=most)
    return None if kernel is None else replace(kernel, u=u, v=v)
