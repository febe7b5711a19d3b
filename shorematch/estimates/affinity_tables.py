"""Tables of an estimated affinity matrix: the matrix to print, and its saliency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import AffinityEstimate, Saliency
from shorematch.estimates.estimate_files import Part, normal_intervals, printed_number, side_by_side
from shorematch.files.run_folder import write_csv
from shorematch.files.tables import write_tables

NOT_IDENTIFIED = (
    "Without wages only Φ/λ is identified: the affinity matrix is in units of the taste scale λ."
)
_TITLE = f"Affinity matrix Φ/λ, standard errors in parentheses. {NOT_IDENTIFIED}"


def affinity_part(group: str, year: str, estimate: AffinityEstimate) -> Part:
    """An affinity matrix as what every estimator leaves."""
    names = [f"affinity.{x}.{y}" for x in estimate.skill_names
             for y in estimate.characteristic_names]  # fmt: skip
    values = estimate.affinity.ravel()
    fit = pd.DataFrame({
        "moment": [name.replace("affinity.", "covariance.", 1) for name in names],
        "data": estimate.sample_moments.ravel(),
        "model": estimate.model_moments.ravel(),
        "weight": 1.0,
    })  # fmt: skip
    covariance = estimate.covariance
    intervals = normal_intervals(values, covariance)
    start = [0.0] * len(names)
    return Part(group, year, names, values, covariance, intervals, start, estimate.certificate, fit)


def write_affinity(folder: Path, found: Sequence[tuple[Part, AffinityEstimate, Saliency]]) -> None:
    """Write the tables to print, and those to compute with."""
    saliencies = [_saliency_table(part, estimate, indices) for part, estimate, indices in found]
    write_tables(folder, "saliency", pd.concat(saliencies), transpose=True)
    if len(found) == 1:
        write_tables(folder, "affinity", _printed(found[0][1]), title=_TITLE)
    else:
        parts = [part for part, _, _ in found]
        write_tables(folder, "affinity", side_by_side(parts), title=_TITLE)
    # the printed cells above are rounded; the table to compute with is not
    matrices = [_matrix(part, estimate) for part, estimate, _ in found]
    write_csv(folder / "affinity.csv", pd.concat(matrices))


def _matrix(part: Part, estimate: AffinityEstimate) -> pd.DataFrame:
    frame = pd.DataFrame(estimate.affinity, columns=list(estimate.characteristic_names))
    frame.insert(0, "", list(estimate.skill_names))
    return _labelled(part, frame)


def _labelled(part: Part, frame: pd.DataFrame) -> pd.DataFrame:
    """Group and year in front, where the run has them."""
    for name in ("year", "group"):
        if getattr(part, name):
            frame.insert(0, name, getattr(part, name))
    return frame


def _printed(estimate: AffinityEstimate) -> pd.DataFrame:
    """Each skill's row of estimates over a row of standard errors in parentheses."""
    rows = []
    for name, values, errors in zip(
        estimate.skill_names, estimate.affinity, estimate.std_errors, strict=True
    ):
        rows.append([name, *map(printed_number, values)])
        rows.append(["", *(f"({error:.3f})" for error in errors)])
    return pd.DataFrame(rows, columns=["", *estimate.characteristic_names])


def _saliency_table(part: Part, estimate: AffinityEstimate, found: Saliency) -> pd.DataFrame:
    """One row per pair of indices, the most important first."""
    columns: dict[str, Any] = {
        "index": np.arange(1, len(found.shares) + 1),
        "singular_value": found.singular_values,
        "share": found.shares,
        "share_std_error": found.share_std_errors,
        "p_value_of_a_lower_rank": found.rank_p_values,
    }
    for side, names, loadings, errors in (
        ("worker", estimate.skill_names, found.skill_loadings, found.skill_loading_std_errors),
        ("firm", estimate.characteristic_names, found.characteristic_loadings,
         found.characteristic_loading_std_errors),
    ):  # fmt: skip
        columns |= {f"{side}_{name}": row for name, row in zip(names, loadings, strict=True)}
        columns |= {
            f"{side}_{name}_std_error": row for name, row in zip(names, errors, strict=True)
        }
    return _labelled(part, pd.DataFrame(columns))
