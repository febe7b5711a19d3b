"""Features of ``exp(u·v)`` whose inner products reproduce it to a proven bound.

Between two scalings ``exp(u·v)`` is a Gaussian (:mod:`matching.coordinates`), and that the product
of one for each coordinate. Each of those is a positive definite kernel on the types of both sides
together. A partial Cholesky factorisation of it on a few pivots
``Z`` gives each type ``w`` the features ``L⁻¹ exp(−(Z−w)²/2)``. They are turned along the axes of
their second moments over both sides, of which the first are kept. Coordinates make two groups.
Products of a feature of each coordinate are features of the group; those that matter are turned
and cut likewise, or formed anew each time, where they are too many to keep. Products of the two
groups' features are summed by matrix products and never formed
(:class:`~matching.scaled_kernel.Features`).

With ``F_w`` a group's features the remainder is positive definite too, so that by Cauchy and
Schwarz ``|exp(−|x−y|²/2) − F_x·F_y| ≤ √r_x √r_y`` with ``r_w = 1 − |F_w|²``: a proven error from
one number a type. As no Gaussian exceeds 1, the errors of the groups add up, and once more by
Cauchy and Schwarz so do their ``r_w``.

Where potentials are known errors count with them: with ``ρ_x ρ_y exp(−|x−y|²/2)`` the density of
matches, they are those of the margins.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.linalg.lapack import dpstrf, dtrtri

from matching.arrays import sample_of
from matching.coordinates import Frame, equal_spread, grouped, least_dense
from matching.scaled_kernel import Features, Group, ScaledKernel, in_parts

# The error asked for at first: margins are accepted at a thousand times as much, and lose digits
# where matches concentrate in corners.
TOLERANCE = 1e-13

_EPS = float(np.finfo(np.float64).eps)
# Pivots are picked among this many types at first, and among four times their own number at last.
_SAMPLE, _PER_PIVOT, _MOST_PIVOTS = 64, 4, 2000
# Types of a side on which products of features are weighed, and so many of those at most.
_SEEN, _MOST_PRODUCTS = 256, 8000
# Types whose error is this many times what is asked, which lie far from that sample, join it, so
# many at a time, in so many attempts at most.
_ENOUGH, _JOIN, _ATTEMPTS = 30.0, 256, 6
# Beyond such a density of matches its rounding exceeds what margins are accepted at.
_DENSEST = 1e7
# Parts of a line, of each of which one type is in the sample.
_PARTS = 32
# The share of the error asked for that a cut may leave, as types outside the sample lose more.
_UNSEEN = 0.25
# Features of a side that are formed at a time, as many as a processor's cache holds. So many in all
# are formed once and kept, for programs without blocks are smaller; beyond, products of features
# are formed anew, unless they are this many times as many as their axes.
_BLOCK, _FEW, _WORTH = 100_000, 500_000, 1.5
# Numbers of features are rounded up to so many leading bits: few programs serve all of them.
_BITS = 4
# Products of two groups' features are a matrix product's work, not memory's: so many pay.
_DEAREST = 200

# Each type's share of the error, of either side.
_Errors = tuple[jax.Array, jax.Array]


class RankTooLow(NamedTuple):
    """Why there is no low-rank kernel: the features needed, if known, and the error of few."""

    needed: int | None
    bound: float

    def explanation(self, rank: int) -> str:
        """The two in words, for a rank that was allowed."""
        if self.needed is None:
            return f"the affinity of these types is not of rank {rank:,}, nor of any near it"
        return (
            f"rank {rank:,} leaves an error of {self.bound:.1g} of the largest match; "
            f"{TOLERANCE:.0e} is asked, which takes rank {self.needed:,}"
        )


class _Side(NamedTuple):
    """The types of one side, in the coordinates of a group."""

    points: np.ndarray  # (n, d)
    rho: np.ndarray  # what each type's error counts, (n,)
    share: np.ndarray  # weights that add up to one, (n,)
    members: np.ndarray  # types that every sample has, by their numbers

    def some(self, count: int) -> "_Side":
        """So many of the types and the members, with weights that add up to one again."""
        counting = np.flatnonzero(self.rho > 0)
        others = sample_of(len(counting), max(0, count - len(self.members)))
        which = np.union1d(counting[others], self.members)
        share = self.share[which]
        all_of_them = np.arange(len(which))
        return _Side(self.points[which], self.rho[which], share / share.sum(), all_of_them)

    def along(self, coordinate: int) -> "_Side":
        return self._replace(points=self.points[:, coordinate])


class _Basis(NamedTuple):
    """A coordinate's features of ``w`` are ``change exp(−(Z−w)²/2)``."""

    pivots: Any  # Z, (p,)
    change: Any  # L⁻¹ ρ_Z, and a rotation, (rank, p)

    def features(self, points: Any) -> Any:
        """Those of points ``(n,)`` of NumPy's or JAX's: ``(rank, n)``."""
        numpy = jnp if isinstance(points, jax.Array) else np
        return self.change @ numpy.exp(-0.5 * (self.pivots[:, None] - points[None, :]) ** 2)

    def growth(self, features: jax.Array) -> jax.Array:
        """Of a rounding of what makes another type's features, in products with these, ``(n,)``."""
        return jnp.sqrt(jnp.sum(self.change**2, axis=1) @ features**2)


class _Sampled(NamedTuple):
    """Features of sampled types of one side, times their ``ρ``, and their weights."""

    features: np.ndarray  # (s, p)
    share: np.ndarray  # (s,)

    @property
    def moments(self) -> np.ndarray:
        return (self.share[:, None] * self.features).T @ self.features

    def turned(self, axes: np.ndarray) -> "_Sampled":
        return self._replace(features=self.features @ axes)


class _Cut(NamedTuple):
    """A group's features along axes of which the first ``rank`` do."""

    bases: list[_Basis]  # of each coordinate
    which: np.ndarray  # of each coordinate's features those multiplied, (coordinates, p)
    turn: np.ndarray | None  # from products to axes, (p, p); none for one coordinate
    rank: int
    lost: np.ndarray  # the error that keeping the first so many leaves, (p,)


class _Maker(NamedTuple):
    """What makes a group's features: products of coordinates' features if there are any, turned."""

    bases: Any  # of each coordinate
    which: Any  # of each coordinate's features the ones that are multiplied, (p,); or none
    turn: Any  # (rank, p); none where products themselves are the features


def low_rank_kernel(
    u: np.ndarray | jax.Array,
    v: np.ndarray | jax.Array,
    weight_x: np.ndarray | None = None,
    weight_y: np.ndarray | None = None,
    *,
    log_density: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    max_rank: int = 1000,
    begin: Callable[[ScaledKernel], None] | None = None,
) -> ScaledKernel | RankTooLow:
    """The low-rank kernel of ``exp(u_i·v_j)`` for ``u (N, d)``, ``v (J, d)``.

    ``log_density (N,), (J,)`` are potentials with which ``exp(u_i·v_j + p_i + q_j)`` is the density
    of matches, where they are known; types of −∞ do not count. ``tolerance`` is the error asked for
    on that density, else on ``exp(−|x−y|²/2) ≤ 1``, for any type on the average over its partners'
    weights; the kernel's own errors say what was reached, rounding included. :class:`RankTooLow`
    where more than ``max_rank`` features of a type would be needed, or rounding would leave a
    density no digits. ``begin`` takes a small kernel before its errors are looked at, and may be
    given a better one after that: so the device has work meanwhile.
    """
    of_u, of_v = np.asarray(u), np.asarray(v)
    share_x, share_y = _shares(len(u), weight_x), _shares(len(v), weight_y)
    frame, points = equal_spread(of_u, of_v, share_x, share_y)
    rho_x, rho_y = np.ones(len(u)), np.ones(len(v))
    if log_density is not None:
        frame = least_dense(frame, points, of_u, of_v, log_density)
        points = frame.points(of_u, of_v)
        rho = _rho(frame.shifts(of_u, of_v, points), log_density)
        if rho is None:
            return RankTooLow(None, math.inf)
        rho_x, rho_y = rho
    frame, points = grouped(frame, points)

    groups = [(_side(x, rho_x, share_x), _side(y, rho_y, share_y)) for x, y in points]
    # what rounding leaves of the largest type is no pivot
    least = max(tolerance, 4.0 * _EPS * max(rho_x.max(), rho_y.max()) ** 2)
    most = max(len(u), len(v))
    attempts = _ATTEMPTS
    while True:
        cuts = []
        for sides in groups:
            cut = _cut(*sides, least, tolerance, max_rank)
            if cut is None:
                return RankTooLow(None, math.inf)
            cuts.append(cut)
        ranks = [cut.rank for cut in cuts]
        if sum(ranks) > max_rank:
            return _too_low(cuts, max_rank)
        if math.prod(ranks) > _DEAREST * max_rank:
            return RankTooLow(None, math.inf)
        rounded = [min(_rounded(cut.rank), len(cut.lost)) for cut in cuts]
        if sum(rounded) <= max_rank:
            ranks = rounded
        small = max(ranks) * most <= _FEW
        kept = small or jax.default_backend() != "cpu"
        formed = [cut.which.shape[1] for cut in cuts]
        anew = [
            not kept and sum(formed) <= max_rank and count <= _WORTH * rank
            for count, rank in zip(formed, ranks, strict=True)
        ]
        makers = list(map(_maker, cuts, ranks, anew))
        at_once = most if kept else max(1, _BLOCK // max(ranks))
        kernel, errors = _kernel(u, v, frame, makers, at_once=at_once)
        if small and begin:
            begin(kernel)
        joined = [
            _with_missed(*sides, error, _ENOUGH * tolerance)
            for sides, error in zip(groups, errors, strict=True)
        ]
        attempts -= 1
        if not attempts or _members(joined) == _members(groups):
            return kernel
        groups = joined
        del kernel  # two large tables are never held


def _rho(
    shifts: tuple[np.ndarray, np.ndarray], log_density: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """``ρ`` of each type where potentials are known, as large on one side as on the other.

    ``None`` where they are so large that rounding would leave no digits.
    """
    x, y = (shift + potential for shift, potential in zip(shifts, log_density, strict=True))
    if not -math.inf < x.max() + y.max() <= math.log(_DENSEST):
        return None
    balance = 0.5 * (x.max() - y.max())
    return np.exp(x - balance), np.exp(y + balance)


def _shares(count: int, weight: np.ndarray | None) -> np.ndarray:
    """Weights that add up to one, none of them zero, so that every direction of types counts."""
    total = 0.0 if weight is None else weight.sum()
    if weight is None or not 0 < total < np.inf:
        return np.full(count, 1.0 / count)
    return 0.99 / total * weight + 0.01 / count


def _with_missed(x: _Side, y: _Side, errors: _Errors, most: float) -> tuple[_Side, _Side]:
    """With some types whose error exceeds ``most`` as members, the worst of them included."""
    error_x, error_y = x.rho * np.asarray(errors[0]), y.rho * np.asarray(errors[1])

    def joined(side: _Side, error: np.ndarray) -> _Side:
        if not np.any(error > most):
            return side
        missed = np.setdiff1d(np.flatnonzero(error > most), side.members)
        some = np.random.default_rng(3).permutation(missed)[:_JOIN]
        worst = missed[np.argsort(error[missed])[-_JOIN // 4 :]]
        return side._replace(members=np.unique(np.concatenate([side.members, some, worst])))

    return joined(x, error_x * (y.share @ error_y)), joined(y, error_y * (x.share @ error_x))


def _members(groups: list[tuple[_Side, _Side]]) -> int:
    return sum(len(side.members) for sides in groups for side in sides)


def _cut(x: _Side, y: _Side, least: float, tolerance: float, max_rank: int) -> _Cut | None:
    """Features of a group; ``None`` where no ``max_rank`` would do."""
    bases: list[_Basis] = []
    which = np.zeros((0, 1), dtype=int)
    coordinates = x.points.shape[1]
    for k in range(coordinates):
        alone = _coordinate(x.along(k), y.along(k), least, tolerance, max_rank)
        if alone is None or coordinates == 1:
            return alone
        bases += alone.bases
        which = _with_each(which, len(alone.bases[0].change))
        if which.shape[1] > _MOST_PRODUCTS:
            return None
        sampled = _sampled(x, y, _SEEN, bases, which)
        size = sum(side.share @ side.features**2 for side in sampled)
        order = np.argsort(-size, kind="stable")
        lost = _lost(*(side._replace(features=side.features[:, order]) for side in sampled))
        rank = _enough(lost, tolerance)
        if rank > _MOST_PIVOTS:
            return None
        which = which[:, order[: _rounded(rank)]]
    count = max(_SEEN, _PER_PIVOT * which.shape[1] // 2)
    axes, lost = _axes(*_sampled(x, y, count, bases, which))
    return _Cut(bases, which, axes.T, _enough(lost, tolerance), lost)


def _coordinate(x: _Side, y: _Side, least: float, tolerance: float, max_rank: int) -> _Cut | None:
    """Features of one coordinate."""
    found = _basis(x, y, least, max_rank)
    if found is None:
        return None
    basis, *sampled = found
    axes, lost = _axes(*sampled)
    rank = _enough(lost, tolerance)
    basis = basis._replace(change=axes.T[: _rounded(rank)] @ basis.change)
    return _Cut([basis], np.arange(len(basis.change))[None], None, rank, lost)


def _with_each(which: np.ndarray, count: int) -> np.ndarray:
    """Products, each with each of so many features of one coordinate more."""
    every = np.tile(np.arange(count), which.shape[1])
    return np.vstack([which.repeat(count, axis=1), every])


def _sampled(
    x: _Side, y: _Side, count: int, bases: list[_Basis], which: np.ndarray
) -> list[_Sampled]:
    """Products of a sample of either side."""
    sampled = []
    for side in (x, y):
        some = side.some(count)
        products = some.rho
        for basis, rows, points in zip(bases, which, some.points.T, strict=False):
            products = products * basis.features(points)[rows]
        sampled.append(_Sampled(products.T, some.share))
    return sampled


def _enough(lost: np.ndarray, tolerance: float) -> int:
    """How many features lose little enough."""
    return max(1, int(np.sum(lost > _UNSEEN * tolerance)))


def _maker(cut: _Cut, rank: int, anew: bool) -> _Maker:
    """What makes so many features: products themselves, if formed anew, else axes of theirs."""
    if cut.turn is None:
        (basis,) = cut.bases
        return _Maker([_padded(basis._replace(change=basis.change[:rank]), rank)], (), None)
    order = np.lexsort(cut.which[::-1])  # rows that are read together lie together
    which = tuple(cut.which[:, order].astype(np.int32))
    bases = [_padded(basis, _rounded(len(basis.change))) for basis in cut.bases]
    return _Maker(bases, which, None if anew else cut.turn[:rank, order])


def _too_low(cuts: list[_Cut], max_rank: int) -> RankTooLow:
    """What these cuts take, and what sharing ``max_rank`` features among them would leave."""
    total = sum(cut.rank for cut in cuts)
    error = 0.0
    for cut in cuts:
        few = max(1, max_rank * cut.rank // total)
        error += cut.lost[few : few + 1].sum()  # nothing where all of them are few
    return RankTooLow(total, float(error))


def _basis(
    x: _Side, y: _Side, tolerance: float, max_rank: int
) -> tuple[_Basis, _Sampled, _Sampled] | None:
    """Pivots and factor by complete pivoting on a sample of both sides."""
    count, seen = _SAMPLE, 0
    while True:
        some_x, some_y = x.some(count // 2), y.some(count // 2)
        sample = np.concatenate([some_x.points, some_y.points])
        rho = np.concatenate([some_x.rho, some_y.rho])
        factor, pivot, rank, _ = dpstrf(_gram(sample, rho), tol=tolerance, lower=1, overwrite_a=1)
        # a sample that is nearly all pivots tells of many more
        if rank > _MOST_PIVOTS or 2 * rank > max(max_rank, len(rho), 4 * _SAMPLE):
            return None
        if _PER_PIVOT * rank <= len(rho) or len(rho) == seen:  # all that there are
            break
        seen, count = len(rho), max(count + _SAMPLE, _PER_PIVOT * rank)
    order = pivot - 1
    features = np.empty((len(rho), rank))
    features[order] = np.tril(factor[:, :rank])
    pivots = order[:rank]
    change = np.tril(dtrtri(factor[:rank, :rank], lower=1)[0]) * rho[pivots]
    of_x, of_y = np.split(features, [len(some_x.rho)])
    return (
        _Basis(sample[pivots], change),
        _Sampled(of_x, some_x.share),
        _Sampled(of_y, some_y.share),
    )


def _side(points: np.ndarray, rho: np.ndarray, share: np.ndarray) -> _Side:
    """A side, with the types that every sample has at first.

    They are the outermost in some direction, where remainders are largest, and on a line also one
    of each part of it, so that few lie far from all of a sample; types that count nothing are none.
    """
    counting = np.flatnonzero(rho > 0)
    some = points[counting]
    if some.shape[1] == 1:
        line = some[:, 0]
        least, most = line.argmin(), line.argmax()
        length = line[most] - line[least] or 1.0
        found = np.full(_PARTS + 1, most)
        found[((line - line[least]) * (_PARTS / length)).astype(int)] = np.arange(len(line))
        members = np.append(found, least)
    else:
        oblique = np.random.default_rng(1).choice([-1.0, 1.0], (8, some.shape[1]))
        projected = np.vstack([np.eye(some.shape[1]), oblique]) @ some.T
        members = np.append(projected.argmin(1), projected.argmax(1))
    return _Side(points, rho, share, counting[np.unique(members)])


def _gram(points: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """``ρ_i ρ_j exp(−(w_i − w_j)²/2)`` for every pair."""
    gram = points[:, None] - points[None, :]
    gram *= gram
    gram *= -0.5
    np.exp(gram, out=gram)
    gram *= rho[:, None]
    gram *= rho
    return gram.T  # as LAPACK wants it in memory


def _axes(x: _Sampled, y: _Sampled) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal axes along which the features of both sides are ever smaller, ``(p, p)``.

    Last, the error that keeping the first so many leaves, ``(p,)``.
    """
    axes = np.linalg.eigh(x.moments + y.moments)[1][:, ::-1]
    return axes, _lost(x.turned(axes), y.turned(axes))


def _lost(x: _Sampled, y: _Sampled) -> np.ndarray:
    """The error of a type on the average over partners, if features from some on are cut: (p,)."""
    tails_x, tails_y = (
        np.sqrt(np.cumsum(side.features[:, ::-1] ** 2, axis=1)[:, ::-1]) for side in (x, y)
    )
    return np.maximum(tails_x.max(0) * (y.share @ tails_y), tails_y.max(0) * (x.share @ tails_x))


def _rounded(count: int) -> int:
    """A number at least as large, of few leading bits."""
    unit = 1 << max(0, count.bit_length() - _BITS)
    return -(-count // unit) * unit


def _padded(basis: _Basis, rank: int) -> _Basis:
    """So many features, and pivots that do nothing up to a round number of them."""
    count = len(basis.pivots)
    size = _rounded(count)
    pivots, change = np.zeros(size), np.zeros((rank, size))
    pivots[size - count :] = basis.pivots
    change[: len(basis.change), size - count :] = basis.change
    return _Basis(pivots, change)


@partial(jax.jit, static_argnames="at_once")
def _kernel(
    u: jax.Array, v: jax.Array, frame: Frame, makers: list[_Maker], *, at_once: int
) -> tuple[ScaledKernel, list[_Errors]]:
    """The kernel of some groups' features, and each group's errors."""
    points = frame.points(u, v)
    shift_x, shift_y = frame.shifts(u, v, points)
    made = [
        [_features(side, maker) for side in sides]
        for sides, maker in zip(points, makers, strict=True)
    ]
    left, right = (tuple(side[0] for side in sides) for sides in zip(*made, strict=True))
    errors = [(x[1], y[1]) for x, y in made]
    error_x, error_y = (
        jnp.sqrt(sum(error**2 for error in side)) for side in zip(*errors, strict=True)
    )
    table = Features(left, right, at_once)
    return ScaledKernel(u, v, table, shift_x, shift_y, error_x, error_y), errors


def _features(points: jax.Array, maker: _Maker) -> tuple[Group, jax.Array]:
    """Features of a group, and each type's share of the error, ``(n,)``."""
    bases, which, turn = maker
    count, products = len(points), len(which[0]) if which else 0
    largest = max(products, *(len(basis.pivots) for basis in bases))
    units = sum(2.0 * len(basis.pivots) ** 0.5 + 8.0 for basis in bases) + 3.0 * products**0.5
    anew = products > 0 and turn is None

    def further(
        done: tuple[jax.Array, ...], start: Any, size: int, fresh: Any
    ) -> tuple[jax.Array, ...]:
        del fresh
        part = lax.dynamic_slice_in_dim(points, start, size)
        group = Group(tuple(map(_Basis.features, bases, part.T)), which)
        features = group.features(0, size)
        features = features if turn is None else turn @ features
        remainder = jnp.maximum(1.0 - jnp.sum(features**2, axis=0), 0.0)
        # thrice, for the inverse in it is rounded too; of two types roundings add up, a + b, and
        # (c + a)(c + b)/c is no less
        growth = 3.0 * sum(map(_Basis.growth, bases, group.factors))
        rounding = _EPS * (units + growth) ** 2 / units
        kept = group.factors if anew else (features,)
        return tuple(
            lax.dynamic_update_slice_in_dim(whole, part, start, axis=-1)
            for whole, part in zip(done, (*kept, jnp.sqrt(remainder + rounding)), strict=True)
        )

    # begun with numbers of this side's own: zeros of both would be one array, and copies of it
    sizes = [len(basis.change) for basis in bases] if anew or turn is None else [len(turn)]
    begin = [jnp.broadcast_to(points.sum() + k, (size, count)) for k, size in enumerate(sizes)]
    block = max(1, _BLOCK // largest)
    *kept, error = in_parts(further, (*begin, begin[0][0]), count, block)
    return Group(tuple(kept), which if anew else ()), error
