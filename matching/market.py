"""The market: all origins' workers stacked against the firms, and its scarcity constraints.

Stacking makes one two-sided problem of any number of origins. In the unknowns

    s_i = θ log(f0_i/f̄_i) ≤ 0,    t_j = (1−θ) log(g0_j/ḡ_j) ≤ 0,    θ = λ_x/λ

matches are ``π_ij = exp(L_ij + s_i + t_j)`` with ``L`` the log kernel including the masses, and
the equilibrium is the minimum of the convex potential ``F``, where all margins are met:

    f̄_i e^{s_i/θ} + Σ_j π_ij = f̄_i,    ḡ_j e^{t_j/(1−θ)} + Σ_i π_ij = ḡ_j.

With matched margins given (no singles) the exponential terms are absent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass

from matching.economy import Economy
from matching.kernel import DenseKernel, DenseMatches, Factors, Kernel, Matches, sums

_EPS = float(jnp.finfo(jnp.float64).eps)
# Newton steps that change no exponent by more are taken whole.
_SMALL_STEP = 1e-3


@partial(
    register_dataclass,
    data_fields=["kernel", "log_worth_x", "log_worth_y", "log_weight_x", "log_weight_y",
                 "mass_x", "mass_y", "theta", "magnitude"],
    meta_fields=["singles"],
)  # fmt: skip
@dataclass(frozen=True)
class Market:
    """A two-sided matching problem in normalised unknowns; ``N`` workers types, ``J`` firm types.

    ``L_ij = u_i·v_j + log_worth_x_i + log_worth_y_j + log_weight_x_i + log_weight_y_j``.
    Continuation scales the first three, which are money over ``λ``, and keeps the weights.
    A type of zero mass has weight −∞ and mass 1: it matches nobody and disturbs nobody.
    """

    kernel: Kernel  # exp(x'Φy/λ), (N, J)
    log_worth_x: jax.Array  # (N,)
    log_worth_y: jax.Array  # (J,)
    log_weight_x: jax.Array  # (N,)
    log_weight_y: jax.Array  # (J,)
    mass_x: jax.Array  # (N,)
    mass_y: jax.Array  # (J,)
    theta: jax.Array  # ()
    magnitude: jax.Array  # (): size of the terms whose rounding enters log π
    singles: bool = True


class Matched(NamedTuple):
    """Matches and their sums on both sides."""

    matches: Matches
    workers: jax.Array  # Σ_j π, (N,)
    firms: jax.Array  # Σ_i π, (J,)


def market_of(economy: Economy, kernel: Kernel | None = None) -> Market:
    """Stack an economy's origins into one market (docs/equations.md, equilibrium).

    ``kernel`` is one that was chosen for this economy, or ``None`` for a dense one.
    """
    lam = economy.scale
    theta = economy.lambda_x / lam
    firms = economy.firms
    log_omega_y = log_partner_space(economy, firms.mass)

    worth, weight, mass, magnitude = [], [], [], []
    for origin in economy.origins:
        terms = [
            origin.constant / lam,
            -origin.outside_option / lam,
            theta * origin.nu_x,
            (1.0 - theta) * origin.nu_y,
        ]
        worth.append(jnp.broadcast_to(sum(terms), origin.mass.shape))
        log_omega = log_partner_space(economy, origin.mass)
        weight.append(theta * _log_mass(origin.mass) + (1.0 - theta) * log_omega)
        mass.append(origin.mass)
        magnitude.append(sum(jnp.max(jnp.abs(term)) for term in terms))
    u, v = factors(economy)
    mass_x = jnp.concatenate(mass)
    worth_y = jnp.broadcast_to(-firms.outside_option / lam, firms.mass.shape)
    skills = jnp.stack([jnp.abs(origin.skills).max(0) for origin in economy.origins]).max(0)
    largest = skills @ jnp.abs(economy.affinity) @ jnp.abs(firms.characteristics).max(0) / lam
    return Market(
        kernel=DenseKernel(Factors(u, v)) if kernel is None else kernel.of(u, v),
        log_worth_x=jnp.concatenate(worth),
        log_worth_y=worth_y,
        log_weight_x=jnp.concatenate(weight),
        log_weight_y=(1.0 - theta) * _log_mass(firms.mass) + theta * log_omega_y,
        mass_x=jnp.where(mass_x > 0, mass_x, 1.0),
        mass_y=jnp.where(firms.mass > 0, firms.mass, 1.0),
        theta=theta,
        magnitude=largest + jnp.stack(magnitude).max() + jnp.abs(worth_y).max(),
    )


def factors(economy: Economy) -> Factors:
    """``u (N, d)``, ``v (J, d)`` with ``u_i·v_j = x_i'Φy_j/λ``, origins stacked, d the smaller."""
    skills = jnp.concatenate([origin.skills for origin in economy.origins])
    characteristics = economy.firms.characteristics
    affinity = economy.affinity / economy.scale
    if affinity.shape[0] <= affinity.shape[1]:
        return Factors(skills, characteristics @ affinity.T)
    return Factors(skills @ affinity, characteristics)


@jax.jit
def stacked(economy: Economy) -> tuple[Factors, jax.Array]:
    """The factors of the log affinity and worker types' masses ``(N,)``, origins stacked."""
    return factors(economy), jnp.concatenate([origin.mass for origin in economy.origins])


def market_of_margins(kernel: Kernel, mass_x: jax.Array, mass_y: jax.Array) -> Market:
    """The market without outside options: matched margins given."""
    zeros_x, zeros_y = jnp.zeros_like(mass_x), jnp.zeros_like(mass_y)
    return Market(
        kernel=kernel,
        log_worth_x=zeros_x,
        log_worth_y=zeros_y,
        log_weight_x=_log_mass(mass_x),
        log_weight_y=_log_mass(mass_y / mass_y.sum()),
        mass_x=jnp.where(mass_x > 0, mass_x, 1.0),
        mass_y=jnp.where(mass_y > 0, mass_y, 1.0),
        theta=jnp.asarray(0.5),
        magnitude=kernel.magnitude,
        singles=False,
    )


def prepared(market: Market) -> Market:
    """The market as searches take it: the kernel in its fastest form, no derivatives."""
    market = jax.lax.stop_gradient(market)
    return replace(market, kernel=market.kernel.prepared())


def log_partner_space(economy: Economy, mass: jax.Array) -> jax.Array:
    """``log ω`` of each type of one side: its share of the side per density, 0 per cell."""
    if economy.intensity_unit == "cell":
        return jnp.zeros_like(mass)
    return jnp.where(mass > 0, _log_mass(mass) - jnp.log(mass.sum()), 0.0)


def exponents(
    market: Market, s: jax.Array, t: jax.Array, kappa: jax.Array | float = 1.0
) -> tuple[Kernel, jax.Array, jax.Array]:
    """The kernel and the row and column exponents that make ``π``.

    ``kappa`` in (0, 1] shrinks money over ``λ`` (continuation).
    """
    row = kappa * market.log_worth_x + market.log_weight_x + s
    column = kappa * market.log_worth_y + market.log_weight_y + t
    return market.kernel.scaled(jnp.asarray(kappa)), row, column


def log_demands(
    market: Market, kappa: jax.Array | float = 1.0
) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]:
    """What each type would match at a potential of zero, over its mass, in logs.

    Of workers as a function of ``t``, and of firms as a function of ``s``.
    """
    none_x, none_y = jnp.zeros_like(market.mass_x), jnp.zeros_like(market.mass_y)
    kernel, weight_x, weight_y = exponents(market, none_x, none_y, kappa)
    share_x, share_y = weight_x - jnp.log(market.mass_x), weight_y - jnp.log(market.mass_y)
    return (
        lambda t: share_x + kernel.log_row_sums(weight_y + t),
        lambda s: share_y + kernel.log_column_sums(weight_x + s),
    )


def unmatched(market: Market, s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Unmatched masses ``f0 (N,)``, ``g0 (J,)``; zeros where there are no singles."""
    if not market.singles:
        return jnp.zeros_like(s), jnp.zeros_like(t)
    return (
        market.mass_x * jnp.exp(s / market.theta),
        market.mass_y * jnp.exp(t / (1.0 - market.theta)),
    )


def excess(
    market: Market, s: jax.Array, t: jax.Array, kappa: jax.Array | float = 1.0
) -> tuple[Matched, jax.Array, jax.Array]:
    """Matches ``π (N, J)`` and each margin's excess demand, in masses: the gradient of ``F``."""
    kernel, row, column = exponents(market, s, t, kappa)
    matches = kernel.matches(row, column)
    if isinstance(matches, DenseMatches):
        matches = matches.formed()
    matched = Matched(matches, *sums(matches, (len(row), len(column))))
    f0, g0 = unmatched(market, s, t)
    active_x, active_y = active(market)
    excess_x = jnp.where(active_x, f0 - market.mass_x + matched.workers, 0.0)
    excess_y = jnp.where(active_y, g0 - market.mass_y + matched.firms, 0.0)
    return matched, excess_x, excess_y


def gaps(market: Market, s: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row sums of the signed Hessian: ``f0/θ`` and ``g0/(1−θ)``.

    Without singles one firm type is grounded, which pins the gauge and changes no match.
    """
    f0, g0 = unmatched(market, s, t)
    if market.singles:
        return f0 / market.theta, g0 / (1.0 - market.theta)
    return f0, g0.at[jnp.argmax(jnp.where(active(market)[1], market.mass_y, 0.0))].set(
        market.mass_y.max()
    )


def largest_change(market: Market, ds: jax.Array, dt: jax.Array) -> jax.Array:
    """The largest change of any exponent in ``F`` by a step, ``()``, log points."""
    if not market.singles:
        return jnp.maximum(ds.max() + dt.max(), -(ds.min() + dt.min()))
    # no match's exponent changes by more than the larger of these: it is a mean of two of them
    theta = market.theta
    return jnp.maximum(jnp.abs(ds).max() / theta, jnp.abs(dt).max() / (1.0 - theta))


def step_length(d: jax.Array) -> jax.Array:
    """Length in (0, 1] of a Newton step on ``F`` that is safe from anywhere.

    ``F`` is a sum of exponentials, hence generalised self-concordant: with ``d`` the largest change
    of any exponent, the length ``log(1+d)/d`` decreases it (Sun and Tran-Dinh 2019, Theorem 2).
    Where ``d`` is small a whole step is as safe, and converges faster.
    """
    return jnp.where(d > _SMALL_STEP, jnp.log1p(d) / jnp.maximum(d, _SMALL_STEP), 1.0)


def active(market: Market) -> tuple[jax.Array, jax.Array]:
    """Which types have positive mass; one that is NaN counts, so that it shows in all results."""
    return ~jnp.isneginf(market.log_weight_x), ~jnp.isneginf(market.log_weight_y)


def rounding(
    market: Market, matched: Matched, s: jax.Array, t: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Bound on the numerical error of each margin's excess, in masses, ``(N,)`` and ``(J,)``.

    A match's relative error is that of its exponent, ε times the size of the terms summed in it;
    a sum of n terms adds √n (Higham and Mary 2019, the probabilistic bound); the kernel adds its
    own error.
    """
    size = _size(market, s, t)
    f0, g0 = unmatched(market, s, t)
    error_x, error_y = matched.matches.error()

    def one_side(total: jax.Array, single: jax.Array, mass: jax.Array, count: int) -> jax.Array:
        unit = _EPS * (4.0 + count**0.5)
        return (unit + _EPS * size) * total + _EPS * (4.0 + size) * single + 2.0 * _EPS * mass

    return (
        one_side(matched.workers, f0, market.mass_x, len(t)) + error_x,
        one_side(matched.firms, g0, market.mass_y, len(s)) + error_y,
    )


def relative_rounding(market: Market, s: jax.Array, t: jax.Array) -> jax.Array:
    """The largest such bound where margins are met, of its mass, the kernel's error apart."""
    return _EPS * (6.0 + max(len(s), len(t)) ** 0.5 + _size(market, s, t))


def relative(market: Market, margin_x: jax.Array, margin_y: jax.Array) -> jax.Array:
    """The largest of two sides' margin errors, each relative to its mass."""
    return jnp.maximum(
        jnp.max(jnp.abs(margin_x) / market.mass_x), jnp.max(jnp.abs(margin_y) / market.mass_y)
    )


def _size(market: Market, s: jax.Array, t: jax.Array) -> jax.Array:
    """Size of the terms that are summed in the exponent of a match."""
    size = market.magnitude + jnp.max(jnp.abs(s)) + jnp.max(jnp.abs(t))
    return size + _largest(market.log_weight_x) + _largest(market.log_weight_y)


def _largest(log_weight: jax.Array) -> jax.Array:
    return jnp.max(jnp.where(jnp.isfinite(log_weight), jnp.abs(log_weight), 0.0))


def _log_mass(mass: jax.Array) -> jax.Array:
    return jnp.where(mass > 0, jnp.log(jnp.where(mass > 0, mass, 1.0)), -jnp.inf)
