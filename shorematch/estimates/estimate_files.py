"""What every estimator leaves: estimates, their covariance, the fit of moments, certificates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import Certificate
from matching import InvalidInput
from shorematch.files.run_folder import write_csv, write_json

# Two-sided 95 % of a normal.
QUANTILE = 1.959963984540054
_VERDICTS = ("CERTIFIED", "DOUBTFUL", "FAILED")


@dataclass(frozen=True)
class Part:
    """The estimates of one group in one year; a run without either has one part."""

    group: str
    year: str
    names: Sequence[str]
    values: np.ndarray
    covariance: np.ndarray
    intervals: np.ndarray  # 95 %, (P, 2)
    start: Sequence[float]
    certificate: Certificate
    fit: pd.DataFrame  # moment, data, model, weight
    further: dict[str, Any] = field(default_factory=dict)  # goes into certificate.json

    @property
    def label(self) -> str:
        """What heads the part's column in a table."""
        return ", ".join(text for text in (self.group, self.year) if text)

    @property
    def std_errors(self) -> np.ndarray:
        """Standard errors, ``(P,)``; NaN where there is none."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def status(self) -> str:
        """The verdict, as ``estimates.csv`` has it."""
        return self.certificate.verdict.lower()


def normal_intervals(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """95 % intervals of normal estimates, ``(P, 2)``."""
    reach = QUANTILE * np.sqrt(np.diag(covariance))
    return np.column_stack([values - reach, values + reach])


def worst_verdict(parts: Sequence[Part]) -> str:
    """The verdict of the run: that of its worst part."""
    return max((part.certificate.verdict for part in parts), key=_VERDICTS.index)


def located(file: str, group: str, year: str, error: InvalidInput) -> InvalidInput:
    """Defects of an estimator's sample, with the file and the part that have them."""
    labels = {"group": group, "year": year}
    where = "".join(f", {kind} {label}" for kind, label in labels.items() if label)
    return InvalidInput([f"{file}{where}, {text}" for text in error.defects])


def write_parts(folder: Path, parts: Sequence[Part], derived: pd.DataFrame) -> None:
    """Write the four files, part below part, ``derived`` being further rows of estimates."""
    estimates = [
        _in_part(
            part,
            parameter=part.names,
            estimate=part.values,
            std_error=part.std_errors,
            ci_low=part.intervals[:, 0],
            ci_high=part.intervals[:, 1],
            start=part.start,
            status=part.status,
        )
        for part in parts
    ]
    write_csv(folder / "estimates.csv", pd.concat([*estimates, derived]))
    vcov = [
        _in_part(part, parameter=part.names, **dict(zip(part.names, part.covariance, strict=True)))
        for part in parts
    ]
    write_csv(folder / "vcov.csv", pd.concat(vcov))
    fit = [
        _in_part(
            part,
            moment=part.fit["moment"],
            data=part.fit["data"],
            model=part.fit["model"],
            difference=part.fit["model"] - part.fit["data"],
            weight=part.fit["weight"],
        )
        for part in parts
    ]
    write_csv(folder / "fit.csv", pd.concat(fit))
    write_json(folder / "certificate.json", certificates(parts))


def certificates(parts: Sequence[Part]) -> dict[str, Any]:
    """The certificate of the run: of its one part, or the worst verdict above all of them."""
    if len(parts) == 1:
        return certificate_summary(parts[0].certificate) | parts[0].further
    listed = [
        {"group": part.group, "year": part.year}
        | certificate_summary(part.certificate)
        | part.further
        for part in parts
    ]
    return {"verdict": worst_verdict(parts), "parts": listed}


def certificate_summary(certificate: Certificate) -> dict[str, Any]:
    """The conditions of the optimum, the verdict, and its reasons."""
    return {
        "verdict": certificate.verdict,
        "reasons": [*certificate.failures, *certificate.doubts],
        **{key: value for key, value in vars(certificate).items() if key != "remarks"},
    }


def printed_number(value: float, digits: int = 3) -> str:
    """A number as tables print it; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def side_by_side(parts: Sequence[Part]) -> pd.DataFrame:
    """Parts in columns: estimates over standard errors (in parentheses) over 95 % intervals."""
    names = list(dict.fromkeys(name for part in parts for name in part.names))
    columns: dict[str, list[str]] = {"parameter": [t for name in names for t in (name, "", "")]}
    for part in parts:
        rows = dict(
            zip(part.names, zip(part.values, part.std_errors, part.intervals, strict=True),
                strict=True)
        )  # fmt: skip
        cells = []
        for name in names:
            value, error, (low, high) = rows.get(name, (np.nan, np.nan, (np.nan, np.nan)))
            known = not np.isnan(error)
            ends = f"[{printed_number(low)}, {printed_number(high)}]"
            cells += [printed_number(value), f"({printed_number(error)})" if known else "",
                      "" if np.isnan(low) else ends]  # fmt: skip
        columns[part.label or "estimate"] = cells
    frame = pd.DataFrame(columns)
    return frame[(frame != "").any(axis=1)].reset_index(drop=True)


def _in_part(part: Part, **columns: Any) -> pd.DataFrame:
    """Columns of a file, the first followed by the part's group and year."""
    frame = pd.DataFrame(columns)
    frame.insert(1, "group", part.group)
    frame.insert(2, "year", part.year)
    return frame
