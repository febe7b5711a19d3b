"""The matching with given margins: the classical IPFP of the estimation's first step."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from matching.errors import InvalidInput, require_float64
from matching.implicit import with_derivatives
from matching.market import active, excess, exponents, market_of_margins
from matching.solvers import find_potentials
from matching.status import raise_unless_converged, verdict

# Margins that add up to different totals beyond this have no matching.
_BALANCE = 1e-12


@partial(
    register_dataclass,
    data_fields=["log_matches", "multiplier_x", "multiplier_y", "status", "iterations",
                 "residual_x", "residual_y"],
    meta_fields=["solver"],
)  # fmt: skip
@dataclass(frozen=True)
class FixedMargins:
    """A matching with given margins, ``log π = log_affinity − a/λ − b/λ``.

    The multipliers are known up to a constant moved from ``a`` to ``b``. It is pinned by
    ``Σ_j g_j b_j = 0``: the mean multiplier of firms is zero.
    """

    log_matches: jax.Array  # log π, (N, J)
    multiplier_x: jax.Array  # a/λ, (N,); +inf for types of zero mass
    multiplier_y: jax.Array  # b/λ, (J,)
    status: jax.Array  # (): a :class:`~matching.status.Status`
    iterations: jax.Array  # ()
    residual_x: jax.Array  # (N,): relative error of each margin
    residual_y: jax.Array  # (J,)
    solver: str

    @property
    def matches(self) -> jax.Array:
        """Mass of matches ``π``, ``(N, J)``."""
        return jnp.exp(self.log_matches)

    @property
    def max_residual(self) -> jax.Array:
        """Largest relative residual of any margin, both sides."""
        return jnp.maximum(self.residual_x.max(), self.residual_y.max())

    @property
    def potentials(self) -> tuple[jax.Array, jax.Array]:
        """What ``start`` takes to begin a neighbouring problem from this solution."""
        return self.multiplier_x, self.multiplier_y


def solve_fixed_margins(
    log_affinity: Any,
    mass_x: Any,
    mass_y: Any,
    solver: str = "newton",
    *,
    max_iter: int | None = None,
    throw: bool = True,
    start: tuple[jax.Array, jax.Array] | None = None,
) -> FixedMargins:
    """Match given margins: maximise ``E_π[q]/λ − E_π[log π]`` over ``π ∈ M(f, g)``.

    ``log_affinity`` is ``q/λ``, ``(N, J)``; ``mass_x (N,)`` and ``mass_y (J,)`` are the matched
    margins ``f, g``, of equal totals. ``start`` takes the ``potentials`` of a nearby solution.
    Differentiable in all three. The planner's problem of the slides, estimation step 1.

    Raises :class:`~matching.errors.InvalidInput` for margins that are negative, not finite or
    differ in total, :class:`~matching.errors.NotConverged` unless ``throw=False``.

    >>> import jax.numpy as jnp
    >>> half = jnp.array([0.5, 0.5])
    >>> solution = solve_fixed_margins(jnp.array([[1.0, 0.0], [0.0, 1.0]]), half, half)
    >>> float(solution.matches[0, 0].round(6))  # e/(2(1+e))
    0.365529
    """
    require_float64()
    arrays = [jnp.asarray(value, dtype=jnp.float64) for value in (log_affinity, mass_x, mass_y)]
    if not any(isinstance(array, jax.core.Tracer) for array in arrays):
        defects = _margin_defects(*(np.asarray(array) for array in arrays))
        if defects:
            raise InvalidInput(defects)
    solution = _solve(*arrays, solver, max_iter, start)
    if throw:
        raise_unless_converged(solution)
    return solution


@partial(jax.jit, static_argnames=("solver", "max_iter"))
def _solve(
    log_affinity: jax.Array,
    mass_x: jax.Array,
    mass_y: jax.Array,
    solver: str,
    max_iter: int | None,
    start: tuple[jax.Array, jax.Array] | None,
) -> FixedMargins:
    market = market_of_margins(log_affinity, mass_x, mass_y)
    active_x, active_y = active(market)
    if start is not None:
        a, b = start
        start = (
            jnp.where(active_x, -a - market.log_weight_x, 0.0),
            jnp.where(active_y, -b - market.log_weight_y, 0.0),
        )
    s, t, iterations = find_potentials(market, solver, max_iter, start)
    _, excess_x, excess_y = excess(market, s, t)
    residual_x = jnp.abs(excess_x) / market.mass_x
    residual_y = jnp.abs(excess_y) / market.mass_y
    s, t = with_derivatives(market, s, t)
    a, b = -(market.log_weight_x + s), -(market.log_weight_y + t)
    gauge = jnp.sum(mass_y * jnp.where(active_y, b, 0.0)) / mass_y.sum()
    _, row, column = exponents(market, s, t)
    return FixedMargins(
        log_matches=log_affinity + row[:, None] + column[None, :],
        multiplier_x=a + gauge,
        multiplier_y=b - gauge,
        status=verdict(jnp.maximum(residual_x.max(), residual_y.max())),
        iterations=iterations,
        residual_x=residual_x,
        residual_y=residual_y,
        solver=solver,
    )


def _margin_defects(log_affinity: np.ndarray, f: np.ndarray, g: np.ndarray) -> list[str]:
    defects = []
    if log_affinity.shape != (*f.shape, *g.shape):
        defects.append(
            f"log_affinity: has shape {log_affinity.shape} where {(*f.shape, *g.shape)} is needed"
        )
    elif not np.all(np.isfinite(log_affinity)):
        defects.append("log_affinity: is not finite everywhere; give a number for every pair")
    for name, mass in (("mass_x", f), ("mass_y", g)):
        if not np.all(np.isfinite(mass)) or np.any(mass < 0) or not np.any(mass > 0):
            defects.append(f"{name}: masses are finite, zero or positive, and not all zero")
    if not defects and not abs(f.sum() - g.sum()) <= _BALANCE * g.sum():
        defects.append(
            f"mass_x, mass_y: totals {f.sum():.17g} and {g.sum():.17g} differ; matched margins "
            "count the same matches, so rescale one side or look for lost rows"
        )
    return defects
