"""Features of ``exp(u·v)`` whose inner products reproduce it to a proven bound.

With ``u`` and ``v`` recentred and in equal units,

    exp(u·v) = exp(|u|²/2) exp(|v|²/2) exp(−|u−v|²/2),

and the Gaussian factors over dimensions. In each it is interpolated at Chebyshev nodes on both
sides, which converges geometrically, and the small matrix between the nodes is cut by its singular
values; products over dimensions are kept while they matter.
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np

from matching.kernel import LowRankKernel

_EPS = float(np.finfo(np.float64).eps)
# Interpolation nodes in a dimension, and products over dimensions, beyond which nothing is gained.
_MAX_NODES, _MAX_PRODUCTS = 400, 200_000


def low_rank_kernel(
    u: np.ndarray, v: np.ndarray, tolerance: float = 1e-12, max_rank: int = 1000
) -> LowRankKernel | None:
    """The low-rank kernel of ``exp(u_i·v_j)`` for ``u (N, d)``, ``v (J, d)``.

    ``tolerance`` is the error allowed on ``exp(−|u−v|²/2) ≤ 1`` after the largest diagonal scaling
    of one side; the kernel's own ``bound`` says what was reached, rounding included. ``None``
    where more than ``max_rank`` features would be needed.
    """
    # exp(u·v) with u = u0 + du, v = v0 + dv: all but du·dv goes into the shifts
    centre_u, centre_v = _middle(u), _middle(v)
    du, dv = u - centre_u, v - centre_v
    reach_u, reach_v = np.abs(du).max(0), np.abs(dv).max(0)
    alive = (reach_u > 0) & (reach_v > 0)
    du, dv = du[:, alive], dv[:, alive]
    unit = np.sqrt(reach_v[alive] / reach_u[alive])
    du, dv = du * unit, dv / unit
    reach = np.sqrt(reach_u * reach_v)[alive]

    tolerance = max(tolerance * math.exp(-0.5 * float(reach @ reach)), 1e-15)
    dimensions = len(reach)
    factors = []
    for k in range(dimensions):
        factor = _one_dimension(du[:, k], dv[:, k], reach[k], tolerance / (4.0 * dimensions))
        if factor is None:
            return None
        factors.append(factor)
    ranks = [len(size) for _, _, size, _ in factors]
    if math.prod(ranks) > _MAX_PRODUCTS:
        return None
    kept, dropped = _products([size for _, _, size, _ in factors], tolerance / 4.0)
    if len(kept) > max_rank:
        return None
    left, right = np.ones((len(u), len(kept))), np.ones((len(v), len(kept)))
    for k, (a, b, _, _) in enumerate(factors):
        left *= a[:, [index[k] for index in kept]]
        right *= b[:, [index[k] for index in kept]]
    interpolation = sum(error for *_, error in factors) * 1.01
    rounding = (
        4e-16
        * (len(kept) ** 0.5 + 8)
        * float(np.linalg.norm(left, axis=1).max() * np.linalg.norm(right, axis=1).max())
    )
    return LowRankKernel(
        u=jnp.asarray(u),
        v=jnp.asarray(v),
        left=jnp.asarray(left),
        right=jnp.asarray(right),
        shift_x=jnp.asarray(u @ centre_v + 0.5 * np.sum(du**2, axis=1)),
        shift_y=jnp.asarray((v - centre_v) @ centre_u + 0.5 * np.sum(dv**2, axis=1)),
        bound=jnp.asarray(interpolation + dropped + rounding),
    )


def _one_dimension(
    u: np.ndarray, v: np.ndarray, reach: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Features of ``exp(−(u−v)²/2)`` on ``[−reach, reach]²``, their sizes, and the error."""
    count, error = _nodes(reach, tolerance)
    if count > _MAX_NODES:
        return None
    nodes = reach * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    middle = np.exp(-0.5 * (nodes[:, None] - nodes[None, :]) ** 2)
    p, s, qt = np.linalg.svd(middle)
    left = _interpolation(u, nodes, reach) @ (p * np.sqrt(s))
    right = _interpolation(v, nodes, reach) @ (qt.T * np.sqrt(s))
    size = np.abs(left).max(0) * np.abs(right).max(0)
    tail = np.cumsum(size[::-1])[::-1]
    rank = int(np.sum(tail > tolerance))
    error += 4.0 * _EPS * count  # of evaluating polynomials of that degree
    error += float(tail[rank]) if rank < len(tail) else 0.0
    return left[:, :rank], right[:, :rank], size[:rank], error


def _nodes(reach: float, tolerance: float) -> tuple[int, float]:
    """Chebyshev nodes that interpolate ``exp(−(u−v)²/2)`` in both arguments to ``tolerance``.

    On the Bernstein ellipse ``ρ`` the function is at most ``exp(h²/2)``, ``h`` its half height, so
    ``n`` nodes err by at most ``4 exp(h²/2) ρ^{1−n}/(ρ−1)`` (Trefethen 2013, Theorem 8.2), and
    interpolation in the second argument multiplies by the Lebesgue constant.
    """
    rho = 1.0 + np.logspace(-2, 3, 400)
    height = 0.5 * reach * (rho - 1.0 / rho)
    for count in range(2, _MAX_NODES + 1):
        log_error = math.log(4.0) + 0.5 * height**2 + (1 - count) * np.log(rho) - np.log(rho - 1.0)
        lebesgue = 2.0 / math.pi * math.log(count) + 1.0
        error = (1.0 + lebesgue) * math.exp(min(float(log_error.min()), 700.0))
        if error <= tolerance:
            return count, error
    return _MAX_NODES + 1, math.inf


def _interpolation(points: np.ndarray, nodes: np.ndarray, reach: float) -> np.ndarray:
    """Values at ``points`` of the polynomials that are one at one node and zero at the others."""
    degree = len(nodes)
    at_nodes = np.polynomial.chebyshev.chebvander(nodes / reach, degree - 1)
    at_points = np.polynomial.chebyshev.chebvander(points / reach, degree - 1)
    weights = np.where(np.arange(degree) == 0, 1.0, 2.0) / degree
    return at_points @ (weights[:, None] * at_nodes.T)


def _products(sizes: list[np.ndarray], tolerance: float) -> tuple[list[tuple[int, ...]], float]:
    """Indices of the products over dimensions that matter, and the sum of those left out."""
    size = np.ones(())
    for one in sizes:
        size = np.multiply.outer(size, one)
    flat = np.sort(size.ravel())
    small = np.cumsum(flat)
    dropped = int(np.searchsorted(small, tolerance))
    threshold = flat[dropped] if dropped < len(flat) else math.inf
    kept = [
        index
        for index in itertools.product(*(range(len(one)) for one in sizes))
        if size[index] >= threshold
    ]
    return kept, float(small[dropped - 1]) if dropped else 0.0


def _middle(values: np.ndarray) -> np.ndarray:
    return 0.5 * (values.min(0) + values.max(0))
