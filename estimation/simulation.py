"""Matched data drawn from an equilibrium: workers of every origin, their firms and their wages."""

from dataclasses import dataclass

import numpy as np

from matching import Equilibrium, InvalidInput

# Firms' sizes follow a Pareto law, as register data do (Axtell 2001), cut at the largest.
_PARETO = 1.06
_LARGEST = 5_000


@dataclass(frozen=True)
class SimulatedMatches:
    """One entry per worker; types count from 0 within their side, and −1 means unmatched."""

    origin: np.ndarray  # index of the worker's origin, (N,)
    worker_type: np.ndarray  # (N,)
    firm_type: np.ndarray  # (N,), −1 for the unmatched
    firm: np.ndarray  # which firm, (N,), −1 for the unmatched; a firm has one type
    wage: np.ndarray  # money, error included, (N,), NaN for the unmatched


def simulate_matches(
    equilibrium: Equilibrium, workers: int, seed: int, *, wage_error: float = 0.0
) -> SimulatedMatches:
    """Draw ``workers`` home workers, and those of other origins in proportion to their mass.

    Each worker's type and match are one draw from ``(π, f0)/|f̄|`` of the origin. Hires of a firm
    type are spread over firms whose sizes follow a Pareto law. ``wage_error`` is the standard
    deviation of a normal error on wages, money.

    Raises :class:`~matching.errors.InvalidInput` for a number of workers that is not positive or a
    negative error.

    >>> from matching import make_economy, make_firms, make_origin, solve_equilibrium
    >>> home = make_origin([0.0, 1.0], [0.5, 0.5], constant=2.0)
    >>> economy = make_economy([home], make_firms([0.0, 1.0], [0.5, 0.5]), affinity=1.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> simulate_matches(solve_equilibrium(economy), 1000, seed=1).wage.shape
    (1000,)
    """
    defects = []
    if not workers > 0:
        defects.append(f"workers: {workers} are asked for; draw one at least")
    if not (np.isfinite(wage_error) and wage_error >= 0):
        defects.append(f"wage_error: is {wage_error!r}; a standard deviation is zero or positive")
    if defects:
        raise InvalidInput(defects)
    economy = equilibrium.economy
    home_mass = float(economy.home.mass.sum())
    parts = []
    for k, origin in enumerate(economy.origins):
        count = round(workers * float(origin.mass.sum()) / home_mass)
        wages = np.asarray(equilibrium.wages[k])
        cells = np.column_stack([equilibrium.matches[k], equilibrium.unmatched[k]])
        rng = _generator(seed, f"matches of {origin.name}")
        drawn = rng.multinomial(count, cells.ravel() / cells.sum())
        rows = rng.permutation(np.repeat(np.arange(cells.size), drawn))
        worker_type, firm_type = np.divmod(rows, cells.shape[1])
        matched = firm_type < wages.shape[1]
        wage = np.where(matched, wages[worker_type, np.where(matched, firm_type, 0)], np.nan)
        parts.append((np.full(count, k), worker_type, np.where(matched, firm_type, -1), wage))
    origins, worker_types, firm_types, wage = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    error = _generator(seed, "errors of wages").normal(0.0, 1.0, len(wage))
    return SimulatedMatches(
        origin=origins,
        worker_type=worker_types,
        firm_type=firm_types,
        firm=_firms(firm_types, _generator(seed, "firms")),
        wage=wage + wage_error * error,
    )


def _firms(firm_types: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A firm for every match: each type's hires, in random order, fill firm after firm."""
    firm = np.full(len(firm_types), -1)
    first = 0
    for kind in np.unique(firm_types[firm_types >= 0]):
        hires = rng.permutation(np.flatnonzero(firm_types == kind))
        # as many draws as hires are surely enough, every size being one at least
        sizes = np.minimum(np.floor((1.0 - rng.random(len(hires))) ** (-1.0 / _PARETO)), _LARGEST)
        ends = np.cumsum(sizes)
        which = np.searchsorted(ends, np.arange(len(hires)), side="right")
        firm[hires] = first + which
        first += which[-1] + 1
    return firm


def _generator(seed: int, name: str) -> np.random.Generator:
    """Its own stream of random numbers for each purpose: one more never moves another."""
    return np.random.default_rng([seed, *name.encode()])
