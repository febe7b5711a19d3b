"""Kill a sweep of 500 points with SIGKILL at random moments, resume it, and look for damage.

    .venv/bin/python -m benchmarks.kill_sweeps --kills 200

A sweep that completes is held against an uninterrupted one, byte by byte, and the next one starts
in a fresh folder. Half of the kills come at a random moment of the process's life, half shortly
after it has stored a block. Processes are forked before JAX starts its backend, which spares each
the imports. Writes ``benchmarks/results/kill_sweeps.csv``, a row per kill.
"""

import argparse
import os
import random
import signal
import tempfile
import time
import traceback
from pathlib import Path

import pandas as pd

from shorematch import runtime
from shorematch.denmark import economy_path
from shorematch.sweeps.store import stored_blocks
from shorematch.sweeps.sweeping import sweep_file

RESULT = Path(__file__).parent / "results" / "kill_sweeps.csv"
SWEEP = """\
economy = "{economy}"
block = 10
[[design]]
name = "costs and intensities"
method = "halton"
points = 500
origin.china.constant = {{ add = {{ from = -20.0, to = 80.0 }} }}
origin.denmark.nu_x = {{ add = {{ from = -0.5, to = 0.5 }} }}
"""


def main() -> None:
    """Run until ``--kills`` processes were killed; one line per kill."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rows: list[dict[str, int]] = []
    completed: list[bool] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "sweep.toml"
        path.write_text(SWEEP.format(economy=economy_path(2006)), encoding="utf-8")
        for whole in (folder / "warm-up", folder / "whole"):  # the first compiles
            start = time.perf_counter()
            os.waitpid(launch(path, whole), 0)
            life = time.perf_counter() - start
        reference = (whole / "table.parquet").read_bytes()
        keys = {file.name.split(".")[0] for file in (whole / "blocks").iterdir()}
        sweep, before = 0, 0
        while len(rows) < options.kills or before:
            out = folder / f"sweep{sweep}"
            process = launch(path, out)
            last = len(rows) >= options.kills  # the last sweep is left to complete
            if last or not killed(process, out, before, rng, life):
                if last:
                    os.waitpid(process, 0)
                completed.append((out / "table.parquet").read_bytes() == reference)
                sweep, before = sweep + 1, 0
                continue
            found, unreadable = stored_blocks(out, keys)
            rows.append({
                "kill": len(rows) + 1, "sweep": sweep, "blocks_before": before,
                "blocks_stored": len(found), "blocks_lost": max(before - len(found), 0),
                "unreadable_files": len(unreadable),
            })  # fmt: skip
            before = len(found)
            print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)
    RESULT.parent.mkdir(exist_ok=True)
    frame.to_csv(RESULT, index=False, lineterminator="\n")
    print(f"{len(frame)} kills, {frame['unreadable_files'].sum()} unreadable files, "
          f"{frame['blocks_lost'].sum()} blocks lost, {len(completed)} sweeps completed, "
          f"{sum(completed)} of their tables the same to the byte")  # fmt: skip


def launch(path: Path, out: Path) -> int:
    """A sweep in a process of its own; its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        runtime.start()
        code = sweep_file(path, out)
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)  # nothing of the parent's is unwound here


def killed(process: int, out: Path, before: int, rng: random.Random, life: float) -> bool:
    """Kill a process at a random moment; whether it was still running."""
    deadline = time.monotonic() + rng.uniform(0.0, life)
    after_a_block = rng.random() < 0.5
    while True:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        if after_a_block and stored(out) > before:
            deadline, after_a_block = time.monotonic() + rng.expovariate(20.0), False
        elif not after_a_block and time.monotonic() >= deadline:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return True
        time.sleep(0.002)


def stored(out: Path) -> int:
    """Number of block files, sound or not."""
    return sum(1 for _ in (out / "blocks").glob("*.parquet"))


if __name__ == "__main__":
    main()
