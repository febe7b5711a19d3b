"""Tables of an estimate with wages."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from estimation import Estimates
from shorematch.estimates.estimate_files import Part
from shorematch.estimates.printed_tables import printed_number, side_by_side
from shorematch.files.tables import write_tables

_HEADINGS = {
    "amenity": "Amenities",
    "productivity": "Productivity",
    "scale": "Taste scales",
}


def write_wages(folder: Path, parts: Sequence[Part]) -> None:
    """Write the table to print."""
    found = [part.estimates for part in parts]
    sizes = " + ".join(str(one.observations) for one in found)
    fits = ", ".join(f"{one.r_squared:.3f}" for one in found)
    kind = next(iter(found[0].covariances))
    title = f"Maximum likelihood with wages, N = {sizes}, R² = {fits}, {kind} standard errors"
    printed = _printed(found[0]) if len(parts) == 1 else side_by_side(parts)
    write_tables(folder, "wages", printed, title=title)


def _printed(estimates: Estimates) -> pd.DataFrame:
    """A row per parameter: estimate, standard error, 95 % interval."""
    rows = []
    for row in estimates.tidy():
        kind, _, term = row["parameter"].partition(".")
        value, error, low, high = (
            printed_number(row[key]) for key in ("estimate", "std_error", "ci_low", "ci_high")
        )
        name = f"{_HEADINGS[kind]}: {term}" if term else kind.replace("_", " ").capitalize()
        rows.append([name, value, f"({error})", f"[{low}, {high}]"])
    return pd.DataFrame(rows, columns=["parameter", "estimate", "std_error", "95 % interval"])
