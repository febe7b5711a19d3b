"""Sweeps: the same table whatever happens on the way; real files, signals and processes."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import reduce

import numpy as np
import pandas as pd
import pytest

from counterfactuals import apply_shock, shocks_of_point
from matching import solve_equilibrium
from shorematch.console import counting
from shorematch.files.defects import InputError
from shorematch.files.manifest import MANIFEST
from shorematch.files.run_folder import json_text, write_json
from shorematch.solving import statistics_of
from shorematch.sweeps.plan import read_plan
from shorematch.sweeps.slurm import write_sbatch
from shorematch.sweeps.store import stored_blocks
from shorematch.sweeps.sweeping import (
    INTERRUPTED,
    blocks_of_shard,
    collect_sweep,
    sweep_file,
    sweep_status,
)
from tests.danish import FILES, write_danish

SWEEP = """\
economy = "economy.toml"
block = 8
[[shock]]
name = "c_F = 0"
origin.china.constant = { equal = "origin.denmark.constant" }
[[design]]
name = "costs"
method = "grid"
origin.china.constant = { add = { from = -20.0, to = 80.0, points = 4 } }
technology.affinity = { multiply = [0.5, 1.0, 2.0] }
[[design]]
name = "draws"
method = "sobol"
points = 32
origin.denmark.nu_x = { add = { from = -0.5, to = 0.5 } }
"""

FURTHER = """\
[[design]]
name = "further"
method = "list"
origin.china.constant = { add = [1.0, 2.0, 3.0] }
"""


def write_sweep(folder, text=SWEEP):
    folder.mkdir(exist_ok=True)
    write_danish(folder)
    (folder / "sweep.toml").write_text(text)
    return folder / "sweep.toml"


def with_points(points):
    return SWEEP.replace("points = 32", f"points = {points}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep file and the folder of its uninterrupted run, not to be changed."""
    folder = tmp_path_factory.mktemp("sweep")
    path = write_sweep(folder)
    assert sweep_file(path, folder / "out") == 0
    return path, folder / "out"


@pytest.fixture
def copied(finished, tmp_path):
    path, out = finished
    return path, shutil.copytree(out, tmp_path / "out")


def table(out):
    return (out / "table.parquet").read_bytes()


def blocks(out):
    return sorted((out / "blocks").glob("*.parquet"))


@contextmanager
def files_limited_to(size):
    """Let no file grow beyond ``size`` bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_every_point_holds_the_numbers_of_its_economy_solved_alone(finished):
    path, out = finished
    frame = pd.read_parquet(out / "table.parquet").set_index(["scenario", "draw", "statistic"])
    plan = read_plan(path)
    for design, draw in zip(plan.designs, (0, 7, 31), strict=True):
        economy = reduce(apply_shock, shocks_of_point(design, draw), plan.loaded.economy)
        numbers = frame.loc[design.name, draw]["value"]
        for name, value in statistics_of(solve_equilibrium(economy)).items():
            np.testing.assert_allclose(numbers[name], value, rtol=1e-9)
        assert numbers["status"] == 0


def test_points_are_named_by_their_content(finished, tmp_path):
    path, out = finished
    names = read_plan(path).points
    points = pd.read_parquet(out / "points.parquet")
    assert list(points["point"]) == list(names)
    assert len(set(names)) == 45
    np.testing.assert_array_equal(points["multiply technology.affinity"][1:4], [0.5, 1.0, 2.0])
    moved = read_plan(write_sweep(tmp_path, SWEEP.replace("80.0", "80.5"))).points
    same = [one == other for one, other in zip(names, moved, strict=True)]
    assert same == [True] * 4 + [False] * 9 + [True] * 32  # the first cost stays, three move
    (tmp_path / "economy.toml").write_text(FILES["economy.toml"].replace("45.276", "45.277"))
    assert not set(read_plan(tmp_path / "sweep.toml").points) & set(moved)


def test_shards_in_any_order_give_the_same_table_to_the_byte(finished, tmp_path):
    path, out = finished
    for shards in (["2/2", "1/2"], ["3/4", "1/4", "4/4", "2/4"], ["1/1", "1/1"]):
        folder = tmp_path / f"{len(shards)}{shards[0][0]}"
        for done, shard in enumerate(shards):
            if done and shard != "1/1":
                with pytest.raises(InputError, match=r"misses \d of 6 blocks"):
                    collect_sweep(path, folder)
            assert sweep_file(path, folder, shard=shard) == 0
        assert collect_sweep(path, folder) == 0
        assert table(folder) == table(out)
        assert [p.name for p in blocks(folder)] == [p.name for p in blocks(out)]


def test_another_block_size_moves_no_number_by_more_than_rounding(finished, tmp_path):
    path = write_sweep(tmp_path, SWEEP.replace("block = 8", "block = 12"))
    assert sweep_file(path, tmp_path / "out") == 0
    one, other = (pd.read_parquet(out / "table.parquet") for out in (finished[1], tmp_path / "out"))
    bounds = one["statistic"] == "wage_error_bound"
    assert one.drop(columns="value").equals(other.drop(columns="value"))
    np.testing.assert_allclose(one["value"][~bounds], other["value"][~bounds], rtol=1e-12)


def test_what_is_missing_is_listed_and_a_partial_table_only_made_on_request(copied):
    path, out = copied
    blocks(out)[2].unlink()
    (out / "table.parquet").unlink()
    assert sweep_status(path, out) == INTERRUPTED
    plan = read_plan(path)
    missing = next(b for b in plan.blocks if not list((out / "blocks").glob(f"{b.key}*")))
    with pytest.raises(InputError, match=f"misses 1 of 6 blocks: {missing.key}"):
        collect_sweep(path, out)
    assert not (out / "table.parquet").exists()
    assert collect_sweep(path, out, partial=True) == 0
    there = pd.read_parquet(out / "table.parquet")[["scenario", "draw"]].drop_duplicates()
    assert len(there) == 45 - (missing.last - missing.first)


def test_every_truncation_and_flipped_bit_of_a_block_is_noticed(copied):
    path, out = copied
    keys = {block.key for block in read_plan(path).blocks}
    victim = blocks(out)[0]
    sound = victim.read_bytes()
    rng = random.Random(1)
    damaged = [sound[: len(sound) * k // 64] for k in range(64)]
    for bit in rng.sample(range(8 * len(sound)), 200):
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        victim.write_bytes(data)
        found, aside = stored_blocks(out, keys)
        assert (len(found), aside) == (5, [victim.name])
        assert not victim.exists()
    assert len(list((out / "quarantine").iterdir())) == len(damaged)


def test_corrupted_files_are_set_aside_made_again_and_said_so(copied, finished, capsys):
    path, out = copied
    first, second = blocks(out)[1], blocks(out)[4]
    first.write_bytes(first.read_bytes()[:1000])
    second.write_bytes(b"x" + second.read_bytes()[1:])
    (out / "plan.json").write_text((out / "plan.json").read_text().replace("45", "44"))
    assert sweep_file(path, out) == 0
    said = capsys.readouterr().out
    for name in (first.name, second.name, "plan.json"):
        assert f"{name} is corrupted" in said
    assert "4 done and 2 to do" in said
    assert table(out) == table(finished[1])
    assert len(list((out / "quarantine").iterdir())) == 3
    assert sweep_file(path, out) == 0
    assert "is corrupted" not in capsys.readouterr().out


def test_the_folder_of_another_sweep_is_refused_with_the_differences(copied, tmp_path):
    out = copied[1]
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    other = write_sweep(tmp_path / "other", with_points(33).replace("block = 8", "block = 9"))
    for command in (sweep_file, sweep_status, collect_sweep):
        with pytest.raises(InputError) as caught:
            command(other, out)
        for part in ("points: 45 there and 46 here", "points per block: 8 there and 9 here",
                     "scenarios, draws: 32 there and 33 here", "files, sweep.toml"):  # fmt: skip
            assert part in str(caught.value)
        assert "economy.toml" not in str(caught.value)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_folder_that_is_no_sweep_is_left_alone(finished, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, said in (("notes", "not empty"), ("file", "is a file")):
        with pytest.raises(InputError, match=said):
            sweep_file(finished[0], tmp_path / name)
    with pytest.raises(InputError, match="holds no sweep"):
        collect_sweep(finished[0], tmp_path / "new")
    for shard in ("0/2", "3/2", "1", "a/b", "1/-2"):
        with pytest.raises(InputError, match="is no shard"):
            sweep_file(finished[0], tmp_path / "new", shard=shard)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.txt", "file", "notes"]


def test_a_folder_is_given_to_another_sweep_by_new_and_both_keep_their_results(copied, finished):
    path, out = copied
    former = table(out)
    wider = write_sweep(out.parent / "wider", SWEEP + FURTHER)
    with pytest.raises(InputError, match="points: 45 there and 48 here"):
        sweep_file(wider, out)
    assert table(out) == former
    kept = {p.name: p.stat().st_mtime_ns for p in blocks(out)}
    assert sweep_file(wider, out, new=True) == 0
    now = {p.name: p.stat().st_mtime_ns for p in blocks(out)}
    shared = set(kept.items()) & set(now.items())
    assert len(shared) == len(kept)  # nothing was solved or written twice
    assert len(now) == 7  # the last block held five points, and holds eight
    (earlier,) = (out / "earlier").iterdir()
    assert (earlier / "table.parquet").read_bytes() == former
    assert sweep_file(path, out, new=True) == 0
    assert table(out) == table(finished[1])


def test_links_and_names_lead_nowhere_outside_the_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    path = write_sweep(tmp_path / "sweep", SWEEP.replace('"draws"', '"../../outside/draws"'))
    for name in ("blocks", "quarantine", "earlier", "logs"):
        out = tmp_path / f"out {name}"
        assert write_sbatch(path, out, 2) == 0
        if (out / name).exists():
            (out / name).rmdir()
        (out / name).symlink_to(outside)
        with pytest.raises(InputError, match="leads out of the results folder"):
            sweep_file(path, out)


def test_whatever_a_manifest_names_nothing_outside_the_folder_is_set_aside(copied, capsys):
    path, out = copied
    (out.parent / "mine.txt").write_text("mine")
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    del manifest["seal"]
    manifest["outputs"] |= {"../mine.txt": "0" * 64, "points.parquet": "0" * 64}
    seal = hashlib.sha256(json_text(manifest).encode()).hexdigest()
    write_json(out / MANIFEST, manifest | {"seal": seal})
    assert sweep_status(path, out) == 0
    assert "points.parquet is corrupted" in capsys.readouterr().out
    assert (out.parent / "mine.txt").read_text() == "mine"


def test_every_damaged_file_is_noticed_before_it_is_used(copied, finished, capsys):
    path, out = copied
    rng = random.Random(3)
    for name in ("table.parquet", "points.parquet", "manifest.json", "plan.json"):
        sound = (out / name).read_bytes()
        bits = rng.sample(range(8 * len(sound)), 20)
        for k, bit in enumerate(bits):
            flipped = bytearray(sound)
            flipped[bit // 8] ^= 1 << bit % 8
            (out / name).write_bytes(sound[: len(sound) * k // 20] if k % 2 else flipped)
            assert sweep_status(path, out) == 0
            assert f"{name} is corrupted" in capsys.readouterr().out, (name, k)
            (out / name).write_bytes(sound)
    (out / "table.parquet").write_bytes(b"")
    assert sweep_file(path, out) == 0
    assert table(out) == table(finished[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 20_000, "is nested too deeply"),
        (".".join(["a"] * 40_000) + " = 1", "is nested too deeply"),
        (" . ".join(['"a"'] * 40_000) + " = 1", "is nested too deeply"),
        ("[" + ".".join(["a"] * 40_000) + "]", "is nested too deeply"),
        ("x = " + "{a = " * 3_000 + "1" + "}" * 3_000, "is nested too deeply"),
        (SWEEP + "#" * 1_000_000, "has 1.0 MB; a TOML file has at most 1 MB"),
        (SWEEP.replace("points = 32", "points = 1_000_001"), "pass --yes"),
        (SWEEP.replace("[0.5, 1.0, 2.0]", "[]"), "has no values; give some"),
        ('economy = "economy.toml"\n', "asks for no points"),
    ],
)
def test_sweep_files_that_are_no_sweeps_are_refused_before_anything_is_written(
    text, said, tmp_path
):
    path = write_sweep(tmp_path / "sweep", text)
    with pytest.raises(InputError, match=said) as caught:
        sweep_file(path, tmp_path / "out")
    assert len(caught.value.defects) == 1
    assert not (tmp_path / "out").exists()


def test_wrong_keys_hide_no_wrong_parameter_and_no_defect_of_an_entry_hides_another(tmp_path):
    text = """
    economy = "economy.toml"
    blok = 8
    [[shock]]
    name = 3
    tastes.lambda_y = { set = 0.0 }
    [[shock]]
    name = "one"
    aftr = ["x"]
    origin.china.constnat = { add = 1.0 }
    tastes.lambda_x = { add = "1" }
    firms.mass = { multiply = -1.0 }
    [[design]]
    name = "costs"
    method = "gird"
    after = ["one", "none"]
    origin.chna.nu_x = { add = [1.0] }
    tastes.lambda_x = { add = [] }
    origin.china.nu_x = { equal = "origin.denmark.nu_z" }
    origin.china.mass = { add = { from = -9.0, to = 0.0, points = 3 } }
    [[design]]
    name = "draws"
    points = "many"
    tastes.lambda_y = { add = { from = 0.0, to = -1.0 } }
    tastes.lambda_x = { mutliply = { mean = 1.0, sd = 1.0 } }
    """
    with pytest.raises(InputError) as caught:
        read_plan(write_sweep(tmp_path / "sweep", text))
    for part in (
        "key blok: is unknown; did you mean 'block'?",
        "key shock #1.name",
        "key shock #1: shock 'shock #1': tastes.lambda_y: is 0.0",
        "key shock #2: aftr: is no parameter and no key of an entry; did you mean 'after'?",
        "key shock #2: parameter 'origin.china.constnat' does not exist",
        "key shock #2: shock 'one': tastes.lambda_x: add needs a number",
        "key shock #2: shock 'one': firms.mass: is negative",
        "key design #1.method",
        "key design #1: after: no shock above is named 'none'; did you mean 'one'?",
        "did you mean 'origin.china.nu_x'?",
        "key design #1: design 'costs': tastes.lambda_x has no values",
        "did you mean 'origin.denmark.nu_y'?",
        "key design #1: shock 'costs': origin.china.mass: is negative",
        "key design #2.method: is missing",
        "key design #2.points",
        "key design #2: design 'draws': tastes.lambda_y: (0.0, -1.0) is no uniform distribution",
        "did you mean 'multiply'?",
    ):
        assert sum(part in defect for defect in caught.value.defects) == 1, part
    assert len(caught.value.defects) == 17
    broken = text.replace('"economy.toml"', '"economy.tml"')
    with pytest.raises(InputError, match=r"(?s)key blok: .*did you mean 'economy\.toml'"):
        read_plan(write_sweep(tmp_path / "sweep", broken))


def test_the_slurm_script_runs_a_shard_passes_the_signal_on_and_queues_itself_again(tmp_path):
    out = tmp_path / "out put"
    path = write_sweep(tmp_path / "sweep", with_points(20_000))
    assert write_sbatch(path, out, 2) == 0
    script = out / "sweep.sbatch"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    options = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    for option in ("--array=1-2", "--requeue", "--signal=B:USR1@120"):
        assert f"#SBATCH {option}" in options
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin/scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/queue"\n')
    scontrol.chmod(0o755)
    slurm = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "2",
             "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
             "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    task = subprocess.Popen(["bash", script], env=os.environ | slurm, stdout=subprocess.DEVNULL)
    while not blocks(out):
        time.sleep(0.02)
    task.send_signal(signal.SIGUSR1)  # to the script alone, as --signal=B: does
    assert task.wait() == INTERRUPTED
    assert (tmp_path / "queue").read_text() == "requeue 4711_2\n"
    keys = {block.key for block in blocks_of_shard(read_plan(path), "2/2")}
    assert {p.name.split(".")[0] for p in blocks(out)} <= keys


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_ends_the_run_after_its_block_with_75(name, tmp_path):
    path = write_sweep(tmp_path, with_points(6000))
    out = tmp_path / "out"
    handler = signal.getsignal(getattr(signal, name))

    def interrupt():
        while not blocks(out):
            time.sleep(0.01)
        os.kill(os.getpid(), getattr(signal, name))

    threading.Thread(target=interrupt).start()
    assert sweep_file(path, out) == INTERRUPTED
    assert signal.getsignal(getattr(signal, name)) is handler
    keys = {block.key for block in read_plan(path).blocks}
    found, aside = stored_blocks(out, keys)
    assert 0 < len(found) < len(keys)
    assert not aside
    assert not list(out.rglob("*.tmp"))
    assert sweep_status(path, out) == INTERRUPTED


def test_a_full_disk_is_an_error_with_the_path_and_loses_nothing(copied, finished):
    path, out = copied
    for block in blocks(out)[3:]:
        block.unlink()
    kept = [p.read_bytes() for p in blocks(out)]
    smallest = min(p.stat().st_size for p in blocks(finished[1]))
    with (
        files_limited_to(smallest - 1),
        pytest.raises(OSError, match=r"File too large: .*/out/blocks/"),
    ):
        sweep_file(path, out)
    assert [p.read_bytes() for p in blocks(out)] == kept
    assert not list(out.rglob("*.tmp"))
    assert sweep_file(path, out) == 0
    assert table(out) == table(finished[1])

    with files_limited_to(5_000), pytest.raises(OSError, match=r"/out/table\.parquet"):
        collect_sweep(path, out)
    with files_limited_to(100), pytest.raises(OSError, match=r"File too large: .*/new/plan\.json"):
        sweep_file(path, out.parent / "new")
    assert table(out) == table(finished[1])
    assert not list(out.parent.rglob("*.tmp"))


def test_points_that_cannot_be_solved_are_counted_and_have_no_numbers(tmp_path, capsys):
    text = 'economy = "economy.toml"\nblock = 8\n[[design]]\nname = "d"\nmethod = "list"\n'
    path = write_sweep(tmp_path, text + "origin.china.constant = { add = [0.0, 1e300] }\n")
    assert sweep_file(path, tmp_path / "out") == 2
    assert "1 POINTS ARE NOT CERTIFIED" in capsys.readouterr().out
    frame = pd.read_parquet(tmp_path / "out/table.parquet").set_index(["statistic", "group"])
    good, bad = (frame[frame["draw"] == draw]["value"] for draw in (0, 1))
    assert good.notna().all()
    assert bad.drop(index=[("status", ""), ("wage_error_bound", "")]).isna().all()


def test_progress_is_one_plain_line_per_interval(capsys):
    for every, lines in ((0.0, 3), (1e9, 0)):
        with counting(30, "points", every) as tell:
            for _ in range(3):
                tell(10, "none failed")
        said = capsys.readouterr().out.splitlines()
        assert len(said) == lines
        assert all("points/s" in line and "none failed" in line for line in said)


def test_killed_at_random_moments_a_sweep_is_finished_by_several_processes_to_the_same_table(
    tmp_path,
):
    path = write_sweep(tmp_path, with_points(600))
    cache = {"SHOREMATCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "shorematch", "sweep", str(path), "--out"]
    plan = read_plan(path)
    keys = {block.key for block in plan.blocks}
    out = tmp_path / "killed"
    rng = random.Random(7)
    most = 0
    for _ in range(2):
        process = subprocess.Popen([*command, str(out)], env=os.environ | cache,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        while process.poll() is None and (not out.exists() or len(blocks(out)) <= most):
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        found, aside = stored_blocks(out, keys)
        assert not aside
        assert len(found) > most
        most = len(found)
    assert most < len(keys)
    together = [subprocess.Popen([*command, str(out)], env=os.environ | cache,
                                 stdout=subprocess.DEVNULL) for _ in range(2)]  # fmt: skip
    assert [process.wait() for process in together] == [0, 0]
    assert sweep_file(path, tmp_path / "whole") == 0
    assert table(out) == table(tmp_path / "whole")
