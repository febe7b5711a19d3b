"""``shorematch estimate``: from a file of matches to estimates, tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from estimation import AffinityEstimate, estimate_affinity, saliency
from matching import InvalidInput
from shorematch.console import console
from shorematch.estimates.affinity_figures import draw_affinity
from shorematch.estimates.affinity_tables import NOT_IDENTIFIED, affinity_part, write_affinity
from shorematch.estimates.estimate_files import (
    Part,
    certificates,
    located,
    worst_verdict,
    write_parts,
)
from shorematch.estimates.match_files import Sample, read_sample, samples_of
from shorematch.estimates.run_file import RunFile, read_run, resolved
from shorematch.estimates.three_step_figures import draw_typed
from shorematch.estimates.three_step_results import (
    changes,
    estimate_types,
    typed_part,
    withheld,
    write_typed,
)
from shorematch.estimates.typed_samples import cell_columns, typed_samples
from shorematch.estimates.wage_estimation import estimate_wages, read_basis
from shorematch.estimates.wage_figures import draw_wages
from shorematch.estimates.wage_tables import wage_part, write_wages
from shorematch.files.manifest import Run
from shorematch.files.run_folder import safe_names

_NORMALISED = (
    "Amenities of workers' columns alone and productivity of jobs' columns alone cancel out of "
    "matches and wages; the constant is the wage equation's, its multipliers having mean zero."
)


@dataclass(frozen=True)
class _Found:
    """What an estimator found: a part per group and year, and how to print them."""

    parts: list[Part]
    gists: list[str]  # of each part, a sentence
    identified: str  # what the data tell, and what rests on a normalisation
    write: Callable[[Path], Any]  # tables and figures into a folder
    derived: pd.DataFrame = field(default_factory=pd.DataFrame)  # rows of estimates.csv
    files: dict[str, str] = field(default_factory=dict)  # further files read → SHA-256


def estimate_file(run_path: Path, out: Path) -> int:
    """Run the estimation that a run file describes into ``out``; 0 certified, 2 not.

    Raises :class:`~matching.InvalidInput` with every defect before anything is written.
    """
    run = Run(["estimate", run_path], out)
    file = read_run(run_path)
    estimator = {"affinity": _affinity, "wages": _wages, "three steps": _three_steps}[
        file.estimator
    ]
    with run.folder() as folder:
        sample = read_sample(run_path, file.data, cell_columns(file))
        run.lap("read")
        found = estimator(run_path, file, sample)
        run.lap("estimate")
        write_parts(folder, found.parts, found.derived)
        found.write(folder)
        (folder / "run.toml").write_text(resolved(file), encoding="utf-8", newline="\n")
        run.read(run_path.parent, sample.files | found.files)
        columns = {n: {"mean": m, "standard_deviation": s} for n, (m, s) in sample.units.items()}
        run.note(
            seed=file.inference.seed,
            rows=sample.flow,
            standardised={"how": file.data.standardise, "columns": columns},
            certificate=certificates(found.parts),
            identified=found.identified,
        )
    return _report(out, file.estimator, sample.flow, found)


def _affinity(_: Path, file: RunFile, sample: Sample) -> _Found:
    """Who works where, without wages."""
    estimates = []
    for group, year, rows in samples_of(sample):
        estimate = _estimate_affinity(file, rows, group, year)
        estimates.append((affinity_part(group, year, estimate), estimate, saliency(estimate)))

    def write(folder: Path) -> None:
        write_affinity(folder, estimates)
        stems = _stems([part for part, _, _ in estimates])
        for stem, (_, estimate, indices) in zip(stems, estimates, strict=True):
            draw_affinity(folder / "figures", estimate, indices, stem)

    gists = [
        f"Saliency: index pairs carry {', '.join(f'{100 * share:.2f}' for share in found.shares)} "
        "% of the sorting"
        for _, _, found in estimates
    ]
    return _Found([part for part, _, _ in estimates], gists, NOT_IDENTIFIED, write)


def _wages(run_path: Path, file: RunFile, sample: Sample) -> _Found:
    """Who works where and at what wage."""
    keys = file.wages
    assert keys is not None
    basis = read_basis(run_path.name, file.data, keys)
    results = []
    for group, year, rows in samples_of(sample):
        result = estimate_wages(file.data, keys, file.inference, basis, rows)
        results.append((wage_part(group, year, result), result))

    def write(folder: Path) -> None:
        write_wages(folder, results)
        stems = _stems([part for part, _ in results])
        for stem, (_, result) in zip(stems, results, strict=True):
            draw_wages(folder / "figures", result, stem)

    gists = [
        f"Taste scales: workers {e['scale.worker']:.4g}, firms {e['scale.firm']:.4g}; "
        f"R² {e.r_squared:.3f}, objective {e.objective:.4f}"
        for e in (result.estimate for _, result in results)
    ]
    return _Found([part for part, _ in results], gists, _NORMALISED, write)


def _three_steps(run_path: Path, file: RunFile, sample: Sample) -> _Found:
    """Matches between types and their wages, then the levels from aggregates."""
    samples, files = typed_samples(run_path, file, sample)
    results = []
    for typed in samples:
        try:
            result = estimate_types(file, typed)
        except InvalidInput as error:
            raise located(file.data.matches, typed.group, typed.year, error) from error
        results.append((typed_part(result), result))
    parts = [part for part, _ in results]

    def write(folder: Path) -> None:
        write_typed(folder, results)
        for stem, (part, result) in zip(_stems(parts), results, strict=True):
            draw_typed(folder / "figures", part, result, stem)

    gists = [
        f"Φ, λ and levels from {e.observations} matches; R² of the wage equation {e.r_squared:.3f}"
        for e in (result.estimate for _, result in results)
    ]
    assumed = [f"{name} rests on {reason}" for name, reason in samples[0].market.rests_on.items()]
    identified = "; ".join([*assumed, *withheld([result for _, result in results])])
    return _Found(parts, gists, identified, write, changes(results), files)


def _estimate_affinity(
    file: RunFile, sample: Sample, group: str, year: str
) -> AffinityEstimate:  # fmt: skip
    try:
        return estimate_affinity(
            sample.skills,
            sample.characteristics,
            sample.weights,
            skill_names=file.data.worker_columns,
            characteristic_names=file.data.firm_columns,
        )
    except InvalidInput as error:
        raise located(file.data.matches, group, year, error) from error


def _stems(parts: Sequence[Part]) -> list[str]:
    """What ends the names of the figures of each part."""
    if len(parts) == 1:
        return [""]
    return [f"_{name}" for name in safe_names([part.label for part in parts])]


def _report(out: Path, estimator: str, flow: dict[str, int], found: _Found) -> int:
    """Say what was used, what was found and how sure it is; the exit code."""
    say = console().print
    dropped = f"{flow['dropped_missing']} dropped for an empty cell"
    kinds = "".join(f"{flow[kind]} {kind}, " for kind in ("unmatched", "foreign") if kind in flow)
    say(f"{flow['read']} rows read, {dropped}, {kinds}{flow['used']} matches used")
    for part, gist in zip(found.parts, found.gists, strict=True):
        certificate = part.certificate
        name = f"{part.label}: " if part.label else ""
        say(f"{name}{gist}")
        facts = (
            f"{certificate.iterations} iterations, first-order conditions to "
            f"{certificate.gradient:.1e} standard deviations, margins to "
            f"{certificate.margin_residual:.1e}, relative curvature {certificate.curvature:.2g}"
        )
        style = None if certificate.verdict == "CERTIFIED" else "bold red"
        say(f"{name}{estimator}: {certificate.verdict} ({facts})", style=style)
        for reason in (*certificate.failures, *certificate.doubts):
            say(f"- {reason}", style=style)
    for _, row in found.derived.iterrows():
        say(f"{row['parameter']}, {row['year']}: {row['estimate']:.4g} ({row['std_error']:.2g})")
    say(found.identified)
    say(f"Results are in {out}")
    return 0 if worst_verdict(found.parts) == "CERTIFIED" else 2
