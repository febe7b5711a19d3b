"""From the cheapest kernel to the one that proves its solution."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from matching.blas import one_blas_thread
from matching.equilibrium import Equilibrium
from matching.errors import InvalidInput
from matching.kernel import Factors, Kernel, Matches, sums
from matching.kernel_choice import kernel_of_factors, low_rank_of_factors, most_features
from matching.scaled_kernel import ScaledKernel, ScaledMatches
from matching.status import WAGE_TOLERANCE, Status
from matching.streamed_kernel import StreamedKernel

# The error asked for where the first low rank did not do, and how much larger its rank may be.
_CLOSER, _MORE = 1e-12, 3
# Sums whose error may be so large a share of the type's mass say nothing of its potential, which is
# found from all of its pairs then, for so many types at most.
_LOST, _MOST_LOST = 0.1, 256

# How XLA says that memory has run out, on a GPU and on a CPU.
_NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")

_EPS = float(np.finfo(np.float64).eps)

_LOG = logging.getLogger("matching")


class _Solved(Protocol):
    """What a solution says of itself."""

    @property
    def status(self) -> jax.Array: ...
    @property
    def max_residual(self) -> jax.Array: ...
    @property
    def all_matches(self) -> Matches: ...
    @property
    def potentials(self) -> jax.Array: ...


_S = TypeVar("_S", bound=_Solved)


def solve_by_kernels(
    pair: Factors,
    mass_x: jax.Array,
    mass_y: jax.Array,
    kernel: str | Kernel,
    solve: Callable[[Kernel, Any], _S],
    start: Any = None,
    memory: float | None = None,
) -> _S:
    """Solve with a given kernel, or with the first of those that suit that is certified.

    ``solve`` takes a kernel and firms' potentials to start from. After a low rank that leaves a
    solution uncertified comes a closer one, made for the types that it matched, then an exact one;
    none that cannot be kept where margins are met and no kernel would tell the level of wages.
    """
    if not isinstance(kernel, str):
        return _within_memory(kernel, solve, start)
    begun: dict[int, _S] = {}

    def begin(low_rank: Kernel) -> None:
        begun.clear()
        with suppress(jax.errors.JaxRuntimeError):  # it comes again where this kernel is chosen
            begun[id(low_rank)] = solve(low_rank, start)

    chosen = kernel_of_factors(pair, mass_x, mass_y, kernel, memory=memory, begin=begin)
    solution = _within_memory(chosen, solve, start, begun.pop(id(chosen), None))
    begun.clear()
    if kernel != "auto" or chosen.name != "low rank" or _is_certified(solution):
        return solution
    exact = kernel_of_factors(pair, mass_x, mass_y, low_rank=False, memory=memory)
    dear = isinstance(exact, StreamedKernel)
    if dear and _is_open(solution):
        return solution
    if np.isfinite(solution.max_residual):
        _LOG.info("the low-rank kernel left the solution uncertified; absorbing its potentials")
        found, start = _found(solution, mass_x, mass_y), solution.potentials
        del chosen, solution  # two tables are never held
        nearer = _with_closer_kernel(pair, found, solve, start, memory)
        if nearer is not None and (_is_certified(nearer) or (dear and _is_open(nearer))):
            return nearer
        del nearer
    _LOG.warning(
        "no low-rank kernel certified the solution; solving with the %s one, of %s cells",
        exact.name,
        f"{len(mass_x) * len(mass_y):,}",
    )
    return _within_memory(exact, solve, start)


def _within_memory(
    kernel: Kernel,
    solve: Callable[[Kernel, Any], _S],
    start: Any,
    under_way: _S | None = None,
) -> _S:
    """Solve, if no solution is under way, with blocks of half the size where memory runs out.

    Raises :class:`~matching.errors.InvalidInput` where it runs out with a kernel of no blocks.
    """
    while True:
        try:
            solution = solve(kernel, start) if under_way is None else under_way
            jax.block_until_ready(solution.status)  # as all of one program are, with it
            return solution
        except jax.errors.JaxRuntimeError as error:
            if not any(sign in str(error) for sign in _NO_MEMORY):
                raise
            if not isinstance(kernel, StreamedKernel):
                raise InvalidInput(
                    [f"memory: ran out with the {kernel.name} kernel; choose kernel 'streamed', "
                     "which halves its blocks till they fit, or take a machine or device with more"]
                ) from error  # fmt: skip
            if kernel.block == 1:
                raise
            kernel = replace(kernel, block=kernel.block // 2)
            _LOG.warning("memory ran out; going on with %d worker types at a time", kernel.block)


class _Found(NamedTuple):
    """What a low-rank kernel of the matches found needs to know of them."""

    matched: tuple[jax.Array, jax.Array]  # the mass of each type that is, (N,) and (J,)
    log_density: tuple[np.ndarray, np.ndarray]  # potentials of π/(f g) times the larger side's mass
    rank: int  # features that they were found with


def _with_closer_kernel(
    pair: Factors,
    found: _Found,
    solve: Callable[[Kernel, Any], _S],
    start: Any,
    memory: float | None,
) -> _S | None:
    """The solution with a low-rank kernel of the matches found; ``None`` where that is none."""
    most = min(_MORE * found.rank, most_features(pair, memory))
    closer = low_rank_of_factors(pair, *found.matched, most, found.log_density, _CLOSER)
    if not isinstance(closer, ScaledKernel):
        return None
    try:
        return _within_memory(closer, solve, start)
    except InvalidInput as error:
        _LOG.warning("%s", error)
        return None


def _found(solution: _Solved, mass_x: jax.Array, mass_y: jax.Array) -> _Found:
    matches = solution.all_matches
    assert isinstance(matches, ScaledMatches)
    kernel, (error_x, error_y) = matches.kernel, matches.error()
    whole = float(np.log(max(mass_x.sum(), mass_y.sum())))
    p, q = _potential(matches.row, mass_x) + whole, _potential(matches.column, mass_y)
    u, v = np.asarray(kernel.u), np.asarray(kernel.v)
    lost_x, lost_y = _lost(error_x, mass_x), _lost(error_y, mass_y)
    with one_blas_thread():
        p[lost_x] = whole - _log_sums(u[lost_x], v, q, mass_y)
        q[lost_y] = whole - _log_sums(v[lost_y], u, p, mass_x)
    of_workers, of_firms = sums(matches, (len(mass_x), len(mass_y)))
    return _Found(
        # where the kernel's error is larger than what is matched sums may be anything
        (jnp.clip(of_workers, 0.0, mass_x), jnp.clip(of_firms, 0.0, mass_y)),
        (p, q),
        kernel.table.rank,
    )


def _potential(exponent: jax.Array, mass: jax.Array) -> np.ndarray:
    """Of matches per mass; −∞ for types of zero mass."""
    return np.array(jnp.where(mass > 0, exponent - jnp.log(mass), -jnp.inf))


def _lost(error: jax.Array, mass: jax.Array) -> np.ndarray:
    """Types, by their numbers, of which next to nothing is known; the worst, if they are many."""
    share = np.asarray(jnp.where(mass > 0, error / mass, 0.0))
    lost = np.flatnonzero(share > _LOST)
    return lost[np.argsort(-share[lost])[:_MOST_LOST]]


def _log_sums(
    own: np.ndarray, others: np.ndarray, potential: np.ndarray, mass: jax.Array
) -> np.ndarray:
    """What types would match of their mass at a potential of zero, one after the other, in logs."""
    from scipy.special import logsumexp  # a fifth of a second, at every start

    with np.errstate(divide="ignore"):
        weight = potential + np.log(np.asarray(mass))
    return np.array([logsumexp(others @ type_ + weight) for type_ in own])


def _is_certified(solution: _Solved) -> bool:
    return int(np.asarray(solution.status)) == Status.CERTIFIED


def _is_open(solution: _Solved) -> bool:
    """Whether margins are met and rounding alone would leave the level of wages open.

    A bound within what is accepted is in proportion to errors, of which rounding leaves some on
    every kernel. One that is infinite here is so of errors too large by far.
    """
    if int(np.asarray(solution.status)) != Status.UNDETERMINED:
        return False
    assert isinstance(solution, Equilibrium)  # matches of given margins leave no level open
    return bool(solution.wage_error_bound * _EPS > WAGE_TOLERANCE * solution.max_residual)
