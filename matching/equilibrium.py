"""The equilibrium with outside options: who works where, at home and abroad, at what wage."""

import itertools
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from matching.certificate import CERTIFICATE_STEPS, certify
from matching.economy import Economy
from matching.errors import InvalidInput, require_float64
from matching.implicit import with_derivatives
from matching.kernel import DenseKernel, Kernel, Matches
from matching.kernel_ladder import solve_by_kernels
from matching.market import active, exponents, factors, log_partner_space, market_of, prepared
from matching.repeated_types import expanded, merged_types
from matching.solvers import find_potentials
from matching.status import raise_unless_converged, verdict


@partial(
    register_dataclass,
    data_fields=["economy", "all_matches", "log_cells", "log_unmatched", "log_unmatched_firms",
                 "status", "iterations", "residual_workers", "residual_firms", "bound_workers",
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
    log_cells: tuple[jax.Array, ...] | None  # log π, (N_o, J); None where it is never formed
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
        starts = _starts(self.economy)
        return tuple(self.all_matches.rows(*ends) for ends in itertools.pairwise(starts))

    @property
    def potentials(self) -> tuple[jax.Array, jax.Array]:
        """What ``start`` takes: ``(λ_x/λ) log(f0/f̄)``, origins stacked, ``(λ_y/λ) log(g0/ḡ)``.

        Zero for types of zero mass, and where a search has found nothing finite.
        """
        economy = self.economy
        theta = economy.lambda_x / economy.scale
        mass = jnp.concatenate([o.mass for o in economy.origins])
        s = theta * (jnp.concatenate(self.log_unmatched) - jnp.log(mass))
        t = (1.0 - theta) * (self.log_unmatched_firms - jnp.log(economy.firms.mass))
        return jnp.where(jnp.isfinite(s), s, 0.0), jnp.where(jnp.isfinite(t), t, 0.0)

    @property
    def log_matches(self) -> tuple[jax.Array, ...]:
        """``log π``, ``(N_o, J)``; raises where the matrix was never formed."""
        if self.log_cells is None:
            raise InvalidInput(
                ["matches: solving so large a market never forms the matrix of matches; use "
                 "statistics and match_products, or solve with kernel='dense'"]
            )  # fmt: skip
        return self.log_cells

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


def solve_equilibrium(
    economy: Economy,
    solver: str = "newton",
    *,
    kernel: str | Kernel = "auto",
    max_iter: int | None = None,
    throw: bool = True,
    start: tuple[jax.Array, jax.Array] | None = None,
    memory: float | None = None,
) -> Equilibrium:
    """Find the equilibrium of an economy, with a certificate.

    Matches solve ``λ log π = q − a − b`` with all three kinds of margins met (slides, equations 4
    to 10). ``solver`` is ``"newton"`` (default; damped Newton on the convex potential, continued
    in ``λ``) or ``"ipfp"`` (iterated proportional fitting, extrapolated; slower where few are
    unmatched).
    ``kernel`` is ``"auto"``, the name of a kernel, or what :func:`choose_kernel` returned; only a
    dense one can be chosen inside ``jit``. ``start`` takes the ``potentials`` of an equilibrium of
    a nearby economy of the same types, which saves iterations. ``memory`` is the most bytes that a
    kernel may take, within what the device and the limits of the process leave.

    Beyond a million cells types that repeat are solved as one (:mod:`matching.repeated_types`),
    unless the matrix of matches is asked for (``kernel="dense"``) or the kernel is given.

    With ``throw`` an equilibrium whose margins are not met raises
    :class:`~matching.errors.NotConverged`, which carries the result; without, or inside ``jit``,
    ``status`` tells. A wage level that the data of the problem do not determine never raises: see
    :attr:`Equilibrium.wage_error_bound`, relative to ``λ``, and :class:`~matching.status.Status`.

    >>> from matching import make_economy, make_firms, make_origin
    >>> workers = make_origin([0.0], [1.0], constant=2.0)
    >>> economy = make_economy([workers], make_firms([0.0], [1.0]), affinity=0.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> equilibrium = solve_equilibrium(economy)
    >>> float(equilibrium.matches[0][0, 0].round(6))  # e/(1+e): one type a side
    0.731059
    """
    require_float64()
    merged = merged_types(economy) if isinstance(kernel, str) and kernel != "dense" else None
    distinct = economy
    if merged is not None:
        distinct, start = merged.economy, start and merged.start(start)
    equilibrium = solve_by_kernels(
        factors(distinct),
        jnp.concatenate([origin.mass for origin in distinct.origins]),
        distinct.firms.mass,
        kernel,
        lambda chosen, start: _solve(distinct, chosen, solver, max_iter, start),
        start,
        memory,
    )
    if merged is not None:
        equilibrium = expanded(equilibrium, economy, merged)
    if throw:
        raise_unless_converged(equilibrium)
    return equilibrium


def equilibrium_of(
    economy: Economy,
    kernel: Kernel,
    solver: str = "newton",
    max_iter: int | jax.Array | None = None,
    start: tuple[jax.Array, jax.Array] | None = None,
    certificate_steps: int | jax.Array = CERTIFICATE_STEPS,
) -> Equilibrium:
    """What :func:`solve_equilibrium` compiles; ``start`` are potentials ``s, t`` to begin from."""
    market = market_of(economy, kernel)
    search = prepared(market)
    s, t, iterations = find_potentials(search, solver, max_iter, start)
    certificate = certify(search, s, t, certificate_steps)
    s, t = with_derivatives(market, s, t)

    theta = market.theta
    active_x, active_y = active(market)
    log_f0 = jnp.where(active_x, jnp.log(market.mass_x) + s / theta, -jnp.inf)
    log_g0 = jnp.where(active_y, jnp.log(market.mass_y) + t / (1.0 - theta), -jnp.inf)
    wage_bound = ((1.0 - theta) * certificate.bound_s).max() + (theta * certificate.bound_t).max()

    starts = _starts(economy)

    def by_origin(values: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jnp.split(values, starts[1:-1]))

    _, row, column = exponents(market, s, t)
    log_cells = None
    if isinstance(market.kernel, DenseKernel):
        log_cells = by_origin(market.kernel.log_affinity + row[:, None] + column[None, :])
    return Equilibrium(
        economy=economy,
        all_matches=market.kernel.matches(row, column),
        log_cells=log_cells,
        log_unmatched=by_origin(log_f0),
        log_unmatched_firms=log_g0,
        status=verdict(certificate.max_residual, wage_bound),
        iterations=iterations,
        residual_workers=by_origin(certificate.residual_x),
        residual_firms=certificate.residual_y,
        bound_workers=by_origin(certificate.bound_s / jax.lax.stop_gradient(theta)),
        bound_firms=certificate.bound_t / (1.0 - jax.lax.stop_gradient(theta)),
        wage_error_bound=wage_bound,
        solver=solver,
        kernel=kernel.name,
    )


def _starts(economy: Economy) -> list[int]:
    """Where each origin's types begin among all of them, and where the last one's end."""
    return np.cumsum([0, *(o.mass.shape[0] for o in economy.origins)]).tolist()


_solve = jax.jit(equilibrium_of, static_argnames=("solver", "max_iter"))
