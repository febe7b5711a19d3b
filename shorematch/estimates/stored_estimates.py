"""Stored estimates: the folder of a run of ``estimate`` read back, without its data.

It holds all that :class:`~estimation.Estimates` does but the fit of cells, which is drawn, and an
economy that may not be shown.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import Bootstrap, Certificate, Estimates, Fit, Identification, Minimum, PenaltyPath
from matching import Economy, get_parameter
from shorematch.estimates.estimate_files import (
    CONDITIONS,
    SCALARS,
    TEXTS,
    Part,
    economy_folders,
)
from shorematch.files.defects import Defect, InputError
from shorematch.files.draw_files import DRAWS, read_draws, read_estimates
from shorematch.files.economy_file import read_economy

_ECONOMY = "economy.toml"


def load_run(folder: Path) -> list[Part]:
    """The estimates in the folder of a run of ``estimate``, whose data need not exist any more.

    Raises :class:`~matching.InvalidInput` where the folder is none of such a run.
    """
    names = ("estimates.csv", "vcov.csv", "fit.csv", "certificate.json")
    remedy = "Name the folder that shorematch estimate has written"
    defects = [
        Defect(name, f"is missing in {folder}", remedy)
        for name in names if not (folder / name).is_file()
    ]  # fmt: skip
    if defects:
        raise InputError(defects)
    tables = {
        name: pd.read_csv(folder / name, dtype={"group": str, "year": str}, keep_default_na=False,
                          na_values=[""]).fillna({"group": "", "year": ""})
        for name in ("estimates.csv", "vcov.csv", "fit.csv", "sensitivity.csv")
        if (folder / name).is_file()
    }  # fmt: skip
    certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    listed = certificate.get("parts", [certificate])
    # changes from year to year stand among the estimates alone
    keys = tables["fit.csv"][["group", "year"]].drop_duplicates().to_numpy().tolist()
    parts = [
        Part(group, year, _loaded(_rows_of(tables, group, year), kept))
        for (group, year), kept in zip(keys, listed, strict=True)
    ]
    places = economy_folders(folder, parts)
    return [
        replace(part, estimates=_with_draws(part.estimates, place))
        for part, place in zip(parts, places, strict=True)
    ]


def _rows_of(tables: dict[str, pd.DataFrame], group: str, year: str) -> dict[str, pd.DataFrame]:
    return {
        name: frame[(frame["group"] == group) & (frame["year"] == year)]
        for name, frame in tables.items()
    }


def _loaded(tables: dict[str, pd.DataFrame], kept: dict[str, Any]) -> Estimates:
    table, fit = tables["estimates.csv"], tables["fit.csv"]
    names = tuple(table["parameter"])
    covariances = {
        str(kind): rows[list(names)].to_numpy(float)
        for kind, rows in tables["vcov.csv"].groupby("kind", sort=False)
    }
    sensitivity = tables.get("sensitivity.csv")
    identification = kept["identification"]
    over = kept.get("over_identification")
    return Estimates(
        names=names,
        values=table["estimate"].to_numpy(float),
        units=tuple(table["unit"]),
        start=table["start"].to_numpy(float),
        status=tuple(table["status"]),
        covariances=covariances,
        fit=Fit(
            tuple(fit["moment"]),
            *(fit[key].to_numpy(float) for key in ("data", "model", "weight", "rows")),
        ),
        certificate=_certificate(kept),
        identification=Identification(
            **identification
            | {key: tuple(identification[key]) for key in ("open", "weak")}
            | {"singular_values": np.array(identification["singular_values"])}
        ),
        **_kept(kept),
        bias=_vector(kept["bias"], names) if "bias" in kept else None,
        minima=tuple(
            Minimum(**one | {"values": _vector(one["values"], names),
                             "objective": _number(one["objective"])})
            for one in kept["minima"]
        ),
        sensitivity=None
        if sensitivity is None
        else sensitivity[list(fit["moment"])].to_numpy(float),
        over_identification=over and (over["J"], over["degrees_of_freedom"]),
        rests_on=kept["rests_on"],
        profiles={
            name: (_number(low), _number(high))
            for name, (low, high) in kept["profile_intervals"].items()
        },
        penalty=_path(kept["penalty"]) if "penalty" in kept else None,
    )  # fmt: skip


def _certificate(kept: dict[str, Any]) -> Certificate:
    conditions: dict[str, Any] = {key: _number(kept[key]) for key in CONDITIONS}
    return Certificate(**conditions, remarks=tuple(kept["remarks"]))


def _kept(kept: dict[str, Any]) -> dict[str, Any]:
    return {key: kept[key] for key in SCALARS} | {key: tuple(kept[key]) for key in TEXTS}


def _path(kept: dict[str, Any]) -> PenaltyPath:
    arrays = ("strengths", "affinities", "sizes", "violations")
    gains = np.array(kept["gains"], dtype=float).reshape(-1, len(kept["strengths"]))
    return PenaltyPath(
        penalty=kept["penalty"],
        **{key: np.array(kept[key]) for key in arrays},
        gains=gains,
        seed=kept["seed"],
    )


def _with_draws(estimates: Estimates, place: Path) -> Estimates:
    """The same with its economy and its draws, so far as they were written."""
    drawn = (place / DRAWS).is_file()
    if not (place / _ECONOMY).is_file():
        if not drawn:
            return estimates
        values, failed, covariances = read_estimates(place / DRAWS, estimates.names)
        return replace(estimates, bootstrap=Bootstrap(values, failed, None, covariances))
    economy = read_economy(place / _ECONOMY).economy
    estimates = replace(estimates, economy=economy)
    if not drawn:
        return estimates
    draws = read_draws(place / DRAWS, economy)
    values = np.full((len(draws.failed), len(estimates.names)), np.nan)
    for k, name in enumerate(estimates.names):
        if not name.startswith("affinity.") and estimates.status[k] != "derived":
            values[:, k] = np.asarray(get_parameter(draws.economies, name))
    entries = [k for k, name in enumerate(estimates.names) if name.startswith("affinity.")]
    values[:, entries] = np.asarray(draws.economies.affinity).reshape(len(values), -1)
    values[:, [s == "derived" for s in estimates.status]] = _costs(draws.economies)[:, None]
    bootstrap = Bootstrap(values, draws.failed, draws.economies, draws.covariances)
    return replace(estimates, bootstrap=bootstrap)


def _costs(economies: Economy) -> np.ndarray:
    """The cost of offshoring, ``(B,)``: the one derived parameter that there is."""
    constants = [np.asarray(origin.constant) for origin in economies.origins]
    return np.asarray(constants[0] - constants[-1])


def _vector(values: dict[str, float | None], names: Sequence[str]) -> np.ndarray:
    return np.array([_number(values[name]) for name in names])


def _number(value: float | None) -> float:
    """A number of a JSON file, which has no NaN."""
    return float("nan") if value is None else value
