"""Coordinates in which ``exp(u·v)`` is a Gaussian between two scalings.

With ``x = (u − c_u) A`` and ``y = (v − c_v) B``, ``A B' = I``,

    exp(u·v) = exp(shift_x) exp(shift_y) exp(−|x−y|²/2)

whatever the centres and ``A``. The Gaussian is approximated, so that the scalings, with potentials,
magnify its error: partners had better lie near each other. Where potentials are not known yet both
sides are made to spread alike. Where ``p`` and ``q`` are, the density of matches is
``ρ_x ρ_y exp(−|x−y|²/2)`` with

    log ρ_x = shift_x + p,    log ρ_y = shift_y + q,

and the error in it at most that of the Gaussian times the largest ``ρ_x ρ_y``, which is made least.
With few types far out, as of earnings or of firms' sizes, that is many orders of magnitude under
the largest of sides that spread alike.
"""

from typing import Any, NamedTuple

import numpy as np

_EPS = float(np.finfo(np.float64).eps)
# A smooth maximum of n numbers exceeds theirs by log(n)/_SHARP at most. Squares of scales tried.
_SHARP, _SCALES = 4.0, (1e-6, 1e6)
# Steps of the search, of which any is as good a frame.
_STEPS = 100

Points = list[tuple[Any, Any]]  # the types of both sides, (N, k) and (J, k), in each group


class Frame(NamedTuple):
    """Coordinates in groups, of NumPy's or JAX's arrays."""

    centre_u: Any  # (d,)
    centre_v: Any
    into_x: tuple[Any, ...]  # A, the columns of each group, (d, k)
    into_y: tuple[Any, ...]  # B

    def points(self, u: Any, v: Any) -> Points:
        """Where types ``u (N, d)``, ``v (J, d)`` lie."""
        du, dv = u - self.centre_u[None, :], v - self.centre_v[None, :]
        return [(du @ a, dv @ b) for a, b in zip(self.into_x, self.into_y, strict=True)]

    def shifts(self, u: Any, v: Any, points: Points) -> tuple[Any, Any]:
        """The logs of the two scalings, ``(N,)`` and ``(J,)``."""
        shift_x, shift_y = u @ self.centre_v, (v - self.centre_v[None, :]) @ self.centre_u
        for x, y in points:
            shift_x, shift_y = shift_x + 0.5 * (x**2).sum(1), shift_y + 0.5 * (y**2).sum(1)
        return shift_x, shift_y


def equal_spread(
    u: np.ndarray, v: np.ndarray, share_x: np.ndarray, share_y: np.ndarray
) -> tuple[Frame, Points]:
    """The frame in which both sides have mean zero and the same diagonal covariance, and points.

    Partners in the matching of two normal sides have equal coordinates there (Bojilov and Galichon
    2016). Shares ``(N,)``, ``(J,)`` add up to one; one group, of the coordinates that count: the
    others matter less than the rounding of ``u·v``. Where nobody differs one is left, at zero.
    """
    centre_u, centre_v = share_x @ u, share_y @ v

    def root(values: np.ndarray, share: np.ndarray) -> np.ndarray:
        """``L`` with ``L L'`` the covariance, of every direction some."""
        covariance = (share[:, None] * values).T @ values
        least = 1e-12 * (covariance.trace() or 1.0)
        return np.linalg.cholesky(covariance + least * np.eye(len(covariance)))

    root_u, root_v = root(u - centre_u, share_x), root(v - centre_v, share_y)
    p, k, _ = np.linalg.svd(root_u.T @ root_v)
    # solved with the factor itself: u·v is kept to rounding, however alike skills are
    into_x, into_y = np.linalg.solve(root_u.T, p * np.sqrt(k)), root_u @ (p / np.sqrt(k))
    frame = Frame(centre_u, centre_v, (into_x,), (into_y,))
    ((x, y),) = frame.points(u, v)
    reach = _reach(x, y)
    counting = reach > 4.0 * _EPS * (1.0 + reach.sum())
    if not counting.any():
        nothing = (np.zeros((len(centre_u), 1)),)
        frame = frame._replace(into_x=nothing, into_y=nothing)
        return frame, frame.points(u, v)
    frame = frame._replace(into_x=(into_x[:, counting],), into_y=(into_y[:, counting],))
    return frame, [(x[:, counting], y[:, counting])]


def _reach(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What each coordinate adds to ``x·y`` at most."""
    return np.abs(x).max(0) * np.abs(y).max(0)


def least_dense(
    frame: Frame,
    points: Points,
    u: np.ndarray,
    v: np.ndarray,
    potentials: tuple[np.ndarray, np.ndarray],
) -> Frame:
    """The frame with its coordinates scaled and moved: the largest ``ρ_x ρ_y`` is least.

    ``points`` are those of its one group. ``potentials (N,), (J,)`` are those with which
    ``exp(u_i·v_j + p_i + q_j)`` is the density of matches; types of −∞ do not count. In ``σ``, the
    squares of scales, and ``η``, moves times scales, the two are ``p + Σ (σ x²/2 − η x)`` and
    ``q + Σ (y + η)²/(2σ)`` but for a constant between them: both are convex, and so are their
    maxima.
    """
    from scipy.optimize import minimize  # a third of a second, at every start

    ((x, y),) = points
    p = potentials[0] + u @ frame.centre_v
    q = potentials[1] + (v - frame.centre_v) @ frame.centre_u
    x, p, y, q = x[p > -np.inf], p[p > -np.inf], y[q > -np.inf], q[q > -np.inf]
    square, count = x**2, x.shape[1]

    def largest(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The log of it, smoothed, and its slope."""
        sigma, eta = np.split(parameters, 2)
        moved = (y + eta) / sigma
        of_x, at_x = _smooth_maximum(p + square @ (0.5 * sigma) - x @ eta)
        of_y, at_y = _smooth_maximum(q + moved**2 @ (0.5 * sigma))
        of_sigma = 0.5 * (at_x @ square - at_y @ moved**2)
        return of_x + of_y, np.concatenate([of_sigma, at_y @ moved - at_x @ x])

    begin = np.repeat([1.0, 0.0], count)
    limits = [_SCALES] * count + [(None, None)] * count
    found = minimize(largest, begin, jac=True, bounds=limits, options={"maxiter": _STEPS})
    sigma, eta = np.split(found.x, 2)
    scale = np.sqrt(sigma)
    into_x, into_y = frame.into_x[0] * scale, frame.into_y[0] / scale
    return Frame(frame.centre_u + into_y @ (eta / scale), frame.centre_v, (into_x,), (into_y,))


def _smooth_maximum(values: np.ndarray) -> tuple[float, np.ndarray]:
    """A smooth bound on the maximum, and its slope in each value."""
    top = values.max()
    weights = np.exp(_SHARP * (values - top))
    return top + np.log(weights.sum()) / _SHARP, weights / weights.sum()


def grouped(frame: Frame, points: Points) -> tuple[Frame, Points]:
    """The coordinates in two groups of much the same rank; one, where one coordinate is all."""
    ((x, y),) = points
    if x.shape[1] == 1:
        return frame, points
    reach = _reach(x, y)
    groups: tuple[list[int], list[int]] = [], []
    for coordinate in np.argsort(-reach, kind="stable").tolist():
        first, second = (np.log1p(reach[group]).sum() if group else 0.0 for group in groups)
        groups[int(second < first)].append(coordinate)
    into_x, into_y = (
        tuple(into[0][:, group] for group in groups) for into in (frame.into_x, frame.into_y)
    )
    points = [(x[:, group], y[:, group]) for group in groups]
    return frame._replace(into_x=into_x, into_y=into_y), points
