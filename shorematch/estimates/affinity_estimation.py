"""The estimator ``affinity`` of a run file."""

from typing import Any

from estimation import Estimates, estimate_affinity, estimate_penalised_affinity
from shorematch.estimates.match_files import Sample
from shorematch.estimates.run_file import RunFile


def estimate_matrix(file: RunFile, sample: Sample) -> Estimates:
    """Estimate on the sample of a run file, under a penalty where it asks for one."""
    names: dict[str, Any] = {
        "skill_names": file.data.worker_columns,
        "characteristic_names": file.data.firm_columns,
    }
    x, y, weights = sample.skills, sample.characteristics, sample.weights
    if file.affinity is not None:
        keys = file.affinity.model_dump()
        return estimate_penalised_affinity(x, y, weights, **keys, seed=file.inference.seed, **names)
    clusters = sample.clusters if file.inference.clustered else None
    inference = file.inference
    estimates = estimate_affinity(
        x, y, weights, clusters=clusters, draws=inference.draws,
        studentised=inference.studentised, seed=inference.seed, **names,
    )  # fmt: skip
    return estimates.ruled_by(inference.std_errors or "information")
