"""Do 95 % intervals of the three steps cover, and do errors shrink as they should?

    python -m benchmarks.coverage_three_steps

draws 1,000 samples of 2,000, 20,000 and 200,000 workers from the Danish equilibrium of 2006, with
an error of 3 DKK on wages, and writes ``benchmarks/results/coverage_three_steps.csv``: per size and
parameter the bias and spread over samples, mean standard error over spread, coverage in percent
with its own Monte Carlo error, and the root mean squared error over that of ten times the data. A
failure, an estimate that is not certified, is counted and kept out of the other columns.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from estimation import ThreeSteps, estimate_three_steps, simulate_matches
from matching import Economy, Equilibrium, solve_equilibrium
from shorematch.denmark import economy_path
from shorematch.economy_file import read_economy

_SIZES, _SAMPLES, _WAGE_ERROR = (2_000, 20_000, 200_000), 1_000, 3.0
_OUT = Path(__file__).parent / "results" / "coverage_three_steps.csv"


def main() -> None:
    """Draw, estimate, and write the table."""
    economy = read_economy(economy_path(2006)).economy
    equilibrium = solve_equilibrium(economy)
    truth = np.array([
        float(economy.affinity[0, 0]), float(economy.lambda_x), float(economy.lambda_y)
    ])  # fmt: skip
    rows = []
    for size in _SIZES:
        found = [
            _estimate(economy, equilibrium, size, seed)
            for seed in track(range(_SAMPLES), f"{size} workers")
        ]
        kept = [one for one in found if one.certificate.verdict == "CERTIFIED"]
        values = np.array([one.values for one in kept])
        errors = np.array([one.std_errors for one in kept])
        spread = values.std(axis=0, ddof=1)
        coverage = np.mean(np.abs(values - truth) < 1.959963984540054 * errors, axis=0)
        for k, name in enumerate(kept[0].names):
            rows.append({
                "workers": size,
                "parameter": name,
                "truth": truth[k],
                "bias_percent": 100 * (values[:, k].mean() / truth[k] - 1),
                "sd": spread[k],
                "mean_se_over_sd": errors[:, k].mean() / spread[k],
                "coverage_percent": 100 * coverage[k],
                "coverage_mc_error": 100 * np.sqrt(coverage[k] * (1 - coverage[k]) / len(kept)),
                "rmse": np.sqrt(np.mean((values[:, k] - truth[k]) ** 2)),
                "failures": len(found) - len(kept),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    table["rmse_over_ten_times_the_data"] = table["rmse"] / table.groupby("parameter")[
        "rmse"
    ].shift(-1)
    table.round(4).to_csv(_OUT, index=False, lineterminator="\n")
    print(table.round(3).to_string(index=False))


def _estimate(economy: Economy, equilibrium: Equilibrium, size: int, seed: int) -> ThreeSteps:
    data = simulate_matches(equilibrium, size, seed, wage_error=_WAGE_ERROR)
    home = (data.origin == 0) & (data.firm_type >= 0)
    return estimate_three_steps(
        economy.home.skills,
        economy.firms.characteristics,
        data.worker_type[home],
        data.firm_type[home],
        data.wage[home],
    )


if __name__ == "__main__":
    main()
