"""The equilibrium against closed forms, a 50-digit reference, limits, and itself."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from matching import (
    InvalidInput,
    NotConverged,
    Status,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
    with_parameter,
)
from tests.economies import Shape, random_economy, random_shapes, stack
from tests.equilibrium_properties import BOUNDS, measure, solve
from tests.reference import reference_equilibrium


@pytest.mark.parametrize("shape", random_shapes(2, seed=38), ids=str)
def test_random_economies_meet_every_property(shape):
    worst = measure(stack([random_economy(seed, shape) for seed in range(105)]))
    assert not worst["unbounded"].any()
    assert worst["certified"].mean() > 0.5
    for name in BOUNDS.keys() & worst.keys():
        applies = np.isfinite(worst[name])
        assert np.all(worst[name][applies] <= BOUNDS[name]), name
        if name in ("margin", "accounting"):
            assert applies.all(), name


def _small_economies():
    shapes = [
        Shape((2,), 3, 1, 2, True, "cell"),
        Shape((2, 1), 2, 2, 1, False, "density"),
        Shape((1, 2, 1), 3, 2, 2, True, "cell"),
    ]
    return [random_economy(seed, shape) for shape in shapes for seed in range(16)]


@pytest.mark.parametrize("solver", ["newton", "ipfp"])
def test_the_proven_bounds_hold_against_fifty_digits(solver):
    certified = 0
    for economy in _small_economies():
        eq = solve_equilibrium(economy, solver, throw=False)
        if eq.status > Status.UNDETERMINED:
            assert solver == "ipfp"
            continue
        log_pi, log_f0, log_g0 = reference_equilibrium(eq)
        # 1e-15 of the value itself is what comparing two doubles costs
        slack = 1e-15 * (1 + np.abs(log_f0))
        error = np.abs(np.concatenate(eq.log_unmatched) - log_f0)
        assert np.all(error <= np.concatenate(eq.bound_workers) + slack)
        slack = 1e-15 * (1 + np.abs(log_g0))
        assert np.all(np.abs(eq.log_unmatched_firms - log_g0) <= eq.bound_firms + slack)
        if eq.status == Status.CERTIFIED:
            certified += 1
            np.testing.assert_allclose(np.concatenate(eq.log_matches), log_pi, rtol=0, atol=1e-8)
    assert certified >= 30


def test_one_type_a_side_solves_the_choo_siow_quadratic():
    rng = np.random.default_rng(3)
    for _ in range(50):
        n, m = rng.uniform(0.2, 2.0, 2)
        constant, w0, r0, nu_x, nu_y = rng.normal(size=5)
        lam = rng.uniform(0.5, 3.0)
        workers = make_origin(
            [0.0], [n], constant=constant, outside_option=w0, nu_x=nu_x, nu_y=nu_y
        )
        economy = make_economy(
            [workers],
            make_firms([0.0], [m], outside_option=r0),
            affinity=0.0,
            lambda_x=lam / 2,
            lambda_y=lam / 2,
        )
        mu = solve_equilibrium(economy).matches[0][0, 0]
        z = np.exp(2 * (constant - w0 - r0 + lam / 2 * (nu_x + nu_y)) / lam)
        assert abs((1 - z) * mu**2 + z * (n + m) * mu - z * n * m) <= 1e-12 * z * n * m


def test_sure_matches_leave_the_wage_level_undetermined_and_the_bound_says_so():
    def balanced(surplus: float):
        workers = make_origin([0.0, 1.0], [0.5, 0.5], constant=surplus)
        return make_economy(
            [workers], make_firms([0.0, 1.0], [0.5, 0.5]), affinity=0.1, lambda_x=0.5, lambda_y=0.5
        )

    bounds = []
    for surplus in (2.0, 20.0, 40.0):
        eq = solve_equilibrium(balanced(surplus))
        bounds.append(float(eq.wage_error_bound))
        _, log_f0, _ = reference_equilibrium(eq)
        assert np.all(np.abs(eq.log_unmatched[0] - log_f0) <= eq.bound_workers[0])
        assert eq.max_residual <= 1e-10
        assert (eq.status == Status.CERTIFIED) == (bounds[-1] <= 1e-8)
    assert bounds[0] <= 1e-12
    assert bounds[1] > 1e-8
    assert 1.0 < bounds[2] < 100.0


def test_a_hundredth_of_the_danish_taste_scale_is_solved_alike_by_both_solvers(danish_2006):
    small = with_parameter(danish_2006, "tastes.lambda_x", 0.1878)
    small = with_parameter(small, "tastes.lambda_y", 0.1878)
    newton, fitted = (solve_equilibrium(small, solver) for solver in ("newton", "ipfp"))
    for eq in (newton, fitted):
        assert eq.status == Status.CERTIFIED
        assert eq.iterations <= 500
    for origin in range(2):
        apart = np.abs(newton.log_unmatched[origin] - fitted.log_unmatched[origin])
        assert np.all(apart <= newton.bound_workers[origin] + fitted.bound_workers[origin])
    apart = np.abs(newton.log_unmatched_firms - fitted.log_unmatched_firms)
    assert np.all(apart <= newton.bound_firms + fitted.bound_firms)


def test_with_sure_matches_and_small_tastes_output_nears_the_best_assignment():
    rng = np.random.default_rng(5)
    skills, characteristics = rng.uniform(size=(6, 2)), rng.uniform(size=(6, 2))
    affinity = rng.normal(size=(2, 2))
    q = skills @ affinity @ characteristics.T
    best = q[linear_sum_assignment(q, maximize=True)].sum() / 6
    for lam in (1.0, 0.1, 0.01, 0.001):
        workers = make_origin(skills, np.full(6, 1 / 6), constant=50.0)
        economy = make_economy(
            [workers],
            make_firms(characteristics, np.full(6, 1 / 6)),
            affinity=affinity,
            lambda_x=lam / 2,
            lambda_y=lam / 2,
        )
        pi = solve_equilibrium(economy).matches[0]
        loss = best - np.sum(pi * q)
        assert -1e-12 <= loss <= lam * np.log(6)


def test_large_tastes_make_the_match_independent():
    workers = make_origin([0.0, 1.0], [0.4, 0.6], constant=3.0, nu_x=1.0)
    economy = make_economy(
        [workers], make_firms([0.0, 1.0, 2.0], [0.3, 0.3, 0.4]), affinity=5.0, lambda_x=1e9,
        lambda_y=1e9,
    )  # fmt: skip
    pi = solve_equilibrium(economy).matches[0]
    np.testing.assert_allclose(pi, np.outer(pi.sum(1), pi.sum(0)) / pi.sum(), rtol=1e-8)


def test_stopping_early_raises_and_is_never_reported_as_solved(danish_2006):
    for solver in ("newton", "ipfp"):
        with pytest.raises(NotConverged, match="max_iter") as caught:
            solve_equilibrium(danish_2006, solver, max_iter=1)
        assert caught.value.result.status == Status.NOT_CONVERGED
        assert solve_equilibrium(danish_2006, solver, max_iter=1, throw=False).status == 2


def test_masses_whose_products_leave_float64_are_refused_not_certified(danish_2006):
    for factor in (1e-300, 1e305):
        with pytest.raises(InvalidInput, match="state all masses in another unit"):
            with_parameter(danish_2006, "firms.mass", factor * danish_2006.firms.mass)


def test_a_start_of_another_shape_is_refused(danish_2006):
    with pytest.raises(InvalidInput, match=r"start: has shape \(3,\) where \(10,\) is needed"):
        solve_equilibrium(danish_2006, start=np.zeros(3))


def test_an_unknown_solver_is_named():
    with pytest.raises(InvalidInput, match="'simplex' is unknown"):
        solve_equilibrium(random_economy(0, random_shapes(1)[0]), "simplex")


@pytest.mark.parametrize("solver", ["newton", "ipfp"])
def test_a_bad_lane_spoils_no_other(solver):
    shape = Shape((4, 3), 5, 2, 1, True, "cell")
    economies = [random_economy(seed, shape) for seed in (1, 2, 4, 7)]
    poisoned = stack(economies)
    poisoned = replace(poisoned, lambda_x=poisoned.lambda_x.at[1].set(jnp.nan))
    impossible = poisoned.origins[0].constant.at[3].set(1e308)
    origins = (replace(poisoned.origins[0], constant=impossible), poisoned.origins[1])
    batch = solve(replace(poisoned, origins=origins), solver)
    assert batch.status[1] == Status.NOT_FINITE
    assert batch.status[3] != Status.CERTIFIED
    for lane in (0, 2):
        solo = solve_equilibrium(economies[lane], solver)
        assert batch.status[lane] == solo.status
        for a, b in zip(batch.log_matches, solo.log_matches, strict=True):
            np.testing.assert_allclose(a[lane], b, rtol=1e-12, atol=1e-12)


def test_types_without_mass_match_nobody_and_disturb_nobody(danish_2006):
    home = danish_2006.home
    padded = make_origin(
        np.append(home.skills[:, 0], 0.5),
        np.append(home.mass, 0.0),
        constant=home.constant,
        outside_option=home.outside_option,
        nu_x=home.nu_x,
        nu_y=home.nu_y,
        name=home.name,
    )
    with_ghost = replace(danish_2006, origins=(padded, *danish_2006.origins[1:]))
    for solver in ("newton", "ipfp"):
        ghost = solve_equilibrium(with_ghost, solver)
        plain = solve_equilibrium(danish_2006, solver)
        assert ghost.status == Status.CERTIFIED
        assert np.all(ghost.matches[0][-1] == 0.0)
        assert np.all(np.isnan(ghost.wages[0][-1]))
        np.testing.assert_allclose(ghost.log_matches[0][:-1], plain.log_matches[0], atol=1e-10)


def test_batches_and_solo_solutions_agree():
    shape = random_shapes(1, seed=2)[0]
    economies = [random_economy(seed, shape) for seed in range(6)]
    batch = solve(stack(economies))
    for lane, economy in enumerate(economies):
        solo = solve_equilibrium(economy, throw=False)
        np.testing.assert_allclose(batch.log_matches[0][lane], solo.log_matches[0], atol=1e-9)
        assert jax.tree.structure(solo) == jax.tree.structure(batch)
