"""Implicit derivatives against Richardson-extrapolated central differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matching import get_parameter, parameter_names, solve_equilibrium, statistics
from matching.fixed_margins import solve_fixed_margins
from matching.parameters import with_parameter
from matching.statistics import mean_wage_home
from matching.statistics import welfare as total_welfare
from tests.economies import Shape, random_economy, stack

# The largest change of any output (a log, a share, money over λ) within a step.
_REACH = 0.02
_RELATIVE_ERROR = 1e-7


def _outputs(economy):
    """Everything a user may differentiate, in comparable units: logs, and statistics over λ."""
    eq = solve_equilibrium(economy, throw=False)
    table = statistics(eq)
    values = [jnp.ravel(table[key]) for key in ("mean_wage_home", "sd_wage_home")]
    population = sum(o.mass.sum() for o in economy.origins) + economy.firms.mass.sum()
    # per head: total welfare over 12 decades of mass is beyond finite differences
    values.append(jnp.ravel(table["welfare"] / population))
    shares = [jnp.ravel(table[key]) for key in ("unemployment_rate", "wage_share", "sorting")]
    return jnp.concatenate(
        [
            *(jnp.ravel(log_pi) for log_pi in eq.log_matches),
            *eq.log_unmatched,
            eq.log_unmatched_firms,
            *(value / economy.scale for value in values),
            *shares,
        ]
    )


def _extrapolated(function, exact):
    """Sixth-order derivatives at 0 from central differences with steps h, h/2, h/4, for two h.

    The smaller leaves less of the function's bending, the larger of the noise in its digits.
    """
    reach = _REACH / jnp.max(jnp.abs(jnp.nan_to_num(exact)))
    steps = jnp.outer(jnp.minimum(jnp.array([1e-3, 1e-2]), reach), jnp.array([1.0, 0.5, 0.25]))
    # one program for all points
    up, down = jax.vmap(jax.vmap(jax.vmap(function)))(jnp.stack([steps, -steps]))
    coarse, middle, fine = jnp.moveaxis((up - down) / (2 * steps[..., None]), 1, 0)
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * second - first) / 15


def _with(tree, name, value):
    """Like ``with_parameter``, for directions, which are no economy."""
    old = get_parameter(tree, name)
    return jax.tree.map(lambda leaf: value if leaf is old else leaf, tree)


_SHAPES = [
    Shape((2, 3), 3, 2, 1, True, "cell"),
    Shape((4, 1), 2, 1, 2, False, "density"),
    Shape((2, 2, 1), 5, 2, 3, True, "density"),
]


@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_derivatives_in_every_input_equal_finite_differences(shape):
    economies = [random_economy(seed, shape) for seed in range(80)]
    solved = jax.jit(jax.vmap(partial(solve_equilibrium, throw=False)))(stack(economies))
    # differences say nothing of a level that is itself not known much better
    known = np.asarray(solved.wage_error_bound) <= 0.01 * _RELATIVE_ERROR
    economies = [economies[k] for k in np.flatnonzero(known)[:34]]
    assert len(economies) == 34
    batch = stack(economies)
    rng = np.random.default_rng(0)
    directions = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), batch)

    @jax.jit
    def both(batch, directions):
        def one(economy, direction):
            def moved(step):
                relative = lambda value, along: value * (1.0 + step * along)
                return _outputs(jax.tree.map(relative, economy, direction))

            exact = jax.jvp(moved, (0.0,), (1.0,))[1]
            return exact, _extrapolated(moved, exact)

        return jax.vmap(one)(batch, directions)

    still = jax.tree.map(jnp.zeros_like, directions)
    for name in parameter_names(economies[0]):
        # one input moves, all others stand still
        exact, numeric = both(batch, _with(still, name, get_parameter(directions, name)))
        scale = np.linalg.norm(exact, axis=1)
        error = np.linalg.norm(exact[:, None] - numeric, axis=2).min(1)
        # a direction that moves nothing (an option that is zero) has nothing to compare
        assert np.all(error <= _RELATIVE_ERROR * np.maximum(scale, 1e-6)), name


def test_forward_and_reverse_derivatives_agree_and_so_do_second_derivatives(danish_2006):
    def mean_wage(constant, nu):
        economy = with_parameter(danish_2006, "origin.china.constant", constant)
        economy = with_parameter(economy, "origin.denmark.nu_x", nu)
        return mean_wage_home(solve_equilibrium(economy, throw=False))

    at = (119.94, -4.51)
    forward = jax.jit(jax.jacfwd(mean_wage, argnums=(0, 1)))(*at)
    reverse = jax.jit(jax.jacrev(mean_wage, argnums=(0, 1)))(*at)
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    h = 1e-4
    slope = jax.jit(jax.grad(mean_wage))
    curvature = jax.jit(jax.grad(jax.grad(mean_wage)))(*at)
    numeric = (slope(at[0] + h, at[1]) - slope(at[0] - h, at[1])) / (2 * h)
    np.testing.assert_allclose(curvature, numeric, rtol=1e-6)


def test_the_derivative_of_welfare_in_affinity_is_the_cross_moment_of_all_matches(danish_2006):
    # envelope theorem: dW/dΦ = Σ_o Σ π_o x y'
    def welfare(affinity):
        economy = with_parameter(danish_2006, "technology.affinity", affinity)
        return total_welfare(solve_equilibrium(economy, throw=False))

    eq = solve_equilibrium(danish_2006)
    moment = sum(
        o.skills.T @ pi @ danish_2006.firms.characteristics
        for o, pi in zip(danish_2006.origins, eq.matches, strict=True)
    )
    np.testing.assert_allclose(jax.jit(jax.grad(welfare))(danish_2006.affinity), moment, rtol=1e-11)


def test_fixed_margin_derivatives_equal_finite_differences():
    rng = np.random.default_rng(1)
    log_affinity = jnp.asarray(rng.normal(size=(5, 4)))
    f, g = (jnp.asarray(rng.dirichlet(np.ones(k))) for k in (5, 4))
    direction = jnp.asarray(rng.normal(size=(5, 4)))
    shift = jnp.asarray([0.01, -0.02, 0.0, 0.03, -0.02])

    def solution(step):
        moved = solve_fixed_margins(
            log_affinity + step * direction, f + step * shift, g, throw=False
        )
        return jnp.concatenate(
            [jnp.ravel(moved.log_matches), moved.multiplier_x, moved.multiplier_y]
        )

    exact = jax.jit(lambda: jax.jvp(solution, (0.0,), (1.0,))[1])()
    numeric = jax.jit(partial(_extrapolated, solution))(exact)
    assert np.linalg.norm(exact[None] - numeric, axis=1).min() <= _RELATIVE_ERROR * np.linalg.norm(
        exact
    )
