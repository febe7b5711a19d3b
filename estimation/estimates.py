"""The result of an estimator: parameters, their covariances, the fit, and what may be believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.stats

from estimation.certificate import Certificate
from estimation.identification import Identification
from matching import Economy, InvalidInput

STATUSES = ("free", "fixed", "tied", "at a bound", "derived", "not identified")
# Normal draws behind the critical value of simultaneous intervals, and their seed.
_DRAWS, _SEED = 200_000, 20140301


@dataclass(frozen=True)
class Fit:
    """Moments as the data and as the model have them."""

    names: tuple[str, ...]
    data: np.ndarray  # (M,)
    model: np.ndarray  # (M,)
    weight: np.ndarray  # diagonal of the weighting matrix, (M,)


@dataclass(frozen=True)
class Minimum:
    """Where one start of the search led."""

    objective: float
    values: np.ndarray  # (P,)
    agrees: bool  # with the best of all
    converged: bool


@dataclass(frozen=True)
class Estimates:
    """Parameters by name with everything needed to judge them.

    A parameter that the data do not pin down has the status ``not identified``: it is NaN in
    every table, and what fixed it, where something did, stands in ``rests_on``.
    """

    names: tuple[str, ...]
    values: np.ndarray  # (P,)
    units: tuple[str, ...]
    start: np.ndarray  # (P,)
    status: tuple[str, ...]  # one of STATUSES each
    covariances: Mapping[str, np.ndarray]  # kind → (P, P); NaN where refused; the first rules
    fit: Fit
    certificate: Certificate
    identification: Identification
    observations: int
    minima: tuple[Minimum, ...] = ()
    sensitivity: np.ndarray | None = None  # ∂(estimates)/∂(moments), (P, M)
    over_identification: tuple[float, int] | None = None  # J and its degrees of freedom
    rests_on: Mapping[str, str] = field(default_factory=dict)  # parameter → data or assumption
    economy: Economy | None = None  # None where a parameter is not identified
    draws: Economy | None = None  # bootstrap draws, a leading axis B; NaN where failed
    failed: np.ndarray | None = None  # (B,)

    def __getitem__(self, name: str) -> float:
        return float(self.values[self._place(name)])

    @property
    def j_p_value(self) -> float:
        """Probability of a larger J where the model is right; NaN where nothing is left to test."""
        if self.over_identification is None or self.over_identification[1] == 0:
            return float("nan")
        return float(scipy.stats.chi2.sf(*self.over_identification))

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

    def confint(
        self, level: float = 0.95, kind: str | None = None, *, joint: bool = False
    ) -> np.ndarray:
        """Intervals ``(P, 2)``: of each parameter, or, if ``joint``, covering all at once.

        Joint intervals are the smallest rectangle of multiples of the standard errors, sup-t
        (Montiel Olea and Plagborg-Møller 2019).
        """
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
        return self.values[:, None] + critical * error[:, None] * np.array([[-1.0, 1.0]])

    def tidy(self, level: float = 0.95, kind: str | None = None) -> list[dict[str, Any]]:
        """A row per parameter: estimate, standard error, interval, start, unit and status."""
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
                "unit": self.units[k],
                "status": status,
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
        return "\n".join(lines)

    def to_latex(self, level: float = 0.95) -> str:
        """A table that needs booktabs alone."""
        lines = [r"\begin{tabular}{lrrl}", r"\toprule",
                 r"Parameter & Estimate & (s.e.) & Interval \\", r"\midrule"]  # fmt: skip
        for row in self.tidy(level):
            lines.append(
                f"{_escaped(row['parameter'])} & {_number(row['estimate'])} & "
                f"({_number(row['std_error'])}) & "
                f"[{_number(row['ci_low'])}, {_number(row['ci_high'])}] \\\\"
            )
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise InvalidInput([f"parameter {name!r} is none of {', '.join(self.names)}"])
        return self.names.index(name)


def _number(value: float) -> str:
    return f"{value:.5g}" if np.isfinite(value) else "."


def _escaped(name: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in name)
