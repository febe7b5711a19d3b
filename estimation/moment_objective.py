"""The distance between an equilibrium's moments and the data's, in coordinates fit to search in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from estimation.certificate import MARGIN_TOLERANCE
from estimation.moments import MOMENTS
from matching import (
    Economy,
    get_parameter,
    parameter_names,
    solve_equilibrium,
    with_parameter,
)

_ESTIMABLE = ("lambda_x", "lambda_y", "constant", "nu_x", "nu_y", "outside_option")
# Step of central differences of exact slopes, in natural units.
_STEP = 1e-4


@partial(
    register_dataclass,
    data_fields=["economy", "data", "root", "limits"],
    meta_fields=["free", "tied", "moments"],
)
@dataclass(frozen=True)
class MomentObjective:
    """``½ r'r``, ``r = R (m(u) − m̂)``, in coordinates ``u (P,)`` of the free parameters.

    Scales and masses are in logs, affinities and constants relative to ``λ`` of the given economy.
    """

    economy: Economy
    data: jax.Array  # m̂, (M,)
    root: jax.Array  # R with R'R = Ω, (K, M)
    limits: tuple[jax.Array, jax.Array]  # lowest and highest coordinates, (P,)
    free: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]
    moments: tuple[str, ...]

    def economy_at(self, u: jax.Array) -> Economy:
        """The economy with the free parameters, and what is tied to them, at ``u``."""
        economy, first = self.economy, 0
        for name in self.free:
            old = get_parameter(self.economy, name)
            part = u[first : first + old.size].reshape(old.shape)
            first += old.size
            value = jnp.exp(part) if _in_logs(name) else part * unit_of(self.economy, name)
            economy = with_parameter(economy, name, value)
        for name, source in self.tied:
            economy = with_parameter(economy, name, get_parameter(economy, source))
        return economy

    def values(self, u: jax.Array) -> jax.Array:
        """Every number that :func:`listed` names."""
        economy = self.economy_at(u)
        each = jnp.stack([get_parameter(economy, name) for name in scalars(economy)])
        return jnp.concatenate([jnp.ravel(economy.affinity), each])

    def model(self, u: jax.Array) -> jax.Array:
        """``m(u)``, NaN where no equilibrium is found."""
        solved = solve_equilibrium(self.economy_at(u), throw=False, kernel="dense")
        moments = jnp.concatenate([jnp.ravel(MOMENTS[name](solved)) for name in self.moments])
        return jnp.where(solved.max_residual <= MARGIN_TOLERANCE, moments, jnp.nan)

    def value(self, u: jax.Array) -> jax.Array:
        """``½ r'r``."""
        return 0.5 * jnp.sum((self.root @ (self.model(u) - self.data)) ** 2)


@jax.jit
def moments_and_slopes(objective: MomentObjective, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``m(u)`` and its derivatives, ``(M, P)``."""

    def twice(u: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = objective.model(u)
        return model, model

    slopes, model = jax.jacfwd(twice, has_aux=True)(u)
    return model, slopes


@jax.jit
def gradient(objective: MomentObjective, u: jax.Array) -> jax.Array:
    """By the adjoint, apart from the slopes that the search uses."""
    return jax.grad(MomentObjective.value, argnums=1)(objective, u)


def value(objective: MomentObjective, u: np.ndarray) -> float:
    """``½ r'r``, from the program that gives moments and slopes."""
    gap = np.asarray(moments_and_slopes(objective, u)[0]) - np.asarray(objective.data)
    return float(0.5 * np.sum((np.asarray(objective.root) @ gap) ** 2))


def hessian(objective: MomentObjective, u: np.ndarray) -> np.ndarray:
    """``J'J + Σ r ∂²r``, the second part by central differences of exact slopes."""
    root = np.asarray(objective.root)

    def jacobian(at: np.ndarray) -> np.ndarray:
        return root @ np.asarray(moments_and_slopes(objective, at)[1])

    residual = root @ (np.asarray(moments_and_slopes(objective, u)[0]) - objective.data)
    steps = _STEP * np.eye(len(u))
    bends = np.stack([residual @ (jacobian(u + h) - jacobian(u - h)) for h in steps])
    bends /= 2.0 * _STEP
    here = jacobian(u)
    return here.T @ here + 0.5 * (bends + bends.T)


values = jax.jit(MomentObjective.values)
value_slopes = jax.jit(jax.jacfwd(MomentObjective.values, argnums=1))


def coordinates(economy: Economy, free: Sequence[str]) -> np.ndarray:
    """Of the economy itself, ``(P,)``."""
    return np.concatenate([
        np.ravel(np.log(value) if _in_logs(name) else value / unit_of(economy, name))
        for name in free
        for value in [get_parameter(economy, name)]
    ])  # fmt: skip


def limits_of(
    economy: Economy, free: Sequence[str], bounds: Mapping[str, tuple[float, float]]
) -> tuple[jax.Array, jax.Array]:
    """Bounds on parameters as bounds on coordinates; entries of the affinity have none."""
    ends = []
    for name in free:
        low_high = np.array(bounds.get(name, (0.0 if _in_logs(name) else -np.inf, np.inf)))
        with np.errstate(divide="ignore"):
            scaled = np.log(low_high) if _in_logs(name) else low_high / unit_of(economy, name).max()
        ends.append(np.tile(scaled, (get_parameter(economy, name).size, 1)))
    low, high = np.vstack(ends).T
    return jnp.asarray(low), jnp.asarray(high)


def unit_of(economy: Economy, name: str) -> jax.Array:
    """A natural unit of a parameter that is no scale."""
    if name == "technology.affinity":
        x, y = economy.home.skills, economy.firms.characteristics
        return economy.scale / jnp.outer(jnp.std(x, axis=0), jnp.std(y, axis=0))
    return jnp.ones(()) if is_intensity(name) else economy.scale


def listed(economy: Economy, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """A label for every number that is reported, or of those parameters."""

    def entries(name: str) -> list[str]:
        if name == "technology.affinity":
            rows, columns = economy.skill_names, economy.characteristic_names
            return [f"affinity.{x}.{y}" for x in rows for y in columns]
        value = get_parameter(economy, name)
        return [f"{name}.{k}" for k in range(value.size)] if value.ndim else [name]

    reported = ("technology.affinity", *scalars(economy)) if names is None else names
    return tuple(label for name in reported for label in entries(name))


def scalars(economy: Economy) -> list[str]:
    """Names of the parameters that are one number, can be estimated, and are reported."""
    return [
        name
        for name in parameter_names(economy)
        if name.rsplit(".", 1)[1] in _ESTIMABLE and get_parameter(economy, name).ndim == 0
    ]


def is_intensity(name: str) -> bool:
    """Whether a parameter is in log points, not in money."""
    return name.endswith((".nu_x", ".nu_y"))


def masses(economy: Economy) -> list[str]:
    """Names of the masses of types, which can be estimated beside what is reported."""
    return [name for name in parameter_names(economy) if name.endswith(".mass")]


def _in_logs(name: str) -> bool:
    return name.startswith("tastes.") or name.endswith(".mass")
