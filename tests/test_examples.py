"""Every example in the documents runs: README, file formats, docstrings."""

import doctest
import fcntl
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import counterfactuals
import estimation
import matching
import shorematch
from matching import parameter_names
from shorematch.cli import app
from shorematch.denmark import CALIBRATION_PATH, FOLDER, economy_path
from shorematch.estimates.estimating import estimate_file
from shorematch.estimates.run_file import read_run
from shorematch.files.economy_file import read_economy
from shorematch.scenarios.counterfactual import economies_under, read_scenarios
from shorematch.scenarios.decomposing import _read_groups
from shorematch.simulating import simulate_file
from shorematch.sweeps.plan import read_plan

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = [
    module.name
    for package in (matching, estimation, counterfactuals, shorematch)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
]


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(arguments, folder):
    """Standard output of a command that ends well."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_printed(expected, output):
    """The lines expected stand in the output, in order; ``...`` stands for anything left out."""
    lines = (line.strip() for line in output.splitlines())
    for wanted in expected.splitlines():
        if wanted.strip() == "...":
            continue
        pattern = re.escape(wanted.strip()).replace(r"\.\.\.", ".*")
        assert any(re.fullmatch(pattern, line) for line in lines), wanted


def commands(text):
    """Each command of the console blocks, without its ``$``, and the output printed below it."""
    for block in blocks(text, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield command, expected


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What the demo prints, and its folder; run once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        printed = folder / "printed.txt"
        if not printed.exists():
            text = run(["shorematch", "demo"], folder)
            printed.write_text(text, encoding="utf-8")
    return printed.read_text(encoding="utf-8"), folder / "demo-out"


# ---------------------------------------------------------------- README


def test_the_demo_prints_what_the_readme_quotes(demo):
    (expected,) = [text for command, text in commands(README) if command == "make demo"]
    assert len(expected.splitlines()) > 10
    assert_printed(expected, demo[0])


def test_the_table_of_the_readme_is_the_one_that_the_demo_writes(demo):
    found = pd.read_csv(demo[1] / "comparison" / "published_and_model.csv", dtype={"year": str})
    found = found[found["year"] == "2006"].set_index(["scenario", "statistic"])
    keys = ("mean_wage_home", "sd_wage_home", "wage_spread_by_firm", "wage_spread_by_skill")
    rows = [
        line.strip("| ").split(" | ") for line in README.splitlines() if re.match(r"\|.* / ", line)
    ]
    assert len(rows) == 7
    for scenario, *cells in rows:
        for key, cell in zip(keys, cells, strict=True):
            row = found.loc[scenario, key]
            assert cell == f"{row['published']:.2f} / {row['model']:.2f}", (scenario, key)
            assert abs(row["gap in %"]) < 0.3  # as the text below the table says


def test_the_commands_of_the_readme_print_what_it_quotes(tmp_path):
    folder = tmp_path / "shorematch" / "denmark"
    folder.mkdir(parents=True)
    for path in FOLDER.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    ours = [(c, text) for c, text in commands(README) if c.startswith("shorematch ")]
    assert len(ours) >= 2
    for command, expected in ours:
        assert_printed(expected, run([*command.split(), "--no-figures"], tmp_path))


def test_the_code_of_the_readme_prints_what_its_comments_say(tmp_path):
    code = "\n".join(blocks(README, "python"))
    promised = re.findall(r"^print\(.*\)  # (\S+?)(?::.*)?$", code, re.MULTILINE)
    assert len(promised) >= 3
    assert run([sys.executable, "-c", code], tmp_path).split() == promised


def test_the_readme_lists_every_command_and_no_other():
    listed = set(re.findall(r"^\| `shorematch (\w+)` \|", README, re.MULTILINE))
    registered = {command.callback.__name__ for command in app.registered_commands}
    assert listed == registered - {"demo"}  # which the first page of the README runs


# ---------------------------------------------------------------- file formats


def write_examples(page, folder):
    """Write the files that a page shows, each under the name above it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, content in re.findall(
        r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    ):
        (folder / name).write_text(content, encoding="utf-8")
    return text


def described(text, beginning):
    """The names in backticks in the paragraph or list item that begins so."""
    paragraph = text[text.index(beginning) :].split("\n\n")[0].split("\n- ")[0]
    return re.findall(r"`([^`]+)`", paragraph.removeprefix(beginning))


def test_runs_leave_the_columns_and_keys_described(demo):
    text = (ROOT / "docs" / "economy-file.md").read_text(encoding="utf-8")
    out = demo[1] / "solution"
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    statistics = list(summary["statistics"])
    assert described(text, "- `statistics`: ")[: len(statistics)] == statistics
    solver = list(summary["solver"])
    assert described(text, "- `solver`: ")[: len(solver)] == solver
    columns = described(text, "`workers.csv`, one row")
    columns.insert(columns.index("mass"), "skill")
    assert list(pd.read_csv(out / "workers.csv")) == columns
    columns = described(text, "`firms.csv`, one row")
    columns.insert(columns.index("mass"), "productivity")
    quality, hires = "mean_match_quality_<skill>", "hires_<origin>"
    assert columns[-2:] == [quality, hires]
    columns[-2:] = [quality.replace("<skill>", "skill"), "hires_denmark", "hires_china"]
    assert list(pd.read_csv(out / "firms.csv")) == columns
    columns = described(text, "`matches.parquet`, where")
    assert list(pd.read_parquet(out / "matches.parquet")) == columns
    table = pd.read_csv(demo[1] / "counterfactuals" / "table.csv")
    assert list(table) == ["scenario", *statistics]


def test_the_example_scenarios_change_what_they_name(tmp_path):
    write_examples("economy-file.md", tmp_path)
    write_examples("scenarios.md", tmp_path)
    example = (tmp_path / "economy.toml").read_text(encoding="utf-8")
    earlier = example.replace("[[75.55]]", "[[75.38]]")
    (tmp_path / "earlier.toml").write_text(earlier, encoding="utf-8")
    economy = read_economy(tmp_path / "economy.toml")
    assert economy.economy.home.outside_option.shape == (4,)
    scenarios = read_scenarios(tmp_path / "shocks.toml", economy)
    free, double, dear, both, technology = economies_under(scenarios, economy.economy).values()
    assert float(free.origins[1].constant) == float(both.origins[1].constant) == 207.90
    assert float(double.affinity[0, 0]) == float(both.affinity[0, 0]) == 2 * 75.55
    assert float(dear.home.outside_option[3]) == pytest.approx(50.276, rel=1e-15)
    assert float(dear.origins[1].nu_x) == -7.0
    assert float(dear.lambda_x) == 20.0
    assert float(technology.affinity[0, 0]) == 75.38
    groups = _read_groups(tmp_path / "groups.toml")
    named = {parameter for group in groups for parameter in group.parameters}
    assert named <= set(parameter_names(economy.economy))
    assert {group.cause for group in groups} == {"structural change", ""}
    plan = read_plan(tmp_path / "sweep.toml")
    assert [len(design) for design in plan.designs] == [1, 12, 32]
    assert len(plan.blocks) == 6


def test_the_example_estimation_leaves_the_files_described(tmp_path):
    text = write_examples("run-files.md", tmp_path)
    assert estimate_file(tmp_path / "estimate.toml", tmp_path / "run") == 2  # of eleven matches
    out = tmp_path / "run"
    columns = list(pd.read_csv(out / "estimates.csv"))
    assert described(text, "- `estimates.csv`: ")[: len(columns)] == columns
    assert described(text, "- `fit.csv`: ") == list(pd.read_csv(out / "fit.csv"))
    tables = [f"{stem}.{suffix}" for stem in ("affinity", "saliency")
              for suffix in ("csv", "tex", "md")]  # fmt: skip
    alone = ["estimates.csv", "vcov.csv", "fit.csv", "certificate.json", "run.toml",
             "manifest.json", "figures"]  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == sorted(tables + alone)
    for name in alone[:-1]:
        assert f"`{name}`" in text
    rows = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["rows"]
    assert (rows["read"], rows["dropped_missing"]) == (12, 1)


def test_the_example_with_wages_leaves_the_files_and_parameters_described(tmp_path):
    text = write_examples("run-files.md", tmp_path)
    rng = np.random.default_rng(0)
    education, risk = rng.normal(size=(2, 80))
    risk += 0.5 * education
    female, public = rng.integers(0, 2, (2, 80))
    log_wage = 0.3 * education - 0.2 * risk + 0.1 * risk * education + rng.normal(0, 0.2, 80)
    columns = {"education": education, "female": female, "risk": risk, "public": public}
    frame = pd.DataFrame({**columns, "wage": np.exp(log_wage), "firm": np.arange(80) // 2})
    frame.to_csv(tmp_path / "jobs.csv", index=False)
    estimate_file(tmp_path / "wages.toml", tmp_path / "run")
    parameters = list(pd.read_csv(tmp_path / "run" / "estimates.csv")["parameter"])
    ending = ["scale.worker", "scale.firm", "constant", "error_variance"]
    assert parameters[-4:] == ending
    assert {name.split(".")[0] for name in parameters[:-4]} == {"amenity", "productivity"}
    for name in [*ending, *(path.name for path in (tmp_path / "run").iterdir())]:
        stem = name.split(".")[0] if name.startswith("wages.") else name
        assert f"`{stem}`" in text or f"`{stem}/`" in text, name


def test_the_examples_on_types_leave_the_files_described(tmp_path):
    text = write_examples("run-files.md", tmp_path)
    simulate_file(economy_path(2006), tmp_path / "register.csv", 20_000, seed=1, wage_error=3.0)
    section = text[text.index("## The slides' three steps") :]
    tables = {"parameters.tex", "parameters.md", "economy_denmark.csv", "economy_china.csv"}
    assert estimate_file(tmp_path / "three_steps.toml", tmp_path / "run") == 0
    for path in (tmp_path / "run").iterdir():
        if path.name not in tables:
            assert f"`{path.name}`" in section or f"`{path.name}/`" in section, path.name
    file = read_run(tmp_path / "minimum_distance.toml")
    assert file.parameters.tied == {"tastes.lambda_y": "tastes.lambda_x"}
    assert "`sensitivity.csv`" in section


def test_the_example_calibration_is_the_shipped_one_and_leaves_the_files_described(tmp_path, demo):
    text = write_examples("run-files.md", tmp_path)
    example = tomllib.loads((tmp_path / "calibrate.toml").read_text(encoding="utf-8"))
    assert example == tomllib.loads(CALIBRATION_PATH.read_text(encoding="utf-8"))
    left = {path.name for path in (demo[1] / "calibration").iterdir()}
    tables = {f"{stem}.{suffix}" for stem in ("restrictions", "parameters")
              for suffix in ("csv", "tex", "md")}  # fmt: skip
    alone = {"economy.toml", "estimates.csv", "run.toml", "manifest.json"}
    assert left == tables | alone | {name for name in left if name.startswith("economy_")}
    for name in alone:
        assert f"`{name}`" in text[text.index("## Calibrating") :]


# ---------------------------------------------------------------- docstrings


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_docstrings_have_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) > 8
