"""Tables of an estimate with wages."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from shorematch.estimates.estimate_files import Part, normal_intervals, printed_number, side_by_side
from shorematch.estimates.wage_estimation import WageResult
from shorematch.files.tables import write_tables

_HEADINGS = {
    "amenity": "Amenities",
    "productivity": "Productivity",
    "scale": "Taste scales",
}


def wage_part(group: str, year: str, result: WageResult) -> Part:
    """An estimate with wages as what every estimator leaves; the scales' intervals by profile."""
    estimate = result.estimate
    covariance = estimate.covariances[result.std_errors]
    intervals = normal_intervals(estimate.values, covariance)
    for name, ends in result.profile.items():
        intervals[estimate.names.index(name)] = ends
    return Part(
        group,
        year,
        estimate.names,
        estimate.values,
        covariance,
        intervals,
        [result.starts.get(name, math.nan) for name in estimate.names],
        estimate.certificate,
        _fit(result),
        {"optima": estimate.optima, "profile_intervals": result.profile},
    )


def write_wages(folder: Path, found: Sequence[tuple[Part, WageResult]]) -> None:
    """Write the table to print."""
    parts, results = zip(*found, strict=True)
    sizes = " + ".join(str(result.estimate.observations) for result in results)
    fits = ", ".join(f"{result.estimate.r_squared:.3f}" for result in results)
    title = (
        f"Maximum likelihood with wages, N = {sizes}, R² = {fits}, "
        f"{results[0].std_errors} standard errors"
    )
    printed = _printed(parts[0]) if len(parts) == 1 else side_by_side(parts)
    write_tables(folder, "wages", printed, title=title)


def _fit(result: WageResult) -> pd.DataFrame:
    """Means of the interactions over matches, and wages over groups by predicted wage."""
    moments = dict(result.estimate.moments)
    for k, (predicted, observed, _) in enumerate(result.estimate.wage_fit, start=1):
        moments[f"wage.group_{k}"] = (observed, predicted)
    data, model = np.array(list(moments.values())).T
    # a likelihood weighs no moments
    return pd.DataFrame({"moment": list(moments), "data": data, "model": model, "weight": math.nan})


def _printed(part: Part) -> pd.DataFrame:
    """A row per parameter: estimate, standard error, 95 % interval."""
    rows = []
    for name, value, error, (low, high) in zip(
        part.names, part.values, part.std_errors, part.intervals, strict=True
    ):
        kind, _, term = name.partition(".")
        rows.append([
            f"{_HEADINGS[kind]}: {term}" if term else name.replace("_", " ").capitalize(),
            printed_number(value),
            f"({printed_number(error)})",
            f"[{printed_number(low)}, {printed_number(high)}]",
        ])  # fmt: skip
    return pd.DataFrame(rows, columns=["parameter", "estimate", "std_error", "95 % interval"])
