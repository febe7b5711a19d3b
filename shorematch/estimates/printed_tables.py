"""Tables of estimates to print: numbers, intervals, and parts side by side."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shorematch.estimates.estimate_files import Part


def printed_number(value: float, digits: int = 3) -> str:
    """A number as tables print it; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def side_by_side(parts: Sequence[Part]) -> pd.DataFrame:
    """Parts in columns: estimates over standard errors (in parentheses) over 95 % intervals."""
    names = list(dict.fromkeys(name for part in parts for name in part.estimates.names))
    columns: dict[str, list[str]] = {"parameter": [t for name in names for t in (name, "", "")]}
    for part in parts:
        rows = {row["parameter"]: row for row in part.estimates.tidy()}
        cells = []
        for name in names:
            if name not in rows:
                cells += ["–", "", ""]
                continue
            row = rows[name]
            value, error, low, high = (
                printed_number(row[key]) for key in ("estimate", "std_error", "ci_low", "ci_high")
            )
            cells += [value, f"({error})" if error != "–" else "",
                      f"[{low}, {high}]" if low != "–" or high != "–" else ""]  # fmt: skip
        columns[part.label or "estimate"] = cells
    frame = pd.DataFrame(columns)
    return frame[(frame != "").any(axis=1)].reset_index(drop=True)
