"""Saliency: along which indices of skills and of characteristics the market sorts."""

from dataclasses import dataclass

import numpy as np

from estimation.affinity import AffinityEstimate


@dataclass(frozen=True)
class Saliency:
    """``A = U diag(s) V'``: ``K = min(m, n)`` pairs of indices, the most important first.

    Each index pair's sign is fixed by its largest skill loading, which is positive. Loadings of
    index pairs with equal singular values are not told apart.
    """

    singular_values: np.ndarray  # s, (K,)
    shares: np.ndarray  # s/Σs, (K,)
    share_std_errors: np.ndarray  # by the delta method, (K,)
    skill_loadings: np.ndarray  # U, (m, K)
    characteristic_loadings: np.ndarray  # V, (n, K)


def saliency(estimate: AffinityEstimate) -> Saliency:
    """Decompose an affinity matrix estimated on standardised columns (Dupuy and Galichon 2014).

    Standard errors of the shares use ``∂s_k/∂A = u_k v_k'``, which holds where singular values
    are positive and distinct; where a value is zero within its error they say little.
    """
    u, s, vt = np.linalg.svd(estimate.affinity, full_matrices=False)
    sign = np.sign(u[np.argmax(np.abs(u), axis=0), np.arange(len(s))])
    u, v = u * sign, vt.T * sign
    gradient = (u[:, None, :] * v[None, :, :]).reshape(-1, len(s)).T  # ∂s/∂A, (K, mn)
    total = s.sum()
    of_shares = gradient / total - np.outer(s, gradient.sum(0)) / total**2
    variance = np.einsum("ki,ij,kj->k", of_shares, estimate.covariance, of_shares)
    return Saliency(
        singular_values=s,
        shares=s / total,
        share_std_errors=np.sqrt(np.maximum(variance, 0.0)),
        skill_loadings=u,
        characteristic_loadings=v,
    )
