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


def bootstrap_rows(
    estimate: Callable[[np.ndarray, np.ndarray], Drawn], labels: np.ndarray, draws: int, seed: int
) -> Bootstrap:
    """Estimates from the rows of each sample and the labels of their clusters, one by one.

    ``labels (N,)`` are those of the rows that there are; each copy of a cluster is one of its own.
    """
    clusters = int(labels.max()) + 1
    found = []
    for times in times_drawn(clusters, draws, seed):
        copies = times[labels]
        rows = np.repeat(np.arange(len(labels)), copies)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
        found.append(estimate(rows, labels[rows] + clusters * number))
    covariances = [one.covariance for one in found if one.covariance is not None]
    return Bootstrap(
        values=np.stack([one.values for one in found]),
        failed=np.array([not one.met for one in found]),
        covariances=np.stack(covariances) if covariances else None,
    )
