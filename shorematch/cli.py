"""The command ``shorematch``: arguments in, exit codes out; every command imports what it needs.

Exit codes: 0 solved and certified, 1 something to correct, 2 not converged or not certified.
"""

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from shorematch import __version__, runtime

app = typer.Typer(
    help="Structural worker-firm matching with offshoring: solve, estimate, compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
denmark = typer.Typer(help="The Danish economies of 1996 and 2006.", no_args_is_help=True)
app.add_typer(denmark, name="denmark")


class Solver(StrEnum):
    """The two solvers."""

    newton = "newton"
    ipfp = "ipfp"


class Kernel(StrEnum):
    """The kernels, and the choice among them by size and rank."""

    auto = "auto"
    dense = "dense"
    streamed = "streamed"
    low_rank = "low rank"


class Device(StrEnum):
    """What computes."""

    cpu = "cpu"
    gpu = "gpu"


_Economy = Annotated[Path, typer.Argument(metavar="ECONOMY.toml", help="The economy file.")]
_Run = Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run file.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder for the results; must not hold a run.")]
_Solver = Annotated[Solver, typer.Option(help="Newton, or iterated proportional fitting.")]
_MaxIter = Annotated[int | None, typer.Option(min=1, help="Most iterations of the solver.")]
_OrderSkill = Annotated[
    str | None, typer.Option(metavar="NAME", help="Skill that ranks workers; default: the first.")
]
_OrderFirm = Annotated[
    str | None, typer.Option(metavar="NAME", help="Characteristic that ranks firms; the first.")
]
_Kernel = Annotated[
    Kernel, typer.Option(help="How matches are summed; see doctor ECONOMY.toml for the choice.")
]
_Device = Annotated[Device, typer.Option(help="What computes; gpu fails where there is none.")]
_Figures = Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")]
_Money = Annotated[str, typer.Option(metavar="UNIT", help="Unit of money that figures print.")]


@app.command()
def solve(
    economy: _Economy,
    out: _Out,
    solver: _Solver = Solver.newton,
    max_iter: _MaxIter = None,
    order_skill: _OrderSkill = None,
    order_characteristic: _OrderFirm = None,
    figures: _Figures = True,
    money: _Money = "money",
    kernel: _Kernel = Kernel.auto,
    device: _Device = Device.cpu,
) -> int:
    """Solve an economy: who works where, at home and abroad, at what wage."""
    runtime.start(device.value)
    from shorematch.solving import SolveOptions, solve_file

    options = SolveOptions(
        solver.value, max_iter, order_skill, order_characteristic, figures, money, kernel.value
    )
    return solve_file(economy, out, options)


@app.command()
def counterfactual(
    economy: _Economy,
    shocks: Annotated[Path, typer.Option("--shocks", help="The shocks file.")],
    out: _Out,
    draws: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An estimation with bootstrap draws, for intervals."),
    ] = None,
    solver: _Solver = Solver.newton,
    max_iter: _MaxIter = None,
    order_skill: _OrderSkill = None,
    order_characteristic: _OrderFirm = None,
    figures: _Figures = True,
    money: _Money = "money",
    kernel: _Kernel = Kernel.auto,
    device: _Device = Device.cpu,
) -> int:
    """Solve an economy under named shocks and put all of them in one table.

    A shock changes parameters: origin.china.constant = { add = 5.0 } (or set, multiply, or equal =
    "origin.denmark.constant").
    """
    runtime.start(device.value)
    from shorematch.scenarios.counterfactual import counterfactual_file
    from shorematch.solving import SolveOptions

    options = SolveOptions(
        solver.value, max_iter, order_skill, order_characteristic, figures, money, kernel.value
    )
    return counterfactual_file(economy, shocks, out, options, draws)


@app.command()
def decompose(
    start: Annotated[Path, typer.Argument(metavar="FROM.toml", help="The economy before.")],
    end: Annotated[Path, typer.Argument(metavar="TO.toml", help="The economy after.")],
    out: _Out,
    groups: Annotated[
        Path | None, typer.Option(help="Groups of parameters, in the order in which they move.")
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Use the bootstrap draws beside the economy files.")
    ] = False,
) -> int:
    """Take the change between two economies apart by groups of parameters."""
    runtime.start()
    from shorematch.scenarios.decomposing import decompose_files

    return decompose_files(start, end, out, groups, intervals=intervals)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; resumed if there.")],
    shard: Annotated[
        str, typer.Option(metavar="i/n", help="The share of the blocks to work on.")
    ] = "1/1",
    plan: Annotated[bool, typer.Option("--plan", help="Print size and forecast; no run.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print what is done.")] = False,
    collect: Annotated[bool, typer.Option("--collect", help="Write the table of all.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Collect although blocks are missing.")
    ] = False,
    new: Annotated[
        bool,
        typer.Option("--new/--resume", help="Use a folder of another sweep, keeping its results."),
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Solve on this Dask cluster.")
    ] = None,
    write_sbatch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Write sweep.sbatch, a SLURM array of N tasks."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Allow over a million points.")] = False,
    device: _Device = Device.cpu,
) -> int:
    """Solve many points of a design, block by block; run again to go on after any interruption.

    Exit code 75: interrupted or incomplete, and can be resumed.
    """
    runtime.start(device.value)
    from shorematch.sweeps import sweeping

    if plan:
        return sweeping.plan_sweep(file, shard=shard, yes=yes)
    if status:
        return sweeping.sweep_status(file, out, shard=shard, yes=yes)
    if collect:
        return sweeping.collect_sweep(file, out, partial=partial, yes=yes)
    if write_sbatch is not None:
        from shorematch.sweeps.slurm import write_sbatch as write

        return write(file, out, write_sbatch, yes=yes, new=new)
    return sweeping.sweep_file(file, out, shard=shard, yes=yes, new=new, scheduler=scheduler)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.")],
    out: _Out = Path("report"),
    compare: Annotated[bool, typer.Option("--compare", help="Show runs side by side.")] = False,
) -> int:
    """Put findings, tables and figures of runs on one HTML page, and stamp the paper's files."""
    from shorematch.report.reporting import report_runs

    return report_runs(runs, out, compare=compare)


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    directory: Annotated[
        Path | None, typer.Option(help="Where the command runs; default: as the manifest says.")
    ] = None,
) -> int:
    """Run a stored run again from its manifest and compare every number.

    Exit code 0 where all is equal, 2 where anything differs, 1 where inputs are missing or changed.
    """
    runtime.start()
    from shorematch.verifying import verify_run

    return verify_run(run, directory)


@app.command()
def demo(out: _Out = Path("demo-out")) -> int:
    """Calibrate and solve Denmark 2006, and show the published table beside the model's."""
    runtime.start()
    from shorematch.demo import run_demo

    return run_demo(out)


@app.command()
def estimate(run: _Run, out: _Out, device: _Device = Device.cpu) -> int:
    """Estimate from a file of matches: the affinity matrix or, with wages, all of the model."""
    runtime.start(device.value)
    from shorematch.estimates.estimating import estimate_file

    return estimate_file(run, out)


@app.command()
def check(run: _Run) -> int:
    """Check a run file and its data: sample, missing values, thin cells, what it will take."""
    runtime.start()
    from shorematch.estimates.checking import check_file

    return check_file(run)


@app.command()
def simulate(
    economy: _Economy,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Home workers to draw.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .csv, .parquet or .dta.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random numbers.")] = 0,
    wage_error: Annotated[
        float, typer.Option("--wage-error", min=0.0, help="Its standard deviation, money.")
    ] = 0.0,
) -> int:
    """Draw matched data, with wages and firms, from an economy's equilibrium."""
    runtime.start()
    from shorematch.simulating import simulate_file

    return simulate_file(economy, out, workers, seed, wage_error)


@app.command()
def calibrate(run: _Run, out: _Out) -> int:
    """Find the constants and intensities that meet published aggregates."""
    runtime.start()
    from shorematch.calibrating import calibrate_file

    return calibrate_file(run, out)


@denmark.command()
def recover(out: _Out) -> int:
    """Recover the unpublished type deciles from the published table."""
    runtime.start()
    from shorematch.denmark.recover import run_recovery

    return run_recovery(out)


@app.command()
def doctor(
    economy: Annotated[
        Path | None,
        typer.Argument(metavar="[ECONOMY.toml]", help="Explain how this economy is solved."),
    ] = None,
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Remove the compiled programs that are kept.")
    ] = False,
) -> int:
    """Check this installation: versions, device, precision, cache; and one economy's kernel."""
    runtime.start(device=None)
    from shorematch.doctor import run_doctor

    return run_doctor(economy, clear_cache=clear_cache)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; usage errors end with 1, so that 2 always means not converged."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without λ shows "?", not a traceback
    # as a cluster or timeout ends a job: an exception, so that no folder is left half written
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(_run())


def _run() -> int:
    try:
        return app(standalone_mode=False) or 0
    except typer.Abort:
        return _fail("interrupted", 130)
    except OSError as error:
        return _fail(str(error), 1)
    except MemoryError:
        return _fail("memory: ran out. Allow this job more of it, or take fewer rows or types", 1)
    except Exception as error:
        if hasattr(error, "show"):  # a wrong argument, wherever this typer keeps click's class
            error.show()
            return 1
        from matching import NotConverged, ShorematchError

        if not isinstance(error, ShorematchError):
            raise
        return _fail(str(error), 2 if isinstance(error, NotConverged) else 1)


def _fail(message: str, code: int) -> int:
    from shorematch.console import console

    console(stderr=True).print(message, style="red")
    return code
