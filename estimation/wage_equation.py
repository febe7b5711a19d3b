"""The likelihood of matches and wages at a point, with its exact gradient and Hessian.

In the wage equation the multipliers ``a, b`` have mean zero; the constant takes up the rest.
Parameters in order: ``A``, the coefficients ``β`` of the wage equation, the variance ``s²``. Of
``β`` the last three are the scales ``λ_x, λ_y`` and the constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from estimation.basis import Basis, product
from estimation.pairs import PairMatching, match_pairs

SCALE_WORKER, SCALE_FIRM, CONSTANT = -3, -2, -1  # places in β


@dataclass(frozen=True)
class WageSample:
    """Wages and the terms of the wage equation; row ``i`` is worker ``i`` in job ``i``."""

    wages: np.ndarray  # (N,)
    of_workers: np.ndarray  # productivity's terms of workers alone, (N, M)
    of_jobs: np.ndarray  # amenities' terms of jobs alone, (N, L)
    u: np.ndarray  # workers' factor of each interaction, (N, K)
    v: np.ndarray  # jobs' factor, (N, K)
    productive: np.ndarray  # whether the interaction is one of productivity, (K,)
    both: np.ndarray  # whether it is one of amenities too, (K,)
    unit: np.ndarray  # the size of each interaction, (K,)

    def of_rows(self, rows: np.ndarray) -> "WageSample":
        """Some of the pairs, which may repeat."""
        columns = ("wages", "of_workers", "of_jobs", "u", "v")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    @property
    def z(self) -> np.ndarray:
        """The interactions of the observed pairs, ``(N, K)``."""
        return self.u * self.v


def make_sample(
    wages: np.ndarray,
    workers: Mapping[str, np.ndarray],
    jobs: Mapping[str, np.ndarray],
    basis: Basis,
) -> WageSample:
    """Multiply the columns of each term."""
    n = len(wages)

    def columns(factors: list[np.ndarray]) -> np.ndarray:
        return np.stack(factors, axis=1) if factors else np.zeros((n, 0))

    terms = basis.interactions
    of_workers = [t.workers for t in basis.productivity if not t.is_interaction]
    of_jobs = [t.jobs for t in basis.amenities if not t.is_interaction]
    u = columns([product(workers, t.workers, n) for t in terms])
    v = columns([product(jobs, t.jobs, n) for t in terms])
    return WageSample(
        wages=wages,
        of_workers=columns([product(workers, names, n) for names in of_workers]),
        of_jobs=columns([product(jobs, names, n) for names in of_jobs]),
        u=u,
        v=v,
        unit=np.sqrt(np.mean(u**2, axis=0) * np.mean(v**2, axis=0)),
        productive=np.array([t in basis.productivity for t in terms]),
        both=np.array([t in basis.productivity and t in basis.amenities for t in terms]),
    )


@dataclass(frozen=True)
class Point:
    """The likelihood at ``A``; all else is at its optimum, but for coefficients held fixed."""

    sample: WageSample
    interaction: np.ndarray  # A, (K,)
    matching: PairMatching
    design: np.ndarray  # terms of the wage equation, (N, P)
    beta: np.ndarray  # (P,)
    variance: float  # s²
    held: tuple[int, ...]  # places in β that are held

    def of_rows(self, rows: np.ndarray) -> "Point":
        """The likelihood of some of the pairs, which may repeat, at the same ``A``."""
        near = replace(self, matching=self.matching.of_rows(rows))
        return evaluate(self.sample.of_rows(rows), self.interaction, near)

    @property
    def residuals(self) -> np.ndarray:
        """Errors of the wage equation, ``(N,)``."""
        return self.sample.wages - self.design @ self.beta

    @property
    def objective(self) -> float:
        """``Σ log(N π_ii) − (N/2) log s²``."""
        return self.objective_of_matches - 0.5 * len(self.design) * float(np.log(self.variance))

    @property
    def objective_of_matches(self) -> float:
        """``Σ log(N π_ii)``, concave in ``A``."""
        log_pi = self.sample.z @ self.interaction - self.matching.a - self.matching.b
        return float(np.sum(log_pi + np.log(len(log_pi))))

    @property
    def scores_of_matches(self) -> np.ndarray:
        """Each pair's part of the gradient of ``Σ log(N π_ii)``, ``(N, K)``."""
        return self.sample.z - self.matching.da - self.matching.db

    @property
    def information_of_matches(self) -> np.ndarray:
        """Minus the Hessian of ``Σ log(N π_ii)``, ``(K, K)``."""
        n = len(self.design)
        return self.matching.curvature(np.ones(n), np.zeros(n))

    @cached_property
    def slopes(self) -> np.ndarray:
        """Derivatives of the predicted wage with respect to ``A`` and ``β``, ``(N, K + P)``."""
        return np.hstack([
            self.beta[SCALE_WORKER] * self._worker_slopes
            + self.beta[SCALE_FIRM] * self._firm_slopes,
            self.design,
        ])  # fmt: skip

    @property
    def _worker_slopes(self) -> np.ndarray:
        """Derivatives with respect to ``A`` of the term that ``λ_x`` multiplies."""
        return self.sample.z * self.sample.productive - self.matching.db

    @property
    def _firm_slopes(self) -> np.ndarray:
        return centred(self.matching.da) - self.sample.z * ~self.sample.productive

    @cached_property
    def scores(self) -> np.ndarray:
        """Each pair's part of the gradient, ``(N, K + P + 1)``."""
        e, s2 = self.residuals[:, None], self.variance
        scores = np.hstack([self.slopes * e / s2, 0.5 * (e**2 / s2 - 1.0) / s2])
        scores[:, : len(self.interaction)] += self.scores_of_matches
        return scores

    @cached_property
    def information(self) -> np.ndarray:
        """Minus the Hessian, ``(K + P + 1, K + P + 1)``."""
        e, s2, n = self.residuals, self.variance, len(self.residuals)
        k = len(self.interaction)
        hessian = np.zeros((k + len(self.beta) + 1,) * 2)
        hessian[:-1, :-1] = -self.slopes.T @ self.slopes / s2
        of_a = centred(e)[:, None]
        p, q = self.matching.response(self.beta[SCALE_FIRM] * of_a, -self.beta[SCALE_WORKER] * of_a)
        hessian[:k, :k] += self.matching.curvature(p[:, 0] / s2 - 1.0, q[:, 0] / s2)
        for place, slopes in ((SCALE_WORKER, self._worker_slopes), (SCALE_FIRM, self._firm_slopes)):
            cross = e @ slopes / s2
            hessian[:k, place - 1] += cross
            hessian[place - 1, :k] += cross
        of_variance = -self.slopes.T @ e / s2**2
        hessian[:-1, -1] = hessian[-1, :-1] = of_variance
        hessian[-1, -1] = 0.5 * n / s2**2 - e @ e / s2**3
        return -hessian

    def concentrated(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian in ``A`` and the held coefficients, all else at its optimum."""
        k, p = len(self.interaction), len(self.beta)
        kept = [*range(k), *(k + place % p for place in self.held)]
        gone = [i for i in range(k + p + 1) if i not in kept]
        inner = self.information[np.ix_(gone, gone)]
        cross = self.information[np.ix_(gone, kept)]
        outer = self.information[np.ix_(kept, kept)]
        return self.scores.sum(0)[kept], cross.T @ inverse(inner) @ cross - outer


def evaluate(
    sample: WageSample,
    interaction: np.ndarray,
    near: Point | None = None,
    held: Mapping[int, float] | None = None,
) -> Point:
    """The likelihood at ``A``, with ``β`` by least squares but for the places ``held``."""
    matching = match_pairs(interaction, sample.u, sample.v, near.matching if near else None)
    az = sample.z * interaction
    design = np.column_stack([
        sample.of_workers,
        -sample.of_jobs,
        -sample.z[:, sample.both],
        az[:, sample.productive].sum(1) - matching.b,
        centred(matching.a) - az[:, ~sample.productive].sum(1),
        np.ones(len(az)),
    ])  # fmt: skip
    beta = np.zeros(design.shape[1])
    for place, value in (held or {}).items():
        beta[place] = value
    places = [place % len(beta) for place in held or ()]
    free = [i for i in range(len(beta)) if i not in places]
    unit = np.maximum(np.sqrt(np.sum(design[:, free] ** 2, axis=0)), 1e-300)
    gap = sample.wages - design @ beta
    beta[free] = np.linalg.lstsq(design[:, free] / unit, gap, rcond=None)[0] / unit
    residuals = sample.wages - design @ beta
    return Point(
        sample, interaction, matching, design, beta, float(np.mean(residuals**2)), tuple(held or ())
    )


def centred(values: np.ndarray) -> np.ndarray:
    """Columns less their means."""
    return values - values.mean(0)


def inverse(information: np.ndarray) -> np.ndarray:
    """The inverse of a symmetric matrix, without the directions in which it is flat."""
    scale = sizes(information)
    return np.linalg.pinv(information / scale, hermitian=True) / scale


def sizes(information: np.ndarray) -> np.ndarray:
    """Of the entries, by the diagonal: one where it is zero, as of a term that does not vary."""
    unit = np.sqrt(np.abs(np.diag(information)))
    unit = np.where(unit > 0, unit, 1.0)
    return np.outer(unit, unit)
