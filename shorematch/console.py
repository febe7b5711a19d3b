"""What the terminal shows: rich on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_WIDTH = 200  # columns of a log file: tables are not broken, lines never wrap

Item = TypeVar("Item")


def console(*, stderr: bool = False) -> "Console":
    """The console of standard output, or of standard error."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr,
        width=None if terminal else _PLAIN_WIDTH,
        soft_wrap=True,
        highlight=False,
        markup=False,
        emoji=False,
    )


def progress(items: Sequence[Item], label: Callable[[Item], str]) -> Iterator[Item]:
    """The items one by one, saying which is at work: in place on a terminal, a line each elsewhere.

    A library never calls this: it computes, and the application that loops over it reports.
    """
    out = console()
    for number, item in enumerate(items, start=1):
        text = f"{number}/{len(items)} {label(item)}"
        if out.is_terminal:
            with out.status(text):
                yield item
        else:
            out.print(text)
            yield item


@contextmanager
def counting(total: int, unit: str, every: float = 30.0) -> Iterator[Callable[..., None]]:
    """A function ``tell(more, failures, *news)`` that counts to ``total``, with rate and time left.

    A live panel on a terminal; elsewhere a line at most ``every`` seconds. ``news`` are said at
    once.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    out = console()
    start = last = time.monotonic()
    done = 0
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out, disable=not out.is_terminal) as panel:
        bar = panel.add_task(unit, total=total)

        def tell(more: int, failures: str = "", *news: str) -> None:
            nonlocal done, last
            for text in news:
                panel.console.print(text, style="bold red")
            done += more
            rate = done / max(time.monotonic() - start, 1e-9)
            left = timedelta(seconds=round((total - done) / rate)) if rate else "an unknown time"
            told = ", ".join([f"{rate:.3g} {unit}/s", f"{left} left", failures or "none failed"])
            panel.update(bar, completed=done, description=f"{unit}, {told}")
            if not out.is_terminal and time.monotonic() - last >= every:
                last = time.monotonic()
                out.print(f"{done}/{total} {unit}, {told}")

        yield tell
