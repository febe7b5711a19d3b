"""Runs made again: equal to the byte here, within a tolerance elsewhere, and never silently."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shorematch.calibrating import calibrate_file
from shorematch.denmark import CALIBRATION_PATH
from shorematch.files.defects import InputError
from shorematch.scenarios.counterfactual import counterfactual_file
from shorematch.solving import SolveOptions
from shorematch.sweeps.sweeping import sweep_file
from shorematch.verifying import _difference, verify_run
from tests.danish import write_danish

QUICK = SolveOptions(figures=False)
SHOCKS = '[[shock]]\nname = "ν + 1"\norigin.denmark.nu_x = { add = 1.0 }\n'


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A project with a run of a counterfactual, made from inside it."""
    folder = tmp_path_factory.mktemp("original")
    write_danish(folder)
    (folder / "shocks.toml").write_text(SHOCKS, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        files = Path("economy.toml"), Path("shocks.toml")
        assert counterfactual_file(*files, Path("run"), QUICK) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(original, tmp_path):
    """A copy of the project, moved elsewhere as a whole."""
    return Path(shutil.copytree(original, tmp_path / "moved"))


def edit(path, change):
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def test_a_run_that_moved_with_its_project_is_made_again_to_the_byte(project, capsys):
    before = Path.cwd(), {p.name for p in project.iterdir()}
    assert verify_run(project / "run") == 0
    told = capsys.readouterr().out
    assert (Path.cwd(), {p.name for p in project.iterdir()}) == before
    assert "11 of 11 files are equal to the byte" in told
    for part in ("Data availability", "Software. python", "Hardware", "Command. shorematch",
                 "Running time", "Verification"):  # fmt: skip
        assert part in told
    assert "solving" not in told


def test_a_calibration_is_made_again_to_the_byte(tmp_path, capsys):
    out = tmp_path / "calibration"
    assert calibrate_file(CALIBRATION_PATH, out) == 0
    assert verify_run(out) == 0
    assert "are equal to the byte" in capsys.readouterr().out


def test_a_sweep_is_made_again_to_the_byte_with_its_economy_in_another_folder(tmp_path, capsys):
    (tmp_path / "economies").mkdir()
    write_danish(tmp_path / "economies")
    sweep = SHOCKS.replace("[[shock]]", 'economy = "economies/economy.toml"\n[[shock]]', 1)
    (tmp_path / "sweep.toml").write_text(sweep, encoding="utf-8")
    assert sweep_file(tmp_path / "sweep.toml", tmp_path / "swept") == 0
    assert verify_run(tmp_path / "swept") == 0
    assert "2 of 2 files are equal to the byte" in capsys.readouterr().out
    with (tmp_path / "economies/economy.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    with pytest.raises(InputError, match=r"economies/economy\.toml: has changed since the run"):
        verify_run(tmp_path / "swept")


def test_a_number_that_was_edited_is_found_and_named(project, capsys):
    path = project / "run/table.csv"
    frame = pd.read_csv(path)
    frame.loc[1, "mean_wage_home"] += 0.01
    frame.to_csv(path, index=False, lineterminator="\n")
    assert verify_run(project / "run") == 2
    told = capsys.readouterr().out
    assert "NOT VERIFIED: 1 FILES DIFFER" in told
    assert "- table.csv: changed since the run: 1 numbers differ" in told
    assert "Verification" not in told


def test_a_file_that_is_gone_is_found(project, capsys):
    (project / "run/baseline/firms.csv").unlink()
    assert verify_run(project / "run") == 2
    assert "baseline/firms.csv: changed since the run: is not in the stored run" in (
        capsys.readouterr().out
    )


def test_a_file_that_is_damaged_is_found(project, capsys):
    for name in ("matches.parquet", "workers.csv"):
        (project / "run/baseline" / name).write_bytes(b"\xff\xfe damaged")
    assert verify_run(project / "run") == 2
    told = capsys.readouterr().out
    for name in ("matches.parquet", "workers.csv"):
        assert f"baseline/{name}: changed since the run: cannot be read" in told


def test_on_another_processor_numbers_are_compared_with_a_tolerance(project, capsys):
    run = project / "run"
    edit(run / "manifest.json", lambda data: data["machine"].update(arithmetic="another"))
    frame = pd.read_csv(run / "table.csv")
    frame["mean_wage_home"] *= 1 + 1e-9
    frame.to_csv(run / "table.csv", index=False, lineterminator="\n")
    assert verify_run(run) == 0
    told = capsys.readouterr().out
    assert "1 within the tolerance, the largest relative difference 1.0e-09" in told
    frame["mean_wage_home"] *= 1 + 1e-4
    frame.to_csv(run / "table.csv", index=False, lineterminator="\n")
    assert verify_run(run) == 2


def test_inputs_that_changed_or_are_gone_are_defects_all_together(project):
    (project / "firms.csv").unlink()
    workers = project / "workers.csv"
    workers.write_text(workers.read_text() + "0.1,0.95\n")
    with pytest.raises(InputError) as caught:
        verify_run(project / "run")
    gone, changed = sorted(caught.value.defects, key=len)
    assert gone.startswith("firms.csv: was read by this run and is not in")
    assert "workers.csv: has changed since the run. Restore the version with SHA-256" in changed


def test_a_run_apart_from_its_inputs_needs_their_folder(project, original, tmp_path):
    run = shutil.move(project / "run", tmp_path / "alone")
    with pytest.raises(InputError, match="--directory"):
        verify_run(Path(run))
    assert verify_run(Path(run), original) == 0


def test_a_folder_that_cannot_be_run_again_is_refused(project):
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        verify_run(project)
    for key in ("directory", "inputs", "machine"):
        manifest = project / "run/manifest.json"
        kept = manifest.read_bytes()
        edit(manifest, lambda data, key=key: data.pop(key))
        with pytest.raises(InputError, match=f"lacks {key}, so it is not as the run wrote it"):
            verify_run(project / "run")
        manifest.write_bytes(kept)
    for command in (["shorematch", "report", ".", "--out", "x"], ["rm", "-r", "--out", "x"], []):
        edit(project / "run/manifest.json", lambda data, c=command: data.update(command=c))
        with pytest.raises(InputError, match="names no command that leaves a run"):
            verify_run(project / "run")


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        ("a,1.0\nb,2.0\n", "a,1.0\nb,2.0000000002\n", ""),
        ("a,1.0\nb,2.0\n", "a,1.0\nb,2.1\n", "1 numbers differ"),
        ("gap,1e-17\n", "gap,-3.2e-16\n", ""),
        ("a,1.0\n", "b,1.0\n", "differs in words"),
        ("a,1.0\n", "a,\n", "differs in words"),
        ("a,1.0\n", "a,1.0\na,1.0\n", "differs in words"),
        ('{"iterations": 5, "x": 1}', '{"iterations": 6, "x": 1}', ""),
    ],
)
def test_numbers_in_text_are_compared_and_words_are_equal(tmp_path, one, other, problem):
    for name, text in (("one.csv", one), ("other.csv", other)):
        (tmp_path / name).write_text(text)
    found, _ = _difference(tmp_path / "one.csv", tmp_path / "other.csv")
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_tables_in_parquet_are_compared_column_by_column(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "x": [1.0, np.nan], "k": [1, 2]})
    for change, problem in (
        ({"x": [1 + 1e-9, np.nan]}, ""),
        ({"x": [1.1, np.nan]}, "1 numbers differ"),
        ({"x": [1.0, 2.0]}, "1 numbers differ"),
        ({"name": ["a", "c"]}, "differs in column name"),
        ({"k": [1, 3]}, "differs in column k"),
        ({"new": [0, 0]}, "has other columns"),
    ):
        frame.to_parquet(tmp_path / "one.parquet")
        frame.assign(**change).to_parquet(tmp_path / "other.parquet")
        found, _ = _difference(tmp_path / "one.parquet", tmp_path / "other.parquet")
        assert found.startswith(problem)
        assert bool(found) == bool(problem)
