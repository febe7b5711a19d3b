"""``shorematch estimate``: from a file of matches to estimates, tables and figures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from estimation import AffinityEstimate, Certificate, estimate_affinity, saliency
from matching import InvalidInput
from shorematch.affinity_figures import draw_affinity
from shorematch.affinity_tables import NOT_IDENTIFIED, write_affinity
from shorematch.console import console
from shorematch.defects import Defect, InputError
from shorematch.estimate_files import certificate_summary
from shorematch.inputs import FileModel, read_toml
from shorematch.manifest import Run
from shorematch.match_files import MatchData, Sample, read_sample, units_of
from shorematch.wage_estimation import WageKeys, estimate_wages, read_basis
from shorematch.wage_figures import draw_wages
from shorematch.wage_tables import write_wages

_NORMALISED = (
    "Amenities of workers' columns alone and productivity of jobs' columns alone cancel out of "
    "matches and wages; the constant is the wage equation's, its multipliers having mean zero."
)


class _RunFile(FileModel):
    estimator: Literal["affinity", "wages"]
    data: MatchData
    wages: WageKeys | None = None

    @model_validator(mode="after")
    def _sections_of_the_estimator(self) -> "_RunFile":
        if self.estimator == "affinity" and self.wages is not None:
            raise ValueError('the section [wages] belongs to estimator = "wages"')
        if self.estimator == "wages" and self.wages is None:
            raise ValueError('estimator = "wages" needs a section [wages]')
        if self.estimator == "wages" and self.data.weight is not None:
            raise ValueError('estimator = "wages" takes no weight: every match counts once')
        return self


@dataclass(frozen=True)
class _Outcome:
    """How an estimation ended, for the manifest and the terminal."""

    certificate: Certificate
    identified: str  # what the data tell, and what rests on a normalisation
    found: str  # the gist, a sentence


def estimate_file(run_path: Path, out: Path) -> int:
    """Run the estimation that a run file describes into ``out``; 0 certified, 2 not.

    Raises :class:`~matching.InvalidInput` with every defect before anything is written.
    """
    run = Run(["estimate", run_path], out)
    file = _read_run(run_path)
    estimator = _affinity if file.wages is None else _wages
    with run.folder() as folder:
        sample, outcome = estimator(run_path, file, folder, run)
        (folder / "run.toml").write_text(_resolved(file), encoding="utf-8", newline="\n")
        run.read(run_path.parent, sample.files)
        run.note(
            seed=None if file.wages is None else file.wages.seed,
            rows=sample.flow,
            standardised=units_of(file.data, sample),
            certificate=certificate_summary(outcome.certificate),
            identified=outcome.identified,
        )
    return _report(out, file.estimator, sample.flow, outcome)


def _affinity(
    run_path: Path, file: _RunFile, folder: Path, run: Run
) -> tuple[Sample, _Outcome]:  # fmt: skip
    """Who works where, without wages."""
    sample = read_sample(run_path, file.data)
    run.lap("read")
    estimate = _estimate_affinity(file, sample)
    found = saliency(estimate)
    run.lap("estimate")
    write_affinity(folder, estimate, found)
    draw_affinity(folder / "figures", estimate, found)
    shares = ", ".join(f"{100 * share:.2f}" for share in found.shares)
    gist = f"Saliency: index pairs carry {shares} % of the sorting"
    return sample, _Outcome(estimate.certificate, NOT_IDENTIFIED, gist)


def _wages(run_path: Path, file: _RunFile, folder: Path, run: Run) -> tuple[Sample, _Outcome]:
    """Who works where and at what wage."""
    keys = file.wages
    assert keys is not None
    basis = read_basis(run_path.name, file.data, keys)
    labels = [keys.cluster] if keys.cluster else []
    sample = read_sample(run_path, file.data, [keys.column], labels)
    run.lap("read")
    result = estimate_wages(file.data, keys, basis, sample)
    run.lap("estimate")
    write_wages(folder, result)
    draw_wages(folder / "figures", result)
    estimate = result.estimate
    gist = (
        f"Taste scales: workers {estimate['scale.worker']:.4g}, firms "
        f"{estimate['scale.firm']:.4g}; R² "
        f"{estimate.r_squared:.3f}, objective {estimate.objective:.4f}"
    )
    return sample, _Outcome(estimate.certificate, _NORMALISED, gist)


def _estimate_affinity(file: _RunFile, sample: Sample) -> AffinityEstimate:
    try:
        return estimate_affinity(
            sample.skills.values,
            sample.characteristics.values,
            sample.weights,
            skill_names=file.data.worker_columns,
            characteristic_names=file.data.firm_columns,
        )
    except InvalidInput as error:
        raise InvalidInput([f"{file.data.matches}, {text}" for text in error.defects]) from error


def _read_run(path: Path) -> _RunFile:
    defects: list[Defect] = []
    run = read_toml(path, _RunFile, defects)
    if run is None:
        raise InputError(defects)
    return run


def _resolved(run: _RunFile) -> str:
    """The run file with every default, as TOML; paths are relative to the original."""
    lines = [f'estimator = "{run.estimator}"']
    for name, section in (("data", run.data), ("wages", run.wages)):
        if section is not None:
            keys = section.model_dump(exclude_none=True)
            lines += ["", f"[{name}]"]
            lines += [
                f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()
            ]
    return "\n".join([*lines, ""])


def _report(out: Path, estimator: str, flow: dict[str, int], outcome: _Outcome) -> int:
    """Say what was used, what was found and how sure it is; the exit code."""
    certificate = outcome.certificate
    say = console().print
    say(
        f"{flow['read']} matches read, {flow['dropped_missing']} dropped for an empty cell, "
        f"{flow['used']} used"
    )
    say(outcome.found)
    say(outcome.identified)
    facts = (
        f"{certificate.iterations} iterations, first-order conditions to "
        f"{certificate.gradient:.1e} standard deviations, margins to "
        f"{certificate.margin_residual:.1e}, relative curvature {certificate.curvature:.2g}"
    )
    certified = certificate.verdict == "CERTIFIED"
    say(f"{estimator}: {certificate.verdict} ({facts})", style=None if certified else "bold red")
    for reason in (*certificate.failures, *certificate.doubts):
        say(f"- {reason}", style="bold red")
    say(f"Results are in {out}")
    return 0 if certified else 2
