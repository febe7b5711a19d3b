"""Many economies that differ in numbers alone, solved by one compiled program.

Lanes are solved in chunks that fit a memory budget, padded to one size so that nothing is compiled
twice, on as many threads as there are processors. The first chunks, each spread over all lanes,
start from nothing; the next from what is predicted from those (:mod:`matching.prediction`), and all
others from what is predicted from both, so that they need few steps and nearly the same number of
them: a chunk runs until its slowest lane is done. The second wave tells how many steps are usual; a
lane that takes longer is left, and finished later together with others like it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import cpu_count
from typing import Any, NamedTuple

import jax
import numpy as np

from matching.blas import one_blas_thread
from matching.certificate import CERTIFICATE_STEPS
from matching.economy import Economy
from matching.equilibrium import Equilibrium
from matching.errors import InvalidInput, require_float64
from matching.kernel_choice import choose_kernel
from matching.memory import available_bytes, gigabytes
from matching.prediction import (
    Prediction,
    fit_prediction,
    market_numbers,
    no_prediction,
    predicted,
)
from matching.solve import equilibrium_of
from matching.solvers import MAX_ITER
from matching.status import Status

# On a CPU the matrices of a chunk stay in the cache.
_CACHE_BYTES = 8e6
# Matrices of the size of an economy's matches that its solution holds at a time.
_MATRICES = 16
# Smaller batches are padded beyond this, so that they share programs.
_FEWEST = 8
# Newton and certificate steps: the most that a lane gets, and what it gets before any is usual.
_ALL, _FIRST = (MAX_ITER["newton"], CERTIFICATE_STEPS), (MAX_ITER["newton"], 1)
# The last wave stops at the steps that this share of the lanes before it took: of the others most
# are certified by then, for the last step of Newton shows that the one before was the last needed.
# So many of all lanes, those that took the fewest, are learnt from.
_USUAL = 0.8


class _Solved(NamedTuple):
    """What a chunk returns, all with a leading axis of lanes."""

    result: Any
    status: Any
    iterations: Any
    numbers: Any  # of the markets
    potentials: Any  # of firms


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
    prediction, effort = _no_prediction(economies, lanes), _FIRST
    solved: list[_Solved] = []

    with ThreadPoolExecutor(_threads()) as pool:

        def solve(chunks: list[np.ndarray], *how: Any) -> list[_Solved]:
            def one(chunk: np.ndarray) -> _Solved:
                chosen = jax.tree.map(lambda x: x[chunk], economies)
                return jax.device_get(_program(of, chosen, *how))

            return list(pool.map(one, chunks))

        for wave in _waves(chunks):
            solved += solve(wave, prediction, effort)
            if len(solved) < len(chunks):
                prediction, effort = _learnt(prediction, solved, solved[-len(wave) :])
        whole = (solved[0].result, solved[0].status)
        whole = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), whole)
        _keep(whole, chunks, solved)
        left = whole[1] != Status.CERTIFIED
        if effort == _ALL:
            left[np.concatenate(wave)] = False
        again = _chunks(np.flatnonzero(left), lanes)
        _keep(whole, again, solve(again, prediction, _ALL))
    return whole[0]


@partial(jax.jit, static_argnames="of")
def _program(
    of: Callable[[Equilibrium], Any],
    economies: Economy,
    prediction: Prediction,
    effort: tuple[jax.Array, jax.Array],
) -> _Solved:
    max_iter, certificate_steps = effort

    def lane(economy: Economy) -> _Solved:
        kernel = choose_kernel(economy, "dense")
        numbers = market_numbers(economy)
        start = predicted(prediction, numbers)
        eq = equilibrium_of(economy, kernel, "newton", max_iter, start, certificate_steps)
        return _Solved(of(eq), eq.status, eq.iterations, numbers, eq.potentials)

    return jax.vmap(lane)(economies)


def _sizes(economies: Economy) -> tuple[int, int]:
    """Worker types of all origins, and firm types."""
    workers = sum(origin.mass.shape[-1] for origin in economies.origins)
    return workers, economies.firms.mass.shape[-1]


def _chunks(lanes_of: np.ndarray, size: int) -> list[np.ndarray]:
    """Chunks of one size, each spread over all the lanes; some lanes stand twice."""
    count = -(-len(lanes_of) // size)
    return [np.resize(lanes_of[k::count], size) for k in range(count)]


def _waves(chunks: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Chunks that are solved from one prediction: few at first."""
    ends = 0, _threads(), 3 * _threads(), len(chunks)
    return (chunks[start:end] for start, end in pairwise(ends) if chunks[start:end])


def _keep(whole: Any, chunks: list[np.ndarray], solved: list[_Solved]) -> None:
    """Put the result and status of chunks where their lanes stand."""
    for chunk, part in zip(chunks, solved, strict=True):
        for into, values in zip(*map(jax.tree.leaves, (whole, part[:2])), strict=True):
            into[chunk] = values


def _no_prediction(economies: Economy, lanes: int) -> Prediction:
    one = jax.tree.map(lambda x: x[0], economies)
    return no_prediction(jax.eval_shape(market_numbers, one).size, _sizes(economies)[1], lanes)


def _learnt(
    prediction: Prediction, solved: list[_Solved], wave: list[_Solved]
) -> tuple[Prediction, tuple[int, int]]:
    """A prediction from all that is solved, and the steps that are usual in the last wave."""
    status, steps = (np.concatenate([part[k] for part in wave]) for k in (1, 2))
    usual = int(np.quantile(steps, _USUAL))
    effort = (usual, 1) if np.mean(status == Status.CERTIFIED) >= _USUAL else _ALL
    longest = np.quantile(np.concatenate([part.iterations for part in solved]), _USUAL)
    # lanes that take long are unlike the others, whose centre and directions these are to be
    met = [(part.status <= Status.UNDETERMINED) & (part.iterations <= longest) for part in solved]
    if not any(map(np.any, met)):
        return prediction, effort
    known = [(part.numbers[ok], part.potentials[ok]) for part, ok in zip(solved, met, strict=True)]
    with one_blas_thread():
        return fit_prediction(prediction, *map(np.concatenate, zip(*known, strict=True))), effort


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
