"""A batch gives each economy's own equilibrium, whatever else is in it, from one program."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matching import (
    InvalidInput,
    Status,
    batches,
    get_parameter,
    prediction,
    solve_batch,
    solve_equilibrium,
    with_parameter,
)

VARIED = (
    "technology.affinity", "tastes.lambda_x", "tastes.lambda_y", "firms.mass",
    "origin.denmark.constant", "origin.denmark.nu_x", "origin.china.constant", "origin.china.mass",
)  # fmt: skip
SAME = 1e-10  # two solutions, each certified far below this


def solution(eq):
    return jnp.concatenate([*eq.log_unmatched, eq.log_unmatched_firms]), eq.status, eq.iterations


def draws(economy, count, spread=0.2):
    """Economies whose parameters and masses are all drawn anew."""
    rng = np.random.default_rng(count)
    values = [get_parameter(economy, name) for name in VARIED]
    factors = [np.exp(spread * rng.normal(size=(count, *value.shape))) for value in values]

    def one(*factors):
        changed = economy
        for name, value, factor in zip(VARIED, values, factors, strict=True):
            changed = with_parameter(changed, name, value * factor)
        return changed

    return jax.vmap(one)(*map(jnp.asarray, factors))


def lane(economies, k):
    return jax.tree.map(lambda x: jnp.asarray(x[k]), economies)


@pytest.fixture(scope="module")
def solved(danish_2006):
    """Some economies and their equilibria, few lanes a chunk, so that there are many chunks."""
    before = batches._CACHE_BYTES
    batches._CACHE_BYTES = 64 * 8 * 200 * batches._MATRICES
    economies = draws(danish_2006, 500)
    yield economies, solve_batch(economies, solution)
    batches._CACHE_BYTES = before


def test_each_lane_is_certified_and_holds_the_equilibrium_of_its_economy_alone(solved):
    economies, (log_unmatched, status, _) = solved
    assert np.all(status == Status.CERTIFIED)
    for k in (0, 1, 250, 499):
        alone = solve_equilibrium(lane(economies, k), kernel="dense")
        np.testing.assert_allclose(log_unmatched[k], solution(alone)[0], atol=SAME)


def test_bad_lanes_change_no_other_and_say_so(solved):
    economies, (log_unmatched, _, _) = solved
    bad = {0: np.nan, 8: np.inf, 100: 1e300, 499: np.nan}
    constant = np.array(economies.home.constant)
    for k, value in bad.items():
        constant[k] = value
    home = replace(economies.home, constant=jnp.asarray(constant))
    spoilt = replace(economies, origins=(home, *economies.origins[1:]))
    values, status, _ = solve_batch(spoilt, solution)
    good = np.setdiff1d(np.arange(500), list(bad))
    assert not any(Status(code).converged for code in status[list(bad)])
    assert np.all(status[good] == Status.CERTIFIED)
    np.testing.assert_allclose(values[good], log_unmatched[good], atol=SAME)


def test_lanes_that_need_many_steps_are_finished_apart_from_those_that_need_few(solved):
    economies, (log_unmatched, _, iterations) = solved
    # a hundredth of the taste scale: continuation, and levels of wages that nothing determines
    hard = np.arange(3, 500, 50)
    factor = np.ones(500)
    factor[hard] = 0.01
    spoilt = replace(
        economies, lambda_x=economies.lambda_x * factor, lambda_y=economies.lambda_y * factor
    )
    values, status, steps = solve_batch(spoilt, solution)
    easy = np.setdiff1d(np.arange(500), hard)
    for k in hard[:2]:
        alone = solve_equilibrium(lane(spoilt, k), kernel="dense", throw=False)
        assert status[k] == alone.status
    assert np.all(steps[easy] <= iterations[easy].max() + 1)
    np.testing.assert_allclose(values[easy], log_unmatched[easy], atol=SAME)


def test_any_number_of_economies_is_solved_by_the_same_programs(solved):
    economies, (log_unmatched, _, _) = solved
    compiled = batches._program._cache_size()
    for count in (33, 120, 499):
        part = jax.tree.map(lambda x, count=count: x[:count], economies)
        np.testing.assert_allclose(solve_batch(part, solution)[0], log_unmatched[:count], atol=SAME)
    assert batches._program._cache_size() == compiled


def test_potentials_that_are_a_polynomial_of_what_varies_are_predicted_exactly():
    rng = np.random.default_rng(0)
    hidden, mixing = rng.normal(size=(400, 3)), rng.normal(size=(3, 12))
    numbers = 5.0 + hidden @ mixing
    a, b, c = hidden.T
    potentials = np.column_stack([1.0 + a**3 - 2.0 * a * b * c, b - c**2, a * b + c])
    nothing = prediction.no_prediction(12, 3, 300)
    fitted = prediction.fit_prediction(nothing, numbers[:300], potentials[:300])
    inside = np.all(np.abs(hidden[300:]) < 1.0, axis=1)  # where nothing is cut off
    for row, truth in zip(numbers[300:][inside], potentials[300:][inside], strict=True):
        found = prediction.predicted(fitted, jnp.asarray(row))
        np.testing.assert_allclose(found, truth, atol=1e-9)


def test_markets_far_out_do_not_bend_what_is_predicted_for_the_others():
    rng = np.random.default_rng(0)
    hidden, mixing = rng.normal(size=(3000, 3)), rng.normal(size=(3, 12))
    distance = np.abs(hidden).max(1)
    potentials = np.sin(hidden[:, :1]) - 5.0 * np.maximum(distance - 2.0, 0.0)[:, None]
    numbers, known = hidden @ mixing, slice(0, 1500)
    nothing = prediction.no_prediction(12, 1, 300)
    fitted = prediction.fit_prediction(nothing, numbers[known], potentials[known])
    found = jax.vmap(lambda row: prediction.predicted(fitted, row))(jnp.asarray(numbers[1500:]))
    error = np.abs(found - potentials[1500:])[:, 0]
    assert np.median(error) < 0.02  # 0.07 where all count the same


def test_an_economy_beyond_the_memory_is_refused_before_anything_is_allocated(danish_2006):
    types = 2_000_000
    home = danish_2006.home
    skills = np.broadcast_to(np.ones((1, 1, 1)), (1, types, 1))
    masses = np.broadcast_to(np.ones((1, 1)), (1, types))
    one = jax.tree.map(lambda x: np.asarray(x)[None], danish_2006)
    huge = replace(
        one,
        origins=(replace(home, skills=skills, mass=masses), *one.origins[1:]),
        firms=replace(one.firms, characteristics=skills, mass=masses),
    )
    with pytest.raises(InvalidInput, match=r"2,000,010 x 2,000,000 types takes .* GB are free"):
        solve_batch(huge, solution)
