"""Penalties on an affinity matrix: norms that make it of low rank, or sparse.

Of a norm come its value, the dual norm (the strength from which on nothing but zero is an
optimum), the proximal map ``argmin_B |B − A|²/2 + γ‖B‖``, and by how much ``−G`` misses
``γ ∂‖A‖``, which is what optimality of ``A`` asks of the gradient ``G`` of the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# A singular value or an entry below this share of the largest is the rounding of a zero.
_ZERO = 1e-9


@dataclass(frozen=True)
class Penalty:
    """A norm of matrices ``(m, n)`` as an optimum needs it."""

    norm: Callable[[np.ndarray], float]
    dual_norm: Callable[[np.ndarray], float]
    proximal: Callable[[np.ndarray, float], np.ndarray]  # of A and γ
    size: Callable[[np.ndarray], int]  # what the penalty keeps small, counted
    violation: Callable[[np.ndarray, np.ndarray, float], float]  # of A, G and γ
    counts: str  # what ``size`` counts


def _rank(a: np.ndarray) -> int:
    s = np.linalg.svd(a, compute_uv=False)
    return int(np.sum(s > _ZERO * s[0]))


def _shrunk_singular_values(a: np.ndarray, gamma: float) -> np.ndarray:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return (u * np.maximum(s - gamma, 0.0)) @ vt


def _nuclear_violation(a: np.ndarray, g: np.ndarray, gamma: float) -> float:
    """``−G = γ(UV' + Z)`` with ``U'Z = 0``, ``ZV = 0`` and no singular value of ``Z`` above one."""
    rank = _rank(a)
    u, _, vt = np.linalg.svd(a, full_matrices=False)
    u, v = u[:, :rank], vt[:rank].T
    off = (g - u @ (u.T @ g)) @ (np.eye(len(v)) - v @ v.T)
    on = g - off + gamma * u @ v.T
    return max(float(np.max(np.abs(on))), float(np.linalg.norm(off, 2)) - gamma, 0.0)


def _entries(a: np.ndarray) -> np.ndarray:
    return np.abs(a) > _ZERO * np.max(np.abs(a))


def _l1_violation(a: np.ndarray, g: np.ndarray, gamma: float) -> float:
    """``−G = γ sign(A)`` where an entry is not zero, and ``|G| ≤ γ`` where it is."""
    missed = np.where(_entries(a), np.abs(g + gamma * np.sign(a)), np.abs(g) - gamma)
    return max(float(np.max(missed)), 0.0)


PENALTIES = {
    "nuclear": Penalty(
        norm=lambda a: float(np.linalg.norm(a, "nuc")),
        dual_norm=lambda g: float(np.linalg.norm(g, 2)),
        proximal=_shrunk_singular_values,
        size=_rank,
        violation=_nuclear_violation,
        counts="rank",
    ),
    "l1": Penalty(
        norm=lambda a: float(np.sum(np.abs(a))),
        dual_norm=lambda g: float(np.max(np.abs(g))),
        proximal=lambda a, gamma: np.sign(a) * np.maximum(np.abs(a) - gamma, 0.0),
        size=lambda a: int(np.sum(_entries(a))),
        violation=_l1_violation,
        counts="entries that are not zero",
    ),
}


@dataclass(frozen=True)
class PenaltyPath:
    """Penalised affinities over strengths, from the one at which all is zero downwards.

    The gain is the log likelihood of a match that was held out, given the margins, over that of
    matching at random, where ``A = 0``. It is NaN where a fold has no optimum. Of a strength that
    was given the path has one point and no folds.
    """

    penalty: str
    strengths: np.ndarray  # γ on columns in standard units, falling, (G,)
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
        return int(np.nanargmax(self.mean_gain)) if len(self.gains) else 0

    @property
    def chosen(self) -> int:
        """The largest strength whose mean gain is within one standard error of the best."""
        if not len(self.gains):
            return 0
        least = self.mean_gain[self.best] - self.std_error[self.best]
        return int(np.argmax(self.mean_gain >= least))

    @property
    def strength(self) -> float:
        """The strength that was given or chosen."""
        return float(self.strengths[self.chosen])

    @property
    def size(self) -> int:
        """Rank, or number of entries that are not zero, of the estimate."""
        return int(self.sizes[self.chosen])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of these numbers, a sentence each."""
        found = [
            "A penalised affinity is shrunk towards zero by design, and what is zero in it was "
            "selected by the same data: it has no standard errors, and those of an estimate "
            "without a penalty on what was selected would be too small"
        ]
        if len(self.gains) and self.best == len(self.strengths) - 1:
            found.append(
                "The best strength is the smallest tried: the data ask for hardly any penalty"
            )
        if left_out := int(np.isnan(self.mean_gain).sum()) if len(self.gains) else 0:
            found.append(
                f"{left_out} of {len(self.strengths)} strengths have a fold without an optimum "
                "and were not chosen from"
            )
        return tuple(found)
