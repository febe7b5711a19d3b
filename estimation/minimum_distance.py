"""Joint minimum distance: all parameters at once, from any moments of the equilibrium by name.

The estimate minimises ``½ (m(θ) − m̂)' Ω (m(θ) − m̂)``, ``m(θ)`` the moments of the equilibrium,
which is solved anew at each ``θ``. Its Jacobian is exact (implicit function theorem).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from estimation.certificate import Certificate
from estimation.estimates import Bootstrap, Estimates, Fit, Minimum
from estimation.identification import FLAT, Identification, identify
from estimation.moment_objective import (
    MomentObjective,
    coordinates,
    gradient,
    hessian,
    is_intensity,
    limits_of,
    listed,
    masses,
    moments_and_slopes,
    scalars,
    value_slopes,
    values,
)
from estimation.moment_search import SAME, Found, at_bound, descend, search
from estimation.moments import MOMENTS, SampleMoments, labels, moment_defects
from matching import Economy, InvalidInput, NotConverged, get_parameter, solve_equilibrium
from matching.errors import did_you_mean

# Moments that count as known are met as if known to this part of their size.
_KNOWN = 1e-4
# Directions of moments with less variance than this, relative, repeat other moments.
_REPEATED = 1e-10
# Last steps of a draw, at most so many, until one is shorter than this, in natural units.
_DRAW_STEPS, _DRAW_STEP = 20, 1e-9
# Spread of random starts around the given economy, in natural units.
_START_SPREAD = 0.5


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
    entries. Masses of types, which a sample tells with an error of its own, can be free beside
    what is reported: give their shares among the moments, and their totals.

    ``sampled`` moments carry a covariance ``V``; ``known`` ones (aggregates) are taken as given,
    without error. The weighting is optimal, ``Ω = V⁻¹``, known moments counting as known to 1e-4
    of their size, unless ``weights`` gives each moment's; errors are
    ``(G'ΩG)⁻¹ G'ΩVΩG (G'ΩG)⁻¹``, ``G`` the Jacobian (Newey and McFadden 1994), and are refused in
    the directions that the moments leave open. ``tied`` maps a parameter to the free one that it
    equals; ``bounds`` are on parameters. The first start is ``economy``, further ones are random
    around it. Where ``sampled`` has draws, each is estimated too, from the estimate and with its
    weighting, and has an economy: the bootstrap, studentised where draws have covariances.
    Sensitivity is ``−(G'ΩG)⁻¹ G'Ω`` (Andrews, Gentzkow and Shapiro 2017).

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
    start = coordinates(economy, free)
    away = _START_SPREAD * np.random.default_rng([seed, *b"starts"]).normal(
        size=(starts, len(start))
    )
    away[0] = 0.0
    found = [search(problem.objective, u) for u in start + away]
    return _reported(problem, found)


# ---------------------------------------------------------------- the problem


@dataclass(frozen=True)
class _Problem:
    objective: MomentObjective
    labels: tuple[str, ...]  # of the moments
    covariance: np.ndarray  # V of the moments, (M, M)
    rows: np.ndarray  # of the sample behind each moment, (M,)
    optimal: bool
    observations: int
    effective_observations: float
    draws: np.ndarray  # of the data's moments, (B, M)
    draw_covariances: np.ndarray | None  # (B, M, M)


def _problem(
    economy: Economy,
    free: Sequence[str],
    sampled: SampleMoments | None,
    known: Mapping[str, Any],
    weights: Mapping[str, Any] | None,
    tied: Mapping[str, str],
    bounds: Mapping[str, tuple[float, float]],
) -> _Problem:
    data = dict(sampled.data) if sampled else {}
    covariance = sampled.covariance if sampled else np.zeros((0, 0))
    overlap = sorted(set(data) & set(known))
    data |= {name: np.asarray(value, dtype=np.float64) for name, value in known.items()}
    defects = [f"moment {name}: is sampled and known; give one of the two" for name in overlap]
    defects += moment_defects(list(data)) + parameter_defects(economy, free, tied, bounds)
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
    full = _padded(covariance, len(flat))
    if weights is None:
        size = np.abs(flat)
        size[size == 0] = float(economy.scale)
        counted = np.arange(len(flat)) >= len(covariance)
        root = _root(full + np.diag(counted * (_KNOWN * size) ** 2))
    else:
        each = [np.broadcast_to(weights.get(k, 1.0), v.shape).ravel() for k, v in data.items()]
        root = np.diag(np.sqrt(np.concatenate(each)))
    rows = np.zeros(len(flat))  # what is known is of no rows
    observations, effective = 0, 0.0
    draws, of_draws = np.empty((0, len(flat))), None
    if sampled:
        if sampled.draws is not None:
            draws = np.tile(flat, (len(sampled.draws), 1))
            draws[:, : len(covariance)] = sampled.draws
        of_draws = sampled.draw_covariances
        observations = sampled.observations
        effective = float(sampled.effective_observations or observations)
        rows[: len(covariance)] = observations if sampled.rows is None else sampled.rows
    objective = MomentObjective(
        economy, jnp.asarray(flat), jnp.asarray(root), limits_of(economy, free, bounds),
        tuple(free), tuple(tied.items()), tuple(data),
    )  # fmt: skip
    names = [label for name, shape in shapes.items() for label in labels(economy, name, shape)]
    return _Problem(
        objective=objective,
        labels=tuple(names),
        covariance=full,
        optimal=weights is None,
        rows=rows,
        observations=observations,
        effective_observations=effective,
        draws=draws,
        draw_covariances=of_draws,
    )


def _padded(covariance: np.ndarray, size: int) -> np.ndarray:
    """With zeros for what is known."""
    return np.pad(covariance, (0, size - len(covariance)))


def _root(covariance: np.ndarray) -> np.ndarray:
    """``R`` with ``R'R = V⁻¹``, without the directions in which moments repeat each other."""
    spread = np.sqrt(np.diag(covariance))
    values, axes = np.linalg.eigh(covariance / np.outer(spread, spread))
    kept = values > _REPEATED * values[-1]
    return (axes[:, kept] / np.sqrt(values[kept])).T / spread


def parameter_defects(
    economy: Economy,
    free: Sequence[str],
    tied: Mapping[str, str],
    bounds: Mapping[str, tuple[float, float]],
) -> list[str]:
    """What is wrong with the parameters that were named."""
    known = ["technology.affinity", *scalars(economy), *masses(economy)]
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
        elif get_parameter(economy, name).ndim:
            defects.append(f"bounds: {name} is no single number")
        elif not low <= float(get_parameter(economy, name)) <= high:
            defects.append(f"bounds of {name}: the start lies outside; change one of the two")
    if not free:
        defects.append("free: names no parameter")
    return defects


# ---------------------------------------------------------------- the report


def _reported(problem: _Problem, found: list[Found]) -> Estimates:
    objective = problem.objective
    best = min(found, key=lambda one: one.value)
    if not np.isfinite(best.value):
        raise NotConverged(
            "minimum distance: no start has an equilibrium; give an economy that can be solved",
            best,
        )
    u, inside = best.u, ~at_bound(objective, best.u)
    names = np.array(listed(objective.economy, objective.free))
    root, sampled = np.asarray(objective.root), bool(problem.covariance.any())
    model, slopes = map(np.asarray, moments_and_slopes(objective, u))
    jacobian, influence = _linearised(objective, u, slopes)
    jacobian = jacobian[:, inside]
    covariance = influence @ problem.covariance @ influence.T
    identification = identify(
        jacobian, names[inside], covariance[np.ix_(inside, inside)] if sampled else None
    )
    open_names = {name for way in identification.open for name in way}
    refused = np.isin(names, list(identification.names)) | ~inside
    to_values = np.asarray(value_slopes(objective, u))  # from coordinates, (everything, P)
    rows = listed(objective.economy)
    no_error, opened = (
        (to_values != 0) @ which > 0 for which in (refused, np.isin(names, list(open_names)))
    )
    vcov = to_values @ covariance @ to_values.T
    sensitivity = to_values @ influence
    vcov[no_error, :] = vcov[:, no_error] = sensitivity[no_error] = np.nan
    minima = tuple(
        Minimum(
            objective=one.value,
            values=np.asarray(values(objective, one.u)),
            agrees=bool(np.abs(one.u - u).max() < SAME),
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

    estimates = Estimates(
        names=rows,
        values=np.asarray(values(objective, u)),
        units=tuple("log points" if is_intensity(name) else "money" for name in rows),
        start=np.asarray(values(objective, coordinates(objective.economy, objective.free))),
        status=tuple(map(status, rows)),
        covariances={"sandwich": vcov} if sampled else {},
        fit=Fit(
            problem.labels, np.asarray(objective.data), model, np.diag(root.T @ root), problem.rows
        ),
        minima=minima,
        certificate=_certificate(objective, best, jacobian, identification, minima),
        identification=identification,
        observations=problem.observations,
        effective_observations=problem.effective_observations,
        skill_names=objective.economy.skill_names,
        characteristic_names=objective.economy.characteristic_names,
        sensitivity=sensitivity,
        over_identification=(2.0 * best.value, len(root) - identification.rank)
        if sampled and problem.optimal
        else None,
        economy=None if identification.open else objective.economy_at(jnp.asarray(u)),
    )
    if not len(problem.draws):
        return estimates
    return estimates.with_bootstrap(_bootstrap(problem, u, opened))


def _linearised(
    objective: MomentObjective, u: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The slopes of moments in units of the weighting, and what data do to coordinates.

    Shapes are ``(K, P)`` and ``(P, M)``; at a bound data do nothing.
    """
    root, inside = np.asarray(objective.root), ~at_bound(objective, u)
    jacobian = root @ slopes
    norms = np.maximum(np.linalg.norm(jacobian, axis=0), np.finfo(float).tiny)
    influence = np.zeros(slopes.T.shape)
    bread = np.linalg.pinv((jacobian / norms)[:, inside], rcond=FLAT)
    influence[inside] = bread / norms[inside, None] @ root
    return jacobian, influence


def _bootstrap(problem: _Problem, u: np.ndarray, opened: np.ndarray) -> Bootstrap:
    """The estimate of each draw from coordinates ``u``; values that are ``opened`` have none."""
    objective, size = problem.objective, len(problem.labels)
    ends, failed, covariances = [], [], []
    for b, draw in enumerate(problem.draws):
        end, met = _fitted(objective, draw, u)
        ends.append(end)
        failed.append(not met)
        if problem.draw_covariances is not None:
            slopes = np.asarray(moments_and_slopes(objective, end)[1])
            _, influence = _linearised(objective, end, slopes)
            by_moment = np.asarray(value_slopes(objective, end)) @ influence
            covariance = _padded(problem.draw_covariances[b], size)
            covariances.append(by_moment @ covariance @ by_moment.T)
    at = jnp.asarray(np.stack(ends))
    economies = jax.vmap(objective.economy_at)(at)
    drawn = np.array(jax.vmap(values, in_axes=(None, 0))(objective, at))
    drawn[:, opened] = np.nan
    return Bootstrap(
        values=drawn,
        failed=np.array(failed),
        economies=None if opened.any() else economies,
        covariances=np.stack(covariances) if covariances else None,
    )


def _fitted(
    objective: MomentObjective, data: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, bool]:
    """Coordinates that fit other data, and whether a further step would leave them alone.

    The last steps are Gauss and Newton's, at a bound along it.
    """
    u = descend(replace(objective, data=jnp.asarray(data)), near).u
    for _ in range(_DRAW_STEPS):
        model, slopes = map(np.asarray, moments_and_slopes(objective, u))
        gap = data - model
        if not np.all(np.isfinite(gap)):  # a type without rows, or no equilibrium
            break
        step = _linearised(objective, u, slopes)[1] @ gap
        u = np.clip(u + step, *map(np.asarray, objective.limits))
        if np.abs(step).max() < _DRAW_STEP:
            return u, True
    return near, False


def _certificate(
    objective: MomentObjective,
    best: Found,
    jacobian: np.ndarray,
    identification: Identification,
    minima: tuple[Minimum, ...],
) -> Certificate:
    inside = ~at_bound(objective, best.u)
    slope = np.asarray(gradient(objective, best.u))[inside]
    bend = hessian(objective, best.u)[np.ix_(inside, inside)]
    curvature = 0.0
    if not identification.open:  # relative to J'J, which is what weighting makes of the units
        bends = scipy.linalg.eigvalsh(bend, jacobian.T @ jacobian)
        curvature = float(bends[0] / bends[-1])
    economy = objective.economy_at(jnp.asarray(best.u))
    solved = solve_equilibrium(economy, "ipfp", throw=False)  # by the solver that did not search
    remarks = list(identification.sentences)
    agreeing = sum(one.agrees for one in minima)
    if identification.identified and agreeing < min(2, len(minima)):
        remarks.append(f"one of {len(minima)} starts alone leads here; try more starts")
    remarks += [
        f"{name} is at a bound, which the data may want to cross; errors of the others take it "
        "as given"
        for name in np.array(listed(objective.economy, objective.free))[~inside]
    ]
    size = np.linalg.norm(np.asarray(objective.root @ objective.data))
    norms = np.maximum(np.linalg.norm(jacobian, axis=0), np.finfo(float).tiny)
    return Certificate(
        gradient=float(np.max(np.abs(slope) / norms / size)),
        curvature=curvature,
        margin_residual=float(solved.max_residual),
        iterations=best.iterations,
        remarks=tuple(remarks),
    )
