"""Equilibria of individual types, up to a million workers of each origin.

    python -m benchmarks.large_equilibria

writes ``benchmarks/results/large_equilibria.csv``: seconds to choose the kernel and to solve, with
what was compiled before, rank, error and peak memory of each market, each in a process of its own;
then the exponent with which time grows from 10⁴ to 10⁶ workers.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from matching import (
    Economy,
    Status,
    choose_kernel,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
)

_OUT = Path(__file__).parent / "results" / "large_equilibria.csv"
# workers of each of two origins, firms, skills, range of the affinity over λ
_CASES = [
    (10_000, 1_000, 1, 10.0),
    (100_000, 10_000, 1, 10.0),
    (1_000_000, 100_000, 1, 10.0),
    (1_000_000, 100_000, 1, 50.0),
    (1_000_000, 100_000, 3, 2.0),
]
_REPEATS = 2


def main() -> None:
    """Each market in a process of its own, and the table."""
    rows = []
    for case in _CASES:
        command = [sys.executable, "-m", "benchmarks.large_equilibria", json.dumps(case)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(run.stdout.splitlines()[-1]))
        print(rows[-1])
    frame = pd.DataFrame(rows)
    frame.to_csv(_OUT, index=False, float_format="%.3g")
    print(frame.to_string(index=False))
    growing = frame[(frame["skills"] == 1) & (frame["range"] == 10.0)]
    slope, _ = np.polyfit(np.log(growing["workers"]), np.log(growing["seconds"]), 1)
    print(f"seconds grow with workers to the power {slope:.2f}")


def market(workers: int, firms: int, skills: int, reach: float) -> Economy:
    """Two origins of ``workers`` individual types each; λ = 1."""
    rng = np.random.default_rng(workers)
    x, y = rng.uniform(size=(2 * workers, skills)), rng.uniform(size=(firms, skills))
    equal = np.full(workers, 1.0 / workers)
    home = make_origin(x[:workers], equal, constant=2.0, outside_option=0.3)
    abroad = make_origin(x[workers:], equal, constant=1.0, name="abroad")
    return make_economy(
        [home, abroad],
        make_firms(y, np.full(firms, 1.0 / firms)),
        affinity=reach / skills * np.eye(skills),
        lambda_x=0.4,
        lambda_y=0.6,
        intensity_unit="density",
    )


def _one(workers: int, firms: int, skills: int, reach: float) -> dict[str, object]:
    economy = market(workers, firms, skills, reach)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    equilibrium = jax.block_until_ready(solve_equilibrium(economy))  # compiles
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(_REPEATS):
        del equilibrium
        start = time.perf_counter()
        equilibrium = jax.block_until_ready(solve_equilibrium(economy))
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    kernel = choose_kernel(economy)
    choosing = time.perf_counter() - start
    return {
        "workers": 2 * workers,
        "firms": firms,
        "skills": skills,
        "range": reach,
        "kernel": equilibrium.kernel,
        "rank": getattr(getattr(kernel, "table", None), "rank", None),
        "seconds": statistics.median(seconds),
        "kernel_seconds": choosing,
        "iterations": int(equilibrium.iterations),
        "status": Status(int(equilibrium.status)).name,
        "margin_error": float(equilibrium.max_residual),
        "wage_bound": float(equilibrium.wage_error_bound),
        "peak_gb": peak / 1e6,
        "economy_gb": before / 1e6,
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        from shorematch import runtime

        runtime.start()
        print(json.dumps(_one(*json.loads(sys.argv[1]))))
    else:
        main()
