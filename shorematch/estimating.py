"""``shorematch estimate``: from a file of matches to estimates, tables and figures."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estimation import (
    AffinityEstimate,
    Saliency,
    Standardised,
    estimate_affinity,
    saliency,
    standardise,
)
from matching import InvalidInput
from shorematch.affinity_figures import draw_affinity
from shorematch.affinity_tables import NOT_IDENTIFIED, write_affinity
from shorematch.console import console
from shorematch.defects import Defect, InputError, shorten
from shorematch.inputs import FileModel, read_table, read_toml, sha256_of
from shorematch.run_folder import new_run, write_json
from shorematch.solving import versions

_Name = Annotated[str, Field(min_length=1)]
_Columns = Annotated[list[_Name], Field(min_length=1)]


class _Data(FileModel):
    matches: _Name  # path relative to the run file, one row per match
    worker_columns: _Columns
    firm_columns: _Columns
    weight: _Name | None = None
    standardise: Literal["ddof1", "ddof0", "none"] = "ddof1"
    missing: Literal["error", "drop"] = "error"
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."


class _RunFile(FileModel):
    estimator: Literal["affinity"]
    data: _Data


@dataclass(frozen=True)
class _Sample:
    """The matches that are used, and how many rows fell by the way and why."""

    skills: Standardised
    characteristics: Standardised
    weights: np.ndarray | None
    flow: dict[str, int]  # what happened → rows
    files: dict[str, str]  # file → SHA-256


@dataclass
class _Clock:
    """Seconds of each phase, in order."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase], self.last = now - self.last, now


def estimate_file(run_path: Path, out: Path) -> int:
    """Run the estimation that a run file describes into ``out``; 0 certified, 2 not.

    Raises :class:`~matching.InvalidInput` with every defect before anything is written.
    """
    clock = _Clock()
    run = _read_run(run_path)
    sample = _read_sample(run_path, run.data)
    clock.lap("read")
    with new_run(out) as folder:
        estimate = _estimate(run, sample)
        found = saliency(estimate)
        clock.lap("estimate")
        write_affinity(folder, estimate, found)
        draw_affinity(folder / "figures", estimate, found)
        (folder / "run.toml").write_text(_resolved(run), encoding="utf-8", newline="\n")
        clock.lap("write")
        manifest = {
            "command": f"shorematch estimate {run_path} --out {out}",
            "versions": versions(),
            "sha256": sample.files,
            "rows": sample.flow,
            "standardised": _standardised(run.data, sample),
            "certificate": vars(estimate.certificate) | {"verdict": estimate.certificate.verdict},
            "identified": NOT_IDENTIFIED,
            "seconds": clock.seconds,
        }
        write_json(folder / "manifest.json", manifest)
    return _report(out, sample.flow, estimate, found)


def _estimate(run: _RunFile, sample: _Sample) -> AffinityEstimate:
    try:
        return estimate_affinity(
            sample.skills.values,
            sample.characteristics.values,
            sample.weights,
            skill_names=run.data.worker_columns,
            characteristic_names=run.data.firm_columns,
        )
    except InvalidInput as error:
        raise InvalidInput([f"{run.data.matches}, {text}" for text in error.defects]) from error


# ---------------------------------------------------------------- reading


def _read_run(path: Path) -> _RunFile:
    defects: list[Defect] = []
    run = read_toml(path, _RunFile, defects)
    if run is None:
        raise InputError(defects)
    return run


def _read_sample(run_path: Path, data: _Data) -> _Sample:
    """The rows that are used; every defect of the data together."""
    defects: list[Defect] = []
    columns = [*data.worker_columns, *data.firm_columns]
    columns += [data.weight] if data.weight else []
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        remedy = "A column is a worker's, a firm's or the weight, once"
        defects.append(Defect(run_path.name, f"names {name!r} twice", remedy, key="data"))
    path = run_path.parent / data.matches
    frame = read_table(
        path,
        defects,
        columns=columns,
        delimiter=data.delimiter,
        decimal=data.decimal,
        missing=True,
    )
    if frame is None or defects:
        raise InputError(defects)
    holes = frame.isna()
    if data.missing == "error":
        remedy = 'Fill it in, or set missing = "drop" to leave such rows out, counted'
        for name in frame.columns[holes.any()]:
            rows = [int(k) + 2 for k in np.flatnonzero(holes[name])]
            problem = "the cell is empty"
            defects += shorten(
                [Defect(path.name, problem, remedy, row=row, column=name) for row in rows]
            )
    if data.weight:
        wrong = np.flatnonzero(frame[data.weight] <= 0)
        defects += shorten([
            Defect(path.name, f"is {frame[data.weight][k]}", "Weights are positive",
                   row=int(k) + 2, column=data.weight)
            for k in wrong
        ])  # fmt: skip
    if defects:
        raise InputError(defects)
    used = frame[~holes.any(axis=1)]
    if used.empty:
        remedy = "Look for a column that is empty throughout"
        raise InputError([Defect(path.name, "every row has an empty cell", remedy)])
    weights = used[data.weight].to_numpy() if data.weight else None
    skills, characteristics = (
        standardise(used[names].to_numpy(), weights, data.standardise)
        for names in (data.worker_columns, data.firm_columns)
    )
    flow = {
        "read": len(frame),
        "dropped_missing": len(frame) - len(used),
        "used": len(used),
    }
    files = {run_path.name: sha256_of(run_path), data.matches: sha256_of(path)}
    return _Sample(skills, characteristics, weights, flow, files)


def _resolved(run: _RunFile) -> str:
    """The run file with every default, as TOML; paths are relative to the original."""
    data = run.data.model_dump(exclude_none=True)
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in data.items()]
    return "\n".join([f'estimator = "{run.estimator}"', "", "[data]", *lines, ""])


# ---------------------------------------------------------------- reporting


def _standardised(data: _Data, sample: _Sample) -> dict[str, Any]:
    """How columns were standardised: what was taken out of each."""
    columns = {}
    for names, side in (
        (data.worker_columns, sample.skills),
        (data.firm_columns, sample.characteristics),
    ):
        for name, centre, unit in zip(names, side.centre, side.unit, strict=True):
            columns[name] = {"mean": centre, "standard_deviation": unit}
    return {"how": data.standardise, "columns": columns}


def _report(out: Path, flow: dict[str, int], estimate: AffinityEstimate, found: Saliency) -> int:
    """Say what was used, what was found and how sure it is; the exit code."""
    certificate = estimate.certificate
    say = console().print
    say(
        f"{flow['read']} matches read, {flow['dropped_missing']} dropped for an empty cell, "
        f"{flow['used']} used"
    )
    shares = ", ".join(f"{100 * share:.2f}" for share in found.shares)
    say(f"Saliency: index pairs carry {shares} % of the sorting")
    say(NOT_IDENTIFIED)
    facts = (
        f"{certificate.iterations} iterations, moments to {certificate.gradient:.1e} standard "
        f"deviations, margins to {certificate.margin_residual:.1e}, relative curvature "
        f"{certificate.curvature:.2g}"
    )
    certified = certificate.verdict == "CERTIFIED"
    say(f"affinity: {certificate.verdict} ({facts})", style=None if certified else "bold red")
    for reason in (*certificate.failures, *certificate.doubts):
        say(f"- {reason}", style="bold red")
    say(f"Results are in {out}")
    return 0 if certified else 2
