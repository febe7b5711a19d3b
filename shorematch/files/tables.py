"""Tables in three forms: CSV to compute with, LaTeX to print, Markdown to read."""

import re
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shorematch.files.run_folder import write_csv

if TYPE_CHECKING:
    import pandas as pd

_SYMBOLS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "×": r"$\times$", "−": r"$-$", "±": r"$\pm$", "→": r"$\to$", "∞": r"$\infty$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≤": r"$\leq$", "≥": r"$\geq$",
}  # fmt: skip
_NUMBER = r"-?\d+(?:\.\d*)?(?:e[-+]?\d+)?"
_NUMBERS = re.compile(rf"[\[(]?{_NUMBER}(?:, {_NUMBER})*[\])]?")
_PRINTED = re.compile(r"\$(-?\d+(?:\.\d*)?)(?: \\times 10\^\{(-?\d+)\})?\$")
_HEADER_WIDTH = 16  # characters, beyond which the name of a column takes several lines


def write_tables(
    folder: Path,
    stem: str,
    frame: "pd.DataFrame",
    *,
    title: str = "",
    transpose: bool = False,
    printed: "pd.DataFrame | None" = None,
) -> None:
    """Write ``stem.csv`` (full precision), ``stem.tex`` (booktabs) and ``stem.md`` (rounded).

    The first column names the rows. ``printed`` is another frame for the two printed tables;
    ``transpose`` turns them, so that many columns fit a page.
    """
    write_csv(folder / f"{stem}.csv", frame)
    shown = frame if printed is None else printed
    header, *rows = [list(shown.columns), *shown.itertuples(index=False, name=None)]
    cells = [[str(name) for name in header], *([rounded(cell) for cell in row] for row in rows)]
    if transpose:
        cells = [list(column) for column in zip(*cells, strict=True)]
    for suffix, text in (("tex", _latex(cells, title)), ("md", _markdown(cells, title))):
        (folder / f"{stem}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands, Greek letters and signs included.

    >>> latex_text("ν_x & 5 %")
    '$\\\\nu$\\\\_x \\\\& 5 \\\\%'
    """
    return "".join(_SYMBOLS.get(letter) or _greek(letter) for letter in text)


def plain_numbers(latex: str) -> str:
    """A LaTeX table with its numbers as a program writes them, to compare.

    >>> plain_numbers(r"a & $-2.5$ & [0.1, $3.0 \\times 10^{-7}$]")
    'a & -2.5 & [0.1, 3.0e-7]'
    """
    return _PRINTED.sub(lambda found: found[1] + (f"e{found[2]}" if found[2] else ""), latex)


def _cell(text: str) -> str:
    """A cell of a LaTeX table; numbers get a minus, not a hyphen, and powers of ten."""
    return re.sub(_NUMBER, _number, text) if _NUMBERS.fullmatch(text) else latex_text(text)


def _number(found: re.Match[str]) -> str:
    digits, _, exponent = found[0].partition("e")
    power = rf" \times 10^{{{int(exponent)}}}" if exponent else ""
    return f"${digits}{power}$" if power or digits[0] == "-" else digits


def _header(name: str) -> str:
    """The name of a column, a long one on several lines."""
    lines = textwrap.wrap(name, _HEADER_WIDTH, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return _cell(name)
    stacked = r" \\ ".join(_line(latex_text(line)) for line in lines)
    return rf"\shortstack[r]{{{stacked}}}"


def _line(text: str) -> str:
    """A line that begins with a bracket or star, which the line's end above takes as its option."""
    return "{}" + text if text[:1] in ("[", "*") else text


def _greek(letter: str) -> str:
    words = unicodedata.name(letter, "").split()
    if words[:1] != ["GREEK"] or words[2:3] != ["LETTER"] or len(words) != 4:
        return letter
    name = words[3].replace("LAMDA", "LAMBDA").lower()
    return f"$\\{name.capitalize() if words[1] == 'CAPITAL' else name}$"


def rounded(cell: Any) -> str:
    """Five significant digits; a dash where there is nothing."""
    if not isinstance(cell, float):
        return str(cell)
    if cell != cell:
        return "–"
    return f"{cell:.0f}" if 1e5 <= abs(cell) < 1e15 else f"{cell:#.5g}".removesuffix(".")


def _latex(cells: list[list[str]], title: str) -> str:
    names, *body = cells
    header = [latex_text(names[0]), *map(_header, names[1:])]
    rows = [[_cell(cell) for cell in row] for row in body]
    return "\n".join(
        [
            *([f"% {title}"] if title else []),
            r"\begin{tabular}{l" + "r" * (len(cells[0]) - 1) + "}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            *(_line(" & ".join(row)) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _markdown(cells: list[list[str]], title: str) -> str:
    escaped = [[" ".join(cell.replace("|", r"\|").splitlines()) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]

    def line(row: list[str]) -> str:
        first, *rest = (
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    body = [line(escaped[0]), f"|{rule}|", *map(line, escaped[1:])]
    return "\n".join([*([f"**{title}**", ""] if title else []), *body, ""])
