"""An equilibrium with outside options: who works where, at home and abroad, at what wage."""

import itertools
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from matching.economy import Economy
from matching.errors import InvalidInput
from matching.kernel import Matches
from matching.market import log_partner_space


@partial(
    register_dataclass,
    data_fields=["economy", "all_matches", "log_unmatched", "log_unmatched_firms", "status",
                 "iterations", "residual_workers", "residual_firms", "bound_workers",
                 "bound_firms", "wage_error_bound"],
    meta_fields=["solver", "kernel"],
)  # fmt: skip
@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium and its certificate; tuples have one entry per origin, home first.

    A pytree: usable under ``jit``, ``vmap`` and ``grad``. Wages are undefined (NaN) for types of
    zero mass.
    """

    economy: Economy
    all_matches: Matches  # π of all origins, stacked, behind its products
    log_unmatched: tuple[jax.Array, ...]  # log f0, (N_o,)
    log_unmatched_firms: jax.Array  # log g0, (J,)
    status: jax.Array  # (): a :class:`~matching.status.Status`
    iterations: jax.Array  # ()
    residual_workers: tuple[jax.Array, ...]  # (N_o,): relative error of each margin
    residual_firms: jax.Array  # (J,)
    bound_workers: tuple[jax.Array, ...]  # (N_o,): proven bound on the error of log f0
    bound_firms: jax.Array  # (J,): the same of log g0
    wage_error_bound: jax.Array  # (): of any wage, relative to λ
    solver: str
    kernel: str  # the name of the kernel that summed the matches

    @property
    def max_residual(self) -> jax.Array:
        """Largest relative residual of any margin, both sides."""
        return jnp.concatenate([*self.residual_workers, self.residual_firms]).max()

    @property
    def match_products(self) -> tuple[Matches, ...]:
        """``π`` behind the products ``π v`` and ``π'u``, whatever the kernel."""
        starts = type_starts(self.economy)
        return tuple(self.all_matches.rows(*ends) for ends in itertools.pairwise(starts))

    @property
    def potentials(self) -> jax.Array:
        """What ``start`` takes: firms' ``(λ_y/λ) log(g0/ḡ)``, ``(J,)``.

        Zero for types of zero mass, and where a search has found nothing finite.
        """
        economy = self.economy
        theta = economy.lambda_x / economy.scale
        t = (1.0 - theta) * (self.log_unmatched_firms - jnp.log(economy.firms.mass))
        return jnp.where(jnp.isfinite(t), t, 0.0)

    @property
    def log_matches(self) -> tuple[jax.Array, ...]:
        """``log π``, ``(N_o, J)``; raises where the matrix is never formed."""
        cells = self.all_matches.log_cells
        if cells is None:
            raise InvalidInput(
                ["matches: solving so large a market never forms the matrix of matches; use "
                 "statistics and match_products, or solve with kernel='dense'"]
            )  # fmt: skip
        return tuple(jnp.split(cells, type_starts(self.economy)[1:-1], axis=-2))

    @property
    def matches(self) -> tuple[jax.Array, ...]:
        """Mass of matches ``π``, ``(N_o, J)``."""
        return tuple(jnp.exp(log_pi) for log_pi in self.log_matches)

    @property
    def unmatched(self) -> tuple[jax.Array, ...]:
        """Unmatched workers ``f0``, ``(N_o,)``."""
        return tuple(jnp.exp(log_f0) for log_f0 in self.log_unmatched)

    @property
    def unmatched_firms(self) -> jax.Array:
        """Unmatched firms ``g0``, ``(J,)``."""
        return jnp.exp(self.log_unmatched_firms)

    @property
    def multipliers(self) -> tuple[jax.Array, ...]:
        """Workers' multipliers ``a = w0 − λ_x ν_x − λ_x log f0``, money, ``(N_o,)``."""
        economy = self.economy
        return tuple(
            o.outside_option
            - economy.lambda_x * (o.nu_x + log_f0 - log_partner_space(economy, o.mass))
            for o, log_f0 in zip(economy.origins, self.log_unmatched, strict=True)
        )

    @property
    def multipliers_firms(self) -> tuple[jax.Array, ...]:
        """Firms' multipliers ``b = r0 − λ_y ν_y − λ_y log g0`` towards each origin, ``(J,)``."""
        economy = self.economy
        log_g0 = self.log_unmatched_firms - log_partner_space(economy, economy.firms.mass)
        return tuple(
            economy.firms.outside_option - economy.lambda_y * (o.nu_y + log_g0)
            for o in economy.origins
        )

    @property
    def outputs(self) -> tuple[jax.Array, ...]:
        """Output of a match ``q = x'Φy + C``, money, ``(N_o, J)``."""
        return tuple(output(self.economy, k) for k in range(len(self.economy.origins)))

    @property
    def wages(self) -> tuple[jax.Array, ...]:
        """Wages ``w = (λ_x (q − b) + λ_y a)/λ``, money, ``(N_o, J)``; NaN without matches."""
        economy = self.economy
        return tuple(
            jnp.where(
                jnp.isfinite(log_pi),
                (economy.lambda_x * (q - b[None, :]) + economy.lambda_y * a[:, None])
                / economy.scale,
                jnp.nan,
            )
            for q, a, b, log_pi in zip(
                self.outputs, self.multipliers, self.multipliers_firms, self.log_matches,
                strict=True,
            )
        )  # fmt: skip

    @property
    def profits(self) -> tuple[jax.Array, ...]:
        """Profits ``r = q − w``, money, ``(N_o, J)``; NaN without matches."""
        return tuple(q - w for q, w in zip(self.outputs, self.wages, strict=True))

    @property
    def expected_utilities(self) -> tuple[jax.Array, ...]:
        """Workers' expected utility ``w0 + λ_x (log f̄ − log f0)``, money, ``(N_o,)``."""
        economy = self.economy
        return tuple(
            o.outside_option + economy.lambda_x * (jnp.log(o.mass) - log_f0)
            for o, log_f0 in zip(economy.origins, self.log_unmatched, strict=True)
        )

    @property
    def expected_profits(self) -> jax.Array:
        """Firms' expected profit ``r0 + λ_y (log ḡ − log g0)``, money, ``(J,)``."""
        economy = self.economy
        return economy.firms.outside_option + economy.lambda_y * (
            jnp.log(economy.firms.mass) - self.log_unmatched_firms
        )


def output(economy: Economy, origin: int) -> jax.Array:
    """Output ``q = x'Φy + C`` of every match with an origin's workers, money, ``(N_o, J)``."""
    o = economy.origins[origin]
    return (o.skills @ economy.affinity) @ economy.firms.characteristics.T + o.constant


def type_starts(economy: Economy) -> list[int]:
    """Where each origin's types begin among all of them, and where the last one's end."""
    return np.cumsum([0, *(o.mass.shape[-1] for o in economy.origins)]).tolist()
