"""``shorematch counterfactual``: an economy under named shocks, side by side."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import pandas as pd
from pydantic import Field

from counterfactuals import Change, Shock, apply_shock
from counterfactuals.shocks import Kind
from matching import Economy, Equilibrium, InvalidInput, Status, parameter_names
from shorematch.console import console, progress
from shorematch.defects import Defect, InputError
from shorematch.economy_file import LoadedEconomy, read_economy
from shorematch.inputs import FileModel, read_toml, sha256_of
from shorematch.run_folder import new_run, safe_names
from shorematch.solving import (
    Orders,
    SolveOptions,
    draw_figures,
    orders_of,
    print_verdict,
    solve_timed,
    statistics_of,
    write_equilibrium,
)
from shorematch.tables import write_tables

BASELINE = "baseline"
_KINDS: tuple[str, ...] = get_args(Kind)


class _ShockEntry(FileModel, extra="allow"):
    name: Annotated[str, Field(min_length=1)]


class _ShocksFile(FileModel):
    shock: Annotated[list[_ShockEntry], Field(min_length=1)]


def counterfactual_file(
    economy_path: Path, shocks_path: Path, out: Path, options: SolveOptions | None = None
) -> int:
    """Solve an economy and each of its shocks into ``out``: a folder each, and one table of all.

    Returns 0 where every scenario is certified, 2 otherwise. Raises
    :class:`~matching.InvalidInput` before anything is written.
    """
    options = options or SolveOptions()
    loaded = read_economy(economy_path)
    orders = orders_of(loaded.economy, options)
    scenarios = {BASELINE: loaded} | read_scenarios(shocks_path, loaded)
    names = list(scenarios)
    folders = dict(zip(names, safe_names(names), strict=True))
    equilibria = {}
    with new_run(out) as folder:
        for name in progress(names, lambda name: f"solving {name}"):
            equilibrium, seconds = solve_timed(scenarios[name].economy, options)
            (folder / folders[name]).mkdir()
            write_equilibrium(
                folder / folders[name], scenarios[name], equilibrium, seconds, orders
            )  # fmt: skip
            equilibria[name] = equilibrium
        write_tables(folder, "table", scenario_table(equilibria, orders), transpose=True)
        if options.figures:
            draw_figures(folder, equilibria, orders, options.money)
    code = max(print_verdict(name, eq) for name, eq in equilibria.items())
    console().print((out / "table.md").read_text(encoding="utf-8"))
    console().print(f"Results are in {out}")
    return code


def read_scenarios(path: Path, loaded: LoadedEconomy) -> dict[str, LoadedEconomy]:
    """The economy under each shock of a shocks file, by the shock's name, in file order.

    Raises :class:`~shorematch.defects.InputError` with every defect of the file.
    """
    defects: list[Defect] = []
    file = read_toml(path, _ShocksFile, defects)
    if file is None:
        raise InputError(defects)
    files = loaded.files | {path.name: sha256_of(path)}
    names = [BASELINE, *(entry.name for entry in file.shock)]
    scenarios = {}
    for number, entry in enumerate(file.shock, start=1):
        key = f"shock #{number}"
        if names.count(entry.name) > 1:
            problem = f"another scenario bears the name {entry.name!r}"
            defects.append(Defect(path.name, problem, "Give it a name of its own", key=key))
        shock = Shock(entry.name, tuple(_changes(entry.model_extra or {}, loaded.economy)))
        if not shock.changes:
            remedy = "Name a parameter, as in origin.china.constant = { add = 1.0 }"
            defects.append(Defect(path.name, "changes nothing", remedy, key=key))
        try:
            economy = apply_shock(loaded.economy, shock)
        except InvalidInput as error:
            remedy = "Correct this change"
            defects += [Defect(path.name, text, remedy, key=key) for text in error.defects]
        else:
            title = f"{loaded.name}, {entry.name}"
            scenarios[entry.name] = replace(loaded, economy=economy, name=title, files=files)
    if defects:
        raise InputError(defects)
    return scenarios


def statistics_row(
    values: dict[str, float | list[float]], skill_names: Sequence[str]
) -> dict[str, float]:
    """Statistics as columns of a table: one per skill, suffixed, where there are several skills."""
    row: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, list):
            row |= {f"{key}_{name}": x for name, x in zip(skill_names, value, strict=True)}
        else:
            row[key] = value
    return row


def scenario_table(equilibria: Mapping[str, Equilibrium], orders: Orders) -> pd.DataFrame:
    """One row per scenario and one column per statistic; empty where it has not converged."""
    rows = []
    for name, equilibrium in equilibria.items():
        row = statistics_row(
            statistics_of(equilibrium, orders), equilibrium.economy.skill_names
        )  # fmt: skip
        if not Status(int(equilibrium.status)).converged:
            row = dict.fromkeys(row, math.nan)
        rows.append({"scenario": name, **row})
    return pd.DataFrame(rows)


def _changes(tree: Mapping[str, Any], economy: Economy, prefix: str = "") -> Iterator[Change]:
    """The changes in nested tables, whose keys joined by dots name parameters."""
    for key, node in tree.items():
        name = f"{prefix}{key}"
        if not isinstance(node, dict):
            yield Change(name, "set", node)
        elif name in parameter_names(economy) or _is_change(node):
            yield from (Change(name, kind, value) for kind, value in node.items())
        else:
            yield from _changes(node, economy, f"{name}.")


def _is_change(node: Mapping[str, Any]) -> bool:
    return set(node) <= set(_KINDS) and not any(isinstance(v, dict) for v in node.values())
