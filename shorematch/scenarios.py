"""``shorematch counterfactual``: an economy under named shocks, side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from counterfactuals import apply_shock
from counterfactuals.designs import shocks_of_point
from matching import Equilibrium, Status
from shorematch.console import console, progress
from shorematch.defects import Defect, InputError
from shorematch.economy_file import LoadedEconomy, read_economy
from shorematch.inputs import FileModel, read_toml, sha256_of
from shorematch.run_folder import new_run, safe_names
from shorematch.shock_files import ShockEntry, read_scenario_entries
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


class _ShocksFile(FileModel):
    shock: Annotated[list[ShockEntry], Field(min_length=1)]


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
    read = read_scenario_entries(path, loaded, file.shock, taken=[BASELINE])
    files = loaded.files | read.files | {path.name: sha256_of(path)}
    return {
        design.name: replace(
            loaded,
            economy=reduce(apply_shock, shocks_of_point(design, 0), loaded.economy),
            name=f"{loaded.name}, {design.name}",
            files=files,
        )
        for design in read.designs
    }


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
