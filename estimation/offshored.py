"""Equation (10): how the mass of offshored matches is spread over workers and firms."""

from typing import Any

import numpy as np
import scipy.optimize

from matching import InvalidInput


def offshored_matches(
    matches: Any, unmatched: Any, foreign_mass: Any, rate: float, worker_share: float
) -> np.ndarray:
    """``π*`` of each cell, ``(N, J)``, from home's matches ``π`` and the rate ``|f*|/|f|``.

    ``λ log(π*/π) = −c_F − (a* − a)(x) + λ_y(ν_y* − ν_y)`` with ``a* − a = const −
    λ_x log(f0*/f0)``: the ratio ``π*/π`` is one number times ``(f0*/f0)^θ``, ``θ = λ_x/λ``, and
    the rate tells the number (slides, equation 10). ``unmatched`` is home's ``f0 (N,)``,
    ``foreign_mass`` the potential foreign workers ``f̄* (N,)`` on the same skill points,
    ``worker_share`` is ``θ``.

    Raises :class:`~matching.errors.InvalidInput` for masses that are not positive, a rate beyond
    what foreign workers can fill, and a share outside (0, 1).

    >>> offshored_matches([[0.4, 0.5]], [0.1], [0.3], rate=0.1, worker_share=0.5).round(6).tolist()
    [[0.04, 0.05]]
    """
    pi, f0, foreign = (np.asarray(v, dtype=np.float64) for v in (matches, unmatched, foreign_mass))
    total = rate * pi.sum()
    _require(pi, f0, foreign, total, worker_share)
    f = pi.sum(1)

    def hired(log_number: float) -> np.ndarray:
        """``f*`` of each type at a trial number: the root of ``log f* − θ log(f̄* − f*) = c``."""
        level = log_number + np.log(f) - worker_share * np.log(f0)
        odds = _log_odds(level - (1.0 - worker_share) * np.log(foreign), worker_share)
        return foreign / (1.0 + np.exp(-odds))

    def gap(log_number: float) -> float:
        return float(np.log(hired(log_number).sum()) - np.log(total))

    low = high = float(np.log(rate))
    while gap(low) > 0:
        low -= 2.0
    while gap(high) < 0:
        high += 2.0
    number = scipy.optimize.brentq(gap, low, high, xtol=1e-14, rtol=1e-14)
    return pi * (hired(number) / f)[:, None]


def _log_odds(level: np.ndarray, share: float) -> np.ndarray:
    """``u`` with ``log s(u) − θ log s(−u) = level``, ``s`` the logistic: slope in (θ, 1)."""
    u = np.where(level > 0, level / share, level)
    for _ in range(60):
        log_s, log_rest = -np.logaddexp(0.0, -u), -np.logaddexp(0.0, u)
        step = (log_s - share * log_rest - level) / (np.exp(log_rest) + share * np.exp(log_s))
        u = u - step
        if np.max(np.abs(step)) < 1e-15 * (1.0 + np.max(np.abs(u))):
            break
    return u


def _require(
    pi: np.ndarray, f0: np.ndarray, foreign: np.ndarray, total: float, worker_share: float
) -> None:
    defects = []
    if not (pi.ndim == 2 and f0.shape == foreign.shape == pi.shape[:1]):
        defects.append(
            f"matches, unmatched, foreign_mass: have shapes {pi.shape}, {f0.shape} and "
            f"{foreign.shape}; one row of matches, and one mass each, per worker type"
        )
    elif not all(np.all(v > 0) and np.all(np.isfinite(v)) for v in (pi.sum(1), f0, foreign)):
        defects.append(
            "matches, unmatched, foreign_mass: every worker type needs all three to be positive; "
            "merge types that are empty"
        )
    elif not 0 < total < foreign.sum():
        defects.append(
            f"rate: {total:.6g} foreign workers would be hired, of {foreign.sum():.6g} that there "
            "are; the rate is positive and relative to home matches"
        )
    if not 0 < worker_share < 1:
        defects.append(f"worker_share: is {worker_share!r}; λ_x/λ lies between 0 and 1")
    if defects:
        raise InvalidInput(defects)
