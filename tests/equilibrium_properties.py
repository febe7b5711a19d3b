"""What must hold of every equilibrium, measured on a batch of economies of one shape.

Each function returns the worst value of a property per economy; the tests and the long fuzz run
compare them with the same bounds.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from matching import Economy, Equilibrium, Status, solve_equilibrium

BOUNDS = {
    "margin": 1e-10,
    "accounting": 1e-12,
    "solvers": 1e-8,
    "permutation": 1e-11,
    "unit": 1e-11,
    "splitting": 1e-11,
}
_KRONER_PER_EURO = 7.46
# Economies that plain fitting does not solve by then are compared by the other properties alone.
_IPFP_ITERATIONS = 2_000


def measure(batch: Economy) -> dict[str, np.ndarray]:
    """Every property of every economy of a batch; NaN where a property does not apply."""
    equilibrium = solve(batch)
    certified = np.asarray(equilibrium.status) == Status.CERTIFIED
    fitted = solve(batch, solver="ipfp", max_iter=_IPFP_ITERATIONS)
    both = certified & (np.asarray(fitted.status) == Status.CERTIFIED)
    density = replace(batch, intensity_unit="density")
    base = solve(density) if batch.intensity_unit == "cell" else equilibrium
    split = solve(jax.vmap(split_types)(density))
    dense = np.asarray(base.status) == Status.CERTIFIED
    return {
        "margin": np.asarray(jax.vmap(lambda e: e.max_residual)(equilibrium)),
        "unbounded": np.asarray(~jnp.isfinite(equilibrium.wage_error_bound), dtype=float),
        "certified": certified.astype(float),
        "accounting": np.asarray(jax.vmap(accounting_error)(equilibrium)),
        "solvers": np.where(both, _gap(equilibrium, fitted), np.nan),
        "permutation": np.where(
            certified,
            _gap(equilibrium, solve(jax.vmap(reverse_types)(batch)), reverse=True),
            np.nan,
        ),
        "unit": np.where(certified, _gap(equilibrium, solve(jax.vmap(in_euro)(batch))), np.nan),
        "splitting": np.where(dense, _gap(base, jax.vmap(merge_pairs)(split)), np.nan),
    }


def solve(batch: Economy, solver: str = "newton", max_iter: int | None = None) -> Equilibrium:
    """A batch of equilibria; statuses tell, nothing raises."""
    one = partial(solve_equilibrium, solver=solver, max_iter=max_iter, throw=False)
    return jax.vmap(one)(batch)


def accounting_error(eq: Equilibrium) -> jax.Array:
    """``|w + r − q|`` over ``max(|q|, |w|, λ max(1, |log π|))``; w from the workers' side alone."""
    economy = eq.economy
    worst = jnp.asarray(0.0)
    for o, log_pi, log_f0, q in zip(
        economy.origins, eq.log_matches, eq.log_unmatched, eq.outputs, strict=True
    ):
        cells = _omega(economy, o.mass), _omega(economy, economy.firms.mass)
        log_pi_density = log_pi - cells[0][:, None] - cells[1][None, :]
        w = (
            economy.lambda_x * (log_pi_density - o.nu_x - (log_f0 - cells[0])[:, None])
            + jnp.broadcast_to(o.outside_option, o.mass.shape)[:, None]
        )
        r0 = jnp.broadcast_to(economy.firms.outside_option, economy.firms.mass.shape)
        r = (
            economy.lambda_y
            * (log_pi_density - o.nu_y - (eq.log_unmatched_firms - cells[1])[None, :])
            + r0[None, :]
        )
        size = jnp.maximum(jnp.abs(q), jnp.abs(w))
        size = jnp.maximum(size, economy.scale * jnp.maximum(1.0, jnp.abs(log_pi)))
        worst = jnp.maximum(worst, jnp.max(jnp.abs(w + r - q) / size))
    return worst


def reverse_types(economy: Economy) -> Economy:
    """The same economy with the types of each side in reverse order."""
    return _each_type(economy, lambda values: values[::-1])


def split_types(economy: Economy) -> Economy:
    """Each type cut into two identical parts, 30 and 70 per cent of its mass."""
    parts = jnp.array([0.3, 0.7])

    def twice(values: jax.Array) -> jax.Array:
        return jnp.repeat(values, 2, axis=0)

    doubled = _each_type(economy, twice)
    origins = tuple(
        replace(o, mass=o.mass * jnp.tile(parts, o.mass.shape[0] // 2)) for o in doubled.origins
    )
    firms = doubled.firms
    firms = replace(firms, mass=firms.mass * jnp.tile(parts, firms.mass.shape[0] // 2))
    return replace(doubled, origins=origins, firms=firms)


def merge_pairs(eq: Equilibrium) -> Equilibrium:
    """Undo :func:`split_types`: add up the matches of the parts."""
    log_matches = tuple(
        jax.nn.logsumexp(log_pi.reshape(log_pi.shape[0] // 2, 2, -1, 2), axis=(1, 3))
        for log_pi in eq.log_matches
    )
    return replace(eq, log_cells=log_matches)


def in_euro(economy: Economy) -> Economy:
    """The same economy with all money in another unit."""
    rate = 1.0 / _KRONER_PER_EURO
    origins = tuple(
        replace(o, constant=o.constant * rate, outside_option=o.outside_option * rate)
        for o in economy.origins
    )
    return replace(
        economy,
        origins=origins,
        firms=replace(economy.firms, outside_option=economy.firms.outside_option * rate),
        affinity=economy.affinity * rate,
        lambda_x=economy.lambda_x * rate,
        lambda_y=economy.lambda_y * rate,
    )


def _each_type(economy: Economy, change) -> Economy:
    def option(value: jax.Array) -> jax.Array:
        return change(value) if value.ndim else value

    origins = tuple(
        replace(
            o,
            skills=change(o.skills),
            mass=change(o.mass),
            outside_option=option(o.outside_option),
        )
        for o in economy.origins
    )
    firms = economy.firms
    firms = replace(
        firms,
        characteristics=change(firms.characteristics),
        mass=change(firms.mass),
        outside_option=option(firms.outside_option),
    )
    return replace(economy, origins=origins, firms=firms)


def _gap(one: Equilibrium, other: Equilibrium, reverse: bool = False) -> np.ndarray:
    """Largest difference of ``log π``, relative to ``max(1, |log π|)``, per economy."""
    gaps = []
    for a, b in zip(one.log_matches, other.log_matches, strict=True):
        b = b[:, ::-1, ::-1] if reverse else b
        gaps.append(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)), axis=(1, 2)))
    return np.max(gaps, axis=0)


def _omega(economy: Economy, mass: jax.Array) -> jax.Array:
    return (
        jnp.log(mass / mass.sum()) if economy.intensity_unit == "density" else jnp.zeros_like(mass)
    )
