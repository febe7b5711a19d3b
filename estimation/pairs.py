"""The matching of N workers and N jobs, each its own type, and its exact derivatives.

``log π_ij = Σ_k A_k u_ik v_jk − a_i − b_j`` with margins ``1/N``: ``T = Nπ`` has rows and columns
that sum to one. A change of anything moves the multipliers by the solution of
``p + T q = r_x, T'p + q = r_y``, found by conjugate gradients: products with ``T``, never a
factorisation of it.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matching import solve_fixed_margins

# Relative to the right-hand side; the conditions of an optimum are asked to 1e-8.
_SOLVE_TOLERANCE = 1e-12


@dataclass(frozen=True)
class PairMatching:
    """The matching at ``A`` and how its multipliers move with ``A``; ``mean b = 0``."""

    u: np.ndarray  # workers' factor of each interaction, (N, K)
    v: np.ndarray  # jobs' factor, (N, K)
    interaction: np.ndarray  # A, (K,)
    share: np.ndarray  # T = Nπ, (N, N)
    a: np.ndarray  # multipliers over λ, (N,)
    b: np.ndarray
    da: np.ndarray  # ∂a/∂A, (N, K)
    db: np.ndarray
    margin_residual: float  # largest relative error of any margin, recomputed from a and b

    def response(self, r_x: np.ndarray, r_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``p, q`` with ``p + T q = r_x``, ``T'p + q = r_y``, ``mean q = 0``; columns ``(N, R)``.

        There is a solution where ``r_x`` and ``r_y`` have the same mean.
        """
        return _response(self.share, r_x, r_y)

    def curvature(self, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        """``Σ_ij T_ij (p_i + q_j) d_k d_l`` with ``d = ∂ log π/∂A``, ``(K, K)``.

        ``p, q`` is the response to ``r``: this is then ``Σ r_x ∂²a + Σ r_y ∂²b``. With ``p = 1``
        and ``q = 0`` it is ``N`` times the Fisher information of a match.
        """
        n, count = self.u.shape
        # d_k = u_k v_k − da_k − db_k: three products of a worker's and a job's number
        of_workers = np.stack([self.u, -self.da, -np.ones_like(self.u)])  # (3, N, K)
        of_jobs = np.hstack([self.v, np.ones((n, 1)), self.db])
        places = np.array([[k, count, count + 1 + k] for k in range(count)])
        first, second = np.triu_indices(of_jobs.shape[1])
        products = of_jobs[:, first] * of_jobs[:, second]
        weighted = p[:, None] * (self.share @ products) + self.share @ (q[:, None] * products)
        column = np.zeros((of_jobs.shape[1],) * 2, dtype=int)
        column[first, second] = column[second, first] = np.arange(len(first))
        total = np.zeros((count, count))
        for k, m in zip(*np.triu_indices(count), strict=True):
            columns = weighted[:, column[np.ix_(places[k], places[m])]]  # (N, 3, 3)
            total[k, m] = total[m, k] = np.einsum(
                "ai,bi,iab->", of_workers[:, :, k], of_workers[:, :, m], columns
            )
        return total


def match_pairs(
    interaction: np.ndarray, u: np.ndarray, v: np.ndarray, near: PairMatching | None = None
) -> PairMatching:
    """Match workers ``u (N, K)`` and jobs ``v (N, K)`` at ``A (K,)``; ``near`` saves sweeps."""
    n = len(u)
    a = b = np.zeros(n)
    if near is not None:
        change = interaction - near.interaction
        a, b = near.a + near.da @ change, near.b + near.db @ change
    log_affinity = jnp.asarray(u * interaction) @ jnp.asarray(v).T
    solution = solve_fixed_margins(
        log_affinity, np.full(n, 1.0 / n), np.full(n, 1.0 / n), "ipfp", max_iter=2000,
        throw=False, start=(jnp.asarray(a), jnp.asarray(b)),
    )  # fmt: skip
    share = np.asarray(_share(log_affinity, solution.multiplier_x, solution.multiplier_y))
    residual = max(float(np.max(np.abs(share.sum(axis) - 1.0))) for axis in (0, 1))
    da, db = _response(share, u * (share @ v), v * (share.T @ u))
    return PairMatching(
        u, v, interaction, share, np.asarray(solution.multiplier_x),
        np.asarray(solution.multiplier_y), da, db, residual,
    )  # fmt: skip


@jax.jit
def _share(log_affinity: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return len(a) * jnp.exp(log_affinity - a[:, None] - b[None, :])


def _response(share: Any, r_x: np.ndarray, r_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, q = _conjugate_gradients(share, r_x, r_y)
    return np.asarray(p), np.asarray(q)


@jax.jit
def _conjugate_gradients(
    share: jax.Array, r_x: jax.Array, r_y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def schur(q: jax.Array) -> jax.Array:
        return q - share.T @ (share @ q) + q.mean(0, keepdims=True)

    q, _ = jax.scipy.sparse.linalg.cg(schur, r_y - share.T @ r_x, tol=_SOLVE_TOLERANCE, maxiter=500)
    return r_x - share @ q, q
