"""Do 95 % intervals of the three steps cover, and do errors shrink as they should?

    python -m benchmarks.coverage_three_steps

draws 10,000 samples of 2,000, 20,000 and 200,000 workers from the Danish equilibrium of 2006, with
an error of 3 DKK on wages, and writes ``benchmarks/results/coverage_three_steps.csv``: per size and
parameter the bias and spread over samples, mean standard error over spread, coverage in percent
with its own Monte Carlo error, and the root mean squared error over that of ten times the data. The
coverage of plain intervals, value ± 1.96 standard errors, stands beside it. A failure, moments that
do not meet or a scale that is not positive, is counted and kept out of the other columns. Shares
and wages of cells are all that the estimator uses of a sample, so those are drawn, in batches.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from estimation.cell_estimate import estimate_cells, moment_step
from estimation.estimates import normal_intervals
from estimation.three_steps import bias_of_affinity
from matching import solve_equilibrium
from shorematch import runtime
from shorematch.denmark import economy_path
from shorematch.files.economy_file import read_economy

_SIZES, _SAMPLES, _AT_ONCE, _WAGE_ERROR = (2_000, 20_000, 200_000), 10_000, 100, 3.0
_NO_AGGREGATES = jnp.zeros(3)
_QUANTILE = 1.959963984540054
_SCALES = np.array([False, True, True])
_OUT = Path(__file__).parent / "results" / "coverage_three_steps.csv"


def main() -> None:
    """Draw, estimate, and write the table."""
    runtime.start()
    economy = read_economy(economy_path(2006)).economy
    equilibrium = solve_equilibrium(economy)
    home = (np.asarray(equilibrium.matches[0]), np.asarray(equilibrium.unmatched[0]))
    wages = np.asarray(equilibrium.wages[0]).ravel()
    x, y = economy.home.skills, economy.firms.characteristics
    truth = np.array([float(economy.affinity[0, 0]), *map(float, (economy.lambda_x,
                      economy.lambda_y))])  # fmt: skip
    rows = []
    for size in _SIZES:
        parts = [
            _estimates(_sample(size, seed, home, wages), economy.affinity / economy.scale, x, y)
            for seed in range(_SAMPLES // _AT_ONCE)
        ]
        values, covariances, met = (np.concatenate(part) for part in zip(*parts, strict=True))
        kept = met & np.all(values[:, 1:] > 0, axis=1)
        values, covariances = values[kept], covariances[kept]
        errors = np.sqrt(np.einsum("bkk->bk", covariances))
        spread = values.std(axis=0, ddof=1)
        ends = np.array([_intervals(v, c) for v, c in zip(values, covariances, strict=True)])
        coverage = np.mean((ends[:, :, 0] < truth) & (truth < ends[:, :, 1]), axis=0)
        plain = np.mean(np.abs(values - truth) < _QUANTILE * errors, axis=0)
        for k, name in enumerate(("affinity.skill.productivity", "lambda_x", "lambda_y")):
            rows.append({
                "workers": size,
                "parameter": name,
                "truth": truth[k],
                "bias_percent": 100 * (values[:, k].mean() / truth[k] - 1),
                "sd": spread[k],
                "mean_se_over_sd": errors[:, k].mean() / spread[k],
                "coverage_percent": 100 * coverage[k],
                "coverage_mc_error": 100 * np.sqrt(coverage[k] * (1 - coverage[k]) / len(values)),
                "plain_coverage_percent": 100 * plain[k],
                "rmse": np.sqrt(np.mean((values[:, k] - truth[k]) ** 2)),
                "failures": _SAMPLES - int(kept.sum()),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    table["rmse_over_ten_times_the_data"] = table["rmse"] / table.groupby("parameter")[
        "rmse"
    ].shift(-1)
    table.round(4).to_csv(_OUT, index=False, lineterminator="\n")
    print(table.round(3).to_string(index=False))


def _intervals(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Those of an estimate, ``(P, 2)``."""
    errors, bias = np.sqrt(np.diag(covariance)), bias_of_affinity(values, covariance, 1)
    return normal_intervals(values, errors, _QUANTILE, bias, _SCALES)


def _sample(
    size: int, seed: int, home: tuple[np.ndarray, np.ndarray], wages: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches, mean wages and sums of squared wages about them, of each cell, ``(B, NJ)``."""
    rng = np.random.default_rng([seed, size])
    mass = np.concatenate([home[0].ravel(), home[1]])
    count = rng.multinomial(size, mass / mass.sum(), size=_AT_ONCE)[:, : len(wages)].astype(float)
    some = np.maximum(count, 1.0)
    mean = wages + _WAGE_ERROR * rng.normal(size=count.shape) / np.sqrt(some)
    squares = _WAGE_ERROR**2 * rng.chisquare(np.maximum(count - 1.0, 1e-9))
    return count, np.where(count > 0, mean, 0.0), np.where(count > 1, squares, 0.0)


def _estimates(
    sample: tuple[np.ndarray, ...], start: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[np.ndarray, ...]:
    """Values, covariances by the influence of matches, and whether moments meet."""
    count, mean, squares = sample
    n = count.sum(1, keepdims=True)
    share, shape = count / n, (-1, len(x), len(y))
    values, by_share, by_wage, gap = (
        np.asarray(v)
        for v in _batch(
            share.reshape(shape), mean.reshape(shape), squares.sum(1) / n[:, 0], start, x, y
        )
    )
    by_share, by_wage = (d.reshape(*values.shape, -1) for d in (by_share, by_wage))
    by_share = by_share - np.einsum("bkc,bc->bk", by_share, share)[:, :, None]
    covariances = np.einsum("bkc,bc,blc->bkl", by_share, share / n, by_share)
    covariances += np.einsum("bkc,bc,blc->bkl", by_wage, squares / np.maximum(count, 1) ** 2,
                             by_wage)  # fmt: skip
    return values, covariances, gap < 1e-9


@jax.jit
def _batch(
    share: jax.Array, mean: jax.Array, variance: jax.Array, start: jax.Array, x: jax.Array,
    y: jax.Array,
) -> tuple[jax.Array, ...]:  # fmt: skip
    def one(share: jax.Array, mean: jax.Array, variance: jax.Array) -> tuple[jax.Array, ...]:
        a = jax.lax.fori_loop(0, 7, lambda _, a: moment_step(a, share, x, y), start)

        def values(share: jax.Array, mean: jax.Array) -> jax.Array:
            return estimate_cells(a, share, mean, variance, _NO_AGGREGATES, x, y, None)[0]

        slopes = jax.jacrev(values, argnums=(0, 1))(share, mean)
        return values(share, mean), *slopes, jnp.abs(moment_step(a, share, x, y) - a).max()

    return jax.vmap(one)(share, mean, variance)


if __name__ == "__main__":
    main()
