"""Many economies that differ in numbers alone, solved by one compiled program.

Lanes are solved in chunks that fit a memory budget, padded to one size so that nothing is compiled
twice, on as many threads as there are processors. The first chunk, spread over all lanes, starts
from nothing; all others start from what a polynomial fitted to it predicts, so that they need few
steps and nearly the same number of them: a chunk runs until its slowest lane is done. The second
chunk tells how many steps are usual; a lane that takes longer is left, and finished later together
with others like it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import cpu_count
from typing import Any, NamedTuple

import jax
import numpy as np

from matching.blas import one_blas_thread
from matching.certificate import CERTIFICATE_STEPS
from matching.economy import Economy
from matching.equilibrium import Equilibrium, equilibrium_of
from matching.errors import InvalidInput, require_float64
from matching.kernel_choice import choose_kernel
from matching.memory import available_bytes, gigabytes
from matching.solvers import MAX_ITER
from matching.status import Status

# On a CPU the matrices of a chunk stay in the cache.
_CACHE_BYTES = 8e6
# Matrices of the size of an economy's matches that its solution holds at a time.
_MATRICES = 16
# Smaller batches are padded beyond this, so that they share programs.
_FEWEST = 8
# Most Newton and certificate steps of a lane.
_ALL = (MAX_ITER["newton"], CERTIFICATE_STEPS)
# Chunks after the second stop at the steps that this share of its lanes took; certificates at so
# many.
_USUAL, _USUAL_CERTIFICATE = 0.9, 4
# The fit has at least this many solved lanes for each of its coefficients.
_LANES_PER_COEFFICIENT = 4


class _Solved(NamedTuple):
    """What a chunk returns, all with a leading axis of lanes."""

    result: Any
    status: Any
    iterations: Any
    start: tuple[Any, Any]  # potentials s, t to go on from


def solve_batch(economies: Economy, of: Callable[[Equilibrium], Any]) -> Any:
    """``of`` the equilibrium of each of ``B`` economies, every array with a leading axis ``B``.

    Every array of ``economies`` has a leading axis ``B``; names and shapes are shared. ``of`` is a
    function of one equilibrium that JAX can trace; a program is compiled once for each such
    function, so pass one that is defined once. Its result should contain the ``status``: a lane
    that is not solved raises nothing and changes no other lane. Kernels are dense.

    Derivatives do not pass; for them use ``vmap`` of :func:`~matching.solve_equilibrium`. Raises
    :class:`~matching.InvalidInput` where one economy does not fit in memory.

    >>> import jax.numpy as jnp
    >>> from matching import make_economy, make_firms, make_origin, with_parameter
    >>> workers = make_origin([0.0], [1.0], constant=2.0)
    >>> economy = make_economy([workers], make_firms([0.0], [1.0]), affinity=0.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> def richer(constant):
    ...     return with_parameter(economy, "origin.home.constant", constant)
    >>> batch = jax.vmap(richer)(jnp.array([0.0, 2.0]))
    >>> solve_batch(batch, lambda eq: eq.matches[0][0, 0]).round(6).tolist()
    [0.5, 0.731059]
    """
    require_float64()
    economies = jax.tree.map(np.asarray, economies)
    count = len(economies.lambda_x)
    lanes = _lanes(economies, count)
    chunks = _chunks(np.arange(count), lanes)
    nothing = tuple(np.zeros((count, size)) for size in _sizes(economies))

    def solve(chunks: list[np.ndarray], start: Any, effort: tuple[int, int]) -> list[_Solved]:
        def one(chunk: np.ndarray) -> _Solved:
            chosen = jax.tree.map(lambda x: x[chunk], (economies, start))
            return jax.device_get(_program(of, *chosen, *effort))

        with ThreadPoolExecutor(_threads()) as pool:
            return list(pool.map(one, chunks))

    solved = solve(chunks[:1], nothing, _ALL)
    with one_blas_thread():
        predicted = _predicted(economies, chunks[0], solved[0])
    solved += solve(chunks[1:2], predicted, _ALL)
    usual = (int(np.quantile(solved[-1].iterations, _USUAL)), _USUAL_CERTIFICATE)
    solved += solve(chunks[2:], predicted, usual)
    whole = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), solved[0])

    def keep(chunks: list[np.ndarray], solved: list[_Solved]) -> None:
        for chunk, part in zip(chunks, solved, strict=True):
            for into, values in zip(*map(jax.tree.leaves, (whole, part)), strict=True):
                into[chunk] = values

    keep(chunks, solved)
    left = np.flatnonzero(whole.status != Status.CERTIFIED)
    left = np.setdiff1d(left, np.concatenate(chunks[:2]))
    again = _chunks(left, lanes)
    keep(again, solve(again, whole.start, _ALL))
    return whole.result


@partial(jax.jit, static_argnames="of")
def _program(
    of: Callable[[Equilibrium], Any],
    economies: Economy,
    start: tuple[jax.Array, jax.Array],
    max_iter: jax.Array,
    certificate_steps: jax.Array,
) -> _Solved:
    def lane(economy: Economy, start: tuple[jax.Array, jax.Array]) -> _Solved:
        kernel = choose_kernel(economy, "dense")
        eq = equilibrium_of(economy, kernel, "newton", max_iter, start, certificate_steps)
        return _Solved(of(eq), eq.status, eq.iterations, eq.potentials)

    return jax.vmap(lane)(economies, start)


def _sizes(economies: Economy) -> tuple[int, int]:
    """Worker types of all origins, and firm types."""
    workers = sum(origin.mass.shape[-1] for origin in economies.origins)
    return workers, economies.firms.mass.shape[-1]


def _chunks(lanes_of: np.ndarray, size: int) -> list[np.ndarray]:
    """Chunks of one size, each spread over all the lanes; some lanes stand twice."""
    count = -(-len(lanes_of) // size)
    return [np.resize(lanes_of[k::count], size) for k in range(count)]


def _predicted(
    economies: Economy, chunk: np.ndarray, first: _Solved
) -> tuple[np.ndarray, np.ndarray]:
    """Potentials of every lane, a polynomial in what varies among the solved lanes of one chunk.

    Quadratic where the lanes are enough for its coefficients, else linear, else constant.
    """
    sound = first.status == Status.CERTIFIED
    if not sound.any():
        return jax.tree.map(lambda s: np.zeros((len(economies.lambda_x), s.shape[1])), first.start)
    numbers = np.concatenate([x.reshape(len(x), -1) for x in jax.tree.leaves(economies)], axis=1)
    known = numbers[chunk[sound]]
    varies = np.ptp(known, axis=0) > 0
    mean, sd = known[:, varies].mean(0), known[:, varies].std(0)
    # what lies far outside, or is no number, is for the solver to find out
    away = np.clip(np.nan_to_num((numbers[:, varies] - mean) / sd), -4.0, 4.0)
    most = sound.sum() / _LANES_PER_COEFFICIENT
    n = away.shape[1]
    terms = np.ones((len(away), 1))
    if 1 + n <= most:
        terms = np.column_stack([terms, away])
    if 1 + n + n * (n + 1) // 2 <= most:
        i, j = np.triu_indices(n)
        terms = np.column_stack([terms, away[:, i] * away[:, j]])

    def fit(potentials: np.ndarray) -> np.ndarray:
        solved = potentials[sound]
        coefficients = np.linalg.lstsq(terms[chunk[sound]], solved, rcond=None)[0]
        return np.clip(terms @ coefficients, solved.min(0), solved.max(0))

    return fit(first.start[0]), fit(first.start[1])


def _lanes(economies: Economy, count: int) -> int:
    """Lanes of a chunk: what the budget holds, and no more than are needed, a power of two."""
    workers, firms = _sizes(economies)
    each = 8.0 * workers * firms * _MATRICES
    free = 0.5 * available_bytes()
    if each > free:
        raise InvalidInput([
            f"batch: an economy of {workers:,} x {firms:,} types takes {gigabytes(each)} where "
            f"{gigabytes(free)} are free; solve it alone (solve_equilibrium), with the streamed "
            "or low rank kernel"
        ])  # fmt: skip
    free /= _threads()
    budget = min(free, _CACHE_BYTES) if jax.devices()[0].platform == "cpu" else free
    most = max(1, int(budget / each))
    return min(1 << (most.bit_length() - 1), 1 << max(_FEWEST, count - 1).bit_length())


def _threads() -> int:
    """Chunks under way at a time: one a processor, or two to keep another device busy."""
    return cpu_count() if jax.devices()[0].platform == "cpu" else 2
