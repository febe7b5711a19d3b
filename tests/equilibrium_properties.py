"""What must hold of every equilibrium, measured on a batch of economies of one shape.

Each function returns the worst value of a property per economy; the tests and the long fuzz run
compare them with the same bounds.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from matching import Economy, Equilibrium, Status, choose_kernel, solve_equilibrium
from matching.kernel import Kernel

BOUNDS = {
    "margin": 1e-10,
    "accounting": 1e-12,
    "solvers": 1e-8,
    "permutation": 1e-11,
    "unit": 1e-11,
    "splitting": 1e-11,
    "kernels": 1e-11,
}
_KRONER_PER_EURO = 7.46
# Economies that plain fitting does not solve by then are compared by the other properties alone.
_IPFP_ITERATIONS = 2_000


def measure(batch: Economy, kernel: str = "dense") -> dict[str, np.ndarray]:
    """Every property of every economy of a batch; NaN where a property does not apply.

    Solutions of a kernel that is not dense differ by what their certificates allow, and by that
    less is counted.
    """
    found = partial(solve, kernel=kernel)
    equilibrium = found(batch)
    certified = np.asarray(equilibrium.status) == Status.CERTIFIED
    fitted = found(batch, solver="ipfp", max_iter=_IPFP_ITERATIONS)
    both = certified & (np.asarray(fitted.status) == Status.CERTIFIED)
    density = replace(batch, intensity_unit="density")
    base = found(density) if batch.intensity_unit == "cell" else equilibrium
    split = found(jax.jit(jax.vmap(split_types))(density))
    whole = np.asarray(base.status) == Status.CERTIFIED
    result = {
        "margin": np.asarray(jax.vmap(lambda e: e.max_residual)(equilibrium)),
        "unbounded": np.asarray(~jnp.isfinite(equilibrium.wage_error_bound), dtype=float),
        "certified": certified.astype(float),
        "accounting": np.asarray(jax.jit(jax.vmap(accounting_error))(equilibrium)),
        "solvers": np.where(both, _gap(equilibrium, fitted), np.nan),
        "permutation": np.where(
            certified,
            _gap(equilibrium, found(jax.jit(jax.vmap(reverse_types))(batch)), reverse=True),
            np.nan,
        ),
        "unit": np.where(
            certified, _gap(equilibrium, found(jax.jit(jax.vmap(in_euro))(batch))), np.nan
        ),
        "splitting": np.where(whole, _gap(base, split, merge=True), np.nan),
    }
    if kernel != "dense":
        result["kernels"] = np.where(certified, _gap(solve(batch), equilibrium), np.nan)
    return result


def solve(
    batch: Economy, solver: str = "newton", max_iter: int | None = None, kernel: str = "dense"
) -> Equilibrium:
    """A batch of equilibria; statuses tell, nothing raises."""
    chosen = None if kernel == "dense" else _kernels(batch, kernel)
    return _solved(batch, chosen, solver, max_iter)


@partial(jax.jit, static_argnames=("solver", "max_iter"))
def _solved(
    batch: Economy, kernels: Kernel | None, solver: str, max_iter: int | None
) -> Equilibrium:  # fmt: skip
    def one(economy: Economy, kernel: Kernel | None) -> Equilibrium:
        return solve_equilibrium(
            economy, solver, kernel=kernel or "dense", max_iter=max_iter, throw=False
        )

    return jax.vmap(one)(batch, kernels)


def _kernels(batch: Economy, name: str) -> Kernel:
    """A kernel of each economy, stacked: low ranks with features of zero up to the highest."""
    lanes = len(batch.lambda_x)
    values = jax.tree.map(np.asarray, batch)
    kernels = [
        choose_kernel(jax.tree.map(lambda leaf, k=k: leaf[k], values), name) for k in range(lanes)
    ]
    if name == "low rank":
        most = max(kernel.table.rank for kernel in kernels)

        def padded(features: jax.Array) -> np.ndarray:
            return np.pad(features, ((0, most - len(features)), (0, 0)))

        kernels = [replace(k, table=jax.tree.map(padded, k.table)) for k in kernels]
    else:
        kernels = [replace(k, block=2) for k in kernels]  # several blocks, and a part of one
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *kernels)


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


def merge_pairs(log_pi: np.ndarray) -> np.ndarray:
    """Undo :func:`split_types` for ``log π``: add up the matches of the parts."""
    lanes, workers, firms = log_pi.shape
    return logsumexp(log_pi.reshape(lanes, workers // 2, 2, firms // 2, 2), axis=(2, 4))


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


def _gap(
    one: Equilibrium, other: Equilibrium, reverse: bool = False, merge: bool = False
) -> np.ndarray:
    """Largest difference of ``log π``, relative to ``max(1, |log π|)``, per economy."""
    gaps = []
    allowed = _stated(one) + _stated(other)
    for a, b in zip(one.log_matches, other.log_matches, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        b = b[:, ::-1, ::-1] if reverse else merge_pairs(b) if merge else b
        apart = np.abs(a - b) - allowed[:, None, None]
        gaps.append(np.max(apart / np.maximum(1.0, np.abs(a)), axis=(1, 2)))
    return np.max(gaps, axis=0)


def _stated(eq: Equilibrium) -> np.ndarray:
    """What the certificate of each lane allows ``log π`` to be wrong by; of dense ones nothing."""
    if eq.kernel == "dense":
        return np.zeros(len(eq.status))
    theta = np.asarray(eq.economy.lambda_x / (eq.economy.lambda_x + eq.economy.lambda_y))
    workers = np.max([bound.max(1) for bound in eq.bound_workers], axis=0)
    return theta * workers + (1.0 - theta) * np.asarray(eq.bound_firms).max(1)


def _omega(economy: Economy, mass: jax.Array) -> jax.Array:
    return (
        jnp.log(mass / mass.sum()) if economy.intensity_unit == "density" else jnp.zeros_like(mass)
    )
