"""Estimations against the limits that were set for them.

    python -m benchmarks.estimation_times

Three steps on 10 x 10 types with 1,000 bootstrap draws of the whole economy, and Dupuy and Galichon
(2022) on its 3,454 individual workers and jobs from a zero start (without its data, left out).
Writes ``benchmarks/results/estimation_times.csv``: the first call, which compiles, and the median
of the next three.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import matching
from estimation import (
    ForeignSide,
    Market,
    estimate_three_steps,
    estimate_with_wages,
    make_basis,
    simulate_matches,
)
from matching import solve_equilibrium
from shorematch.denmark import economy_path
from shorematch.files.economy_file import read_economy

_OUT = Path(__file__).parent / "results" / "estimation_times.csv"
_DATA = Path(os.environ.get("SHOREMATCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
_JOBS = _DATA / "dupuy_galichon_2022_jobs" / "workingdataset_occind.csv"
_DRAWS, _WORKERS, _LIMIT = 1_000, 50_000, 10.0


def main() -> None:
    """Time both estimations and write the table."""
    rows = [_timed(f"three steps, 10 x 10 types, {_DRAWS} bootstrap draws", _three_steps())]
    if _JOBS.exists():
        rows.append(_timed("Dupuy and Galichon 2022, individual types, from zero", _jobs()))
    else:
        print(f"no data at {_JOBS}: Dupuy and Galichon (2022) is left out")
    columns = ["work", "first_seconds", "seconds", "failed_or_uncertified", "limit_seconds"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.to_csv(_OUT, index=False, float_format="%.4g")
    print(frame.to_string(index=False))


def _timed(work: str, run: Callable[[], int]) -> tuple[object, ...]:
    times = []
    for _ in range(4):
        start = time.perf_counter()
        failed = run()
        times.append(time.perf_counter() - start)
    return work, times[0], statistics.median(times[1:]), failed, _LIMIT


def _three_steps() -> Callable[[], int]:
    economy = read_economy(economy_path(2006)).economy
    equilibrium = solve_equilibrium(economy)
    data = simulate_matches(equilibrium, _WORKERS, seed=5, wage_error=3.0)
    home = (data.origin == 0) & (data.firm_type >= 0)
    table = {key: float(v) for key, v in matching.statistics(equilibrium).items() if v.ndim == 0}
    china = economy.origins[1]
    foreign = ForeignSide(
        table["offshoring_rate"], table["mean_wage_foreign"], np.asarray(china.mass),
        float(china.outside_option), "china",
    )  # fmt: skip
    market = Market(
        table["unemployment_rate"], table["wage_share"], foreign,
        float(economy.home.outside_option), name="denmark",
        firm_mass=float(economy.firms.mass.sum()),
    )  # fmt: skip

    def run() -> int:
        found = estimate_three_steps(
            economy.home.skills, economy.firms.characteristics, data.worker_type[home],
            data.firm_type[home], data.wage[home], market=market, draws=_DRAWS,
        )  # fmt: skip
        assert found.bootstrap is not None
        return int(np.sum(found.bootstrap.failed))

    return run


def _jobs() -> Callable[[], int]:
    frame = pd.read_csv(_JOBS)

    def standard(name: str) -> pd.Series:
        return (frame[name] - frame[name].mean()) / frame[name].std(ddof=0)

    workers = {"educ": standard("x_yrseduc"), "exper": standard("x_exp"), "female": frame["x_sex"]}
    workers |= {name: frame[f"x_{name}"] for name in ("married", "white", "black", "asian")}
    jobs = {"risk": standard("y_risk_rateh_occind_ave"), "public": frame["y_public"]}
    interactions = ["risk*educ", "risk*exper", "risk*female", "public*educ", "public*exper"]
    basis = make_basis(
        ["risk", "public", "public*educ"],
        ["educ", "exper", "female", "married", "white", "black", "asian", "exper*exper",
         *interactions, "public*female"],
        workers=list(workers), jobs=list(jobs),
    )  # fmt: skip

    def run() -> int:
        estimate = estimate_with_wages(np.log(frame["wage"]), workers, jobs, basis)
        return int(estimate.certificate.verdict != "CERTIFIED")

    return run


if __name__ == "__main__":
    main()
