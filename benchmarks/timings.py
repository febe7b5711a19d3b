"""What the common jobs take, each beside a rival or the other solver in the same process.

    python -m benchmarks.timings

writes ``benchmarks/results/timings.csv``: medians of five runs after compilation, the error that
each reached, and the ratio. Times without a rival stand against the limit that was set for them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from estimation import estimate_affinity
from matching import (
    Economy,
    choose_kernel,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
)
from shorematch.denmark import economy_path
from shorematch.files.economy_file import read_economy

_OUT = Path(__file__).parent / "results" / "timings.csv"
_DATA = Path(os.environ.get("SHOREMATCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
_REPEATS = 5
_MARGIN = 1e-9


def main() -> None:
    """Time the jobs and write the table."""
    rows = [_danish(), _individual(4000, 2.0), *_couples(), _demo()]
    columns = ["work", "what", "seconds", "error", "rival", "rival_seconds", "rival_error"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["ratio"] = frame["rival_seconds"] / frame["seconds"]
    frame.to_csv(_OUT, index=False, float_format="%.3g")
    print(frame.to_string(index=False))


def _danish() -> tuple[object, ...]:
    economy = read_economy(economy_path(2006)).economy
    newton, error = _equilibrium(economy, "newton", "dense")
    fitted, fitted_error = _equilibrium(economy, "ipfp", "dense")
    return "Denmark 2006", "newton", newton, error, "ipfp", fitted, fitted_error


def _individual(count: int, reach: float) -> tuple[object, ...]:
    """One skill, individual types, λ = 1: the low-rank kernel beside plain NumPy."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=count), rng.uniform(size=count)
    mass = np.full(count, 1.0 / count)
    economy = make_economy(
        [make_origin(x, mass, constant=3.0)], make_firms(y, mass), affinity=reach,
        lambda_x=0.5, lambda_y=0.5, intensity_unit="density",
    )  # fmt: skip
    ours, error = _equilibrium(economy, "newton", "low rank")
    plain, plain_error = _timed(lambda: _numpy_ipfp(x, y, mass, reach, 3.0))
    work = f"{count} x {count} individual types, one skill, range {reach:g}"
    return work, "newton, low rank", ours, error, "NumPy, dense IPFP", plain, plain_error


def _numpy_ipfp(
    x: np.ndarray, y: np.ndarray, mass: np.ndarray, reach: float, constant: float
) -> float:
    """IPFP with outside options on the stored kernel, ``λ_x = λ_y``; the margin error reached."""
    kernel = np.exp(reach * np.outer(x, y) + constant) * np.sqrt(np.outer(mass, mass))
    root_f, root_g = np.sqrt(mass), np.sqrt(mass)
    while True:
        b = kernel @ root_g
        root_f = (np.sqrt(b**2 + 4.0 * mass) - b) / 2.0
        c = kernel.T @ root_f
        error = np.max(np.abs((root_g**2 + root_g * c) / mass - 1.0))
        if error <= _MARGIN:
            return float(error)
        root_g = (np.sqrt(c**2 + 4.0 * mass) - c) / 2.0


def _couples() -> list[tuple[object, ...]]:
    folder = _DATA / "dupuy_galichon_2014_personality"
    if not folder.exists():
        print(f"no data at {folder}: the affinity matrix of the couples is left out")
        return []
    sides = [pd.read_csv(folder / name).to_numpy(float) for name in ("Xvals.csv", "Yvals.csv")]
    x, y = ((side - side.mean(0)) / side.std(0, ddof=1) for side in sides)
    seconds, error = _timed(lambda: estimate_affinity(x, y).certificate.gradient)
    return [("affinity of 1,158 couples", "estimate", seconds, error, "limit", 5.0, np.nan)]


def _demo() -> tuple[object, ...]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "shorematch", "demo", "--out", f"{folder}/demo"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"SHOREMATCH_CACHE": f"{folder}/cache"},
        )
        seconds = time.perf_counter() - start
    return "shorematch demo, compiling anew", "demo", seconds, np.nan, "limit", 60.0, np.nan


def _equilibrium(economy: Economy, solver: str, kernel: str) -> tuple[float, float]:
    chosen = choose_kernel(economy, kernel)

    def solve() -> float:
        equilibrium = solve_equilibrium(economy, solver, kernel=chosen)
        return float(jax.block_until_ready(equilibrium).max_residual)

    return _timed(solve)


def _timed(run: Callable[[], float]) -> tuple[float, float]:
    """Median seconds of a call that returns its error, after one call that compiles."""
    error = run()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), error


if __name__ == "__main__":
    main()
