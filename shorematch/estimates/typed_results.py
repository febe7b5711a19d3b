"""What estimates on types leave: tables, types with counts, how the market has changed."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from estimation.estimates import COST, normal_intervals
from shorematch.estimates.estimate_files import Part, worst_verdict
from shorematch.estimates.printed_tables import side_by_side
from shorematch.estimates.typed_samples import TypedSample
from shorematch.files.run_folder import write_csv
from shorematch.files.tables import write_tables

# Two-sided 95 % of a normal.
_QUANTILE = 1.959963984540054


def write_typed(
    folder: Path, parts: Sequence[Part], samples: Sequence[TypedSample], what: str
) -> None:
    """Write the table to print, and types with their counts."""
    sizes = " + ".join(str(part.estimates.observations) for part in parts)
    title = f"{what}, N = {sizes}; standard errors in parentheses"
    write_tables(folder, "parameters", side_by_side(parts), title=title)
    (folder / "parameters.csv").unlink()  # estimates.csv has all digits
    write_csv(folder / "types.csv", pd.concat([_types_table(sample) for sample in samples]))


def changes(parts: Sequence[Part]) -> pd.DataFrame:
    """The change of the cost of offshoring from each year of a group to the next, twice.

    As estimated, resting on E(r*) = E(r) in both years; and with ``ν_y* − ν_y`` held at the first
    year's, which equation (10) identifies without it. The years' samples count as independent.
    """
    rows = []
    for old, new in pairwise(parts):
        first, second = old.estimates, new.estimates
        if old.group != new.group or not {COST} <= {*first.names} & {*second.names}:
            continue
        home, abroad = (name for name in second.names if name.endswith(".nu_y"))
        lam_y = second["tastes.lambda_y"]
        moved = (first[abroad] - first[home]) - (second[abroad] - second[home])
        held = {COST: 1.0, "tastes.lambda_y": moved, abroad: -lam_y, home: lam_y}
        kinds = {
            "change": (0.0, {COST: 1.0}, {COST: -1.0}),
            "change_at_held_intensities": (
                lam_y * moved, held, {COST: -1.0, abroad: lam_y, home: -lam_y},
            ),
        }  # fmt: skip
        for kind, (further, of_new, of_old) in kinds.items():
            change = second[COST] + further - first[COST]
            error = np.sqrt(_variance(new, of_new) + _variance(old, of_old))
            ((low, high),) = normal_intervals(np.array([change]), np.array([error]), _QUANTILE)
            rows.append({
                "parameter": f"{COST}.{kind}", "group": new.group,
                "year": f"{old.year} to {new.year}", "estimate": change, "std_error": error,
                "ci_low": low, "ci_high": high, "start": np.nan, "status": "derived",
                "unit": "money", "verdict": worst_verdict([old, new]),
            })  # fmt: skip
    return pd.DataFrame(rows)


def withheld(parts: Sequence[Part], samples: Sequence[TypedSample]) -> list[str]:
    """What was not written, lest it tell of single workers or firms."""
    said = []
    for part, sample in zip(parts, samples, strict=True):
        where = f"{part.label}: " if part.label else ""
        workers, firms = (int(thin.sum()) for thin in sample.thin_types)
        if workers or firms:
            said.append(
                f"{where}no economy and no draws of it are written: {workers} worker types and "
                f"{firms} firm types have fewer than {sample.smallest_cell} rows, and their "
                "values would be microdata; take fewer types"
            )
        elif thin := int(((sample.counts > 0) & (sample.counts < sample.smallest_cell)).sum()):
            said.append(
                f"{where}{thin} cells with fewer than {sample.smallest_cell} matches are left out "
                "of figures"
            )
    return said


def _variance(part: Part, slopes: dict[str, float]) -> float:
    row = np.array([slopes.get(name, 0.0) for name in part.estimates.names])
    used = row != 0
    return float(row[used] @ part.estimates.vcov()[np.ix_(used, used)] @ row[used])


def _types_table(sample: TypedSample) -> pd.DataFrame:
    """Types of both sides with rows, share of the mass and mean wage."""
    data, frames = sample.rows.data, []
    for side, cells, columns, of_match in (
        ("worker", sample.workers, data.worker_columns, sample.worker_type),
        ("firm", sample.firms, data.firm_columns, sample.firm_type),
    ):
        count, mass, bill = (
            np.bincount(of_match, weights, minlength=len(cells.count))
            for weights in (None, sample.weights, sample.weights * sample.rows.wages)
        )
        frame = pd.DataFrame({
            "side": side,
            "group": sample.group,
            "year": sample.year,
            "type": np.arange(1, len(cells.count) + 1),
            **dict(zip(columns, cells.values.T, strict=True)),
            "matches": count,
            "share": mass / mass.sum(),
            "mean_wage": bill / mass,
        })  # fmt: skip
        shown = [*columns, "matches", "share", "mean_wage"]
        frame = frame.astype({"matches": "Int64"})
        thin = (frame["matches"] < sample.smallest_cell) | (cells.count < sample.smallest_cell)
        frame.loc[thin, shown] = pd.NA
        frames.append(frame)
    return pd.concat(frames)
