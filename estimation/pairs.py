"""The matching of N workers and N jobs and its exact derivatives, on the types among them.

``log π_ij = Σ_k A_k u_ik v_jk − a_i − b_j`` with margins ``1/N``: ``T = Nπ`` has rows and columns
that sum to one. Workers with equal ``u``, and jobs with equal ``v``, are alike in all of it: a
matching of types holds everything, however many they are. A change of anything moves the
multipliers by the solution of ``p + T q = r_x, T'p + q = r_y``, found by conjugate gradients:
products with ``T``, never a factorisation of it.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from estimation.moment_matching import distinct_rows
from matching import solve_fixed_margins

# Relative to the right-hand side; the conditions of an optimum are asked to 1e-8.
_SOLVE_TOLERANCE = 1e-12


class Types(NamedTuple):
    """The distinct rows of one side's factors."""

    factors: np.ndarray  # (n, K)
    of: np.ndarray  # each one's type, (N,)
    number: np.ndarray  # how many are of each, (n,); of rows drawn from others, none may be

    @property
    def size(self) -> np.ndarray:
        """``number`` to divide by: one where there is none, whose sums are zero."""
        return np.maximum(self.number, 1.0)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over each type, from ``(N, R)`` to ``(n, R)``."""
        total = np.zeros((len(self.number), values.shape[1]))
        np.add.at(total, self.of, values)
        return total / self.size[:, None]

    def of_rows(self, rows: np.ndarray) -> "Types":
        """The same types with some of the rows, which may repeat."""
        of = self.of[rows]
        return Types(self.factors, of, np.bincount(of, minlength=len(self.number)).astype(float))


@dataclass(frozen=True)
class PairMatching:
    """The matching at ``A`` and how its multipliers move with ``A``; ``mean b = 0``."""

    workers: Types
    jobs: Types
    interaction: np.ndarray  # A, (K,)
    chance: np.ndarray  # of each job type for a worker of each type, (n, m)
    type_a: np.ndarray  # multipliers over λ, (n,)
    type_b: np.ndarray  # (m,)
    type_da: np.ndarray  # ∂a/∂A, (n, K)
    type_db: np.ndarray  # (m, K)
    margin_residual: float  # largest relative error of any margin, recomputed from a and b

    @property
    def a(self) -> np.ndarray:
        """Workers' multipliers over ``λ``, ``(N,)``."""
        return self.type_a[self.workers.of]

    @property
    def b(self) -> np.ndarray:
        """Jobs' multipliers over ``λ``, ``(N,)``."""
        return self.type_b[self.jobs.of]

    @property
    def da(self) -> np.ndarray:
        """``∂a/∂A``, ``(N, K)``."""
        return self.type_da[self.workers.of]

    @property
    def db(self) -> np.ndarray:
        """``∂b/∂A``, ``(N, K)``."""
        return self.type_db[self.jobs.of]

    def of_rows(self, rows: np.ndarray) -> "PairMatching":
        """The types of some of the pairs, which may repeat, at the multipliers of all."""
        return replace(self, workers=self.workers.of_rows(rows), jobs=self.jobs.of_rows(rows))

    @property
    def mean_interactions(self) -> np.ndarray:
        """The mean of ``u_k v_k`` over matches, ``(K,)``."""
        u, v = self.workers.factors, self.jobs.factors
        return np.average(u * (self.chance @ v), axis=0, weights=self.workers.number)

    def response(self, r_x: np.ndarray, r_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``p, q`` with ``p + T q = r_x``, ``T'p + q = r_y``, ``mean q = 0``; columns ``(N, R)``.

        There is a solution where ``r_x`` and ``r_y`` have the same mean.
        """
        mean_x, mean_y = self.workers.mean(r_x), self.jobs.mean(r_y)
        p, q = _response(self.chance, self.workers, self.jobs, mean_x, mean_y)
        # T sees of each type its mean alone; what one differs from that by is its own
        return (
            r_x + (p - mean_x)[self.workers.of],
            r_y + (q - mean_y)[self.jobs.of],
        )

    def curvature(self, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        """``Σ_ij T_ij (p_i + q_j) d_k d_l`` with ``d = ∂ log π/∂A``, ``(K, K)``.

        ``p, q`` is the response to ``r``: this is then ``Σ r_x ∂²a + Σ r_y ∂²b``. With ``p = 1``
        and ``q = 0`` it is ``N`` times the Fisher information of a match.
        """
        u, v = self.workers.factors, self.jobs.factors
        p, q = self.workers.mean(p[:, None]), self.jobs.mean(q[:, None])
        count = u.shape[1]
        # d_k = u_k v_k − da_k − db_k: three products of a worker's and a job's number
        of_workers = np.stack([u, -self.type_da, -np.ones_like(u)])  # (3, n, K)
        of_jobs = np.hstack([v, np.ones((len(v), 1)), self.type_db])
        places = np.array([[k, count, count + 1 + k] for k in range(count)])
        first, second = np.triu_indices(of_jobs.shape[1])
        products = of_jobs[:, first] * of_jobs[:, second]
        weighted = p * (self.chance @ products) + self.chance @ (q * products)
        weighted *= self.workers.number[:, None]
        column = np.zeros((of_jobs.shape[1],) * 2, dtype=int)
        column[first, second] = column[second, first] = np.arange(len(first))
        total = np.zeros((count, count))
        for k, m in zip(*np.triu_indices(count), strict=True):
            columns = weighted[:, column[np.ix_(places[k], places[m])]]  # (n, 3, 3)
            total[k, m] = total[m, k] = np.einsum(
                "ai,bi,iab->", of_workers[:, :, k], of_workers[:, :, m], columns
            )
        return total


def match_pairs(
    interaction: np.ndarray, u: np.ndarray, v: np.ndarray, near: PairMatching | None = None
) -> PairMatching:
    """Match workers ``u (N, K)`` and jobs ``v (N, K)`` at ``A (K,)``; ``near`` saves sweeps."""
    if near is None:
        workers, jobs = _types(u), _types(v)
        b = np.zeros(len(jobs.number))
    else:  # of the same workers and jobs
        workers, jobs = near.workers, near.jobs
        change = interaction - near.interaction
        b = near.type_b + near.type_db @ change
    log_x, log_y = np.log(workers.size), np.log(jobs.size)
    log_affinity = jnp.asarray(workers.factors * interaction) @ jnp.asarray(jobs.factors).T
    solution = solve_fixed_margins(
        log_affinity, workers.number / len(u), jobs.number / len(v), "ipfp", max_iter=2000,
        throw=False, start=jnp.asarray(b - log_y),
    )  # fmt: skip
    # of one worker and one job, not of all of their types; of types of none it is infinite
    a, b = (
        np.where(types.number > 0, multiplier, 0.0) + log
        for types, multiplier, log in (
            (workers, solution.multiplier_x, log_x), (jobs, solution.multiplier_y, log_y),
        )
    )  # fmt: skip
    mean_b = jobs.number @ b / len(v)
    a, b = a + mean_b, b - mean_b
    chance = np.asarray(_chance(log_affinity, a - np.log(len(u)), b - log_y))
    chance = chance * np.outer(workers.number > 0, jobs.number > 0)
    of_jobs = workers.number @ chance / jobs.size
    residual = max(
        float(np.max(np.abs(total - 1.0)[types.number > 0]))
        for types, total in ((workers, chance.sum(1)), (jobs, of_jobs))
    )
    r_x = workers.factors * (chance @ jobs.factors)
    of_workers = chance.T @ (workers.number[:, None] * workers.factors) / jobs.size[:, None]
    da, db = _response(chance, workers, jobs, r_x, jobs.factors * of_workers)
    return PairMatching(workers, jobs, interaction, chance, a, b, da, db, residual)


def _types(factors: np.ndarray) -> Types:
    distinct, of = distinct_rows(factors)
    return Types(distinct, of, np.bincount(of).astype(float))


@jax.jit
def _chance(log_affinity: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.exp(log_affinity - a[:, None] - b[None, :])


def _response(
    chance: np.ndarray, workers: Types, jobs: Types, r_x: np.ndarray, r_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The response of types; with the root of each type's count as its unit it is symmetric."""
    unit_x, unit_y = np.sqrt(workers.size)[:, None], np.sqrt(jobs.size)[:, None]
    level = np.sqrt(jobs.number / jobs.number.sum())[:, None]
    p, q = _conjugate_gradients(unit_x * chance / unit_y.T, level, unit_x * r_x, unit_y * r_y)
    return np.asarray(p) / unit_x, np.asarray(q) / unit_y


@jax.jit
def _conjugate_gradients(
    share: jax.Array, level: jax.Array, r_x: jax.Array, r_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def schur(q: jax.Array) -> jax.Array:
        return q - share.T @ (share @ q) + level @ (level.T @ q)

    q, _ = jax.scipy.sparse.linalg.cg(schur, r_y - share.T @ r_x, tol=_SOLVE_TOLERANCE, maxiter=500)
    return r_x - share @ q, q
