"""``shorematch estimate``: from a file of matches to estimates, tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from estimation import Estimates
from estimation.estimates import COST
from matching import InvalidInput
from shorematch.console import console
from shorematch.estimates.affinity_estimation import estimate_matrix
from shorematch.estimates.affinity_figures import draw_affinity
from shorematch.estimates.affinity_tables import write_affinity
from shorematch.estimates.bootstrap_figures import draw_bootstrap
from shorematch.estimates.estimate_files import (
    Part,
    certificates,
    located,
    without_thin_moments,
    worst_verdict,
    write_parts,
)
from shorematch.estimates.match_files import Sample, read_sample, samples_of
from shorematch.estimates.run_file import RunFile, read_run, resolved
from shorematch.estimates.typed_estimation import estimate_types
from shorematch.estimates.typed_figures import draw_typed
from shorematch.estimates.typed_results import changes, withheld, write_typed
from shorematch.estimates.typed_samples import cell_columns, typed_samples
from shorematch.estimates.wage_estimation import estimate_wages, read_basis, wage_unit
from shorematch.estimates.wage_figures import draw_wages
from shorematch.estimates.wage_tables import write_wages
from shorematch.files.defects import InputError
from shorematch.files.manifest import Run
from shorematch.files.run_folder import safe_names


@dataclass(frozen=True)
class _Found:
    """What an estimator found: a part per group and year, and how to print them."""

    parts: list[Part]
    gists: list[str]  # of each part, a sentence
    identified: str  # what the data tell, and what rests on a normalisation
    tables: Callable[[Path], Any]  # into a folder
    draw: Callable[[Path, Part, str], Any]  # figures of a part into a folder, under a stem
    derived: pd.DataFrame = field(default_factory=pd.DataFrame)  # rows of estimates.csv
    files: dict[str, str] = field(default_factory=dict)  # further files read → SHA-256


def estimate_file(run_path: Path, out: Path) -> int:
    """Run the estimation that a run file describes into ``out``; 0 certified, 2 not.

    Raises :class:`~matching.InvalidInput` with every defect before anything is written.
    """
    run = Run(["estimate", run_path], out)
    file = read_run(run_path)
    estimator = {"affinity": _affinity, "wages": _wages}.get(file.estimator, _typed)
    with run.folder() as folder:
        sample = read_sample(run_path, file.data, cell_columns(file))
        doubts = sample.doubts(file.foreign.name if file.foreign else None)
        run.lap("read")
        found = estimator(run_path, file, sample)
        run.lap("estimate")
        write_parts(folder, found.parts, found.derived)
        found.tables(folder)
        for stem, part in zip(_stems(found.parts), found.parts, strict=True):
            found.draw(folder / "figures", part, stem)
            draw_bootstrap(folder / "figures", part.estimates, stem)
        (folder / "run.toml").write_text(resolved(file), encoding="utf-8", newline="\n")
        run.read(run_path.parent, sample.files | found.files)
        columns = {n: {"mean": m, "standard_deviation": s} for n, (m, s) in sample.units.items()}
        run.note(
            seed=file.inference.seed,
            rows=sample.flow,
            doubts=doubts,
            standardised={"how": file.data.standardise, "columns": columns},
            certificate=certificates(found.parts),
            identified=found.identified,
        )
    return _report(out, file.estimator, sample.flow, doubts, found)


def _affinity(_: Path, file: RunFile, sample: Sample) -> _Found:
    """Who works where, without wages."""
    parts = [
        _part(file, group, year, partial(estimate_matrix, file, rows))
        for group, year, rows in samples_of(sample)
    ]
    shares = [100 * part.estimates.saliency().shares for part in parts]
    gists = [
        f"Saliency: index pairs carry {', '.join(f'{share:.2f}' for share in of_part)} % of the "
        "sorting"
        for of_part in shares
    ]
    return _Found(
        parts,
        gists,
        " ".join(dict.fromkeys(note for part in parts for note in part.estimates.notes)),
        tables=lambda folder: write_affinity(folder, parts),
        draw=lambda folder, part, stem: draw_affinity(folder, part.estimates, stem),
    )


def _wages(run_path: Path, file: RunFile, sample: Sample) -> _Found:
    """Who works where and at what wage."""
    keys = file.wages
    assert keys is not None
    basis = read_basis(run_path.name, file.data, keys)
    parts = [
        Part(group, year, without_thin_moments(
            estimate_wages(file.data, keys, file.inference, basis, rows), file.data.smallest_cell
        ))
        for group, year, rows in samples_of(sample)
    ]  # fmt: skip
    gists = [
        f"Taste scales: workers {e['scale.worker']:.4g}, firms {e['scale.firm']:.4g}; "
        f"R² {e.r_squared:.3f}, objective {-min(one.objective for one in e.minima):.4f}"
        for e in (part.estimates for part in parts)
    ]
    unit = wage_unit(keys)
    return _Found(
        parts,
        gists,
        " ".join(parts[0].estimates.notes),
        tables=lambda folder: write_wages(folder, parts),
        draw=lambda folder, part, stem: draw_wages(folder, part.estimates, unit, stem),
    )


def _typed(run_path: Path, file: RunFile, sample: Sample) -> _Found:
    """Matches between types and their wages, with the levels of a market."""
    samples, files = typed_samples(run_path, file, sample)
    whole = [
        _part(file, typed.group, typed.year, partial(estimate_types, run_path, file, typed))
        for typed in samples
    ]
    parts = [
        _without_economy(part) if any(thin.any() for thin in typed.thin_types) else part
        for part, typed in zip(whole, samples, strict=True)
    ]
    what = file.estimator.capitalize()
    assumed = [f"{name} rests on {reason}" for name, reason in samples[0].market.rests_on.items()]
    least = file.data.smallest_cell
    return _Found(
        parts,
        [f"{what}: {_gist(part.estimates)}" for part in parts],
        "; ".join([*assumed, *withheld(parts, samples)]),
        tables=lambda folder: write_typed(folder, parts, samples, what),
        draw=lambda folder, part, stem: draw_typed(folder, part.estimates, least, stem),
        derived=changes(parts),
        files=files,
    )


def _without_economy(part: Part) -> Part:
    """Types of few rows are microdata, and so are economies of them."""
    bootstrap = part.estimates.bootstrap
    if bootstrap is not None:
        bootstrap = replace(bootstrap, economies=None)
    return replace(part, estimates=replace(part.estimates, economy=None, bootstrap=bootstrap))


def _gist(estimates: Estimates) -> str:
    text = f"Φ, λ and levels from {estimates.observations} rows"
    if COST in estimates.names:
        text += f"; cost of offshoring {estimates[COST]:.4g}"
    if estimates.r_squared is not None:
        text += f"; R² of the wage equation {estimates.r_squared:.3f}"
    if estimates.over_identification is not None:
        value, freedom = estimates.over_identification
        text += f"; J {value:.1f} with {freedom} degrees of freedom, p {estimates.j_p_value:.3f}"
    return text


def _part(file: RunFile, group: str, year: str, estimate: Callable[[], Estimates]) -> Part:
    """A part, its defects located in the file of matches."""
    try:
        return Part(group, year, without_thin_moments(estimate(), file.data.smallest_cell))
    except InputError:  # which says where
        raise
    except InvalidInput as error:
        raise located(file.data.matches, group, year, error) from error


def _stems(parts: Sequence[Part]) -> list[str]:
    """What ends the names of the figures of each part."""
    if len(parts) == 1:
        return [""]
    return [f"_{name}" for name in safe_names([part.label for part in parts])]


def _report(
    out: Path, estimator: str, flow: dict[str, int], doubts: list[str], found: _Found
) -> int:
    """Say what was used, what was found and how sure it is; the exit code."""
    say = console().print
    dropped = f"{flow['dropped_missing']} dropped for an empty cell"
    kinds = "".join(f"{flow[kind]} {kind}, " for kind in ("unmatched", "foreign") if kind in flow)
    say(f"{flow['read']} rows read, {dropped}, {kinds}{flow['used']} matches used")
    for doubt in doubts:
        say(doubt, style="bold red")
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
        if part.estimates.bootstrap is not None:
            failed = part.estimates.bootstrap.failed
            say(f"{name}{len(failed)} bootstrap draws, {failed.sum()} failed")
        for reason in (*certificate.failures, *certificate.doubts):
            say(f"- {reason}", style=style)
    for _, row in found.derived.iterrows():
        say(f"{row['parameter']}, {row['year']}: {row['estimate']:.4g} ({row['std_error']:.2g})")
    say(found.identified)
    say(f"Results are in {out}")
    return 0 if worst_verdict(found.parts) == "CERTIFIED" else 2
