"""``shorematch report``: run folders as one HTML page that needs nothing but itself."""

import base64
import hashlib
import html
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shorematch.console import console
from shorematch.defects import Defect, InputError
from shorematch.inputs import sha256_of
from shorematch.sweep_store import written_whole

_ROWS = 200  # of a table without a printed form
_DOTS_PER_INCH = 200  # of the figures that runs save
_HEADLINE = (
    "mean_wage_home", "sd_wage_home", "var_wage_between_firms", "unemployment_rate",
    "offshoring_rate", "sorting",
)  # fmt: skip
_STYLE = """
body { font: 16px/1.5 Georgia, serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3, summary { line-height: 1.2; } section { margin: 2rem 0 4rem; }
.scroll { overflow-x: auto; margin: 1rem 0 2rem; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums;
  border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: 0.15rem 0.7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead tr { border-bottom: 1px solid; }
.figures { display: flex; flex-wrap: wrap; gap: 2rem; align-items: end; margin: 1rem 0; }
figure { margin: 0; } img { max-width: 100%; height: auto; } pre { overflow-x: auto; }
figcaption, .stamp { color: #555; font-size: 0.85rem; overflow-wrap: anywhere; }
summary { cursor: pointer; margin: 0.5rem 0; } .bad { color: #a00; font-weight: bold; }
"""
_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    f"<title>shorematch report</title><style>{_STYLE}</style></head><body>"
)


def report_runs(folders: Sequence[Path], out: Path) -> int:
    """Write the page ``out`` with the findings, tables and figures of every run folder.

    Each run is stamped with the SHA-256 of its files. Returns 0. Raises
    :class:`~shorematch.defects.InputError` where a folder holds no run or ``out`` exists.
    """
    defects = [
        Defect(str(folder), "holds no run", "Name a folder that solve, counterfactual, decompose, "
               "estimate, calibrate, demo or sweep has written")
        for folder in folders
        if not _is_run(folder)
    ]  # fmt: skip
    if out.exists():
        defects.append(Defect(str(out), "exists already", "Choose another --out, or remove it"))
    if defects:
        raise InputError(defects)
    page = "\n".join([_HEAD, "<h1>shorematch report</h1>", *_contents(folders)])
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as temporary:
        temporary.write_text(f"{page}\n</body></html>\n", encoding="utf-8", newline="\n")
    console().print(f"The report is in {out}")
    return 0


def run_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files of a run."""
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sha.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return sha.hexdigest()


# ---------------------------------------------------------------- one run


def _is_run(folder: Path) -> bool:
    names = ("summary.json", "manifest.json", "plan.json", "table.csv")
    return folder.is_dir() and any(True for name in names for _ in folder.rglob(name))


def _contents(folders: Sequence[Path]) -> Iterator[str]:
    command = shlex.join(["shorematch", *sys.argv[1:]])
    yield f'<p class="stamp">Made by <code>{html.escape(command)}</code></p>'
    for folder in folders:
        yield f"<section><h2>{html.escape(folder.resolve().name)}</h2>"
        yield f'<p class="stamp">run {run_hash(folder)}</p>'
        yield from _run(folder)
        yield "</section>"


def _run(folder: Path) -> Iterator[str]:
    """Facts, findings, tables and figures of a folder, then the runs inside it, folded."""
    yield from _summary(folder / "summary.json")
    if (folder / "findings.md").exists():
        text = (folder / "findings.md").read_text(encoding="utf-8")
        yield from (f"<p>{html.escape(part)}</p>" for part in text.strip().split("\n\n"))
    if (folder / "plan.json").exists():
        yield from _sweep(folder)
    for path in sorted(folder.glob("*.md")):
        if path.with_suffix(".csv").exists():
            yield _heading(path.stem) + _markdown_table(path)
    pictures = sorted({*folder.glob("*.png"), *folder.glob("figures/*.png")})
    if pictures:
        yield f'<div class="figures">{"".join(map(_figure, pictures))}</div>'
    for path in sorted(folder.glob("*.csv")):
        if not path.with_suffix(".md").exists():
            frame = pd.read_csv(path, nrows=_ROWS + 1)
            yield _folded(_words(path.stem), _frame(frame, path.name))
    for path in sorted(folder.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        yield _folded(path.name, f"<pre>{html.escape(text)}</pre>")
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and _is_run(path)):
        yield _folded(inner.name, "\n".join(_run(inner)))


def _summary(path: Path) -> Iterator[str]:
    """The verdict and the scalars of a solved economy."""
    if not path.exists():
        return
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    solver = summary.get("solver")
    if isinstance(solver, dict) and "status" in solver:
        good = solver["status"] == "certified"
        state = html.escape(str(solver["status"]).replace("_", " "))
        yield f"<p{'' if good else ' class=bad'}>Status: {state}.</p>"
    numbers = summary.get("statistics")
    if isinstance(numbers, dict):
        rows = [(key, value) for key, value in numbers.items() if not isinstance(value, list)]
        yield _frame(pd.DataFrame(rows, columns=["statistic", "value"]), path.name)


def _sweep(folder: Path) -> Iterator[str]:
    """Headline statistics of a collected sweep by scenario: the mean and, of draws, 5 to 95 %."""
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["sweep"]
    yield f"<p>{plan['points']} points in {len(plan['scenarios'])} scenarios.</p>"
    if not (folder / "table.parquet").exists():
        yield '<p class="bad">The sweep is not collected.</p>'
        return
    wanted = [("statistic", "in", [*_HEADLINE, "status"]), ("group", "==", "")]
    table = pd.read_parquet(folder / "table.parquet", filters=wanted)
    status = table[table["statistic"] == "status"]
    if bad := int((status["value"] != 0).sum()):
        yield f'<p class="bad">{bad} of {len(status)} points are not certified.</p>'
    if missing := plan["points"] - len(status):
        yield f'<p class="bad">{missing} of {plan["points"]} points are missing.</p>'
    values = table[table["statistic"] != "status"].groupby(["scenario", "statistic"], sort=False)
    cells = values["value"].agg(
        lambda x: f"{x.mean():.5g}" if len(x) == 1
        else f"{x.mean():.5g} ({x.quantile(0.05):.5g} to {x.quantile(0.95):.5g})"
    )  # fmt: skip
    frame = cells.unstack("statistic", sort=False).reset_index()
    yield "<p>Means over the points of a scenario, with their 5 % and 95 % quantiles.</p>"
    yield _frame(frame, "table.parquet")


# ---------------------------------------------------------------- HTML


def _markdown_table(path: Path) -> str:
    """A table that was printed as Markdown, cell by cell."""
    lines = path.read_text(encoding="utf-8").splitlines()
    title = "".join(f"<p>{html.escape(line.strip('*'))}</p>" for line in lines if line[:2] == "**")
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if line.startswith("|") and not line.startswith("|-")
    ]
    return title + _table(rows)


def _frame(frame: pd.DataFrame, source: str) -> str:
    rows = [
        [f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in frame.head(_ROWS).itertuples(index=False)
    ]
    more = f'<p class="stamp">The first {_ROWS} rows; all are in {html.escape(source)}.</p>'
    return _table([[str(name) for name in frame.columns], *rows]) + (
        more if len(frame) > _ROWS else ""
    )


def _table(rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows[1:])
    return (f'<div class="scroll"><table><thead><tr>{line(rows[0], "th")}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")  # fmt: skip


def _figure(path: Path) -> str:
    """A picture at the size at which it would be printed."""
    data = path.read_bytes()
    inches = int.from_bytes(data[16:20], "big") / _DOTS_PER_INCH  # a PNG's width in dots
    caption = html.escape(_words(path.stem))
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    image = f'<img alt="{caption}" style="width: {inches:.2f}in" src="{source}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _heading(stem: str) -> str:
    return f"<h3>{html.escape(_words(stem))}</h3>"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _words(stem: str) -> str:
    return stem.replace("_", " ")
