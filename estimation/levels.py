"""Constants and intensities in closed form, once the matched margins, ``Φ`` and scales are known.

The last of the slides' steps, for estimates from matched data: there ``f, g`` are observed and
``f̄ = f + f0``, ``ḡ`` are derived. :func:`~estimation.calibration.calibrate` is its counterpart
for types whose whole mass is given.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from estimation.offshored import log_hires_abroad
from matching import Economy, make_firms, make_origin


@partial(
    register_dataclass,
    data_fields=["offshoring_rate", "mean_wage", "mass", "outside_option"],
    meta_fields=["name"],
)
@dataclass(frozen=True)
class ForeignSide:
    """What aggregates say about the offshored side; masses are relative to home's workers."""

    offshoring_rate: float  # |f*|/|f|
    mean_wage: float  # E(w*), money
    mass: Any  # f̄* on home's skill points, (N,), with |f̄| = 1
    outside_option: float = 0.0  # w0*, money
    name: str = "foreign"


@partial(
    register_dataclass,
    data_fields=[
        "unemployment_rate", "wage_share", "foreign", "outside_option", "firm_outside_option",
        "firm_mass", "std_errors",
    ],
    meta_fields=["name"],
)  # fmt: skip
@dataclass(frozen=True)
class Market:
    """Aggregates from which levels follow.

    They count as known but for ``std_errors``, of those that were counted from a sample.
    """

    unemployment_rate: float  # |f0|/|f̄|
    wage_share: float  # W/Y
    foreign: ForeignSide | None = None
    outside_option: float = 0.0  # w0, money
    firm_outside_option: float = 0.0  # r0, money
    firm_mass: float | None = None  # |ḡ|/|f̄|; the slides' 1 + |f*|/|f| where it is None
    std_errors: Any = (0.0, 0.0, 0.0)  # of the unemployment rate, offshoring rate and E(w*)
    name: str = "home"

    @property
    def counted(self) -> np.ndarray:
        """The unemployment rate, the offshoring rate and ``E(w*)``; zero without a foreign side."""
        abroad = (self.foreign.offshoring_rate, self.foreign.mean_wage) if self.foreign else (0, 0)
        return np.array([self.unemployment_rate, *abroad], dtype=np.float64)

    def with_counted(self, values: Any) -> "Market":
        """The market with other values of what :attr:`counted` lists."""
        u, rate, wage = values
        foreign = self.foreign and replace(self.foreign, offshoring_rate=rate, mean_wage=wage)
        return replace(self, unemployment_rate=u, foreign=foreign)

    @property
    def rests_on(self) -> dict[str, str]:
        """What fixes each constant and intensity: parameter → data or assumption."""
        home = f"origin.{self.name}"
        firms = "the assumed mass of firms"
        reasons = {
            f"{home}.constant": "E(w), W/Y and the estimated Φ",
            f"{home}.nu_x": "E(w), w0 and the unemployment rate",
            f"{home}.nu_y": f"E(w) and W/Y, relative to {firms}",
        }
        if self.foreign is not None:
            away = f"origin.{self.foreign.name}"
            reasons |= {
                f"{away}.constant": "E(w*) and the assumption E(r*) = E(r)",
                f"{away}.nu_x": "E(w*), w0* and the offshoring rate, relative to the assumed mass "
                "of foreign workers",
                f"{away}.nu_y": f"the assumption E(r*) = E(r), relative to {firms}",
            }
        return reasons

    @property
    def mass_of_firms(self) -> Any:
        """``|ḡ|/|f̄|``."""
        rate = self.foreign.offshoring_rate if self.foreign else 0.0
        return 1.0 + rate if self.firm_mass is None else self.firm_mass

    @property
    def defects(self) -> list[str]:
        """What no parameters can meet."""
        found = [
            f"{name}: is {value!r}; it must be between 0 and 1, both excluded"
            for name, value in (
                ("unemployment_rate", self.unemployment_rate),
                ("wage_share", self.wage_share),
            )
            if not 0 < value < 1
        ]
        rate, matched = 0.0, 1.0 - self.unemployment_rate
        if self.foreign is not None:
            rate, mass = self.foreign.offshoring_rate, np.asarray(self.foreign.mass)
            if not rate > 0:
                found.append(f"offshoring_rate: is {rate!r}; it must be positive")
            if not (np.all(np.isfinite(mass)) and np.all(mass > 0)):
                found.append("foreign mass: every worker type needs some; merge those without")
            elif not rate * matched < mass.sum():
                found.append(
                    f"offshoring_rate: {rate * matched:.6g} foreign workers would be hired, of "
                    f"{mass.sum():.6g} that there are"
                )
        if not (1.0 + rate) * matched < self.mass_of_firms:
            found.append(
                f"firm mass: {(1.0 + rate) * matched:.6g} matches would be made by a mass "
                f"{self.mass_of_firms:.6g} of firms; the slides take 1 + offshoring rate"
            )
        return found


def matched_economy(
    skills: jax.Array,
    characteristics: jax.Array,
    log_share: jax.Array,
    multipliers: tuple[jax.Array, jax.Array],
    affinity: jax.Array,
    scales: tuple[jax.Array, jax.Array],
    mean_wage: jax.Array,
    market: Market,
) -> Economy:
    """The economy whose home matches have the shares, and whose levels meet the aggregates.

    ``log_share (N, J)`` is ``log π/|π|`` of the model, ``x'Φy/λ − ã(x) − b̃(y)``, with
    ``multipliers`` ``ã, b̃``; ``affinity`` is ``Φ (m, n)``, ``scales`` are ``λ_x, λ_y``. With
    ``E(w) = E[a + λ_x log π]`` the gauge of ``a``: ``f0 ∝ exp(−a/λ_x)``,
    ``ν_x = log Σ_x exp((w0 − a)/λ_x) − log|f0|``, ``C = E(w)/(W/Y) − E[x'Φy]``, and likewise
    abroad and for firms; equation (10) gives ``f*``. Nothing is checked: see
    :attr:`Market.defects`. Source: docs/equations.md, estimation in three steps.
    """
    lam_x, lam_y = scales
    lam = lam_x + lam_y
    u, share = market.unemployment_rate, jnp.exp(log_share)
    q = skills @ affinity @ characteristics.T  # without constants
    log_pi = log_share + jnp.log1p(-u)
    f, g = (1.0 - u) * share.sum(1), (1.0 - u) * share.sum(0)
    gauge = mean_wage - jnp.sum(share * (lam * multipliers[0][:, None] + lam_x * log_pi))
    a = lam * multipliers[0] + gauge
    mean_output = mean_wage / market.wage_share
    constant = mean_output - jnp.sum(share * q)
    b = lam * (multipliers[1] - jnp.log1p(-u)) + constant - gauge
    log_f0 = jnp.log(u) + jax.nn.log_softmax(-a / lam_x)
    nu_x = jax.nn.logsumexp((market.outside_option - a) / lam_x) - jnp.log(u)

    foreign = []
    hires = jnp.zeros_like(f)
    for side in [] if market.foreign is None else [market.foreign]:
        mass, total = jnp.asarray(side.mass), side.offshoring_rate * (1.0 - u)
        log_hires = log_hires_abroad(jnp.log(f), log_f0, mass, total, lam_x / lam)
        hires = jnp.exp(log_hires)
        log_pi_abroad = log_pi + (log_hires - jnp.log(f))[:, None]
        share_abroad = jnp.exp(log_pi_abroad) / total
        log_rest = jnp.log(mass - hires)[:, None]
        # w* = a* + λ_x log π* and a* = level − λ_x log f0*
        level = side.mean_wage - jnp.sum(share_abroad * lam_x * (log_pi_abroad - log_rest))
        output = mean_output - mean_wage + side.mean_wage  # E(r*) = E(r)
        constant_abroad = output - jnp.sum(share_abroad * q)
        b_abroad = q + constant_abroad - (level - lam_x * log_rest) - lam * log_pi_abroad
        shift = jnp.sum(share * (b_abroad - b[None, :]))  # b* − b, one number for all x and y
        foreign.append((side, mass, constant_abroad, (side.outside_option - level) / lam_x, shift))

    unfilled = market.mass_of_firms - (1.0 - u) - hires.sum()
    g0 = unfilled * jax.nn.softmax(-b / lam_y)
    nu_y = jax.nn.logsumexp((market.firm_outside_option - b) / lam_y) - jnp.log(unfilled)
    g_abroad = (share * (hires / share.sum(1))[:, None]).sum(0)
    home = make_origin(
        skills, f + jnp.exp(log_f0), constant=constant, nu_x=nu_x, nu_y=nu_y,
        outside_option=market.outside_option, name=market.name,
    )  # fmt: skip
    others = [
        make_origin(
            skills, mass, constant=constant_abroad, nu_x=nu, nu_y=nu_y - shift / lam_y,
            outside_option=side.outside_option, name=side.name,
        )
        for side, mass, constant_abroad, nu, shift in foreign
    ]  # fmt: skip
    return Economy(
        origins=(home, *others),
        firms=make_firms(
            characteristics, g + g_abroad + g0, outside_option=market.firm_outside_option
        ),
        affinity=affinity,
        lambda_x=lam_x,
        lambda_y=lam_y,
        intensity_unit="cell",
    )
