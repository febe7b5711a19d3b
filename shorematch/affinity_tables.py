"""Tables of an estimated affinity matrix: estimates, fit, covariance, saliency."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import AffinityEstimate, Saliency
from shorematch.estimate_files import write_estimates
from shorematch.run_folder import write_csv
from shorematch.tables import write_tables

NOT_IDENTIFIED = (
    "Without wages only Φ/λ is identified: the affinity matrix is in units of the taste scale λ."
)


def write_affinity(folder: Path, estimate: AffinityEstimate, found: Saliency) -> None:
    """Write estimates, their fit and certificate, and the tables to print."""
    write_estimates(
        folder,
        _parameters(estimate),
        estimate.affinity.ravel(),
        estimate.covariance,
        0.0,
        estimate.certificate,
    )
    write_csv(folder / "fit.csv", _fit(estimate))
    write_tables(folder, "saliency", _saliency_table(estimate, found), transpose=True)
    title = f"Affinity matrix Φ/λ, standard errors in parentheses. {NOT_IDENTIFIED}"
    write_tables(folder, "affinity", _printed_affinity(estimate), title=title)
    # the printed cells above are rounded; the table to compute with is not
    write_csv(folder / "affinity.csv", _affinity(estimate))


def _parameters(estimate: AffinityEstimate) -> list[str]:
    return [
        f"affinity.{x}.{y}" for x in estimate.skill_names for y in estimate.characteristic_names
    ]


def _fit(estimate: AffinityEstimate) -> pd.DataFrame:
    """The moments that are matched: covariances of skills and characteristics over matches."""
    data, model = estimate.sample_moments.ravel(), estimate.model_moments.ravel()
    return pd.DataFrame(
        {
            "moment": [
                name.replace("affinity.", "covariance.", 1) for name in _parameters(estimate)
            ],
            "data": data,
            "model": model,
            "difference": model - data,
            "weight": 1.0,
        }
    )


def _affinity(estimate: AffinityEstimate) -> pd.DataFrame:
    frame = pd.DataFrame(estimate.affinity, columns=list(estimate.characteristic_names))
    frame.insert(0, "", list(estimate.skill_names))
    return frame


def _printed_affinity(estimate: AffinityEstimate) -> pd.DataFrame:
    """Each skill's row of estimates over a row of standard errors in parentheses."""
    rows = []
    for name, values, errors in zip(
        estimate.skill_names, estimate.affinity, estimate.std_errors, strict=True
    ):
        rows.append([name, *(f"{value:.3f}".replace("-", "−") for value in values)])
        rows.append(["", *(f"({error:.3f})" for error in errors)])
    return pd.DataFrame(rows, columns=["", *estimate.characteristic_names])


def _saliency_table(estimate: AffinityEstimate, found: Saliency) -> pd.DataFrame:
    """One row per pair of indices, the most important first."""
    columns: dict[str, Any] = {
        "index": np.arange(1, len(found.shares) + 1),
        "singular_value": found.singular_values,
        "share": found.shares,
        "share_std_error": found.share_std_errors,
    }
    for side, names, loadings in (
        ("worker", estimate.skill_names, found.skill_loadings),
        ("firm", estimate.characteristic_names, found.characteristic_loadings),
    ):
        columns |= {f"{side}_{name}": row for name, row in zip(names, loadings, strict=True)}
    return pd.DataFrame(columns)
