"""``shorematch sweep``: a plan of points solved block by block, resumable at any moment."""

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pyarrow import parquet

from matching import Status
from shorematch.console import console, counting
from shorematch.defects import Defect, InputError
from shorematch.run_folder import written_whole
from shorematch.sweep_plan import SCHEMA, Block, Plan, points_table, read_plan, solve_block
from shorematch.sweep_store import claim, is_stored, store_block, stored_blocks

INTERRUPTED = 75  # exit code: stored what was done, run again to go on
_LISTED = 5  # missing blocks named one by one


def sweep_file(path: Path, out: Path, *, shard: str = "1/1", yes: bool = False) -> int:
    """Solve the blocks of one shard that ``out`` does not hold yet; the exit code.

    A sweep in one shard is collected when it is complete. Returns 0 where every point solved is
    certified, 2 otherwise, and 75 where a signal ended the run after the block at hand. Raises
    :class:`~matching.InvalidInput` before anything is written.
    """
    plan = read_plan(path, yes=yes)
    mine = blocks_of_shard(plan, shard)
    done = _verified(plan, out, mine, create=True)
    missing = [block for block in mine if block.key not in done]
    console().print(
        f"{len(plan.points)} points in {len(plan.blocks)} blocks; shard {shard} has {len(mine)} of "
        f"them, {len(mine) - len(missing)} done and {len(missing)} to do"
    )
    random.shuffle(missing)  # so that processes on one folder share the work
    uncertified = 0
    total = sum(block.last - block.first for block in missing)
    with _signals_noted() as stop, counting(total, "points") as tell:
        for block in missing:
            if stop.is_set():
                break
            if not is_stored(out, block.key):
                table = solve_block(plan, block)
                store_block(out, block.key, _parquet_bytes(table))
                uncertified += _uncertified(table)
            tell(block.last - block.first, f"{uncertified} not certified" if uncertified else "")
        else:
            if shard == "1/1":
                return collect_sweep(path, out, yes=yes)
            console().print(f"Shard {shard} is complete in {out}; collect with --collect")
            return _verdict(uncertified)
    console().print("Interrupted; what is done is stored. Run the same command again to go on.")
    return INTERRUPTED


def plan_sweep(path: Path, *, shard: str = "1/1", yes: bool = False) -> int:
    """Print points, blocks and, from one block solved for the purpose, a forecast of the costs."""
    plan = read_plan(path, yes=yes)
    mine = blocks_of_shard(plan, shard)
    count = sum(block.last - block.first for block in mine)
    for design in plan.designs:
        console().print(f"{design.name}: {len(design)} points")
    console().print(
        f"{len(plan.points)} points in {len(plan.blocks)} blocks of at most {plan.block_size}; "
        f"shard {shard}: {count} points in {len(mine)} blocks"
    )
    solve_block(plan, plan.blocks[0])  # compiles
    start = time.perf_counter()
    data = _parquet_bytes(solve_block(plan, plan.blocks[0]))
    seconds = (time.perf_counter() - start) * len(mine)
    megabytes = len(data) * len(mine) / 1e6
    console().print(f"Forecast for the shard, from one block: {seconds / 60:.2g} minutes, "
                    f"{_peak_memory()} of memory, {megabytes:.2g} MB on disk")  # fmt: skip
    return 0


def sweep_status(path: Path, out: Path, *, shard: str = "1/1", yes: bool = False) -> int:
    """Print how many blocks and points of a shard are done; 0 where all are, 75 otherwise."""
    plan = read_plan(path, yes=yes)
    mine = blocks_of_shard(plan, shard)
    done = _verified(plan, out, mine)
    missing = [block for block in mine if block.key not in done]
    points = sum(block.last - block.first for block in missing)
    console().print(f"shard {shard}: {len(mine) - len(missing)} of {len(mine)} blocks done, "
                    f"{len(missing)} missing ({points} points)")  # fmt: skip
    return INTERRUPTED if missing else 0


def collect_sweep(path: Path, out: Path, *, partial: bool = False, yes: bool = False) -> int:
    """Write ``table.parquet``, all results in the plan's order, and ``points.parquet``.

    The table's bytes do not depend on shards, order or interruptions. Returns 0 where every point
    is certified, 2 otherwise. Raises :class:`~shorematch.defects.InputError` where blocks are
    missing, unless ``partial``.
    """
    plan = read_plan(path, yes=yes)
    done = _verified(plan, out, plan.blocks)
    missing = [block for block in plan.blocks if block.key not in done]
    if missing and not partial:
        named = ", ".join(block.key for block in missing[:_LISTED])
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        problem = f"misses {len(missing)} of {len(plan.blocks)} blocks: {named}{more}"
        remedy = "Run the sweep again to solve them, or pass --partial"
        raise InputError([Defect(str(out), problem, remedy)])
    uncertified = 0
    with written_whole(out / "table.parquet") as temporary, parquet.ParquetWriter(
        temporary, SCHEMA
    ) as writer:  # fmt: skip
        for block in plan.blocks:
            if block.key in done:
                table = parquet.read_table(done[block.key])
                uncertified += _uncertified(table)
                writer.write_table(table)
    with written_whole(out / "points.parquet") as temporary:
        parquet.write_table(points_table(plan), temporary)
    if missing:
        console().print(f"PARTIAL: {len(missing)} of {len(plan.blocks)} blocks are missing from "
                        f"the table", style="bold red")  # fmt: skip
    console().print(f"Results are in {out / 'table.parquet'}")
    return _verdict(uncertified)


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
    plan: Plan, out: Path, blocks: tuple[Block, ...], *, create: bool = False
) -> dict[str, Path]:
    """The sound files of these blocks; says what was set aside."""
    aside = claim(out, plan.configuration, create=create)
    done, corrupted = stored_blocks(out, {block.key for block in blocks})
    for name in (*aside, *corrupted):
        console().print(f"{name} is corrupted: its checksum does not match. It is moved to "
                        f"{out / 'quarantine'} and made again.", style="bold red")  # fmt: skip
    return done


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
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _uncertified(table: pa.Table) -> int:
    status = table.filter(pc.equal(table["statistic"], "status"))["value"].to_numpy()
    return int(np.sum(status != Status.CERTIFIED))


def _verdict(uncertified: int) -> int:
    if not uncertified:
        return 0
    console().print(f"{uncertified} POINTS ARE NOT CERTIFIED: see the statistic status "
                    f"({', '.join(f'{s.value} {s.name.lower()}' for s in Status)}); points that "
                    "have not converged have no numbers", style="bold red")  # fmt: skip
    return 2


def _peak_memory() -> str:
    if sys.platform == "win32":
        return "an unknown amount"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (1e6 if sys.platform == 'darwin' else 1e3):.0f} MB"
