"""Where to begin: as if all types of a side were one.

Of a mass ``F`` of workers and ``G`` of firms, all alike, ``m`` match. With ``M`` the matches were
all of them unmatched as well,

    m = M (1 − m/F)^θ (1 − m/G)^{1−θ}:

one equation for the unmatched shares, which give the potentials their level. Solvers that find the
level themselves, where few are unmatched, take many iterations for it.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_sigmoid, sigmoid
from jax.scipy.special import logsumexp

from matching.market import Market, active, log_demands

# Halvings of the range in which the unmatched shares lie; a guess need not be exact.
_HALVINGS = 12


def first_guess(market: Market, kappa: jax.Array | float = 1.0) -> tuple[jax.Array, jax.Array]:
    """Potentials ``s (N,)``, ``t (J,)``, the same for all types of a side; zero without singles."""
    none_x, none_y = jnp.zeros_like(market.mass_x), jnp.zeros_like(market.mass_y)
    if not market.singles:
        return none_x, none_y
    of_workers, _ = log_demands(market, kappa)
    active_x, active_y = active(market)
    mass_x = jnp.where(active_x, market.mass_x, 0.0)
    total_x, total_y = mass_x.sum(), jnp.where(active_y, market.mass_y, 0.0).sum()
    log_most = logsumexp(of_workers(none_y), b=mass_x)
    few = jnp.minimum(total_x, total_y)

    def potentials(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Those with a share ``1/(1+e^{−z})`` of the shorter side matched."""
        left = few * sigmoid(-z)
        left_x, left_y = (total_x - few + left) / total_x, (total_y - few + left) / total_y
        return market.theta * jnp.log(left_x), (1.0 - market.theta) * jnp.log(left_y)

    def halved(_: jax.Array, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = between
        z = 0.5 * (low + high)
        s, t = potentials(z)
        too_many = jnp.log(few) + log_sigmoid(z) > log_most + s + t
        return jnp.where(too_many, low, z), jnp.where(too_many, z, high)

    least = jnp.minimum(market.theta, 1.0 - market.theta)
    most = (1.0 + jnp.abs(log_most - jnp.log(few))) / least
    low, high = lax.fori_loop(0, _HALVINGS, halved, (-most, most))
    s, t = potentials(0.5 * (low + high))
    return none_x + s, none_y + t
