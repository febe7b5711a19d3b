"""Sweeps on a Dask cluster of real processes: workers die, points are poison, schedulers vanish."""

import threading
import time
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from shorematch.files.defects import InputError
from shorematch.sweeps.plan import FAILED, read_plan
from shorematch.sweeps.sweeping import sweep_file, sweep_status
from shorematch.sweeps.workers import Cluster, Here, SchedulerLost
from tests.cluster import POISON, cluster, kill_worker
from tests.test_sweeps import SWEEP, blocks, table, with_points, write_sweep

dask = pytest.importorskip("dask", reason="the optional extra dask is not installed")

LISTED = """\
economy = "economy.toml"
block = 8
[[design]]
name = "costs"
method = "list"
origin.china.constant = { add = [VALUES] }
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("workers"), 2) as parts:
        yield parts


def test_a_worker_killed_on_the_way_changes_no_byte_of_the_table(workers, tmp_path):
    address, _, nannies = workers
    path = write_sweep(tmp_path, with_points(200))
    killed = []

    def kill():
        while len(blocks(tmp_path / "out")) < 5:
            time.sleep(0.01)
        killed.append(kill_worker(nannies[0]))

    killer = threading.Thread(target=kill)
    killer.start()
    assert sweep_file(path, tmp_path / "out", scheduler=address) == 0
    killer.join()
    assert killed == [True]
    assert sweep_file(path, tmp_path / "here") == 0
    assert table(tmp_path / "out") == table(tmp_path / "here")
    assert [p.name for p in blocks(tmp_path / "out")] == [p.name for p in blocks(tmp_path / "here")]


def test_what_died_with_its_worker_after_it_was_solved_is_solved_again(workers, tmp_path):
    address, _, nannies = workers
    plan = read_plan(write_sweep(tmp_path))
    block = plan.blocks[0]
    here = Here()
    here.submit(plan, block)
    with closing(Cluster(address)) as cluster:
        cluster.submit(plan, block)
        (task,) = cluster._running
        task.result()
        assert all(kill_worker(nanny) for nanny in nannies)
        while task.status == "finished":
            time.sleep(0.001)
        ((piece, values),) = cluster.finished()
    ((_, expected),) = here.finished()
    assert piece == block
    np.testing.assert_array_equal(values, expected)


def test_a_point_that_fails_three_times_is_marked_and_the_rest_delivered(workers, tmp_path, capsys):
    values = [0.0, 1.0, 2.0, POISON, 4.0]
    text = LISTED.replace("VALUES", ", ".join(map(str, values)))
    path = write_sweep(tmp_path, text)
    out = tmp_path / "out"
    assert sweep_file(path, out, scheduler=workers[0]) == 2
    said = capsys.readouterr().out
    assert "failed 3 times and is marked as failed: RuntimeError: this point is poison" in said
    assert "1 POINTS FAILED" in said
    sound = write_sweep(tmp_path / "sound", text)
    assert sweep_file(sound, tmp_path / "sound/out") == 0
    poisoned, whole = (pd.read_parquet(o / "table.parquet") for o in (out, tmp_path / "sound/out"))
    failed = poisoned["draw"] == 3
    same = ~failed & (poisoned["statistic"] != "wage_error_bound")
    np.testing.assert_allclose(poisoned[same]["value"], whole[same]["value"], rtol=1e-12)
    assert list(poisoned[failed]["value"].dropna()) == [FAILED]
    assert sweep_status(path, out) == 0
    assert "1 points failed, 0 not certified" in capsys.readouterr().out


def test_a_scheduler_that_is_not_there_or_vanishes_is_one_message_and_nothing_is_lost(
    tmp_path, capsys
):
    path = write_sweep(tmp_path, SWEEP)
    for address in ("127.0.0.1:1", "no address", "127.0.0.1:99999"):
        with pytest.raises(InputError, match="no Dask scheduler answers at"):
            sweep_file(path, tmp_path / "none", scheduler=address)
    assert not (tmp_path / "none").exists()

    path = write_sweep(tmp_path / "long", with_points(20_000))
    out = tmp_path / "long/out"
    with (
        cluster(tmp_path / "workers", 1) as (address, scheduler, _),
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
    ):

        def kill():
            while len(blocks(out)) < 3:
                time.sleep(0.01)
            scheduler.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(SchedulerLost, match="run the same command again"):
            sweep_file(path, out, scheduler=address)
        killer.join()
    capsys.readouterr()
    assert sweep_status(path, out) == 75
    assert "corrupted" not in capsys.readouterr().out
    assert len(blocks(out)) >= 3
