"""Kill the workers of a Dask cluster at random moments of sweeps, and poison one point.

    .venv/bin/python -m benchmarks.kill_workers --kills 50

Scheduler, nannies and workers are processes of their own. Every table is held against that of a
sweep without a cluster, byte by byte; without kills 1, 2 and 4 workers are tried. The poison point
kills each worker that comes to it. Writes ``benchmarks/results/kill_workers.csv``, a row per sweep.
"""

import argparse
import os
import random
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd

from shorematch import runtime
from shorematch.sweeps.plan import FAILED
from shorematch.sweeps.sweeping import sweep_file
from tests.cluster import POISON, cluster, kill_worker
from tests.test_sweeps import write_sweep

RESULT = Path(__file__).parent / "results" / "kill_workers.csv"
SWEEP = """\
economy = "economy.toml"
block = 4
[[design]]
name = "costs"
method = "list"
origin.china.constant = { add = VALUES }
"""
RANGE = "{ from = 0.0, to = 50.0, points = 2000 }"


def main() -> None:
    """Run until ``--kills`` workers were killed; one line per sweep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    runtime.start()
    rng = random.Random(options.seed)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_sweep(folder / "sweep", SWEEP.replace("VALUES", RANGE))
        sweep_file(path, folder / "here")
        table = (folder / "here/table.parquet").read_bytes()

        def run(workers: int, address: str, nannies: list, most: int) -> int:
            out = folder / f"out{len(rows)}"
            ended = threading.Event()
            kills = [0]

            def kill() -> None:
                while not ended.wait(rng.uniform(0.0, 2.0)) and kills[0] < most:
                    kills[0] += kill_worker(rng.choice(nannies))

            killer = threading.Thread(target=kill)
            killer.start()
            start = time.perf_counter()
            code = sweep_file(path, out, scheduler=address)
            ended.set()
            killer.join()
            rows.append({
                "what": "kills" if most else "no kills", "workers": workers, "kills": kills[0],
                "exit_code": code, "failed_points": 0,
                "same_table": (out / "table.parquet").read_bytes() == table,
                "seconds": round(time.perf_counter() - start, 1),
            })  # fmt: skip
            print(rows[-1], flush=True)
            return kills[0]

        for workers in (1, 2, 4):
            with cluster(folder / f"workers{workers}", workers) as (address, _, nannies):
                run(workers, address, nannies, 0)
        with cluster(folder / "killed", 2) as (address, _, nannies):
            left = options.kills
            while left > 0:
                left -= run(2, address, nannies, left)
        values = [0.0, 1.0, POISON, 3.0, 4.0, 5.0, 6.0, 8.0]
        path = write_sweep(folder / "bad", SWEEP.replace("VALUES", str(values)))
        with cluster(folder / "poisoned", 2, POISON_KILLS="1") as (address, _, _):
            code = sweep_file(path, folder / "bad/out", scheduler=address)
        frame = pd.read_parquet(folder / "bad/out/table.parquet")
        status = frame[frame["statistic"] == "status"]["value"]
        rows.append({
            "what": "poison", "workers": 2, "exit_code": code,
            "failed_points": int((status == FAILED).sum()),
            "same_table": bool((status[status != FAILED] == 0).all()),
        })  # fmt: skip
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(RESULT, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
