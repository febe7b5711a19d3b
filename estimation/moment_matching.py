"""Matched pairs in standard units, and the convex problem in which their cross moments are met.

``W(A) − Σ A·E[x y']`` over affinity matrices ``A``, with ``W(A) = max_π E_π[x'Ay] − E_π[log π]``
over the ``π`` that have the sample's margins (Dupuy and Galichon 2014): its gradient is model less
sample cross moments, its Hessian the Fisher information of a match.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from estimation.certificate import MARGIN_TOLERANCE
from estimation.variation import collinear
from matching import FixedMargins, InvalidInput, solve_fixed_margins

# The objective resolves a gradient of about this size; the last Newton step does the rest.
_SEARCH: Any = {"gtol": 1e-6, "maxiter": 100}
# Beyond this many rows the N × N matching no longer fits an ordinary machine.
MAX_ROWS = 20_000


@dataclass(frozen=True)
class MatchedPairs:
    """Row ``i`` of both tables is one match; columns have mean zero and standard deviation one."""

    x: np.ndarray  # skills, (N, m)
    y: np.ndarray  # characteristics, (N, n)
    omega: np.ndarray  # weights, of sum one, (N,)
    units: np.ndarray  # of a skill times a characteristic, taken out of the columns, (m, n)
    skill_names: tuple[str, ...]
    characteristic_names: tuple[str, ...]

    @cached_property
    def moments(self) -> np.ndarray:
        """``E[x y']`` of the sample, ``(m, n)``."""
        return (self.omega[:, None] * self.x).T @ self.y


def matched_pairs(
    skills: Any,
    characteristics: Any,
    weights: Any = None,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> MatchedPairs:
    """Check tables of matches and take their units out, in which a search should not depend.

    Raises :class:`~matching.errors.InvalidInput` with every defect.
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (skills, characteristics))
    x, y = (v[:, None] if v.ndim == 1 else v for v in (x, y))
    names_x = tuple(skill_names) or _numbered("x", x.shape[1])
    names_y = tuple(characteristic_names) or _numbered("y", y.shape[1])
    omega = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    defects = _shape_defects(x, y, omega, names_x, names_y)
    if defects:
        raise InvalidInput(defects)
    omega = omega / omega.sum()
    (x, unit_x), (y, unit_y) = (_standard_units(v, omega) for v in (x, y))
    defects = _variation_defects(x, unit_x, omega, names_x)
    defects += _variation_defects(y, unit_y, omega, names_y)
    if defects:
        raise InvalidInput(defects)
    return MatchedPairs(x, y, omega, np.outer(unit_x, unit_y), names_x, names_y)


# ---------------------------------------------------------------- the convex problem


def match_moments(pairs: MatchedPairs) -> tuple[np.ndarray, int]:
    """The ``A (m, n)`` at which model and sample moments meet, and the number of iterations."""
    x, y, omega, sample = pairs.x, pairs.y, pairs.omega, pairs.moments
    latest: list[FixedMargins] = []  # each inner problem starts from the potentials of the last

    def solution(a: Any) -> FixedMargins:
        start = latest[0].potentials if latest else None
        latest[:] = [matching_at(a.reshape(sample.shape), pairs, start)]
        return latest[0]

    def objective(a: Any) -> Any:
        matching = solution(a)
        value = omega @ np.asarray(matching.multiplier_x + matching.multiplier_y)
        gradient = np.asarray(x.T @ matching.matches @ y) - sample
        return float(value - a @ sample.ravel()), gradient.ravel()

    def hessian(a: Any) -> Any:
        return np.asarray(fisher_information(solution(a).matches, x, y))

    def give_up(_: Any) -> None:
        if not latest[0].max_residual <= MARGIN_TOLERANCE:
            raise StopIteration  # the certificate of the last point says what is wrong

    search = scipy.optimize.minimize(  # type: ignore[call-overload]  # the stubs know no jac=True
        objective,
        np.zeros(sample.size),
        jac=True,
        hess=hessian,
        method="trust-exact",
        callback=give_up,
        options=_SEARCH,
    )
    last_step = np.linalg.lstsq(search.hess, search.jac, rcond=None)[0]
    return (search.x - last_step).reshape(sample.shape), int(search.nit) + 1


def matching_at(affinity: np.ndarray, pairs: MatchedPairs, start: Any = None) -> FixedMargins:
    """The matching of the sample's margins at an affinity matrix; ``start``: potentials near it."""
    log_affinity = jnp.asarray(pairs.x) @ jnp.asarray(affinity) @ jnp.asarray(pairs.y).T
    return solve_fixed_margins(
        log_affinity, pairs.omega, pairs.omega, "ipfp", max_iter=2000, throw=False, start=start
    )


@jax.jit
def fisher_information(pi: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Fisher information of a match on ``A``: ``E_π[z z']``, ``(mn, mn)``.

    ``z`` is ``x ⊗ y`` less its projection on functions of ``x`` plus functions of ``y``, whose
    normal equations have the matrix ``[diag f, π; π', diag g]``.
    """
    f, g = pi.sum(1), pi.sum(0)
    (n, m), (j, k) = x.shape, y.shape
    xx = (x[:, :, None] * x[:, None, :]).reshape(n, m * m)
    yy = (y[:, :, None] * y[:, None, :]).reshape(j, k * k)
    second = (xx.T @ (pi @ yy)).reshape(m, m, k, k).transpose(0, 2, 1, 3).reshape(m * k, m * k)
    on_x = (x[:, :, None] * (pi @ y)[:, None, :]).reshape(n, m * k)  # Σ_y π x⊗y
    on_y = ((pi.T @ x)[:, :, None] * y[:, None, :]).reshape(j, m * k)
    share = pi / f[:, None]
    # constants are in both spans; adding g g' fixes which of the two carries them
    schur = jnp.diag(g) - pi.T @ share + jnp.outer(g, g) / g.sum()
    beta_y = jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(schur, lower=True), on_y - share.T @ on_x
    )
    beta_x = on_x / f[:, None] - share @ beta_y
    information = second - on_x.T @ beta_x - on_y.T @ beta_y
    return 0.5 * (information + information.T)


# ---------------------------------------------------------------- the data


def _standard_units(values: np.ndarray, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns with mean zero and standard deviation one, and the units taken out."""
    centred = values - omega @ values
    unit = np.sqrt(omega @ centred**2)
    constant = unit <= 1e-12 * np.max(np.abs(values), axis=0)
    unit = np.where(constant, 0.0, unit)
    return centred / np.where(constant, 1.0, unit), unit


def _shape_defects(
    x: np.ndarray,
    y: np.ndarray,
    omega: np.ndarray,
    names_x: tuple[str, ...],
    names_y: tuple[str, ...],
) -> list[str]:
    defects = []
    if not len(x) == len(y) == len(omega):
        defects.append(
            f"skills, characteristics and weights have {len(x)}, {len(y)} and {len(omega)} rows; "
            "give one row per match in each"
        )
    if len(x) > MAX_ROWS:
        defects.append(
            f"{len(x)} matches: the matching needs {8e-9 * len(x) ** 2:.0f} GB per array; draw a "
            f"sample of at most {MAX_ROWS}"
        )
    for label, values, names in (("skill", x, names_x), ("characteristic", y, names_y)):
        if values.shape[1] != len(names):
            defects.append(f"{label}_names: {len(names)} names for {values.shape[1]} columns")
        elif not np.all(np.isfinite(values)):
            where = ", ".join(n for n, v in zip(names, values.T, strict=True)
                              if not np.all(np.isfinite(v)))  # fmt: skip
            defects.append(f"{label} {where}: is not finite in every row; drop or mend those rows")
    if not (np.all(np.isfinite(omega)) and np.all(omega > 0)):
        defects.append("weights: are not all positive; leave out rows that count for nothing")
    return defects


def _variation_defects(
    values: np.ndarray, unit: np.ndarray, omega: np.ndarray, names: tuple[str, ...]
) -> list[str]:
    """Columns in which nothing identifies an affinity."""
    defects = [
        f"column {name}: is constant, so nothing is sorted on it; leave it out"
        for name, u in zip(names, unit, strict=True)
        if u == 0
    ]
    if defects:
        return defects
    return [
        f"columns {involved}: are collinear, so their affinities are not told apart; "
        "leave one of them out"
        for involved in collinear(np.sqrt(omega)[:, None] * values, names)
    ]


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{k + 1}" for k in range(count))
