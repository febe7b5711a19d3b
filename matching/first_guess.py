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

# Newton's steps on that equation, which is concave in the log odds of a match.
_STEPS = 6


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
    log_few, beyond_x, beyond_y = jnp.log(few), jnp.log(total_x - few), jnp.log(total_y - few)
    theta = market.theta

    def unmatched(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logs of the masses unmatched, of the shorter side first, at log odds ``z``."""
        left = log_few + log_sigmoid(-z)
        return left, jnp.logaddexp(beyond_x, left), jnp.logaddexp(beyond_y, left)

    def potentials(left_x: jax.Array, left_y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return theta * (left_x - jnp.log(total_x)), (1.0 - theta) * (left_y - jnp.log(total_y))

    def step(_: int, z: jax.Array) -> jax.Array:
        left, *sides = unmatched(z)
        too_many = log_few + log_sigmoid(z) - log_most - sum(potentials(*sides))
        from_x, from_y = (jnp.exp(left - side) for side in sides)
        slope = sigmoid(-z) + sigmoid(z) * (theta * from_x + (1.0 - theta) * from_y)
        return z - too_many / slope

    z = lax.fori_loop(0, _STEPS, step, log_most - log_few)
    s, t = potentials(*unmatched(z)[1:])
    return none_x + s, none_y + t
