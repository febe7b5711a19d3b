import os

# Two cores at most and float64 throughout; set before JAX is first imported.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def danish_2006():
    """The shipped economy of 2006."""
    from shorematch.denmark import economy_path
    from shorematch.economy_file import read_economy

    return read_economy(economy_path(2006)).economy


@pytest.fixture(scope="session")
def danish_1996():
    """The shipped economy of 1996."""
    from shorematch.denmark import economy_path
    from shorematch.economy_file import read_economy

    return read_economy(economy_path(1996)).economy
