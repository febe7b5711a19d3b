"""Who solves the blocks of a sweep: this process, or the workers of a Dask cluster."""

import logging
import math
import queue
import re
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from counterfactuals import Design, measure_labels
from matching import Economy, ShorematchError
from shorematch.files.defects import Defect, InputError
from shorematch.files.manifest import versions
from shorematch.sweeps.plan import FAILED, Block, Plan, solve_points, work_of

TRIES = 3  # of a point, before it is marked as failed
_CONNECT = 10.0  # seconds
_DRAIN = 60.0  # seconds that workers have to finish what they are at, once interrupted


class SchedulerLost(ShorematchError):
    """The scheduler no longer answers; what was solved is stored."""


@dataclass(frozen=True)
class Solved:
    """A block's values, and what was said of each point that could not be computed."""

    block: Block
    values: np.ndarray  # (P, S) as from solve_points; a failed point has no numbers
    errors: tuple[tuple[int, str], ...] = ()  # point of the plan, last error


class Workers(Protocol):
    """Where pieces of a plan are solved: each submitted once, and handed back with its outcome."""

    def room(self) -> bool:
        """Whether to submit another piece now."""

    def submit(self, plan: Plan, piece: Block) -> None:
        """Have a piece solved."""

    def finished(self) -> Iterator[tuple[Block, "np.ndarray | Exception"]]:
        """Pieces that have ended since the last call, waiting for some at most a second."""


def solve_blocks(
    plan: Plan, blocks: Iterable[Block], workers: Workers, stop: threading.Event
) -> Iterator[Solved]:
    """Have blocks solved, and yield each as it is; after ``stop``, only those at work.

    A block that fails is halved until the points that make it fail stand alone; those are marked
    ``FAILED`` and all others delivered. The halves wait until every block had its turn: what ended
    innocent workers may have passed by then.
    """
    fresh = iter(blocks)
    pieces: deque[Block] = deque()  # of blocks that failed as a whole
    done: dict[str, list[tuple[Block, np.ndarray]]] = defaultdict(list)
    whole: dict[str, Block] = {}
    errors: dict[str, list[tuple[int, str]]] = defaultdict(list)
    again: set[str] = set()
    at_work = 0
    deadline = math.inf
    while True:
        while not stop.is_set() and workers.room():
            piece = next(fresh, None)
            if piece is None and pieces:
                piece = pieces.popleft()
            if piece is None:
                break
            whole.setdefault(piece.key, piece)
            workers.submit(plan, piece)
            at_work += 1
        if stop.is_set():
            deadline = min(deadline, time.monotonic() + _DRAIN)
        if not at_work or time.monotonic() > deadline:
            return
        for piece, outcome in workers.finished():
            at_work -= 1
            if isinstance(outcome, Exception) and len(piece) > 1:
                middle = (piece.first + piece.last) // 2
                pieces += [Block(piece.key, piece.first, middle),
                           Block(piece.key, middle, piece.last)]  # fmt: skip
                continue
            if isinstance(outcome, Exception):
                errors[piece.key].append((piece.first, f"{type(outcome).__name__}: {outcome}"))
                outcome = _no_numbers(plan)
            done[piece.key].append((piece, outcome))
            block = whole[piece.key]
            if sum(len(part) for part, _ in done[piece.key]) == len(block):
                parts = sorted(done.pop(piece.key), key=lambda part: part[0].first)
                if len(parts) > 1 and not errors[piece.key] and piece.key not in again:
                    again.add(piece.key)  # bad luck, no bad point: solved as others solve it
                    pieces.append(block)
                    continue
                values = np.concatenate([values for _, values in parts])
                yield Solved(block, values, tuple(sorted(errors.pop(piece.key, []))))


@dataclass
class Here:
    """This process, a piece at a time."""

    _waiting: list[tuple[Plan, Block]] = field(default_factory=list)

    def room(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def submit(self, plan: Plan, piece: Block) -> None:
        """Solve the piece at the next call of :meth:`finished`."""
        self._waiting.append((plan, piece))

    def finished(self) -> Iterator[tuple[Block, "np.ndarray | Exception"]]:
        """The piece submitted last, solved."""
        plan, piece = self._waiting.pop()
        work = work_of(plan, piece)
        for left in reversed(range(TRIES)):
            try:
                yield piece, solve_points(plan.loaded.economy, work, plan.block_size)
                return
            except (RuntimeError, MemoryError) as error:  # of XLA and of the machine
                if not left:
                    yield piece, error


class Cluster:
    """The workers behind a Dask scheduler; each piece is sent whole and may be solved anywhere."""

    def __init__(self, address: str):
        """Connect; raises :class:`~shorematch.defects.InputError` where nothing answers."""
        _require_listener(address)
        try:
            from dask.distributed import Client
        except ImportError:
            remedy = "Install it: pip install 'shorematch[dask]'"
            raise InputError([Defect("--scheduler", "needs Dask", remedy)]) from None
        for name in ("distributed", "distributed.client"):  # what is lost we say ourselves
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._client: Any = Client(address, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError([_no_scheduler(address, error)]) from None
        self._address = address
        self._running: dict[Any, Block] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def close(self) -> None:
        """Leave the cluster; what is still at work there is dropped."""
        self._client.close(timeout=2.0)

    def room(self) -> bool:
        """Whether fewer than two pieces a thread are at work."""
        return len(self._running) < max(2 * self._threads(), 2)

    def submit(self, plan: Plan, piece: Block) -> None:
        """Send the piece to the scheduler, which sends it to another worker where one dies."""
        economy = jax.tree.map(np.asarray, plan.loaded.economy)
        task = self._client.submit(
            _solve_there, economy, work_of(plan, piece), plan.block_size,
            retries=TRIES - 1, pure=False,
        )  # fmt: skip
        self._running[task] = piece
        task.add_done_callback(self._ended.put)

    def finished(self) -> Iterator[tuple[Block, "np.ndarray | Exception"]]:
        """Pieces that have ended; raises :class:`SchedulerLost` where the scheduler has gone."""
        try:
            task = self._ended.get(timeout=1.0)
        except queue.Empty:
            task = None
        if self._client.status == "closed":
            raise self._gone()
        if task is None:
            return
        outcome: np.ndarray | Exception
        try:
            # where a worker died with what it had solved this waits until another has solved it
            made_by, outcome = task.result()
        except Exception as error:
            if task.status == "error":
                outcome = _poison(error)
            elif isinstance(error, (CancelledError, OSError)):
                raise self._gone() from error
            else:
                raise
        else:
            _require_same(made_by)
        yield self._running.pop(task), outcome

    def _gone(self) -> SchedulerLost:
        return SchedulerLost(
            f"The scheduler at {self._address} is gone. What was solved is stored; start a "
            "scheduler and run the same command again to go on."
        )

    def _threads(self) -> int:
        """Threads of all workers that are there now."""
        try:
            return sum(self._client.nthreads().values())
        except OSError:
            return 0  # whether the scheduler is gone shows in what becomes of the pieces


# ---------------------------------------------------------------- helpers


def _solve_there(
    economy: Economy, work: tuple[Design, ...], size: int
) -> tuple[dict[str, str], np.ndarray]:
    """What a worker does: the versions that it runs, and a piece's values."""
    from shorematch import runtime

    runtime.start()
    return versions(), solve_points(jax.tree.map(jax.numpy.asarray, economy), work, size)


def _require_listener(address: str) -> None:
    """Refuse an address where nothing listens before Dask tries it for long."""
    place = re.fullmatch(r"(?:tcp://|tls://)?(.+):(\d{1,5})", address)
    try:
        if place is None:
            raise ValueError("it is no address")
        socket.create_connection((place[1].strip("[]"), int(place[2])), _CONNECT).close()
    except (OSError, OverflowError, ValueError) as error:
        raise InputError([_no_scheduler(address, error)]) from None


def _no_scheduler(address: str, error: Exception) -> Defect:
    remedy = "Start one (dask scheduler), or correct the address, as in tcp://host:8786"
    return Defect("--scheduler", f"no Dask scheduler answers at {address!r} ({error})", remedy)


def _poison(error: Exception) -> Exception:
    """The error of a piece, unless no piece could do better."""
    if isinstance(error, ImportError):
        remedy = "Install the same shorematch on every worker"
        raise InputError([Defect("--scheduler", f"a worker has not all it needs: {error}", remedy)])
    return error


def _require_same(made_by: dict[str, str]) -> None:
    """Numbers of other versions differ in their last digits, and are not mixed."""
    here = versions()
    differences = [f"{name} {made_by.get(name)} there and {here[name]} here"
                   for name in here if made_by.get(name) != here[name]]  # fmt: skip
    if differences:
        problem = f"a worker runs other versions: {', '.join(differences)}"
        raise InputError([Defect("--scheduler", problem, "Install the same on every worker")])


def _no_numbers(plan: Plan) -> np.ndarray:
    row: Sequence[float] = [np.nan] * len(measure_labels(plan.loaded.economy))
    return np.array([[*row, FAILED, np.nan]])
