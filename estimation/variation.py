"""Which columns vary together, so that the data do not tell their coefficients apart."""

from collections.abc import Sequence

import numpy as np

# A combination of columns of norm one that is shorter than this is no variation.
_COLLINEAR = 1e-7


def collinear(columns: np.ndarray, names: Sequence[str]) -> list[str]:
    """The names of each set of columns ``(R, m)``, of one norm, that combine to nothing.

    >>> collinear(np.array([[0.6, 0.8, 0.6], [0.8, -0.6, 0.8]]), ["age", "size", "tenure"])
    ['age, tenure']
    """
    _, spread, directions = np.linalg.svd(np.linalg.qr(columns, mode="r"))
    spread = np.r_[spread, np.zeros(len(names) - len(spread))]
    groups = []
    for direction in directions[spread < _COLLINEAR]:
        part = np.abs(direction) > 1e-3 * np.max(np.abs(direction))
        groups.append(", ".join(name for name, inside in zip(names, part, strict=True) if inside))
    return groups
