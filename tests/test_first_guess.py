"""Where solvers begin, and the half steps by which they fit one side."""

import jax.numpy as jnp
import numpy as np
import pytest

from matching import make_economy, make_firms, make_origin, solve_equilibrium
from matching.first_guess import first_guess
from matching.half_step import half_step
from matching.market import log_demands, market_of


def _economy(types, constant, theta, masses=(1.0, 1.0), reach=2.0):
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-0.5, 0.5, (2, types, 1))
    f, g = (total / types * np.ones(types) for total in masses)
    return make_economy(
        [make_origin(x, f, constant=constant)], make_firms(y, g), affinity=2.0 * reach,
        lambda_x=theta, lambda_y=1.0 - theta, intensity_unit="density",
    )  # fmt: skip


def _guess(economy):
    market = market_of(economy)
    of_workers, _ = log_demands(market)
    return first_guess(market, of_workers(jnp.zeros_like(market.mass_y)))


@pytest.mark.parametrize("theta", [0.01, 0.4, 0.5, 0.9])
@pytest.mark.parametrize("masses", [(1.0, 1.0), (3.0, 1.0), (1.0, 50.0)])
@pytest.mark.parametrize("constant", [-30.0, 0.0, 3.0, 100.0])
def test_of_one_type_a_side_the_guess_is_the_equilibrium(theta, masses, constant):
    economy = _economy(1, constant, theta, masses)
    guess = jnp.log(masses[1]) + _guess(economy) / (1.0 - theta)
    (true,) = solve_equilibrium(economy).log_unmatched_firms
    np.testing.assert_allclose(guess, true, rtol=0.01, atol=0.5)


@pytest.mark.parametrize(("kernel", "most"), [("dense", 15), ("low rank", 6)])
def test_few_iterations_are_left_where_few_are_unmatched(kernel, most):
    equilibrium = solve_equilibrium(_economy(400, 10.0, 0.3), kernel=kernel)
    assert jnp.exp(equilibrium.log_unmatched[0]).sum() < 1e-4
    # from where all are unmatched it takes 24 and more
    assert equilibrium.iterations <= most


def test_home_and_foreign_workers_are_told_apart(danish_2006):
    true = solve_equilibrium(danish_2006).potentials
    # Chinese workers, as many as Danes, hardly match: were all alike, the level would be −2.8
    assert true.min() < _guess(danish_2006) < true.max() + 0.2


@pytest.mark.parametrize("theta", [1e-6, 1e-3, 0.01, 0.099, 0.1, 0.3, 0.5, 0.7, 0.999, 1 - 1e-6])
def test_half_steps_meet_margins_to_rounding_whatever_the_scales(theta):
    p = np.concatenate([np.linspace(-700.0, 700.0, 2001), np.linspace(-20.0, 20.0, 2001)])
    s = np.asarray(half_step(jnp.asarray(p), jnp.asarray(theta)), dtype=np.longdouble)
    single, match = s / np.longdouble(theta), p + s
    margin = np.logaddexp(single, match)
    slope = np.exp(single - margin) / np.longdouble(theta) + np.exp(match - margin)
    np.testing.assert_array_less(np.abs(margin / slope), 1e-13 * (1.0 + np.abs(p)))
