"""The slides' three steps on types: margins and affinity, then wages for the scales, then levels.

Steps 1 and 2: with the matched margins of the data, ``Φ/λ`` is where the model's cross moments
meet the data's. Step 3: ``λ`` and ``λ_x`` by least squares of wages on the model's own terms,
``w = λ ã(x) + λ_x log π(x, y) + const`` with ``ã = a/λ`` of step 1. With aggregates the offshored
mass (equation 10), constants and intensities follow in closed form (:mod:`estimation.levels`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.sparse
import scipy.stats

from estimation.affinity import AffinityEstimate, estimate_affinity
from estimation.certificate import GRADIENT_TOLERANCE, Certificate
from estimation.levels import Market, matched_economy
from matching import Economy, FixedMargins, InvalidInput, get_parameter, solve_fixed_margins

# Relative standard error of a scale beyond which first-order theory is a poor guide.
_LARGE_ERROR = 0.25
_DRAWS_AT_ONCE = 50  # so that memory stays small
_NEWTON_STEPS = 8  # of a draw, from the estimate; five reach rounding


@dataclass(frozen=True)
class ThreeSteps:
    """``Φ``, ``λ_x``, ``λ_y`` in money, and levels where aggregates were given, with covariance."""

    names: tuple[str, ...]  # Φ's entries row by row, the scales, then constants and intensities
    values: np.ndarray  # (P,), money; log points for intensities
    covariance: np.ndarray  # (P, P)
    bias: np.ndarray  # of Φ = λA, Cov(λ̂, Â); zero elsewhere, (P,); not taken from the values
    affinity: np.ndarray  # Φ, (m, n), money
    lambda_x: float
    lambda_y: float
    r_squared: float  # of the wage equation
    observations: int
    certificate: Certificate
    fit: pd.DataFrame  # cross moments and mean wages of types: moment, data, model
    matches: np.ndarray  # shares of the cells, data, (N, J)
    fitted_matches: np.ndarray  # shares of the cells, model, (N, J)
    mean_wages: np.ndarray  # of the cells, data, (N, J); NaN where there is no match
    fitted_wages: np.ndarray  # model, (N, J)
    economy: Economy | None = None
    draws: Economy | None = None  # bootstrap draws, a leading axis B; NaN where failed
    failed: np.ndarray | None = None  # (B,)

    @property
    def std_errors(self) -> np.ndarray:
        """Standard errors, ``(P,)``."""
        return np.sqrt(np.diag(self.covariance))

    def confint(self, level: float = 0.95) -> np.ndarray:
        """Intervals ``(P, 2)``: Φ's about its value less its bias, the scales' normal in logs."""
        return intervals(self.values, self.covariance, self.affinity.size, level)


def estimate_three_steps(
    skills: Any,
    characteristics: Any,
    worker_type: Any,
    firm_type: Any,
    wages: Any,
    weights: Any = None,
    *,
    clusters: Any = None,
    market: Market | None = None,
    draws: int = 0,
    seed: int = 0,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> ThreeSteps:
    """Estimate ``Φ, λ_x, λ_y`` from matches between types and their wages; levels with a market.

    ``skills (N, m)`` and ``characteristics (J, n)`` are the types; row ``i`` of ``worker_type``,
    ``firm_type`` (counting from 0) and ``wages`` is a match. Errors are those of a sample of rows,
    or of the clusters that label them: margins, affinity and wages vary together in it; what
    ``market`` says has the errors that it names.
    They are first-order; :meth:`ThreeSteps.confint` allows for the bias of ``Φ``, a product of two
    estimates, and for the skewness of the scales (``benchmarks/results/coverage_three_steps.csv``).
    ``draws`` samples of clusters, or of rows,
    with replacement give bootstrap draws of the economy; ``seed`` is theirs.

    Raises :class:`~matching.errors.InvalidInput` for types without matches, aggregates that no
    economy meets, and what :func:`~estimation.affinity.estimate_affinity` refuses.

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
    defects += market.defects if market else []
    if draws and market is None:
        defects.append("draws: are of an economy; give the market's aggregates too")
    if defects:
        raise InvalidInput(defects)
    weight = weight / weight.sum()
    shape = (len(x), len(y))
    cell = workers * len(y) + firms
    share, total = (np.bincount(cell, v, minlength=shape[0] * shape[1])
                    for v in (weight, weight * wage))  # fmt: skip
    mean_wage = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    filled = np.flatnonzero(share)
    first = estimate_affinity(
        x[filled // len(y)], y[filled % len(y)], share[filled],
        skill_names=skill_names, characteristic_names=characteristic_names,
    )  # fmt: skip

    counted = market.counted if market else np.zeros(3)
    at = (first.affinity, share.reshape(shape), mean_wage.reshape(shape), counted)
    values, economy = estimate_cells(*at, x, y, market)
    values = np.asarray(values)
    fitted_wages, fitted = (np.asarray(v) for v in _fitted(*at[:3], x, y))
    by_share, by_wage, by_counted = (
        np.asarray(d).reshape(len(values), -1) for d in _slopes(*at, x, y, market)[0]
    )
    per_wage = np.divide(by_wage, share, out=np.zeros_like(by_wage), where=share > 0)
    by_share = by_share - (by_share @ share)[:, None]
    off_mean = wage - mean_wage[cell]
    influence = weight * (by_share[:, cell] + per_wage[:, cell] * off_mean)
    labels = np.arange(len(wage))
    if clusters is not None:
        labels = np.unique(np.asarray(clusters), return_inverse=True)[1]
        influence = np.stack([np.bincount(labels, row) for row in influence])
    of_counted = by_counted * np.asarray(market.std_errors if market else 0.0)
    entries = len(first.affinity.ravel())
    lam_x, lam_y = values[entries : entries + 2]
    names = [f"affinity.{s}.{c}" for s in first.skill_names for c in first.characteristic_names]
    covariance = influence @ influence.T + of_counted @ of_counted.T
    spread = weight @ (wage - weight @ wage) ** 2
    found = ThreeSteps(
        names=(*names, "tastes.lambda_x", "tastes.lambda_y", *(market.rests_on if market else ())),
        values=values,
        covariance=covariance,
        bias=_bias(values, covariance, entries),
        affinity=values[:entries].reshape(first.affinity.shape),
        lambda_x=float(lam_x),
        lambda_y=float(lam_y),
        r_squared=float(1.0 - weight @ (wage - fitted_wages.ravel()[cell]) ** 2 / spread),
        observations=len(wage),
        certificate=replace(first.certificate, remarks=_remarks(values, covariance, entries)),
        fit=_fit(names, x, y, at[1], fitted, at[2], fitted_wages),
        matches=at[1],
        fitted_matches=fitted,
        mean_wages=np.where(at[1] > 0, at[2], np.nan),
        fitted_wages=fitted_wages,
    )
    if market is None:
        return found
    assert economy is not None
    found = replace(found, economy=_named(economy, first))
    if not draws:
        return found
    assert market is not None
    share_of_draws, wage_of_draws = _sampled(labels, cell, weight, wage, share.size, draws, seed)
    noise = np.random.default_rng([seed, *b"aggregates"]).normal(size=(draws, 3))
    sampled = (share_of_draws, wage_of_draws, counted + noise * np.asarray(market.std_errors))
    drawn, failed = _drawn(first.affinity, sampled, x, y, market)
    return replace(found, draws=_named(drawn, first), failed=failed)


# ---------------------------------------------------------------- the estimate, traced


@jax.jit
def estimate_cells(
    affinity: jax.Array,
    share: jax.Array,
    mean_wage: jax.Array,
    counted: jax.Array,
    x: jax.Array,
    y: jax.Array,
    market: Market | None,
) -> tuple[jax.Array, Economy | None]:
    """All parameters, and the economy, from ``Φ/λ``, shares and wages of cells, and aggregates."""
    a = moment_step(affinity, share, x, y)
    solved = _matching(a, share, x, y)
    lam, lam_x, _ = _wage_equation(solved, share, mean_wage)
    scales = (lam_x, lam - lam_x)
    values = jnp.concatenate([lam * a.ravel(), jnp.stack(scales)])
    if market is None:
        return values, None
    market = market.with_counted(counted)
    economy = matched_economy(
        x, y, solved.log_matches, (solved.multiplier_x, solved.multiplier_y), lam * a, scales,
        jnp.sum(share * mean_wage), market,
    )  # fmt: skip
    levels = [get_parameter(economy, name) for name in market.rests_on]
    return jnp.concatenate([values, jnp.stack(levels)]), economy


_slopes = jax.jit(jax.jacrev(estimate_cells, argnums=(1, 2, 3), has_aux=True))


@jax.jit
def moment_step(affinity: jax.Array, share: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Newton's step to where moments meet; at that point its derivative is the exact one."""
    affinity = jax.lax.stop_gradient(affinity)

    def gap(a: jax.Array) -> jax.Array:
        return x.T @ (share - _matching(a, share, x, y).matches) @ y

    slope = jax.lax.stop_gradient(jax.jacrev(gap)(affinity)).reshape(affinity.size, -1)
    return affinity - jnp.linalg.solve(slope, gap(affinity).ravel()).reshape(affinity.shape)


def _matching(affinity: jax.Array, share: jax.Array, x: jax.Array, y: jax.Array) -> FixedMargins:
    return solve_fixed_margins(x @ affinity @ y.T, share.sum(1), share.sum(0), throw=False)


def _terms(solved: FixedMargins) -> jax.Array:
    """The wage equation's terms of each cell, ``ã(x)``, ``log π(x, y)`` and one, ``(N, J, 3)``."""
    a = jnp.broadcast_to(solved.multiplier_x[:, None], solved.log_matches.shape)
    return jnp.stack([a, solved.log_matches, jnp.ones_like(a)], axis=-1)


def _wage_equation(solved: FixedMargins, share: jax.Array, mean_wage: jax.Array) -> jax.Array:
    """``λ, λ_x, const`` by least squares."""
    terms = _terms(solved).reshape(-1, 3)
    weighted = share.reshape(-1, 1) * terms
    return jnp.linalg.solve(weighted.T @ terms, weighted.T @ mean_wage.ravel())


@jax.jit
def _fitted(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Wages and shares of the cells in the model."""
    solved = _matching(affinity, share, x, y)
    return _terms(solved) @ _wage_equation(solved, share, mean_wage), solved.matches


# ---------------------------------------------------------------- the bootstrap


def _sampled(
    labels: np.ndarray, cell: np.ndarray, weight: np.ndarray, wage: np.ndarray, cells: int,
    draws: int, seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Shares and mean wages of the cells in samples of clusters with replacement, ``(B, NJ)``."""
    count = int(labels.max()) + 1
    rng = np.random.default_rng([seed, *b"bootstrap"])
    mass, bill = (
        scipy.sparse.csr_array((v, (labels, cell)), shape=(count, cells))
        for v in (weight, weight * wage)
    )
    share, total = np.empty((2, draws, cells))
    for b in range(draws):
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        share[b], total[b] = times @ mass, times @ bill
    share_sum = share.sum(1, keepdims=True)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    return share / share_sum, mean


def _drawn(
    affinity: np.ndarray, sampled: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray,
    market: Market,
) -> tuple[Economy, np.ndarray]:  # fmt: skip
    """The economy of each sample, in batches of one size, and which have failed."""
    share, mean_wage, counted = sampled
    count, size = len(share), min(_DRAWS_AT_ONCE, len(share))
    rows = np.arange(-(-count // size) * size) % count
    cells = (len(rows), len(x), len(y))
    parts = (share[rows].reshape(cells), mean_wage[rows].reshape(cells), counted[rows])
    batches = [
        _draw(affinity, *(part[k : k + size] for part in parts), x, y, market)
        for k in range(0, len(rows), size)
    ]
    return jax.tree.map(lambda *found: np.concatenate(found)[:count], *batches)


@jax.jit
def _draw(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, counted: jax.Array,
    x: jax.Array, y: jax.Array, market: Market,
) -> tuple[Economy, jax.Array]:  # fmt: skip
    """A batch of draws; one has failed where moments do not meet or a scale is not positive."""
    unit = jnp.outer(x.std(0), y.std(0))

    def one(
        share: jax.Array, mean_wage: jax.Array, counted: jax.Array
    ) -> tuple[Economy, jax.Array]:  # fmt: skip
        a = jax.lax.fori_loop(
            0, _NEWTON_STEPS, lambda _, a: moment_step(a, share, x, y), jnp.asarray(affinity)
        )
        economy = estimate_cells(a, share, mean_wage, counted, x, y, market)[1]
        assert economy is not None
        gap = x.T @ (share - _matching(a, share, x, y).matches) @ y / unit
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(economy)]
        positive = jnp.minimum(economy.lambda_x, economy.lambda_y) > 0
        met = jnp.max(jnp.abs(gap)) <= GRADIENT_TOLERANCE
        return economy, ~(met & positive & jnp.all(jnp.stack(finite)))

    return jax.vmap(one)(share, mean_wage, counted)


# ---------------------------------------------------------------- what goes with it


def _named(economy: Economy, first: AffinityEstimate) -> Economy:
    return replace(
        economy,
        skill_names=first.skill_names,
        characteristic_names=first.characteristic_names,
    )


def _fit(
    names: Sequence[str], x: np.ndarray, y: np.ndarray, share: np.ndarray, fitted: np.ndarray,
    mean_wage: np.ndarray, fitted_wages: np.ndarray,
) -> pd.DataFrame:  # fmt: skip
    """Cross moments, which are met, and mean wages by type, which need not be."""
    rows: list[tuple[str, float, float]] = []
    cross = ((x.T @ pi @ y).ravel() for pi in (share, fitted))
    rows += [(name.replace("affinity.", "cross_moment.", 1), data, model)
             for name, data, model in zip(names, *cross, strict=True)]  # fmt: skip
    for axis, kind in ((1, "worker"), (0, "firm")):
        margin = share.sum(axis)
        pair = (
            (pi * w).sum(axis) / margin for pi, w in ((share, mean_wage), (fitted, fitted_wages))
        )
        rows += [
            (f"mean_wage.{kind}_{k}", data, model)
            for k, (data, model) in enumerate(zip(*pair, strict=True), start=1)
        ]
    return pd.DataFrame(rows, columns=["moment", "data", "model"])


def intervals(
    values: np.ndarray, covariance: np.ndarray, entries: int, level: float = 0.95
) -> np.ndarray:
    """Intervals ``(P, 2)`` of ``entries`` of ``Φ``, the two scales, and whatever follows."""
    errors = np.sqrt(np.diag(covariance))[:, None]
    reach = scipy.stats.norm.ppf(0.5 + 0.5 * level) * errors * [-1.0, 1.0]
    ends = (values - _bias(values, covariance, entries))[:, None] + reach
    for k in (entries, entries + 1):
        if values[k] > 0:
            ends[k] = values[k] * np.exp(reach[k] / values[k])
    return ends


def _bias(values: np.ndarray, covariance: np.ndarray, entries: int) -> np.ndarray:
    """``Cov(λ̂, Â)`` for the entries of ``Φ = λA``, from the covariance of ``Φ`` and the scales."""
    scales = slice(entries, entries + 2)
    lam = values[scales].sum()
    of_lam, variance = covariance[:, scales].sum(1) / lam, covariance[scales, scales].sum() / lam**2
    bias = of_lam - values * variance
    bias[entries:] = 0.0
    return bias


def _remarks(values: np.ndarray, covariance: np.ndarray, entries: int) -> tuple[str, ...]:
    remarks = []
    errors = np.sqrt(np.diag(covariance))
    for place, name in enumerate(("tastes.lambda_x", "tastes.lambda_y"), start=entries):
        value, error = values[place], errors[place]
        if not value > 0:
            remarks.append(
                f"{name} is estimated at {value:.3g}; taste scales are positive, so the wages do "
                "not fit the model"
            )
        elif error > _LARGE_ERROR * value:
            remarks.append(
                f"{name} has a standard error of {error / value:.0%} of its value: the sample is "
                "small for the scales, and estimates of them and of the affinity tend to be too "
                "low (by about 10 % at 2,000 workers); read the intervals, which allow for it"
            )
    return tuple(remarks)


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
