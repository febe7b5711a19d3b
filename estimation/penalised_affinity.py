"""The affinity matrix under a penalty on its rank or on the number of its entries.

``min_A W(A) − Σ A·E[x y'] + γ‖A‖`` on columns in standard units, with the nuclear norm (the sum of
singular values: few indices along which the market sorts; Dupuy, Galichon and Sun 2019) or the sum
of absolute entries. The first two terms are minus the log likelihood of a match given the margins,
so the strength ``γ`` is chosen by the log likelihood of matches that were held out, given theirs:
potentials belong to the margins of a sample, and ``A`` is all that carries over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimation.certificate import Certificate
from estimation.moment_matching import MatchedPairs, MomentGap, matched_pairs, moment_gap
from estimation.penalties import PENALTIES, Penalty
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


@dataclass(frozen=True)
class PenaltyPath:
    """Penalised affinities over strengths, from the one at which all is zero downwards.

    The gain is the log likelihood of a match that was held out, given the margins, over that of
    matching at random, where ``A = 0``. It is NaN where a fold has no optimum.
    """

    strengths: np.ndarray  # γ, falling, (G,)
    affinities: np.ndarray  # (G, m, n)
    sizes: np.ndarray  # rank, or number of entries that are not zero, (G,)
    violations: np.ndarray  # by how much each misses its optimality conditions, (G,)
    gains: np.ndarray  # of each fold, log points a match, (K, G)
    seed: int  # that drew the folds

    @property
    def mean_gain(self) -> np.ndarray:
        """Mean over folds, ``(G,)``."""
        return self.gains.mean(0)

    @property
    def std_error(self) -> np.ndarray:
        """Standard error of the mean over folds, ``(G,)``."""
        return np.asarray(self.gains.std(0, ddof=1) / np.sqrt(len(self.gains)))

    @property
    def best(self) -> int:
        """The strength with the largest mean gain."""
        return int(np.nanargmax(self.mean_gain))

    @property
    def one_standard_error(self) -> int:
        """The largest strength whose mean gain is within one standard error of the best."""
        least = self.mean_gain[self.best] - self.std_error[self.best]
        return int(np.argmax(self.mean_gain >= least))


@dataclass(frozen=True)
class PenalisedAffinity:
    """``A = Φ/λ`` shrunk by a penalty. It has no standard errors: see ``remarks``."""

    affinity: np.ndarray  # A, (m, n), in log points per unit of x times unit of y
    penalty: str
    strength: float  # γ, on columns in standard units
    size: int  # rank, or number of entries that are not zero
    path: PenaltyPath | None  # None where the strength was given
    sample_moments: np.ndarray  # E[(x − E x)(y − E y)'] in the sample, (m, n)
    model_moments: np.ndarray  # the same in the model, (m, n)
    observations: int
    effective_observations: float  # (Σω)²/Σω² of the weights; N where they are equal
    skill_names: tuple[str, ...]
    characteristic_names: tuple[str, ...]
    certificate: Certificate

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader has to know of these numbers, a sentence each."""
        found = [
            "a penalised affinity is shrunk towards zero by design, and what is zero in it was "
            "selected by the same data: it has no standard errors, and those of an estimate "
            "without a penalty on what was selected would be too small"
        ]
        if self.path is not None and self.path.best == len(self.path.strengths) - 1:
            found.append(
                "the best strength is the smallest tried: the data ask for hardly any penalty"
            )
        if self.path is not None and (left_out := int(np.isnan(self.path.mean_gain).sum())):
            found.append(
                f"{left_out} of {len(self.path.strengths)} strengths have a fold without an "
                "optimum and were not chosen from"
            )
        return tuple(found)


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
) -> PenalisedAffinity:
    """Estimate ``A = Φ/λ`` under a ``penalty``, ``"nuclear"`` or ``"l1"``.

    Tables, ``weights`` and names are those of :func:`~estimation.affinity.estimate_affinity`. With
    ``strength`` given the estimate is the optimum at it. Without, a path of so many ``strengths``
    is scored on so many ``folds``, drawn by the ``seed``, and the largest one is taken whose mean
    gain is within one standard error of the best; the ``path`` holds both. The certificate's
    gradient is the largest violation of ``−G ∈ γ ∂‖A‖``, found apart from the search.

    Raises :class:`~matching.errors.InvalidInput` for what ``estimate_affinity`` refuses, for an
    unknown penalty, a negative strength, and for fewer than two folds or more than matches.

    >>> import numpy as np
    >>> x = np.repeat([-1.0, 1.0], 4)
    >>> y = np.array([-1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0])
    >>> estimate = estimate_penalised_affinity(x, y, strength=0.1)
    >>> float(estimate.affinity[0, 0].round(6))  # atanh of the correlation less γ, 0.5 − 0.1
    0.423649
    """
    pairs = matched_pairs(skills, characteristics, weights, skill_names, characteristic_names)
    defects = _defects(penalty, strength, strengths, folds, len(pairs.omega))
    if defects:
        raise InvalidInput(defects)
    kind = PENALTIES[penalty]
    zero = _at_zero(pairs)
    path, place = None, 0
    if strength is None:
        grid = np.geomspace(1.0, _WEAKEST, strengths) * kind.dual_norm(zero.point.gradient)
        optima = _path(pairs, kind, grid, _OPTIMUM)
        path = PenaltyPath(
            strengths=grid,
            affinities=np.array([found.affinity for found in optima]) / pairs.units,
            sizes=np.array([kind.size(found.affinity) for found in optima]),
            violations=np.array(
                [
                    kind.violation(found.affinity, found.point.gradient, gamma)
                    for found, gamma in zip(optima, grid, strict=True)
                ]
            ),
            gains=_gains(pairs, kind, grid, folds, seed),
            seed=seed,
        )
        place = path.one_standard_error
        strength = float(grid[place])
    else:
        optima = [_optimum(pairs, kind, strength, zero, _OPTIMUM)]
    return _result(pairs, penalty, strength, optima[place], path)


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


def _result(
    pairs: MatchedPairs, penalty: str, strength: float, found: _Optimum, path: PenaltyPath | None
) -> PenalisedAffinity:
    """The optimum in the units of the data, its certificate computed anew."""
    kind, a, point = PENALTIES[penalty], found.affinity, moment_gap(found.affinity, pairs)
    eigenvalues = np.linalg.eigvalsh(point.information(pairs))
    return PenalisedAffinity(
        affinity=a / pairs.units,
        penalty=penalty,
        strength=strength,
        size=kind.size(a),
        path=path,
        sample_moments=pairs.moments * pairs.units,
        model_moments=(pairs.moments + point.gradient) * pairs.units,
        observations=len(pairs.omega),
        effective_observations=pairs.effective,
        skill_names=pairs.skill_names,
        characteristic_names=pairs.characteristic_names,
        certificate=Certificate(
            gradient=kind.violation(a, point.gradient, strength),
            curvature=float(eigenvalues[0] / eigenvalues[-1]),
            margin_residual=float(point.matching.max_residual),
            iterations=found.iterations,
        ),
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
