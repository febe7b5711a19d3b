"""What every estimator leaves: estimates, covariances, fit, certificate, economies and draws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import Certificate, Estimates
from matching import InvalidInput
from shorematch.files.draw_files import DRAWS, parameters_of, write_draws
from shorematch.files.economy_file import write_economy
from shorematch.files.run_folder import safe_names, write_csv, write_json

_VERDICTS = ("CERTIFIED", "DOUBTFUL", "FAILED")
CONDITIONS = ("gradient", "curvature", "margin_residual", "iterations")
SCALARS = ("observations", "effective_observations", "r_squared")
TEXTS = ("skill_names", "characteristic_names", "notes")


@dataclass(frozen=True)
class Part:
    """The estimates of one group in one year; a run without either has one part."""

    group: str
    year: str
    estimates: Estimates

    @property
    def label(self) -> str:
        """What heads the part's column in a table."""
        return ", ".join(text for text in (self.group, self.year) if text)

    @property
    def certificate(self) -> Certificate:
        """That of its estimates."""
        return self.estimates.certificate


def without_thin_moments(estimates: Estimates, smallest_cell: int) -> Estimates:
    """Moments of some rows, but of fewer than may be shown, have neither data nor model."""
    fit = estimates.fit
    thin = (fit.rows > 0) & (fit.rows < smallest_cell)
    data, model = (np.where(thin, np.nan, values) for values in (fit.data, fit.model))
    return replace(estimates, fit=replace(fit, data=data, model=model))


def worst_verdict(parts: Sequence[Part]) -> str:
    """The verdict of the run: that of its worst part."""
    return max((part.certificate.verdict for part in parts), key=_VERDICTS.index)


def located(file: str, group: str, year: str, error: InvalidInput) -> InvalidInput:
    """Defects of an estimator's sample, with the file and the part that have them."""
    labels = {"group": group, "year": year}
    where = "".join(f", {kind} {label}" for kind, label in labels.items() if label)
    return InvalidInput([f"{file}{where}, {text}" for text in error.defects])


# ---------------------------------------------------------------- writing


def write_parts(folder: Path, parts: Sequence[Part], derived: pd.DataFrame) -> None:
    """Write the files of all parts, part below part, ``derived`` being further rows of estimates.

    Economies and draws, of an economy or else of the estimates, lie in the folder itself, or in
    one of ``economies`` each.
    """
    found = [part.estimates for part in parts]
    rows = [pd.DataFrame(e.tidy()).drop(columns="rests_on") for e in found]
    estimates = [
        _in_part(part, frame.assign(verdict=part.certificate.verdict))
        for part, frame in zip(parts, rows, strict=True)
    ]
    write_csv(folder / "estimates.csv", pd.concat([*estimates, derived]))
    vcov = [
        _in_part(part, _by_parameter(part, part.estimates.names, covariance, kind=kind))
        for part in parts
        for kind, covariance in part.estimates.covariances.items()
    ]
    write_csv(folder / "vcov.csv", pd.concat(vcov) if vcov else _no_covariance())
    fit = [
        _in_part(part, pd.DataFrame({
            "moment": part.estimates.fit.names,
            "data": part.estimates.fit.data,
            "model": part.estimates.fit.model,
            "difference": part.estimates.fit.model - part.estimates.fit.data,
            "weight": part.estimates.fit.weight,
            "rows": part.estimates.fit.rows.astype(int),
        }))
        for part in parts
    ]  # fmt: skip
    write_csv(folder / "fit.csv", pd.concat(fit))
    sensitivity = [
        _in_part(part, _by_parameter(part, part.estimates.fit.names, part.estimates.sensitivity))
        for part in parts if part.estimates.sensitivity is not None
    ]  # fmt: skip
    if sensitivity:
        write_csv(folder / "sensitivity.csv", pd.concat(sensitivity))
    write_json(folder / "certificate.json", certificates(parts))
    for place, part in zip(economy_folders(folder, parts), parts, strict=True):
        economy, bootstrap = part.estimates.economy, part.estimates.bootstrap
        if economy is not None or bootstrap is not None:
            place.mkdir(parents=True, exist_ok=True)
        if economy is not None:
            write_economy(economy, place)
        if bootstrap is not None:
            drawn = (
                dict(zip(part.estimates.names, bootstrap.values.T, strict=True))
                if bootstrap.economies is None
                else parameters_of(bootstrap.economies)
            )
            write_draws(place / DRAWS, drawn, bootstrap.failed, bootstrap.covariances)


def certificates(parts: Sequence[Part]) -> dict[str, Any]:
    """The certificate of the run: of its one part, or the worst verdict above all of them."""
    if len(parts) == 1:
        return _certified(parts[0].estimates)
    listed = [
        {"group": part.group, "year": part.year} | _certified(part.estimates) for part in parts
    ]
    return {"verdict": worst_verdict(parts), "parts": listed}


def _certified(estimates: Estimates) -> dict[str, Any]:
    """The verdict with its reasons, and everything else that is known of the estimates."""
    certificate, identification = estimates.certificate, estimates.identification
    kept: dict[str, Any] = {
        "verdict": certificate.verdict,
        "reasons": [*certificate.failures, *certificate.doubts],
        **{key: getattr(certificate, key) for key in (*CONDITIONS, "remarks")},
        **{key: getattr(estimates, key) for key in (*SCALARS, *TEXTS)},
        "identification": vars(identification),
        "rests_on": dict(estimates.rests_on),
        "profile_intervals": dict(estimates.profiles),
        "minima": [
            {**vars(one), "values": dict(zip(estimates.names, one.values, strict=True))}
            for one in estimates.minima
        ],
    }
    if estimates.bias is not None:
        kept["bias"] = dict(zip(estimates.names, estimates.bias, strict=True))
    if estimates.over_identification is not None:
        value, freedom = estimates.over_identification
        kept["over_identification"] = {
            "J": value, "degrees_of_freedom": freedom, "p_value": estimates.j_p_value,
        }  # fmt: skip
    if estimates.bootstrap is not None:
        failed = estimates.bootstrap.failed
        kept["bootstrap"] = {"draws": len(failed), "failed": int(failed.sum())}
    if estimates.penalty is not None:
        path = estimates.penalty
        kept["penalty"] = {**vars(path), "strength": path.strength, "size": path.size}
    return kept


def _in_part(part: Part, frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with the part's group and year behind its first column."""
    frame = frame.copy()
    frame.insert(1, "group", part.group)
    frame.insert(2, "year", part.year)
    return frame


def _by_parameter(part: Part, columns: Sequence[str], values: Any, **further: str) -> pd.DataFrame:
    """A row per parameter of a part, ``further`` columns in front of its values."""
    frame = pd.DataFrame(values, columns=list(columns))
    labels: dict[str, Any] = {"parameter": list(part.estimates.names)} | further
    for place, (key, value) in enumerate(labels.items()):
        frame.insert(place, key, value)
    return frame


def _no_covariance() -> pd.DataFrame:
    return pd.DataFrame(columns=["parameter", "group", "year", "kind"])


def economy_folders(folder: Path, parts: Sequence[Part]) -> list[Path]:
    """Where the economy of each part lies."""
    if len(parts) == 1:
        return [folder]
    return [folder / "economies" / name for name in safe_names([part.label for part in parts])]
