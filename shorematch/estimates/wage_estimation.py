"""The estimator ``wages`` of a run file: its keys, its data and its estimate."""

from pathlib import Path

import numpy as np

from estimation import Basis, Estimates, estimate_with_wages, make_basis
from matching import InvalidInput
from shorematch.estimates.match_files import MatchData, Sample, not_positive
from shorematch.estimates.run_file import InferenceKeys, WageKeys
from shorematch.files.defects import InputError


def read_basis(file: str, data: MatchData, keys: WageKeys) -> Basis:
    """The terms of a run file; raises :class:`~matching.InvalidInput` with all their defects."""
    try:
        return make_basis(
            keys.amenities, keys.productivity, workers=data.worker_columns, jobs=data.firm_columns
        )
    except InvalidInput as error:
        raise InvalidInput([f"{file}, [wages] {text}" for text in error.defects]) from error


def estimate_wages(
    data: MatchData, keys: WageKeys, inference: InferenceKeys, basis: Basis, sample: Sample
) -> Estimates:
    """Estimate on the sample of a run file, profile intervals included."""
    wages = sample.wages
    assert wages is not None
    assert data.wage is not None
    if keys.logarithm:
        remedy = "Give its log with logarithm = false, or leave the row out"
        file = Path(data.matches).name
        defects = not_positive(file, sample.matched, data.wage, remedy)
        if defects:
            raise InputError(defects)
        wages = np.log(wages)
    workers = dict(zip(data.worker_columns, sample.skills.T, strict=True))
    jobs = dict(zip(data.firm_columns, sample.characteristics.T, strict=True))
    try:
        estimates = estimate_with_wages(
            wages,
            workers,
            jobs,
            basis,
            clusters=sample.clusters if inference.clustered else None,
            profile=keys.profile,
            starts=inference.starts,
            draws=inference.draws,
            studentised=inference.studentised,
            seed=inference.seed,
        )
    except InvalidInput as error:
        raise InvalidInput([f"{data.matches}, {text}" for text in error.defects]) from error
    return estimates.ruled_by(inference.std_errors or "sandwich")


def wage_unit(keys: WageKeys) -> str:
    """What estimates are in units of."""
    return "log wage" if keys.logarithm else "wage"
