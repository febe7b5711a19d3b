"""Every property of the equilibrium on thousands of random economies.

    python -m benchmarks.fuzz_equilibria

writes ``benchmarks/results/fuzz_equilibria.csv``: one row per property with its bound, how often it
applied, the worst value and the number of violations.
"""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
from rich.progress import track

from tests.economies import random_economy, random_shapes, stack
from tests.equilibrium_properties import BOUNDS, measure

_SHAPES, _DRAWS = 50, 100
_OUT = Path(__file__).parent / "results" / "fuzz_equilibria.csv"


def main() -> None:
    """Draw, solve, measure, and write the table."""
    worst: dict[str, list[np.ndarray]] = {}
    for shape in track(random_shapes(_SHAPES, seed=2006), "shapes"):
        batch = stack([random_economy(seed, shape) for seed in range(_DRAWS)])
        for name, values in measure(batch).items():
            worst.setdefault(name, []).append(values)
        jax.clear_caches()
    rows = []
    for name, parts in worst.items():
        values = np.concatenate(parts)
        applies = np.isfinite(values)
        bound = BOUNDS.get(name, np.nan)
        violations = int(np.sum(values[applies] > bound))
        if name == "unbounded":
            violations = int(values.sum())
        if name == "certified":
            rows.append((name, np.nan, int(values.sum()), np.nan, 0))
            continue
        rows.append((name, bound, int(applies.sum()), values[applies].max(), violations))
    frame = pd.DataFrame(rows, columns=["property", "bound", "applied", "worst", "violations"])
    _OUT.parent.mkdir(exist_ok=True)
    frame.to_csv(_OUT, index=False, float_format="%.3g")
    print(f"{_SHAPES * _DRAWS} economies\n{frame.to_string(index=False)}")


if __name__ == "__main__":
    main()
