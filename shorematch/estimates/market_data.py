"""What a run file, or rows of its data, say about the market of a year beside its matches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import Cells, ForeignSide, Market
from shorematch.estimates.match_files import Sample, label_texts
from shorematch.estimates.run_file import RunFile
from shorematch.files.defects import Defect, shorten
from shorematch.files.inputs import sha256_of
from shorematch.files.table_files import read_table


@dataclass(frozen=True)
class MarketYear:
    """The rows of a year, and all that is read beside them."""

    run_file: str
    file: RunFile
    rows: Sample
    workers: Cells
    year: str
    tables: dict[str, pd.DataFrame]  # "types" and "purchases" of the foreign side
    defects: list[Defect]

    def given(self, section: str, key: str) -> Any:
        """A key's number, or that of the year; ``None`` where there is none."""
        value = getattr(getattr(self.file, section), key)
        if isinstance(value, dict) and self.year not in value:
            year = self.year or "(no column of years is named)"
            self.note(section, key, f"has no number for the year {year}", "Add it")
        return value.get(self.year) if isinstance(value, dict) else value

    def note(self, section: str, key: str, problem: str, remedy: str) -> None:
        """Note a defect of a key."""
        place = f"{section}.{key}"
        self.defects.append(Defect(self.run_file, problem, remedy, key=place))

    @property
    def mass_at_work(self) -> float:
        """Weights of home's matches."""
        return _mass(self.rows, self.rows.matched)

    @property
    def mass_of_home(self) -> float:
        """Weights of home's workers."""
        return self.mass_at_work + _mass(self.rows, self.rows.unmatched)


def market_of_year(at: MarketYear) -> Market | None:
    """The market of a year; ``None`` where something is missing, which is noted."""
    before = len(at.defects)
    assert at.file.home is not None
    errors = np.zeros(3)
    u = at.given("home", "unemployment_rate")
    if u is None and len(at.defects) == before:
        u = 1.0 - at.mass_at_work / at.mass_of_home
        everybody = np.r_[
            at.rows.weights_of(at.rows.matched), at.rows.weights_of(at.rows.unmatched)
        ]
        errors[0] = np.sqrt(u * (1.0 - u) * _unevenness(everybody))
        if not u > 0:
            problem = "is missing, and no row is an unmatched worker"
            remedy = "Add it, or rows of unmatched workers with [data] unmatched_rows = true"
            at.note("home", "unemployment_rate", problem, remedy)
    foreign = _foreign_side(at, errors) if at.file.foreign else None
    r0, firm_mass = 0.0, None
    if at.file.firms:
        r0, firm_mass = (at.given("firms", key) for key in ("outside_option", "mass_per_worker"))
    wage_share, w0 = (at.given("home", key) for key in ("wage_share", "outside_option"))
    if len(at.defects) > before:
        return None
    return Market(u, wage_share, foreign, w0, r0, firm_mass, errors, at.file.home.name)


def read_market_tables(
    run_path: Path, file: RunFile, defects: list[Defect]
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """The foreign side's tables, and the SHA-256 of each file."""
    tables: dict[str, pd.DataFrame] = {}
    files: dict[str, str] = {}
    keys = file.foreign
    if keys is None:
        return tables, files
    years = [file.data.year] if file.data.year else []
    wanted = {
        "types": (keys.types, ["mass", *file.data.worker_columns], []),
        "purchases": (keys.purchases, [keys.imports, keys.value_added], years),
    }
    for kind, (name, numbers, labels) in wanted.items():
        if name is None:
            continue
        path = run_path.parent / name
        columns = [*numbers, *labels]
        table = read_table(path, defects, columns=columns, numeric=numbers, form=keys.form)
        if table is not None:
            positive = ["mass"] if kind == "types" else numbers
            defects += [d for c in positive for d in _negative(path.name, table, c)]
            tables[kind], files[name] = table, sha256_of(path)
    return tables, files


# ---------------------------------------------------------------- the offshored side


def _foreign_side(at: MarketYear, errors: np.ndarray) -> ForeignSide | None:
    """The offshored side: as given, or from rows of foreign workers where the data have them.

    What is counted from rows has its sampling error noted in ``errors``.
    """
    keys, data, rows, before = at.file.foreign, at.rows.data, at.rows.foreign, len(at.defects)
    assert keys is not None
    if data.origin:
        rows = rows[label_texts(rows[data.origin]) == keys.name]
        if rows.empty:
            problem = f"no row is of origin {keys.name!r}"
            remedy = "Correct [foreign] name, or leave the section out"
            at.defects.append(Defect(Path(data.matches).name, problem, remedy, column=data.origin))
            return None
    hired = rows[rows[data.firm_columns].notna().all(axis=1)]
    total, rate, wage = (at.given("foreign", k) for k in ("mass", "offshoring_rate", "mean_wage"))
    if "purchases" in at.tables and rate is None:
        rate = _rate_of_purchases(at)
    if not hired.empty:
        total = total or _mass(at.rows, rows) / at.mass_of_home
        weights = at.rows.weights_of(hired)
        if rate is None:
            rate = _mass(at.rows, hired) / at.mass_at_work
            home = at.rows.weights_of(at.rows.matched)
            errors[1] = rate * np.sqrt(_unevenness(weights) + _unevenness(home))
        if wage is None:
            wage = float(np.average(hired[data.wage], weights=weights))
            off = weights * (hired[data.wage] - wage) / weights.sum()
            errors[2] = np.sqrt(np.sum(off**2))
    for key, value in (("mass", total), ("offshoring_rate", rate), ("mean_wage", wage)):
        if value is None and getattr(keys, key) is None:
            source = "purchases nor " if key == "offshoring_rate" else ""
            problem = f"is missing, and neither {source}rows of hired foreign workers tell it"
            at.note("foreign", key, problem.replace("neither rows", "no rows"), "Add it")
    shape, option = _spread_over_types(at, rows), at.given("foreign", "outside_option")
    if len(at.defects) > before:
        return None
    return ForeignSide(rate, wage, total * shape / shape.sum(), option, keys.name)


def _spread_over_types(at: MarketYear, rows: pd.DataFrame) -> np.ndarray:
    """How foreign workers are spread over home's types, but for their number."""
    keys, columns = at.file.foreign, at.rows.data.worker_columns
    assert keys is not None
    if "types" in at.tables:
        table = at.tables["types"]
        place = at.workers.join(at.rows.in_units(table)[columns].to_numpy())
        return np.bincount(place, table["mass"], minlength=len(at.workers.values))
    if keys.tilt is None and not rows.empty:
        place = at.workers.join(rows[columns].to_numpy())
        return np.bincount(place, at.rows.weights_of(rows), minlength=len(at.workers.values))
    unknown = [name for name in keys.tilt or {} if name not in columns]
    if keys.tilt is None or unknown:
        problem = "is missing, and neither types nor rows tell the foreign workers' skills"
        if unknown:
            problem = f"names {', '.join(unknown)}, which is no column of workers"
        remedy = "Write tilt = { SKILL = 0.0 } for skills spread as those of home's workers"
        at.note("foreign", "tilt", problem, remedy)
        return np.ones(1)
    shape = at.workers.mass
    for name, tilt in keys.tilt.items():
        rank = np.unique(at.workers.values[:, columns.index(name)], return_inverse=True)[1]
        shape = shape * np.exp(tilt * rank / max(rank.max(), 1))
    return shape


def _rate_of_purchases(at: MarketYear) -> float | None:
    """(Goods bought abroad)/(value added), which the slides take for ``|f*|/|f|``."""
    keys, table, column = at.file.foreign, at.tables["purchases"], at.rows.data.year
    assert keys is not None
    rows = table[label_texts(table[column]) == at.year] if column else table
    bought, added = rows[keys.imports].sum(), rows[keys.value_added].sum()
    if bought > 0 and added > 0:
        return float(bought / added)
    problem = f"tells no purchases or no value added of the year {at.year}".removesuffix(" ")
    at.note("foreign", "purchases", problem, "Add the rows")
    return None


def _negative(file: str, table: pd.DataFrame, column: str) -> list[Defect]:
    values = table[column].to_numpy()
    return shorten([
        Defect(file, f"is negative ({values[k]})", "Give zero or more", row=int(k) + 2,
               column=column)
        for k in np.flatnonzero(values < 0)
    ])  # fmt: skip


def _mass(sample: Sample, rows: pd.DataFrame) -> float:
    return float(np.sum(sample.weights_of(rows)))


def _unevenness(weights: np.ndarray) -> float:
    """``Σω²/(Σω)²``: one over the effective number of rows."""
    return float(np.sum(weights**2) / np.sum(weights) ** 2)
