"""Matched pairs in standard units, and the convex problem in which their cross moments are met.

``W(A) − Σ A·E[x y']`` over affinity matrices ``A``, with ``W(A) = max_π E_π[x'Ay] − E_π[log π]``
over the ``π`` that have the sample's margins (Dupuy and Galichon 2014): its gradient is model less
sample cross moments, its Hessian the Fisher information of a match.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from estimation.certificate import MARGIN_TOLERANCE
from estimation.standardise import Standardised, standardise
from estimation.variation import collinear
from matching import FixedMargins, InvalidInput, solve_fixed_margins
from matching.arrays import float64

# The objective resolves a gradient of about this size; the last Newton step does the rest.
_SEARCH: Any = {"gtol": 1e-6, "maxiter": 100}
# Beyond this many rows the N × N matching no longer fits an ordinary machine.
MAX_ROWS = 20_000


@dataclass(frozen=True)
class MatchedPairs:
    """Matches of distinct types: match ``i`` is of type ``of_x[i]`` with type ``of_y[i]``.

    Over all matches of a sample the columns have mean zero and standard deviation one.
    """

    x: np.ndarray  # skills of each type, (N, m)
    y: np.ndarray  # characteristics of each type, (J, n)
    of_x: np.ndarray  # (R,)
    of_y: np.ndarray  # (R,)
    omega: np.ndarray  # weights of the matches, of sum one, (R,)
    units: np.ndarray  # of a skill times a characteristic, taken out of the columns, (m, n)
    skill_names: tuple[str, ...]
    characteristic_names: tuple[str, ...]

    @cached_property
    def moments(self) -> np.ndarray:
        """``E[x y']`` of the sample, ``(m, n)``."""
        return (self.omega[:, None] * self.x[self.of_x]).T @ self.y[self.of_y]

    @cached_property
    def margins(self) -> tuple[np.ndarray, np.ndarray]:
        """Masses of the types, ``f (N,)`` and ``g (J,)``, each of sum one."""
        f = np.bincount(self.of_x, self.omega, len(self.x))
        g = np.bincount(self.of_y, self.omega, len(self.y))
        return f / f.sum(), g / g.sum()

    @property
    def effective(self) -> float:
        """``(Σω)²/Σω²``, the number of matches where their weights are equal."""
        return float(1.0 / np.sum(self.omega**2))

    def resampled(self, rows: np.ndarray) -> "MatchedPairs":
        """Matches of the same types, each as often as it is among the ``rows``."""
        omega = self.omega[rows] / self.omega[rows].sum()
        return replace(self, of_x=self.of_x[rows], of_y=self.of_y[rows], omega=omega)

    def some(self, rows: np.ndarray) -> "MatchedPairs":
        """Some of the matches, in the units of all."""
        x, of_x = distinct_rows(self.x[self.of_x[rows]])
        y, of_y = distinct_rows(self.y[self.of_y[rows]])
        omega = self.omega[rows] / self.omega[rows].sum()
        return replace(self, x=x, y=y, of_x=of_x, of_y=of_y, omega=omega)


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
    x, y = (np.asarray(float64(v)) for v in (skills, characteristics))
    x, y = (v[:, None] if v.ndim == 1 else v for v in (x, y))
    names_x = tuple(skill_names) or _numbered("x", x.shape[1])
    names_y = tuple(characteristic_names) or _numbered("y", y.shape[1])
    omega = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    defects = _shape_defects(x, y, omega, names_x, names_y)
    if defects:
        raise InvalidInput(defects)
    if len(omega) < 2:
        raise InvalidInput(["skills: are of one match, which tells nothing of sorting"])
    omega = omega / omega.sum()
    side_x, side_y = (standardise(v, omega, "ddof0") for v in (x, y))
    defects = _variation_defects(side_x, omega, names_x)
    defects += _variation_defects(side_y, omega, names_y)
    if defects:
        raise InvalidInput(defects)
    (x, of_x), (y, of_y) = distinct_rows(side_x.values), distinct_rows(side_y.values)
    defects = size_defects(len(x), len(y))
    if defects:
        raise InvalidInput(defects)
    units = np.outer(side_x.unit, side_y.unit)
    return MatchedPairs(x, y, of_x, of_y, omega, units, names_x, names_y)


# ---------------------------------------------------------------- the convex problem


@dataclass(frozen=True)
class MomentGap:
    """The convex problem at one affinity matrix."""

    value: float  # W(A) − Σ A·E[x y']: minus the log likelihood of a match, given the margins
    gradient: np.ndarray  # model less sample moments, (m, n)
    matching: FixedMargins

    @property
    def margins_met(self) -> bool:
        """Whether the matching has the sample's margins."""
        return bool(self.matching.max_residual <= MARGIN_TOLERANCE)

    def information(self, pairs: MatchedPairs) -> np.ndarray:
        """The Hessian, ``(mn, mn)``."""
        return np.asarray(fisher_information(self.matching.matches, pairs.x, pairs.y)[0])


def match_moments(
    pairs: MatchedPairs, near: tuple[np.ndarray, FixedMargins] | None = None
) -> tuple[np.ndarray, int]:
    """The ``A (m, n)`` at which model and sample moments meet, and the number of iterations.

    The search starts ``near`` an affinity matrix and its matching, or else at zero.
    """
    shape = pairs.moments.shape
    begin, matching = near or (np.zeros(shape), None)
    latest: list[MomentGap] = []  # each inner problem starts from the potentials of the last

    def at(a: Any) -> MomentGap:
        start = latest[0].matching if latest else matching
        latest[:] = [moment_gap(a.reshape(shape), pairs, start)]
        return latest[0]

    def objective(a: Any) -> Any:
        point = at(a)
        return point.value, point.gradient.ravel()

    def hessian(a: Any) -> Any:
        return at(a).information(pairs)

    def give_up(_: Any) -> None:
        if not latest[0].margins_met:
            raise StopIteration  # the certificate of the last point says what is wrong

    search = scipy.optimize.minimize(  # type: ignore[call-overload]  # the stubs know no jac=True
        objective,
        begin.ravel(),
        jac=True,
        hess=hessian,
        method="trust-exact",
        callback=give_up,
        options=_SEARCH,
    )
    last_step = np.linalg.lstsq(search.hess, search.jac, rcond=None)[0]
    return (search.x - last_step).reshape(shape), int(search.nit) + 1


def moment_gap(
    affinity: np.ndarray, pairs: MatchedPairs, near: FixedMargins | None = None
) -> MomentGap:
    """The objective and its gradient at an affinity matrix; a matching ``near`` saves time."""
    log_affinity = jnp.asarray(pairs.x) @ jnp.asarray(affinity) @ jnp.asarray(pairs.y).T
    f, g = pairs.margins
    start = None if near is None else near.potentials
    matching = solve_fixed_margins(
        log_affinity, f, g, "ipfp", max_iter=2000, throw=False, start=start
    )
    value = sum(
        mass @ np.where(mass > 0, multiplier, 0.0)  # of types without matches it is infinite
        for mass, multiplier in ((f, matching.multiplier_x), (g, matching.multiplier_y))
    )
    gradient = np.asarray(pairs.x.T @ matching.matches @ pairs.y) - pairs.moments
    return MomentGap(float(value - np.sum(affinity * pairs.moments)), gradient, matching)


@jax.jit
def fisher_information(
    pi: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Fisher information of a match on ``A``: ``E_π[z z']``, ``(mn, mn)``.

    ``z`` is ``x ⊗ y`` less its projection on functions of ``x`` plus functions of ``y``, which are
    returned too, ``(N, mn)`` and ``(J, mn)``; the normal equations have the matrix
    ``[diag f, π; π', diag g]``. Types without matches have none.
    """
    f, g = pi.sum(1), pi.sum(0)
    (n, m), (j, k) = x.shape, y.shape
    xx = (x[:, :, None] * x[:, None, :]).reshape(n, m * m)
    yy = (y[:, :, None] * y[:, None, :]).reshape(j, k * k)
    second = (xx.T @ (pi @ yy)).reshape(m, m, k, k).transpose(0, 2, 1, 3).reshape(m * k, m * k)
    on_x = (x[:, :, None] * (pi @ y)[:, None, :]).reshape(n, m * k)  # Σ_y π x⊗y
    on_y = ((pi.T @ x)[:, :, None] * y[:, None, :]).reshape(j, m * k)
    f, g_or_1 = jnp.where(f > 0, f, 1.0), jnp.where(g > 0, g, 1.0)
    share = pi / f[:, None]
    # constants are in both spans; adding g g' fixes which of the two carries them
    schur = jnp.diag(g_or_1) - pi.T @ share + jnp.outer(g, g) / g.sum()
    beta_y = jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(schur, lower=True), on_y - share.T @ on_x
    )
    beta_x = on_x / f[:, None] - share @ beta_y
    information = second - on_x.T @ beta_x - on_y.T @ beta_y
    return 0.5 * (information + information.T), beta_x, beta_y


# ---------------------------------------------------------------- the data


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


def size_defects(workers: int, firms: int) -> list[str]:
    """What is wrong with more types than a matching between them can be held of."""
    if workers * firms <= MAX_ROWS**2:
        return []
    return [
        f"{workers} distinct workers and {firms} distinct firms: the matching needs "
        f"{8e-9 * workers * firms:.0f} GB per array; make types, or draw a sample of at most "
        f"{MAX_ROWS} matches"
    ]


def distinct_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows, in ascending order, and which of them each row is."""
    order = np.lexsort(values.T[::-1])
    first = np.append(True, np.any(np.diff(values[order], axis=0) != 0, axis=1))
    which = np.empty(len(values), dtype=int)
    which[order] = np.cumsum(first) - 1
    return values[order[first]], which


def _variation_defects(side: Standardised, omega: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Columns in which nothing identifies an affinity."""
    defects = [
        f"column {name}: is constant, so nothing is sorted on it; leave it out"
        for name, u in zip(names, side.unit, strict=True)
        if u == 0
    ]
    if defects:
        return defects
    return [
        f"columns {involved}: are collinear, so their affinities are not told apart; "
        "leave one of them out"
        for involved in collinear(np.sqrt(omega)[:, None] * side.values, names)
    ]


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{k + 1}" for k in range(count))
