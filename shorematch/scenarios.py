"""``shorematch counterfactual``: an economy under named shocks, side by side."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from counterfactuals import apply_shock
from counterfactuals.designs import shocks_of_point
from matching import Economy, Equilibrium, Status
from shorematch.console import console, progress
from shorematch.defects import Defect, InputError
from shorematch.economy_file import LoadedEconomy, read_economy
from shorematch.inputs import FileModel, read_toml
from shorematch.manifest import Run
from shorematch.run_folder import safe_names
from shorematch.shock_files import Scenarios, ShockEntry, read_scenario_entries
from shorematch.solving import (
    Orders,
    SolveOptions,
    draw_figures,
    orders_of,
    print_verdict,
    solve,
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
    run = Run(["counterfactual", economy_path, "--shocks", shocks_path, *options.arguments()], out)
    loaded = read_economy(economy_path)
    run.read(economy_path.parent, loaded.files)
    orders = orders_of(loaded.economy, options)
    scenarios = read_scenarios(shocks_path, loaded)
    run.read(shocks_path.parent, scenarios.files)
    economies = {BASELINE: loaded.economy} | economies_under(scenarios, loaded.economy)
    names = list(economies)
    folders = dict(zip(names, safe_names(names), strict=True))
    run.lap("read")
    equilibria = {}
    with run.folder() as folder:
        for name in progress(names, lambda name: f"solving {name}"):
            equilibria[name] = solve(economies[name], options)
            run.lap(f"solve {name}")
            (folder / folders[name]).mkdir()
            write_equilibrium(
                folder / folders[name], f"{loaded.name}, {name}", equilibria[name], orders
            )
            run.lap(f"write {name}")
        write_tables(folder, "table", scenario_table(equilibria, orders), transpose=True)
        if options.figures:
            draw_figures(folder, equilibria, orders, options.money)
    code = max(print_verdict(name, eq) for name, eq in equilibria.items())
    console().print((out / "table.md").read_text(encoding="utf-8"))
    console().print(f"Results are in {out}")
    return code


def read_scenarios(path: Path, loaded: LoadedEconomy) -> Scenarios:
    """The shocks of a shocks file, each a design of one point around an economy.

    Raises :class:`~shorematch.defects.InputError` with every defect of the file.
    """
    defects: list[Defect] = []
    file = read_toml(path, _ShocksFile, defects)
    if file is None:
        raise InputError(defects)
    return read_scenario_entries(path, loaded, file.shock, taken=[BASELINE])


def economies_under(scenarios: Scenarios, economy: Economy) -> dict[str, Economy]:
    """The economy under each shock, by the shock's name, in file order."""
    return {
        design.name: reduce(apply_shock, shocks_of_point(design, 0), economy)
        for design in scenarios.designs
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
