"""Joint minimum distance: all parameters at once, from any moments of the equilibrium by name.

The estimate minimises ``½ (m(θ) − m̂)' Ω (m(θ) − m̂)``, ``m(θ)`` the moments of the equilibrium,
which is solved anew at each ``θ``. Its Jacobian is exact (implicit function theorem).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.tree_util import register_dataclass

from estimation.certificate import CURVATURE_TOLERANCE, MARGIN_TOLERANCE, Certificate
from estimation.estimates import Estimates, Fit, Minimum
from estimation.identification import Identification, identify
from estimation.moments import MOMENTS, SampleMoments, labels, moment_defects
from matching import (
    Economy,
    InvalidInput,
    NotConverged,
    get_parameter,
    parameter_names,
    solve_equilibrium,
    with_parameter,
)
from matching.errors import did_you_mean

# Moments that count as known are met as if known to this part of their size.
_KNOWN = 1e-4
# Directions of moments with less variance than this, relative, repeat other moments.
_REPEATED = 1e-10
# Starts whose estimates differ by less, in natural units, and objectives, relative, agree.
_SAME = 1e-6
# Spread of random starts around the given economy, in natural units.
_START_SPREAD = 0.5
_ESTIMABLE = ("lambda_x", "lambda_y", "constant", "nu_x", "nu_y", "outside_option")
# Step of central differences of exact slopes, in natural units.
_STEP = 1e-4
# Newton steps after the search.
_LAST_STEPS = 5


def estimate_minimum_distance(
    economy: Economy,
    free: Sequence[str],
    *,
    sampled: SampleMoments | None = None,
    known: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    tied: Mapping[str, str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    starts: int = 5,
    seed: int = 0,
) -> Estimates:
    """Estimate the ``free`` parameters of an economy such that its moments meet the data's.

    ``economy`` is the start and holds everything that is fixed; names are those of
    :func:`~matching.parameters.parameter_names`, ``technology.affinity`` standing for all its
    entries. ``sampled`` moments carry a covariance ``V``; ``known`` ones (aggregates) are taken
    as given, without error. The weighting is optimal, ``Ω = V⁻¹``, known moments counting as known
    to 1e-4 of their size, unless ``weights`` gives each moment's; errors are
    ``(G'ΩG)⁻¹ G'ΩVΩG (G'ΩG)⁻¹``, ``G`` the Jacobian (Newey and McFadden 1994), and are refused in
    the directions that the moments leave open. ``tied`` maps a parameter to the free one that it
    equals; ``bounds`` are on parameters. The first start is ``economy``, further ones are random
    around it. Sensitivity is ``−(G'ΩG)⁻¹ G'Ω`` (Andrews, Gentzkow and Shapiro 2017).

    Raises :class:`~matching.errors.InvalidInput` for unknown parameters or moments, shapes that
    do not fit, and fewer moments than parameters where they are none at all.

    >>> from matching import make_economy, make_firms, make_origin, solve_equilibrium, statistics
    >>> home = make_origin([0.0, 1.0], [0.5, 0.5], constant=2.0)
    >>> economy = make_economy([home], make_firms([0.0, 1.0], [0.5, 0.5]), affinity=1.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> rate = statistics(solve_equilibrium(economy))["unemployment_rate"]
    >>> found = estimate_minimum_distance(economy, ["origin.home.constant"], starts=3,
    ...                                   known={"unemployment_rate": rate})
    >>> round(found["origin.home.constant"], 6)
    2.0
    """
    problem = _problem(economy, free, sampled, known or {}, weights, tied or {}, bounds or {})
    rng = np.random.default_rng([seed, *b"starts"])
    away = _START_SPREAD * rng.normal(size=(starts, len(problem.start)))
    away[0] = 0.0
    found = [_search(problem, u) for u in problem.start + away]
    return _reported(problem, found)


# ---------------------------------------------------------------- parameters and moments


@partial(
    register_dataclass,
    data_fields=["economy", "data", "root"],
    meta_fields=["free", "tied", "moments"],
)
@dataclass(frozen=True)
class _Objective:
    """``½ r'r``, ``r = R (m(u) − m̂)``, in search coordinates: of log scales, and of affinities,
    constants and intensities in natural units.
    """

    economy: Economy
    data: jax.Array  # m̂, (M,)
    root: jax.Array  # R with R'R = Ω, (K, M)
    free: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]
    moments: tuple[str, ...]

    def economy_at(self, u: jax.Array) -> Economy:
        economy, first = self.economy, 0
        for name in self.free:
            old = get_parameter(self.economy, name)
            part = u[first : first + old.size].reshape(old.shape)
            first += old.size
            value = jnp.exp(part) if _is_scale(name) else part * self.unit(name)
            economy = with_parameter(economy, name, value)
        for name, source in self.tied:
            economy = with_parameter(economy, name, get_parameter(economy, source))
        return economy

    def values(self, u: jax.Array) -> jax.Array:
        """Every number that :func:`_listed` names."""
        economy = self.economy_at(u)
        scalars = jnp.stack([get_parameter(economy, name) for name in _scalars(economy)])
        return jnp.concatenate([jnp.ravel(economy.affinity), scalars])

    def coordinates(self) -> np.ndarray:
        """Of the economy that is given."""
        return np.concatenate([
            np.ravel(np.log(value) if _is_scale(name) else value / self.unit(name))
            for name in self.free
            for value in [get_parameter(self.economy, name)]
        ])  # fmt: skip

    def unit(self, name: str) -> Any:
        """A natural unit of a parameter that is no scale."""
        if name == "technology.affinity":
            x, y = self.economy.home.skills, self.economy.firms.characteristics
            return self.economy.scale / jnp.outer(jnp.std(x, axis=0), jnp.std(y, axis=0))
        return jnp.ones(()) if _is_intensity(name) else self.economy.scale

    def model(self, u: jax.Array) -> jax.Array:
        """``m(u)``, NaN where no equilibrium is found."""
        solved = solve_equilibrium(self.economy_at(u), throw=False, kernel="dense")
        moments = jnp.concatenate([jnp.ravel(MOMENTS[name](solved)) for name in self.moments])
        return jnp.where(solved.max_residual <= MARGIN_TOLERANCE, moments, jnp.nan)

    def value(self, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum((self.root @ (self.model(u) - self.data)) ** 2)


@jax.jit
def _moments_and_slopes(objective: _Objective, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    def twice(u: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = objective.model(u)
        return model, model

    slopes, model = jax.jacfwd(twice, has_aux=True)(u)
    return model, slopes


@jax.jit
def _gradient(objective: _Objective, u: jax.Array) -> jax.Array:
    """By the adjoint, apart from the slopes that the search uses."""
    return jax.grad(_Objective.value, argnums=1)(objective, u)


def _hessian(objective: _Objective, u: np.ndarray) -> np.ndarray:
    """``J'J + Σ r ∂²r``, the second part by central differences of exact slopes."""
    root = np.asarray(objective.root)

    def jacobian(at: np.ndarray) -> np.ndarray:
        return root @ np.asarray(_moments_and_slopes(objective, at)[1])

    residual = root @ (np.asarray(_moments_and_slopes(objective, u)[0]) - objective.data)
    steps = _STEP * np.eye(len(u))
    bends = np.stack([residual @ (jacobian(u + h) - jacobian(u - h)) for h in steps])
    bends /= 2.0 * _STEP
    here = jacobian(u)
    return here.T @ here + 0.5 * (bends + bends.T)


_value = jax.jit(_Objective.value)
_values = jax.jit(_Objective.values)
_value_slopes = jax.jit(jax.jacfwd(_Objective.values, argnums=1))


def _listed(economy: Economy) -> tuple[str, ...]:
    """Every number that can be estimated."""
    entries = [
        f"technology.affinity.{x}.{y}"
        for x in economy.skill_names
        for y in economy.characteristic_names
    ]
    return (*entries, *_scalars(economy))


def _scalars(economy: Economy) -> list[str]:
    return [
        name
        for name in parameter_names(economy)
        if name.rsplit(".", 1)[1] in _ESTIMABLE and get_parameter(economy, name).ndim == 0
    ]


def _is_scale(name: str) -> bool:
    return name.startswith("tastes.")


def _is_intensity(name: str) -> bool:
    return name.endswith((".nu_x", ".nu_y"))


# ---------------------------------------------------------------- the problem


@dataclass(frozen=True)
class _Problem:
    objective: _Objective
    labels: tuple[str, ...]  # of the moments
    covariance: np.ndarray  # V of the moments, (M, M)
    limits: tuple[np.ndarray, np.ndarray]  # of the coordinates
    optimal: bool
    observations: int

    @property
    def start(self) -> np.ndarray:
        return self.objective.coordinates()

    @property
    def names(self) -> tuple[str, ...]:
        """Every free number."""
        e = self.objective.economy
        entries = [
            f"technology.affinity.{x}.{y}" for x in e.skill_names for y in e.characteristic_names
        ]
        return tuple(
            label
            for name in self.objective.free
            for label in (entries if name == "technology.affinity" else [name])
        )


def _problem(
    economy: Economy,
    free: Sequence[str],
    sampled: SampleMoments | None,
    known: Mapping[str, Any],
    weights: Mapping[str, Any] | None,
    tied: Mapping[str, str],
    bounds: Mapping[str, tuple[float, float]],
) -> _Problem:
    data = {
        k: np.asarray(v, dtype=np.float64) for k, v in (sampled.data if sampled else {}).items()
    }
    covariance = sampled.covariance if sampled else np.zeros((0, 0))
    overlap = sorted(set(data) & set(known))
    data |= {name: np.asarray(value, dtype=np.float64) for name, value in known.items()}
    defects = [f"moment {name}: is sampled and known; give one of the two" for name in overlap]
    defects += moment_defects(list(data)) + _parameter_defects(economy, free, tied, bounds)
    if defects:
        raise InvalidInput(defects)
    solved = solve_equilibrium(economy, kernel="dense")
    shapes = {name: MOMENTS[name](solved).shape for name in data}
    defects = [
        f"moment {name}: has shape {data[name].shape}; the economy's has {shape}"
        for name, shape in shapes.items()
        if data[name].shape != shape
    ] + [
        f"moment {name}: is not finite; leave it out"
        for name, value in data.items()
        if not np.all(np.isfinite(value))
    ]
    defects += [f"weights: {name!r} is no moment" for name in weights or () if name not in data]
    if defects:
        raise InvalidInput(defects)
    flat = np.concatenate([np.ravel(value) for value in data.values()])
    full = np.zeros((len(flat),) * 2)
    full[: len(covariance), : len(covariance)] = covariance
    if weights is None:
        size = np.abs(flat)
        size[size == 0] = float(economy.scale)
        counted = np.arange(len(flat)) >= len(covariance)
        root = _root(full + np.diag(counted * (_KNOWN * size) ** 2))
    else:
        each = [
            np.broadcast_to(weights.get(name, 1.0), v.shape).ravel() for name, v in data.items()
        ]
        root = np.diag(np.sqrt(np.concatenate(each)))
    objective = _Objective(
        economy, jnp.asarray(flat), jnp.asarray(root), tuple(free), tuple(tied.items()), tuple(data)
    )
    names = [label for name, shape in shapes.items() for label in labels(economy, name, shape)]
    return _Problem(
        objective=objective,
        labels=tuple(names),
        covariance=full,
        limits=_limits(objective, bounds),
        optimal=weights is None,
        observations=sampled.observations if sampled else 0,
    )


def _root(covariance: np.ndarray) -> np.ndarray:
    """``R`` with ``R'R = V⁻¹``, without the directions in which moments repeat each other."""
    spread = np.sqrt(np.diag(covariance))
    values, axes = np.linalg.eigh(covariance / np.outer(spread, spread))
    kept = values > _REPEATED * values[-1]
    return (axes[:, kept] / np.sqrt(values[kept])).T / spread


def _limits(
    objective: _Objective, bounds: Mapping[str, tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    low, high = [], []
    for name in objective.free:
        size = get_parameter(objective.economy, name).size
        ends = bounds.get(name, (0.0 if _is_scale(name) else -np.inf, np.inf))
        with np.errstate(divide="ignore"):
            ends = np.log(ends) if _is_scale(name) else np.divide(ends, objective.unit(name).max())
        low += [ends[0]] * size
        high += [ends[1]] * size
    return np.array(low), np.array(high)


def _parameter_defects(
    economy: Economy,
    free: Sequence[str],
    tied: Mapping[str, str],
    bounds: Mapping[str, tuple[float, float]],
) -> list[str]:
    known = ["technology.affinity", *_scalars(economy)]
    defects = [
        f"parameter {name!r} cannot be estimated here{did_you_mean(name, known)}"
        for name in (*free, *tied)
        if name not in known
    ]
    defects += [f"{name}: is free and tied; choose one" for name in tied if name in free]
    defects += [
        f"{name}: is tied to {source!r}, which is not free"
        for name, source in tied.items()
        if source not in free
    ]
    for name, (low, high) in bounds.items():
        if name not in free or name == "technology.affinity":
            defects.append(f"bounds: {name!r} is no free number")
        elif not low < high:
            defects.append(f"bounds of {name}: {low!r} is not below {high!r}")
        elif not low <= float(get_parameter(economy, name)) <= high:
            defects.append(f"bounds of {name}: the start lies outside; change one of the two")
    if not free:
        defects.append("free: names no parameter")
    return defects


# ---------------------------------------------------------------- the search


@dataclass(frozen=True)
class _Found:
    u: np.ndarray
    value: float
    iterations: int
    converged: bool


def _search(problem: _Problem, start: np.ndarray) -> _Found:
    """The minimum near a start, by Levenberg-Marquardt within bounds.

    Logs of moments come first, as ``m̂ log(m/m̂)``: shares and wages are nearly linear in them, so
    that the search does not lose itself where an origin has hardly any matches left.
    """
    objective, (low, high) = problem.objective, problem.limits
    data, root = np.asarray(objective.data), np.asarray(objective.root)
    positive = data > 0

    def at(u: np.ndarray, logs: bool) -> tuple[np.ndarray, np.ndarray]:
        model, slopes = map(np.asarray, _moments_and_slopes(objective, u))
        gap, unit = model - data, np.ones_like(data)
        if logs:
            inside = positive & (model > 0)
            ratio = np.divide(model, data, out=np.ones_like(data), where=inside)
            gap = np.where(inside, data * np.log(ratio), np.where(positive, np.nan, gap))
            unit = 1.0 / ratio
        return root @ gap, root @ (unit[:, None] * slopes)

    u, spent = np.clip(start, low, high), 0
    search = None
    for logs, tolerance in ((True, 1e-8), (False, 1e-15)):
        seen = _Latest(partial(at, logs=logs))
        if not np.all(np.isfinite(seen(u)[0])):
            continue
        search = scipy.optimize.least_squares(
            lambda u, seen=seen: seen(u)[0],
            u,
            jac=lambda u, seen=seen: seen(u)[1],
            bounds=(low, high),
            x_scale="jac",
            ftol=tolerance,
            xtol=tolerance,
            gtol=1e-15,
            max_nfev=200,
        )
        u, spent = search.x, spent + int(search.nfev)
    if search is None:
        return _Found(u, np.inf, spent, False)
    return _polished(problem, _Found(u, float(_value(objective, u)), spent, search.success))


class _Latest:
    """A function that remembers its last value: scipy asks for value and slopes apart."""

    def __init__(self, function: Any) -> None:
        self._function, self._at, self._value = function, None, None

    def __call__(self, u: np.ndarray) -> Any:
        if self._at is None or not np.array_equal(u, self._at):
            self._at, self._value = u.copy(), self._function(u)
        return self._value


def _polished(problem: _Problem, found: _Found) -> _Found:
    """Newton's last steps among the coordinates that are at no bound."""
    inside = ~_at_bound(problem, found.u)
    for _ in range(_LAST_STEPS):
        gradient = np.asarray(_gradient(problem.objective, found.u))
        hessian = _hessian(problem.objective, found.u)
        gradient, hessian = gradient[inside], hessian[np.ix_(inside, inside)]
        unit = np.sqrt(np.abs(np.diag(hessian)))
        if not (np.all(np.isfinite(hessian)) and np.all(unit > 0)):
            return found
        scaled = hessian / np.outer(unit, unit)
        if not np.linalg.eigvalsh(scaled)[0] > CURVATURE_TOLERANCE:
            return found  # flat, or no minimum: a step would only wander
        u = found.u.copy()
        step = np.linalg.solve(scaled, gradient / unit) / unit
        u[inside] -= step
        u = np.clip(u, *problem.limits)
        value = float(_value(problem.objective, u))
        if not value <= found.value * (1.0 + 1e-12) + 1e-18:
            return found
        found = replace(found, u=u, value=value, iterations=found.iterations + 1)
        if np.abs(step).max() < 1e-10:
            return found
    return found


def _at_bound(problem: _Problem, u: np.ndarray) -> np.ndarray:
    low, high = problem.limits
    return (u - low < _SAME) | (high - u < _SAME)


# ---------------------------------------------------------------- the report


def _reported(problem: _Problem, found: list[_Found]) -> Estimates:
    objective = problem.objective
    best = min(found, key=lambda one: one.value)
    if not np.isfinite(best.value):
        raise NotConverged(
            "minimum distance: no start has an equilibrium; give an economy that can be solved",
            best,
        )
    names, u, inside = np.array(problem.names), best.u, ~_at_bound(problem, best.u)
    model, slopes = map(np.asarray, _moments_and_slopes(objective, u))
    root, sampled = np.asarray(objective.root), bool(problem.covariance.any())
    jacobian = (root @ slopes)[:, inside]
    bread = np.linalg.pinv(jacobian)
    influence = np.zeros((len(u), len(model)))  # of the moments of the data
    influence[inside] = bread @ root
    covariance = influence @ problem.covariance @ influence.T
    identification = identify(
        jacobian, names[inside], covariance[np.ix_(inside, inside)] if sampled else None
    )
    open_names = {name for way in identification.open for name in way}
    refused = np.isin(names, list(identification.names)) | ~inside
    to_values = np.asarray(_value_slopes(objective, u))  # from coordinates, (everything, P)
    rows = _listed(objective.economy)
    no_error = (to_values != 0) @ refused > 0
    vcov = to_values @ covariance @ to_values.T
    sensitivity = to_values @ influence
    vcov[no_error, :] = vcov[:, no_error] = sensitivity[no_error] = np.nan
    minima = tuple(
        Minimum(
            objective=one.value,
            values=np.asarray(_values(objective, one.u)),
            agrees=bool(np.abs(one.u - u).max() < _SAME),
            converged=one.converged,
        )
        for one in found
    )
    bounded = dict(zip(names, ~inside, strict=True))
    tied = dict(objective.tied)

    def status(name: str) -> str:
        source = tied.get(name, name)
        if source not in bounded:
            return "fixed"
        if source in open_names:
            return "not identified"
        return "tied" if name in tied else "at a bound" if bounded[source] else "free"

    return Estimates(
        names=rows,
        values=np.asarray(_values(objective, u)),
        units=tuple("log points" if _is_intensity(name) else "money" for name in rows),
        start=np.asarray(_values(objective, problem.start)),
        status=tuple(map(status, rows)),
        covariances={"sandwich": vcov} if sampled else {},
        fit=Fit(problem.labels, np.asarray(objective.data), model, np.diag(root.T @ root)),
        minima=minima,
        certificate=_certificate(problem, best, jacobian, identification, minima),
        identification=identification,
        observations=problem.observations,
        sensitivity=sensitivity,
        over_identification=(2.0 * best.value, len(root) - identification.rank)
        if sampled and problem.optimal
        else None,
        economy=None if identification.open else objective.economy_at(jnp.asarray(u)),
    )


def _certificate(
    problem: _Problem,
    best: _Found,
    jacobian: np.ndarray,
    identification: Identification,
    minima: tuple[Minimum, ...],
) -> Certificate:
    inside = ~_at_bound(problem, best.u)
    gradient = np.asarray(_gradient(problem.objective, best.u))
    hessian = _hessian(problem.objective, best.u)[np.ix_(inside, inside)]
    solved = solve_equilibrium(
        problem.objective.economy_at(jnp.asarray(best.u)), "ipfp", throw=False
    )
    unit = np.sqrt(np.maximum(np.abs(np.diag(hessian)), np.finfo(float).tiny))
    bends = np.linalg.eigvalsh(hessian / np.outer(unit, unit))
    size = np.linalg.norm(np.asarray(problem.objective.root @ problem.objective.data))
    norms = np.maximum(np.linalg.norm(jacobian, axis=0), np.finfo(float).tiny)
    remarks = list(identification.sentences)
    agreeing = sum(one.agrees for one in minima)
    if identification.identified and agreeing < min(2, len(minima)):
        remarks.append(f"one of {len(minima)} starts alone leads here; try more starts")
    remarks += [
        f"{name} is at a bound, which the data would have it cross; errors take it as given"
        for name in np.array(problem.names)[~inside]
    ]
    return Certificate(
        gradient=float(np.max(np.abs(gradient[inside]) / norms / size)),
        curvature=float(bends[0] / bends[-1]),
        margin_residual=float(solved.max_residual),
        iterations=best.iterations,
        remarks=tuple(remarks),
    )
