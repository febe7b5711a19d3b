"""Profile intervals of taste scales: values that a likelihood-ratio test does not reject."""

import numpy as np
import scipy.optimize
import scipy.stats

from estimation.wage_equation import SCALE_FIRM, SCALE_WORKER, Point, evaluate

SCALES = {"scale.worker": SCALE_WORKER, "scale.firm": SCALE_FIRM}


def profile_interval(top: Point, scale: str, level: float) -> tuple[float, float]:
    """The interval of a scale about the optimum ``top`` (Venzon and Moolgavkar 1988).

    ``scale`` is ``"scale.worker"`` or ``"scale.firm"``. An end where the likelihood stays too flat
    to be found is NaN.
    """
    drop = 0.5 * scipy.stats.chi2.ppf(level, 1)
    low, high = (_profile_end(top, SCALES[scale], drop, side) for side in (-1.0, 1.0))
    return low, high


def _profile_end(near: Point, place: int, drop: float, side: float) -> float:
    """Where, going up or down a scale, the profile likelihood has dropped by ``drop``."""
    sample, top, k = near.sample, near.objective, len(near.interaction)
    best = near.beta[place]
    at_best = evaluate(sample, near.interaction, near, {place: best})
    _, hessian = at_best.concentrated()
    direction = np.linalg.solve(-hessian, np.eye(k + 1)[k])
    unit = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    step = side * np.sqrt(2.0 * drop) * direction / np.sqrt(direction[k])
    latest = [at_best]

    def conditions(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nuisance scores and the missing drop, and their derivatives, in standard errors."""
        a, scale = (near.interaction + unit[:k] * x[:k]), best + unit[k] * x[k]
        latest[:] = [evaluate(sample, a, latest[0], {place: scale})]
        gradient, hessian = latest[0].concentrated()
        gradient, hessian = gradient * unit, hessian * np.outer(unit, unit)
        value = np.r_[gradient[:k], latest[0].objective - top + drop]
        return value, np.vstack([hessian[:k], gradient])

    found = scipy.optimize.root(  # type: ignore[call-overload]  # the stubs know no jac=True
        conditions, step / unit, jac=True, options={"xtol": 1e-5, "maxfev": 30}
    )
    inside = np.max(np.abs(found.fun)) < 1e-4 and side * found.x[k] > 0
    return float(best + unit[k] * found.x[k]) if inside else float("nan")
