"""Repeated types solved as one give the equilibrium of the whole, and its certificate."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matching import (
    Status,
    choose_kernel,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
    statistics,
)
from matching.repeated_types import expanded, merged_types
from shorematch.doctor import run_doctor
from shorematch.files.economy_file import write_economy
from tests.reference import reference_equilibrium


def register(unit, workers=(12, 9), firms=10, distinct=3, per_type=True):
    """Two origins and firms of ``distinct`` points a side; per cell masses are of two sizes."""
    rng = np.random.default_rng([firms, *workers])

    def masses(count):
        if unit == "density":
            return rng.uniform(0.2, 1.0, count) * np.append(0.0, np.ones(count - 1))
        return rng.choice([0.5, 1.0], count) / count

    def side(count, dimensions):
        points = rng.uniform(size=(distinct, dimensions))
        options = rng.normal(size=distinct)
        which = rng.permutation(np.arange(count) % distinct)
        return points[which], masses(count), options[which] if per_type else 0.3

    origins = []
    for k, count in enumerate(workers):
        skills, mass, option = side(count, 2)
        origins.append(
            make_origin(
                skills, mass, constant=1.0 - k, outside_option=option, nu_x=0.2, name=f"o{k}"
            )
        )
    characteristics, mass, option = side(firms, 1)
    return make_economy(
        origins,
        make_firms(characteristics, mass, outside_option=option),
        affinity=[[2.0], [-1.0]],
        lambda_x=0.4,
        lambda_y=0.9,
        intensity_unit=unit,
    )


def solved_as_one(economy):
    merged = merged_types(economy, least=0)
    return expanded(solve_equilibrium(merged.economy), economy, merged)


def assert_same_unmatched(one, other):
    for a, b in zip(one.log_unmatched, other.log_unmatched, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)
    np.testing.assert_allclose(one.log_unmatched_firms, other.log_unmatched_firms, atol=1e-11)


@pytest.mark.parametrize("unit", ["density", "cell"])
def test_merging_changes_no_number(unit):
    economy = register(unit)
    whole, as_one = solve_equilibrium(economy), solved_as_one(economy)
    assert as_one.status == whole.status == Status.CERTIFIED
    assert_same_unmatched(as_one, whole)
    if unit == "density":
        compiled = jax.jit(statistics)
        expected = compiled(whole)
        for key, value in compiled(as_one).items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-11, atol=1e-11, err_msg=key)
    for pi, products in zip(whole.matches, as_one.match_products, strict=True):
        cells = products.times(jnp.eye(10))
        np.testing.assert_allclose(cells, pi, rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(
            products.transposed_times(jnp.eye(len(pi))), cells.T, rtol=1e-14, atol=1e-15
        )


@pytest.mark.parametrize("unit", ["density", "cell"])
def test_the_certificate_of_distinct_types_holds_for_all(unit):
    economy = register(unit, (4, 3), 4, 2)
    positive = tuple(replace(o, mass=o.mass + 0.1) for o in economy.origins)
    firms = replace(economy.firms, mass=economy.firms.mass + 0.1)
    eq = solved_as_one(replace(economy, origins=positive, firms=firms))
    assert eq.status == Status.CERTIFIED
    _, log_f0, log_g0 = reference_equilibrium(eq)
    # 1e-15 of the value itself is what comparing two doubles costs
    slack = 1e-15 * (1 + np.abs(log_f0))
    error = np.abs(np.concatenate(eq.log_unmatched) - log_f0)
    assert np.all(error <= np.concatenate(eq.bound_workers) + slack)
    assert np.all(error <= 1e-11)
    slack = 1e-15 * (1 + np.abs(log_g0))
    assert np.all(np.abs(eq.log_unmatched_firms - log_g0) <= eq.bound_firms + slack)


def test_only_types_of_equal_terms_merge():
    per_density = merged_types(register("density"), least=0)
    assert [parts.count for parts in (*per_density.origins, per_density.firms)] == [3, 3, 3]
    per_cell = register("cell")
    merged = merged_types(per_cell, least=0)
    for side, parts in zip(
        (*per_cell.origins, per_cell.firms), (*merged.origins, merged.firms), strict=True
    ):
        points = side.characteristics if side is per_cell.firms else side.skills
        rows = np.column_stack([points, side.mass, side.outside_option])
        assert parts.count == len(np.unique(rows, axis=0)) > 3
    economy = register("density", per_type=False)
    options = jnp.arange(12) * 0.1, jnp.arange(9) * 0.1
    apart = tuple(
        replace(o, outside_option=option)
        for o, option in zip(economy.origins, options, strict=True)
    )
    alone = replace(economy.firms, outside_option=jnp.arange(10) * 0.1)
    assert merged_types(replace(economy, origins=apart, firms=alone), least=0) is None


def test_masses_of_merged_types_add_up_to_the_last_digit():
    rng = np.random.default_rng(0)
    mass = 10.0 ** rng.uniform(-12, 0, 20_000)
    point = rng.integers(2, size=len(mass))
    workers = make_origin(point.astype(float), mass, constant=1.0)
    economy = make_economy(
        [workers], make_firms([0.0, 1.0], [0.5, 0.5]), affinity=1.0, lambda_x=1.0, lambda_y=1.0,
        intensity_unit="density",
    )  # fmt: skip
    home = merged_types(economy, least=0).economy.home
    for skill, total in zip(home.skills[:, 0], home.mass, strict=True):
        exact = math.fsum(mass[point == skill])
        assert abs(total - exact) <= np.spacing(exact)


def test_large_markets_merge_unless_their_matrix_or_a_kernel_of_theirs_is_asked_for():
    economy = register("density", (1000, 500), 800, 5)
    merged = solve_equilibrium(economy)
    whole = solve_equilibrium(economy, kernel=choose_kernel(economy, "low rank"))
    assert merged.status == whole.status == Status.CERTIFIED
    assert merged.kernel == "dense"  # of the distinct types
    assert merged.all_matches.log_cells is None
    assert_same_unmatched(merged, whole)
    start = merged_types(economy).start(merged.potentials)
    again = solve_equilibrium(merged_types(economy).economy, start=start)
    assert again.iterations <= 2 < merged.iterations
    assert merged_types(register("density")) is None  # small
    inside = jax.jit(lambda e: merged_types(e) is None and e.scale)(economy)
    assert inside == economy.scale


def test_doctor_counts_distinct_types(tmp_path, capsys):
    path = write_economy(register("density", (1000, 500), 800, 5), tmp_path)
    assert run_doctor(path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "types: 1,500 worker types, 10 distinct, 800 firm types, 5 distinct" in said
    assert "kernel: dense: 50 cells are few" in said
