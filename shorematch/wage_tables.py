"""Tables of an estimate with wages: estimates, fit, covariance, the table to print."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from shorematch.estimate_files import write_estimates
from shorematch.run_folder import write_csv
from shorematch.tables import write_tables
from shorematch.wage_estimation import WageResult

_HEADINGS = {
    "amenity": "Amenities",
    "productivity": "Productivity",
    "scale": "Taste scales",
}


def write_wages(folder: Path, result: WageResult) -> None:
    """Write estimates, their fit and certificate, and the table to print."""
    estimate = result.estimate
    write_estimates(
        folder,
        estimate.names,
        estimate.values,
        estimate.covariances[result.std_errors],
        [result.starts.get(name, math.nan) for name in estimate.names],
        estimate.certificate,
        optima=estimate.optima,
        profile_intervals=result.profile,
    )
    write_csv(folder / "fit.csv", _fit(result))
    title = (
        f"Maximum likelihood with wages, N = {estimate.observations}, R² = "
        f"{estimate.r_squared:.3f}, {result.std_errors} standard errors"
    )
    write_tables(folder, "wages", _printed(result), title=title)


def _fit(result: WageResult) -> pd.DataFrame:
    """Means of the interactions over matches, and wages over groups by predicted wage."""
    moments = dict(result.estimate.moments)
    for k, (predicted, observed, _) in enumerate(result.estimate.wage_fit, start=1):
        moments[f"wage.group_{k}"] = (observed, predicted)
    data, model = np.array(list(moments.values())).T
    return pd.DataFrame(
        {
            "moment": list(moments),
            "data": data,
            "model": model,
            "difference": model - data,
            "weight": math.nan,  # a likelihood weighs no moments
        }
    )


def _printed(result: WageResult) -> pd.DataFrame:
    """A row per parameter: estimate, standard error, 95 % interval; scales' by profile."""
    estimate = result.estimate
    errors = estimate.std_errors(result.std_errors)
    rows = []
    for name, value, error in zip(estimate.names, estimate.values, errors, strict=True):
        kind, _, term = name.partition(".")
        low, high = result.profile.get(name, (value - 1.96 * error, value + 1.96 * error))
        rows.append([
            f"{_HEADINGS[kind]}: {term}" if term else name.replace("_", " ").capitalize(),
            _number(value),
            f"({_number(error)})",
            f"[{_number(low)}, {_number(high)}]",
        ])  # fmt: skip
    return pd.DataFrame(rows, columns=["parameter", "estimate", "std_error", "95 % interval"])


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".replace("-", "−")
