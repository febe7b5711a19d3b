"""The result of every estimator: parameters, their covariances, the fit, what may be believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.stats

from estimation.certificate import Certificate
from estimation.identification import Identification
from estimation.penalties import PenaltyPath
from estimation.saliency import Saliency, saliency
from matching import Economy, InvalidInput

COST = "cost_of_offshoring"
STATUSES = ("free", "fixed", "tied", "at a bound", "derived", "not identified")
# What is positive has intervals that are normal in logs.
_POSITIVE = ("tastes.", "scale.")
# The kind of covariance that draws have of their own.
_OF_DRAWS = "sandwich"
# Fewer draws have no percentile below 2.5 %: (B + 1) 0.025 is less than one.
_FEWEST_DRAWS = 39
# More failed draws than this, and nothing is said about errors.
_MOST_FAILED = 0.05
# Normal draws behind the critical value of simultaneous intervals, and their seed.
_DRAWS, _SEED = 200_000, 20140301


@dataclass(frozen=True)
class Fit:
    """Moments as the data and as the model have them."""

    names: tuple[str, ...]
    data: np.ndarray  # (M,)
    model: np.ndarray  # (M,)
    weight: np.ndarray  # diagonal of the weighting matrix, (M,); NaN where moments are not weighted
    rows: np.ndarray  # how many rows of the data each is of, (M,); 0 where it is of no rows


@dataclass(frozen=True)
class Minimum:
    """Where one start of the search led."""

    objective: float
    values: np.ndarray  # (P,)
    agrees: bool  # with the best of all
    converged: bool


@dataclass(frozen=True)
class Bootstrap:
    """Estimates from samples with replacement; what a failed one holds means nothing."""

    values: np.ndarray  # (B, P)
    failed: np.ndarray  # (B,)
    economies: Economy | None = None  # arrays have a leading axis B
    covariances: np.ndarray | None = None  # the sandwich of each sample, (B, P, P)


@dataclass(frozen=True)
class CellFit:
    """Matches between types and their wages, data and model, ``(N, J)`` each."""

    counts: np.ndarray  # matches in the data
    matches: np.ndarray  # their share of the mass
    fitted_matches: np.ndarray  # the model's
    mean_wages: np.ndarray  # NaN where there is no match
    fitted_wages: np.ndarray


@dataclass(frozen=True)
class Estimates:
    """Parameters by name with everything needed to judge them.

    The draws of a bootstrap are asked for with the estimate: what is found holds no rows of the
    data, which could be drawn from.

    A parameter that the data do not pin down has the status ``not identified``: it is NaN in
    every table, and what fixed it, where something did, stands in ``rests_on``.
    """

    names: tuple[str, ...]
    values: np.ndarray  # (P,)
    units: tuple[str, ...]
    start: np.ndarray  # (P,); NaN for what no search has begun from
    status: tuple[str, ...]  # one of STATUSES each
    covariances: Mapping[str, np.ndarray]  # kind → (P, P); NaN where refused; the first rules
    fit: Fit
    certificate: Certificate
    identification: Identification
    observations: int
    effective_observations: float  # (Σω)²/Σω² of the weights
    skill_names: tuple[str, ...] = ()
    characteristic_names: tuple[str, ...] = ()
    bias: np.ndarray | None = None  # of first order, (P,); taken from intervals, not from values
    minima: tuple[Minimum, ...] = ()
    sensitivity: np.ndarray | None = None  # ∂(estimates)/∂(moments), (P, M)
    over_identification: tuple[float, int] | None = None  # J and its degrees of freedom
    rests_on: Mapping[str, str] = field(default_factory=dict)  # parameter → data or assumption
    notes: tuple[str, ...] = ()  # what a reader has to know of the numbers, a sentence each
    r_squared: float | None = None  # of the wage equation
    profiles: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # 95 %, by ratio
    economy: Economy | None = None  # None where a parameter is not identified, or types have none
    cells: CellFit | None = None
    bootstrap: Bootstrap | None = None
    penalty: PenaltyPath | None = None  # of a penalised affinity matrix

    def __getitem__(self, name: str) -> float:
        return float(self.values[self._place(name)])

    @property
    def j_p_value(self) -> float:
        """Probability of a larger J where the model is right; NaN where nothing is left to test."""
        if self.over_identification is None or self.over_identification[1] == 0:
            return float("nan")
        return float(scipy.stats.chi2.sf(*self.over_identification))

    def affinity(self) -> np.ndarray:
        """``Φ``, or ``Φ/λ`` where units are log points, ``(m, n)``."""
        return self.values[self._entries].reshape(
            len(self.skill_names), len(self.characteristic_names)
        )

    def saliency(self, kind: str | None = None) -> Saliency:
        """Along which indices the market sorts: see :func:`~estimation.saliency.saliency`."""
        entries = self._entries
        return saliency(self.affinity(), self.vcov(kind)[np.ix_(entries, entries)])

    def vcov(self, kind: str | None = None) -> np.ndarray:
        """Covariance ``(P, P)``; NaN for parameters whose first-order errors are refused."""
        if not self.covariances:
            return np.full((len(self.names),) * 2, np.nan)
        if kind is not None and kind not in self.covariances:
            raise InvalidInput([f"covariance {kind!r}: there is {', '.join(self.covariances)}"])
        return self.covariances[kind or next(iter(self.covariances))]

    def std_errors(self, kind: str | None = None) -> np.ndarray:
        """Standard errors, ``(P,)``; NaN where refused."""
        return np.sqrt(np.diag(self.vcov(kind)))

    def ruled_by(self, kind: str) -> "Estimates":
        """The same with another covariance as the one that is shown."""
        first = {kind: self.vcov(kind)}
        return replace(self, covariances=first | dict(self.covariances))

    def confint(
        self, level: float = 0.95, kind: str | None = None, *, joint: bool = False
    ) -> np.ndarray:
        """Intervals ``(P, 2)``: of each parameter, or, if ``joint``, covering all at once.

        ``kind`` is that of a covariance, for normal intervals; ``"percentile"``, between
        percentiles of the bootstrap; or ``"studentised"``, by percentiles of the draws' distances
        from the estimate in errors of their own (Hall 1992). Left out, it is studentised where
        draws have errors, percentiles where there are draws; of fewer than 39 draws, or none, it is
        the first covariance, and at 95 % profile intervals where there are any. Normal intervals
        are about values less their ``bias``, those of scales are normal in logs. Joint ones are the
        smallest rectangle of multiples of the standard errors, sup-t (Montiel Olea and
        Plagborg-Møller 2019).
        """
        drawn = self.bootstrap
        if kind is None and drawn is not None and not joint and len(drawn.failed) >= _FEWEST_DRAWS:
            kind = "percentile" if drawn.covariances is None else "studentised"
        if kind in ("percentile", "studentised"):
            return self._percentiles(level, kind)
        error = self.std_errors(kind)
        critical = scipy.stats.norm.ppf(0.5 + 0.5 * level)
        known = np.isfinite(error) & (error > 0)
        if joint and known.any():
            covariance = self.vcov(kind)[np.ix_(known, known)]
            correlation = covariance / np.outer(error[known], error[known])
            values, axes = np.linalg.eigh(correlation)
            root = axes * np.sqrt(np.maximum(values, 0.0))
            draws = np.random.default_rng(_SEED).normal(size=(_DRAWS, len(values)))
            critical = np.quantile(np.abs(draws @ root.T).max(axis=1), level)
        positive = np.array([name.startswith(_POSITIVE) for name in self.names])
        ends = normal_intervals(self.values, error, critical, self.bias, positive)
        if kind is None and level == 0.95 and not joint:
            for name, profile in self.profiles.items():
                ends[self._place(name)] = profile
        return ends

    def with_bootstrap(self, bootstrap: Bootstrap) -> "Estimates":
        """The same with draws; if more than 5 % of them have failed, without any error."""
        certificate, covariances = self.certificate, self.covariances
        kept = bootstrap.values[~bootstrap.failed]
        if bootstrap.failed.mean() > _MOST_FAILED:
            remark = (
                f"{bootstrap.failed.mean():.1%} of the bootstrap draws failed, so no standard "
                "error is given"
            )
            certificate = replace(certificate, remarks=(*certificate.remarks, remark))
            covariances = {kind: np.full_like(v, np.nan) for kind, v in covariances.items()}
        elif len(kept) > 1:
            drawn = np.cov(kept, rowvar=False).reshape((len(self.names),) * 2)
            covariances = {**covariances, "bootstrap": drawn}
        notes = self.notes
        if len(bootstrap.failed) < _FEWEST_DRAWS:
            notes += (
                f"{len(bootstrap.failed)} bootstrap draws are too few for 95 % intervals, which "
                f"take {_FEWEST_DRAWS}: intervals are those of standard errors.",
            )
        return replace(
            self,
            bootstrap=bootstrap,
            certificate=certificate,
            covariances=covariances,
            notes=notes,
        )

    def with_derived(
        self, name: str, weights: Mapping[str, float], unit: str = "money"
    ) -> "Estimates":
        """The same with a weighted sum of parameters as a further one, its errors included."""
        row = np.zeros(len(self.names))
        for parameter, weight in weights.items():
            row[self._place(parameter)] = weight
        used = row != 0  # parameters without errors need not spoil one that does not use them

        def extended(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values, values[..., used] @ row[used, None]], axis=-1)

        bootstrap = self.bootstrap
        if bootstrap is not None:
            of_draws = bootstrap.covariances
            if of_draws is not None:
                of_draws = np.stack([extended(extended(v).T).T for v in of_draws])
            bootstrap = replace(
                bootstrap, values=extended(bootstrap.values), covariances=of_draws
            )  # fmt: skip
        return replace(
            self,
            names=(*self.names, name),
            values=extended(self.values),
            units=(*self.units, unit),
            start=np.append(self.start, np.nan),
            status=(*self.status, "derived"),
            covariances={kind: extended(extended(v).T).T for kind, v in self.covariances.items()},
            bias=None if self.bias is None else extended(self.bias),
            minima=tuple(replace(one, values=extended(one.values)) for one in self.minima),
            sensitivity=None if self.sensitivity is None else extended(self.sensitivity.T).T,
            bootstrap=bootstrap,
        )

    def with_cost_of_offshoring(self) -> "Estimates":
        """The same with ``C − C*``, where there is one origin abroad and both are estimated."""
        constants = [name for name in self.names if name.endswith(".constant")]
        if len(constants) != 2:
            return self
        home, abroad = constants
        return self.with_derived(COST, {home: 1.0, abroad: -1.0})

    def tidy(self, level: float = 0.95, kind: str | None = None) -> list[dict[str, Any]]:
        """A row per parameter: estimate, standard error, interval, start, status and unit."""
        intervals, errors = self.confint(level, kind), self.std_errors(kind)
        rows = []
        for k, (name, status) in enumerate(zip(self.names, self.status, strict=True)):
            value = float("nan") if status == "not identified" else float(self.values[k])
            rows.append({
                "parameter": name,
                "estimate": value,
                "std_error": float(errors[k]),
                "ci_low": float(intervals[k, 0]),
                "ci_high": float(intervals[k, 1]),
                "start": float(self.start[k]),
                "status": status,
                "unit": self.units[k],
                "rests_on": self.rests_on.get(name, ""),
            })  # fmt: skip
        return rows

    def summary(self, level: float = 0.95) -> str:
        """The estimates as text: standard errors in parentheses, intervals in brackets."""
        width = max(map(len, self.names))
        lines = [f"{self.certificate.verdict}, {self.observations} observations"]
        lines += [*self.certificate.failures, *self.certificate.doubts]
        lines += [
            f"{row['parameter']:<{width}}  {_number(row['estimate'])} "
            f"({_number(row['std_error'])}) "
            f"[{_number(row['ci_low'])}, {_number(row['ci_high'])}] {row['unit']}, {row['status']}"
            + (f"; rests on {row['rests_on']}" if row["rests_on"] else "")
            for row in self.tidy(level)
        ]
        if self.over_identification is not None:
            value, freedom = self.over_identification
            lines.append(f"J = {value:.4g} with {freedom} degrees of freedom, p = "
                         f"{self.j_p_value:.3g}")  # fmt: skip
        return "\n".join([*lines, *self.notes])

    def to_latex(self, level: float = 0.95) -> str:
        """A table that needs booktabs alone."""
        lines = [r"\begin{tabular}{lrrl}", r"\toprule",
                 r"Parameter & Estimate & (s.e.) & Interval \\", r"\midrule"]  # fmt: skip
        for row in self.tidy(level):
            value, error, low, high = (
                f"${_number(row[key])}$" for key in ("estimate", "std_error", "ci_low", "ci_high")
            )
            lines.append(
                f"{_escaped(row['parameter'])} & {value} & ({error}) & [{low}, {high}] \\\\"
            )
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    @property
    def _entries(self) -> np.ndarray:
        places = [k for k, name in enumerate(self.names) if name.startswith("affinity.")]
        if not places:
            raise InvalidInput(["affinity: this estimator has no affinity matrix"])
        return np.array(places)

    def _percentiles(self, level: float, kind: str) -> np.ndarray:
        drawn = self.bootstrap
        if drawn is None or (kind == "studentised" and drawn.covariances is None):
            raise InvalidInput(
                [f"{kind} intervals: there are no such bootstrap draws; ask for some"]
            )
        kept = ~drawn.failed
        if drawn.failed.mean() > _MOST_FAILED:
            return np.full((len(self.names), 2), np.nan)
        ends = [50.0 - 50.0 * level, 50.0 + 50.0 * level]
        if kind == "percentile":
            return np.percentile(drawn.values[kept], ends, axis=0).T
        assert drawn.covariances is not None
        errors = np.sqrt(np.einsum("bkk->bk", drawn.covariances[kept]))
        gaps = drawn.values[kept] - self.values
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(gaps == 0, 0.0, gaps / errors)  # what is fixed has no error
        low, high = np.percentile(ratios, ends, axis=0)
        error = self.std_errors(_OF_DRAWS)
        return np.column_stack([self.values - high * error, self.values - low * error])

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise InvalidInput([f"parameter {name!r} is none of {', '.join(self.names)}"])
        return self.names.index(name)


def normal_intervals(
    values: np.ndarray,
    errors: np.ndarray,
    critical: float,
    bias: np.ndarray | None = None,
    positive: np.ndarray | None = None,
) -> np.ndarray:
    """``critical`` standard errors about values less their bias, ``(P, 2)``.

    Those of ``positive`` numbers are normal in logs.
    """
    reach = critical * errors[:, None] * np.array([[-1.0, 1.0]])
    ends = (values if bias is None else values - bias)[:, None] + reach
    if positive is not None:
        for k in np.flatnonzero(positive & (values > 0)):
            with np.errstate(over="ignore"):  # to infinity
                ends[k] = values[k] * np.exp(reach[k] / values[k])
    return ends


def _number(value: float) -> str:
    return f"{value:.5g}" if np.isfinite(value) else "."


def _escaped(name: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in name)
