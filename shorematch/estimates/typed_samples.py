"""Samples on types: how rows become types, and the matches of a group and year between them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from estimation import Cells, Market, given_cells, individual_cells, quantile_cells
from shorematch.estimates.market_data import MarketYear, market_of_year, read_market_tables
from shorematch.estimates.match_files import Sample, label_texts
from shorematch.estimates.run_file import CellKeys, Cutting, QuantileKeys, RunFile, TypeKeys
from shorematch.files.defects import Defect, InputError

_DECILES = 10


@dataclass(frozen=True)
class TypedSample:
    """The matches of a group in a year, between the types of the group."""

    group: str
    year: str
    rows: Sample
    workers: Cells  # of all years of the group
    firms: Cells
    worker_type: np.ndarray  # of each match, (N,)
    firm_type: np.ndarray  # (N,)
    unmatched_type: np.ndarray  # of home's workers without a match
    market: Market

    @property
    def smallest_cell(self) -> int:
        """What has fewer rows may not be shown."""
        return self.rows.data.smallest_cell

    @property
    def thin_types(self) -> list[np.ndarray]:
        """Types of either side with fewer rows than may be shown."""
        return [cells.count < self.smallest_cell for cells in (self.workers, self.firms)]

    @property
    def weights(self) -> np.ndarray:
        """Sampling weights of the matches, ``(N,)``."""
        return self.rows.weights_of(self.rows.matched)

    @property
    def counts(self) -> np.ndarray:
        """Matches of each cell, ``(N, J)``."""
        shape = len(self.workers.values), len(self.firms.values)
        cell = self.worker_type * shape[1] + self.firm_type
        return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)


def cell_columns(file: RunFile) -> list[str]:
    """The columns of a user's own types, which are read beside the others."""
    types = file.types or TypeKeys()
    return [c.cells for c in (types.workers, types.firms) if isinstance(c, CellKeys)]


def typed_samples(
    run_path: Path, file: RunFile, sample: Sample
) -> tuple[list[TypedSample], dict[str, str]]:
    """A sample per group and year, and the SHA-256 of further files that were read.

    Types are made from all years of a group together: worker types of home's workers, matched or
    not, firm types of matches. Raises :class:`~shorematch.defects.InputError` with the defects of
    all groups and years.
    """
    defects: list[Defect] = []
    tables, files = read_market_tables(run_path, file, defects)
    if defects:
        raise InputError(defects)
    cutting = file.types or TypeKeys()
    samples = []
    for group, rows in sample.groups():
        home = pd.concat([rows.matched, rows.unmatched])
        workers = _types(home, file.data.worker_columns, cutting.workers, rows)
        firms = _types(rows.matched, file.data.firm_columns, cutting.firms, rows)
        worker_type = pd.Series(workers.of_row, home.index)
        firm_type = pd.Series(firms.of_row, rows.matched.index)
        for year, part in rows.years():
            at = MarketYear(run_path.name, file, part, workers, year, tables, defects)
            market = market_of_year(at)
            if market is not None:
                rows_used = part.matched.index
                samples.append(
                    TypedSample(
                        group,
                        year,
                        part,
                        workers,
                        firms,
                        worker_type.loc[rows_used].to_numpy(),
                        firm_type.loc[rows_used].to_numpy(),
                        worker_type.loc[part.unmatched.index].to_numpy(),
                        market,
                    )
                )
    if defects:
        raise InputError(defects)
    return samples, files


def _types(rows: pd.DataFrame, columns: list[str], cutting: Cutting, sample: Sample) -> Cells:
    values = rows[columns].to_numpy()
    weights = sample.weights_of(rows)
    if isinstance(cutting, CellKeys):
        return given_cells(label_texts(rows[cutting.cells]), values, weights)
    if cutting == "individual":
        return individual_cells(values, weights)
    count = cutting.quantiles if isinstance(cutting, QuantileKeys) else _DECILES
    return quantile_cells(values, weights, count)
