"""The matching with given margins: the classical IPFP of the estimation's first step."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from matching.arrays import float64, is_traced
from matching.certificate import residuals
from matching.errors import InvalidInput, require_float64
from matching.implicit import with_derivatives
from matching.kernel import Factors, Kernel, Matches
from matching.kernel_choice import KERNELS, dense_kernel
from matching.kernel_ladder import solve_by_kernels
from matching.market import active, exponents, market_of_margins, prepared
from matching.scaled_kernel import bare, dressed
from matching.solvers import find_potentials
from matching.status import raise_unless_converged, verdict

# Margins that add up to different totals beyond this have no matching.
_BALANCE = 1e-12


@partial(
    register_dataclass,
    data_fields=["all_matches", "multiplier_x", "multiplier_y", "status", "iterations",
                 "residual_x", "residual_y"],
    meta_fields=["solver", "kernel"],
)  # fmt: skip
@dataclass(frozen=True)
class FixedMargins:
    """A matching with given margins, ``log π = log_affinity − a/λ − b/λ``.

    The multipliers are known up to a constant moved from ``a`` to ``b``. It is pinned by
    ``Σ_j g_j b_j = 0``: the mean multiplier of firms is zero.
    """

    all_matches: Matches  # π behind the products π v and π'u, whatever the kernel
    multiplier_x: jax.Array  # a/λ, (N,); +inf for types of zero mass
    multiplier_y: jax.Array  # b/λ, (J,)
    status: jax.Array  # (): a :class:`~matching.status.Status`
    iterations: jax.Array  # ()
    residual_x: jax.Array  # (N,): relative error of each margin, the kernel's included
    residual_y: jax.Array  # (J,)
    solver: str
    kernel: str  # the name of the kernel that summed the matches

    @property
    def log_matches(self) -> jax.Array:
        """``log π``, ``(N, J)``; raises where the matrix was never formed."""
        cells = self.all_matches.log_cells
        if cells is None:
            raise InvalidInput(
                ["matches: solving so large a problem never forms the matrix of matches; use "
                 "all_matches, or solve with kernel='dense'"]
            )  # fmt: skip
        return cells

    @property
    def matches(self) -> jax.Array:
        """Mass of matches ``π``, ``(N, J)``."""
        return jnp.exp(self.log_matches)

    @property
    def max_residual(self) -> jax.Array:
        """Largest relative residual of any margin, both sides."""
        return jnp.maximum(self.residual_x.max(), self.residual_y.max())

    @property
    def potentials(self) -> jax.Array:
        """What ``start`` takes to begin a neighbouring problem from this solution: ``b/λ``."""
        return self.multiplier_y


def solve_fixed_margins(
    log_affinity: Any,
    mass_x: Any,
    mass_y: Any,
    solver: str = "newton",
    *,
    kernel: str = "auto",
    max_iter: int | None = None,
    throw: bool = True,
    start: jax.Array | None = None,
) -> FixedMargins:
    """Match given margins: maximise ``E_π[q]/λ − E_π[log π]`` over ``π ∈ M(f, g)``.

    ``log_affinity`` is ``q/λ``: a matrix ``(N, J)``, or ``Factors(u, v)`` of it, ``q/λ = u_i·v_j``,
    from which large problems are solved without the matrix, by the ``kernel`` that suits them or
    that is named. ``mass_x (N,)`` and ``mass_y (J,)`` are the matched margins ``f, g``, of equal
    totals. ``start`` takes the ``potentials`` of a nearby solution. Differentiable in all three.
    The planner's problem of the slides, estimation step 1.

    Raises :class:`~matching.errors.InvalidInput` for margins that are negative, not finite or
    differ in total, :class:`~matching.errors.NotConverged` unless ``throw=False``.

    >>> import jax.numpy as jnp
    >>> half = jnp.array([0.5, 0.5])
    >>> solution = solve_fixed_margins(jnp.array([[1.0, 0.0], [0.0, 1.0]]), half, half)
    >>> float(solution.matches[0, 0].round(6))  # e/(2(1+e))
    0.365529
    """
    require_float64()
    if not isinstance(kernel, str):
        raise InvalidInput([f"kernel: is named here, for one that was chosen is of other factors; "
                            f"choose from {KERNELS}"])  # fmt: skip
    affinity: jax.Array | Factors
    if isinstance(log_affinity, Factors):
        affinity = Factors(*map(float64, log_affinity))
    else:
        affinity = float64(log_affinity)
    f, g = float64(mass_x), float64(mass_y)
    if not is_traced((affinity, f, g)):
        defects = _defects(affinity, np.asarray(f), np.asarray(g))
        if defects:
            raise InvalidInput(defects)

    def solve(chosen: Kernel, start: Any) -> FixedMargins:
        given = chosen, f, g, start
        if is_traced(given):
            return _solve(*given, solver=solver, max_iter=max_iter)
        found = _compiled(*given, solver=solver, max_iter=max_iter)
        return replace(found, all_matches=dressed(found.all_matches, chosen))

    if isinstance(affinity, Factors):
        solution = solve_by_kernels(affinity, f, g, kernel, solve, start)
    elif kernel in ("auto", "dense"):
        solution = solve(dense_kernel(jnp.asarray(affinity)), start)
    else:
        raise InvalidInput([f"kernel: {kernel!r} needs log_affinity=Factors(u, v), not a matrix"])
    if throw:
        raise_unless_converged(solution)
    return solution


@partial(jax.jit, static_argnames=("solver", "max_iter"))
def _compiled(*given: Any, solver: str, max_iter: int | None) -> FixedMargins:
    """The solution but for its kernel, of which a program would hand back a copy."""
    found = _solve(*given, solver=solver, max_iter=max_iter)
    return replace(found, all_matches=bare(found.all_matches))


@partial(jax.jit, static_argnames=("solver", "max_iter"))
def _solve(
    kernel: Kernel,
    mass_x: jax.Array,
    mass_y: jax.Array,
    start: jax.Array | None,
    *,
    solver: str,
    max_iter: int | None,
) -> FixedMargins:
    market = market_of_margins(kernel, mass_x, mass_y)
    _, active_y = active(market)
    if start is not None:
        start = jnp.where(active_y, -start - market.log_weight_y, 0.0)
    search = prepared(market)
    s, t, iterations = find_potentials(search, solver, max_iter, start)
    residual_x, residual_y = residuals(search, s, t)
    s, t = with_derivatives(market, s, t)
    a, b = -(market.log_weight_x + s), -(market.log_weight_y + t)
    gauge = jnp.sum(mass_y * jnp.where(active_y, b, 0.0)) / mass_y.sum()
    _, row, column = exponents(market, s, t)
    return FixedMargins(
        all_matches=kernel.matches(row, column),
        multiplier_x=a + gauge,
        multiplier_y=b - gauge,
        status=verdict(jnp.maximum(residual_x.max(), residual_y.max())),
        iterations=iterations,
        residual_x=residual_x,
        residual_y=residual_y,
        solver=solver,
        kernel=kernel.name,
    )


def _defects(affinity: jax.Array | Factors, f: np.ndarray, g: np.ndarray) -> list[str]:
    defects = []
    arrays = affinity if isinstance(affinity, Factors) else (affinity,)
    if isinstance(affinity, Factors):
        u, v = affinity
        shape: tuple[int, ...] = (len(u), len(v)) if u.shape[1:] == v.shape[1:] else ()
    else:
        shape = affinity.shape
    if shape != (*f.shape, *g.shape):
        shapes = " and ".join(str(array.shape) for array in arrays)
        needed = f"{(*f.shape, *g.shape)} is needed"
        if isinstance(affinity, Factors):
            needed = f"{(*f.shape, 'd')} and {(*g.shape, 'd')} are needed"
        defects.append(f"log_affinity: has shape {shapes} where {needed}")
    elif not all(map(_is_finite, arrays)):
        defects.append("log_affinity: is not finite everywhere; give a number for every pair")
    for name, mass in (("mass_x", f), ("mass_y", g)):
        least, most = mass.min(initial=0.0), mass.max(initial=0.0)  # NaN if any mass is
        if not (least == 0.0 and 0.0 < most < np.inf):
            defects.append(f"{name}: masses are finite, zero or positive, and not all zero")
    if not defects and not abs(f.sum() - g.sum()) <= _BALANCE * g.sum():
        defects.append(
            f"mass_x, mass_y: totals {f.sum():.17g} and {g.sum():.17g} differ; matched margins "
            "count the same matches, so rescale one side or look for lost rows"
        )
    return defects


def _is_finite(array: jax.Array) -> bool:
    """Whether all are, found out where the array lies; its extremes are NaN if any number is."""
    ends = array.min(initial=0.0), array.max(initial=0.0)
    return bool(np.isfinite(ends).all())
