"""How figures are drawn: fit for print, grey-safe, labelled, the same every time."""

import textwrap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    # the user's matplotlibrc has no say; the backend is not a matter of style
    **{key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"},
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 3.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.formatter.useoffset": False,
    "axes.xmargin": 0.03,
    "axes.ymargin": 0.06,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.markersize": 5,
    "lines.markerfacecolor": "white",
    "image.cmap": "viridis",
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}
styled = mpl.rc_context(_STYLE)

# Okabe and Ito's palette without its yellow. The cycles' lengths share no divisor: in colour and
# in grey, by dash and marker, series stay apart.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (10, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "<", "X")


@styled
def save_figure(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write ``stem.pdf`` and ``stem.png`` into a folder; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.pdf", folder / f"{stem}.png"]
    figure.savefig(paths[0], metadata={"CreationDate": None})
    figure.savefig(paths[1], metadata={"Software": None})
    return paths


def grid(least: int, columns: int, *, sharey: bool = False) -> tuple[Figure, np.ndarray]:
    """At least so many panels, in rows of so many columns, at most as wide as a page's text."""
    columns = max(columns, 1)
    rows = max(-(-least // columns), 1)
    width = min(6.3, 4.2 * columns)  # inches
    height = rows * max(2.1, 0.85 * width / columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)


def line_styles() -> Iterator[dict[str, Any]]:
    """Colour, dash and marker of one series after another, the same in every figure.

    Later lines are thinner: where two coincide, both are seen.
    """
    for k in count():
        yield {
            "color": _COLOURS[k % len(_COLOURS)],
            "linestyle": _DASHES[k % len(_DASHES)],
            "marker": _MARKERS[k % len(_MARKERS)],
            "linewidth": max(0.9, 1.9 - 0.2 * k),
        }


def finish(
    figure: Figure, panels: np.ndarray, x_label: str, y_labels: list[str], caveats: list[str]
) -> None:
    """Hide panels without data, label the outer ones, say below what a reader must know.

    ``y_labels`` go to the first columns, one each.
    """
    rows, columns = panels.shape
    width, height = figure.get_size_inches() / (columns, rows)
    for ax in panels.flat:
        ax.set_visible(bool(ax is panels[0, 0] or ax.has_data() or ax.get_title()))
        if ax.lines:
            ax.set_ylim(extent(*ax.get_ylim()))
    for column in panels.T:
        for lowest in [ax for ax in column if ax.get_visible()][-1:]:
            lowest.tick_params(labelbottom=True)
            lowest.set_xlabel(textwrap.fill(x_label, int(13 * width)))
    for column, y_label in zip(panels.T, y_labels, strict=False):
        for ax in column:
            ax.set_ylabel(textwrap.fill(y_label, int(18 * (height - 0.7))))
    if caveats:
        text = "\n".join(textwrap.fill(caveat, 100) for caveat in caveats)
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5)
        figure.set_figheight(figure.get_figheight() + 0.14 * (1 + text.count("\n")))


def legend(figure: Figure, ax: Axes) -> None:
    """All lines of a panel, above it, in room that the figure grows by."""
    lines = ax.get_lines()
    if not lines:
        return
    labels = [textwrap.fill(str(line.get_label()), 60) for line in lines]
    longest = max(len(row) for label in labels for row in label.splitlines())
    width, height = figure.get_size_inches()
    columns = min(max(int(13 * width / (longest + 10)), 1), 4, len(lines))
    rows = -(-len(lines) // columns) + sum(label.count("\n") for label in labels)
    figure.set_figheight(height + 0.17 * rows)
    figure.legend(lines, labels, loc="outside upper center", ncols=columns)


def extent(low: float, high: float) -> tuple[float, float]:
    """An axis's ends, apart even where the data differ by no more than rounding."""
    size = max(abs(low), abs(high))
    room = 0.05 * (size or 1.0) if high - low <= 1e-6 * size else 0.0
    return low - room, high + room
