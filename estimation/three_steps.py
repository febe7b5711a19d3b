"""The slides' three steps on types: margins and affinity, then the wage equation for the scales.

Steps 1 and 2: with the matched margins of the data, ``Φ/λ`` is where the model's cross moments
meet the data's. Step 3: ``λ`` and ``λ_x`` by least squares of wages on the model's own terms,
``w = λ ã(x) + λ_x log π(x, y) + const`` with ``ã = a/λ`` of step 1. The offshored mass is
:func:`~estimation.offshored.offshored_matches`'s, constants and intensities are
:func:`~estimation.calibration.calibrate`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimation.affinity import estimate_affinity
from estimation.certificate import Certificate
from matching import FixedMargins, InvalidInput, solve_fixed_margins


@dataclass(frozen=True)
class ThreeSteps:
    """``Φ``, ``λ_x`` and ``λ_y`` in money, with the covariance of all of them."""

    names: tuple[str, ...]  # Φ's entries row by row, then the scales
    values: np.ndarray  # (P,), money
    covariance: np.ndarray  # (P, P)
    affinity: np.ndarray  # Φ, (m, n), money
    lambda_x: float
    lambda_y: float
    r_squared: float  # of the wage equation
    observations: int
    certificate: Certificate

    @property
    def std_errors(self) -> np.ndarray:
        """Standard errors, ``(P,)``."""
        return np.sqrt(np.diag(self.covariance))


def estimate_three_steps(
    skills: Any,
    characteristics: Any,
    worker_type: Any,
    firm_type: Any,
    wages: Any,
    weights: Any = None,
    *,
    clusters: Any = None,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> ThreeSteps:
    """Estimate ``Φ, λ_x, λ_y`` from matches between types and their wages.

    ``skills (N, m)`` and ``characteristics (J, n)`` are the types; row ``i`` of ``worker_type``,
    ``firm_type`` (counting from 0) and ``wages`` is a match. Errors are those of a sample of rows,
    or of the clusters that label them: margins, affinity and wages vary together in it. They are
    first-order: where the scales are known to 30 % (Denmark 2006 at 2,000 workers) ``Φ`` is
    biased by −16 % and 95 % intervals cover 86-91 %, at 200,000 the bias is −0.1 % and they cover
    94-96 % (``benchmarks/results/coverage_three_steps.csv``).

    Raises :class:`~matching.errors.InvalidInput` for types without matches, and what
    :func:`~estimation.affinity.estimate_affinity` refuses.

    >>> found = estimate_three_steps([0.0, 1.0], [0.0, 1.0], [0, 0, 1, 1], [0, 1, 0, 1],
    ...                              wages=[1.0, 0.0, 2.0, 3.0], weights=[0.3, 0.2, 0.2, 0.3])
    >>> round(found.lambda_x, 6)  # w = (2a + log π)/log 1.5 + const
    2.466303
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (skills, characteristics))
    x, y = (v[:, None] if v.ndim == 1 else v for v in (x, y))
    workers, firms = (np.asarray(v, dtype=np.int64) for v in (worker_type, firm_type))
    wage = np.asarray(wages, dtype=np.float64)
    weight = np.ones(len(wage)) if weights is None else np.asarray(weights, dtype=np.float64)
    defects = _defects(x, y, workers, firms, wage, weight)
    if defects:
        raise InvalidInput(defects)
    weight = weight / weight.sum()
    cell = workers * len(y) + firms
    share, total = (
        np.bincount(cell, v, minlength=len(x) * len(y)) for v in (weight, weight * wage)
    )
    mean_wage = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    filled = np.flatnonzero(share)
    first = estimate_affinity(
        x[filled // len(y)], y[filled % len(y)], share[filled],
        skill_names=skill_names, characteristic_names=characteristic_names,
    )  # fmt: skip

    shape = (len(x), len(y))
    at = (first.affinity, share.reshape(shape), mean_wage.reshape(shape), x, y)
    lam, lam_x, _ = beta = np.asarray(_fit(*at)[1])
    fitted = np.asarray(_terms(*at[:2], x, y)).reshape(-1, 3) @ beta
    by_share, by_wage = _influence(at, share)
    influence = weight * (by_share[:, cell] + by_wage[:, cell] * (wage - mean_wage[cell]))
    if clusters is not None:
        labels = np.unique(np.asarray(clusters), return_inverse=True)[1]
        influence = np.stack([np.bincount(labels, row) for row in influence])
    a = first.affinity.ravel()
    jacobian = np.eye(len(a) + 2)  # from A, λ, λ_x to Φ = λA, λ_x, λ_y
    jacobian[: len(a)] = np.hstack([lam * np.eye(len(a)), a[:, None], np.zeros((len(a), 1))])
    jacobian[len(a) :, len(a) :] = [[0.0, 1.0], [1.0, -1.0]]
    influence = jacobian @ influence
    names = [f"affinity.{s}.{c}" for s in first.skill_names for c in first.characteristic_names]
    spread = weight @ (wage - weight @ wage) ** 2
    return ThreeSteps(
        names=(*names, "lambda_x", "lambda_y"),
        values=np.r_[lam * a, lam_x, lam - lam_x],
        covariance=influence @ influence.T,
        affinity=lam * first.affinity,
        lambda_x=float(lam_x),
        lambda_y=float(lam - lam_x),
        r_squared=float(1.0 - weight @ (wage - fitted[cell]) ** 2 / spread),
        observations=len(wage),
        certificate=replace(first.certificate, remarks=_remarks(lam, lam_x)),
    )


@jax.jit
def _terms(affinity: jax.Array, share: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """The wage equation's terms of each cell, ``ã(x)``, ``log π(x, y)`` and one, ``(N, J, 3)``."""
    solved = _matching(affinity, share, x, y)
    a = jnp.broadcast_to(solved.multiplier_x[:, None], share.shape)
    return jnp.stack([a, solved.log_matches, jnp.ones_like(a)], axis=-1)


@jax.jit
def _fit(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Data less model cross moments, ``(mn,)``, and ``λ, λ_x, const`` by least squares."""
    gap = x.T @ (share - _matching(affinity, share, x, y).matches) @ y
    terms = _terms(affinity, share, x, y).reshape(-1, 3)
    weighted = share.reshape(-1, 1) * terms
    return gap.ravel(), jnp.linalg.solve(weighted.T @ terms, weighted.T @ mean_wage.ravel())


_slopes = jax.jit(jax.jacrev(_fit, argnums=(0, 1, 2)))


def _influence(at: Any, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a match in a cell, and a wage off its cell's mean, do to ``A, λ, λ_x``: ``(P, NJ)``."""
    (gap_a, gap_p, _), (beta_a, beta_p, beta_w) = jax.tree.map(np.asarray, _slopes(*at))
    count = at[0].size
    # a change of the shares moves A so that the moments go on being met
    a_p = -np.linalg.solve(gap_a.reshape(count, count), gap_p.reshape(count, -1))
    beta_p = beta_p.reshape(3, -1) + beta_a.reshape(3, count) @ a_p
    by_share = np.vstack([a_p, beta_p[:2]])
    by_wage = np.vstack([np.zeros_like(a_p), beta_w.reshape(3, -1)[:2]])
    per_wage = np.divide(by_wage, share, out=np.zeros_like(by_wage), where=share > 0)
    return by_share - (by_share @ share)[:, None], per_wage


def _matching(affinity: jax.Array, share: jax.Array, x: jax.Array, y: jax.Array) -> FixedMargins:
    return solve_fixed_margins(x @ affinity @ y.T, share.sum(1), share.sum(0), throw=False)


def _remarks(lam: float, lam_x: float) -> tuple[str, ...]:
    return tuple(
        f"{name} is estimated at {value:.3g}; taste scales are positive, so the wages do not fit "
        "the model"
        for name, value in (("lambda_x", lam_x), ("lambda_y", lam - lam_x))
        if not value > 0
    )


def _defects(
    x: np.ndarray,
    y: np.ndarray,
    workers: np.ndarray,
    firms: np.ndarray,
    wage: np.ndarray,
    weight: np.ndarray,
) -> list[str]:
    lengths = {len(v) for v in (workers, firms, wage, weight)}
    if len(lengths) > 1:
        return [
            f"worker_type, firm_type, wages, weights: have {len(workers)}, {len(firms)}, "
            f"{len(wage)} and {len(weight)} rows; give one row per match in each"
        ]
    defects = []
    for name, kinds, types in (("worker_type", workers, x), ("firm_type", firms, y)):
        outside = np.flatnonzero((kinds < 0) | (kinds >= len(types)))
        if len(outside):
            defects.append(
                f"{name}: {kinds[outside[0]]} in row {outside[0]} is no type, there are "
                f"{len(types)} counted from 0; leave the unmatched out"
            )
            continue
        empty = np.setdiff1d(np.arange(len(types)), kinds)
        if len(empty):
            listed = ", ".join(map(str, empty[:5]))
            defects.append(f"{name}: no match has type {listed}; merge it or leave it out")
    if not np.all(np.isfinite(wage)):
        defects.append("wages: are not finite in every row; drop or mend those rows")
    if not (np.all(np.isfinite(weight)) and np.all(weight > 0)):
        defects.append("weights: are not all positive; leave out rows that count for nothing")
    return defects
