"""Sweeps on disks that are full, broken or forbidden: the fault is the system's, not Python's."""

import shutil
import subprocess
import sys

import pytest

from shorematch.sweeps.sweeping import sweep_file
from tests.failing_files import run_all
from tests.test_sweeps import blocks, table, with_points, write_sweep

SMALL = """\
economy = "economy.toml"
block = 8
[[design]]
name = "costs"
method = "list"
origin.china.constant = { add = { from = 0.0, to = 1.0, points = 16 } }
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library as Linux does")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc to build the fault with")
def test_a_file_operation_that_fails_is_told_with_its_path_and_loses_nothing(tmp_path):
    rows = run_all(write_sweep(tmp_path, SMALL), tmp_path, step=9)
    assert {row["kind"] for row in rows} >= {"open", "write", "short write", "rename"}
    for row in rows:
        assert (row["exit_code"], row["path_named"], row["traceback"]) == ("1", "True", "False"), (
            row
        )
        assert (row["earlier_blocks_intact"], row["temporary_files_left"]) == ("True", "0"), row
        assert (row["resumed_exit_code"], row["same_table"]) == ("0", "True"), row


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system as Linux does")
def test_a_full_file_system_is_told_with_its_path_and_loses_nothing(tmp_path):
    path = write_sweep(tmp_path / "sweep", with_points(200))
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        (disk / "ballast").write_bytes(bytes(16 * 2**20 - 150_000))
        with pytest.raises(OSError, match=r"No space left on device: .*/disk/out/"):
            sweep_file(path, disk / "out")
        stored = {p.name: p.read_bytes() for p in blocks(disk / "out")}
        assert stored
        assert not list(disk.rglob("*.tmp"))
        (disk / "ballast").unlink()
        assert sweep_file(path, disk / "out") == 0
        assert stored.items() <= {p.name: p.read_bytes() for p in blocks(disk / "out")}.items()
        assert sweep_file(path, tmp_path / "whole") == 0
        assert table(disk / "out") == table(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
