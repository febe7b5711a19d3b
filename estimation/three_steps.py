"""The slides' three steps on types: margins and affinity, then wages for the scales, then levels.

Steps 1 and 2: with the matched margins of the data, ``Φ/λ`` is where the model's cross moments
meet the data's. Step 3: ``λ`` and ``λ_x`` by least squares of wages on the model's own terms,
``w = λ ã(x) + λ_x log π(x, y) + const`` with ``ã = a/λ`` of step 1. Sampled margins put errors
``α(x), β(y)`` into the multipliers ``ã, b̃``, common to the wages of a type, so these are estimated
too, at the cost of how well margins are known (errors in variables, Fuller 1987). With aggregates
the offshored mass (equation 10), constants and intensities follow in closed form
(:mod:`estimation.levels`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from estimation.affinity import estimate_affinity
from estimation.cell_estimate import estimate_cells, fitted_cells, slopes_of_cells
from estimation.cluster_bootstrap import bootstrap_cells
from estimation.cluster_sums import cluster_sums
from estimation.estimates import CellFit, Estimates, Fit
from estimation.identification import identify_scales
from estimation.levels import Market
from estimation.resampling import few_clusters, numbered
from matching import Economy, InvalidInput

SCALES = ("tastes.lambda_x", "tastes.lambda_y")
# Relative standard error of a scale beyond which first-order theory is a poor guide.
_LARGE_ERROR = 0.25


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
    studentised: bool = False,
    seed: int = 0,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> Estimates:
    """Estimate ``Φ, λ_x, λ_y`` from matches between types and their wages; levels with a market.

    ``skills (N, m)`` and ``characteristics (J, n)`` are the types; row ``i`` of ``worker_type``,
    ``firm_type`` (counting from 0) and ``wages`` is a match. Errors are those of a sample of rows,
    or of the clusters that label them: margins, affinity and wages vary together in it; what
    ``market`` says has the errors that it names. Wages are weighed by their variance within cells,
    errors in the multipliers by the margins. Standard errors are first-order, and refused where the
    wages leave a scale open by more than its size; intervals allow for the bias of ``Φ``, a product
    of two estimates, and for the skewness of the scales
    (``benchmarks/results/coverage_three_steps.csv``). ``draws`` samples of clusters, or of
    rows, with replacement give the bootstrap, with an economy each; ``studentised`` gives each an
    error of its own, for intervals by their ratio. ``seed`` is theirs.

    Raises :class:`~matching.errors.InvalidInput` for types without matches, aggregates that no
    economy meets, and what :func:`~estimation.affinity.estimate_affinity` refuses.

    >>> found = estimate_three_steps([0.0, 1.0], [0.0, 1.0], [0, 0, 1, 1], [0, 1, 0, 1],
    ...                              wages=[1.0, 0.0, 2.0, 3.0], weights=[0.3, 0.2, 0.2, 0.3])
    >>> round(found["tastes.lambda_x"], 6)  # w = (2a + log π)/log 1.5 + const
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
    sums = cluster_sums(numbered(clusters, len(wage)), cell, weight, wage, shape[0] * shape[1])
    once = np.ones(sums.clusters)
    share, mean_wage, variance = sums.cells(once)
    filled = np.flatnonzero(share)
    first = estimate_affinity(
        x[filled // len(y)], y[filled % len(y)], share[filled],
        skill_names=skill_names, characteristic_names=characteristic_names,
    )  # fmt: skip

    counted = market.counted if market else np.zeros(3)
    at = (first.affinity(), share.reshape(shape), mean_wage.reshape(shape), variance, counted)
    traced, economy = estimate_cells(*at, x, y, market)
    values = np.asarray(traced)
    fitted_wages, fitted = (np.asarray(v) for v in fitted_cells(*at[:4], x, y))
    by_share, by_wage, by_counted = (
        np.asarray(d).reshape(len(values), -1) for d in slopes_of_cells(*at, x, y, market)[0]
    )
    of_counted = by_counted * np.asarray(market.std_errors if market else 0.0)
    covariance = sums.covariance(once, by_share, by_wage) + of_counted @ of_counted.T
    names = (*first.names, *SCALES, *(market.rests_on if market else ()))
    entries = len(first.names)
    identification = identify_scales(SCALES, names, values, covariance)
    remarks = (
        *_remarks(values, covariance, entries),
        *identification.sentences,
        *few_clusters(clusters, len(names)),
    )
    spread = weight @ (wage - weight @ wage) ** 2
    cells = CellFit(
        counts=np.bincount(cell, minlength=share.size).reshape(shape),
        matches=at[1],
        fitted_matches=fitted,
        mean_wages=np.where(at[1] > 0, at[2], np.nan),
        fitted_wages=fitted_wages,
    )
    found = Estimates(
        names=names,
        values=values,
        units=tuple("log points" if n.endswith((".nu_x", ".nu_y")) else "money" for n in names),
        start=np.r_[np.zeros(entries), np.full(len(names) - entries, np.nan)],
        status=("free",) * len(names),
        # all of them rest on the scales
        covariances={"sandwich": covariance + (0.0 if identification.identified else np.nan)},
        fit=_fit(first.names, x, y, cells),
        certificate=replace(first.certificate, remarks=remarks),
        identification=identification,
        observations=len(wage),
        effective_observations=float(1.0 / np.sum(weight**2)),
        skill_names=first.skill_names,
        characteristic_names=first.characteristic_names,
        bias=bias_of_affinity(values, covariance, entries),
        rests_on=market.rests_on if market else {},
        r_squared=float(1.0 - weight @ (wage - fitted_wages.ravel()[cell]) ** 2 / spread),
        economy=economy and _named(economy, first),
        cells=cells,
    )
    if market is not None and draws:
        drawn = bootstrap_cells(
            sums, first.affinity(), x, y, market, draws, seed, studentised=studentised
        )
        assert drawn.economies is not None
        economies = _named(drawn.economies, first)
        found = found.with_bootstrap(replace(drawn, economies=economies))
    if market is not None and market.foreign is not None:
        found = found.with_cost_of_offshoring()
    return found


# ---------------------------------------------------------------- what goes with it


def _named(economy: Economy, first: Estimates) -> Economy:
    return replace(
        economy,
        skill_names=first.skill_names,
        characteristic_names=first.characteristic_names,
    )


def _fit(names: Sequence[str], x: np.ndarray, y: np.ndarray, cells: CellFit) -> Fit:
    """Cross moments, which are met, and mean wages by type, which need not be."""
    data: list[float] = []
    model: list[float] = []
    moments = [name.replace("affinity.", "cross_moment.", 1) for name in names]
    for into, pi in ((data, cells.matches), (model, cells.fitted_matches)):
        into += (x.T @ pi @ y).ravel().tolist()
    rows = [int(cells.counts.sum())] * len(moments)
    for axis, kind in ((1, "worker"), (0, "firm")):
        margin = cells.matches.sum(axis)
        for into, pi, wages in (
            (data, cells.matches, np.nan_to_num(cells.mean_wages)),
            (model, cells.fitted_matches, cells.fitted_wages),
        ):
            into += ((pi * wages).sum(axis) / margin).tolist()
        moments += [f"mean_wage.{kind}_{k}" for k in range(1, len(margin) + 1)]
        rows += cells.counts.sum(axis).tolist()
    return Fit(tuple(moments), np.array(data), np.array(model), np.full(len(data), np.nan),
               np.array(rows))  # fmt: skip


def bias_of_affinity(values: np.ndarray, covariance: np.ndarray, entries: int) -> np.ndarray:
    """``Cov(λ̂, Â)`` for the entries of ``Φ = λA``, from the covariance of ``Φ`` and the scales."""
    scales = slice(entries, entries + 2)
    lam = values[scales].sum()
    of_lam, variance = covariance[:, scales].sum(1) / lam, covariance[scales, scales].sum() / lam**2
    bias = np.asarray(of_lam - values * variance)
    bias[entries:] = 0.0
    return bias


def _remarks(values: np.ndarray, covariance: np.ndarray, entries: int) -> tuple[str, ...]:
    remarks = []
    errors = np.sqrt(np.diag(covariance))
    for place, name in enumerate(SCALES, start=entries):
        value, error = values[place], errors[place]
        if not value > 0:
            remarks.append(
                f"{name} is estimated at {value:.3g}; taste scales are positive, so the wages do "
                "not fit the model"
            )
        elif error > _LARGE_ERROR * value:
            remarks.append(
                f"{name} has a standard error of {error / value:.0%} of its value: the sample is "
                "small for the scales (at 2,000 workers lambda_x tends to be 16 % too high, "
                "lambda_y 3 % and the affinity 5 % too low); read the intervals, which allow for "
                "it and cover 92 to 97 %"
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
