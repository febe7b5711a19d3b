"""Features of ``exp(u·v)`` whose inner products reproduce it to a proven bound.

With ``u`` and ``v`` centred and in units in which both sides spread alike,

    exp(u·v) = exp(|u|²/2) exp(|v|²/2) exp(−|u−v|²/2),

and the Gaussian is a positive definite kernel on the types of both sides together. A partial
Cholesky factorisation of it on a few pivots ``Z`` gives each type ``w`` the features
``F_w = L⁻¹ exp(−|Z−w|²/2)`` and leaves a remainder that is positive definite too, so that by
Cauchy and Schwarz ``|exp(−|u−v|²/2) − F_u·F_v| ≤ √r_u √r_v`` with ``r_w = 1 − |F_w|²``: a proven
error from one number a type. What both sides hardly use of the features is then cut by the singular
values of their product, and what is cut is added to the bound in the same way.

Where potentials are known they are absorbed: with each type's features scaled by ``ρ_w`` such that
``ρ_u ρ_v exp(−|u−v|²/2)`` is the density of matches, errors are those of the margins.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpstrf

from matching.scaled_kernel import Features, ScaledKernel

# The error asked for at first; margins are accepted at thirty times as much.
TOLERANCE = 3e-12

_EPS = float(np.finfo(np.float64).eps)
# Pivots are picked among this many types at first, and among four times their own number at last.
_SAMPLE, _PER_PIVOT, _MOST_PIVOTS = 256, 4, 2000
# Types whose error is this many times what is asked, which lie far from that sample, join it, some
# at a time, in so many rounds at most.
_ENOUGH, _ROUNDS = 30.0, 6
# Features that are computed at a time.
_BLOCK = 1_000_000


class RankTooLow(NamedTuple):
    """Why there is no low-rank kernel: the rank needed, if known, and the error at that allowed."""

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
    """The types of one side, in coordinates in which both sides spread alike."""

    points: np.ndarray  # (n, d)
    rho: np.ndarray  # scale of each type's features, (n,)
    share: np.ndarray  # weights that add up to one, (n,)

    def some(self, which: Any) -> "_Side":
        return _Side(*(values[which] for values in self))


class _Basis(NamedTuple):
    """Features before they are cut: those of ``w`` are ``L⁻¹ ρ_Z exp(−|Z−w|²/2) ρ_w``."""

    pivots: np.ndarray  # Z, (p, d)
    rho: np.ndarray  # (p,)
    cholesky: np.ndarray  # L, (p, p)


class _Cut(NamedTuple):
    """One side's change to features of falling size, ``rank`` of which are kept."""

    whiten: np.ndarray  # (p, p)
    size: np.ndarray  # singular values, (p,)
    rank: int


def low_rank_kernel(
    u: np.ndarray,
    v: np.ndarray,
    weight_x: np.ndarray | None = None,
    weight_y: np.ndarray | None = None,
    *,
    log_density: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    max_rank: int = 1000,
) -> ScaledKernel | RankTooLow:
    """The low-rank kernel of ``exp(u_i·v_j)`` for ``u (N, d)``, ``v (J, d)``.

    ``log_density (N,), (J,)`` are potentials with which ``exp(u_i·v_j + p_i + q_j)`` is the density
    of matches, where they are known. ``tolerance`` is the error asked for on that density, else on
    ``exp(−|u−v|²/2) ≤ 1``, for any type on the average over its partners' weights; the kernel's own
    errors say what was reached, rounding included. :class:`RankTooLow` where more than ``max_rank``
    features would be needed.
    """
    share_x, share_y = _shares(len(u), weight_x), _shares(len(v), weight_y)
    centre_u, centre_v = share_x @ u, share_y @ v
    du, dv = u - centre_u, v - centre_v
    to_a, to_b = _equal_spread(du, share_x, dv, share_y)
    a, b = du @ to_a, dv @ to_b
    reach = np.abs(a).max(0) * np.abs(b).max(0)
    alive = reach > 4.0 * _EPS * (1.0 + reach.sum())
    a, b = a[:, alive], b[:, alive]
    shift_x = u @ centre_v + 0.5 * np.sum(a**2, axis=1)
    shift_y = dv @ centre_u + 0.5 * np.sum(b**2, axis=1)
    log_rho_x, log_rho_y = _log_rho(shift_x, shift_y, log_density)

    side_x, side_y = _Side(a, np.exp(log_rho_x), share_x), _Side(b, np.exp(log_rho_y), share_y)
    # what rounding leaves of the largest type is no pivot
    least = max(tolerance, 16.0 * _EPS * max(side_x.rho.max(), side_y.rho.max()) ** 2)
    far = _extremes(a), _extremes(b)
    for rounds in range(_ROUNDS, 0, -1):
        basis = _basis(side_x, side_y, far, least, max_rank)
        if basis is None:
            return RankTooLow(None, math.inf)
        cut_x, cut_y, lost = _cut(basis, side_x, side_y, far, tolerance)
        if cut_x.rank > max_rank:
            return RankTooLow(cut_x.rank, float(lost[max_rank]))
        left, error_x = _features(basis, cut_x, side_x)
        right, error_y = _features(basis, cut_y, side_y)
        further = (
            _with_missed(far[0], error_x * (share_y @ error_y), least),
            _with_missed(far[1], error_y * (share_x @ error_x), least),
        )
        if rounds == 1 or sum(map(len, further)) == sum(map(len, far)):
            break
        left = right = np.empty(0)  # two of each are never held
        far = further
    return ScaledKernel(
        u=jnp.asarray(u),
        v=jnp.asarray(v),
        table=Features(jax.device_put(left), jax.device_put(right)),
        shift_x=jnp.asarray(shift_x - log_rho_x),
        shift_y=jnp.asarray(shift_y - log_rho_y),
        error_x=jnp.asarray(error_x),
        error_y=jnp.asarray(error_y),
    )


def _log_rho(
    shift_x: np.ndarray, shift_y: np.ndarray, log_density: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """``log ρ`` of each type, as large on one side as on the other; zero without potentials."""
    if log_density is None:
        return np.zeros_like(shift_x), np.zeros_like(shift_y)
    x, y = shift_x + log_density[0], shift_y + log_density[1]
    balance = 0.5 * (x.max() - y.max())
    return x - balance, y + balance


def _shares(count: int, weight: np.ndarray | None) -> np.ndarray:
    """Weights that add up to one, none of them zero, so that every direction of types counts."""
    even = np.full(count, 1.0 / count)
    if weight is None or not np.all(np.isfinite(weight)) or not weight.sum() > 0:
        return even
    return 0.99 * weight / weight.sum() + 0.01 * even


def _equal_spread(
    du: np.ndarray, share_x: np.ndarray, dv: np.ndarray, share_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``A, B`` with ``A B' = I`` that give ``du A`` and ``dv B`` the same diagonal covariance.

    Then the partners of the matching of two normal sides have equal coordinates (Bojilov and
    Galichon 2016), near which the Gaussian is near one and keeps all its digits.
    """

    def root(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        variance, axes = np.linalg.eigh((share[:, None] * values).T @ values)
        largest = variance[-1] if variance[-1] > 0 else 1.0
        sd = np.sqrt(np.maximum(variance, 1e-12 * largest))
        return (axes * sd) @ axes.T, (axes / sd) @ axes.T

    root_u, inverse_u = root(du, share_x)
    root_v, _ = root(dv, share_y)
    p, k, _ = np.linalg.svd(root_u @ root_v)
    return inverse_u @ (p * np.sqrt(k)), root_u @ (p / np.sqrt(k))


def _with_missed(far: np.ndarray, error: np.ndarray, tolerance: float) -> np.ndarray:
    """These types and some of those whose error is too large, the worst of them included."""
    missed = np.setdiff1d(np.flatnonzero(error > _ENOUGH * tolerance), far)
    some = np.random.default_rng(3).permutation(missed)[:_SAMPLE]
    worst = missed[np.argsort(error[missed])[-_SAMPLE // 4 :]]
    return np.unique(np.concatenate([far, some, worst]))


def _basis(
    x: _Side, y: _Side, far: tuple[np.ndarray, np.ndarray], tolerance: float, max_rank: int
) -> _Basis | None:
    """Pivots and factor by complete pivoting on a sample of both sides and what lies far out."""
    rng = np.random.default_rng(0)
    order_x, order_y = rng.permutation(len(x.rho)), rng.permutation(len(y.rho))
    count = _SAMPLE
    while True:
        some_x = x.some(np.union1d(order_x[: count // 2], far[0]))
        some_y = y.some(np.union1d(order_y[: count // 2], far[1]))
        sample = np.vstack([some_x.points, some_y.points])
        rho = np.concatenate([some_x.rho, some_y.rho])
        gaussian = _gaussian(sample, sample) * np.outer(rho, rho)
        factor, pivot, rank, _ = dpstrf(gaussian, tol=tolerance, lower=1, overwrite_a=1)
        if rank > min(max(2 * max_rank, _SAMPLE), _MOST_PIVOTS):
            return None
        if _PER_PIVOT * rank <= len(rho) or len(rho) == len(x.rho) + len(y.rho):
            pivots = pivot[:rank] - 1
            cholesky = np.asfortranarray(np.tril(factor[:rank, :rank]))
            return _Basis(sample[pivots], rho[pivots], cholesky)
        count *= 2


def _extremes(points: np.ndarray) -> np.ndarray:
    """Types that lie outermost in some direction, where remainders are largest."""
    dimensions = points.shape[1]
    oblique = np.random.default_rng(1).choice([-1.0, 1.0], (8, dimensions))
    directions = np.vstack([np.eye(dimensions), oblique[: 8 * (dimensions > 1)]])
    projected = (points @ direction for direction in directions)
    return np.unique([end for values in projected for end in (values.argmin(), values.argmax())])


def _gaussian(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``exp(−|one − other|²/2)`` for every pair."""
    distance = np.zeros((len(one), len(other)))
    for k in range(one.shape[1]):
        distance += (one[:, k, None] - other[None, :, k]) ** 2
    distance *= -0.5
    return np.exp(distance, out=distance)


def _uncut(basis: _Basis, side: _Side) -> np.ndarray:
    """Features before they are cut, ``(p, n)``."""
    scaled = _gaussian(basis.pivots, side.points)
    scaled *= basis.rho[:, None]
    scaled *= side.rho
    # of the transposes, which lie in memory as BLAS wants them
    solved = dtrsm(1.0, basis.cholesky, scaled.T, side=1, lower=1, trans_a=1, overwrite_b=1)
    return np.asarray(solved.T)


def _cut(
    basis: _Basis, x: _Side, y: _Side, far: tuple[np.ndarray, np.ndarray], tolerance: float
) -> tuple[_Cut, _Cut, np.ndarray]:
    """The change of features on both sides, by the singular values of their product.

    Last, the error that a cut at each rank leaves.
    """
    count = max(_SAMPLE, _PER_PIVOT * len(basis.rho))

    def sample(side: _Side, far: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        some = np.random.default_rng(2).permutation(len(side.rho))[:count]
        part = side.some(np.union1d(some, far))
        return _uncut(basis, part).T, part.share / part.share.sum()

    def root(features: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        variance, axes = np.linalg.eigh((share[:, None] * features).T @ features)
        sd = np.sqrt(np.maximum(variance, _EPS * variance[-1]))
        return sd[:, None] * axes.T, axes / sd

    (features_x, share_x), (features_y, share_y) = sample(x, far[0]), sample(y, far[1])
    root_x, whiten_x = root(features_x, share_x)
    root_y, whiten_y = root(features_y, share_y)
    p, size, qt = np.linalg.svd(root_x @ root_y.T)
    whiten_x, whiten_y = whiten_x @ p, whiten_y @ qt.T

    def tails(features: np.ndarray, whiten: np.ndarray) -> np.ndarray:
        """What each type would lose, were features from some rank on cut: ``(n, p)``."""
        squares = (features @ whiten) ** 2 * size
        return np.sqrt(np.cumsum(squares[:, ::-1], axis=1)[:, ::-1])

    tails_x, tails_y = tails(features_x, whiten_x), tails(features_y, whiten_y)
    lost = np.maximum(tails_x.max(0) * (share_y @ tails_y), tails_y.max(0) * (share_x @ tails_x))
    rank = max(1, int(np.sum(lost > tolerance)))
    return _Cut(whiten_x, size, rank), _Cut(whiten_y, size, rank), lost


def _features(basis: _Basis, cut: _Cut, side: _Side) -> tuple[np.ndarray, np.ndarray]:
    """The features that are kept, ``(rank, n)``, and each type's share of the error, ``(n,)``."""
    rank, count = cut.rank, len(side.rho)
    kept, error = _aligned(rank, count), np.empty(count)
    change = cut.whiten.T
    size = max(1, _BLOCK // len(basis.rho))
    for start in range(0, count, size):
        block = slice(start, start + size)
        part = side.some(block)
        uncut = _uncut(basis, part)
        remainder = part.rho**2 - np.einsum("kn,kn->n", uncut, uncut)
        white = change @ uncut
        np.multiply(white[:rank], np.sqrt(cut.size[:rank, None]), out=kept[:, block])
        white *= white
        lost = cut.size[rank:] @ white[rank:]
        # of the factorisation, and of the singular vectors, relative to the largest value
        rounding = (2.0 * len(basis.rho) ** 0.5 + 8.0) * part.rho**2 + cut.size[0] * white.sum(0)
        error[block] = np.sqrt(np.maximum(remainder, 0.0) + lost + _EPS * rounding)
    return kept, error


def _aligned(rows: int, columns: int) -> np.ndarray:
    """An empty matrix that begins where JAX on a CPU takes it without a copy, on 64 bytes."""
    size = 8 * rows * columns
    memory = np.empty(size + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.float64).reshape(rows, columns)
