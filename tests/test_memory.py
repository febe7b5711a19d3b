"""Where memory runs out in the middle of work, blocks are halved and the work goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shorematch.runtime import control_group_limits

LIMITED = """
import logging, resource, sys
from dataclasses import replace

import numpy as np

from matching import Status, choose_kernel, make_economy, make_firms, make_origin
from matching import solve_equilibrium
from shorematch import runtime

runtime.start()
logging.basicConfig(stream=sys.stdout, format="%(message)s")
values, mass = np.linspace(0.0, 1.0, 3000), np.full(3000, 1.0 / 3000)
economy = make_economy([make_origin(values, mass, constant=2.0)], make_firms(values, mass),
                       affinity=1.0, lambda_x=1.0, lambda_y=1.0, intensity_unit="density")
kernel = replace(choose_kernel(economy, "streamed"), block=3000)  # as if more had been free
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000,) * 2)
print(Status(int(solve_equilibrium(economy, kernel=kernel).status)).name)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_where_memory_runs_out_blocks_halve_and_the_solution_is_certified():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == "memory ran out; going on with 1500 worker types at a time"
    assert last == "CERTIFIED"


@pytest.mark.parametrize(
    ("line", "folder", "file"),
    [
        ("0::/slurm/job_7/step_0", "sys/fs/cgroup/slurm/job_7", "memory.max"),
        ("4:cpuset,memory:/slurm/job_7", "sys/fs/cgroup/memory/slurm/job_7",
         "memory.limit_in_bytes"),
        ("4:memory:/gone", "sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ],
)  # fmt: skip
def test_limits_of_a_job_above_the_process_are_found(tmp_path, line, folder, file):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"2:cpu:/\n{line}\n")
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / file).write_text("4000000000\n")
    if folder != "sys/fs/cgroup/memory":
        (tmp_path / folder).parent.joinpath(file).write_text("max\n")
    assert control_group_limits(tmp_path) == [4_000_000_000]
