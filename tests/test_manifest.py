"""Manifests: what a run says of itself, against the files, the clock and git."""

import hashlib
import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from shorematch.files.manifest import Run, command_line, machine
from shorematch.scenarios.counterfactual import counterfactual_file
from shorematch.solving import SolveOptions, solve_file
from tests.danish import write_danish

OPTIONS = SolveOptions(money="DKK an hour", figures=False)
SHOCKS = '[[shock]]\nname = "ν + 1"\norigin.denmark.nu_x = { add = 1.0 }\n'


def git(folder, *arguments):
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder under git with an economy, shocks and a run of both, made from inside it."""
    folder = tmp_path_factory.mktemp("project")
    write_danish(folder)
    (folder / "shocks.toml").write_text(SHOCKS, encoding="utf-8")
    for command in (["init"], ["add", "."], ["commit", "-m", "all"]):
        git(folder, *command)
    before = Path.cwd()
    os.chdir(folder)
    try:
        files = Path("economy.toml"), Path("shocks.toml")
        assert counterfactual_file(*files, Path("runs/one"), OPTIONS) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="module")
def manifest(project):
    return json.loads((project / "runs/one/manifest.json").read_text(encoding="utf-8"))


def test_the_command_is_what_one_would_type_and_where(project, manifest):
    assert command_line(manifest) == (
        "shorematch counterfactual economy.toml --shocks shocks.toml --no-figures "
        "--money 'DKK an hour' --out runs/one"
    )
    assert (project / "runs/one" / manifest["directory"]).resolve() == project


def test_every_file_read_and_written_bears_its_hash(project, manifest):
    read = {entry["path"]: entry["sha256"] for entry in manifest["inputs"]}
    names = {"economy.toml", "firms.csv", "workers.csv", "foreign.csv", "shocks.toml"}
    assert set(read) == names
    run = project / "runs/one"
    written = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert set(manifest["outputs"]) == written - {"manifest.json"}
    assert "table.csv" in written
    for folder, files in ((project, read), (run, manifest["outputs"])):
        for name, sha in files.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha


def test_phases_have_seconds_and_memory(manifest):
    phases = [phase["phase"] for phase in manifest["phases"]]
    assert phases[:2] == ["read", "solve baseline"]
    assert phases[-1] == "write"
    assert "solve ν + 1" in phases
    for phase in manifest["phases"]:
        assert phase["seconds"] >= 0
        assert phase["peak_memory_mb"] is None or 10 < phase["peak_memory_mb"] < 1e6


def test_a_phase_s_memory_is_the_most_that_it_took(tmp_path):
    run = Run(["nothing"], tmp_path)
    run.lap("before")
    block = bytearray(300_000_000)
    block[:] = b"x" * len(block)
    del block
    run.lap("large")
    run.lap("after")
    before, large, after = (phase["peak_memory_mb"] for phase in run.phases)
    if before is None or not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell the memory of a phase")
    assert large > before + 250
    assert after < large - 250


def test_versions_and_the_machine_are_those_that_computed(manifest):
    assert manifest["versions"]["jax"] == version("jax")
    assert manifest["versions"]["shorematch"] == version("shorematch")
    assert manifest["machine"] == machine()
    assert manifest["machine"]["cores"] == os.cpu_count()


def test_the_commit_is_that_of_the_folder_of_the_inputs(project, manifest, tmp_path):
    commit = git(project, "rev-parse", "HEAD")
    assert manifest["commits"]["inputs"] == commit
    economy = project / "economy.toml"
    text = economy.read_text()
    try:
        economy.write_text(text + "# mine\n")
        solve_file(economy, tmp_path / "out", OPTIONS)
    finally:
        economy.write_text(text)
    changed = json.loads((tmp_path / "out/manifest.json").read_text(encoding="utf-8"))
    assert changed["commits"]["inputs"] == f"{commit}-dirty"


def test_outside_git_there_is_no_commit(tmp_path):
    solve_file(write_danish(tmp_path), tmp_path / "out", OPTIONS)
    text = (tmp_path / "out/manifest.json").read_text(encoding="utf-8")
    assert json.loads(text)["commits"]["inputs"] is None


def test_the_keys_are_those_of_the_contract(manifest):
    page = (Path(__file__).parents[1] / "docs/run-files.md").read_text(encoding="utf-8")
    section = page[page.index("## Manifests") :]
    for key in [*manifest, *manifest["machine"], *manifest["phases"][0]]:
        assert f"`{key}`" in section or key == "shorematch", key
