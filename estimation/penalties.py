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
