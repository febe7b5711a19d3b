"""Estimators on data that leave parameters open: whether each refuses errors and names them.

    python -m benchmarks.weak_designs

One hundred draws of each of the four designs of ``tests/weak_designs.py``. Writes
``benchmarks/results/weak_designs.csv``, a row per design: how often errors were refused and the
open parameters named.
"""

from pathlib import Path

import pandas as pd
from rich.progress import track

from shorematch import runtime
from tests.weak_designs import DESIGNS

_DRAWS = 100
_OUT = Path(__file__).parent / "results" / "weak_designs.csv"


def main() -> None:
    """Draw, estimate, and count."""
    runtime.start()
    rows = []
    for design in DESIGNS:
        told = [design(seed) for seed in track(range(_DRAWS), design.__name__)]
        rows.append({
            "design": design.__name__.replace("_", " "), "draws": _DRAWS,
            "named": sum(one.open <= one.named for one in told),
            "without_errors": sum(not one.errors for one in told),
            "refused": sum(one.refused for one in told),
        })  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.to_csv(_OUT, index=False, lineterminator="\n")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
