"""Start eight processes on one folder, many times; damage every stored file in every way.

    .venv/bin/python -m benchmarks.damage_sweeps --starts 50

Each file of a finished sweep is truncated at 64 places and has one of 1,000 bits flipped, one at a
time; each must be noticed and set aside, and every hundredth is made again by the sweep itself.
Writes ``benchmarks/results/damage_sweeps.csv``, a row per file, and one for the processes.
"""

import argparse
import io
import os
import random
import re
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd

from benchmarks.kill_sweeps import launch
from shorematch import runtime
from shorematch.sweeps.plan import read_plan
from shorematch.sweeps.store import stored_blocks
from shorematch.sweeps.sweeping import _verified, sweep_file
from tests.test_sweeps import write_sweep

RESULT = Path(__file__).parent / "results" / "damage_sweeps.csv"


def main() -> None:
    """Both; a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=50)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_sweep(folder)
        os.waitpid(launch(path, folder / "whole"), 0)
        table = (folder / "whole/table.parquet").read_bytes()
        keys = {file.name.split(".")[0] for file in (folder / "whole/blocks").iterdir()}
        same = failed = unreadable = 0
        for k in range(options.starts):
            out = folder / f"together{k}"
            codes = [os.waitpid(p, 0)[1] for p in [launch(path, out) for _ in range(8)]]
            failed += sum(code != 0 for code in codes)
            same += (out / "table.parquet").read_bytes() == table
            found, aside = stored_blocks(out, keys)
            unreadable += len(aside) + len(keys) - len(found)
        rows.append({"file": "eight processes", "trials": options.starts, "noticed": "",
                     "made_again": "", "same_table": same, "failed_processes": failed,
                     "unreadable_files": unreadable})  # fmt: skip
        print(rows[-1], flush=True)
        runtime.start()
        rows += [damaged(path, folder / "whole", file, table) for file in
                 sorted(p for p in (folder / "whole").rglob("*") if p.is_file())]  # fmt: skip
    pd.DataFrame(rows).to_csv(RESULT, index=False, lineterminator="\n")


def damaged(path: Path, out: Path, file: Path, table: bytes) -> dict[str, object]:
    """Damage one file in all ways; how often that was noticed, said, and made good."""
    plan = read_plan(path)
    sound = file.read_bytes()
    rng = random.Random(1)
    trials = [sound[: len(sound) * k // 64] for k in range(64)]
    for bit in rng.choices(range(8 * len(sound)), k=1000):
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << bit % 8
        trials.append(bytes(flipped))
    noticed = again = same = 0
    for k, data in enumerate(trials):
        file.write_bytes(data)
        with redirect_stdout(io.StringIO()) as said:
            if k % 100:
                _verified(plan, out, plan.blocks, create=True)
            else:
                again += sweep_file(path, out) == 0
                same += (out / "table.parquet").read_bytes() == table
        noticed += f"{file.name} is corrupted" in said.getvalue()
        aside = list((out / "quarantine").glob("*"))
        noticed -= len(aside) != 1 or aside[0].read_bytes() != data
        for old in aside:
            old.unlink()
        file.write_bytes(sound)
    row = {"file": re.sub(r"^[0-9a-f.]{90,}", "block ", file.name), "trials": len(trials),
           "noticed": noticed, "made_again": again, "same_table": same}  # fmt: skip
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
