"""What the terminal shows: rich on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator, Sequence
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
