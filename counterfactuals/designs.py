"""Designs: many points around one economy, as grids, lists, random and quasi-random draws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, qmc

from counterfactuals.shocks import Change, Kind, Shock, apply_shock
from matching import Economy, InvalidInput, get_parameter

Method = Literal["random", "latin_hypercube", "sobol", "halton"]


@dataclass(frozen=True)
class Axis:
    """A parameter and the values that a design lets it take: ``set``, added or multiplied."""

    parameter: str
    kind: Kind
    values: np.ndarray  # (K, ...): numbers, or arrays of the parameter's shape


@dataclass(frozen=True)
class Spread:
    """A parameter and the distribution from which a design draws."""

    parameter: str
    kind: Kind
    shape: Literal["uniform", "normal"]
    bounds: tuple[float, float]  # lowest and highest; or mean and standard deviation


@dataclass(frozen=True)
class Design:
    """``P`` points: the shocks ``after`` one by one, then ``fixed`` and one value of every axis."""

    name: str
    axes: tuple[Axis, ...]
    index: np.ndarray  # (P, A): the value of each axis that a point takes
    fixed: tuple[Change, ...] = ()
    after: tuple[Shock, ...] = ()

    def __len__(self) -> int:
        """Number of points."""
        return len(self.index)


def single(shock: Shock, after: Sequence[Shock] = ()) -> Design:
    """The design of one point: a shock, on top of the shocks ``after``."""
    return Design(shock.name, (), np.zeros((1, 0), int), shock.changes, tuple(after))


def grid(
    name: str, axes: Sequence[Axis], *, fixed: Sequence[Change] = (), after: Sequence[Shock] = ()
) -> Design:
    """Every combination of the axes' values; the last axis runs fastest.

    >>> import numpy as np
    >>> costs = Axis("origin.china.constant", "add", np.linspace(0.0, 10.0, 3))
    >>> len(grid("costs", [costs, Axis("technology.affinity", "multiply", np.array([1.0, 2.0]))]))
    6
    """
    _require_values(name, axes)
    shape = [len(axis.values) for axis in axes]
    index = np.indices(shape).reshape(len(axes), -1).T
    return Design(name, tuple(axes), index, tuple(fixed), tuple(after))


def listed(
    name: str, axes: Sequence[Axis], *, fixed: Sequence[Change] = (), after: Sequence[Shock] = ()
) -> Design:
    """Point ``k`` takes every axis's value ``k``; all axes have the same number of values.

    Raises :class:`~matching.InvalidInput` where they have not.
    """
    _require_values(name, axes)
    counts = {len(axis.values) for axis in axes}
    if len(counts) > 1:
        each = ", ".join(f"{axis.parameter} {len(axis.values)}" for axis in axes)
        raise InvalidInput([f"design {name!r}: a list needs as many values of every parameter, "
                            f"and has of {each}"])  # fmt: skip
    index = np.repeat(np.arange(counts.pop())[:, None], len(axes), axis=1)
    return Design(name, tuple(axes), index, tuple(fixed), tuple(after))


def drawn(
    name: str,
    spreads: Sequence[Spread],
    points: int,
    *,
    method: Method = "random",
    seed: int = 0,
    fixed: Sequence[Change] = (),
    after: Sequence[Shock] = (),
) -> Design:
    """``points`` draws of all parameters; the same name, seed and number give the same draws.

    ``method`` is ``random`` (independent draws), or one of SciPy's scrambled sequences
    (``scipy.stats.qmc``) that fill the space evenly; a Sobol' sequence is balanced where
    ``points`` is a power of two. Raises :class:`~matching.InvalidInput` for spreads that are none.
    """
    defects = [] if spreads and points > 0 else [f"{points} draws of {len(spreads)} parameters"]
    for spread in spreads:
        low, high = spread.bounds
        if not np.isfinite(spread.bounds).all() or (high <= low if spread.shape == "uniform"
                                                    else high <= 0):  # fmt: skip
            what = "from < to" if spread.shape == "uniform" else "a positive sd"
            defects.append(f"{spread.parameter}: {spread.bounds} is no {spread.shape} "
                           f"distribution; give {what}")  # fmt: skip
    if defects:
        raise InvalidInput([f"design {name!r}: {defect}" for defect in defects])
    rng = np.random.default_rng([seed, *name.encode()])
    uniform = _uniform(method, len(spreads), points, rng)
    axes = tuple(
        Axis(spread.parameter, spread.kind, _quantiles(spread, uniform[:, k]))
        for k, spread in enumerate(spreads)
    )
    return listed(name, axes, fixed=fixed, after=after)


def taken_from(other: Economy, parameter: str, source: str | None = None) -> Change:
    """The change that gives ``parameter`` the value that ``source`` has in another economy.

    ``source`` is the same parameter by default; raises :class:`~matching.InvalidInput` where the
    other economy has none of that name.
    """
    return Change(parameter, "set", np.asarray(get_parameter(other, source or parameter)))


def shocks_of_point(design: Design, point: int) -> tuple[Shock, ...]:
    """The shocks, one on top of the other, that make one point of a design."""
    values = [axis.values[k] for axis, k in zip(design.axes, design.index[point], strict=True)]
    return (*design.after, _shock(design, values))


def economies_of(economy: Economy, design: Design, points: np.ndarray) -> Economy:
    """The economies of some points of a checked design as a batch, for ``vmap``."""
    base = reduce(apply_shock, design.after, economy)
    if not design.axes:
        base = apply_shock(base, _shock(design, []))
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(points), *x.shape)), base)
    values = [
        jnp.asarray(axis.values[design.index[points, k]]) for k, axis in enumerate(design.axes)
    ]
    return jax.vmap(lambda *each: apply_shock(base, _shock(design, each)))(*values)


def part_of(design: Design, points: np.ndarray) -> Design:
    """The design of some of a design's points, with the values that these take and no others."""
    axes = tuple(
        replace(axis, values=axis.values[design.index[points, k]])
        for k, axis in enumerate(design.axes)
    )
    index = np.repeat(np.arange(len(points))[:, None], len(axes), axis=1)
    return replace(design, axes=axes, index=index)


def check_design(economy: Economy, design: Design) -> None:
    """Raise :class:`~matching.InvalidInput` with all that is wrong at any point of a design.

    What makes an economy invalid is a number beyond a bound, and every parameter moves one way
    with its value: where an axis consists of numbers, its smallest and largest stand for all.
    """
    base = reduce(apply_shock, design.after, economy)
    first = [axis.values[0] for axis in design.axes]
    trials = [first]
    for k, axis in enumerate(design.axes):
        ends = axis.values if axis.values.ndim > 1 else (axis.values.min(), axis.values.max())
        trials += [[*first[:k], value, *first[k + 1 :]] for value in ends]
    defects: dict[str, None] = {}
    for values in trials:
        try:
            apply_shock(base, _shock(design, values))
        except InvalidInput as error:
            defects |= dict.fromkeys(error.defects)
    if defects:
        raise InvalidInput(list(defects))


def _shock(design: Design, values: Sequence[Any]) -> Shock:
    changes = tuple(
        Change(axis.parameter, axis.kind, value)
        for axis, value in zip(design.axes, values, strict=True)
    )
    return Shock(design.name, design.fixed + changes)


def _require_values(name: str, axes: Sequence[Axis]) -> None:
    empty = [axis.parameter for axis in axes if not len(axis.values)]
    defects = [f"design {name!r}: {parameter} has no values; give some" for parameter in empty]
    if defects or not axes:
        raise InvalidInput(defects or [f"design {name!r}: changes nothing; name a parameter"])


def _uniform(method: Method, dimensions: int, points: int, rng: np.random.Generator) -> np.ndarray:
    if method == "random":
        return rng.random((points, dimensions))
    if method == "latin_hypercube":
        return qmc.LatinHypercube(dimensions, rng=rng).random(points)
    if method == "halton":
        return qmc.Halton(dimensions, rng=rng).random(points)
    # whole powers of two keep SciPy from warning; the first points are the same for any number
    return qmc.Sobol(dimensions, rng=rng).random_base2((points - 1).bit_length())[:points]


def _quantiles(spread: Spread, uniform: np.ndarray) -> np.ndarray:
    low, high = spread.bounds
    if spread.shape == "uniform":
        return low + (high - low) * uniform
    tiny = np.finfo(float).eps  # a draw of exactly 0 would be −∞
    return norm.ppf(np.clip(uniform, tiny, 1 - tiny), low, high)
