"""Moments by name: what the model says they are, and what a sample says with its covariance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse

from estimation.resampling import counted_drawn, numbered, times_drawn
from matching import STATISTICS, Economy, Equilibrium, InvalidInput
from matching.errors import did_you_mean
from matching.statistics import (
    mean_wage_by_firm,
    mean_wage_by_worker,
    offshoring_share_by_firm,
    unemployment_by_worker,
)


def cross_moments(eq: Equilibrium) -> jax.Array:
    """``E[x y']`` over home matches, ``(m, n)``."""
    pi = eq.matches[0]
    return eq.economy.home.skills.T @ pi @ eq.economy.firms.characteristics / pi.sum()


def sd_wage_by_worker(eq: Equilibrium) -> jax.Array:
    """Standard deviation of home wages within each worker type, without errors, ``(N,)``."""
    share = eq.matches[0] / eq.matches[0].sum(1, keepdims=True)
    wages = eq.wages[0]
    mean = jnp.sum(share * wages, axis=1, keepdims=True)
    return jnp.sqrt(jnp.sum(share * (wages - mean) ** 2, axis=1))


def share_by_worker(eq: Equilibrium) -> jax.Array:
    """Shares of worker types among home matches, ``(N,)``."""
    return eq.matches[0].sum(1) / eq.matches[0].sum()


def share_by_firm(eq: Equilibrium) -> jax.Array:
    """Shares of firm types among home matches, ``(J,)``."""
    return eq.matches[0].sum(0) / eq.matches[0].sum()


def profit_ratio(eq: Equilibrium) -> jax.Array:
    """``E(r*)/E(r)``, one where firms are indifferent between hiring at home and abroad."""
    return STATISTICS["mean_profit_foreign"](eq) / STATISTICS["mean_profit_home"](eq)


MOMENTS: dict[str, Callable[[Equilibrium], jax.Array]] = {
    "cross_moments": cross_moments,
    "mean_wage_by_worker": lambda eq: mean_wage_by_worker(eq)[0],
    "mean_wage_by_firm": mean_wage_by_firm,
    "sd_wage_by_worker": sd_wage_by_worker,
    "unemployment_by_worker": lambda eq: unemployment_by_worker(eq)[0],
    "offshoring_share_by_firm": offshoring_share_by_firm,
    "profit_ratio": profit_ratio,
    "share_by_worker": share_by_worker,
    "share_by_firm": share_by_firm,
    "mass_of_workers": lambda eq: eq.economy.home.mass.sum(),
    "mass_of_firms": lambda eq: eq.economy.firms.mass.sum(),
} | STATISTICS
_DEFAULT = ("cross_moments", "mean_wage_by_worker", "mean_wage_by_firm", "unemployment_by_worker")
SHARES = ("share_by_worker", "share_by_firm")
SAMPLED = (*_DEFAULT, *SHARES)


@dataclass(frozen=True)
class SampleMoments:
    """Moments of a sample, flattened in the order of ``data``, with their covariance."""

    data: Mapping[str, np.ndarray]
    covariance: np.ndarray  # (M, M)
    observations: int
    rows: np.ndarray | None = None  # behind each moment, (M,); all of them where None
    effective_observations: float | None = None  # (Σω)²/Σω² of the weights
    draws: np.ndarray | None = None  # from samples with replacement, (B, M)
    draw_covariances: np.ndarray | None = None  # of the moments of each of those, (B, M, M)

    def with_counted(
        self, values: Mapping[str, float], std_errors: Mapping[str, float], seed: int = 0
    ) -> "SampleMoments":
        """The same with numbers that were counted apart, each with an error of its own.

        Draws have them with normal errors.
        """
        errors = np.array([std_errors[name] for name in values])
        counted = np.array(list(values.values()))
        draws, covariances = self.draws, self.draw_covariances
        if draws is not None:
            draws = np.hstack([draws, counted_drawn(counted, errors, len(draws), seed)])
        variances = np.diag(errors**2)
        if covariances is not None:
            covariances = np.stack([scipy.linalg.block_diag(v, variances) for v in covariances])
        rows = np.full(len(self.covariance), self.observations) if self.rows is None else self.rows
        return replace(
            self,
            data=dict(self.data) | {name: np.array(value) for name, value in values.items()},
            covariance=scipy.linalg.block_diag(self.covariance, variances),
            rows=np.r_[rows, np.full(len(errors), self.observations)],
            draws=draws,
            draw_covariances=covariances,
        )


def moment_defects(names: Sequence[str]) -> list[str]:
    """What is wrong with names of moments."""
    return [
        f"moment {name!r} does not exist{did_you_mean(name, MOMENTS)}"
        for name in names
        if name not in MOMENTS
    ]


def labels(economy: Economy, name: str, shape: tuple[int, ...]) -> list[str]:
    """A name for each entry of a moment."""
    if not shape:
        return [name]
    if name == "cross_moments":
        return [
            f"{name}.{x}.{y}" for x in economy.skill_names for y in economy.characteristic_names
        ]
    return [f"{name}.{k}" for k in range(int(np.prod(shape)))]


def sample_moments(
    skills: Any,
    characteristics: Any,
    worker_type: Any,
    firm_type: Any,
    wages: Any,
    weights: Any = None,
    *,
    clusters: Any = None,
    moments: Sequence[str] = _DEFAULT,
    draws: int = 0,
    studentised: bool = False,
    seed: int = 0,
) -> SampleMoments:
    """Moments of home workers with the covariance of a sample of rows, or of clusters of rows.

    ``skills (N, m)`` and ``characteristics (J, n)`` are the types; a row is a worker, its
    ``firm_type`` is −1 and its wage is of no account where it is unmatched. Every moment is a
    ratio of means, ``Σ u/Σ v`` over rows, whose influence function is ``(u − (Σu/Σv) v)/Σv``.
    ``draws`` samples of clusters, or of rows, with replacement give moments of their own, and if
    ``studentised`` covariances, for the bootstrap of what is estimated from them.

    Raises :class:`~matching.errors.InvalidInput` for moments that rows do not have and for types
    without matches.

    >>> found = sample_moments([0.0, 1.0], [0.0, 1.0], [0, 0, 1, 1], [0, 1, 0, 1],
    ...                        [1.0, 0.0, 2.0, 3.0], moments=["mean_wage_by_worker"])
    >>> found.data["mean_wage_by_worker"].tolist(), found.covariance.diagonal().tolist()
    ([0.5, 2.5], [0.125, 0.125])
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (skills, characteristics))
    x, y = (v[:, None] if v.ndim == 1 else v for v in (x, y))
    workers, firms = (np.asarray(v, dtype=np.int64) for v in (worker_type, firm_type))
    weight = np.ones(len(workers)) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = weight / weight.sum()
    unknown = [name for name in moments if name not in SAMPLED]
    if unknown:
        raise InvalidInput(
            [f"moment {name!r}: rows do not have it; there is {', '.join(SAMPLED)}"
             for name in unknown]
        )  # fmt: skip
    matched = firms >= 0
    wage = np.where(matched, np.asarray(wages, dtype=np.float64), 0.0)
    of_worker = workers[:, None] == np.arange(len(x))
    of_firm = firms[:, None] == np.arange(len(y))
    products = (x[workers][:, :, None] * y[np.where(matched, firms, 0)][:, None, :]).reshape(
        len(workers), -1
    )
    ratios = {  # numerator and denominator of each row
        "cross_moments": (
            products * matched[:, None],
            np.tile(matched[:, None], products.shape[1]),
        ),
        "mean_wage_by_worker": (of_worker * wage[:, None], of_worker & matched[:, None]),
        "mean_wage_by_firm": (of_firm * wage[:, None], of_firm),
        "unemployment_by_worker": (of_worker & ~matched[:, None], of_worker),
        "share_by_worker": (of_worker & matched[:, None], np.tile(matched[:, None], len(x))),
        "share_by_firm": (of_firm, np.tile(matched[:, None], len(y))),
    }
    numbers = np.arange(len(workers))
    mass = scipy.sparse.csr_array((weight, (numbered(clusters, len(workers)), numbers)))
    parts = [np.hstack([ratios[name][k] for name in moments]) for k in (0, 1)]
    u, v = (mass @ scipy.sparse.csr_array(part, dtype=float) for part in parts)  # of clusters

    def moments_of(times: np.ndarray) -> np.ndarray:
        """With each cluster so many times; NaN for a type that is in none of them."""
        with np.errstate(invalid="ignore"):
            return np.asarray((times @ u) / (times @ v))

    def covariance_of(times: np.ndarray, ratio: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            influence = (u - v * ratio).toarray() / (times @ v)
        return np.asarray(influence.T @ (times[:, None] * influence))

    once = np.ones(mass.shape[0])
    ends = np.cumsum([ratios[name][1].shape[1] for name in moments])[:-1]
    for name, total in zip(moments, np.split(once @ v, ends), strict=True):
        if not np.all(total > 0):
            empty = ", ".join(map(str, np.flatnonzero(~(total > 0))[:5]))
            raise InvalidInput(
                [f"moment {name}: no row has type {empty}; merge it or leave it out"]
            )
    found = moments_of(once)
    data = dict(zip(moments, np.split(found, ends), strict=True))
    if "cross_moments" in data:
        data["cross_moments"] = data["cross_moments"].reshape(x.shape[1], y.shape[1])
    drawn, covariances = [], []
    for times in times_drawn(len(once), draws, seed):
        drawn.append(moments_of(times))
        if studentised:
            covariances.append(covariance_of(times, drawn[-1]))
    return SampleMoments(
        data=data,
        covariance=covariance_of(once, found),
        rows=parts[1].sum(0),
        observations=len(workers),
        effective_observations=float(1.0 / np.sum(weight**2)),
        draws=np.stack(drawn) if drawn else None,
        draw_covariances=np.stack(covariances) if covariances else None,
    )
