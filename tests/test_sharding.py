"""One economy on several devices and in several processes: the same equilibrium, little talk."""

import math
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from matching import choose_kernel
from tests.test_kernels import _economy

SAME = 1e-12
DEVICES = 4

_START = """
import sys
import jax
import numpy as np
from shorematch import runtime
runtime.start()
from matching import sharding, solve_equilibrium, statistics
from tests.test_kernels import _economy

def economy():
    return _economy(1203, 401, SKILLS, 10.0 / SKILLS)
"""

_ON_DEVICES = """
import matching.solve
assert jax.device_count() == 4
alone = solve_equilibrium(economy(), kernel="low rank")
program = matching.solve._compiled

def noting(*arguments, **options):
    with open(sys.argv[1] + ".hlo", "w") as file:
        file.write(program.lower(*arguments, **options).compile().as_text())
    return program(*arguments, **options)

matching.solve._compiled = noting
shared = sharding.solve_sharded(economy(), kernel="low rank")
assert shared.kernel == "low rank" and int(shared.status) == 0
assert len(shared.log_unmatched[0].sharding.device_set) == 4
for one, other in zip(alone.log_unmatched, shared.log_unmatched):
    np.testing.assert_allclose(np.asarray(other)[: len(one)], one, atol=1e-12)
"""

_IN_PROCESSES = """
port, number = int(sys.argv[2]), int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=number)
assert jax.process_count() == 2
shared = sharding.solve_sharded(economy(), kernel="low rank")
"""

_ANSWER = """
table = jax.jit(statistics)(shared)
values = [np.asarray(table[key]) for key in sorted(table)]
np.savez(sys.argv[1], statistics=np.hstack(values), firms=np.asarray(shared.log_unmatched_firms))
"""


def start(code, skills, *arguments, flags=""):
    code = _START.replace("SKILLS", str(skills)) + code + _ANSWER
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}".strip()}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]


@pytest.fixture(scope="module", params=[1, 2])
def on_devices(request, tmp_path_factory):
    """Skills; answer and program of four simulated devices, checked against one device."""
    out = tmp_path_factory.mktemp("devices") / "answer.npz"
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    finish(start(_ON_DEVICES, request.param, out, flags=flags))
    return request.param, np.load(out), (out.parent / "answer.npz.hlo").read_text()


def test_several_devices_give_the_equilibrium_of_one(on_devices):
    _, answer, _ = on_devices
    assert np.isfinite(answer["firms"]).all()


def test_several_processes_give_the_equilibrium_of_several_devices(on_devices, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    skills, answer, _ = on_devices
    outs = [tmp_path / f"{number}.npz" for number in range(2)]
    processes = [start(_IN_PROCESSES, skills, out, port, number) for number, out in enumerate(outs)]
    try:
        for process in processes:
            finish(process)
    finally:
        for process in processes:
            process.kill()
    for out in outs:
        for key, values in answer.items():
            np.testing.assert_allclose(np.load(out)[key], values, atol=SAME, rtol=SAME)


def test_an_iteration_communicates_no_more_than_products_of_features(on_devices):
    skills, _, program = on_devices
    table = choose_kernel(_economy(1203, 401, skills, 10.0 / skills), "low rank").table
    products = math.prod(group.rank for group in table.left)
    assert products < 300  # of 401 firms
    bodies = in_loops(program)
    sizes = [size for body in bodies for size in communicated(body)]
    assert sizes  # the parts do meet
    assert max(sizes) <= 2 * products  # two: both ends of the certificate at once
    gathered = [line for body in bodies for line in body if "all-gather" in line]
    assert not gathered


def in_loops(program):
    """The lines of every computation that a while loop runs."""
    blocks = re.split(r"\n\n", program)
    lines = {re.match(r"(?:ENTRY )?%?([\w.\-]+)", block.strip()).group(1): block.splitlines()
             for block in blocks if "{" in block}  # fmt: skip
    found, waiting = {}, re.findall(r"(?:body|condition)=%?([\w.\-]+)", program)
    while waiting:
        name = waiting.pop()
        if name not in found and name in lines:
            found[name] = lines[name]
            waiting += re.findall(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)",
                                  "\n".join(lines[name]))  # fmt: skip
    assert found
    return list(found.values())


def communicated(lines):
    """Numbers in each array that devices exchange."""
    kinds = r" (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    for line in lines:
        if re.search(kinds, line):
            shapes = re.findall(r"[a-z]+\d*\[([\d,]*)\]", re.split(kinds, line)[0])
            yield from (int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes)
