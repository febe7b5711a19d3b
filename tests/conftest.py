import os
from pathlib import Path

# Set before JAX is first imported. Test processes, and the commands that they start, share what
# they compile; it stays for the next run, as a user's own does.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is compiling, which takes an eighth as long without optimisation and with
# the older of XLA's two emitters of fused loops.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)
os.environ.setdefault("SHOREMATCH_CACHE", str(Path(__file__).parents[1] / ".pytest_cache/programs"))

import jax
import pytest

from shorematch import runtime

runtime.start()
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def danish_2006():
    """The shipped economy of 2006."""
    from shorematch.denmark import economy_path
    from shorematch.files.economy_file import read_economy

    return read_economy(economy_path(2006)).economy


@pytest.fixture(scope="session")
def danish_1996():
    """The shipped economy of 1996."""
    from shorematch.denmark import economy_path
    from shorematch.files.economy_file import read_economy

    return read_economy(economy_path(1996)).economy


@pytest.fixture(autouse=True, scope="module")
def _fewer_programs():
    """Programs take parts of memory by the dozen, of which Linux allows a process 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
