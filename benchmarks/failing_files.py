"""Let every file operation of a sweep fail in turn, each with ENOSPC, EIO, EACCES and half-done.

    .venv/bin/python -m benchmarks.failing_files

A library preloaded before libc (``tests/failing_files.c``) makes the k-th open, mkdir, write,
fsync, rename or link under the results folder fail, for every k of a sweep of two blocks, resumed
and in a new folder. Linux with gcc. Writes ``benchmarks/results/failing_files.csv``, a row each.
"""

import tempfile
from pathlib import Path

import pandas as pd

from tests.failing_files import run_all
from tests.test_sweep_faults import SMALL
from tests.test_sweeps import write_sweep

RESULT = Path(__file__).parent / "results" / "failing_files.csv"


def main() -> None:
    """Run all failures; a line of counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame = pd.DataFrame(run_all(write_sweep(folder, SMALL), folder))
    frame.to_csv(RESULT, index=False, lineterminator="\n")
    sound = (
        (frame["exit_code"] == "1") & (frame["path_named"] == "True")
        & (frame["traceback"] == "False") & (frame["earlier_blocks_intact"] == "True")
        & (frame["temporary_files_left"] == "0") & (frame["resumed_exit_code"] == "0")
        & (frame["same_table"] == "True")
    )  # fmt: skip
    print(frame.groupby(["kind", "error"]).size().to_string())
    print(f"{len(frame)} failures, {(~sound).sum()} not as they should be")


if __name__ == "__main__":
    main()
