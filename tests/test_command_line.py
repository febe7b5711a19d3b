"""The command line from outside: files in, files and exit codes out."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

from matching import STATISTICS
from shorematch.doctor import run_doctor
from shorematch.files.tables import plain_numbers, write_tables
from shorematch.scenarios.counterfactual import counterfactual_file
from shorematch.solving import SolveOptions, solve_file
from tests.danish import edited, write_danish

QUICK = SolveOptions(figures=False)

SHOCKS = """\
[[shock]]
name = "c_F = 0"
origin.china.constant = { equal = "origin.denmark.constant" }
[[shock]]
name = "ν_x + 1"
origin.denmark.nu_x = { add = 1.0 }
[[shock]]
name = "ν_y + 1"
origin.denmark.nu_y = { add = 1.0 }
"""

TWO_SKILLS = {
    "economy": edited("economy.toml", "[[75.55]]", "[[75.55], [10.0]]"),
    "workers": "mass,skill,brawn\n0.3,0.1,1\n0.3,0.5,0\n0.4,0.9,0.5\n",
    "foreign": "mass,skill,brawn\n0.6,0.2,0.3\n0,0.7,0.1\n",
}


def shorematch(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "shorematch", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert solve_file(write_danish(folder), folder / "out", QUICK) == 0
    return folder / "out"


def test_solve_writes_the_contract_s_files_and_exits_with_zero(tmp_path):
    path = write_danish(tmp_path)
    out = tmp_path / "deep" / "out"
    done = shorematch("solve", path, "--out", out, "--no-figures")
    assert done.returncode == 0, done.stderr
    assert "certified" in done.stdout
    assert done.stderr == ""
    names = {"summary.json", "workers.csv", "firms.csv", "matches.parquet", "manifest.json",
             "statistics.csv", "statistics.tex", "statistics.md"}  # fmt: skip
    assert {p.name for p in out.iterdir()} == names
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary) == ["economy", "statistics", "solver"]
    assert list(summary["statistics"]) == list(STATISTICS)
    table = pd.read_csv(out / "statistics.csv", index_col=0)
    assert table["value"].to_dict() == summary["statistics"]
    assert list(summary["solver"]) == [
        "name", "kernel", "status", "iterations", "max_residual", "wage_error_bound",
    ]  # fmt: skip
    assert summary["solver"]["name"] == "newton"
    assert summary["solver"]["status"] == "certified"
    assert summary["economy"] == "economy"
    assert list(pd.read_csv(out / "workers.csv")) == [
        "origin", "worker", "skill", "mass", "unmatched", "multiplier", "expected_utility",
        "mean_wage",
    ]  # fmt: skip
    assert list(pd.read_csv(out / "firms.csv")) == [
        "firm", "productivity", "mass", "unmatched", "multiplier", "expected_profit",
        "mean_wage_paid", "offshoring_share", "mean_match_quality_skill", "hires_denmark",
        "hires_china",
    ]  # fmt: skip
    assert list(pd.read_parquet(out / "matches.parquet")) == [
        "origin", "worker", "firm", "mass", "wage", "profit",
    ]  # fmt: skip


def test_what_is_wrong_goes_to_standard_error_with_exit_one_and_no_traceback(tmp_path):
    path = write_danish(tmp_path, workers="mass,skill\n-1,0.1\n")
    before = sorted(tmp_path.iterdir())
    done = shorematch("solve", path, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("workers.csv, row 2, column mass")
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_mistyped_option_is_a_user_error_not_a_failure_to_converge(tmp_path):
    done = shorematch("solve", "economy.toml", "--uot", tmp_path)
    assert done.returncode == 1
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="asks a process to end as POSIX does")
def test_a_run_that_is_asked_to_end_leaves_nothing(tmp_path):
    (tmp_path / "economy").mkdir()
    path = write_danish(tmp_path / "economy")
    command = [sys.executable, "-m", "shorematch", "solve", path, "--out", tmp_path / "made/run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not list(tmp_path.glob("made/.run.*/*")):  # results are being written
            assert process.poll() is None
            time.sleep(0.001)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["economy"]


def test_help_imports_no_heavy_library():
    code = (
        "import sys, shorematch.cli; "
        "print({'jax', 'numpy', 'pandas', 'matplotlib', 'scipy', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_version_is_that_of_the_distribution():
    done = shorematch("--version")
    assert (done.returncode, done.stdout.strip()) == (0, version("shorematch"))


def test_the_tables_of_a_run_obey_the_model_s_accounts(tmp_path):
    """Margins, q = w + r, the workers' and firms' choice equations, read from the files alone."""
    path = write_danish(tmp_path, **TWO_SKILLS)
    assert solve_file(path, tmp_path / "out", QUICK) == 0
    workers = pd.read_csv(tmp_path / "out" / "workers.csv")
    firms = pd.read_csv(tmp_path / "out" / "firms.csv")
    cells = pd.read_parquet(tmp_path / "out" / "matches.parquet")
    both = cells.merge(workers, on=["origin", "worker"], suffixes=("", "_x")).merge(
        firms, on="firm", suffixes=("", "_y")
    )
    matched = cells.groupby(["origin", "worker"], sort=False)["mass"].sum().to_numpy()
    np.testing.assert_allclose(matched + workers["unmatched"], workers["mass"], rtol=1e-12)
    hired = cells.groupby("firm")["mass"].sum()
    np.testing.assert_allclose(hired + firms["unmatched"], firms["mass"], rtol=1e-12)
    both = both[both["mass"] > 0]
    constant = both["origin"].map({"denmark": 207.90, "china": 119.94})
    q = (75.55 * both["skill"] + 10.0 * both["brawn"]) * both["productivity"] + constant
    np.testing.assert_allclose(both["wage"] + both["profit"], q, rtol=1e-12)
    w0 = both["origin"].map({"denmark": 45.276, "china": 25.825})
    nu_x = both["origin"].map({"denmark": -4.51, "china": -7.57})
    nu_y = both["origin"].map({"denmark": -2.79, "china": -6.99})
    by_workers = w0 + 18.78 * (np.log(both["mass"] / both["unmatched"]) - nu_x)
    by_firms = 18.78 * (np.log(both["mass"] / both["unmatched_y"]) - nu_y)
    np.testing.assert_allclose(by_workers, both["wage"], rtol=1e-10)
    np.testing.assert_allclose(by_firms, both["profit"], rtol=1e-10)
    # types of zero mass match nobody, and what they would earn is left open
    nobody = workers[workers["mass"] == 0]
    assert nobody["unmatched"].tolist() == [0.0]
    assert nobody[["multiplier", "expected_utility", "mean_wage"]].isna().all(axis=None)
    home = cells[cells["origin"] == "denmark"]
    mean = (home["mass"] * home["wage"]).sum() / home["mass"].sum()
    values = json.loads((tmp_path / "out" / "summary.json").read_text())["statistics"]
    assert values["mean_wage_home"] == pytest.approx(mean, rel=1e-12)
    variances = [values[f"var_skill_{name}"] for name in ("skill", "brawn")]
    home = workers[workers["origin"] == "denmark"]
    matched = (home["mass"] - home["unmatched"]).to_numpy()
    skills = home[["skill", "brawn"]].to_numpy()
    spread = (skills - matched @ skills / matched.sum()) ** 2
    np.testing.assert_allclose(variances, matched @ spread / matched.sum(), rtol=1e-10)


def test_decimals_in_csv_files_are_exact(run):
    cells = pd.read_parquet(run / "matches.parquet")
    firms = pd.read_csv(run / "firms.csv", dtype=str)
    workers = pd.read_csv(run / "workers.csv", dtype=str)
    hires = cells[cells["origin"] == "china"].groupby("firm")["mass"].sum()
    np.testing.assert_allclose(firms["hires_china"].map(float), hires, rtol=4e-16)
    assert float(workers["mass"][5]) == 0.2325


def test_without_convergence_results_are_written_loudly_and_the_code_is_two(tmp_path, capsys):
    options = SolveOptions(max_iter=1, figures=False)
    assert solve_file(write_danish(tmp_path), tmp_path / "out", options) == 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["solver"]["status"] == "not_converged"
    assert "NOT CONVERGED" in capsys.readouterr().out


def test_an_undetermined_wage_level_is_stated_in_money_and_the_code_is_two(tmp_path, capsys):
    path = write_danish(
        tmp_path,
        economy=edited("economy.toml", "207.90", "2900.0"),
        workers="mass,skill\n1,0.5\n",
        firms="mass,productivity\n1,0.5\n",
        foreign="mass,skill\n1e-9,0.5\n",
    )
    assert solve_file(path, tmp_path / "out", QUICK) == 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["solver"]["status"] == "undetermined"
    bound = summary["solver"]["wage_error_bound"]
    stated = "not at all" if bound is None else f"±{bound * 37.56:.2g} in units of money"
    assert stated in capsys.readouterr().out


def test_counterfactuals_stand_in_one_table_with_the_baseline_first(tmp_path, capsys):
    path = write_danish(tmp_path)
    (tmp_path / "shocks.toml").write_text(SHOCKS, encoding="utf-8")
    out = tmp_path / "out"
    assert counterfactual_file(path, tmp_path / "shocks.toml", out, QUICK) == 0
    table = pd.read_csv(out / "table.csv", dtype=str).set_index("scenario").map(float)
    assert list(table.index) == ["baseline", "c_F = 0", "ν_x + 1", "ν_y + 1"]
    assert list(table) == list(STATISTICS)
    # wages under a rise of ν_y lie λ_x above those under the same rise of ν_x (λ_x = λ_y)
    gap = table["mean_wage_home"]["ν_y + 1"] - table["mean_wage_home"]["ν_x + 1"]
    assert gap == pytest.approx(18.78, abs=1e-9)
    assert table["offshoring_rate"]["c_F = 0"] > table["offshoring_rate"]["baseline"]
    for name, folder in (("baseline", "baseline"), ("c_F = 0", "c_F_0"), ("ν_x + 1", "ν_x_+_1")):
        values = json.loads((out / folder / "summary.json").read_text())["statistics"]
        assert values == table.loc[name].to_dict()
    assert "| mean_wage_home" in capsys.readouterr().out


def test_several_skills_have_a_column_each_and_unsolved_scenarios_have_no_numbers(tmp_path):
    path = write_danish(tmp_path, **TWO_SKILLS)
    (tmp_path / "shocks.toml").write_text(SHOCKS, encoding="utf-8")
    options = SolveOptions(max_iter=1, figures=False)
    assert counterfactual_file(path, tmp_path / "shocks.toml", tmp_path / "out", options) == 2
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert {"var_skill_skill", "var_skill_brawn", "var_skill_between_firms_brawn"} <= set(table)
    assert table.drop(columns="scenario").isna().all(axis=None)
    assert solve_file(path, tmp_path / "alone", options) == 2
    alone = pd.read_csv(tmp_path / "alone" / "statistics.csv", index_col=0)
    assert list(alone.index) == list(table)[1:]
    assert alone["value"].isna().all()
    text = (tmp_path / "alone" / "statistics.md").read_text(encoding="utf-8")
    assert text.startswith("**economy, not converged**")


def test_printed_tables_escape_what_latex_and_markdown_read_as_commands(tmp_path):
    frame = pd.DataFrame({"a_b & c": ["50 % | λ_x*"], "x": [0.1 + 0.2], "y": [float("nan")]})
    write_tables(tmp_path, "t", frame)
    latex = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert r"a\_b \& c & x & y \\" in latex
    assert r"50 \% \textbar{} $\lambda$\_x* & 0.30000 & – \\" in latex
    assert r"50 % \| λ_x*" in (tmp_path / "t.md").read_text(encoding="utf-8")
    write_tables(tmp_path, "lines", pd.DataFrame({"a\nb": ["c\nd"], "x": [1.0]}))
    lines = (tmp_path / "lines.md").read_text(encoding="utf-8").split("\n")
    assert [line.count("|") for line in lines if line] == [3, 3, 3]
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").endswith(",0.30000000000000004,\n")


def test_latex_tables_have_minus_signs_powers_of_ten_and_headers_that_fit(tmp_path):
    frame = pd.DataFrame({"row": ["2006-07"], "outside options, masses": [-1.5e-5], "y": [-0.5],
                          "interval": ["[-1.0, 2e+07]"]})  # fmt: skip
    write_tables(tmp_path, "t", frame)
    latex = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert r"row & \shortstack[r]{outside options, \\ masses} & y & interval \\" in latex
    numbers = r"$-1.5000 \times 10^{-5}$ & $-0.50000$ & [$-1.0$, $2 \times 10^{7}$]"
    assert rf"2006-07 & {numbers} \\" in latex
    assert "2006-07 & -1.5000e-5 & -0.50000 & [-1.0, 2e7]" in plain_numbers(latex)


def test_doctor_finds_this_installation_sound_and_a_closed_cache_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SHOREMATCH_CACHE", str(tmp_path / "cache"))
    assert run_doctor() == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHOREMATCH_CACHE", str(tmp_path / "file"))
    assert run_doctor() == 1
    assert "Set SHOREMATCH_CACHE" in capsys.readouterr().out
