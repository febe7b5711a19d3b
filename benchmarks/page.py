"""The page of benchmark results: tables and log-log plots, made from the CSVs alone.

    python -m benchmarks.page

writes ``benchmarks/results/README.md`` and ``rivals_time.png``, ``rivals_memory.png`` beside it.
"""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from benchmarks._methods import METHODS

_RESULTS = Path(__file__).parent / "results"
_OURS = "shorematch"
_CASE = ["singles", "skills", "reach"]
_COLOURS = dict(zip(METHODS, ("#c1121f", "#000000", "#8d99ae", "#0077b6", "#2a9d8f", "#e9a03b",
                              "#7b2cbf"), strict=True))  # fmt: skip
_MARKERS = dict(zip(METHODS, "osD^vPX", strict=True))


def main() -> None:
    """Draw the plots and write the page."""
    matplotlib.use("Agg")
    frame = pd.read_csv(_RESULTS / "rivals.csv")
    if "void" not in frame:
        frame["void"] = np.nan
    sound = frame[frame["void"].isna()]
    _plot(sound, "seconds", "seconds (median)", "rivals_time.png")
    _plot(sound, "memory_mb", "memory beyond imports, MB", "rivals_memory.png")
    text = [_HEAD, "## Equilibria beside rivals", "", _RIVALS.format(
        cores=int(frame["cores"].max()),
        processors=" or ".join(sorted(set(sound["processor"].fillna("one not recorded")))),
        versions=", ".join(sorted(set(frame["version"].dropna()))),
    ), "![Time against size](rivals_time.png)", "", "![Memory against size](rivals_memory.png)", "",
        *(line for key, part in frame.groupby(_CASE) for line in _table(key, part))]  # fmt: skip
    for name in sorted(path.stem for path in _RESULTS.glob("*.csv") if path.stem != "rivals"):
        text += [f"## {name.replace('_', ' ').capitalize()}", "",
                 f"`python -m benchmarks.{name}`", "",
                 _markdown(pd.read_csv(_RESULTS / f"{name}.csv").head(40)), ""]  # fmt: skip
    (_RESULTS / "README.md").write_text("\n".join(text), encoding="utf-8")


_HEAD = """\
# Benchmarks

Made by `python -m benchmarks.page` from the CSV files beside it. A time means nothing alone: it
stands beside a rival's of the same run on the same machine. Where the accuracy was not reached
a time is void, and the reason stands in its place.
"""

_RIVALS = """\
`python -m benchmarks.rivals` on {cores} cores of {processors}: {versions}. Individual types,
`λ_x = λ_y`; every method solves from types and masses to potentials whose margin error, `Σ|margin −
mass|` over the total mass, is at most 1e-9 in float64, summed anew in NumPy. Medians of five
repetitions, each of as many calls as a fifth of a second holds, with the fastest and slowest; the
first call, which compiles (cupid_matching's looks for the tolerance that reaches the margins), is
apart; each case is a process of its own, and memory is what it takes beyond imports and data. With
outside options this project also proves a bound on the error of wages, which the time includes;
ott-jax and POT do not know such outside options. The methods of a case are of one run; cases may be
of several.
"""


def _plot(frame: pd.DataFrame, column: str, label: str, name: str) -> None:
    from matplotlib import pyplot as plt

    cases = sorted({tuple(case) for case in frame[_CASE].itertuples(index=False)})
    figure, axes = plt.subplots(2, 4, figsize=(15, 7), sharex=True, sharey=True, squeeze=False)
    for axis, case in zip(axes.flat, cases, strict=False):
        part = frame[(frame[_CASE] == list(case)).all(axis=1)]
        for method, line in part.groupby("method"):
            line = line.sort_values("count")
            axis.loglog(line["count"], line[column].clip(lower=0.1 if column != "seconds" else 0),
                        color=_COLOURS[method], marker=_MARKERS[method], label=method,
                        linewidth=2.5 if method == _OURS else 1.2)  # fmt: skip
        axis.set_title(_words(case), fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("types a side")
    for axis in axes[:, 0]:
        axis.set_ylabel(label)
    shown = {text: line for axis in axes.flat
             for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}  # fmt: skip
    figure.legend(shown.values(), shown.keys(), loc="lower center", ncols=len(shown), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(_RESULTS / name, dpi=110)
    plt.close(figure)


def _table(case: tuple, frame: pd.DataFrame) -> list[str]:
    """One line per size and method: what it took, and how many times what this project took."""
    rows = []
    for count, part in frame.groupby("count"):
        ours = part[(part["method"] == _OURS) & part["void"].isna()]["seconds"]
        for method in METHODS:
            for row in part[part["method"] == method].itertuples():
                if isinstance(row.void, str):
                    rows.append({"types a side": count, "method": method, "ms": row.void})
                    continue
                ratio = row.seconds / ours.iloc[0] if len(ours) else np.nan
                rows.append({
                    "types a side": count, "method": method, "ms": f"{1e3 * row.seconds:.3g}",
                    "fastest–slowest": f"{1e3 * row.fastest:.3g}–{1e3 * row.slowest:.3g}",
                    "times ours": f"{ratio:.3g}".replace("nan", "–"),
                    "compile s": f"{row.compile_seconds:.2g}",
                    "iterations": f"{row.iterations:.0f}".replace("nan", "–"),
                    "MB": f"{row.memory_mb:.0f}", "margin error": f"{row.margin_error:.1e}",
                })  # fmt: skip
    return [f"### {_words(case).capitalize()}", "", _markdown(pd.DataFrame(rows)), ""]


def _words(case: tuple) -> str:
    singles, skills, reach = case
    margins = "outside options" if singles else "fixed margins"
    return f"{margins}, {'one skill' if skills == 1 else f'{skills} skills'}, range {reach:g}"


def _markdown(frame: pd.DataFrame) -> str:
    def shown(value: object) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.4g}"
        return str(value).replace("|", r"\|")

    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [list(map(shown, row)) for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
