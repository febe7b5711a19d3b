"""A sweep whose k-th file operation fails, for every k: ``python -m tests.failing_files``.

It runs under ``failing_files.c``, preloaded by :func:`run_all`; nothing of Python is replaced.
"""

import csv
import ctypes
import errno
import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
FAULTS = [("ENOSPC", False), ("EIO", False), ("EACCES", False), ("ENOSPC", True)]


def run_all(sweep, folder, *, step=1):
    """Fail each operation of the sweep in each way, or every ``step``-th in one; a row each."""
    shim = folder / "failing_files.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, SOURCE, "-ldl"], check=True)
    command = [sys.executable, "-m", "tests.failing_files", sweep, folder, str(step), shim]
    done = subprocess.run(command, env=os.environ | {"LD_PRELOAD": str(shim)}, text=True,
                          capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def main(sweep, folder, step, shim):
    """Print a row per operation that failed: what, how, the exit code, and what stood after it."""
    disk = ctypes.CDLL(str(shim))
    disk.which.restype = ctypes.c_char_p
    disk.counted.restype = ctypes.c_long
    disk.arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]

    whole, half, out = folder / "whole", folder / "half", folder / "out"
    command(sweep, whole)
    command(sweep, half, "--shard", "1/2")
    table = (whole / "table.parquet").read_bytes()
    earlier = {path.name: path.read_bytes() for path in (half / "blocks").iterdir()}
    rows = []
    for start in (half, None):  # resumed, and in a new folder
        k, operations = 0, None
        while operations is None or k < operations:
            for number, (name, partial) in enumerate(FAULTS):
                if (
                    operations is not None
                    and step > 1
                    and (k % step or number != k // step % len(FAULTS))
                ):
                    continue
                shutil.rmtree(out, ignore_errors=True)
                if start:
                    shutil.copytree(start, out)
                disk.arm(os.fsencode(out), 0 if operations is None else k + 1,
                         getattr(errno, name), partial)  # fmt: skip
                code, said = command(sweep, out)
                what = disk.which().decode()
                count = disk.counted()
                disk.disarm()
                if operations is None:
                    assert code == 0, said
                    operations, k = count, -1
                    break
                if partial and what != "short write":
                    continue
                kept = all(
                    (out / "blocks" / name).read_bytes() == data for name, data in earlier.items()
                ) if start else True  # fmt: skip
                left = len(list(out.rglob("*.tmp"))) if out.exists() else 0
                resumed, _ = command(sweep, out)
                rows.append({
                    "folder": "resumed" if start else "new", "operation": k + 1, "kind": what,
                    "error": name, "exit_code": code, "path_named": str(out) in said,
                    "traceback": "Traceback" in said, "earlier_blocks_intact": kept,
                    "temporary_files_left": left, "resumed_exit_code": resumed,
                    "same_table": (out / "table.parquet").read_bytes() == table,
                })  # fmt: skip
            k += 1
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def command(sweep, out, *options):
    """The command line in this process: its exit code, and what it said on standard error."""
    from shorematch import cli

    sys.argv = ["shorematch", "sweep", str(sweep), "--out", str(out), *options]
    with redirect_stderr(io.StringIO()) as said, redirect_stdout(io.StringIO()):
        code = cli._run()
    return code, said.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
