"""Types from microdata: which rows are alike enough to be one type, and what the type is like."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from matching import InvalidInput


@dataclass(frozen=True)
class Cells:
    """Types, each with the mean of its rows, and the rule by which further rows join them."""

    values: np.ndarray  # mean of each column over the rows of a type, (T, m)
    of_row: np.ndarray  # the type of each row, counting from 0, (N,)
    mass: np.ndarray  # weights of the rows of a type, summed, (T,)
    count: np.ndarray  # its rows, (T,)
    cuts: tuple[np.ndarray, ...] | None  # inner bounds per column; None: not made by quantiles

    def join(self, values: Any) -> np.ndarray:
        """The type of further rows ``(M, m)``: the one whose bounds they lie within.

        A row within the bounds of no type, and any row where types have no bounds, joins the type
        with the nearest values, column by column in units of their spread over types.
        """
        rows = _columns(values)
        spread = np.ptp(self.values, axis=0)
        unit = np.where(spread > 0, spread, 1.0)
        nearest = np.asarray(cKDTree(self.values / unit).query(rows / unit)[1])
        if self.cuts is None:
            return nearest
        own, places = _places(self.values, self.cuts), _places(rows, self.cuts)
        sizes = [len(column) + 1 for column in self.cuts]
        kind = np.full(np.prod(sizes), -1)
        kind[np.ravel_multi_index(own.T, sizes)] = np.arange(len(own))
        found = kind[np.ravel_multi_index(places.T, sizes)]
        return np.where(found >= 0, found, nearest)


def quantile_cells(values: Any, weights: Any = None, count: int = 10) -> Cells:
    """Types of equal mass: each column of ``values (N, m)`` is cut at its weighted quantiles.

    A value belongs to the cell of its mid-rank, the share of the mass below it and half of its
    own: equal values are never split. With several columns a type is a cell of the grid that
    holds rows.

    Raises :class:`~matching.errors.InvalidInput` for fewer than one cell.

    >>> quantile_cells([[4.0], [1.0], [3.0], [2.0]], count=2).values.tolist()
    [[1.5], [3.5]]
    """
    if count < 1:
        raise InvalidInput([f"count: {count} cells are asked for; make one at least"])
    rows, weight = _columns(values), _weights(values, weights)
    places, cuts = [], []
    for column in rows.T:
        distinct, of_row = np.unique(column, return_inverse=True)
        mass = np.bincount(of_row, weight)
        mid_rank = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
        cell = np.minimum((count * mid_rank).astype(int), count - 1)
        ends = np.flatnonzero(np.diff(cell))
        cuts.append(0.5 * (distinct[ends] + distinct[ends + 1]))
        places.append(np.unique(cell, return_inverse=True)[1][of_row])
    return _cells(np.column_stack(places), rows, weight, tuple(cuts))


def individual_cells(values: Any, weights: Any = None) -> Cells:
    """Every observation its own type; rows with the same ``values (N, m)`` are one.

    >>> individual_cells([[1.0], [2.0], [1.0]]).mass.tolist()
    [2.0, 1.0]
    """
    rows = _columns(values)
    return _cells(rows, rows, _weights(values, weights), None)


def given_cells(labels: Any, values: Any, weights: Any = None) -> Cells:
    """A user's own types: rows with the same ``labels (N,)``, in their sorted order.

    >>> given_cells(["b", "a", "b"], [[1.0], [2.0], [3.0]]).values.tolist()
    [[2.0], [2.0]]
    """
    places = np.unique(np.asarray(labels), return_inverse=True)[1]
    return _cells(places[:, None], _columns(values), _weights(values, weights), None)


def _cells(
    places: np.ndarray, rows: np.ndarray, weight: np.ndarray, cuts: tuple[np.ndarray, ...] | None
) -> Cells:
    """One type per distinct row of ``places``, in order."""
    kinds, of_row = np.unique(places, axis=0, return_inverse=True)
    of_row = of_row.ravel()
    mass, count = np.bincount(of_row, weight), np.bincount(of_row)
    # taken from a row of the type, so that equal values have that very value as their mean
    first = rows[np.unique(of_row, return_index=True)[1]]
    drift = [np.bincount(of_row, weight * c, len(kinds)) for c in (rows - first[of_row]).T]
    return Cells(first + np.column_stack(drift) / mass[:, None], of_row, mass, count, cuts)


def _places(rows: np.ndarray, cuts: tuple[np.ndarray, ...]) -> np.ndarray:
    """In which cell of each column rows lie, ``(N, m)``."""
    return np.column_stack([np.searchsorted(c, v) for c, v in zip(cuts, rows.T, strict=True)])


def _columns(values: Any) -> np.ndarray:
    rows = np.asarray(values, dtype=np.float64)
    return rows[:, None] if rows.ndim == 1 else rows


def _weights(values: Any, weights: Any) -> np.ndarray:
    return np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
