"""The affinity matrix from who works where: moment matching, a convex problem, without wages.

Of matched pairs drawn from ``log π(x,y) = x'Ay − a(x) − b(y)`` the cross moments ``E[x y']`` are
sufficient for ``A = Φ/λ``. With ``W(A) = max_π E_π[x'Ay] − E_π[log π]`` over the ``π`` that have
the sample's margins, the estimate minimises ``W(A) − Σ A·E[x y']``: the gradient is model minus
sample cross moments, the Hessian the Fisher information of a match (Dupuy and Galichon 2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimation.certificate import Certificate
from estimation.moment_matching import match_moments, matched_pairs, moment_gap


@dataclass(frozen=True)
class AffinityEstimate:
    """``A = Φ/λ`` with its Fisher covariance; without wages ``Φ`` and ``λ`` are not told apart."""

    affinity: np.ndarray  # A, (m, n), in log points per unit of x times unit of y
    covariance: np.ndarray  # of A's entries row by row, (mn, mn)
    sample_moments: np.ndarray  # E[(x − E x)(y − E y)'] in the sample, (m, n)
    model_moments: np.ndarray  # the same in the model, (m, n)
    observations: int  # N
    effective_observations: float  # (Σω)²/Σω² of the weights; N where they are equal
    skill_names: tuple[str, ...]
    characteristic_names: tuple[str, ...]
    certificate: Certificate

    @property
    def std_errors(self) -> np.ndarray:
        """Fisher standard errors of the entries of ``A``, ``(m, n)``."""
        return np.sqrt(np.diag(self.covariance)).reshape(self.affinity.shape)


def estimate_affinity(
    skills: Any,
    characteristics: Any,
    weights: Any = None,
    *,
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> AffinityEstimate:
    """Estimate ``A = Φ/λ`` from matched pairs: row ``i`` of both tables is one match.

    ``skills (N, m)`` and ``characteristics (N, n)`` may be in any units, which are those of ``A``;
    additive shifts do not matter. ``weights (N,)`` are sampling weights, positive; the covariance
    is ``H⁻¹`` over the effective number of matches, ``H`` the Fisher information of one match.
    Time and memory grow with the product of the numbers of distinct rows of the two tables, which
    are types. The certificate of the result says whether it is an optimum.

    Raises :class:`~matching.errors.InvalidInput` where a column is constant or columns are
    collinear (naming them), for wrong shapes, and for weights that are not positive.

    >>> import numpy as np
    >>> x = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    >>> y = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    >>> estimate = estimate_affinity(x, y)
    >>> float(estimate.affinity[0, 0].round(6))  # the log odds ratio, log(2·2/(1·1))
    1.386294
    """
    pairs = matched_pairs(
        skills, characteristics, weights, skill_names, characteristic_names
    )  # fmt: skip
    x, y, units = pairs.x, pairs.y, pairs.units
    affinity, iterations = match_moments(pairs)
    point = moment_gap(affinity, pairs)
    matching, information = point.matching, point.information(pairs)
    pi = np.exp(
        x @ affinity @ y.T
        - np.asarray(matching.multiplier_x)[:, None]
        - np.asarray(matching.multiplier_y)[None, :]
    )
    model = x.T @ pi @ y
    margins = [np.max(np.abs(pi.sum(axis) / mass - 1.0))
               for axis, mass in zip((1, 0), pairs.margins, strict=True)]  # fmt: skip
    eigenvalues = np.linalg.eigvalsh(information)
    scale = 1.0 / units.ravel()
    return AffinityEstimate(
        affinity=affinity / units,
        covariance=np.linalg.pinv(information, hermitian=True)
        * np.outer(scale, scale)
        / pairs.effective,
        sample_moments=pairs.moments * units,
        model_moments=model * units,
        observations=len(pairs.omega),
        effective_observations=pairs.effective,
        skill_names=pairs.skill_names,
        characteristic_names=pairs.characteristic_names,
        certificate=Certificate(
            gradient=float(np.max(np.abs(model - pairs.moments))),
            curvature=float(eigenvalues[0] / eigenvalues[-1]),
            margin_residual=float(np.max(margins)),
            iterations=iterations,
        ),
    )
