"""What every estimator leaves: ``estimates.csv``, ``vcov.csv`` and ``certificate.json``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import Certificate
from shorematch.run_folder import write_csv, write_json

# Two-sided 95 % of a normal.
QUANTILE = 1.959963984540054


def write_estimates(
    folder: Path,
    names: Sequence[str],
    values: np.ndarray,
    covariance: np.ndarray,
    start: Any,
    certificate: Certificate,
    **further: Any,
) -> None:
    """Write the files; ``further`` goes into ``certificate.json``. Intervals are at 95 %."""
    error = np.sqrt(np.diag(covariance))
    estimates = pd.DataFrame(
        {
            "parameter": names,
            "group": "",
            "year": "",
            "estimate": values,
            "std_error": error,
            "ci_low": values - QUANTILE * error,
            "ci_high": values + QUANTILE * error,
            "start": start,
            "status": certificate.verdict.lower(),
        }
    )
    write_csv(folder / "estimates.csv", estimates)
    vcov = pd.DataFrame(covariance, columns=list(names))
    vcov.insert(0, "parameter", list(names))
    write_csv(folder / "vcov.csv", vcov)
    write_json(folder / "certificate.json", certificate_summary(certificate) | further)


def certificate_summary(certificate: Certificate) -> dict[str, Any]:
    """The conditions of the optimum, the verdict, and its reasons."""
    return {
        "verdict": certificate.verdict,
        "reasons": [*certificate.failures, *certificate.doubts],
        **{key: value for key, value in vars(certificate).items() if key != "remarks"},
    }
