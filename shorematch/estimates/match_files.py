"""Files of matches: the rows that are used, and how many fell by the way and why."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from estimation import standardise
from estimation.standardise import in_units
from matching.errors import did_you_mean
from shorematch.files.defects import Defect, InputError, shorten
from shorematch.files.inputs import FileModel, sha256_of
from shorematch.files.table_files import CsvForm, read_table

Name = Annotated[str, Field(min_length=1)]
_Columns = Annotated[list[Name], Field(min_length=1)]

# A whole number as programs write it into a column that also has empty cells.
_WHOLE = re.compile(r"([-+]?\d+)\.0*")


class TableKeys(FileModel):
    """How a CSV file of a run is written."""

    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "latin-1", "utf-16"] = "utf-8"

    @property
    def form(self) -> CsvForm:
        """The same, as the reader of tables takes it."""
        return CsvForm(self.delimiter, self.decimal, self.encoding, announced=True)


class MatchData(TableKeys):
    """The section ``[data]`` of a run file."""

    matches: Name  # path relative to the run file, one row per match
    worker_columns: _Columns
    firm_columns: _Columns
    worker: Name | None = None  # id of the worker: once in the file, or once a year
    firm: Name | None = None  # id of the firm, by which errors are clustered
    wage: Name | None = None
    weight: Name | None = None
    year: Name | None = None
    group: Name | None = None
    origin: Name | None = None
    home: Name | None = None  # the label of home's rows in the column of origins
    unmatched_rows: bool = False  # rows without firm, characteristics and wage are the unmatched
    standardise: Literal["ddof1", "ddof0", "none"] | None = None  # the estimator's
    standardised_columns: list[Name] | None = None  # all of them where it is left out
    missing: Literal["error", "drop"] = "error"
    smallest_cell: Annotated[int, Field(ge=1)] = 5  # what has fewer rows is not printed

    @property
    def numbers(self) -> list[str]:
        """The columns that hold numbers."""
        further = [self.wage, self.weight]
        return [*self.worker_columns, *self.firm_columns, *(c for c in further if c)]

    @property
    def labels(self) -> list[str]:
        """The columns that may hold text."""
        labels = (self.worker, self.firm, self.year, self.group, self.origin)
        return [column for column in labels if column]


@dataclass(frozen=True)
class Sample:
    """The rows that are used, by their numbers in the file, columns in the units of the run."""

    data: MatchData
    matched: pd.DataFrame  # matches at home
    unmatched: pd.DataFrame  # home's workers without a match, where the file has them
    foreign: pd.DataFrame  # rows of other origins
    units: dict[str, tuple[float, float]]  # column → mean and standard deviation taken out
    flow: dict[str, int]  # what happened → rows
    empty: dict[str, int]  # column → empty cells, where there are any
    files: dict[str, str]  # file → SHA-256

    @property
    def skills(self) -> np.ndarray:
        """Of the matched workers, ``(N, m)``."""
        return self.matched[self.data.worker_columns].to_numpy()

    @property
    def characteristics(self) -> np.ndarray:
        """Of their firms, ``(N, n)``."""
        return self.matched[self.data.firm_columns].to_numpy()

    @property
    def wages(self) -> np.ndarray | None:
        """Of the matched, ``(N,)``, where the run file names their column."""
        return self._column(self.data.wage)

    @property
    def weights(self) -> np.ndarray | None:
        """Sampling weights, ``(N,)``, where the run file names their column."""
        return self._column(self.data.weight)

    @property
    def clusters(self) -> np.ndarray | None:
        """Firms' ids, ``(N,)``, where the run file names their column."""
        return self._column(self.data.firm)

    def weights_of(self, rows: pd.DataFrame) -> np.ndarray:
        """Sampling weights of any rows; ones without a column of weights."""
        weight = self.data.weight
        return rows[weight].to_numpy() if weight else np.ones(len(rows))

    def in_units(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with its columns in the units of the run."""
        taken = {c: u for c, u in self.units.items() if c in table}
        return table.assign(**{c: in_units(table[c], *unit) for c, unit in taken.items()})

    def doubts(self, foreign: str | None) -> list[str]:
        """What of the rows may not be as it was meant, a sentence each.

        They are origins that are neither home nor ``foreign``, whose rows nothing uses, and wages
        of zero or less.
        """
        found = []
        if self.data.origin and foreign:
            labels = label_texts(self.foreign[self.data.origin])
            unused = Counter(labels[labels != foreign].tolist())
            if unused:
                named = ", ".join(f"{name!r} ({count})" for name, count in sorted(unused.items()))
                found.append(
                    f"{unused.total()} rows are left out, of origins that are neither home "
                    f"({self.data.home!r}) nor the offshored side ({foreign!r}): {named}"
                )
        if self.data.wage:
            wages = pd.concat([self.matched, self.foreign])[self.data.wage]
            if few := int((wages <= 0).sum()):
                found.append(
                    f"{few} wages are zero or negative, down to {wages.min():g}; if that stands "
                    "for a wage that is not known, empty those cells"
                )
        return found

    def _column(self, name: str | None) -> np.ndarray | None:
        return self.matched[name].to_numpy() if name else None

    def sampled(self, count: int, seed: int) -> "Sample":
        """At most so many of the matches, drawn at random."""
        kept = min(count, len(self.matched))
        return replace(self, matched=self.matched.sample(kept, random_state=seed))

    def groups(self) -> list[tuple[str, "Sample"]]:
        """The sample of each group, in the order of their labels; one of all without groups."""
        return list(self._parts(self.data.group))

    def years(self) -> list[tuple[str, "Sample"]]:
        """The sample of each year, in order; one of all without years."""
        return list(self._parts(self.data.year))

    def _parts(self, column: str | None) -> Iterator[tuple[str, "Sample"]]:
        if column is None:
            yield "", self
            return
        labels = {n: label_texts(getattr(self, n)[column]) for n in _FRAMES}
        for label in np.unique(labels["matched"]):
            frames = {n: getattr(self, n)[labels[n] == label] for n in _FRAMES}
            yield str(label), replace(self, **frames)


_FRAMES = ("matched", "unmatched", "foreign")


def read_sample(run_path: Path, data: MatchData, cells: Sequence[str] = ()) -> Sample:
    """The rows that are used; raises ``InputError`` with every defect of the data together.

    ``cells`` name further columns, of labels by which types are made.
    """
    defects: list[Defect] = []
    columns = [*data.numbers, *data.labels, *dict.fromkeys(cells)]
    defects += _key_defects(run_path.name, data, columns)
    path = run_path.parent / data.matches
    frame = read_table(
        path, defects, columns=columns, numeric=data.numbers, form=data.form, missing=True,
        despite_cells=True,
    )  # fmt: skip
    if frame is None or any(defect.key for defect in defects):
        raise InputError(defects)
    parts, flow, empty = _parts_of(path.name, frame, data, defects)
    defects += _id_defects(path.name, frame, data)
    if data.weight:
        defects += not_positive(path.name, frame, data.weight, "Weights are positive")
    if defects:
        raise InputError(defects)
    if parts["matched"].empty:
        remedy = "Look for a column that is empty throughout"
        raise InputError([Defect(path.name, "every row has an empty cell", remedy)])
    if len(parts["matched"]) == 1:
        remedy = "Look for columns that are empty in nearly all rows"
        raise InputError([Defect(path.name, "one match alone is left to use", remedy)])
    files = {run_path.name: sha256_of(run_path), data.matches: sha256_of(path)}
    units = _units(parts["matched"], data)
    sample = Sample(data=data, **parts, units=units, flow=flow, empty=empty, files=files)
    matched, unmatched, foreign = (sample.in_units(parts[name]) for name in _FRAMES)
    return replace(sample, matched=matched, unmatched=unmatched, foreign=foreign)


def samples_of(sample: Sample) -> list[tuple[str, str, Sample]]:
    """Group, year and rows of each part of a sample."""
    return [(group, year, part) for group, rows in sample.groups() for year, part in rows.years()]


def label_texts(column: pd.Series) -> np.ndarray:
    """Labels as text; whole numbers without a decimal point, as text too."""

    def text(label: Any) -> str:
        if isinstance(label, float) and label.is_integer():
            return str(int(label))
        whole = _WHOLE.fullmatch(str(label))
        return whole[1] if whole else str(label)

    codes, labels = pd.factorize(column, use_na_sentinel=False)
    return np.array([text(label) for label in labels], dtype=object)[codes].astype(str)


def not_positive(file: str, frame: pd.DataFrame, name: str, remedy: str) -> list[Defect]:
    """Every cell of a column that is zero or negative; the frame is numbered from 0."""
    rows, values = frame.index.to_numpy(), frame[name].to_numpy()
    return shorten([
        Defect(file, f"is {values[k]}", remedy, row=int(rows[k]) + 2, column=name)
        for k in np.flatnonzero(values <= 0)
    ])  # fmt: skip


# ---------------------------------------------------------------- helpers


def _parts_of(
    file: str, frame: pd.DataFrame, data: MatchData, defects: list[Defect]
) -> tuple[dict[str, pd.DataFrame], dict[str, int], dict[str, int]]:
    """The rows of each kind without empty cells, what became of all rows, and empty cells."""
    holes = frame.isna() | (frame == "")
    of_firm = [*data.firm_columns, *(c for c in (data.firm, data.wage) if c)]
    foreign: np.ndarray = np.zeros(len(frame), dtype=bool)
    if data.origin:
        foreign = (label_texts(frame[data.origin]) != data.home) & ~holes[data.origin].to_numpy()
        if foreign.all():
            found = ", ".join(map(str, frame[data.origin].unique()[:5]))
            problem = f"no row is of origin {data.home!r}; those found are {found}"
            defects.append(Defect(file, problem, "Correct [data] home", column=data.origin))
    unmatched: np.ndarray = np.zeros(len(frame), dtype=bool)
    if data.unmatched_rows:
        unmatched = np.asarray(holes[of_firm].to_numpy().all(axis=1))
    # what an unmatched worker lacks is no hole
    holes.loc[unmatched, of_firm] = False
    hollow = holes.to_numpy().any(axis=1)
    if data.missing == "error":
        remedy = 'Fill it in, or set missing = "drop" to leave such rows out, counted'
        for name in frame.columns[holes.any()]:
            rows = [int(k) + 2 for k in np.flatnonzero(holes[name])]
            problem = "the cell is empty"
            if name in data.firm_columns and data.firm:
                problem += ", so this firm has no characteristics"
            defects += shorten(
                [Defect(file, problem, remedy, row=row, column=name) for row in rows]
            )
    flow = {"read": len(frame), "dropped_missing": int(hollow.sum())}
    kinds = {
        "matched": ~foreign & ~unmatched & ~hollow,
        "unmatched": ~foreign & unmatched & ~hollow,
        "foreign": foreign & ~hollow,
    }
    flow |= {"unmatched": int(kinds["unmatched"].sum())} if data.unmatched_rows else {}
    flow |= {"foreign": int(kinds["foreign"].sum())} if data.origin else {}
    flow["used"] = int(kinds["matched"].sum())
    empty = {str(name): int(count) for name, count in holes.sum().items() if count}
    return {kind: frame[rows] for kind, rows in kinds.items()}, flow, empty


def _key_defects(file: str, data: MatchData, columns: Sequence[str]) -> list[Defect]:
    defects = []
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        remedy = "A column is a worker's, a firm's, a label or the weight, once"
        defects.append(Defect(file, f"names {name!r} twice", remedy, key="data"))
    both = [*data.worker_columns, *data.firm_columns]
    for name in data.standardised_columns or ():
        if name not in both:
            hint = did_you_mean(name, both)
            problem = f"names {name!r}, which is no column of workers or firms{hint}"
            defects.append(Defect(file, problem, "Correct it", key="data.standardised_columns"))
    if (data.origin is None) != (data.home is None):
        problem = "origin names a column and home the label of home's rows in it; one is missing"
        defects.append(Defect(file, problem, "Give both, or neither", key="data"))
    return defects


def _id_defects(file: str, frame: pd.DataFrame, data: MatchData) -> list[Defect]:
    """Workers that stand in the file twice, or twice in one year."""
    if data.worker is None:
        return []
    key = [data.worker, *([data.year] if data.year else [])]
    ids = frame[key]
    twice = ids.duplicated(keep="first") & ids[data.worker].notna() & (ids[data.worker] != "")
    first = ids[~ids.duplicated(keep="first")].reset_index().set_index(key)["index"]
    when = " in the same year" if data.year else ""
    return shorten([
        Defect(
            file,
            f"this worker stands in row {int(first.loc[tuple(ids.loc[k])]) + 2} already{when}",
            "Keep one row per worker; choose the main job before",
            row=int(k) + 2,
            column=data.worker,
        )
        for k in frame.index[twice]
    ])  # fmt: skip


def _units(matched: pd.DataFrame, data: MatchData) -> dict[str, tuple[float, float]]:
    """What is taken out of each column: mean and standard deviation, or nothing."""
    weights = matched[data.weight].to_numpy() if data.weight else None
    asked = data.standardised_columns
    units = {}
    for names in (data.worker_columns, data.firm_columns):
        found = standardise(matched[names].to_numpy(), weights, data.standardise or "ddof1")
        for name, centre, unit in zip(names, found.centre, found.unit, strict=True):
            taken = asked is None or name in asked
            units[name] = (float(centre), float(unit)) if taken else (0.0, 1.0)
    return units
