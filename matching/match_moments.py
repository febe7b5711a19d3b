"""Quantities over matches and their moments, from products of ``π`` with a few columns.

Nothing here needs the cells of ``π``, so that it costs what the kernel's products cost.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from matching.equilibrium import Equilibrium
from matching.kernel import Matches, sums


class MatchField(NamedTuple):
    """A quantity of each match of an origin, ``worker_i + slope_i·y_j + firm_j``.

    Outputs, wages and log matches are all of this kind, so their moments are products of ``π``
    with a few columns and never need its cells.
    """

    worker: jax.Array  # (N_o,)
    slope: jax.Array  # (N_o, n)
    firm: jax.Array  # (J,)


class OriginMatches(NamedTuple):
    """One origin's matches with their margins."""

    matches: Matches
    workers: jax.Array  # Σ_y π, (N_o,)
    hires: jax.Array  # Σ_x π, (J,)
    y: jax.Array  # firms' characteristics, (J, n)

    @property
    def mass(self) -> jax.Array:
        """``|π|``, a scalar."""
        return self.workers.sum()

    def by_worker(self, field: MatchField) -> jax.Array:
        """``Σ_j π_ij field_ij``, ``(N_o,)``."""
        moments = self.matches.times(jnp.column_stack([field.firm, self.y]))
        return (
            field.worker * self.workers + moments[:, 0] + jnp.sum(field.slope * moments[:, 1:], 1)
        )

    def by_firm(self, field: MatchField) -> jax.Array:
        """``Σ_i π_ij field_ij``, ``(J,)``."""
        moments = self.matches.transposed_times(jnp.column_stack([field.worker, field.slope]))
        return field.firm * self.hires + moments[:, 0] + jnp.sum(self.y * moments[:, 1:], 1)

    def total(self, field: MatchField) -> jax.Array:
        """``Σ_ij π_ij field_ij``."""
        return self.by_worker(field).sum()

    def second_moment(self, field: MatchField) -> jax.Array:
        """``Σ_ij π_ij field_ij²``."""
        # about the means of both sides, so that little is lost where the field hardly varies
        middle = self.hires @ self.y / self.mass
        y, constant = self.y - middle[None, :], self.hires @ field.firm / self.mass
        field = MatchField(
            field.worker + field.slope @ middle + constant, field.slope, field.firm - constant
        )
        n = y.shape[1]
        squares = (y[:, :, None] * y[:, None, :]).reshape(-1, n * n)
        columns = [field.firm, y, squares, field.firm**2, field.firm[:, None] * y]
        firm, first, yy, firm2, firm_y = jnp.split(
            self.matches.times(jnp.column_stack(columns)),
            [1, 1 + n, 1 + n + n * n, 2 + n + n * n],
            axis=1,
        )
        a, c = field.worker, field.slope
        cc = (c[:, :, None] * c[:, None, :]).reshape(-1, n * n)
        linear = 2.0 * a * (firm[:, 0] + jnp.sum(c * first, 1)) + a**2 * self.workers
        return jnp.sum(linear + jnp.sum(cc * yy, 1) + firm2[:, 0] + 2.0 * jnp.sum(c * firm_y, 1))


def origin_matches(eq: Equilibrium) -> tuple[OriginMatches, ...]:
    """The matches of each origin with their margins, home first."""
    y = eq.economy.firms.characteristics
    return tuple(
        OriginMatches(products, *sums(products, (len(o.mass), len(y))), y)
        for o, products in zip(eq.economy.origins, eq.match_products, strict=True)
    )


def outputs(eq: Equilibrium) -> tuple[MatchField, ...]:
    """``q = x'Φy + C``."""
    economy = eq.economy
    nothing = jnp.zeros(len(economy.firms.mass))
    return tuple(
        MatchField(jnp.broadcast_to(o.constant, o.mass.shape), o.skills @ economy.affinity, nothing)
        for o in economy.origins
    )


def wages(eq: Equilibrium) -> tuple[MatchField, ...]:
    """``w = (λ_x (q − b) + λ_y a)/λ``; types of zero mass have no multiplier and no matches."""
    economy = eq.economy
    theta = economy.lambda_x / economy.scale
    return tuple(
        MatchField(
            worker=theta * q.worker + (1.0 - theta) * defined(o.mass, a),
            slope=theta * q.slope,
            firm=-theta * defined(economy.firms.mass, b),
        )
        for o, q, a, b in zip(
            economy.origins, outputs(eq), eq.multipliers, eq.multipliers_firms, strict=True
        )
    )


def defined(weight: jax.Array, value: jax.Array) -> jax.Array:
    """Zero where there is no mass to carry an undefined value."""
    return jnp.where(weight > 0, value, 0.0)


def ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """NaN, with zero gradient, where there is nothing to divide by."""
    some = denominator > 0
    return jnp.where(some, numerator / jnp.where(some, denominator, 1.0), jnp.nan)


def mean_over(sides: tuple[OriginMatches, ...], fields: tuple[MatchField, ...]) -> jax.Array:
    """Mean of a field over the matches of all origins given; NaN without any."""
    zero = jnp.asarray(0.0)
    total = sum((side.total(field) for side, field in zip(sides, fields, strict=True)), zero)
    return ratio(total, sum((side.mass for side in sides), zero))


def weighted_variance(weight: jax.Array, value: jax.Array) -> jax.Array:
    """``Σ w (v − Σ w v/|w|)²/|w|``."""
    mass = weight.sum()
    mean = jnp.sum(weight * value) / mass
    return jnp.sum(weight * (value - mean) ** 2) / mass
