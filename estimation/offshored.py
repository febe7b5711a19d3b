"""Equation (10): how the mass of offshored matches is spread over workers and firms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matching import InvalidInput

_STEPS = 50  # of Newton's method, which takes a dozen


def offshored_matches(
    matches: Any, unmatched: Any, foreign_mass: Any, rate: float, worker_share: float
) -> np.ndarray:
    """``π*`` of each cell, ``(N, J)``, from home's matches ``π`` and the rate ``|f*|/|f|``.

    ``λ log(π*/π) = −c_F − (a* − a)(x) + λ_y(ν_y* − ν_y)`` with ``a* − a = const −
    λ_x log(f0*/f0)``: the ratio ``π*/π`` is one number times ``(f0*/f0)^θ``, ``θ = λ_x/λ``, and
    the rate tells the number (slides, equation 10). ``unmatched`` is home's ``f0 (N,)``,
    ``foreign_mass`` the potential foreign workers ``f̄* (N,)`` on the same skill points,
    ``worker_share`` is ``θ``.

    Raises :class:`~matching.errors.InvalidInput` for masses that are not positive, a rate beyond
    what foreign workers can fill, and a share outside (0, 1).

    >>> offshored_matches([[0.4, 0.5]], [0.1], [0.3], rate=0.1, worker_share=0.5).round(6).tolist()
    [[0.04, 0.05]]
    """
    pi, f0, foreign = (np.asarray(v, dtype=np.float64) for v in (matches, unmatched, foreign_mass))
    total = rate * pi.sum()
    _require(pi, f0, foreign, total, worker_share)
    f = pi.sum(1)
    log_hires = log_hires_abroad(np.log(f), np.log(f0), foreign, total, worker_share)
    return pi * np.exp(np.asarray(log_hires) - np.log(f))[:, None]


@jax.jit
def log_hires_abroad(
    log_f: jax.Array, log_f0: jax.Array, foreign_mass: jax.Array, total: Any, worker_share: Any
) -> jax.Array:
    """``log f*`` of each worker type by equation (10); traced, and nothing is checked.

    ``log f* − θ log(f̄* − f*) = log f − θ log f0 + c`` with the number ``c`` at which ``Σ f*`` is
    the ``total``.
    """
    log_mass = jnp.log(foreign_mass)
    level = log_f - worker_share * log_f0 - (1.0 - worker_share) * log_mass

    def log_shares(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``log f*/f̄*`` and its slope in the number."""
        u = jax.lax.stop_gradient(_log_odds(level + number, worker_share))
        u = _newton(u, level + number, worker_share)  # whose derivative is the exact one
        share = jax.nn.sigmoid(u)
        slope = (1.0 - share) / (1.0 - share + worker_share * share)
        return jax.nn.log_sigmoid(u), slope

    def step(number: jax.Array) -> jax.Array:
        """Newton's step on ``log Σ f*``, which bends down: from the left it never overshoots."""
        log_share, slope = log_shares(number)
        weight = jax.nn.softmax(log_mass + log_share)
        gap = jax.nn.logsumexp(log_mass + log_share) - jnp.log(total)
        return number - gap / jax.lax.stop_gradient(jnp.sum(weight * slope))

    # at this number every type's hires fall short of the total's share
    start = jnp.log(total) - jax.nn.logsumexp(log_mass) + jnp.min(-level)
    number = jax.lax.fori_loop(0, _STEPS, lambda _, c: step(c), jax.lax.stop_gradient(start))
    return log_mass + log_shares(step(jax.lax.stop_gradient(number)))[0]


def _log_odds(level: jax.Array, share: Any) -> jax.Array:
    """``u`` with ``log s(u) − θ log s(−u) = level``, ``s`` the logistic: slope in (θ, 1)."""
    start = jnp.where(level > 0, level / share, level)
    return jax.lax.fori_loop(0, _STEPS, lambda _, u: _newton(u, level, share), start)


def _newton(u: jax.Array, level: jax.Array, share: Any) -> jax.Array:
    log_s, log_rest = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
    slope = jax.lax.stop_gradient(jnp.exp(log_rest) + share * jnp.exp(log_s))
    return u - (log_s - share * log_rest - level) / slope


def _require(
    pi: np.ndarray, f0: np.ndarray, foreign: np.ndarray, total: float, worker_share: float
) -> None:
    defects = []
    if not (pi.ndim == 2 and f0.shape == foreign.shape == pi.shape[:1]):
        defects.append(
            f"matches, unmatched, foreign_mass: have shapes {pi.shape}, {f0.shape} and "
            f"{foreign.shape}; one row of matches, and one mass each, per worker type"
        )
    elif not all(np.all(v > 0) and np.all(np.isfinite(v)) for v in (pi.sum(1), f0, foreign)):
        defects.append(
            "matches, unmatched, foreign_mass: every worker type needs all three to be positive; "
            "merge types that are empty"
        )
    elif not 0 < total < foreign.sum():
        defects.append(
            f"rate: {total:.6g} foreign workers would be hired, of {foreign.sum():.6g} that there "
            "are; the rate is positive and relative to home matches"
        )
    if not 0 < worker_share < 1:
        defects.append(f"worker_share: is {worker_share!r}; λ_x/λ lies between 0 and 1")
    if defects:
        raise InvalidInput(defects)
