"""``shorematch report``: run folders as one HTML page and as the paper's files, all stamped."""

import hashlib
import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shorematch.console import console
from shorematch.files.defects import Defect, InputError
from shorematch.files.manifest import (
    changed_outputs,
    command_line,
    damage_named,
    read_manifest,
    results_of,
)
from shorematch.files.run_folder import new_run, safe_names, write_csv
from shorematch.files.tables import rounded, write_tables
from shorematch.report.html_page import (
    figures,
    folded,
    heading,
    markdown_table,
    page,
    paragraph,
    table,
    words,
)
from shorematch.report.paper_files import Stamp, copy_paper_files, stamp_tables
from shorematch.report.run_comparison import compare_runs

_ROWS = 200  # of a table without a printed form
_INNER = 20  # runs inside a run that are shown one by one
_HEADLINE = (
    "mean_wage_home", "sd_wage_home", "var_wage_between_firms", "unemployment_rate",
    "offshoring_rate", "sorting",
)  # fmt: skip


def report_runs(folders: Sequence[Path], out: Path, *, compare: bool = False) -> int:
    """Write ``report.html`` and the paper's files of every run into the new folder ``out``.

    The page holds findings, tables and figures; with ``compare`` also the runs side by side. A
    folder per run holds its tables and figures, each stamped with the hash of the run's results
    and its command; ``files.csv`` lists them, and what compares several runs once for each of
    them. Returns 0. Raises
    :class:`~shorematch.defects.InputError` where a folder holds no run, or a damaged one, or
    ``out`` is not free.
    """
    defects = [
        Defect(str(folder), "holds no run", "Name a folder that solve, counterfactual, decompose, "
               "estimate, calibrate, demo or sweep has written")
        for folder in folders
        if not (folder.is_dir() and results_of(folder))
    ]  # fmt: skip
    if compare and len(folders) < 2:
        defects.append(Defect("--compare", "needs several runs", "Name two folders or more"))
    if defects:
        raise InputError(defects)
    _, _, *names = safe_names(["number", "difference", *(f.resolve().name for f in folders)])
    runs = dict(zip(names, folders, strict=True))
    with new_run(out) as made:
        stamps = {name: stamp_of(folder) for name, folder in runs.items()}
        copied, sections = [], []
        for name, folder in runs.items():
            title = f"<h2>{html.escape(name)}</h2>" if len(runs) > 1 else ""
            stamp = stamps[name]
            with damage_named(folder):
                copied += [
                    (f"{name}/{file}", stamp.run, stamp.command, sha)
                    for file, sha in copy_paper_files(folder, made / name, stamp)
                ]
                sections += [f'<section id="run-{html.escape(name)}">{title}',
                             *_head(folder, stamp), *_run(folder), "</section>"]  # fmt: skip
        parts = [*_contents(names, compare=compare)]
        if compare:
            frames = compare_runs(runs)
            parts += _side_by_side(runs, frames)
            copied += _write_comparisons(made, frames, stamps)
        columns = ["file", "run", "command", "sha256"]
        write_csv(made / "files.csv", pd.DataFrame(copied, columns=columns))
        title = "shorematch report" if len(runs) > 1 else names[0]
        text = page(title, [*parts, *sections])
        (made / "report.html").write_text(text, encoding="utf-8", newline="\n")
    console().print(f"The report is {out / 'report.html'}; tables and figures are beside it")
    return 0


def stamp_of(folder: Path) -> Stamp:
    """The stamp of a run: its command, and a SHA-256 over names and bytes of its results.

    Times and the machine are no results: who runs the same command again on the same software and
    processor gets the same hash.
    """
    manifest = read_manifest(folder)
    if manifest:
        names = sorted(manifest["outputs"])
    else:
        names = [path.relative_to(folder).as_posix() for path in results_of(folder)]
    sha = hashlib.sha256()
    for name in names:
        path = folder / name
        data = path.read_bytes() if path.is_file() else b"missing"
        sha.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    return Stamp(sha.hexdigest(), command_line(manifest) if manifest else "unknown command")


# ---------------------------------------------------------------- the page


def _contents(names: Sequence[str], *, compare: bool) -> Iterator[str]:
    if len(names) > 1:
        links = {"side-by-side": "Side by side"} if compare else {}
        items = "".join(
            f'<li><a href="#{html.escape(place)}">{html.escape(text)}</a></li>'
            for place, text in (links | {f"run-{name}": name for name in names}).items()
        )
        yield f"<nav><ol>{items}</ol></nav>"


def _write_comparisons(
    made: Path, frames: Mapping[str, pd.DataFrame], stamps: Mapping[str, Stamp]
) -> Iterator[tuple[str, str, str, str]]:
    """Write what several runs have in common; each file with the stamp of each of these runs."""
    stems = safe_names([f"comparison_{title}" for title in frames])
    for stem, (title, frame) in zip(stems, frames.items(), strict=True):
        write_tables(made, stem, frame, title=title)
        having = [stamp for name, stamp in stamps.items() if name in frame]
        for file, sha in stamp_tables(made, stem, having):
            yield from ((file, stamp.run, stamp.command, sha) for stamp in having)


def _side_by_side(runs: Mapping[str, Path], frames: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """What several runs have in common: numbers in one table, figures next to each other."""
    yield '<section id="side-by-side"><h2>Side by side</h2>'
    for k, (title, frame) in enumerate(frames.items()):
        content = _frame(frame, "", rows=len(frame))
        yield folded(title, content) if k else heading(title) + content
    alone = [name for name in runs if not any(name in frame for frame in frames.values())]
    if alone:
        yield paragraph(f"No number in common with another: {', '.join(alone)}.", "note")
    pictures = {name: {p.stem: p for p in _pictures(folder)} for name, folder in runs.items()}
    counts = Counter(stem for stems in pictures.values() for stem in stems)
    for stem in (stem for stem, count in counts.items() if count > 1):
        having = [name for name in runs if stem in pictures[name]]
        yield heading(words(stem)) + figures([pictures[name][stem] for name in having], having)
    yield "</section>"


def _head(folder: Path, stamp: Stamp) -> Iterator[str]:
    """How the run ended, its command and stamp, and whether its files are still those it wrote."""
    yield from _badge(folder)
    yield f'<code class="command">{html.escape(stamp.command)}</code>'
    manifest = read_manifest(folder)
    facts = [f"run {stamp.run}"]
    if manifest:
        seconds = sum(phase["seconds"] for phase in manifest["phases"])
        facts += [manifest["finished"].replace("T", " "), f"{seconds:.1f} s"]
    yield paragraph(" · ".join(facts), "stamp")
    if changed := changed_outputs(folder, manifest) if manifest else []:
        listed = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" * (len(changed) > 5))
        yield paragraph(f"Not as the run wrote it: {listed}. Run it again.", "bad")


def _badge(folder: Path) -> Iterator[str]:
    verdict, good = _verdict(folder)
    if verdict:
        yield paragraph(verdict, "verdict" if good else "verdict bad")


def _run(folder: Path) -> Iterator[str]:
    """Findings, figures and tables of a folder, then how it was made and the runs inside it."""
    own = results_of(folder)
    if folder / "findings.md" in own:
        text = (folder / "findings.md").read_text(encoding="utf-8")
        yield from (paragraph(part) for part in text.strip().split("\n\n") if part)
    if (folder / "plan.json").exists():
        yield from _sweep(folder)
    here = [path for path in own if path.parent == folder]
    for path in (path for path in here if path.suffix == ".md"):
        if path.with_suffix(".tex").exists():
            content = markdown_table(path.read_text(encoding="utf-8"))
            again = path.stem == "table" and (folder / "levels.md").exists()
            yield folded("Table", content) if again else heading(words(path.stem)) + content
    pictures = _pictures(folder)
    if pictures:
        yield heading("Figures") + figures(pictures, [words(path.stem) for path in pictures])
    tables = [path for path in here if path.suffix == ".csv"]
    for path in tables:
        if not path.with_suffix(".md").exists():
            yield folded(words(path.stem), _frame(pd.read_csv(path, nrows=_ROWS + 1), path.name))
    if (folder / "certificate.json").exists():
        yield folded("Certificate", _json(_load(folder / "certificate.json")))
    if manifest := read_manifest(folder):
        yield folded("How this run was made", _made(manifest))
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and results_of(path)]
    nothing_else = not pictures and not tables
    for path in inner[:_INNER]:
        head = _head(path, stamp_of(path)) if read_manifest(path) else _badge(path)
        yield folded(path.name, "\n".join([*head, *_run(path)]), opened=nothing_else)
    if len(inner) > _INNER:
        yield paragraph(f"{len(inner) - _INNER} more runs are inside this one, in its folder.",
                        "note")  # fmt: skip


def _verdict(folder: Path) -> tuple[str, bool]:
    """How a run ended, in a word or in counts; whether every number may be relied on."""
    if (folder / "certificate.json").exists():
        verdict = str(_load(folder / "certificate.json").get("verdict", ""))
        return verdict.lower(), verdict == "CERTIFIED"
    counts: Counter[str] = Counter()
    for path in sorted(folder.rglob("summary.json")):
        summary = _load(path)
        state = summary.get("status") or (summary.get("solver") or {}).get("status")
        counts.update(state if isinstance(state, dict) else [state] if state else [])
    if not counts and (manifest := read_manifest(folder)) and "status" in manifest:
        counts[manifest["status"]] += 1
    text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    alone = counts.total() == 1
    return text.removeprefix("1 ") if alone else text, set(counts) <= {"certified"}


def _sweep(folder: Path) -> Iterator[str]:
    """Headline statistics of a collected sweep by scenario: the mean and, of draws, 5 to 95 %."""
    plan = _load(folder / "plan.json")["sweep"]
    yield paragraph(f"{plan['points']} points in {len(plan['scenarios'])} scenarios.")
    if not (folder / "table.parquet").exists():
        yield paragraph("The sweep is not collected.", "bad")
        return
    wanted = [("statistic", "in", [*_HEADLINE, "status"]), ("group", "==", "")]
    found = pd.read_parquet(folder / "table.parquet", filters=wanted)
    status = found[found["statistic"] == "status"]
    if bad := int((status["value"] != 0).sum()):
        yield paragraph(f"{bad} of {len(status)} points are not certified.", "bad")
    if missing := plan["points"] - len(status):
        yield paragraph(f"{missing} of {plan['points']} points are missing.", "bad")
    if not (bad or missing):
        yield paragraph("All points are certified.")
    numbers = found[found["statistic"] != "status"]
    values = numbers.groupby(["scenario", "statistic"], sort=False)["value"]
    summed = pd.DataFrame({
        "size": values.size(), "mean": values.mean(),
        "low": values.quantile(0.05), "high": values.quantile(0.95),
    })  # fmt: skip
    means = summed["mean"].unstack("statistic", sort=False)
    ranges = summed.apply(_range, axis=1).unstack("statistic", sort=False)
    rows = [["scenario", *means.columns]]
    for name in means.index:
        rows.append([str(name), *map(rounded, means.loc[name])])
        if any(below := list(ranges.loc[name])):  # the quantiles of a scenario of several points
            rows.append(["", *below])
    yield paragraph("Means over the points of a scenario, above their 5 % and 95 % quantiles.")
    yield table(rows)


def _range(row: pd.Series) -> str:
    return "" if row["size"] == 1 else f"{rounded(row['low'])} to {rounded(row['high'])}"


def _pictures(folder: Path) -> list[Path]:
    places = (folder, folder / "figures")
    return [path for path in results_of(folder) if path.suffix == ".png" and path.parent in places]


def _made(manifest: Mapping[str, Any]) -> str:
    """The manifest for a reader: inputs, phases, and what computed."""
    inputs = [["input", "SHA-256"], *([i["path"], i["sha256"]] for i in manifest["inputs"])]
    phases = [
        [p["phase"], f"{p['seconds']:.2f}", f"{p['peak_memory_mb'] or float('nan'):.0f}"]
        for p in manifest["phases"]
    ]
    known = ("command", "directory", "inputs", "phases", "outputs")
    rest = {key: value for key, value in manifest.items() if key not in known}
    return "".join([
        table(inputs),
        table([["phase", "seconds", "peak memory, MB"], *phases[:_ROWS]]),
        _json(rest),
    ])  # fmt: skip


def _frame(frame: pd.DataFrame, source: str, *, rows: int = _ROWS) -> str:
    body = [[rounded(cell) for cell in row] for row in frame.head(rows).itertuples(index=False)]
    more = f"The first {rows} rows; all are in {source}."
    return table([[str(name) for name in frame.columns], *body]) + (
        paragraph(more, "note") if len(frame) > rows else ""
    )


def _load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _json(data: Mapping[str, Any]) -> str:
    return f"<pre>{html.escape(json.dumps(data, indent=2, ensure_ascii=False))}</pre>"
