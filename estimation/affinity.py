"""The affinity matrix from who works where: moment matching, a convex problem, without wages.

Of matched pairs drawn from ``log π(x,y) = x'Ay − a(x) − b(y)`` the cross moments ``E[x y']`` are
sufficient for ``A = Φ/λ``. With ``W(A) = max_π E_π[x'Ay] − E_π[log π]`` over the ``π`` that have
the sample's margins, the estimate minimises ``W(A) − Σ A·E[x y']``: the gradient is model minus
sample cross moments, the Hessian the Fisher information of a match (Dupuy and Galichon 2014).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse

from estimation.certificate import Certificate
from estimation.estimates import Estimates, Fit
from estimation.identification import identify
from estimation.moment_matching import (
    MatchedPairs,
    fisher_information,
    match_moments,
    matched_pairs,
    moment_gap,
)
from estimation.resampling import Drawn, bootstrap_rows, few_clusters, numbered
from matching import FixedMargins, InvalidInput

NO_WAGES = (
    "Without wages only Φ/λ is identified: the affinity matrix is in units of the taste scale λ."
)


def estimate_affinity(
    skills: Any,
    characteristics: Any,
    weights: Any = None,
    *,
    clusters: Any = None,
    draws: int = 0,
    studentised: bool = False,
    seed: int = 0,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> Estimates:
    """Estimate ``A = Φ/λ`` from matched pairs: row ``i`` of both tables is one match.

    ``skills (N, m)`` and ``characteristics (N, n)`` may be in any units, which are those of ``A``,
    in log points; additive shifts do not matter. ``weights (N,)`` are sampling weights, positive;
    ``clusters (N,)`` labels rows that are dependent. Covariances are ``information``, ``H⁻¹`` over
    the effective number of matches, ``H`` the Fisher information of one match, and ``sandwich``,
    which does not trust the model and allows for clusters. ``draws`` samples of clusters, or of
    rows, with replacement give the bootstrap; ``studentised`` gives each a sandwich of its own, for
    intervals by their ratio. ``seed`` is theirs. Time and memory grow with the product
    of the numbers of distinct rows of the two tables, which are types. The certificate of the
    result says whether it is an optimum.

    Raises :class:`~matching.errors.InvalidInput` where a column is constant or columns are
    collinear (naming them), for wrong shapes, and for weights that are not positive.

    >>> import numpy as np
    >>> x = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    >>> y = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    >>> estimate = estimate_affinity(x, y)
    >>> float(estimate.affinity()[0, 0].round(6))  # the log odds ratio, log(2·2/(1·1))
    1.386294
    """
    pairs = matched_pairs(
        skills, characteristics, weights, skill_names, characteristic_names
    )  # fmt: skip
    labels = numbered(clusters, len(pairs.omega))
    dependent = None if clusters is None else labels
    found = _optimum(pairs)
    covariances = _covariances(pairs, found, dependent)
    remarks = few_clusters(dependent, found.affinity.size)
    certificate = replace(found.certificate, remarks=remarks)
    estimates = of_affinity(
        pairs, found.affinity, found.model, found.information, certificate, covariances
    )
    if not draws:
        return estimates
    unit = pairs.units.ravel()

    def again(rows: np.ndarray, labels: np.ndarray) -> Drawn:
        sample = pairs.resampled(rows)
        drawn = _optimum(sample, found)
        covariance = None
        if studentised:
            within = None if clusters is None else labels
            covariance = _covariances(sample, drawn, within)["sandwich"] / np.outer(unit, unit)
        return Drawn(drawn.affinity.ravel() / unit, covariance, drawn.certificate.met)

    drawn = bootstrap_rows(again, labels, len(unit), draws, seed)
    return estimates.with_bootstrap(drawn)


def of_affinity(
    pairs: MatchedPairs,
    affinity: np.ndarray,
    model: np.ndarray,
    information: np.ndarray,
    certificate: Certificate,
    covariances: Mapping[str, np.ndarray],
) -> Estimates:
    """Results in the units of the data, from those in standard units.

    First-order errors are refused in the directions that ``information`` leaves open.
    """
    names = tuple(
        f"affinity.{x}.{y}" for x in pairs.skill_names for y in pairs.characteristic_names
    )
    bends, axes = np.linalg.eigh(information)
    jacobian = np.sqrt(np.maximum(bends, 0.0))[:, None] * axes.T
    identification = identify(jacobian, names, next(iter(covariances.values()), None))
    refused = np.isin(names, list(identification.names))
    scale = 1.0 / pairs.units.ravel()
    in_units = {kind: v * np.outer(scale, scale) for kind, v in covariances.items()}
    for covariance in in_units.values():
        covariance[refused], covariance[:, refused] = np.nan, np.nan
    return Estimates(
        names=names,
        values=(affinity / pairs.units).ravel(),
        units=("log points",) * len(names),
        start=np.zeros(len(names)),
        status=("free",) * len(names),
        covariances=in_units,
        fit=Fit(
            names=tuple(name.replace("affinity.", "covariance.", 1) for name in names),
            data=(pairs.moments * pairs.units).ravel(),
            model=(model * pairs.units).ravel(),
            weight=np.ones(len(names)),
            rows=np.full(len(names), len(pairs.omega)),
        ),
        certificate=replace(certificate, remarks=(*certificate.remarks, *identification.sentences)),
        identification=identification,
        observations=len(pairs.omega),
        effective_observations=pairs.effective,
        skill_names=pairs.skill_names,
        characteristic_names=pairs.characteristic_names,
        notes=(NO_WAGES,),
    )


@dataclass(frozen=True)
class _Optimum:
    """Where moments meet, in standard units."""

    affinity: np.ndarray  # (m, n)
    matching: FixedMargins
    model: np.ndarray  # cross moments, (m, n)
    information: np.ndarray
    of_x: np.ndarray  # derivatives of the multipliers in A, (N, mn)
    of_y: np.ndarray  # (J, mn)
    certificate: Certificate


def _optimum(pairs: MatchedPairs, near: _Optimum | None = None) -> _Optimum:
    """The optimum of a sample, from that of one like it or from zero, and what proves it."""
    x, y = pairs.x, pairs.y
    try:
        affinity, iterations = match_moments(
            pairs, (near.affinity, near.matching) if near else None
        )
    except (np.linalg.LinAlgError, ValueError) as error:  # of numbers that are not finite
        raise InvalidInput(
            [f"weights: the {len(pairs.omega)} matches count as {pairs.effective:.3g} of equal "
             "weight, and their affinity goes beyond what numbers hold; look for weights far "
             "beyond all others, and for types that match each other alone"]
        ) from error  # fmt: skip
    matching = moment_gap(affinity, pairs).matching
    information, of_x, of_y = map(np.asarray, fisher_information(matching.matches, x, y))
    pi = np.exp(
        x @ affinity @ y.T
        - np.asarray(matching.multiplier_x)[:, None]
        - np.asarray(matching.multiplier_y)[None, :]
    )
    model = x.T @ pi @ y
    margins = [np.max(np.abs(pi.sum(axis) - mass)[mass > 0] / mass[mass > 0])
               for axis, mass in zip((1, 0), pairs.margins, strict=True)]  # fmt: skip
    eigenvalues = np.linalg.eigvalsh(information)
    certificate = Certificate(
        gradient=float(np.max(np.abs(model - pairs.moments))),
        curvature=float(eigenvalues[0] / eigenvalues[-1]),
        margin_residual=float(np.max(margins)),
        iterations=iterations,
    )
    return _Optimum(affinity, matching, model, information, of_x, of_y, certificate)


def _covariances(pairs: MatchedPairs, found: _Optimum, clusters: Any) -> dict[str, np.ndarray]:
    """Of ``A`` in standard units: the inverse information, and the sandwich.

    The score of a match is ``x ⊗ y`` less functions of ``x`` and of ``y``, the response of the
    multipliers, since margins are those of the sample.
    """
    bread = np.linalg.pinv(found.information, hermitian=True)
    cell, of_cell = np.unique(pairs.of_x * len(pairs.y) + pairs.of_y, return_inverse=True)
    i, j = np.divmod(cell, len(pairs.y))
    score = (pairs.x[i, :, None] * pairs.y[j, None, :]).reshape(len(cell), -1) - found.of_x[i]
    score -= found.of_y[j]
    if clusters is None:
        score *= np.sqrt(np.bincount(of_cell, pairs.omega**2))[:, None]
    else:
        labels = numbered(clusters, len(pairs.omega))
        score = scipy.sparse.csr_array((pairs.omega, (labels, of_cell))) @ score
    return {
        "information": bread / pairs.effective,
        "sandwich": bread @ (score.T @ score) @ bread,
    }
