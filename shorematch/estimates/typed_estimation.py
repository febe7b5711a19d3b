"""Estimators on types of a run file: the three steps, and minimum distance from their end."""

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np

from estimation import (
    CellFit,
    Estimates,
    SampleMoments,
    estimate_minimum_distance,
    estimate_three_steps,
    sample_moments,
)
from estimation.minimum_distance import parameter_defects
from estimation.moment_objective import scalars
from estimation.moments import SAMPLED, SHARES
from estimation.resampling import numbered
from matching import Economy, solve_equilibrium, with_parameter
from matching.errors import did_you_mean
from shorematch.estimates.run_file import MomentKeys, ParameterKeys, RunFile
from shorematch.estimates.typed_samples import TypedSample
from shorematch.files.defects import Defect, InputError

_AFFINITY = "technology.affinity"
_ESTIMATED = ("lambda_x", "lambda_y", "constant", "nu_x", "nu_y")
_OF_ALL_WORKERS = "unemployment_by_worker"


def estimate_types(run_path: Path, file: RunFile, sample: TypedSample) -> Estimates:
    """The estimator of the run file on the sample of a group and year."""
    if file.estimator == "three steps":
        return _three_steps(file, sample, file.inference.draws)
    first = _three_steps(file, sample, 0)
    start, cells = first.economy, first.cells
    assert start is not None
    assert cells is not None
    moments, parameters = file.moments or MomentKeys(), file.parameters or ParameterKeys()
    found = _Aggregates.of(sample)
    free = [*(parameters.free or _free(start, parameters)), *_masses(sample)]
    defects = [*found.defects(moments), *_parameter_defects(start, parameters, free)]
    if defects:
        raise InputError([Defect(run_path.name, text, "Correct the run file") for text in defects])
    start = reduce(lambda e, item: with_parameter(e, *item), parameters.fixed.items(), start)
    sampled, known = _moments(file, sample, moments, found)
    estimates = estimate_minimum_distance(
        start,
        free,
        sampled=sampled,
        known=known,
        tied=parameters.tied,
        bounds=parameters.bounds,
        starts=file.inference.starts,
        seed=file.inference.seed,
    )
    return _with_cells(estimates, cells).with_cost_of_offshoring()


def _three_steps(file: RunFile, sample: TypedSample, draws: int) -> Estimates:
    inference, data, rows = file.inference, file.data, sample.rows
    return estimate_three_steps(
        sample.workers.values,
        sample.firms.values,
        sample.worker_type,
        sample.firm_type,
        rows.wages,
        rows.weights,
        clusters=rows.clusters if inference.clustered else None,
        market=sample.market,
        draws=draws,
        studentised=inference.studentised,
        seed=inference.seed,
        skill_names=data.worker_columns,
        characteristic_names=data.firm_columns,
    )


# ---------------------------------------------------------------- moments and parameters


@dataclass(frozen=True)
class _Aggregates:
    """Aggregates of the market as moments, with errors of those that were counted from rows."""

    values: dict[str, float]
    std_errors: dict[str, float]
    sampled: tuple[str, ...]  # moments that the rows have

    @classmethod
    def of(cls, sample: TypedSample) -> "_Aggregates":
        market, everybody = sample.market, bool(len(sample.rows.unmatched))
        values, errors = {"wage_share": market.wage_share}, {}
        counted = dict(zip(
            ("unemployment_rate", "offshoring_rate", "mean_wage_foreign"),
            zip(market.counted, market.std_errors, strict=True), strict=True,
        ))  # fmt: skip
        if everybody:  # whose unemployment by type says all that the rate does
            del counted["unemployment_rate"]
        if market.foreign is None:
            del counted["offshoring_rate"], counted["mean_wage_foreign"]
        else:
            values["profit_ratio"] = 1.0  # E(r*) = E(r)
        for name, (value, error) in counted.items():
            values[name] = float(value)
            if error > 0:
                errors[name] = float(error)
        of_rows = tuple(name for name in SAMPLED if everybody or name != _OF_ALL_WORKERS)
        return cls(values, errors, of_rows)

    def defects(self, keys: MomentKeys) -> list[str]:
        """Moments that were asked for, but that neither rows nor aggregates have."""
        return [
            f"[moments] {key}: {name!r} is none that these data have"
            f"{did_you_mean(name, known) or '; there is ' + ', '.join(known)}"
            for key, asked, known in (
                ("sampled", keys.sampled, self.sampled),
                ("aggregates", keys.aggregates, tuple(self.values)),
            )
            for name in asked or () if name not in known
        ]  # fmt: skip


def _moments(
    file: RunFile, sample: TypedSample, keys: MomentKeys, found: _Aggregates
) -> tuple[SampleMoments, dict[str, float]]:
    """Moments with a covariance, of rows or counted from them, and those given as known."""
    names = found.sampled if keys.sampled is None else [*keys.sampled, *SHARES]
    names = list(dict.fromkeys(names))  # masses of types are sampled too, and free
    rows, none = sample.rows, np.full(len(sample.unmatched_type), -1)
    inference = file.inference
    clusters = rows.clusters if inference.clustered else None
    if clusters is not None:  # who is without a firm is a cluster of his own
        labels = numbered(clusters, len(clusters))
        clusters = np.r_[labels, labels.max() + 1 + np.arange(len(none))]
    of_rows = sample_moments(
        sample.workers.values,
        sample.firms.values,
        np.r_[sample.worker_type, sample.unmatched_type],
        np.r_[sample.firm_type, none],
        np.r_[rows.wages, np.zeros(len(none))],
        np.r_[sample.weights, rows.weights_of(rows.unmatched)],
        clusters=clusters,
        moments=names,
        draws=inference.draws,
        studentised=inference.studentised,
        seed=inference.seed,
    )
    asked = list(found.values if keys.aggregates is None else keys.aggregates)
    counted = {name: found.values[name] for name in asked if name in found.std_errors}
    known = {name: found.values[name] for name in asked if name not in counted}
    known |= {"mass_of_workers": 1.0, "mass_of_firms": float(sample.market.mass_of_firms)}
    return of_rows.with_counted(counted, found.std_errors, inference.seed), known


def _free(economy: Economy, keys: ParameterKeys) -> list[str]:
    """Everything that the three steps estimate, but what is fixed or tied."""
    names = [_AFFINITY, *(n for n in scalars(economy) if n.endswith(_ESTIMATED))]
    return [name for name in names if name not in (*keys.fixed, *keys.tied)]


def _masses(sample: TypedSample) -> tuple[str, str]:
    """Masses of types, which shares of the sample tell with an error."""
    return f"origin.{sample.market.name}.mass", "firms.mass"


def _parameter_defects(
    economy: Economy, keys: ParameterKeys, free: list[str]
) -> list[str]:  # fmt: skip
    names = scalars(economy)
    defects = [
        f"[parameters] fixed: {name!r} is no number of the economy{did_you_mean(name, names)}"
        for name in keys.fixed if name not in names
    ]  # fmt: skip
    if keys.free is not None:
        left = [n for n in _free(economy, keys) if n not in keys.free]
        defects += [
            f"[parameters] {name}: is neither free, fixed nor tied; say which" for name in left
        ]
        defects += [
            f"[parameters] {name}: is free and fixed; choose one"
            for name in keys.free if name in keys.fixed
        ]  # fmt: skip
    further = parameter_defects(economy, free, keys.tied, keys.bounds)
    return [*defects, *(f"[parameters] {text}" for text in further)]


def _with_cells(estimates: Estimates, data: CellFit) -> Estimates:
    """With matches and wages of the cells in the data, and in its economy where there is one."""
    if estimates.economy is None:
        return estimates
    solved = solve_equilibrium(estimates.economy, kernel="dense", throw=False)
    fitted = np.asarray(solved.matches[0])
    cells = replace(
        data, fitted_matches=fitted / fitted.sum(), fitted_wages=np.asarray(solved.wages[0])
    )
    return replace(estimates, cells=cells)
