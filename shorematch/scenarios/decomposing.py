"""``shorematch decompose``: the change between two economies by groups of parameters."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from pydantic import Field

from counterfactuals import (
    Decomposition,
    DecompositionDraws,
    ParameterGroup,
    decompose,
    decompose_draws,
    default_groups,
)
from counterfactuals.decomposition import GLOBALISATION, STRUCTURAL_CHANGE, effect_of_cause
from counterfactuals.measures import PROFILES, Label
from matching import Economy, InvalidInput, Status
from shorematch.console import console
from shorematch.files.defects import Defect, InputError
from shorematch.files.draw_files import DRAWS, estimated_draws
from shorematch.files.economy_file import LoadedEconomy, read_economy
from shorematch.files.inputs import FileModel, read_toml, sha256_of
from shorematch.files.manifest import Run
from shorematch.files.run_folder import write_csv, write_json
from shorematch.files.tables import write_tables
from shorematch.scenarios.decomposition_figures import decomposition_figures
from shorematch.scenarios.interval_tables import (
    Intervals,
    failure_lines,
    save_intervals,
    write_intervals,
)

_Text = Annotated[str, Field(min_length=1)]
_CHANGE = "change"  # the name of the whole, beside those of the groups
INEQUALITY = {
    "var_wage_between_firms": "Between-firm variance of wages",
    "var_skill_between_firms": "Between-firm variance of skills",
}


class _Group(FileModel):
    name: _Text
    parameters: Annotated[list[_Text], Field(min_length=1)]
    cause: Literal["structural change", "globalisation", ""] = ""


class _GroupsFile(FileModel):
    group: Annotated[list[_Group], Field(min_length=1)]


def decompose_files(
    start_path: Path,
    end_path: Path,
    out: Path,
    groups_path: Path | None = None,
    *,
    intervals: bool = False,
) -> int:
    """Decompose the change from one economy file to another into ``out``; the exit code.

    ``groups_path`` names the groups and, by their order, the sequence in which they move.
    ``intervals`` takes the change apart again under the bootstrap draws that lie beside the
    economy files, one or both. Returns 0 where every economy in between is certified, under every
    draw whose estimation has succeeded, 2 otherwise. Raises :class:`~matching.InvalidInput` before
    anything is written.
    """
    arguments = ["decompose", start_path, end_path]
    arguments += [] if groups_path is None else ["--groups", groups_path]
    run = Run([*arguments, "--intervals"] if intervals else arguments, out)
    start, end = read_economy(start_path), read_economy(end_path)
    run.read(start_path.parent, start.files)
    run.read(end_path.parent, end.files)
    groups = default_groups(start.economy)
    if groups_path is not None:
        groups = _read_groups(groups_path)
        run.read(groups_path.parent, {groups_path.name: sha256_of(groups_path)})
    pairs = _paired_draws(((start_path, start), (end_path, end)), run) if intervals else None
    run.lap("read")
    with run.folder() as folder:
        try:
            result = decompose(start.economy, end.economy, groups)
        except InvalidInput as error:
            if groups_path is None:
                raise
            raise InvalidInput([f"{groups_path.name}, {text}" for text in error.defects]) from error
        run.lap("solve")
        told = findings_of(result)
        findings = "\n\n".join(told)
        causes = causes_frame(result)
        write_csv(folder / "decomposition.csv", decomposition_frame(result))
        write_tables(folder, "table", _table(result, start, end), transpose=True)
        (folder / "groups.toml").write_text(_groups_toml(groups), encoding="utf-8", newline="\n")
        (folder / "findings.md").write_text(findings + "\n", encoding="utf-8", newline="\n")
        if findings:
            write_tables(folder, "causes", causes)
        decomposition_figures(folder / "figures", result, causes)
        summary = {
            "economies": {"from": start.name, "to": end.name},
            "groups": [group.name for group in groups],
            "status": _counts(result.status),
            "wage_error_bound": float(result.wage_error_bound.max()),
            "findings": told,
        }
        write_json(folder / "summary.json", summary)
        if pairs is not None:
            run.lap("write")
            draws = decompose_draws(*pairs, groups)
            run.lap("solve draws")
            found = _intervals(result, draws)
            write_intervals(folder, "intervals", found, "Contributions to changes, paired by draw")
            save_intervals(folder / "figures", "intervals", found, "Contributions to changes")
    console().print((out / "table.md").read_text(encoding="utf-8"))
    console().print(findings)
    code = _print_verdict(result)
    if pairs is not None:
        console().print((out / "intervals.md").read_text(encoding="utf-8"))
        certified = (draws.status == Status.CERTIFIED).all(1)
        lines, doubtful = failure_lines(
            ["decomposition"], draws.failed, draws.used[None], certified[None]
        )
        for line in lines:
            console().print(line, style="bold red")
        code = 2 if doubtful else code
    console().print(f"Results are in {out}")
    return code


def decomposition_frame(result: Decomposition) -> pd.DataFrame:
    """One row per measure and group of parameters, with what the group contributes.

    Columns: ``statistic``, ``group`` (a type or skill; empty for the whole economy), ``start``,
    ``end``, ``moved`` (the group of parameters), ``shapley``, ``sequential``, ``least``, ``most``.
    """
    statistics, types = (list(names) for names in zip(*result.labels, strict=True))
    parts = [
        pd.DataFrame({
            "statistic": statistics, "group": types, "start": result.start, "end": result.end,
            "moved": group.name, "shapley": result.shapley[g],
            "sequential": result.sequential[g], "least": result.least[g], "most": result.most[g],
        })
        for g, group in enumerate(result.groups)
    ]  # fmt: skip
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def findings_of(result: Decomposition) -> list[str]:
    """The slides' claim on between-firm inequality in words that follow from the numbers.

    The claim: structural change widens it, globalisation narrows it. Empty where no group of
    parameters bears one of the two causes.
    """
    members = {
        cause: ", ".join(group.name for group in result.groups if group.cause == cause)
        for cause in (STRUCTURAL_CHANGE, GLOBALISATION)
    }
    if not all(members.values()):
        return []
    stated = "; ".join(f"{cause} is {names}" for cause, names in members.items())
    inequality = [label for label in result.labels if label[0] in INEQUALITY]
    return [f"Here {stated}.", *(_finding(result, label) for label in inequality)]


def causes_frame(result: Decomposition) -> pd.DataFrame:
    """Between-firm inequality by cause: a row per measure and cause, ``other`` for no cause.

    Columns: ``statistic``, ``cause``, ``shapley``, and ``least`` and ``most`` over all orders in
    which the groups move.
    """
    rows = []
    for label in result.labels:
        for cause in (STRUCTURAL_CHANGE, GLOBALISATION, "") if label[0] in INEQUALITY else ():
            effect = effect_of_cause(result, cause, label)
            rows.append({"statistic": _name(label), **asdict(effect), "cause": cause or "other"})
    return pd.DataFrame(rows)


def _paired_draws(
    pair: Sequence[tuple[Path, LoadedEconomy]], run: Run
) -> tuple[Economy, Economy, np.ndarray]:
    """Draws of both economies, ``(B, ...)``, one that has none as it is; pairs that have failed."""
    folders = [path.parent for path, _ in pair if (path.parent / DRAWS).exists()]
    found = {folder: estimated_draws(folder, loaded) for (path, loaded) in pair
             if (folder := path.parent) in folders}  # fmt: skip
    for folder in found:
        run.read(folder, {DRAWS: sha256_of(folder / DRAWS)})
    counts = {len(draws.failed) for draws in found.values()}
    if len(counts) != 1:
        told = [f"{len(draws.failed)} in {folder / DRAWS}" for folder, draws in found.items()]
        problem = "needs draws of one economy, or as many of both; there are "
        remedy = "Name economies as estimations with a bootstrap have left them"
        raise InputError(
            [Defect("--intervals", problem + (" and ".join(told) or "none beside them"), remedy)]
        )
    count = counts.pop()
    start, end = (
        found[path.parent].economies
        if path.parent in found
        else jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), loaded.economy)
        for path, loaded in pair
    )
    failed = np.logical_or.reduce([draws.failed for draws in found.values()])
    return start, end, failed


def _intervals(result: Decomposition, draws: DecompositionDraws) -> Intervals:
    """Contributions of every group, of the causes where both are named, and the whole change."""
    names = [group.name for group in result.groups]
    rows = [np.arange(len(names)) == g for g in range(len(names))]
    for cause in (STRUCTURAL_CHANGE, GLOBALISATION) if findings_of(result) else ():
        names.append(f"all {cause}" if cause in names else cause)
        rows.append(np.array([group.cause == cause for group in result.groups]))
    estimate = [result.shapley[row].sum(0) for row in rows]
    drawn = [draws.shapley[:, row].sum(1) for row in rows]
    return Intervals(
        "moved", (*names, _CHANGE), result.labels,
        np.stack([*estimate, result.end - result.start]), np.stack([*drawn, draws.change]),
    )  # fmt: skip


def _name(label: Label) -> str:
    return INEQUALITY[label[0]] + (f" ({label[1]})" if label[1] else "")


def _finding(result: Decomposition, label: Label) -> str:
    column = result.labels.index(label)
    start, end = result.start[column], result.end[column]
    name = _name(label)
    if np.isnan(result.corners[:, column]).any():
        return f"{name}: not known, because not every economy in between could be solved."
    effects = [
        effect_of_cause(result, cause, label) for cause in (STRUCTURAL_CHANGE, GLOBALISATION)
    ]
    told = " and ".join(
        f"{effect.cause} {'widens' if effect.shapley > 0 else 'narrows'} it by "
        f"{abs(effect.shapley):.3g} "
        f"({effect.least:+.3g} to {effect.most:+.3g} over the orders)"
        if effect.shapley
        else f"{effect.cause} leaves it as it is"
        for effect in effects
    )
    structural, global_ = effects
    if not (structural.shapley > 0 > global_.shapley):
        verdict = "not confirmed"
    elif structural.least > 0 > global_.most:
        verdict = "confirmed, in whatever order they move"
    else:
        verdict = "confirmed on average over the orders in which they move, not in every order"
    return (
        f"{name}: from {start:.4g} to {end:.4g}; on average {told}. That structural change widens "
        f"and globalisation narrows it is {verdict}."
    )


def _table(result: Decomposition, start: LoadedEconomy, end: LoadedEconomy) -> pd.DataFrame:
    """Scalars: both economies, the change, and each group's Shapley contribution to it."""
    scalars = [k for k, (name, _) in enumerate(result.labels) if name not in PROFILES]
    rows = {
        f"from: {start.name}": result.start,
        f"to: {end.name}": result.end,
        _CHANGE: result.end - result.start,
        **{group.name: result.shapley[g] for g, group in enumerate(result.groups)},
    }
    names = ["_".join(filter(None, result.labels[k])) for k in scalars]
    frame = pd.DataFrame([values[scalars] for values in rows.values()], columns=names)
    frame.insert(0, "statistic", list(rows))
    return frame


def _read_groups(path: Path) -> tuple[ParameterGroup, ...]:
    defects: list[Defect] = []
    file = read_toml(path, _GroupsFile, defects)
    if file is None:
        raise InputError(defects)
    if _CHANGE in (g.name for g in file.group):
        problem = f"a group is named {_CHANGE!r}, as the whole change is in tables"
        raise InputError([Defect(path.name, problem, "Choose another name", key="group")])
    return tuple(ParameterGroup(g.name, tuple(g.parameters), g.cause) for g in file.group)


def _groups_toml(groups: tuple[ParameterGroup, ...]) -> str:
    """The groups as a file to reorder or regroup and pass on with ``--groups``."""

    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    return "\n".join(
        f"[[group]]\nname = {text(group.name)}\ncause = {text(group.cause)}\n"
        f"parameters = {text(list(group.parameters))}\n"
        for group in groups
    )


def _counts(status: np.ndarray) -> dict[str, int]:
    return {s.name.lower(): int((status == s).sum()) for s in Status if (status == s).any()}


def _print_verdict(result: Decomposition) -> int:
    counts = _counts(result.status)
    if set(counts) == {"certified"}:
        console().print(f"All {len(result.status)} economies are solved and certified")
        return 0
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    console().print(
        f"NOT ALL OF THE {len(result.status)} ECONOMIES ARE CERTIFIED: {told}. What needs one that "
        f"has not converged is empty; wages are known to ±{result.wage_error_bound.max():.2g}.",
        style="bold red",
    )
    return 2
