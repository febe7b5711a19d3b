"""The bootstrap: samples of clusters with replacement, and an estimate from each of them.

Clusters are those that label dependent rows, or the rows themselves.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from estimation.estimates import Bootstrap
from matching import InvalidInput


class Drawn(NamedTuple):
    """The estimate from one sample."""

    values: np.ndarray  # (P,)
    covariance: np.ndarray | None  # (P, P), where it is asked for
    met: bool  # whether it is an optimum


def numbered(clusters: Any, rows: int) -> np.ndarray:
    """Labels of clusters counting from 0, ``(N,)``; without any, each of the rows is one.

    Raises :class:`~matching.errors.InvalidInput` unless there is a label for every row, and two
    clusters at least: one alone does not tell how far another might be from it.
    """
    if clusters is None:
        return np.arange(rows)
    labels = np.asarray(clusters)
    if labels.shape != (rows,):
        raise InvalidInput([f"clusters: have shape {labels.shape} where ({rows},) is needed"])
    none = np.array([label is None or label != label for label in labels.tolist()], dtype=bool)
    if none.any():
        where = ", ".join(map(str, np.flatnonzero(none)[:3]))
        raise InvalidInput([f"clusters: {none.sum()} rows have no label, first row {where}; give "
                            "each one, its own to a row that depends on no other"])  # fmt: skip
    number = np.unique(labels, return_inverse=True)[1]
    if rows and not number.any():
        raise InvalidInput([f"clusters: all rows are of one, {str(labels[0])!r}, and no error or "
                            "bootstrap draw comes of one alone; leave clusters out, or "
                            "label smaller ones"])  # fmt: skip
    return number


def few_clusters(clusters: Any, parameters: int) -> tuple[str, ...]:
    """A sentence where clusters are too few for errors of so many parameters, else none."""
    count = parameters + 1 if clusters is None else len(np.unique(clusters))
    if count > parameters:
        return ()
    return (
        f"{count} clusters are too few for the errors of {parameters} parameters that allow for "
        "clusters, bootstrap draws included; label smaller ones if rows of different ones do not "
        "depend on each other",
    )


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
        except (np.linalg.LinAlgError, ValueError, InvalidInput):  # rows that leave it singular
            continue
        values[b], failed[b] = drawn.values, not drawn.met
        if drawn.covariance is not None:
            covariances[b] = drawn.covariance
    known = np.isfinite(covariances).any()
    return Bootstrap(values, failed, covariances=covariances if known else None)
