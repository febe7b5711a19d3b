"""What a sweep of the Danish economy costs beside solving, and its memory, by number of points.

    .venv/bin/python -m benchmarks.sweep_costs

A process for each size, forked before JAX starts its backend: plan, tables, storing, collection;
the time spent in ``solve_measures`` is taken off. Processor seconds are those of the whole process.
Writes ``benchmarks/results/sweep_costs.csv``, a row per size.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from shorematch import runtime
from shorematch.denmark import economy_path
from shorematch.sweeps import plan
from shorematch.sweeps.sweeping import sweep_file

RESULT = Path(__file__).parent / "results" / "sweep_costs.csv"
SIZES = (100, 1_000, 10_000, 30_000)  # the first compiles
SWEEP = """\
economy = "{economy}"
[[design]]
name = "costs and intensities"
method = "halton"
points = {points}
origin.china.constant = {{ add = {{ from = -20.0, to = 80.0 }} }}
origin.denmark.nu_x = {{ add = {{ from = -0.5, to = 0.5 }} }}
"""


def main() -> None:
    """Run each size; one line each."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for points in SIZES:
            path = Path(name) / f"{points}.toml"
            text = SWEEP.format(economy=economy_path(2006), points=points)
            path.write_text(text, encoding="utf-8")
            told = Path(name) / f"{points}.json"
            process = os.fork()
            if not process:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                told.write_text(json.dumps(measured(path, points)))
                os._exit(0)
            os.waitpid(process, 0)
            rows.append(json.loads(told.read_text()))
            print(rows[-1], flush=True)
    pd.DataFrame(rows[1:]).to_csv(RESULT, index=False, lineterminator="\n")


def measured(path: Path, points: int) -> dict[str, float]:
    """Run a sweep in this process; milliseconds a point beside solving, and most memory."""
    runtime.start()
    solve, spent = plan.solve_measures, [0.0, 0.0]

    def timed(economies):
        start, used = time.perf_counter(), time.process_time()
        result = solve(economies)
        spent[0] += time.perf_counter() - start
        spent[1] += time.process_time() - used
        return result

    plan.solve_measures = timed
    start, used = time.perf_counter(), time.process_time()
    if sweep_file(path, path.with_suffix("")) != 0:
        sys.exit(f"{path} was not solved")
    wall, processor = time.perf_counter() - start, time.process_time() - used
    return {
        "points": points,
        "seconds": round(wall, 2),
        "beside_solving_ms_per_point": round((wall - spent[0]) / points * 1e3, 4),
        "beside_solving_cpu_ms_per_point": round((processor - spent[1]) / points * 1e3, 4),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
    }


if __name__ == "__main__":
    main()
