"""``shorematch sweep``: a plan of points solved block by block, resumable at any moment."""

import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from matching import Status
from shorematch.console import console, counting
from shorematch.files.defects import Defect, InputError
from shorematch.files.manifest import MANIFEST, Run
from shorematch.files.run_folder import written_whole
from shorematch.sweeps.plan import (
    FAILED,
    SCHEMA,
    TEXT,
    Block,
    Plan,
    block_table,
    points_table,
    read_plan,
    solve_points,
    verdicts,
    work_of,
)
from shorematch.sweeps.store import TABLES, claim, is_stored, store_block, stored_blocks
from shorematch.sweeps.workers import TRIES, Cluster, Here, Workers, solve_blocks

INTERRUPTED = 75  # exit code: stored what was done, run again to go on
_FORMAT = {"use_dictionary": list(TEXT)}  # numbers hardly repeat
_LISTED = 5  # missing blocks named one by one


def sweep_file(
    path: Path,
    out: Path,
    *,
    shard: str = "1/1",
    yes: bool = False,
    new: bool = False,
    scheduler: str | None = None,
) -> int:
    """Solve the blocks of one shard that ``out`` does not hold yet; the exit code.

    ``new`` gives a folder of another sweep to this one; ``scheduler`` is the address of a Dask
    cluster that does the solving. A sweep in one shard is collected when it is complete. Returns 0
    where every point solved is certified, 2 otherwise, and 75 where a signal ended the run after
    the blocks at hand. Raises :class:`~matching.InvalidInput` before anything is written, and
    :class:`~shorematch.sweeps.workers.SchedulerLost` where a cluster vanishes.
    """
    run = Run(["sweep", path, *["--yes"] * yes], out)
    with _signals_noted() as stop:
        plan = read_plan(path, yes=yes)
        mine = blocks_of_shard(plan, shard)
        with closing(Cluster(scheduler)) if scheduler else nullcontext(Here()) as workers:
            done = _verified(plan, out, mine, create=True, new=new)
            run.lap("read")
            missing = [block for block in mine if block.key not in done]
            console().print(
                f"{len(plan.points)} points in {len(plan.blocks)} blocks; shard {shard} has "
                f"{len(mine)} of them, {len(mine) - len(missing)} done and {len(missing)} to do"
            )
            random.shuffle(missing)  # so that processes on one folder share the work
            stopped, bad = _solve_missing(plan, out, missing, workers, stop)
    run.lap("solve")
    if stopped:
        console().print("Interrupted; what is done is stored. Run the same command again to go on.")
        return INTERRUPTED
    if shard == "1/1":
        return _collect(plan, path, out, run)
    console().print(f"Shard {shard} is complete in {out}; collect with --collect")
    return _verdict(bad)


def plan_sweep(path: Path, *, shard: str = "1/1", yes: bool = False) -> int:
    """Print points, blocks and, from one block solved for the purpose, a forecast of the costs."""
    plan = read_plan(path, yes=yes)
    mine = blocks_of_shard(plan, shard)
    count = sum(map(len, mine))
    for design in plan.designs:
        console().print(f"{design.name}: {len(design)} points")
    console().print(
        f"{len(plan.points)} points in {len(plan.blocks)} blocks of at most {plan.block_size}; "
        f"shard {shard}: {count} points in {len(mine)} blocks"
    )
    block = plan.blocks[0]
    work = work_of(plan, block)
    solve_points(plan.loaded.economy, work, plan.block_size)  # compiles
    start = time.perf_counter()
    values = solve_points(plan.loaded.economy, work, plan.block_size)
    data = _parquet_bytes(block_table(plan, block, values))
    seconds = (time.perf_counter() - start) * len(mine)
    megabytes = len(data) * len(mine) / 1e6
    console().print(f"Forecast for the shard, from one block: {_about(seconds / 60)} minutes, "
                    f"{_peak_memory()} of memory, {_about(megabytes)} MB on disk")  # fmt: skip
    return 0


def sweep_status(path: Path, out: Path, *, shard: str = "1/1", yes: bool = False) -> int:
    """Print how many blocks and points of a shard are done, missing and failed.

    Returns 0 where all are done, 75 otherwise.
    """
    plan = read_plan(path, yes=yes)
    mine = blocks_of_shard(plan, shard)
    done = _verified(plan, out, mine)
    missing = [block for block in mine if block.key not in done]
    bad = sum((_bad(_read_block(file)) for file in done.values()), Counter())
    console().print(
        f"shard {shard}: {len(mine) - len(missing)} of {len(mine)} blocks done, "
        f"{len(missing)} missing ({sum(map(len, missing))} points); {bad[FAILED]} points failed, "
        f"{bad.total() - bad[FAILED]} not certified"
    )
    return INTERRUPTED if missing else 0


def collect_sweep(path: Path, out: Path, *, partial: bool = False, yes: bool = False) -> int:
    """Write ``table.parquet``, all results in the plan's order, and ``points.parquet``.

    The table's bytes do not depend on shards, order or interruptions. Returns 0 where every point
    is certified, 2 otherwise. Raises :class:`~shorematch.defects.InputError` where blocks are
    missing, unless ``partial``.
    """
    run = Run(["sweep", path, *["--yes"] * yes], out)
    return _collect(read_plan(path, yes=yes), path, out, run, partial=partial)


def _about(number: float) -> str:
    """Two digits, and a large number whole: ``0.12``, ``16``, ``2,061``."""
    return f"{number:.2g}" if number < 100 else f"{number:,.0f}"


def blocks_of_shard(plan: Plan, shard: str) -> tuple[Block, ...]:
    """Every ``n``-th block, from the ``i``-th on, for the shard ``"i/n"``.

    Raises :class:`~shorematch.defects.InputError` for a shard that is none.
    """
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        remedy = "Write i/n, as in --shard 1/8 for the first of eight"
        raise InputError([Defect("--shard", f"{shard!r} is no shard", remedy)])
    return plan.blocks[int(number) - 1 :: int(count)]


# ---------------------------------------------------------------- helpers


def _verified(
    plan: Plan, out: Path, blocks: tuple[Block, ...], *, create: bool = False, new: bool = False
) -> dict[str, Path]:
    """The sound files of these blocks; says what was set aside."""
    aside = claim(out, plan.configuration, create=create, new=new)
    done, corrupted = stored_blocks(out, {block.key for block in blocks})
    for name in (*aside, *corrupted):
        console().print(f"{name} is corrupted: its checksum does not match. It is moved to "
                        f"{out / 'quarantine'} and made again.", style="bold red")  # fmt: skip
    return done


def _solve_missing(
    plan: Plan, out: Path, missing: list[Block], workers: Workers, stop: threading.Event
) -> tuple[bool, Counter[float]]:
    """Have blocks solved and store them; whether a signal came between, and points by status."""
    bad: Counter[float] = Counter()
    with counting(sum(map(len, missing)), "points") as tell:

        def unsolved() -> Iterator[Block]:
            for block in missing:
                if is_stored(out, block.key):  # by another process
                    tell(len(block), _failures(bad))
                else:
                    yield block

        for solved in solve_blocks(plan, unsolved(), workers, stop):
            table = block_table(plan, solved.block, solved.values)
            store_block(out, solved.block.key, _parquet_bytes(table))
            bad += _bad(table)
            news = [f"Point {plan.points[point]} failed {TRIES} times and is marked as failed: "
                    f"{error}" for point, error in solved.errors]  # fmt: skip
            tell(len(solved.block), _failures(bad), *news)
        interrupted = stop.is_set() and any(not is_stored(out, b.key) for b in missing)
    return interrupted, bad


def _collect(plan: Plan, path: Path, out: Path, run: Run, *, partial: bool = False) -> int:
    done = _verified(plan, out, plan.blocks)
    missing = [block for block in plan.blocks if block.key not in done]
    if missing and not partial:
        named = ", ".join(block.key for block in missing[:_LISTED])
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        problem = f"misses {len(missing)} of {len(plan.blocks)} blocks: {named}{more}"
        remedy = "Run the sweep again to solve them, or pass --partial"
        raise InputError([Defect(str(out), problem, remedy)])
    bad: Counter[float] = Counter()
    with written_whole(out / "table.parquet") as temporary:
        with parquet.ParquetWriter(temporary, SCHEMA, **_FORMAT) as writer:
            for block in plan.blocks:
                if block.key in done:
                    table = _read_block(done[block.key])
                    bad += _bad(table)
                    writer.write_table(table)
        (out / MANIFEST).unlink(missing_ok=True)  # which speaks of the former tables
    with written_whole(out / "points.parquet") as temporary:
        parquet.write_table(points_table(plan), temporary)
    run.read(path.parent, plan.files)
    run.note(rows=len(plan.points))
    run.finish(out, TABLES)
    if missing:
        console().print(f"PARTIAL: {len(missing)} of {len(plan.blocks)} blocks are missing from "
                        f"the table", style="bold red")  # fmt: skip
    console().print(f"Results are in {out / 'table.parquet'}")
    return _verdict(bad)


def _read_block(file: Path) -> pa.Table:
    with parquet.ParquetFile(file) as blocks:  # threads would cost more than they save
        return blocks.read(use_threads=False)


@contextmanager
def _signals_noted() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGUSR1 set, instead of ending the process."""
    stop = threading.Event()
    names = ("SIGINT", "SIGTERM", "SIGUSR1")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parquet_bytes(table: pa.Table) -> bytes:
    buffer = BytesIO()
    parquet.write_table(table, buffer, **_FORMAT)
    return buffer.getvalue()


def _bad(table: pa.Table) -> Counter[float]:
    """Points that are not certified, by status."""
    status = verdicts(table)
    return Counter(status[status != Status.CERTIFIED].tolist())


def _failures(bad: Counter[float]) -> str:
    return f"{bad.total()} not certified" if bad else ""


def _verdict(bad: Counter[float]) -> int:
    if not bad:
        return 0
    if bad[FAILED]:
        console().print(f"{bad[FAILED]} POINTS FAILED: whatever solved them ended, {TRIES} times; "
                        f"status {FAILED:.0f}", style="bold red")  # fmt: skip
    if bad.total() > bad[FAILED]:
        console().print(
            f"{bad.total() - bad[FAILED]} POINTS ARE NOT CERTIFIED: see the statistic status "
            f"({', '.join(f'{s.value} {s.name.lower()}' for s in Status)}); points that "
            "have not converged have no numbers", style="bold red",
        )  # fmt: skip
    return 2


def _peak_memory() -> str:
    if sys.platform == "win32":
        return "an unknown amount"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (1e6 if sys.platform == 'darwin' else 1e3):.0f} MB"
