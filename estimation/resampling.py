"""The bootstrap: samples of clusters with replacement, and an estimate from each of them.

Clusters are those that label dependent rows, or the rows themselves.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from estimation.estimates import Bootstrap


class Drawn(NamedTuple):
    """The estimate from one sample."""

    values: np.ndarray  # (P,)
    covariance: np.ndarray | None  # (P, P), where it is asked for
    met: bool  # whether it is an optimum


def numbered(clusters: Any, rows: int) -> np.ndarray:
    """Labels of clusters counting from 0, ``(N,)``; without any, each of the rows is one."""
    if clusters is None:
        return np.arange(rows)
    return np.unique(np.asarray(clusters), return_inverse=True)[1]


def times_drawn(clusters: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of so many clusters is in each sample of as many, ``(C,)`` a draw."""
    rng = np.random.default_rng([seed, *b"bootstrap"])
    for _ in range(draws):
        yield np.bincount(rng.integers(0, clusters, clusters), minlength=clusters)


def counted_drawn(counted: np.ndarray, std_errors: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Numbers that were counted apart, with normal errors of theirs in each draw, ``(B, K)``."""
    noise = np.random.default_rng([seed, *b"aggregates"]).normal(size=(draws, len(std_errors)))
    return counted + noise * std_errors


def bootstrap_rows(
    estimate: Callable[[np.ndarray, np.ndarray], Drawn],
    labels: np.ndarray,
    parameters: int,
    draws: int,
    seed: int,
) -> Bootstrap:
    """Estimates from the rows of each sample and the labels of their clusters, one by one.

    ``labels (N,)`` are those of the rows that there are; each copy of a cluster is one of its own.
    """
    clusters = int(labels.max()) + 1
    values, failed = np.full((draws, parameters), np.nan), np.ones(draws, dtype=bool)
    covariances = np.full((draws, parameters, parameters), np.nan)
    for b, times in enumerate(times_drawn(clusters, draws, seed)):
        copies = times[labels]
        rows = np.repeat(np.arange(len(labels)), copies)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
        try:
            drawn = estimate(rows, labels[rows] + clusters * number)
        except (np.linalg.LinAlgError, ValueError):  # rows that leave a matrix singular
            continue
        values[b], failed[b] = drawn.values, not drawn.met
        if drawn.covariance is not None:
            covariances[b] = drawn.covariance
    known = np.isfinite(covariances).any()
    return Bootstrap(values, failed, covariances=covariances if known else None)
