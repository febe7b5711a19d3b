"""Equilibria beside the best libraries and plain loops, to the same margin error in one run.

    pip install -e '.[rivals]'
    python -m benchmarks.rivals [--quick] [--only TEXT]

Every case and method is a process of its own, so that memory and compilation are its own. Writes
``benchmarks/results/rivals.csv``, a row each: median and spread of up to five repetitions, each of
as many calls as a fifth of a second holds, compilation apart, iterations, peak memory beyond
imports and data (without compilation too: from another process, which finds the programs compiled),
and the margin error reached, summed anew in NumPy. A time without that error, or beyond the bound,
is void and says why. ``--only`` keeps cases whose name contains the text; the others' rows stay as
they are. The page is made by ``python -m benchmarks.page``.
"""

import argparse
import itertools
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import _methods

OUT = Path(__file__).parent / "results" / "rivals.csv"
SIZES = (100, 1_000, 4_000, 10_000)
_REPEATS = 5
_LEAST = 0.2  # seconds of a repetition, as timeit has them: a few milliseconds are mostly noise
_BOUND = 20.0  # seconds for one solution, and for all repetitions of a case
_FIRST = 60.0  # seconds for the first, which compiles or looks for a tolerance
_START = 100.0  # seconds for a process to start, compile and check besides
# What JAX compiles is stored; a process that tells its memory finds it so, and keeps nothing freed.
_STORING = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
_TIDY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}


def main() -> None:
    """Run the cases in processes of their own and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="sizes up to 1,000")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(_measured(**json.loads(arguments.case))))
        return
    rows, machine = [], _processor()
    for skills, reach, singles in itertools.product((1, 3), (2.0, 50.0), (False, True)):
        beyond = set()  # methods that no larger size is left to
        for count in SIZES[:2] if arguments.quick else SIZES:
            for method in _methods.METHODS:
                case = {"count": count, "skills": skills, "reach": reach, "singles": singles,
                        "method": method}  # fmt: skip
                if arguments.only not in name(case):
                    continue
                if method in beyond:
                    row = case | {"void": "over the time bound at a smaller size"}
                else:
                    row = case | _in_own_process(case)
                if "time bound" in row.get("void", ""):
                    beyond.add(method)
                rows.append(row | {"processor": machine})
                said = row.get("void") or f"{1e3 * row['seconds']:.4g} ms"
                print(f"{name(case)}: {said}", flush=True)
            if rows:
                _store(rows)


def _store(rows: list[dict[str, Any]]) -> None:
    """Put rows in the table in place of older ones of the same cases."""
    keep = [pd.read_csv(OUT)] if OUT.exists() else []
    frame = pd.concat([*keep, pd.DataFrame(rows)]).drop_duplicates(
        ["count", "skills", "reach", "singles", "method"], keep="last"
    )
    frame.to_csv(OUT, index=False, float_format="%.4g")


def name(case: dict[str, Any]) -> str:
    """A case in words."""
    margins = "outside options" if case["singles"] else "fixed margins"
    return f"{case['method']}, {case['count']}, {case['skills']} skills, range " \
           f"{case['reach']:g}, {margins}"  # fmt: skip


def _in_own_process(case: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.rivals", "--case", json.dumps(case)]
    with tempfile.TemporaryDirectory() as cache:
        row = _run(command, _STORING | {"JAX_COMPILATION_CACHE_DIR": cache})
        if case["method"] in _methods.COMPILED and "void" not in row:
            again = _run(command, _STORING | _TIDY | {"JAX_COMPILATION_CACHE_DIR": cache})
            row["memory_mb"] = again.get("memory_mb")
    return row


def _run(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              env=os.environ | environment,
                              timeout=6 * _BOUND + _START)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"void": f"over the time bound of {_BOUND:g} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"void": f"failed: {last[:80]}"}
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    answer: dict[str, Any] = json.loads(answers[-1])  # KeOps prints lines of its own
    return answer


def _measured(count: int, skills: int, reach: float, singles: bool, method: str) -> dict[str, Any]:
    """Times of one method on one problem, in this process."""
    row: dict[str, Any] = {"cores": os.cpu_count(), "version": _version(method)}
    problem = _methods.problem(count, skills, reach, singles)
    try:
        solve = _methods.METHODS[method](problem)
    except ModuleNotFoundError as error:
        return row | {"void": f"not installed: {error.name}"}
    if solve is None:
        return row | {"void": "does not know outside options of this kind"}
    if method in _methods.COMPILED:
        _methods.start_jax()
    before = _peak_memory_mb()
    signal.signal(signal.SIGALRM, _too_long)
    try:
        signal.alarm(int(_FIRST))
        start = time.perf_counter()
        potentials = solve()
        first = time.perf_counter() - start
        times: list[float] = []
        calls = 1
        while len(times) < _REPEATS and sum(times) < _BOUND:
            signal.alarm(int(_BOUND))
            start = time.perf_counter()
            for _ in range(calls):
                potentials = solve()
            elapsed = time.perf_counter() - start
            if calls == 1 and elapsed < 0.5 * _LEAST:
                calls = round(_LEAST / elapsed)
            else:
                times.append(elapsed / calls)
        signal.alarm(0)
    except TimeoutError:
        return row | {"void": f"over the time bound of {_BOUND:g} s"}
    memory = _peak_memory_mb() - before
    error = _methods.margin_error(problem, *potentials[:2])
    row |= {
        "seconds": statistics.median(times),
        "fastest": min(times),
        "slowest": max(times),
        "repetitions": len(times),
        "compile_seconds": max(first - statistics.median(times), 0.0),
        "iterations": potentials[2],
        "memory_mb": memory,
        "margin_error": error,
    }
    if not error <= _methods.MARGIN:
        row["void"] = f"margin error {error:.1e}"
    return row


def _processor() -> str:
    """The processor's name, and whether it has AVX-512, on which times depend much."""
    from shorematch.files.manifest import processor  # not in a method's own process

    told = Path("/proc/cpuinfo")
    wide = told.exists() and "avx512f" in told.read_text(encoding="utf-8")
    return processor() + (" with AVX-512" if wide else "")


def _peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _too_long(*_: Any) -> None:
    raise TimeoutError


def _version(method: str) -> str:
    package = _methods.PACKAGES.get(method, "jax" if method != "NumPy IPFP" else "numpy")
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    np.seterr(all="ignore")  # a method that overflows says so by its margin error
    main()
