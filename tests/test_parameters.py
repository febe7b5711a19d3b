"""Parameters by name: what is put in comes out, and nothing else moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matching import (
    InvalidInput,
    get_parameter,
    make_economy,
    make_firms,
    make_origin,
    parameter_names,
    with_parameter,
)

ECONOMY = make_economy(
    [
        make_origin([[0.1, 1.0], [0.2, 2.0]], [0.3, 0.4], constant=5.0, nu_x=-0.5, name="home"),
        make_origin([[0.3, 3.0]], [0.6], constant=7.0, outside_option=[8.0], name="low.wage"),
    ],
    make_firms([[0.9, 1.1], [1.2, 1.3], [1.4, 1.5]], [1.6, 1.7, 1.8], outside_option=1.9),
    affinity=[[2.1, 2.2], [2.3, 2.4]],
    lambda_x=2.5,
    lambda_y=2.6,
)
NAMES = parameter_names(ECONOMY)


def test_the_names_are_those_of_economy_files_and_reach_every_array():
    assert {"tastes.lambda_x", "technology.affinity", "firms.outside_option"} <= set(NAMES)
    assert {"origin.home.nu_y", "origin.low.wage.constant"} <= set(NAMES)
    reached = {id(get_parameter(ECONOMY, name)) for name in NAMES}
    assert reached == {id(leaf) for leaf in jax.tree.leaves(ECONOMY)}


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_that_is_put_in_comes_out_and_no_other_moves(name):
    old = get_parameter(ECONOMY, name)
    for value in (old + jnp.arange(1.0, old.size + 1).reshape(old.shape), 0.25):
        new = with_parameter(ECONOMY, name, value)
        np.testing.assert_array_equal(get_parameter(new, name), np.broadcast_to(value, old.shape))
        back = with_parameter(new, name, old)
        assert jax.tree.structure(back) == jax.tree.structure(ECONOMY)
        for other in NAMES:
            before = get_parameter(ECONOMY, other)
            np.testing.assert_array_equal(get_parameter(back, other), before)
            if other != name:
                np.testing.assert_array_equal(get_parameter(new, other), before)


@pytest.mark.parametrize("call", [get_parameter, lambda e, name: with_parameter(e, name, 1.0)])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("origin.home.constnat", "origin.home.constant"),
        ("origin.low_wage.nu_x", "origin.low.wage.nu_x"),
        ("taste.lambda_y", "tastes.lambda_y"),
        ("technology.Affinity", "technology.affinity"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest_one(call, name, meant):
    with pytest.raises(InvalidInput, match=f"'{name}' does not exist.* did you mean '{meant}'"):
        call(ECONOMY, name)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("tastes.lambda_x", 0.0, "a taste scale is positive"),
        ("tastes.lambda_y", [1.0, 2.0], r"has shape \(2,\)"),
        ("technology.affinity", [[1.0], [2.0]], r"has shape \(3, 2\)"),
        ("firms.mass", [0.1, -0.1, 0.1], "is negative at type 1"),
        ("firms.mass", 0.0, "no positive mass"),
        ("firms.outside_option", [1.0, 2.0], r"has shape \(2,\)"),
        ("origin.home.nu_x", np.nan, "is not finite"),
        ("origin.low.wage.constant", np.inf, "is not finite"),
        ("origin.home.skills", [[1.0], [2.0]], r"has shape \(2, 1\)"),
        ("origin.home.mass", [0.1, 0.2, 0.3], r"has shape \(3,\)"),
    ],
)
def test_a_value_that_makes_no_economy_is_refused_by_name(name, value, problem):
    with pytest.raises(InvalidInput, match=problem) as caught:
        with_parameter(ECONOMY, name, jnp.asarray(value))
    group = "firms" if name.startswith("technology") else name
    assert any(defect.startswith(group) for defect in caught.value.defects)
