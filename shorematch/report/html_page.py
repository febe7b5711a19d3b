"""HTML of a page that needs nothing but itself: no script, no network, pictures inside."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_DOTS_PER_INCH = 200  # of the figures that runs save
_STYLE = """
:root { --ink: #1a1a1a; --soft: #666; --rule: #d0d0d0; --wash: #f6f6f4; --bad: #a40000; }
* { box-sizing: border-box; }
body { font: 17px/1.55 "Iowan Old Style", Palatino, Georgia, serif; color: var(--ink);
  max-width: 80rem; margin: 0 auto; padding: 2.5rem 1.5rem 6rem; }
h1 { font-size: 1.9rem; font-weight: 600; margin: 0; }
h2 { font-size: 1.5rem; font-weight: 600; margin: 0; }
h3 { font-size: 1.12rem; font-weight: 600; margin: 2.2rem 0 0.5rem; }
h1, h2, h3, summary, .verdict { line-height: 1.25; }
a { color: inherit; } p { margin: 0.6rem 0; max-width: 46rem; }
code, pre { font: 0.8rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; } pre { overflow-x: auto; }
nav { margin: 1.5rem 0; } nav ol { margin: 0.3rem 0; padding-left: 1.4rem; }
section { margin-top: 3.5rem; padding-top: 1.5rem; border-top: 2px solid var(--ink); }
.command { display: block; background: var(--wash); padding: 0.5rem 0.8rem; margin: 0.8rem 0; }
.stamp, figcaption, .note { color: var(--soft); font-size: 0.85rem; max-width: none; }
.verdict { display: inline-block; font-size: 0.85rem; padding: 0.15rem 0.6rem; margin: 0.5rem 0;
  border: 1px solid var(--soft); border-radius: 1rem; color: var(--soft); }
.verdict.bad, p.bad { color: var(--bad); border-color: var(--bad); font-weight: bold; }
.scroll { overflow: auto; max-height: 52rem; margin: 0.6rem 0 1.6rem; width: fit-content;
  max-width: 100%; }
table { border-collapse: collapse; font-size: 0.84rem; line-height: 1.35;
  font-variant-numeric: tabular-nums lining-nums; border-top: 2px solid var(--ink);
  border-bottom: 2px solid var(--ink); }
th { font-weight: 600; vertical-align: bottom; position: sticky; top: 0; background: white;
  border-bottom: 1px solid var(--ink); }
th, td { padding: 0.2rem 0.75rem; text-align: right; } td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0.2rem; position: sticky;
  left: 0; background: white; } th:first-child { z-index: 1; }
th.words, td.words { text-align: left; } td.words { white-space: normal; max-width: 40rem; }
td.words:not(:first-child) { overflow-wrap: anywhere; min-width: 8rem; }
tr.below td { color: var(--soft); font-size: 0.78rem; padding-top: 0; }
tbody tr:not(.below):hover { background: var(--wash); }
.figures { display: flex; flex-wrap: wrap; gap: 2.2rem 2rem; align-items: start; margin: 1rem 0; }
figure { margin: 0; max-width: 100%; } img { max-width: 100%; height: auto; display: block; }
figcaption { margin-top: 0.3rem; }
details { margin: 0.4rem 0; } .inside { margin: 0.2rem 0 0.8rem 1.2rem; }
summary { cursor: pointer; padding: 0.2rem 0; }
@media print { section { break-before: page; } figure, tr { break-inside: avoid; }
  .scroll { max-height: none; overflow: visible; } table { font-size: 0.55rem; }
  th { position: static; } th, td { padding: 0.1rem 0.3rem; } tr.below td { font-size: 0.5rem; } }
@page { size: landscape; }
"""
_WORDS = re.compile(r"(?!nan|inf)[^\W\d_]|/")  # how a cell begins that is no number
_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of these parts."""
    head = f"{_HEAD}<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
    return "\n".join([head, f"<h1>{html.escape(title)}</h1>", *parts, "</body></html>", ""])


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text, of a class of the page's style."""
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def heading(text: str) -> str:
    """The heading of a table or a group of figures."""
    return f"<h3>{html.escape(text)}</h3>"


def folded(title: str, content: str, *, opened: bool = False) -> str:
    """What opens at a click, or is open from the start."""
    state = " open" if opened else ""
    summary = f"<summary>{html.escape(title)}</summary>"
    return f'<details{state}>{summary}<div class="inside">{content}</div></details>'


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row the header; a row without a name belongs to the one above it."""
    header, *body = rows
    kinds = [
        " class=words" if any(_WORDS.match(row[k]) for row in body) else ""
        for k in range(len(header))
    ]  # fmt: skip

    def line(row: Sequence[str], tag: str) -> str:
        cells = zip(row, kinds, strict=True)
        return "".join(f"<{tag}{kind}>{html.escape(text)}</{tag}>" for text, kind in cells)

    lines = "".join(f"<tr{'' if row[0] else ' class=below'}>{line(row, 'td')}</tr>" for row in body)
    return (f'<div class="scroll"><table><thead><tr>{line(header, "th")}</tr></thead>'
            f"<tbody>{lines}</tbody></table></div>")  # fmt: skip


def markdown_table(text: str) -> str:
    """A table that was printed as Markdown, with its title, cell by cell."""
    lines = text.splitlines()
    title = "".join(paragraph(line.strip("*"), "note") for line in lines if line[:2] == "**")
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if line.startswith("|") and not line.startswith("|-")
    ]
    return title + table(rows)


def figures(paths: Sequence[Path], captions: Sequence[str]) -> str:
    """Pictures side by side, each at the size at which it would be printed."""
    return f'<div class="figures">{"".join(map(_figure, paths, captions))}</div>'


def words(stem: str) -> str:
    """The name of a file or a statistic as one would say it."""
    text = stem.replace("_", " ")
    return text[:1].upper() + text[1:]


def _figure(path: Path, caption: str) -> str:
    data = path.read_bytes()
    inches = int.from_bytes(data[16:20], "big") / _DOTS_PER_INCH  # a PNG's width in dots
    text = html.escape(caption)
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    image = f'<img alt="{text}" style="width: {inches:.2f}in" src="{source}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"
