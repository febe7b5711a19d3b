"""``shorematch counterfactual``: an economy under named shocks, side by side."""

import math
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from counterfactuals import apply_shock
from counterfactuals.designs import shocks_of_point
from counterfactuals.intervals import ScenarioDraws, solve_draws
from matching import Economy, Equilibrium, Status
from shorematch.console import console, progress
from shorematch.files.defects import Defect, InputError
from shorematch.files.draw_files import DRAWS, Draws, estimated_draws
from shorematch.files.economy_file import LoadedEconomy, read_economy
from shorematch.files.inputs import FileModel, read_toml, sha256_of
from shorematch.files.manifest import Run
from shorematch.files.run_folder import safe_names
from shorematch.files.tables import write_tables
from shorematch.scenarios.interval_tables import (
    SIDE_BY_SIDE,
    Intervals,
    failure_lines,
    save_intervals,
    write_intervals,
)
from shorematch.scenarios.shock_files import (
    Scenarios,
    ShockEntry,
    read_scenario_entries,
    sound_part,
)
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

BASELINE = "baseline"


class _ShocksFile(FileModel):
    shock: Annotated[list[ShockEntry], Field(min_length=1)]


def counterfactual_file(
    economy_path: Path,
    shocks_path: Path,
    out: Path,
    options: SolveOptions | None = None,
    draws_path: Path | None = None,
) -> int:
    """Solve an economy and each of its shocks into ``out``: a folder each, and one table of all.

    With the folder of an estimation, ``draws_path``, every scenario is solved under each of its
    bootstrap draws too, and levels and changes come with intervals. Returns 0 where every scenario
    is certified, under every draw whose estimation has succeeded, 2 otherwise. Raises
    :class:`~matching.InvalidInput` before anything is written.
    """
    options = options or SolveOptions()
    further = [] if draws_path is None else ["--draws", draws_path]
    run = Run(
        ["counterfactual", economy_path, "--shocks", shocks_path, *further, *options.arguments()],
        out,
    )
    loaded = read_economy(economy_path)
    run.read(economy_path.parent, loaded.files)
    draws = None
    if draws_path is not None:
        draws = estimated_draws(draws_path, loaded)
        run.read(draws_path, {DRAWS: sha256_of(draws_path / DRAWS)})
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
        few = len(names) <= SIDE_BY_SIDE
        write_tables(folder, "table", scenario_table(equilibria, orders), transpose=few)
        if options.figures and few:
            draw_figures(folder, equilibria, orders, options.money)
        elif options.figures:
            console().print(f"No figures: they show up to {SIDE_BY_SIDE} scenarios side by side")
        if draws is not None:
            run.lap("write")
            result = _solve_draws(loaded.economy, draws, scenarios)
            run.lap("solve draws")
            _write_draws(folder, result, figures=options.figures and few)
    codes = [print_verdict(name, eq) for name, eq in equilibria.items()]
    console().print((out / "table.md").read_text(encoding="utf-8"))
    if draws is not None:
        console().print((out / "changes.md").read_text(encoding="utf-8"))
        lines, doubtful = failure_lines(
            result.scenarios, result.failed, result.used, result.status == Status.CERTIFIED
        )
        for line in lines:
            console().print(line, style="bold red")
        codes.append(2 if doubtful else 0)
    console().print(f"Results are in {out}")
    return max(codes)


def read_scenarios(path: Path, loaded: LoadedEconomy) -> Scenarios:
    """The shocks of a shocks file, each a design of one point around an economy.

    Raises :class:`~shorematch.defects.InputError` with every defect of the file.
    """
    defects: list[Defect] = []
    file = read_toml(path, _ShocksFile, defects)
    if any(defect.key == "design" for defect in defects):
        remedy = "Solve them with shorematch sweep"
        raise InputError([Defect(path.name, "asks for many points", remedy, key="design")])
    file = file or sound_part(path, _ShocksFile)
    if file is None:
        raise InputError(defects)
    return read_scenario_entries(path, loaded, file.shock, taken=[BASELINE], noted=defects)


def economies_under(scenarios: Scenarios, economy: Economy) -> dict[str, Economy]:
    """The economy under each shock, by the shock's name, in file order."""
    return {
        design.name: reduce(apply_shock, shocks_of_point(design, 0), economy)
        for design in scenarios.designs
    }


def _solve_draws(economy: Economy, draws: Draws, scenarios: Scenarios) -> ScenarioDraws:
    stacks = {design.name: shocks_of_point(design, 0) for design in scenarios.designs}
    return solve_draws(economy, draws.economies, draws.failed, stacks, baseline=BASELINE)


def _write_draws(folder: Path, result: ScenarioDraws, *, figures: bool) -> None:
    """Write levels and changes with their intervals, and the figure of changes."""
    scenarios, labels = result.scenarios, result.labels
    levels = Intervals("scenario", scenarios, labels, result.estimate, result.draws)
    changes = Intervals(
        "scenario", scenarios[1:], labels, result.estimated_change[1:], result.changes[1:]
    )  # fmt: skip
    write_intervals(folder, "levels", levels, "Levels")
    write_intervals(folder, "changes", changes, f"Changes from the {BASELINE}, paired draw by draw")
    if figures:
        save_intervals(folder / "figures", "changes", changes, f"Changes from {BASELINE}")


def scenario_table(equilibria: Mapping[str, Equilibrium], orders: Orders) -> pd.DataFrame:
    """One row per scenario and one column per statistic; empty where it has not converged."""
    rows = []
    for name, equilibrium in equilibria.items():
        row = statistics_of(equilibrium, orders)
        if not Status(int(equilibrium.status)).converged:
            row = dict.fromkeys(row, math.nan)
        rows.append({"scenario": name, **row})
    return pd.DataFrame(rows)
