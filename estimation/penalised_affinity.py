"""The affinity matrix under a penalty on its rank or on the number of its entries.

``min_A W(A) − Σ A·E[x y'] + γ‖A‖`` on columns in standard units, with the nuclear norm (the sum of
singular values: few indices along which the market sorts; Dupuy, Galichon and Sun 2019) or the sum
of absolute entries. The first two terms are minus the log likelihood of a match given the margins,
so the strength ``γ`` is chosen by the log likelihood of matches that were held out, given theirs:
potentials belong to the margins of a sample, and ``A`` is all that carries over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from estimation.affinity import NO_WAGES, of_affinity
from estimation.certificate import Certificate
from estimation.estimates import Estimates
from estimation.moment_matching import MatchedPairs, MomentGap, matched_pairs, moment_gap
from estimation.penalties import PENALTIES, Penalty, PenaltyPath
from matching import InvalidInput

# A path ends at this share of the strength from which on the affinity is zero.
_WEAKEST = 0.01
# By how much a proximal step may move what is an optimum: on all matches, and in folds, whose
# scores are compared to no more digits than that.
_OPTIMUM, _FOLD_OPTIMUM = 1e-10, 1e-5
# Steps on one Hessian go on while each leaves at most this share of the last one's gap.
_FAST = 0.1
_STEPS, _HALVINGS = 100, 30
# An objective of size one is not resolved to more.
_RESOLUTION = 1e-13
# The quadratic model of a step: most moves of the accelerated gradient, and the share of the first
# one that the last one has.
_MODEL_MOVES, _MODEL_SHARE = 5000, 1e-4


def estimate_penalised_affinity(
    skills: Any,
    characteristics: Any,
    weights: Any = None,
    *,
    penalty: str = "nuclear",
    strength: float | None = None,
    strengths: int = 20,
    folds: int = 5,
    seed: int = 0,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> Estimates:
    """Estimate ``A = Φ/λ`` under a ``penalty``, ``"nuclear"`` or ``"l1"``.

    Tables, ``weights`` and names are those of :func:`~estimation.affinity.estimate_affinity`. With
    ``strength`` given the estimate is the optimum at it. Without, a path of so many ``strengths``
    is scored on so many ``folds``, drawn by the ``seed``, and the largest one is taken whose mean
    gain is within one standard error of the best; ``penalty`` of the result holds both. It has no
    standard errors, and its notes say why. The certificate's gradient is the largest violation of
    ``−G ∈ γ ∂‖A‖``, found apart from the search.

    Raises :class:`~matching.errors.InvalidInput` for what ``estimate_affinity`` refuses, for an
    unknown penalty, a negative strength, and for fewer than two folds or more than matches.

    >>> import numpy as np
    >>> x = np.repeat([-1.0, 1.0], 4)
    >>> y = np.array([-1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0])
    >>> estimate = estimate_penalised_affinity(x, y, strength=0.1)
    >>> float(estimate.affinity()[0, 0].round(6))  # atanh of the correlation less γ, 0.5 − 0.1
    0.423649
    """
    pairs = matched_pairs(skills, characteristics, weights, skill_names, characteristic_names)
    defects = _defects(penalty, strength, strengths, folds, len(pairs.omega))
    if defects:
        raise InvalidInput(defects)
    kind = PENALTIES[penalty]
    zero = _at_zero(pairs)
    if strength is None:
        grid = np.geomspace(1.0, _WEAKEST, strengths) * kind.dual_norm(zero.point.gradient)
        optima, gains = _path(pairs, kind, grid, _OPTIMUM), _gains(pairs, kind, grid, folds, seed)
    else:
        grid, gains = np.array([strength]), np.empty((0, 1))
        optima = [_optimum(pairs, kind, strength, zero, _OPTIMUM)]
    path = PenaltyPath(
        penalty=penalty,
        strengths=grid,
        affinities=np.array([found.affinity for found in optima]) / pairs.units,
        sizes=np.array([kind.size(found.affinity) for found in optima]),
        violations=np.array(
            [
                kind.violation(found.affinity, found.point.gradient, gamma)
                for found, gamma in zip(optima, grid, strict=True)
            ]
        ),
        gains=gains,
        seed=seed,
    )
    return _result(pairs, kind, optima[path.chosen], path)


# ---------------------------------------------------------------- the choice of the strength


def _gains(
    pairs: MatchedPairs, kind: Penalty, grid: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    """Log likelihood of held-out matches over that of random matching, ``(K, G)``."""
    rows = np.random.default_rng(seed).permutation(len(pairs.omega))
    gains = np.full((folds, len(grid)), np.nan)
    for k, held_out in enumerate(np.array_split(rows, folds)):
        rest, test = pairs.some(np.setdiff1d(rows, held_out)), pairs.some(held_out)
        latest = at_random = moment_gap(np.zeros_like(pairs.moments), test)
        for j, found in enumerate(_path(rest, kind, grid, _FOLD_OPTIMUM)):
            latest = moment_gap(found.affinity, test, latest.matching)
            if found.converged and latest.margins_met:
                gains[k, j] = at_random.value - latest.value
    return gains


# ---------------------------------------------------------------- the optimum at one strength


@dataclass(frozen=True)
class _Optimum:
    """Where a search ended, with a Hessian from near it, ``(mn, mn)``."""

    affinity: np.ndarray
    point: MomentGap
    information: np.ndarray
    iterations: int
    converged: bool


def _at_zero(pairs: MatchedPairs) -> _Optimum:
    """Matching at random, where the Hessian is a product of covariances."""
    zero = np.zeros_like(pairs.moments)
    covariances = []
    for values, mass in zip((pairs.x, pairs.y), pairs.margins, strict=True):
        centred = values - mass @ values
        covariances.append((mass[:, None] * centred).T @ centred)
    return _Optimum(zero, moment_gap(zero, pairs), np.kron(*covariances), 0, True)


def _path(pairs: MatchedPairs, kind: Penalty, grid: np.ndarray, tolerance: float) -> list[_Optimum]:
    """Optima at falling strengths, each found from the last."""
    found = [_at_zero(pairs)]
    for gamma in grid:
        found.append(_optimum(pairs, kind, float(gamma), found[-1], tolerance))
    return found[1:]


def _optimum(
    pairs: MatchedPairs, kind: Penalty, gamma: float, near: _Optimum, tolerance: float
) -> _Optimum:
    """Proximal Newton: the smooth part is replaced by its quadratic model at each step.

    A Hessian serves for as long as steps on it converge fast.
    """
    a, point, information = near.affinity, near.point, near.information
    last = np.inf
    for iteration in range(_STEPS):
        gap = float(np.max(np.abs(a - kind.proximal(a - point.gradient, gamma))))
        if not (gap > tolerance and point.margins_met):
            return _Optimum(a, point, information, iteration, gap <= tolerance)
        if gap > _FAST * last:
            information = point.information(pairs)
        step = _model_optimum(a, point.gradient, information, kind, gamma) - a
        value, norm = point.value + gamma * kind.norm(a), kind.norm(a + step)
        slope = np.sum(point.gradient * step) + gamma * (norm - kind.norm(a))
        slack = _RESOLUTION * (1.0 + abs(value))
        for halving in range(_HALVINGS):
            length = 0.5**halving
            trial = moment_gap(a + length * step, pairs, point.matching)
            reached = trial.value + gamma * kind.norm(a + length * step)
            if reached <= value + 1e-4 * length * slope + slack:
                break
        a, point, last = a + length * step, trial, gap
    return _Optimum(a, point, information, _STEPS, False)


def _model_optimum(
    a: np.ndarray, gradient: np.ndarray, information: np.ndarray, kind: Penalty, gamma: float
) -> np.ndarray:
    """``argmin_B G·(B−A) + (B−A)H(B−A)/2 + γ‖B‖``: accelerated proximal gradient, restarted
    whenever its momentum points uphill (O'Donoghue and Candès 2015)."""
    step = 1.0 / np.linalg.eigvalsh(information)[-1]
    b, ahead, momentum, first = a, a, 1.0, 0.0
    for _ in range(_MODEL_MOVES):
        slope = gradient + (information @ (ahead - a).ravel()).reshape(a.shape)
        b_next = kind.proximal(ahead - step * slope, step * gamma)
        if np.sum((ahead - b_next) * (b_next - b)) > 0:
            momentum = 1.0
        grown = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = b_next + (momentum - 1.0) / grown * (b_next - b)
        moved = np.max(np.abs(b_next - b))
        b, momentum, first = b_next, grown, max(first, moved)
        if moved <= _MODEL_SHARE * first:
            break
    return b


# ---------------------------------------------------------------- the result


def _result(pairs: MatchedPairs, kind: Penalty, found: _Optimum, path: PenaltyPath) -> Estimates:
    """The optimum in the units of the data, its certificate computed anew."""
    a, point = found.affinity, moment_gap(found.affinity, pairs)
    information = point.information(pairs)
    eigenvalues = np.linalg.eigvalsh(information)
    certificate = Certificate(
        gradient=kind.violation(a, point.gradient, path.strength),
        curvature=float(eigenvalues[0] / eigenvalues[-1]),
        margin_residual=float(point.matching.max_residual),
        iterations=found.iterations,
    )
    model = pairs.moments + point.gradient
    return replace(
        of_affinity(pairs, a, model, information, certificate, {}),
        penalty=path,
        notes=(NO_WAGES, *path.notes),
    )


def _defects(
    penalty: str, strength: float | None, strengths: int, folds: int, matches: int
) -> list[str]:
    found = []
    if penalty not in PENALTIES:
        found.append(f"penalty: {penalty!r} is unknown; choose from {', '.join(PENALTIES)}")
    if strength is not None and not 0 <= strength < np.inf:
        found.append(f"strength: {strength} is no number from zero on; leave it out to choose it")
    if strength is None and strengths < 2:
        found.append(f"strengths: a path of {strengths} leaves no choice; try 20")
    if strength is None and not 2 <= folds <= matches // 2:
        found.append(
            f"folds: {folds} of {matches} matches; at least two, with two matches or more each"
        )
    return found
