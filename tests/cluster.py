"""A Dask cluster of real processes, for tests and benchmarks of sweeps; also a worker's preload.

A worker started with ``--preload tests.cluster`` fails at the points whose change is ``POISON``:
it raises, or with ``POISON_KILLS`` in its environment ends as a killed process does.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

POISON = 7.125


@contextmanager
def cluster(folder, workers, **environment):
    """Scheduler and workers as processes: its address, its process, those of the nannies."""
    env = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"} | environment
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    python = [sys.executable, "-m"]
    where = ["--host", "127.0.0.1", "--no-dashboard"]
    command = [*python, "distributed.cli.dask_scheduler", *where, "--port", address.split(":")[1]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env,
             "start_new_session": True}  # fmt: skip
    scheduler = subprocess.Popen(command, **quiet)
    command = [*python, "distributed.cli.dask_worker", address, *where, "--nthreads", "1",
               "--preload", "tests.cluster", "--local-directory", str(folder)]  # fmt: skip
    nannies = [subprocess.Popen(command, **quiet) for _ in range(workers)]
    try:
        host, port = address.split(":")
        while True:
            try:
                socket.create_connection((host, int(port)), 1.0).close()
                break
            except OSError:
                time.sleep(0.05)
        yield address, scheduler, nannies
    finally:
        for process in (*nannies, scheduler):  # a nanny that has lost its scheduler never ends
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill_worker(nanny):
    """Kill the worker of a nanny, which will start another; whether there was one."""
    import psutil

    for child in psutil.Process(nanny.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has just died
            if "spawn_main" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
                return True
    return False


def dask_setup(_worker):
    """What a worker does first."""
    from shorematch.sweeps import workers as sweep_workers

    solve = sweep_workers.solve_points

    def solve_or_fail(economy, work, size):
        if any((axis.values == POISON).any() for design in work for axis in design.axes):
            if "POISON_KILLS" in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("this point is poison")
        return solve(economy, work, size)

    sweep_workers.solve_points = solve_or_fail
