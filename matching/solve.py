"""From an economy to its equilibrium, certified, by any solver on any kernel."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from matching.arrays import is_traced
from matching.certificate import CERTIFICATE_STEPS, certify
from matching.economy import Economy
from matching.equilibrium import Equilibrium, type_starts
from matching.errors import InvalidInput, require_float64
from matching.implicit import with_derivatives
from matching.kernel import Kernel
from matching.kernel_ladder import solve_by_kernels
from matching.market import active, exponents, market_of, prepared, stacked
from matching.repeated_types import expanded, merged_types
from matching.scaled_kernel import bare, dressed
from matching.solvers import find_potentials
from matching.status import raise_unless_converged, verdict


def solve_equilibrium(
    economy: Economy,
    solver: str = "newton",
    *,
    kernel: str | Kernel = "auto",
    max_iter: int | None = None,
    throw: bool = True,
    start: jax.Array | None = None,
    memory: float | None = None,
) -> Equilibrium:
    """Find the equilibrium of an economy, with a certificate.

    Matches solve ``λ log π = q − a − b`` with all three kinds of margins met (slides, equations 4
    to 10). ``solver`` is ``"newton"`` (default; damped Newton on the convex potential, continued
    in ``λ``) or ``"ipfp"`` (iterated proportional fitting, extrapolated; slower where few are
    unmatched).
    ``kernel`` is ``"auto"``, the name of a kernel, or what :func:`choose_kernel` returned; only a
    dense one can be chosen inside ``jit``. ``start`` takes the ``potentials`` of an equilibrium of
    a nearby economy of the same types, which saves iterations. ``max_iter`` bounds them (default
    500 and 20,000); sweeps of fitting, with which Newton begins where types are many, count among
    its own. ``memory`` is the most bytes that a kernel may take, within what the device and the
    limits of the process leave.

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
    if start is not None and jnp.shape(start) != economy.firms.mass.shape:
        shape = economy.firms.mass.shape
        raise InvalidInput([f"start: has shape {jnp.shape(start)} where {shape} is needed"])
    merged = merged_types(economy) if isinstance(kernel, str) and kernel != "dense" else None
    distinct = economy
    if merged is not None:
        distinct = merged.economy
        start = None if start is None else merged.start(start)
    pair, mass_x = stacked(distinct)
    equilibrium = solve_by_kernels(
        pair,
        mass_x,
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
    start: jax.Array | None = None,
    certificate_steps: int | jax.Array = CERTIFICATE_STEPS,
) -> Equilibrium:
    """What :func:`solve_equilibrium` compiles; ``start`` are firms' ``t`` to begin from."""
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

    starts = type_starts(economy)

    def by_origin(values: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jnp.split(values, starts[1:-1]))

    _, row, column = exponents(market, s, t)
    return Equilibrium(
        economy=economy,
        all_matches=market.kernel.matches(row, column),
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


def _solve(
    economy: Economy,
    kernel: Kernel,
    solver: str,
    max_iter: int | None,
    start: jax.Array | None,
) -> Equilibrium:
    if is_traced((economy, kernel, start)):
        return _whole(economy, kernel, start=start, solver=solver, max_iter=max_iter)
    found = _compiled(economy, kernel, start, solver=solver, max_iter=max_iter)
    return replace(found, economy=economy, all_matches=dressed(found.all_matches, kernel))


_whole = jax.jit(equilibrium_of, static_argnames=("solver", "max_iter"))


@partial(jax.jit, static_argnames=("solver", "max_iter"))
def _compiled(
    economy: Economy, kernel: Kernel, start: Any, solver: str, max_iter: int | None
) -> Equilibrium:
    """The equilibrium but for what it was given, of which a program would hand back copies."""
    found = equilibrium_of(economy, kernel, solver, max_iter, start)
    return replace(found, economy=None, all_matches=bare(found.all_matches))  # type: ignore[arg-type]
