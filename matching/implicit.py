"""Exact derivatives of an equilibrium by the implicit function theorem."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from matching.m_matrix import solve_margins
from matching.market import Market, excess, gaps


@jax.custom_jvp
def with_derivatives(market: Market, s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Potentials that solve ``market``, differentiable in it.

    At a solution the excess ``G(s, t; market)`` is zero, so a change of the market moves the
    potentials by ``−(∂G/∂(s,t))⁻¹ ∂G/∂market``: one linear solve, whatever found the solution.
    """
    del market
    return s, t


@with_derivatives.defjvp
def _implicit_jvp(primals: Any, tangents: Any) -> Any:
    market, s, t = primals
    d_market, _, _ = tangents  # the path by which s and t were found does not matter
    s, t = with_derivatives(market, s, t)  # so that derivatives of any order are implicit

    def margins(m: Market) -> tuple[jax.Array, jax.Array]:
        return excess(m, s, t)[1:]

    _, (dx, dy) = jax.jvp(margins, (market,), (d_market,))
    matched = excess(market, s, t)[0]
    gap_x, gap_y = gaps(market, s, t)

    def hessian(z: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return (
            (gap_x + matched.workers) * z[0] - matched.matches.times(z[1][:, None])[:, 0],
            (gap_y + matched.firms) * z[1] - matched.matches.transposed_times(z[0][:, None])[:, 0],
        )

    ds, minus_dt = lax.custom_linear_solve(
        hessian,
        (-dx, dy),
        lambda _, rhs: solve_margins(matched, gap_x, gap_y, *rhs, grounded=not market.singles),
        symmetric=True,
    )
    return (s, t), (ds, jnp.negative(minus_dt))
