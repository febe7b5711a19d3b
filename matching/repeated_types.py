"""Types that repeat are solved as one: a register has many workers and few sets of skills.

Types of equal characteristics, outside options and mass per unit of partner space have equal
potentials. So ``k`` of them make one type of their total mass, in their total partner space, and
each has its share of that type's matches and unmatched. Per density the space is the mass, so that
types merge whatever their masses. Per cell it is a cell, so that masses must be equal too: ``π``
being in proportion to ``f0^θ``, ``k`` types of ``f0`` match ``k^(1−θ)`` times as much as one of
``k f0``, which is what an outside option lower by ``λ_y log k`` does. So do firms, with ``λ_x``.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ops import segment_sum
from jax.tree_util import register_dataclass

from matching.arrays import is_traced, sample_of
from matching.economy import Economy, Firms
from matching.equilibrium import Equilibrium
from matching.kernel import SMALL, Matches

# Types are merged where that leaves at most this share of the cells.
_WORTH = 0.5
# Among so many times √N of N types two are equal, nearly surely, where half of all have an equal.
_SAMPLE = 4.0
# An odd number and a shift that mix the bits of what they meet.
_MIX, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


@partial(register_dataclass, data_fields=["which", "share"], meta_fields=["count"])
@dataclass(frozen=True)
class Parts:
    """The types of one side as parts of distinct ones."""

    which: jax.Array  # (N,): the distinct type that each is a part of
    share: jax.Array  # (N,): of its mass; zero for a type of zero mass
    count: int  # how many are distinct

    def alike(self, values: jax.Array) -> jax.Array:
        """What every part has as its type has it; zero where there is no mass."""
        return jnp.where(self.share > 0, values[self.which], 0.0)

    def divided(self, values: jax.Array) -> jax.Array:
        """Each part's share of what the distinct types have, ``(N, k)``."""
        return self.share[:, None] * values[self.which]

    def gathered(self, values: jax.Array) -> jax.Array:
        """``Σ share values`` over the parts of each distinct type, from ``(N, k)``."""
        return segment_sum(self.share[:, None] * values, self.which, self.count)


@partial(register_dataclass, data_fields=["economy", "origins", "firms"], meta_fields=[])
@dataclass(frozen=True)
class MergedTypes:
    """An economy of distinct types, and what the types of the whole are of it."""

    economy: Economy
    origins: tuple[Parts, ...]
    firms: Parts

    @property
    def workers(self) -> Parts:
        """The parts of all origins, stacked."""
        *starts, count = np.cumsum([0, *(parts.count for parts in self.origins)]).tolist()
        which = [parts.which + start for parts, start in zip(self.origins, starts, strict=True)]
        share = [parts.share for parts in self.origins]
        return Parts(jnp.concatenate(which), jnp.concatenate(share), count)

    def start(self, potentials: jax.Array) -> jax.Array:
        """Firms' potentials as those of distinct types: equal types have equal ones."""
        return jnp.zeros(self.firms.count).at[self.firms.which].set(potentials)

    def __str__(self) -> str:
        sides = ((self.workers, "worker"), (self.firms, "firm"))
        return ", ".join(
            f"{len(parts.share):,} {side} types, {parts.count:,} distinct" for parts, side in sides
        )


@partial(register_dataclass, data_fields=["whole", "workers", "firms"], meta_fields=[])
@dataclass(frozen=True)
class PartialMatches:
    """Matches between parts: their two shares of the matches between distinct types."""

    whole: Matches
    workers: Parts
    firms: Parts

    def times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return self.workers.divided(self.whole.times(self.firms.gathered(values)))

    def transposed_times(self, values: jax.Array) -> jax.Array:  # noqa: D102
        return self.firms.divided(self.whole.transposed_times(self.workers.gathered(values)))

    def error(self) -> tuple[jax.Array, jax.Array]:  # noqa: D102
        error_x, error_y = self.whole.error()
        return (
            self.workers.divided(error_x[:, None])[:, 0],
            self.firms.divided(error_y[:, None])[:, 0],
        )

    @property
    def log_cells(self) -> None:  # noqa: D102
        return None

    def rows(self, start: int, stop: int) -> "PartialMatches":  # noqa: D102
        x = self.workers
        some = replace(x, which=x.which[start:stop], share=x.share[start:stop])
        return replace(self, workers=some)


class _Side(NamedTuple):
    """The types of an origin, or firms'."""

    points: Any  # (N, d)
    mass: Any  # (N,)
    outside_option: Any  # () or (N,)


def merged_types(economy: Economy, least: int = SMALL) -> MergedTypes | None:
    """The economy with its repeated types merged; ``None`` where that is not worth it.

    A market of up to ``least`` cells stays as it is, for the matrix of its matches is wanted; so
    does one inside ``jit``, where nothing is known.
    """
    cells = sum(len(o.mass) for o in economy.origins) * len(economy.firms.mass)
    if cells <= least or is_traced(economy):
        return None
    firms = economy.firms
    sides = [(o.skills, o.mass, o.outside_option) for o in economy.origins]
    sides += [(firms.characteristics, firms.mass, firms.outside_option)]
    wholes = [_Side(*map(np.asarray, side)) for side in sides]
    per_cell = economy.intensity_unit == "cell"
    groups = [_groups(side, per_cell) for side in wholes]
    *workers, jobs = (int(group.max()) + 1 for group in groups)
    if sum(workers) * jobs > _WORTH * cells:
        return None
    scales = [economy.lambda_y] * len(workers) + [economy.lambda_x]
    spaces = [float(scale) if per_cell else 0.0 for scale in scales]
    *merged, (few_firms, parts_of_firms) = map(_merged, wholes, groups, spaces)
    origins = tuple(
        replace(o, skills=few.points, mass=few.mass, outside_option=few.outside_option)
        for o, (few, _) in zip(economy.origins, merged, strict=True)
    )
    return MergedTypes(
        replace(economy, origins=origins, firms=Firms(*few_firms)),
        tuple(parts for _, parts in merged),
        parts_of_firms,
    )


def expanded(eq: Equilibrium, economy: Economy, merged: MergedTypes) -> Equilibrium:
    """The equilibrium of ``economy``, certificate included, from that of its merged types.

    Residuals are relative to masses and bounds are of logs, so that parts have their type's.
    """
    matches = PartialMatches(eq.all_matches, merged.workers, merged.firms)
    alone = replace(eq, economy=None, all_matches=None)  # type: ignore[arg-type]
    return replace(_expanded(alone, merged), economy=economy, all_matches=matches)


@jax.jit
def _expanded(eq: Equilibrium, merged: MergedTypes) -> Equilibrium:
    """What is of each type; a program would hand back copies of what it is given."""

    def unmatched(parts: Parts, log_f0: jax.Array) -> jax.Array:
        return log_f0[parts.which] + jnp.log(parts.share)

    def alike(values: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(map(Parts.alike, merged.origins, values))

    return replace(
        eq,
        log_unmatched=tuple(map(unmatched, merged.origins, eq.log_unmatched)),
        log_unmatched_firms=unmatched(merged.firms, eq.log_unmatched_firms),
        residual_workers=alike(eq.residual_workers),
        residual_firms=merged.firms.alike(eq.residual_firms),
        bound_workers=alike(eq.bound_workers),
        bound_firms=merged.firms.alike(eq.bound_firms),
    )


def _groups(side: _Side, per_cell: bool) -> np.ndarray:
    """The group of types to merge that each type belongs to, ``(N,)``, numbered from zero."""
    count = len(side.mass)
    columns = [*side.points.T]
    if side.outside_option.ndim:
        columns.append(side.outside_option)
    if per_cell:
        columns.append(side.mass)
    alone = np.arange(count)
    some = sample_of(count, int(_SAMPLE * count**0.5))
    few = np.sort(_hashes([column[some] for column in columns]))
    if np.all(few[1:] != few[:-1]):
        return alone
    hashes = _hashes(columns)
    order = np.argsort(hashes)
    first = np.append(True, np.diff(hashes[order]) != 0)
    group = np.empty(count, dtype=int)
    group[order] = np.cumsum(first) - 1
    like = order[first][group]
    equal = all(np.array_equal(column, column[like]) for column in columns)
    return group if equal else alone  # two that differ have the same hash once in a million years


def _hashes(columns: list[np.ndarray]) -> np.ndarray:
    """64 bits of each row; equal rows have equal ones."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed ^= (column + 0.0).view(np.uint64)  # which makes minus zero zero
        mixed *= _MIX
        mixed ^= mixed >> _SHIFT
    return mixed


def _merged(side: _Side, group: np.ndarray, scale: float) -> tuple[_Side, Parts]:
    """The distinct types, and all types as parts of them; ``scale`` is what space is worth."""
    size = np.bincount(group)
    member = np.empty(len(size), dtype=int)
    member[group] = np.arange(len(group))
    mass = _sums(side.mass, group, size)
    share = np.divide(side.mass, mass[group], out=np.zeros(len(group)), where=side.mass > 0)
    option = side.outside_option[member] if side.outside_option.ndim else side.outside_option
    if scale:
        option = option - scale * np.log(size)
    few = _Side(*map(jnp.asarray, (side.points[member], mass, option)))
    return few, Parts(jnp.asarray(group), jnp.asarray(share), len(size))


def _sums(values: np.ndarray, group: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Sums of each group, right to rounding however many terms: leading digits add up exactly."""
    largest = np.zeros(len(size))
    np.maximum.at(largest, group, values)
    unit = np.ldexp(1.0, np.frexp(largest * size)[1])[group]
    leading = (unit + values) - unit
    return np.bincount(group, leading) + np.bincount(group, values - leading)
