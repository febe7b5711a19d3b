"""Units of the columns of a sample: means and standard deviations taken out, and kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from matching import InvalidInput

# "none" leaves columns as they are; ddof counts the degrees of freedom that the mean uses up
STANDARDISATIONS = ("ddof1", "ddof0", "none")
# Standard deviations of no more than this part of the largest value are rounding.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Standardised:
    """Columns ``(value − centre)/unit`` and what was taken out of them."""

    values: np.ndarray  # (N, m)
    centre: np.ndarray  # (m,)
    unit: np.ndarray  # (m,)


def standardise(values: Any, weights: Any = None, how: str = "ddof1") -> Standardised:
    """Take weighted means and standard deviations out of columns ``(N, m)``.

    A column that varies by rounding alone is zero, and so is its unit. With shares
    ``ω = weights/Σ weights`` the variance is ``Σ ω (v − mean)²/(1 − ddof Σ ω²)``: the usual
    ``N − ddof`` for equal weights. Raises ``InvalidInput`` for an unknown ``how``.

    >>> standardise([[1.0], [3.0]], how="ddof0").values.tolist()
    [[-1.0], [1.0]]
    """
    if how not in STANDARDISATIONS:
        raise InvalidInput([f"standardise: {how!r} is unknown; choose from {STANDARDISATIONS}"])
    values = np.asarray(values, dtype=np.float64)
    columns = values.shape[1]
    if how == "none":
        return Standardised(values, np.zeros(columns), np.ones(columns))
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    omega = weights / weights.sum()
    centre = omega @ values
    freedom = 1.0 - (np.sum(omega**2) if how == "ddof1" else 0.0)
    unit = np.sqrt(omega @ (values - centre) ** 2 / freedom)
    unit = np.where(unit <= _CONSTANT * np.abs(values).max(0), 0.0, unit)
    return Standardised(in_units(values, centre, unit), centre, unit)


def in_units(values: Any, centre: Any, unit: Any) -> Any:
    """``(values − centre)/unit``, zero where the unit is, but for what is no number."""
    centred = values - centre
    return np.where(unit > 0, centred / np.where(unit > 0, unit, 1.0), 0.0 * centred)
