"""Devices: a GPU where one is asked for, or an error; compiled programs kept whole."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pandas as pd
import pytest

from shorematch import runtime
from shorematch.doctor import run_doctor
from shorematch.files.defects import InputError
from tests.danish import write_danish

HAS_GPU = Path("/dev/nvidia0").exists()


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "shorematch", *map(str, arguments)],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_gpu_that_is_asked_for_and_missing_is_an_error_before_anything_is_read(tmp_path):
    with pytest.raises(
        InputError, match=r"--device gpu: JAX finds no GPU .* install jax\[cuda12\]"
    ):
        runtime.start("gpu")
    done = run("solve", tmp_path / "none.toml", "--out", tmp_path / "out", "--device", "gpu")
    assert done.returncode == 1
    assert "JAX finds no GPU" in done.stderr
    assert "none.toml" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="this machine has no NVIDIA GPU (/dev/nvidia0)")
def test_a_gpu_gives_the_numbers_of_the_cpu(tmp_path):
    path = write_danish(tmp_path)
    for device in ("cpu", "gpu"):
        done = run("solve", path, "--out", tmp_path / device, "--device", device,
                   "--no-figures", JAX_PLATFORMS="")  # fmt: skip
        assert done.returncode == 0, done.stderr
    cpu, gpu = (pd.read_csv(tmp_path / device / "workers.csv") for device in ("cpu", "gpu"))
    pd.testing.assert_frame_equal(cpu, gpu, rtol=1e-10)
    manifest = json.loads((tmp_path / "gpu/manifest.json").read_text())
    assert "--device" in manifest["command"]
    assert "gpu" in manifest["machine"]["device"]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of compiled programs for one test, with one program in it."""
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("SHOREMATCH_CACHE", str(tmp_path))
    runtime.start()
    jax.experimental.compilation_cache.compilation_cache.reset_cache()
    jax.jit(lambda x: jnp.sin(x) + tmp_path.stat().st_ino)(1.0)
    yield runtime.cache_folder()
    jax.config.update("jax_compilation_cache_dir", before)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()


@pytest.mark.usefixtures("own_cache")
def test_programs_that_a_killed_process_left_half_written_are_removed_at_the_next_start():
    whole = {path: path.read_bytes() for path in runtime.kept_programs()}
    assert whole
    for path, data in whole.items():
        for size in {0, 1, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:size])
            runtime.start()
            assert not path.exists()
        path.write_bytes(data)
    runtime.start()
    assert {path: path.read_bytes() for path in runtime.kept_programs()} == whole


@pytest.mark.usefixtures("own_cache")
def test_programs_found_whole_are_not_read_again():
    program = runtime.kept_programs()[0]
    os.utime(program, (1e9, 1e9))
    program.write_bytes(program.read_bytes()[:100])
    os.utime(program, (1e9, 1e9))  # as old as before the last start
    runtime.start()
    assert program.exists()


def test_doctor_clears_the_cache_and_nothing_else(own_cache, capsys):
    mine = own_cache / "mine.txt"
    mine.write_text("mine")
    count = len(runtime.kept_programs())
    assert run_doctor(clear_cache=True) == 0
    assert f"{count} compiled programs removed" in capsys.readouterr().out
    assert mine.read_text() == "mine"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.clear_caches()
        jax.jit(lambda x: jnp.cos(x) + 1.0)(1.0)
    assert runtime.kept_programs()
