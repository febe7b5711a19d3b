"""One iteration of the stored kernel beside reading its matrix twice, in one process.

    python -m benchmarks.dense_kernel

An iteration sums the matches of every worker and every firm type: two products with the matrix.
The rival is the memory: the same matrix summed twice by NumPy and by JAX, the faster of the two.
Writes ``benchmarks/results/dense_kernel.csv``: medians of fifteen, and the bandwidth that each
time stands for.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from matching.scaled_kernel import cells

_OUT = Path(__file__).parent / "results" / "dense_kernel.csv"
_SIZES, _REPEATS = (1_000, 4_000, 8_000), 15


def main() -> None:
    """Time iterations and reads, and write the table."""
    rows = []
    for count in _SIZES:
        matrix = np.exp(np.random.default_rng(0).uniform(size=(count, count)))
        on_device = jnp.asarray(matrix)
        table, ones = cells(on_device), jnp.ones((count, 1))

        def iteration(table: Any = table, ones: jax.Array = ones) -> Any:
            return jax.block_until_ready(_iteration(table, ones))

        def reads(matrix: np.ndarray = matrix) -> Any:
            return matrix.sum(), matrix.sum()

        def reads_jax(matrix: jax.Array = on_device) -> Any:
            return jax.block_until_ready((_sum(matrix), _sum(matrix)))

        seconds = _medians({"iteration": iteration, "NumPy": reads, "JAX": reads_jax})
        read = min(seconds["NumPy"], seconds["JAX"])
        gigabytes = 2 * matrix.nbytes / 1e9
        rows.append({
            "types a side": count, "iteration_ms": 1e3 * seconds["iteration"],
            "two_reads_ms": 1e3 * read, "ratio": seconds["iteration"] / read,
            "iteration_gb_per_s": gigabytes / seconds["iteration"],
            "read_gb_per_s": gigabytes / read,
        })  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.to_csv(_OUT, index=False, float_format="%.4g")
    print(frame.to_string(index=False))


@jax.jit
def _iteration(table: Any, values: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows = table.times(values)
    return rows, table.flipped().times(1.0 / rows)


@jax.jit
def _sum(matrix: jax.Array) -> jax.Array:
    return matrix.sum()


def _medians(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each; they take turns, so that a disturbed moment meets them all."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(_REPEATS + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    main()
