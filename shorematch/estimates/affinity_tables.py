"""Tables of an estimated affinity matrix: the matrix, its saliency, the path of a penalty."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import Estimates, PenaltyPath
from shorematch.estimates.estimate_files import Part
from shorematch.estimates.printed_tables import printed_number, side_by_side
from shorematch.files.run_folder import write_csv
from shorematch.files.tables import write_tables


def write_affinity(folder: Path, parts: Sequence[Part]) -> None:
    """Write the tables to print, and those to compute with."""
    saliencies = [_labelled(part, _saliency_table(part.estimates)) for part in parts]
    write_tables(folder, "saliency", pd.concat(saliencies), transpose=True)
    title = _title(parts[0].estimates)
    if len(parts) == 1:
        write_tables(folder, "affinity", _printed(parts[0].estimates), title=title)
    else:
        write_tables(folder, "affinity", side_by_side(parts), title=title)
    # the printed cells above are rounded; the table to compute with is not
    write_csv(folder / "affinity.csv", pd.concat([_matrix(part) for part in parts]))
    paths = [
        _labelled(part, _path_table(part.estimates.penalty))
        for part in parts if part.estimates.penalty is not None
    ]  # fmt: skip
    if paths:
        write_tables(folder, "penalty", pd.concat(paths), title="Strengths of the penalty")


def _title(estimates: Estimates) -> str:
    notes = " ".join(estimates.notes)
    if estimates.penalty is not None:
        return f"Affinity matrix Φ/λ under a {estimates.penalty.penalty} penalty. {notes}"
    kind = next(iter(estimates.covariances))
    return f"Affinity matrix Φ/λ, standard errors ({kind}) in parentheses. {notes}"


def _matrix(part: Part) -> pd.DataFrame:
    estimates = part.estimates
    frame = pd.DataFrame(estimates.affinity(), columns=list(estimates.characteristic_names))
    frame.insert(0, "", list(estimates.skill_names))
    return _labelled(part, frame)


def _labelled(part: Part, frame: pd.DataFrame) -> pd.DataFrame:
    """Group and year in front, where the run has them."""
    for name in ("year", "group"):
        if getattr(part, name):
            frame.insert(0, name, getattr(part, name))
    return frame


def _printed(estimates: Estimates) -> pd.DataFrame:
    """Each skill's row of estimates over a row of standard errors in parentheses."""
    rows = []
    matrix = estimates.affinity()
    for name, values, errors in zip(
        estimates.skill_names, matrix, estimates.std_errors().reshape(matrix.shape), strict=True
    ):
        rows.append([name, *map(printed_number, values)])
        if not np.all(np.isnan(errors)):
            rows.append(["", *(f"({printed_number(error)})" for error in errors)])
    return pd.DataFrame(rows, columns=["", *estimates.characteristic_names])


def _saliency_table(estimates: Estimates) -> pd.DataFrame:
    """One row per pair of indices, the most important first."""
    found = estimates.saliency()
    columns: dict[str, Any] = {
        "index": np.arange(1, len(found.shares) + 1),
        "singular_value": found.singular_values,
        "share": found.shares,
        "share_std_error": found.share_std_errors,
        "p_value_of_a_lower_rank": found.rank_p_values,
    }
    for side, names, loadings, errors in (
        ("worker", estimates.skill_names, found.skill_loadings, found.skill_loading_std_errors),
        ("firm", estimates.characteristic_names, found.characteristic_loadings,
         found.characteristic_loading_std_errors),
    ):  # fmt: skip
        columns |= {f"{side}_{name}": row for name, row in zip(names, loadings, strict=True)}
        columns |= {
            f"{side}_{name}_std_error": row for name, row in zip(names, errors, strict=True)
        }
    return pd.DataFrame(columns)


def _path_table(path: PenaltyPath) -> pd.DataFrame:
    """A row per strength: what it leaves of the matrix, and what it gains out of sample."""
    chosen = np.arange(len(path.strengths)) == path.chosen
    columns = {"strength": path.strengths, "size": path.sizes}
    if len(path.gains):
        columns |= {"gain": path.mean_gain, "gain_std_error": path.std_error}
    return pd.DataFrame(columns | {"chosen": np.where(chosen, "chosen", "")})
