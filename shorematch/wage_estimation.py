"""The estimator ``wages`` of a run file: its keys, its data and its estimate."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from estimation import Basis, WageEstimate, estimate_with_wages, make_basis, profile_interval
from estimation.likelihood import SCALES
from matching import InvalidInput
from shorematch.inputs import FileModel
from shorematch.match_files import MatchData, Name, Sample, positive


class WageKeys(FileModel):
    """The section ``[wages]`` of a run file."""

    column: Name
    logarithm: bool = True
    amenities: list[Name]
    productivity: list[Name]
    cluster: Name | None = None
    std_errors: Literal["sandwich", "information"] = "sandwich"
    starts: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    profile: bool = True


@dataclass(frozen=True)
class WageResult:
    """An estimate, and the profile intervals of its scales where they were asked for."""

    estimate: WageEstimate
    wage: str  # "log wage" or "wage"
    std_errors: str  # which covariance the tables show
    starts: dict[str, float]  # parameter → start; what least squares finds has none
    profile: dict[str, tuple[float, float]]  # scale → 95 % interval


def read_basis(file: str, data: MatchData, keys: WageKeys) -> Basis:
    """The terms of a run file; raises :class:`~matching.InvalidInput` with all their defects."""
    try:
        return make_basis(
            keys.amenities, keys.productivity, workers=data.worker_columns, jobs=data.firm_columns
        )
    except InvalidInput as error:
        raise InvalidInput([f"{file}, [wages] {text}" for text in error.defects]) from error


def estimate_wages(data: MatchData, keys: WageKeys, basis: Basis, sample: Sample) -> WageResult:
    """Estimate on the sample of a run file, profile intervals included."""
    wages = sample.others[keys.column].to_numpy()
    if keys.logarithm:
        remedy = "Give its log with logarithm = false, or leave the row out"
        wages = np.log(positive(sample, data, keys.column, remedy))
    workers = dict(zip(data.worker_columns, sample.skills.values.T, strict=True))
    jobs = dict(zip(data.firm_columns, sample.characteristics.values.T, strict=True))
    try:
        estimate = estimate_with_wages(
            wages,
            workers,
            jobs,
            basis,
            clusters=sample.others[keys.cluster].to_numpy() if keys.cluster else None,
            starts=keys.starts,
            seed=keys.seed,
        )
    except InvalidInput as error:
        raise InvalidInput([f"{data.matches}, {text}" for text in error.defects]) from error
    profile = {
        scale: profile_interval(estimate, wages, workers, jobs, basis, scale)
        for scale in (SCALES if keys.profile else ())
    }
    interactions = {term.name for term in basis.interactions}
    starts = {name: 0.0 for name in estimate.names if name.partition(".")[2] in interactions}
    name = "log wage" if keys.logarithm else "wage"
    return WageResult(estimate, name, keys.std_errors, starts, profile)
