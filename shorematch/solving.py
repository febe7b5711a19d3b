"""``shorematch solve``: from an economy file to a folder of results and a verdict."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from matching import Economy, Equilibrium, InvalidInput, Status, solve_equilibrium, statistics
from matching.errors import did_you_mean
from matching.kernel import SMALL
from matching.statistics import (
    hires,
    mean_match_quality_by_firm,
    mean_wage_by_firm,
    mean_wage_by_worker,
    offshoring_share_by_firm,
)
from shorematch.console import console
from shorematch.files.economy_file import read_economy
from shorematch.files.manifest import Run
from shorematch.files.run_folder import write_csv, write_json
from shorematch.files.tables import write_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

MATCHES_WRITTEN = SMALL  # cells up to which matches.parquet is written and figures are drawn


@dataclass(frozen=True)
class SolveOptions:
    """How to solve and what to report; orders name the skill and characteristic of the deciles.

    ``money`` is the unit that figures print, ``kernel`` one of :data:`matching.KERNELS`.
    """

    solver: str = "newton"
    max_iter: int | None = None
    order_skill: str | None = None
    order_characteristic: str | None = None
    figures: bool = True
    money: str = "money"
    kernel: str = "auto"

    def arguments(self) -> list[str]:
        """Those of the command line that say the same; defaults are left out.

        >>> SolveOptions(max_iter=9, figures=False).arguments()
        ['--max-iter', '9', '--no-figures']
        """
        words: list[str] = []
        for option in fields(self):
            value, name = getattr(self, option.name), option.name.replace("_", "-")
            if isinstance(value, bool):
                words += [] if value else [f"--no-{name}"]
            elif value != option.default:
                words += [f"--{name}", str(value)]
        return words


@dataclass(frozen=True)
class Orders:
    """By which skill and which firm characteristic, by index, types are ranked into deciles."""

    skill: int = 0
    characteristic: int = 0


def solve_file(economy_path: Path, out: Path, options: SolveOptions | None = None) -> int:
    """Solve an economy file into the folder ``out``; the exit code, 0 certified and 2 not.

    Raises :class:`~matching.InvalidInput` before anything is written.
    """
    options = options or SolveOptions()
    run = Run(["solve", economy_path, *options.arguments()], out)
    loaded = read_economy(economy_path)
    run.read(economy_path.parent, loaded.files)
    orders = orders_of(loaded.economy, options)
    run.lap("read")
    with run.folder() as folder:
        equilibrium = solve(loaded.economy, options)
        run.lap("solve")
        write_equilibrium(folder, loaded.name, equilibrium, orders)
        _write_statistics(folder, loaded.name, equilibrium, orders)
        if options.figures:
            draw_figures(folder, {loaded.name: equilibrium}, orders, options.money)
    if Status(int(equilibrium.status)).converged:
        _print_statistics(statistics_of(equilibrium, orders))
    code = print_verdict(loaded.name, equilibrium)
    console().print(f"Results are in {out}")
    return code


def orders_of(economy: Economy, options: SolveOptions) -> Orders:
    """The indices of the skill and characteristic that the options name; the first by default."""
    defects = []

    def index(option: str, name: str | None, names: "Sequence[str]") -> int:
        if name is None:
            return 0
        if name not in names:
            known = ", ".join(names)
            defects.append(f"{option} {name!r} does not exist{did_you_mean(name, names)} ({known})")
            return 0
        return list(names).index(name)

    orders = Orders(
        index("--order-skill", options.order_skill, economy.skill_names),
        index("--order-characteristic", options.order_characteristic, economy.characteristic_names),
    )
    if defects:
        raise InvalidInput(defects)
    return orders


def solve(economy: Economy, options: SolveOptions) -> Equilibrium:
    """The equilibrium, converged or not."""
    equilibrium = solve_equilibrium(
        economy, options.solver, kernel=options.kernel, max_iter=options.max_iter, throw=False
    )
    return jax.block_until_ready(equilibrium)


def statistics_of(equilibrium: Equilibrium, orders: Orders | None = None) -> dict[str, float]:
    """Every scalar statistic as a plain number; of several skills one each, ``var_skill_<skill>``.

    Undefined (NaN) statistics stay what they are.
    """
    orders = orders or Orders()
    table = _compiled_statistics()(equilibrium, orders.skill, orders.characteristic)
    skills = equilibrium.economy.skill_names
    flat: dict[str, float] = {}
    for key, value in table.items():
        names = [f"{key}_{skill}" for skill in skills] if value.ndim else [key]
        flat |= zip(names, np.ravel(value).tolist(), strict=True)
    return flat


def write_equilibrium(
    folder: Path,
    name: str,
    equilibrium: Equilibrium,
    orders: Orders | None = None,
) -> None:
    """Write ``summary.json``, ``workers.csv``, ``firms.csv`` and, if not huge, the matches."""
    frames = _compiled_frames()(equilibrium)
    economy = equilibrium.economy
    origins = [origin.name for origin in economy.origins]
    workers = [
        pd.DataFrame({"origin": name, "worker": np.arange(len(columns["mass"])), **columns})
        for name, columns in zip(origins, _numpy(frames["workers"]), strict=True)
    ]
    write_csv(folder / "workers.csv", pd.concat(workers, ignore_index=True))
    firms = _numpy(frames["firms"])
    write_csv(
        folder / "firms.csv", pd.DataFrame({"firm": np.arange(len(firms["mass"])), **firms})
    )  # fmt: skip
    if _cells(economy) <= MATCHES_WRITTEN:
        cells = (equilibrium.matches, equilibrium.wages, equilibrium.profits)
        matches = _matches(origins, _numpy(cells))
        matches.to_parquet(folder / "matches.parquet", index=False)
    summary = {
        "economy": name,
        "statistics": statistics_of(equilibrium, orders),
        "solver": {
            "name": equilibrium.solver,
            "kernel": equilibrium.kernel,
            "status": Status(int(equilibrium.status)).name.lower(),
            "iterations": int(equilibrium.iterations),
            "max_residual": float(equilibrium.max_residual),
            "wage_error_bound": float(equilibrium.wage_error_bound),
        },
    }
    write_json(folder / "summary.json", summary)


def draw_figures(
    folder: Path, equilibria: Mapping[str, Equilibrium], orders: Orders, money: str
) -> None:
    """Draw the standard figures of these equilibria into ``folder/figures``."""
    from shorematch.equilibrium_figures import economy_figures

    converged = {k: eq for k, eq in equilibria.items() if Status(int(eq.status)).converged}
    if any(_cells(eq.economy) > MATCHES_WRITTEN for eq in converged.values()):
        console().print("No figures: they are drawn for economies of up to a million cells")
    elif converged:
        economy_figures(
            folder / "figures",
            converged,
            money=money,
            skill=orders.skill,
            characteristic=orders.characteristic,
        )


def print_verdict(name: str, equilibrium: Equilibrium) -> int:
    """Say how a solution ended; the exit code, 0 where it is certified and 2 where it is not."""
    status = Status(int(equilibrium.status))
    bound = float(equilibrium.wage_error_bound)
    money = bound * float(equilibrium.economy.scale)
    facts = (
        f"{int(equilibrium.iterations)} iterations of {equilibrium.solver}, "
        f"margins to {float(equilibrium.max_residual):.1e}"
    )
    if status is Status.CERTIFIED:
        console().print(f"{name}: solved and certified ({facts}, wages to {bound:.1e} of λ)")
        return 0
    if status is Status.UNDETERMINED:
        known = f"only to ±{money:.2g} in units of money" if np.isfinite(money) else "not at all"
        head = f"{name}: SOLVED, BUT THE LEVEL OF WAGES IS DETERMINED {known} ({facts})."
    else:
        head = f"{name}: NOT CONVERGED ({facts}). The results are written; do not use them."
    console().print(f"{head} {status.explanation}", style="bold red")
    return 2


# ---------------------------------------------------------------- what is written


@cache
def _compiled_statistics() -> Any:
    return jax.jit(lambda *args: _in_order(statistics(*args)), static_argnums=(1, 2))


@cache
def _compiled_frames() -> Any:
    return jax.jit(_frames)


def _in_order(columns: dict[str, jax.Array]) -> OrderedDict[str, jax.Array]:
    """The same as a type whose order survives compilation; JAX sorts the keys of a dict."""
    return OrderedDict(columns)


def _frames(eq: Equilibrium) -> dict[str, Any]:
    """Columns of the result tables; undefined (NaN) for types of zero mass."""
    economy = eq.economy
    workers = [
        _in_order({
            **dict(zip(economy.skill_names, origin.skills.T, strict=True)),
            "mass": origin.mass,
            "unmatched": f0,
            "multiplier": jnp.where(origin.mass > 0, a, jnp.nan),
            "expected_utility": utility,
            "mean_wage": wage,
        })
        for origin, f0, a, utility, wage in zip(
            economy.origins, eq.unmatched, eq.multipliers, eq.expected_utilities,
            mean_wage_by_worker(eq), strict=True,
        )
    ]  # fmt: skip
    mass = economy.firms.mass
    quality = zip(economy.skill_names, mean_match_quality_by_firm(eq).T, strict=True)
    hired = zip(economy.origins, hires(eq), strict=True)
    firms = {
        **dict(zip(economy.characteristic_names, economy.firms.characteristics.T, strict=True)),
        "mass": mass,
        "unmatched": eq.unmatched_firms,
        "multiplier": jnp.where(mass > 0, eq.multipliers_firms[0], jnp.nan),
        "expected_profit": eq.expected_profits,
        "mean_wage_paid": mean_wage_by_firm(eq),
        "offshoring_share": offshoring_share_by_firm(eq),
        **{f"mean_match_quality_{name}": column for name, column in quality},
        **{f"hires_{origin.name}": column for origin, column in hired},
    }
    return {
        "workers": workers,
        "firms": _in_order(firms),
    }


def _write_statistics(folder: Path, name: str, eq: Equilibrium, orders: Orders) -> None:
    """Write the statistics as a table to print: without numbers where it has not converged."""
    values, status = statistics_of(eq, orders), Status(int(eq.status))
    rows = [(key, value if status.converged else np.nan) for key, value in values.items()]
    frame = pd.DataFrame(rows, columns=["statistic", "value"])
    title = f"{name}, {status.name.lower().replace('_', ' ')}"
    write_tables(folder, "statistics", frame, title=title)


def _matches(
    origins: list[str], values: tuple[tuple[np.ndarray, ...], ...]
) -> pd.DataFrame:  # fmt: skip
    """One row per cell: origin, worker, firm, mass, wage, profit."""
    frames = []
    for name, mass, wage, profit in zip(origins, *values, strict=True):
        worker, firm = np.indices(mass.shape)
        columns = {"worker": worker, "firm": firm, "mass": mass, "wage": wage, "profit": profit}
        flat = {key: value.ravel() for key, value in columns.items()}
        frames.append(pd.DataFrame({"origin": name, **flat}))
    return pd.concat(frames, ignore_index=True)


def _numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def _cells(economy: Economy) -> int:
    return sum(len(origin.mass) for origin in economy.origins) * len(economy.firms.mass)


def _print_statistics(values: Mapping[str, float]) -> None:
    from rich.table import Table

    table = Table("statistic", "value", box=None)
    table.columns[1].justify = "right"
    for key, value in values.items():
        table.add_row(key, "undefined" if value != value else f"{value:.6g}")
    console().print(table)
