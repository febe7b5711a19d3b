"""Saliency: along which indices of skills and of characteristics the market sorts."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats


@dataclass(frozen=True)
class Saliency:
    """``A = U diag(s) V'``: ``K = min(m, n)`` pairs of indices, the most important first.

    Each index pair's sign is fixed by its largest skill loading, which is positive. Loadings of
    index pairs with equal singular values are not told apart. ``rank_p_values[k]`` is that of the
    hypothesis that ``A`` has rank ``k``: that the pairs after the first ``k`` are noise.
    """

    singular_values: np.ndarray  # s, (K,)
    shares: np.ndarray  # s/Σs, (K,)
    share_std_errors: np.ndarray  # by the delta method, (K,)
    skill_loadings: np.ndarray  # U, (m, K)
    characteristic_loadings: np.ndarray  # V, (n, K)
    skill_loading_std_errors: np.ndarray  # by the delta method, (m, K)
    characteristic_loading_std_errors: np.ndarray  # (n, K)
    rank_p_values: np.ndarray  # of rank 0, 1, ..., K − 1, (K,)


def saliency(affinity: np.ndarray, covariance: np.ndarray) -> Saliency:
    """Decompose an affinity matrix ``(m, n)`` of standardised columns (Dupuy and Galichon 2014).

    ``covariance (mn, mn)`` is that of its entries row by row.

    Standard errors use the derivatives of singular values and vectors, which hold where singular
    values are positive and distinct; where a value is zero within its error they say little. Ranks
    are tested by ``r' Ω⁻¹ r``, ``r = vec(U₂' A V₂)`` what the leading pairs leave of ``A`` and
    ``Ω`` its covariance, chi-squared with ``(m − k)(n − k)`` degrees of freedom (Kleibergen and
    Paap 2006).
    """
    u, s, vt = np.linalg.svd(affinity, full_matrices=False)
    sign = np.sign(u[np.argmax(np.abs(u), axis=0), np.arange(len(s))])
    u, v = u * sign, vt.T * sign
    gradient = (u[:, None, :] * v[None, :, :]).reshape(-1, len(s)).T  # ∂s/∂A, (K, mn)
    total = s.sum()
    of_shares = gradient / total - np.outer(s, gradient.sum(0)) / total**2
    errors_u, errors_v = (
        _delta(slope.reshape(*slope.shape[:2], -1), covariance)
        for slope in map(np.asarray, jax.jacfwd(_loadings)(jnp.asarray(affinity)))
    )
    return Saliency(
        singular_values=s,
        shares=s / total,
        share_std_errors=_delta(of_shares, covariance),
        skill_loadings=u,
        characteristic_loadings=v,
        skill_loading_std_errors=errors_u,
        characteristic_loading_std_errors=errors_v,
        rank_p_values=np.array([_rank_p_value(affinity, covariance, k) for k in range(len(s))]),
    )


def _loadings(affinity: jax.Array) -> tuple[jax.Array, jax.Array]:
    u, _, vt = jnp.linalg.svd(affinity, full_matrices=False)
    return u, vt.T


def _delta(slopes: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard errors of what has these derivatives in the entries of ``A``, ``(..., mn)``."""
    variance = np.einsum("...i,ij,...j->...", slopes, covariance, slopes)
    return np.sqrt(np.maximum(variance, 0.0))


def _rank_p_value(affinity: np.ndarray, covariance: np.ndarray, rank: int) -> float:
    u, _, vt = np.linalg.svd(affinity)
    rest_u, rest_v = u[:, rank:], vt[rank:].T
    left = (rest_u.T @ affinity @ rest_v).ravel()
    onto = np.kron(rest_u, rest_v)  # of entries row by row
    omega = onto.T @ covariance @ onto
    return float(scipy.stats.chi2.sf(left @ np.linalg.solve(omega, left), len(left)))
