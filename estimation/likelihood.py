"""Maximum likelihood with wages: amenities, productivity and both taste scales.

A worker's amenity ``α(x, y)`` and productivity ``γ(x, y)`` are linear in given terms. With ``z``
the terms that join both sides and ``A`` their coefficients in ``(α + γ)/λ``, matches are
``log π = A'z − a − b``, and wages ``w = (λ_x(γ − b) + λ_y(a − α))/λ + const`` with a normal
error, in logs (Dupuy and Galichon 2022) or in levels. The objective is
``Σ log(N π_ii) − (N/2) log s²``.

Every worker and every job is a type of its own, ``π`` a density. In the slides' model ``q = γ`` and
``α = 0``; where their types are cells, of masses ``f`` and ``g``, the multipliers of one worker and
one job are those of their cells plus ``log f`` and ``log g``, so that ``γ`` has the further term
``−λ_y log f(x)`` and ``α`` the term ``−λ_x log g(y)``.

At given ``A``, and with the multipliers ``a, b`` of the interactions alone, wages are linear:

    w = γ_x − α_y − Σ_{k in α and γ} α_k z_k + λ_x(Σ_{k in γ} A_k z_k − b)
        + λ_y(a − Σ_{k in α only} A_k z_k) + const

so least squares leaves a search over ``A``, by Newton with the exact gradient and Hessian.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy.optimize

from estimation.basis import Basis
from estimation.certificate import Certificate
from estimation.estimates import Estimates, Fit, Minimum
from estimation.identification import Identification, identify_scales
from estimation.moment_matching import distinct_rows, size_defects
from estimation.profile_intervals import SCALES, profile_interval
from estimation.resampling import Drawn, bootstrap_rows, few_clusters, numbered
from estimation.variation import collinear
from estimation.wage_equation import (
    SCALE_FIRM,
    SCALE_WORKER,
    Point,
    WageSample,
    centred,
    evaluate,
    inverse,
    make_sample,
    sizes,
)
from matching import InvalidInput

# Relative to its size, the variation below which a term is constant.
_CONSTANT = 1e-9
# Groups of the fit of wages: at most so many, of at least so many rows.
_GROUPS, _GROUP_ROWS = 20, 10
# Optima whose objectives differ by more than this are different optima.
_SAME_OPTIMUM = 1e-3
_NORMALISED = (
    "Amenities of workers' columns alone and productivity of jobs' columns alone cancel out of "
    "matches and wages; the constant is the wage equation's, its multipliers having mean zero."
)


def estimate_with_wages(
    wages: Any,
    workers: Mapping[str, Any],
    jobs: Mapping[str, Any],
    basis: Basis,
    *,
    clusters: Any = None,
    profile: bool = False,
    starts: int = 1,
    draws: int = 0,
    studentised: bool = False,
    seed: int = 0,
) -> Estimates:
    """Estimate amenities, productivity and the scales from matched pairs and their wages.

    Entry ``i`` of every column is worker ``i`` in job ``i``; ``wages (N,)`` are in logs or in
    levels, and estimates in their unit. ``clusters (N,)`` labels rows that are dependent, such as
    those of a firm. The first start is zero, further ones are random. Time
    and memory grow with distinct workers times distinct jobs, ``N²`` at most. Of the covariances
    ``sandwich`` takes the columns as a sample too and the rows of a cluster as dependent;
    ``information`` takes workers' and jobs' columns as given and trusts the normal error. A scale
    that the wages leave open by more than its size has no error. ``profile`` finds 95 %
    intervals of both scales by likelihood ratio. ``draws`` samples of clusters, or of rows, with
    replacement give the bootstrap, each from the estimate; ``studentised`` gives each a sandwich of
    its own, for intervals by their ratio. ``seed`` is theirs and that of the starts. Objectives of
    ``minima`` are minus ``Σ log(N π_ii) − (N/2) log s²``.

    Raises :class:`~matching.errors.InvalidInput` for columns that are not finite or terms that are
    collinear, naming them.

    >>> import numpy as np
    >>> from estimation import make_basis
    >>> x, y, noise = np.random.default_rng(0).normal(size=(3, 200))
    >>> y = y + 0.5 * x
    >>> basis = make_basis(["y"], ["x", "x*y"], workers=["x"], jobs=["y"])
    >>> wages = x - y + x * y + 0.2 * x**2 - 0.2 * y**2 + noise
    >>> estimate = estimate_with_wages(wages, {"x": x}, {"y": y}, basis)
    >>> estimate.certificate.verdict
    'CERTIFIED'
    """
    sample = _checked(wages, workers, jobs, basis)
    found = []
    for begin, iterations in _starts(sample, starts, seed):
        end, further = _search(begin)
        found.append((end, iterations + further))
    point, iterations = max(found, key=lambda one: one[0].objective)
    names, values, jacobian = _reported(point, basis)
    covariances = {
        kind: jacobian @ covariance @ jacobian.T
        for kind, covariance in _covariances(point, clusters).items()
    }
    identification = identify_scales(tuple(SCALES), names, values, covariances["sandwich"])
    for place in map(names.index, identification.names):
        for covariance in covariances.values():
            covariance[place], covariance[:, place] = np.nan, np.nan
    minima = tuple(
        Minimum(
            objective=-end.objective,
            values=_reported(end, basis)[1],
            agrees=point.objective - end.objective <= _SAME_OPTIMUM,
            converged=bool(np.isfinite(end.objective)),
        )
        for end, _ in found
    )
    searched = {t.name for t in basis.interactions}
    estimates = Estimates(
        names=names,
        values=values,
        units=("unit of the wages",) * len(names),
        start=np.array([0.0 if name.partition(".")[2] in searched else np.nan for name in names]),
        status=("free",) * len(names),
        covariances=covariances,
        fit=_fit(point, basis),
        certificate=_certificate(
            point,
            iterations,
            (*_remarks(point, minima, identification), *few_clusters(clusters, len(names))),
        ),
        identification=identification,
        observations=len(sample.wages),
        effective_observations=float(len(sample.wages)),
        minima=minima,
        notes=(_NORMALISED,),
        r_squared=float(1.0 - point.variance / np.var(sample.wages)),
        profiles={scale: profile_interval(point, scale, 0.95) for scale in SCALES if profile},
    )
    if not draws:
        return estimates

    def again(rows: np.ndarray, labels: np.ndarray) -> Drawn:
        end, iterations = _search(point.of_rows(rows))
        _, drawn, slopes = _reported(end, basis)
        covariance = None
        if studentised:
            covariance = slopes @ _covariances(end, labels)["sandwich"] @ slopes.T
        return Drawn(drawn, covariance, _certificate(end, iterations, ()).met)

    labels = numbered(clusters, len(sample.wages))
    return estimates.with_bootstrap(bootstrap_rows(again, labels, len(names), draws, seed))


# ---------------------------------------------------------------- the search


def _starts(sample: WageSample, starts: int, seed: int) -> Iterator[tuple[Point, int]]:
    """Where searches begin, and the iterations that led there: from zero, or at random."""
    zero = np.zeros_like(sample.unit)
    # At zero the multipliers are flat and the scales multiply nothing; the matches alone, whose
    # likelihood is concave, lead to where wages begin to speak.
    yield _climbed(
        evaluate(sample, zero),
        lambda p: p.objective_of_matches,
        lambda p: p.scores_of_matches.sum(0),
        lambda p: -p.information_of_matches,
        gtol=1e-3,
    )
    rng = np.random.default_rng([seed, *b"starts"])
    for _ in range(starts - 1):
        yield evaluate(sample, 0.3 * rng.normal(size=len(zero)) / sample.unit), 0


def _search(begin: Point) -> tuple[Point, int]:
    """The optimum near a point and the number of iterations."""
    near, iterations = _climbed(
        begin,
        lambda p: p.objective,
        lambda p: p.concentrated()[0],
        lambda p: p.concentrated()[1],
        gtol=1e-5,  # the last step does the rest
    )
    gradient, hessian = near.concentrated()
    end = evaluate(near.sample, near.interaction - inverse(hessian) @ gradient, near)
    return end, iterations + 1


def _climbed(
    begin: Point,
    value: Callable[[Point], float],
    slope: Callable[[Point], np.ndarray],
    bend: Callable[[Point], np.ndarray],
    gtol: float,
) -> tuple[Point, int]:
    """Where a function of the interactions is highest, and the number of iterations."""
    n, unit = len(begin.design), begin.sample.unit
    latest = [begin]

    def at(scaled: np.ndarray) -> Point:
        interaction = scaled / unit  # so that units do not matter to the tolerances
        if not np.array_equal(latest[0].interaction, interaction):
            latest[:] = [evaluate(begin.sample, interaction, latest[0])]
        return latest[0]

    found = scipy.optimize.minimize(  # type: ignore[call-overload]  # the stubs want literals
        lambda a: -value(at(a)) / n,
        begin.interaction * unit,
        jac=lambda a: -slope(at(a)) / n / unit,
        hess=lambda a: -bend(at(a)) / n / np.outer(unit, unit),
        method="trust-exact",
        options={"gtol": gtol, "maxiter": 100},
    )
    return at(found.x), int(found.nit)


# ---------------------------------------------------------------- the result


def _covariances(point: Point, clusters: Any) -> dict[str, np.ndarray]:
    """Of ``A, β, s²``: the inverse information, and the sandwich with the columns as a sample.

    Multipliers are functions of the columns' distributions, so a sampled pair moves them too.
    In the scores of matches that is counted already (their envelope); what it does to the wage
    equation is the response of the multipliers, weighted by the scales.
    """
    bread = inverse(point.information)
    slopes = point.slopes / point.variance
    r_x, r_y = -point.beta[SCALE_FIRM] * slopes, point.beta[SCALE_WORKER] * slopes
    p, q = point.matching.response(centred(r_x), centred(r_y))
    moved = centred(r_x - p + r_y - q)
    moved -= np.outer(centred(point.matching.a), r_x.mean(0))  # both keep mean zero
    moved -= np.outer(point.matching.b, r_y.mean(0))
    scores = point.scores.copy()
    scores[:, :-1] += moved
    if clusters is not None:
        labels = numbered(clusters, len(scores))
        scores = np.stack([np.bincount(labels, column) for column in scores.T], axis=1)
    return {"sandwich": bread @ (scores.T @ scores) @ bread, "information": bread}


def _reported(point: Point, basis: Basis) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names and values of the parameters, and their derivatives in ``A, β, s²``."""
    k = len(point.interaction)
    raw = np.r_[point.interaction, point.beta, point.variance]
    scale = point.beta[SCALE_WORKER] + point.beta[SCALE_FIRM]
    identity = np.eye(len(raw))
    linear = iter(range(k, len(raw)))  # the order of the design
    rows: dict[str, np.ndarray] = {}
    for term in basis.productivity:
        if not term.is_interaction:
            rows[f"productivity.{term.name}"] = identity[next(linear)]
    for term in basis.amenities:
        if not term.is_interaction:
            rows[f"amenity.{term.name}"] = identity[next(linear)]
    for term in basis.interactions:
        if term in basis.amenities and term in basis.productivity:
            rows[f"amenity.{term.name}"] = identity[next(linear)]
    scales = (identity[k + len(point.beta) + SCALE_WORKER]
              + identity[k + len(point.beta) + SCALE_FIRM])  # fmt: skip
    values = {name: float(row @ raw) for name, row in rows.items()}
    for place, term in enumerate(basis.interactions):
        # λA_k is the sum of the term's amenity and productivity
        total, row = scale * raw[place], scale * identity[place] + raw[place] * scales
        amenity, productivity = f"amenity.{term.name}", f"productivity.{term.name}"
        if term not in basis.productivity:
            values[amenity], rows[amenity] = total, row
        else:
            values[productivity] = total - values.get(amenity, 0.0)
            rows[productivity] = row - rows.get(amenity, 0.0)
    order = [f"amenity.{t.name}" for t in basis.amenities]
    order += [f"productivity.{t.name}" for t in basis.productivity]
    names = ("scale.worker", "scale.firm", "constant", "error_variance")
    for name, place in zip(names, range(len(raw) - 4, len(raw)), strict=True):
        values[name], rows[name] = raw[place], identity[place]
    order += names
    return tuple(order), np.array([values[n] for n in order]), np.stack([rows[n] for n in order])


def _fit(point: Point, basis: Basis) -> Fit:
    """Means of the interactions over matches, and wages over groups by predicted wage.

    Groups have equally many rows each.
    """
    sample, predicted = point.sample, point.design @ point.beta
    count = min(_GROUPS, max(1, len(predicted) // _GROUP_ROWS))
    groups = np.array_split(np.argsort(predicted, kind="stable"), count)
    names = [f"mean.{term.name}" for term in basis.interactions]
    names += [f"wage.group_{k}" for k in range(1, count + 1)]
    model = point.matching.mean_interactions
    return Fit(
        names=tuple(names),
        data=np.r_[sample.z.mean(0), [sample.wages[g].mean() for g in groups]],
        model=np.r_[model, [predicted[g].mean() for g in groups]],
        weight=np.full(len(names), np.nan),  # a likelihood weighs no moments
        rows=np.r_[np.full(len(model), len(predicted)), [len(g) for g in groups]],
    )


def _remarks(
    point: Point, minima: tuple[Minimum, ...], identification: Identification
) -> tuple[str, ...]:
    remarks = [
        f"{name} is estimated at {point.beta[place]:.3g}; taste scales are positive, so the terms "
        "or the wages do not fit the model"
        for name, place in SCALES.items()
        if not point.beta[place] > 0
    ]
    remarks += identification.sentences
    agree = sum(one.agrees for one in minima)
    if agree < len(minima):
        remarks.append(f"only {agree} of {len(minima)} starts lead to the best optimum")
    return tuple(remarks)


def _certificate(point: Point, iterations: int, remarks: tuple[str, ...]) -> Certificate:
    score, information = point.scores.sum(0), point.information
    eigenvalues = np.linalg.eigvalsh(information / sizes(information))
    return Certificate(
        gradient=float(np.sqrt(np.abs(score @ inverse(information) @ score) / len(point.design))),
        curvature=float(eigenvalues[0] / eigenvalues[-1]),
        margin_residual=point.matching.margin_residual,
        iterations=iterations,
        remarks=remarks,
    )


# ---------------------------------------------------------------- the data


def _checked(
    wages: Any, workers: Mapping[str, Any], jobs: Mapping[str, Any], basis: Basis
) -> WageSample:
    wages = np.asarray(wages, dtype=np.float64)
    columns = {"wages": wages} | {
        name: np.asarray(values, dtype=np.float64) for name, values in {**workers, **jobs}.items()
    }
    defects = [
        f"{name}: has {len(values)} rows where the wages have {len(wages)}"
        if len(values) != len(wages)
        else f"{name}: is not finite in every row; drop or mend those rows"
        for name, values in columns.items()
        if len(values) != len(wages) or not np.all(np.isfinite(values))
    ]
    defects += [
        f"{name}: is a column of workers and of jobs; rename one"
        for name in workers
        if name in jobs
    ]
    if defects:
        raise InvalidInput(defects)
    sample = make_sample(wages, dict(workers), dict(jobs), basis)
    kinds = [len(distinct_rows(factors)[0]) for factors in (sample.u, sample.v)]
    if defects := size_defects(*kinds):
        raise InvalidInput(defects)
    if np.ptp(wages) == 0:
        raise InvalidInput(["wages: are all the same, so they tell no scale; use matches alone"])
    defects = _variation_defects(sample, basis)
    if defects:
        raise InvalidInput(defects)
    return sample


def _variation_defects(sample: WageSample, basis: Basis) -> list[str]:
    """Terms of the wage equation, and interactions, that the data do not tell apart."""
    names = [t.name for t in (*basis.productivity, *basis.amenities) if not t.is_interaction]
    terms = np.hstack([sample.of_workers, sample.of_jobs])
    # what an interaction has beyond functions of one side bears on matches
    u, v = centred(sample.u), centred(sample.v)
    values, vectors = np.linalg.eigh((u.T @ u) * (v.T @ v) / len(u))
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    defects = []
    for columns, labels, raw in (
        (centred(terms), names, terms),
        (root, [t.name for t in basis.interactions], sample.z),
    ):
        length, size = (np.sqrt(np.sum(c**2, axis=0)) for c in (columns, raw))
        constant = length <= _CONSTANT * size
        defects += [
            f"term {name}: does not vary, so nothing tells its coefficient; leave it out"
            for name, flat in zip(labels, constant, strict=True) if flat
        ]  # fmt: skip
        if not constant.any() and labels:
            defects += [
                f"terms {group}: are collinear, so their coefficients are not told apart; leave "
                "one of them out"
                for group in collinear(columns / length, labels)
            ]
    return defects
