"""The estimator ``three steps`` of a run file: its estimates, and what they leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from estimation import ThreeSteps, estimate_three_steps
from matching import get_parameter
from shorematch.estimates.estimate_files import Part, normal_intervals, side_by_side
from shorematch.estimates.run_file import RunFile
from shorematch.estimates.typed_samples import TypedSample
from shorematch.files.draw_files import DRAWS, Draws, write_draws
from shorematch.files.economy_file import write_economy
from shorematch.files.run_folder import safe_names, write_csv
from shorematch.files.tables import write_tables

COST = "cost_of_offshoring"
# more failed draws than this, and nothing is said about errors
_MOST_FAILED = 0.05


@dataclass(frozen=True)
class TypedResult:
    """The estimate of a group in a year, with the sample that it is of."""

    sample: TypedSample
    estimate: ThreeSteps
    smallest_cell: int

    @property
    def thin(self) -> np.ndarray:
        """Cells with matches, but fewer than may be shown, ``(N, J)``."""
        counts = self.sample.counts
        return (counts > 0) & (counts < self.smallest_cell)

    @property
    def thin_types(self) -> list[np.ndarray]:
        """Types of either side with fewer rows than may be shown."""
        sides = (self.sample.workers, self.sample.firms)
        return [cells.count < self.smallest_cell for cells in sides]

    @property
    def may_show_types(self) -> bool:
        """Whether every type stands for enough rows, so that an economy of them is no microdata."""
        return not any(thin.any() for thin in self.thin_types)


def estimate_types(file: RunFile, sample: TypedSample) -> TypedResult:
    """The three steps on the sample of a group and year."""
    inference, data = file.inference, file.data
    rows = sample.rows
    estimate = estimate_three_steps(
        sample.workers.values,
        sample.firms.values,
        sample.worker_type,
        sample.firm_type,
        rows.wages,
        rows.weights,
        clusters=rows.clusters if inference.clustered else None,
        market=sample.market,
        draws=inference.draws,
        seed=inference.seed,
        skill_names=data.worker_columns,
        characteristic_names=data.firm_columns,
    )
    return TypedResult(sample, estimate, data.smallest_cell)


def typed_part(result: TypedResult) -> Part:
    """An estimate on types as what every estimator leaves, with the cost of offshoring."""
    estimate, market = result.estimate, result.sample.market
    names, values, covariance = list(estimate.names), estimate.values, estimate.covariance
    intervals, draws = estimate.confint(), draws_of(estimate)
    if market.foreign is not None:
        row = np.zeros(len(names))
        row[names.index(f"origin.{market.name}.constant")] = 1.0
        row[names.index(f"origin.{market.foreign.name}.constant")] = -1.0
        extended = np.vstack([np.eye(len(names)), row])
        names, values = [*names, COST], extended @ values
        covariance, draws = extended @ covariance @ extended.T, draws @ extended.T
        intervals = np.vstack([intervals, normal_intervals(values, covariance)[-1:]])
    certificate = estimate.certificate
    further: dict[str, Any] = {"rests_on": market.rests_on}
    if estimate.failed is not None:
        failed = estimate.failed.mean()
        further["bootstrap"] = {"draws": len(draws), "failed": int(estimate.failed.sum())}
        intervals = np.percentile(draws[~estimate.failed], [2.5, 97.5], axis=0).T
        if failed > _MOST_FAILED:
            remark = f"{failed:.1%} of the bootstrap draws failed, so no standard error is given"
            certificate = replace(certificate, remarks=(*certificate.remarks, remark))
            covariance, intervals = np.nan * covariance, np.nan * intervals
    return Part(
        result.sample.group, result.sample.year, names, values, covariance, intervals,
        [0.0] * estimate.affinity.size + [np.nan] * (len(names) - estimate.affinity.size),
        certificate, _fit(result), further,
    )  # fmt: skip


def changes(found: Sequence[tuple[Part, TypedResult]]) -> pd.DataFrame:
    """The change of the cost of offshoring from each year of a group to the next, twice.

    As estimated, resting on E(r*) = E(r) in both years; and with ``ν_y* − ν_y`` held at the first
    year's, which equation (10) identifies without it. The years' samples count as independent.
    """
    rows = []
    for (old, before), (new, after) in pairwise(found):
        if old.group != new.group or not {COST} <= {*old.names} & {*new.names}:
            continue
        scale, (d_old, gap_old) = "tastes.lambda_y", _intensity_gap(old, before)
        d_new, gap_new = _intensity_gap(new, after)
        lam_y = new.values[new.names.index(scale)]
        held = {COST: 1.0, scale: gap_old - gap_new, **{k: -lam_y * v for k, v in d_new.items()}}
        kinds = {
            "change": (new.values[new.names.index(COST)], {COST: 1.0}, {}),
            "change_at_held_intensities": (
                new.values[new.names.index(COST)] + lam_y * (gap_old - gap_new),
                held,
                {k: lam_y * v for k, v in d_old.items()},
            ),
        }
        for kind, (value, of_new, of_old) in kinds.items():
            change = value - old.values[old.names.index(COST)]
            variance = _variance(new, of_new) + _variance(old, {COST: -1.0, **of_old})
            ((low, high),) = normal_intervals(np.array([change]), np.array([[variance]]))
            rows.append({
                "parameter": f"{COST}.{kind}", "group": new.group,
                "year": f"{old.year} to {new.year}", "estimate": change,
                "std_error": np.sqrt(variance), "ci_low": low, "ci_high": high,
                "start": np.nan, "status": "derived",
            })  # fmt: skip
    return pd.DataFrame(rows)


def _intensity_gap(part: Part, result: TypedResult) -> tuple[dict[str, float], float]:
    """``ν_y* − ν_y``: its derivatives by parameter, and its value."""
    market = result.sample.market
    assert market.foreign is not None
    slopes = {f"origin.{market.foreign.name}.nu_y": 1.0, f"origin.{market.name}.nu_y": -1.0}
    return slopes, sum(s * part.values[part.names.index(name)] for name, s in slopes.items())


def _variance(part: Part, slopes: dict[str, float]) -> float:
    row = np.array([slopes.get(name, 0.0) for name in part.names])
    return float(row @ part.covariance @ row)


def write_typed(folder: Path, found: Sequence[tuple[Part, TypedResult]]) -> None:
    """Write the table to print, types with their counts, and the economies with their draws."""
    parts = [part for part, _ in found]
    sizes = " + ".join(str(result.estimate.observations) for _, result in found)
    title = f"The slides' three steps, N = {sizes}; standard errors in parentheses"
    write_tables(folder, "parameters", side_by_side(parts), title=title)
    (folder / "parameters.csv").unlink()  # estimates.csv has all digits
    write_csv(folder / "types.csv", pd.concat([_types_table(*pair) for pair in found]))
    names = safe_names([part.label for part in parts])
    for name, (_, result) in zip(names, found, strict=True):
        economy = result.estimate.economy
        if economy is None or not result.may_show_types:
            continue
        place = folder
        if len(found) > 1:
            place = folder / "economies" / name
            place.mkdir(parents=True)
        write_economy(economy, place)
        if result.estimate.draws is not None and result.estimate.failed is not None:
            write_draws(place / DRAWS, Draws(result.estimate.draws, result.estimate.failed))


def draws_of(estimate: ThreeSteps) -> np.ndarray:
    """Draws of the parameters in the order of their names, ``(B, P)``."""
    if estimate.draws is None:
        return np.empty((0, len(estimate.names)))
    scalars = estimate.names[estimate.affinity.size :]
    affinity = np.asarray(estimate.draws.affinity)
    columns = [np.asarray(get_parameter(estimate.draws, name))[:, None] for name in scalars]
    return np.hstack([affinity.reshape(len(affinity), -1), *columns])


def withheld(found: Sequence[TypedResult]) -> list[str]:
    """What was not written, lest it tell of single workers or firms."""
    said = []
    for result in found:
        label = ", ".join(t for t in (result.sample.group, result.sample.year) if t)
        where = f"{label}: " if label else ""
        workers, firms = (int(thin.sum()) for thin in result.thin_types)
        if workers or firms:
            said.append(
                f"{where}no economy and no draws are written: {workers} worker types and {firms} "
                f"firm types have fewer than {result.smallest_cell} rows, and their values would "
                "be microdata; take fewer types"
            )
        elif result.thin.any():
            said.append(
                f"{where}{int(result.thin.sum())} cells with fewer than {result.smallest_cell} "
                "matches are left out of figures"
            )
    return said


def _fit(result: TypedResult) -> pd.DataFrame:
    """Cross moments and mean wages; of types with few rows nothing is shown."""
    fit = result.estimate.fit.assign(weight=np.nan)
    counts = result.sample.counts
    for kind, rows in (("worker", counts.sum(1)), ("firm", counts.sum(0))):
        thin = [f"mean_wage.{kind}_{k + 1}" for k in np.flatnonzero(rows < result.smallest_cell)]
        fit.loc[fit["moment"].isin(thin), ["data", "model"]] = np.nan
    return fit


def _types_table(part: Part, result: TypedResult) -> pd.DataFrame:
    """Types of both sides with rows, share of the mass and mean wage."""
    data, sample, frames = result.sample.rows.data, result.sample, []
    matched = result.estimate.matches
    bill = np.nan_to_num(matched * result.estimate.mean_wages)
    for side, cells, columns, axis in (
        ("worker", sample.workers, data.worker_columns, 1),
        ("firm", sample.firms, data.firm_columns, 0),
    ):
        frame = pd.DataFrame({
            "side": side,
            "group": part.group,
            "year": part.year,
            "type": np.arange(1, len(cells.count) + 1),
            **dict(zip(columns, cells.values.T, strict=True)),
            "matches": sample.counts.sum(axis),
            "share": matched.sum(axis),
            "mean_wage": bill.sum(axis) / matched.sum(axis),
        })  # fmt: skip
        shown = [*columns, "matches", "share", "mean_wage"]
        frame = frame.astype({"matches": "Int64"})
        thin = (frame["matches"] < result.smallest_cell) | (cells.count < result.smallest_cell)
        frame.loc[thin, shown] = pd.NA
        frames.append(frame)
    return pd.concat(frames)
