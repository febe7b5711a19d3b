"""Files of matches: the rows that are used, and how many fell by the way and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from estimation import Standardised, standardise
from matching.errors import did_you_mean
from shorematch.defects import Defect, InputError, shorten
from shorematch.inputs import FileModel, read_table, sha256_of

Name = Annotated[str, Field(min_length=1)]
_Columns = Annotated[list[Name], Field(min_length=1)]


class MatchData(FileModel):
    """The section ``[data]`` of a run file."""

    matches: Name  # path relative to the run file, one row per match
    worker_columns: _Columns
    firm_columns: _Columns
    weight: Name | None = None
    standardise: Literal["ddof1", "ddof0", "none"] = "ddof1"
    standardised_columns: list[Name] | None = None  # all of them where it is left out
    missing: Literal["error", "drop"] = "error"
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."


@dataclass(frozen=True)
class Sample:
    """The matches that are used."""

    skills: Standardised
    characteristics: Standardised
    weights: np.ndarray | None
    others: pd.DataFrame  # further columns that were asked for, as they are in the file
    flow: dict[str, int]  # what happened → rows
    files: dict[str, str]  # file → SHA-256


def read_sample(
    run_path: Path, data: MatchData, numbers: Sequence[str] = (), labels: Sequence[str] = ()
) -> Sample:
    """The rows that are used; raises ``InputError`` with every defect of the data together.

    ``numbers`` and ``labels`` name further columns; a label may be text.
    """
    defects: list[Defect] = []
    columns = [*data.worker_columns, *data.firm_columns, *numbers, *labels]
    columns += [data.weight] if data.weight else []
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        remedy = "A column is a worker's, a firm's or the weight, once"
        defects.append(Defect(run_path.name, f"names {name!r} twice", remedy, key="data"))
    both = [*data.worker_columns, *data.firm_columns]
    for name in data.standardised_columns or ():
        if name not in both:
            hint = did_you_mean(name, both)
            problem = f"names {name!r}, which is no column of workers or firms{hint}"
            defects.append(
                Defect(run_path.name, problem, "Correct it", key="data.standardised_columns")
            )
    path = run_path.parent / data.matches
    frame = read_table(
        path,
        defects,
        columns=columns,
        numeric=[name for name in columns if name not in labels],
        delimiter=data.delimiter,
        decimal=data.decimal,
        missing=True,
    )
    if frame is None or defects:
        raise InputError(defects)
    holes = frame.isna() | (frame == "")
    if data.missing == "error":
        remedy = 'Fill it in, or set missing = "drop" to leave such rows out, counted'
        for name in frame.columns[holes.any()]:
            rows = [int(k) + 2 for k in np.flatnonzero(holes[name])]
            problem = "the cell is empty"
            defects += shorten(
                [Defect(path.name, problem, remedy, row=row, column=name) for row in rows]
            )
    if data.weight:
        defects += _not_positive(path.name, frame, data.weight, "Weights are positive")
    if defects:
        raise InputError(defects)
    used = frame[~holes.any(axis=1)]
    if used.empty:
        remedy = "Look for a column that is empty throughout"
        raise InputError([Defect(path.name, "every row has an empty cell", remedy)])
    weights = used[data.weight].to_numpy() if data.weight else None
    skills, characteristics = (
        _standardised(used[names], weights, data)
        for names in (data.worker_columns, data.firm_columns)
    )
    return Sample(
        skills=skills,
        characteristics=characteristics,
        weights=weights,
        others=used[[*numbers, *labels]],
        flow={"read": len(frame), "dropped_missing": len(frame) - len(used), "used": len(used)},
        files={run_path.name: sha256_of(run_path), data.matches: sha256_of(path)},
    )


def positive(sample: Sample, data: MatchData, name: str, remedy: str) -> np.ndarray:
    """A further column, all of whose cells must be positive."""
    defects = _not_positive(Path(data.matches).name, sample.others, name, remedy)
    if defects:
        raise InputError(defects)
    return sample.others[name].to_numpy()


def units_of(data: MatchData, sample: Sample) -> dict[str, Any]:
    """How columns were standardised: what was taken out of each."""
    columns = {}
    for names, side in (
        (data.worker_columns, sample.skills),
        (data.firm_columns, sample.characteristics),
    ):
        for name, centre, unit in zip(names, side.centre, side.unit, strict=True):
            columns[name] = {"mean": centre, "standard_deviation": unit}
    return {"how": data.standardise, "columns": columns}


def _standardised(
    columns: pd.DataFrame, weights: np.ndarray | None, data: MatchData
) -> Standardised:
    found = standardise(columns.to_numpy(), weights, data.standardise)
    if data.standardised_columns is None:
        return found
    asked = np.isin(columns.columns, data.standardised_columns)
    return Standardised(
        np.where(asked, found.values, columns.to_numpy()),
        np.where(asked, found.centre, 0.0),
        np.where(asked, found.unit, 1.0),
    )


def _not_positive(file: str, frame: pd.DataFrame, name: str, remedy: str) -> list[Defect]:
    rows, values = frame.index.to_numpy(), frame[name].to_numpy()
    return shorten([
        Defect(file, f"is {values[k]}", remedy, row=int(rows[k]) + 2, column=name)
        for k in np.flatnonzero(values <= 0)
    ])  # fmt: skip
