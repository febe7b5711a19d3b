"""The minimum of a distance between moments near one start, within bounds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.optimize

from estimation.moment_objective import (
    MomentObjective,
    gradient,
    hessian,
    moments_and_slopes,
    value,
)

# Coordinates, in natural units, that differ by less are the same.
SAME = 1e-6
# Newton steps after the search.
_LAST_STEPS, _LAST_STEP = 5, 1e-10
# Rounding moves the objective by some 1e-12 of itself, more than a last step does.
_ROUNDING = 1e-10
# Relative curvature below which Newton's step is made of rounding.
_FLAT = 1e-12


@dataclass(frozen=True)
class Found:
    """Where a search has ended."""

    u: np.ndarray  # coordinates
    value: float  # of the objective, infinite where no equilibrium was found
    iterations: int
    converged: bool


def search(objective: MomentObjective, start: np.ndarray) -> Found:
    """The minimum near a start, to the last digits."""
    return _polished(objective, descend(objective, start))


def descend(objective: MomentObjective, start: np.ndarray) -> Found:
    """The minimum near a start, by Levenberg-Marquardt within bounds.

    Logs of moments come first, as ``m̂ log(m/m̂)``: shares and wages are nearly linear in them, so
    that the search does not lose itself where an origin has hardly any matches left.
    """
    low, high = map(np.asarray, objective.limits)
    data, root = np.asarray(objective.data), np.asarray(objective.root)
    positive = data > 0

    def at(u: np.ndarray, logs: bool) -> tuple[np.ndarray, np.ndarray]:
        model, slopes = map(np.asarray, moments_and_slopes(objective, u))
        gap, unit = model - data, np.ones_like(data)
        if logs:
            inside = positive & (model > 0)
            ratio = np.divide(model, data, out=np.ones_like(data), where=inside)
            gap = np.where(inside, data * np.log(ratio), np.where(positive, np.nan, gap))
            unit = 1.0 / ratio
        return root @ gap, root @ (unit[:, None] * slopes)

    u, spent = np.clip(start, low, high), 0
    found = None
    for logs, tolerance in ((True, 1e-8), (False, 1e-15)):
        seen = _Latest(partial(at, logs=logs))
        if not np.all(np.isfinite(seen.residual(u))):
            continue
        found = scipy.optimize.least_squares(
            seen.residual,
            u,
            jac=seen.slopes,
            bounds=(low, high),
            x_scale="jac",
            ftol=tolerance,
            xtol=tolerance,
            gtol=1e-15,
            max_nfev=200,
        )
        u, spent = found.x, spent + int(found.nfev)
    if found is None:
        return Found(u, np.inf, spent, False)
    return Found(u, value(objective, u), spent, found.success)


class _Latest:
    """Remembers the last value of a function: scipy asks for residual and slopes apart."""

    def __init__(self, function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self._function = function
        self._at = np.empty(0)

    def residual(self, u: np.ndarray) -> np.ndarray:
        if not np.array_equal(u, self._at):
            self._at, self._value = u.copy(), self._function(u)
        return self._value[0]

    def slopes(self, u: np.ndarray) -> np.ndarray:
        self.residual(u)
        return self._value[1]


def _polished(objective: MomentObjective, found: Found) -> Found:
    """Newton's last steps among the coordinates that are at no bound."""
    inside = ~at_bound(objective, found.u)
    for _ in range(_LAST_STEPS):
        slope = np.asarray(gradient(objective, found.u))[inside]
        bend = hessian(objective, found.u)[np.ix_(inside, inside)]
        unit = np.sqrt(np.abs(np.diag(bend)))
        if not (np.all(np.isfinite(bend)) and np.all(unit > 0)):
            return found
        scaled = bend / np.outer(unit, unit)
        if not np.linalg.eigvalsh(scaled)[0] > _FLAT:
            return found  # flat, or no minimum: a step would only wander
        step = np.zeros_like(found.u)
        step[inside] = np.linalg.solve(scaled, slope / unit) / unit
        u = np.clip(found.u - step, *map(np.asarray, objective.limits))
        lower = value(objective, u)
        if not lower <= found.value * (1.0 + _ROUNDING) + 1e-18:
            return found
        found = replace(found, u=u, value=lower, iterations=found.iterations + 1)
        if np.abs(step).max() < _LAST_STEP:
            return found
    return found


def at_bound(objective: MomentObjective, u: np.ndarray) -> np.ndarray:
    """Which coordinates are at a bound, ``(P,)``."""
    low, high = map(np.asarray, objective.limits)
    return (u - low < SAME) | (high - u < SAME)
