"""The page of runs: read back by a parser, complete, and in need of nothing else."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pandas as pd
import pytest
from matplotlib.image import imread

from shorematch.defects import InputError
from shorematch.report import report_runs, run_hash
from shorematch.run_folder import write_json
from shorematch.sweep_plan import SCHEMA
from shorematch.tables import write_tables

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NAMES = ["a|b", "<script>alert(1)</script>", "x_1 & 50 %", "ν_x*"]
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
        assert not {"href", "srcset"} & set(attributes)
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
    summary = {"statistics": {"mean_wage_home": 147.41}, "solver": {"status": status}}
    write_json(folder / "summary.json", summary)
    return folder


def page_of(folders, out):
    assert report_runs(folders, out) == 0
    return Page(out.read_text(encoding="utf-8"))


def test_the_page_holds_every_table_figure_and_finding_and_needs_no_network(tmp_path):
    run = write_run(tmp_path / "run & co")
    page = page_of([run], tmp_path / "r.html")
    statistics, table, long = page.tables
    assert statistics == [["statistic", "value"], ["mean_wage_home", "147.41"]]
    assert [row[0] for row in table[1:]] == NAMES
    assert [row[1] for row in table[1:]] == ["1.0000", "2.5000", "-3.2500", "–"]
    assert len(long) == 201
    assert any("first 200 rows" in text for text in page.text)
    (source,) = page.images
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PIXEL
    assert imread(BytesIO(PIXEL)).shape[:2] == (1, 1)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "One &lt;b&gt;finding&lt;/b&gt;." in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    assert "default-src 'none'" in text


def test_runs_are_stamped_with_a_hash_of_what_they_hold(tmp_path):
    one, other = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    assert run_hash(one) == run_hash(other)
    page = page_of([one, other], tmp_path / "r.html")
    assert page.text.count(f"run {run_hash(one)}") == 2
    (other / "long.csv").write_text("k\n1\n")
    assert run_hash(one) != run_hash(other)


def test_runs_inside_a_run_are_shown_and_what_is_not_certified_stands_out(tmp_path):
    run = write_run(tmp_path / "run")
    write_run(run / "scenario", status="not_converged")
    page = page_of([run], tmp_path / "r.html")
    assert "Status: not converged." in page.text
    assert "class=bad" in (tmp_path / "r.html").read_text(encoding="utf-8")
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
    page = page_of([folder], tmp_path / "r.html")
    assert page.tables == [
        [["scenario", "mean_wage_home"], ["one", "100"], ["draws", "110 (101 to 119)"]]
    ]
    assert "1 of 22 points are not certified." in page.text
    assert "1 of 23 points are missing." in page.text


def test_folders_without_a_run_and_a_page_that_exists_are_refused_together(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "r.html").write_text("mine")
    run = write_run(tmp_path / "run")
    with pytest.raises(InputError) as caught:
        report_runs([run, tmp_path / "empty", tmp_path / "gone"], tmp_path / "r.html")
    assert [defect.count("holds no run") for defect in caught.value.defects] == [1, 1, 0]
    assert "exists already" in str(caught.value)
    assert (tmp_path / "r.html").read_text() == "mine"
