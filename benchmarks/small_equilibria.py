"""Ten thousand Danish economies in one batch, beside cupid_matching in a loop, in one process.

    pip install -e '.[rivals]' && pip install --no-deps cupid-matching bs_python_utils
    python -m benchmarks.small_equilibria

Two origins, 10 x 10 types; technology, taste scale, constants and intensities are drawn. Ours is
certified lane by lane; cupid_matching solves the first of the same economies one after the other,
to its default tolerance, which leaves margins right to 1e-9. Writes
``benchmarks/results/small_equilibria.csv``: microseconds per economy, medians of five.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from counterfactuals import measure_labels, solve_measures
from matching import Economy, Equilibrium, Status, solve_batch, solve_equilibrium, with_parameter
from matching.market import market_of
from shorematch.denmark import economy_path
from shorematch.files.economy_file import read_economy

_OUT = Path(__file__).parent / "results" / "small_equilibria.csv"
_COUNT, _IN_LOOP, _REPEATS = 10_000, 300, 5


def main() -> None:
    """Time the batch, the loop, and this project's own loop."""
    economies = jax.tree.map(np.asarray, _drawn(_COUNT))
    problems = [_choo_siow(_lane(economies, k)) for k in range(_IN_LOOP)]
    status = solve_batch(economies, _verdict)[0]
    measured = len(measure_labels(economies))
    rows = [
        ("solve_batch, certified", _COUNT, lambda: solve_batch(economies, _verdict)),
        (f"solve_measures, {measured} numbers each", _COUNT, lambda: solve_measures(economies)),
        ("solve_equilibrium in a loop", 20, lambda: [
            solve_equilibrium(_lane(economies, k), kernel="dense") for k in range(20)
        ]),
    ]  # fmt: skip
    try:
        from cupid_matching.ipfp_solvers import ipfp_homoskedastic_solver as cupid

        rows.append(("cupid_matching in a loop", _IN_LOOP, lambda: [cupid(*p) for p in problems]))
        _, *errors = cupid(*problems[0])
        print(f"cupid_matching: margin errors {[float(np.abs(e).max()) for e in errors]}")
    except ImportError:
        print("cupid_matching is not installed: its row is left out")
    table = []
    for what, count, run in rows:
        run()
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            run()
            times.append(1e6 * (time.perf_counter() - start) / count)
        table.append((what, count, statistics.median(times), min(times), max(times)))
    frame = pd.DataFrame(table, columns=["what", "economies", "microseconds", "fastest", "slowest"])
    frame["times_faster_than_cupid"] = (
        frame["microseconds"][frame["what"].str.startswith("cupid")].max() / frame["microseconds"]
    )
    frame["not_certified"] = [int(np.sum(status != Status.CERTIFIED)), *[np.nan] * (len(frame) - 1)]
    frame.to_csv(_OUT, index=False, float_format="%.4g")
    print(frame.to_string(index=False))


def _drawn(count: int) -> Economy:
    economy = read_economy(economy_path(2006)).economy
    rng = np.random.default_rng(0)
    scale = 18.78 * np.exp(0.2 * rng.normal(size=count))
    drawn = {
        "technology.affinity": 75.55 * np.exp(0.3 * rng.normal(size=(count, 1, 1))),
        "tastes.lambda_x": scale,  # cupid_matching wants one scale for both sides
        "tastes.lambda_y": scale,
        "origin.denmark.constant": 207.9 + 20.0 * rng.normal(size=count),
        "origin.china.constant": 119.94 + 20.0 * rng.normal(size=count),
        "origin.denmark.nu_x": -4.51 + 0.5 * rng.normal(size=count),
        "origin.china.nu_x": -7.57 + 0.5 * rng.normal(size=count),
    }

    def one(values: dict[str, Any]) -> Economy:
        changed = economy
        for name, value in values.items():
            changed = with_parameter(changed, name, value)
        return changed

    return jax.vmap(one)(jax.tree.map(jnp.asarray, drawn))


def _lane(economies: Economy, k: int) -> Economy:
    return jax.tree.map(lambda x: jnp.asarray(x[k]), economies)


def _choo_siow(economy: Economy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Systematic surplus and masses, origins stacked: ``π = exp(Φ/2) √(f0 g0)``."""
    market = market_of(economy)
    row = market.log_worth_x + market.log_weight_x - 0.5 * jnp.log(market.mass_x)
    column = market.log_worth_y + market.log_weight_y - 0.5 * jnp.log(market.mass_y)
    phi = 2.0 * (market.kernel.log_affinity + row[:, None] + column[None, :])
    return np.asarray(phi), np.asarray(market.mass_x), np.asarray(market.mass_y)


def _verdict(eq: Equilibrium) -> tuple[Any, ...]:
    return eq.status, eq.wage_error_bound, eq.log_unmatched, eq.log_unmatched_firms


if __name__ == "__main__":
    main()
