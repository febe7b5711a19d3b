"""Properties that hold exactly: of shifted intensities, pooled origins, closed borders, masses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matching import (
    get_parameter,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
    solve_fixed_margins,
    with_parameter,
)

SKILLS = np.random.default_rng(0).uniform(size=(4, 2))


def economy(origins=3, lambda_x=0.7, lambda_y=1.9, unit="cell"):
    """Every origin on the same skill points, with masses and terms of its own."""
    rng = np.random.default_rng(1)
    workers = [
        make_origin(
            SKILLS,
            rng.uniform(0.1, 1.0, 4),
            constant=3.0 - k,
            outside_option=rng.normal(size=4),
            nu_x=rng.normal(),
            nu_y=rng.normal(),
            name=f"origin{k}",
        )
        for k in range(3)
    ]
    firms = make_firms(rng.uniform(size=(5, 1)), rng.uniform(0.1, 1.0, 5), outside_option=0.3)
    return make_economy(
        workers[:origins],
        firms,
        affinity=[[4.0], [-2.0]],
        lambda_x=lambda_x,
        lambda_y=lambda_y,
        intensity_unit=unit,
    )


def close(one, other, rtol=1e-11):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11)


@pytest.mark.parametrize("unit", ["cell", "density"])
@pytest.mark.parametrize("origin", [0, 1])
def test_wages_alone_tell_one_origins_intensities_and_constant_apart(origin, unit):
    base = economy(unit=unit)
    delta, lambda_x = 0.8, float(base.lambda_x)
    steps = {
        "nu_x": delta,
        "nu_y": delta * lambda_x / float(base.lambda_y),
        "constant": delta * lambda_x,
    }

    def solved(name):
        name, step = f"origin.origin{origin}.{name}", steps[name]
        return solve_equilibrium(with_parameter(base, name, get_parameter(base, name) + step))

    by_workers, by_firms, by_output = (solved(name) for name in steps)
    for eq in (by_firms, by_output):
        close(eq.log_matches, by_workers.log_matches)
        close(eq.log_unmatched, by_workers.log_unmatched)
        close(eq.log_unmatched_firms, by_workers.log_unmatched_firms)
    gain = np.zeros(3)
    gain[origin] = lambda_x * delta
    for k in range(3):
        close(by_firms.wages[k], by_output.wages[k])
        close(by_output.wages[k], by_workers.wages[k] + gain[k])
        close(by_output.profits[k], by_workers.profits[k])
        close(by_output.profits[k], by_firms.profits[k] + gain[k])


@pytest.mark.parametrize("unit", ["cell", "density"])
def test_origins_on_the_same_skills_are_one_fixed_margin_matching_and_a_split(unit):
    base = economy(unit=unit)
    pi = np.stack(solve_equilibrium(base).matches)
    f, g = pi.sum(2), pi.sum((0, 1))
    product = SKILLS @ base.affinity @ base.firms.characteristics.T
    pooled = solve_fixed_margins(product / base.scale, f.sum(0), g)
    close(pi.sum(0), pooled.matches)
    close(pi, (f / f.sum(0))[:, :, None] * np.asarray(pooled.matches))


@pytest.mark.parametrize(("name", "value"), [("constant", -1e4), ("nu_x", -2e4), ("nu_y", -8e3)])
def test_prohibitive_offshoring_is_the_closed_economy(name, value):
    closed = solve_equilibrium(economy(origins=1))
    base = economy()
    for k in (1, 2):
        base = with_parameter(base, f"origin.origin{k}.{name}", value)
    eq = solve_equilibrium(base)
    close(eq.log_matches[0], closed.log_matches[0])
    close(eq.wages[0], closed.wages[0])
    close(eq.log_unmatched_firms, closed.log_unmatched_firms)
    for k in (1, 2):
        close(eq.unmatched[k], base.origins[k].mass)


@jax.jit
@jax.vmap
def response(lambda_x, lambda_y):
    """``∂(λ_x log f0, λ_y log g0)/∂(f̄, ḡ)`` of all types, ``(17, 17)``."""
    base = replace(economy(), lambda_x=lambda_x, lambda_y=lambda_y)

    def values(masses):
        *workers, firms = jnp.split(masses, [4, 8, 12])
        moved = replace(
            base,
            origins=tuple(
                replace(o, mass=mass) for o, mass in zip(base.origins, workers, strict=True)
            ),
            firms=replace(base.firms, mass=firms),
        )
        eq = solve_equilibrium(moved)
        log_f0 = jnp.concatenate(eq.log_unmatched)
        return jnp.concatenate([lambda_x * log_f0, lambda_y * eq.log_unmatched_firms])

    masses = jnp.concatenate([*(o.mass for o in base.origins), base.firms.mass])
    return jax.jacobian(values)(masses)


def test_more_of_a_type_hurts_its_own_side_and_helps_the_other_whatever_the_scales():
    shares, scales = np.meshgrid([0.05, 0.3, 0.5, 0.95], [0.3, 1.0, 10.0])
    lambda_x = (shares * scales).ravel()
    matrices = np.asarray(response(lambda_x, scales.ravel() - lambda_x))
    for matrix in matrices:
        size = np.sqrt(np.diag(matrix))
        scaled = matrix / np.outer(size, size)
        np.testing.assert_allclose(scaled, scaled.T, rtol=0, atol=1e-12)
        assert np.linalg.eigvalsh(scaled).min() > 1e-6
        workers = np.arange(len(matrix)) < 12
        same_side = workers[:, None] == workers[None, :]
        assert np.all(np.where(same_side, matrix, -matrix) > 0)
