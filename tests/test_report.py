"""The report: its page read by a parser and by a browser, the paper's files by LaTeX."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from pypdf import PdfReader

from matching import STATISTICS
from shorematch.drawing import save_figure
from shorematch.files.defects import InputError
from shorematch.files.inputs import sha256_of
from shorematch.files.manifest import Run
from shorematch.files.run_folder import write_json
from shorematch.files.tables import write_tables
from shorematch.report.reporting import report_runs, stamp_of
from shorematch.report.run_comparison import compare_runs
from shorematch.solving import SolveOptions, solve_file
from shorematch.sweeps.plan import SCHEMA
from tests.danish import edited, write_danish

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NAMES = ["a|b", "<script>alert(1)</script>", "x_1 & 50 % #1", "ν_x*"]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tables as rows of cells, the sources of images, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.images, self.open, self.text = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert tag != "script"
        assert "srcset" not in attributes
        assert attributes.get("href", "#").startswith("#")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.images.append(attributes["src"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def write_run(folder, status="certified"):
    """A small run with names that HTML, Markdown and LaTeX must escape."""
    (folder / "figures").mkdir(parents=True)
    frame = pd.DataFrame({"statistic": NAMES, "value": [1.0, 2.5, -3.25, float("nan")]})
    write_tables(folder, "table", frame)
    (folder / "findings.md").write_text("One <b>finding</b>.\n\nAnother.\n", encoding="utf-8")
    (folder / "figures/wage_by_skill.png").write_bytes(PIXEL)
    pd.DataFrame({"k": range(300)}).to_csv(folder / "long.csv", index=False)
    write_json(folder / "summary.json", {"solver": {"status": status}})
    return folder


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LATEX = shutil.which("pdflatex")


def page_of(folders, out, **options):
    assert report_runs(folders, out, **options) == 0
    return Page((out / "report.html").read_text(encoding="utf-8"))


def test_the_page_holds_every_table_figure_and_finding_and_needs_no_network(tmp_path):
    run = write_run(tmp_path / "run & co")
    write_tables(run, "parameters", pd.DataFrame({"parameter": ["λ"], "estimate": ["37.56"]}))
    (run / "parameters.csv").unlink()  # estimates are in a file of their own
    page = page_of([run], tmp_path / "r")
    parameters, table, long = page.tables
    assert parameters == [["parameter", "estimate"], ["λ", "37.56"]]
    assert [row[0] for row in table[1:]] == NAMES
    assert [row[1] for row in table[1:]] == ["1.0000", "2.5000", "-3.2500", "–"]
    assert len(long) == 201
    assert any("first 200 rows" in text for text in page.text)
    (source,) = page.images
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PIXEL
    assert imread(BytesIO(PIXEL)).shape[:2] == (1, 1)
    text = (tmp_path / "r/report.html").read_text(encoding="utf-8")
    assert "One &lt;b&gt;finding&lt;/b&gt;." in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    assert "default-src 'none'" in text


# ---------------------------------------------------------------- in a browser


def test_what_lies_beside_a_run_is_not_shown_nor_copied(tmp_path):
    """A study's own data, tables and pictures, and a file put among a run's."""
    write_run(tmp_path / "study/inner")
    run = Run(["estimate", tmp_path / "run.toml"], tmp_path / "study/run")
    with run.folder() as folder:
        write_tables(folder, "table", pd.DataFrame({"of the run": [1]}))
    secret = pd.DataFrame({"wage of one": [123456.0]})
    secret.to_csv(tmp_path / "study/register.csv", index=False, encoding="latin-1")
    secret.to_csv(tmp_path / "study/run/register.csv", index=False)
    write_tables(tmp_path / "study", "draft", secret)
    (tmp_path / "study/photo.png").write_bytes(PIXEL)
    page = page_of([tmp_path / "study"], tmp_path / "r")
    text = " ".join(cell for rows in page.tables for row in rows for cell in row)
    assert "of the run" in text
    assert "long" in " ".join(page.text)
    assert "wage of one" not in text
    copied = {path.name for path in (tmp_path / "r").rglob("*") if path.is_file()}
    assert not [name for name in copied if name.startswith(("register", "draft", "photo"))]
    assert "wage_by_skill.png" in copied


def browse(page, profile, *options):
    """What a real browser without a head does with a page from disk; what it prints."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--virtual-time-budget=5000", "--enable-logging=stderr", "--window-size=1200,1600",
               f"--user-data-dir={profile}", *options, page.resolve().as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def complaints(done):
    """What the page's console says: refused requests, missing files, errors."""
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A page in Chromium: its parsed source, DOM, picture, and what the console said."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; Debian's package chromium has it")
    folder = tmp_path_factory.mktemp("browser")
    run = write_run(folder / "run")
    figure = Figure(figsize=(2.0, 1.0), facecolor="#ff00ff")
    save_figure(figure, run / "figures", "wage_by_skill")
    page = page_of([run, write_run(folder / "other")], folder / "r", compare=True)
    source = folder / "r/report.html"
    dom = browse(source, folder / "profile", "--dump-dom")
    picture = browse(source, folder / "profile", f"--screenshot={folder / 'page.png'}")
    return page, dom, picture, folder


def test_a_browser_shows_the_page_as_it_was_written_and_asks_for_nothing(shown):
    page, dom, picture, _ = shown
    seen = Page(dom.stdout)
    assert seen.tables == page.tables
    assert seen.images == page.images
    assert complaints(dom) == complaints(picture) == []


def test_a_browser_draws_the_figures(shown):
    *_, folder = shown
    pixels = imread(folder / "page.png")[..., :3]
    magenta = (pixels[..., 0] > 0.99) & (pixels[..., 1] < 0.01) & (pixels[..., 2] > 0.99)
    # 2 x 1 inches of 96 dots, twice: side by side, and with its run
    assert magenta.sum() == pytest.approx(2 * 192 * 96, rel=0.05)


def test_a_request_that_a_page_makes_would_be_seen(shown):
    *_, folder = shown
    text = (folder / "r/report.html").read_text(encoding="utf-8")
    spoilt = folder / "spoilt.html"
    spoilt.write_text(text.replace("<nav>", '<img src="http://127.0.0.1:9/x.png"><nav>'), "utf-8")
    assert any("127.0.0.1" in line for line in complaints(browse(spoilt, folder / "profile")))


# ---------------------------------------------------------------- the paper's files


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    """A report of a run with a manifest, and the run."""
    folder = tmp_path_factory.mktemp("stamped")
    run = Run(["solve", "an economy_1 & 50 %.toml", "--money", "--> #"], folder / "run")
    with run.folder() as inside:
        write_run(inside)
        save_figure(Figure(figsize=(2.0, 1.0), facecolor="#00ff00"), inside / "figures", "green")
    report_runs([folder / "run"], folder / "r")
    return folder


def test_every_paper_file_bears_the_run_and_the_command(stamped):
    stamp = stamp_of(stamped / "run")
    made = stamped / "r/run"
    command = "shorematch solve 'an economy_1 & 50 %.toml' --money '--> #' --out"
    assert stamp.command.startswith(command)
    tex = (made / "table.tex").read_text(encoding="utf-8").splitlines()
    assert tex[0] == f"% run {stamp.run}: {stamp.command}"
    assert tex[1:] == (stamped / "run/table.tex").read_text(encoding="utf-8").splitlines()
    last = (made / "table.md").read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith(f"<!-- run {stamp.run}")
    assert last.count("-->") == 1
    subject = PdfReader(made / "figures/green.pdf").metadata.subject
    assert subject == f"run {stamp.run}: {stamp.command}"
    png = (made / "figures/green.png").read_bytes()
    assert f"run {stamp.run}: {stamp.command}".encode() in png
    np.testing.assert_array_equal(imread(BytesIO(png)), imread(stamped / "run/figures/green.png"))
    assert (made / "table.csv").read_bytes() == (stamped / "run/table.csv").read_bytes()
    files = pd.read_csv(stamped / "r/files.csv")
    names = {p.relative_to(stamped / "r").as_posix() for p in made.rglob("*") if p.is_file()}
    assert set(files["file"]) == names
    assert set(files["run"]) == {stamp.run}


def test_the_stamp_is_of_what_was_found_and_not_of_when(tmp_path, stamped):
    run = tmp_path / "run"
    shutil.copytree(stamped / "run", run)
    manifest = (run / "manifest.json").read_text(encoding="utf-8")
    (run / "manifest.json").write_text(manifest.replace('"finished": "2', '"finished": "1'))
    assert stamp_of(run).run == stamp_of(stamped / "run").run
    (run / "long.csv").write_text("k\n1\n")
    assert stamp_of(run).run != stamp_of(stamped / "run").run
    page = page_of([run], tmp_path / "r")
    assert any("Not as the run wrote it: long.csv" in text for text in page.text)


def test_every_table_compiles_whatever_the_names(tmp_path):
    if LATEX is None:
        pytest.skip("no pdflatex on this machine; Debian's texlive-latex-recommended has it")
    letters = [chr(k) for k in range(33, 127)]
    odd = ["[x]", "*y", "50 % & #1_a^b~c", "\\input{x}", "ν_x* × 2", "Zoë", "–", "$x$", *letters]
    frame = pd.DataFrame({"_ % & #": odd, "ν": np.nan, "{b}": [f"[{k}, 2]" for k in odd]})
    for stem, transpose in (("rows", False), ("columns", True)):
        write_tables(tmp_path, stem, frame, title="_ % & #", transpose=transpose)
    document = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}",
                r"\tiny", r"\input{rows}", "", r"\input{columns}", r"\end{document}"]  # fmt: skip
    (tmp_path / "all.tex").write_text("\n".join(document), encoding="utf-8")
    command = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "all.pdf").pages)
    assert "50 % & #1" in text


# ---------------------------------------------------------------- several runs


def test_runs_side_by_side_show_what_they_share_and_the_difference(tmp_path):
    lower = edited("economy.toml", "constant = 119.94", "constant = 100.0")
    found = {}
    for name, economy in (("difference", {}), ("two", {"economy": lower})):
        (tmp_path / name).mkdir()
        path = write_danish(tmp_path / name, **economy)
        solve_file(path, tmp_path / name / "difference", SolveOptions(figures=False))
        text = (tmp_path / name / "difference/summary.json").read_text(encoding="utf-8")
        found[name] = json.loads(text)["statistics"]
    other = write_run(tmp_path / "other")
    runs = [*(tmp_path / name / "difference" for name in found), other]
    page = page_of(runs, tmp_path / "r", compare=True)
    header, *rows = page.tables[0]
    assert header == ["number", "difference_2", "difference_3", "difference"]
    assert [row[0] for row in rows] == list(STATISTICS)
    for name, *cells in rows:
        one, two = (numbers[name] for numbers in found.values())
        assert cells == [f"{x:#.5g}" for x in (one, two, two - one)]
    frame = pd.read_csv(tmp_path / "r/comparison_baseline.csv", index_col=0)
    assert frame["difference_2"].to_dict() == found["difference"]
    assert frame["difference_3"].to_dict() == found["two"]
    assert "No number in common with another: other." in page.text
    # each file of several runs is listed once for each of them, and says so itself
    stamps = [stamp_of(run) for run in runs[:2]]
    files = pd.read_csv(tmp_path / "r/files.csv").set_index("file")
    for suffix in (".tex", ".csv", ".md"):
        listed = files.loc[f"comparison_baseline{suffix}"]
        assert list(zip(listed["run"], listed["command"], strict=True)) == [
            (stamp.run, stamp.command) for stamp in stamps
        ]
        assert set(listed["sha256"]) == {sha256_of(tmp_path / f"r/comparison_baseline{suffix}")}
    for suffix in (".tex", ".md"):
        text = (tmp_path / f"r/comparison_baseline{suffix}").read_text(encoding="utf-8")
        assert all(f"run {stamp.run}: {stamp.command}" in text for stamp in stamps)
    assert set(files.index) == {
        path.relative_to(tmp_path / "r").as_posix()
        for path in (tmp_path / "r").rglob("*")
        if path.is_file() and path.name not in ("files.csv", "report.html")
    }
    with pytest.raises(InputError, match="needs several runs"):
        report_runs(runs[:1], tmp_path / "s", compare=True)


def test_estimates_stand_side_by_side_by_group_and_year(tmp_path):
    header = "parameter,group,year,estimate\n"
    for name, rows in (
        ("one", "Φ,a,1996,1.0\nΦ,a,2006,2.0\nΦ,b,2006,3.0\nλ,,,4.0\n"),
        ("two", "Φ,b,2006,5.0\nΦ,a,1996,7.0\nλ,,,4.5\nλ,,1996,9.0\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "estimates.csv").write_text(header + rows, encoding="utf-8")
    frame = compare_runs({name: tmp_path / name for name in ("one", "two")})["estimates"]
    found = frame.set_index("number")["difference"].to_dict()
    assert found == {"Φ a 1996": 6.0, "Φ b 2006": 2.0, "λ": 0.5}


def test_runs_inside_a_run_are_shown_and_what_is_not_certified_stands_out(tmp_path):
    run = write_run(tmp_path / "run")
    write_run(run / "scenario", status="not_converged")
    page = page_of([run], tmp_path / "r")
    assert {"1 not converged, 1 certified", "not converged"} <= set(page.text)
    assert (tmp_path / "r/report.html").read_text(encoding="utf-8").count('"verdict bad"') == 2
    assert "scenario" in page.text
    assert len(page.images) == 2


def test_a_sweep_is_summed_up_by_scenario_with_what_is_missing(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    rows = [
        (name, draw, statistic, "", value)
        for name, draws in (("one", 1), ("draws", 21))
        for draw in range(draws)
        for statistic, value in (("mean_wage_home", 100.0 + draw), ("status", float(draw == 20)))
    ]
    table = pd.DataFrame(rows, columns=SCHEMA.names)
    table.to_parquet(folder / "table.parquet", index=False)
    write_json(
        folder / "plan.json", {"sweep": {"points": 23, "scenarios": {"one": 1, "draws": 22}}}
    )
    page = page_of([folder], tmp_path / "r")
    assert page.tables == [
        [["scenario", "mean_wage_home"], ["one", "100.00"], ["draws", "110.00"],
         ["", "101.00 to 119.00"]]
    ]  # fmt: skip
    assert "1 of 22 points are not certified." in page.text
    assert "1 of 23 points are missing." in page.text


@pytest.mark.parametrize("name", ["summary.json", "figures/green.pdf", "table.parquet", "long.csv"])
def test_a_damaged_file_is_one_message_with_the_run_and_leaves_nothing(name, stamped, tmp_path):
    run = shutil.copytree(stamped / "run", tmp_path / "run")
    write_json(run / "plan.json", {"sweep": {"points": 1, "scenarios": {"one": 1}}})
    (run / name).write_bytes(b"\xff{")
    if name != "table.parquet":
        (run / "plan.json").unlink()
    with pytest.raises(InputError, match=r"run: holds a file that cannot be read") as caught:
        report_runs([run], tmp_path / "r")
    assert len(caught.value.defects) == 1
    assert name == "table.parquet" or f"not as the run wrote it: {name}" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_folders_without_a_run_are_refused_together_and_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    run = write_run(tmp_path / "run")
    with pytest.raises(InputError) as caught:
        report_runs([run, tmp_path / "empty", tmp_path / "gone"], tmp_path / "r")
    assert [defect.count("holds no run") for defect in caught.value.defects] == [1, 1]
    assert not (tmp_path / "r").exists()
    with pytest.raises(InputError, match="already holds a run"):
        report_runs([run], run)
