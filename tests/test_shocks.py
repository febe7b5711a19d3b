"""Shocks: what each kind of change does, and what a file of shocks may say."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from counterfactuals import Change, Shock, apply_shock
from matching import InvalidInput, get_parameter, solve_equilibrium
from shorematch.files.defects import InputError
from shorematch.files.economy_file import read_economy
from shorematch.scenarios.counterfactual import economies_under, read_scenarios
from tests.danish import edited, write_danish


@pytest.fixture
def loaded(tmp_path):
    return read_economy(write_danish(tmp_path))


def shocked(economy, *changes):
    return apply_shock(economy, Shock("test", tuple(Change(*change) for change in changes)))


def written(tmp_path, text, loaded):
    path = tmp_path / "shocks.toml"
    path.write_text(text, encoding="utf-8")
    return economies_under(read_scenarios(path, loaded), loaded.economy)


def test_designs_of_many_points_are_sent_to_sweep(tmp_path, loaded):
    with pytest.raises(InputError, match=r"shocks\.toml, key design: .* with shorematch sweep"):
        written(tmp_path, 'economy = "economy.toml"\n[[design]]\nname = "a"\n', loaded)


@pytest.mark.parametrize(
    ("kind", "value", "expected"), [("set", 3.0, 3.0), ("add", 1, -3.51), ("multiply", 2.0, -9.02)]
)
def test_a_number_is_set_added_or_multiplied(loaded, kind, value, expected):
    after = shocked(loaded.economy, ("origin.denmark.nu_x", kind, value))
    assert float(after.home.nu_x) == pytest.approx(expected, abs=1e-14)
    changed_back = replace(after, origins=(loaded.economy.home, after.origins[1]))
    for a, b in zip(jax.tree.leaves(changed_back), jax.tree.leaves(loaded.economy), strict=True):
        np.testing.assert_array_equal(a, b)


def test_arrays_change_element_by_element_and_a_number_changes_all_elements(loaded):
    mass = np.asarray(loaded.economy.firms.mass)
    added = shocked(loaded.economy, ("firms.mass", "add", [0.1, 0.0, -0.1]))
    np.testing.assert_array_equal(added.firms.mass, mass + np.array([0.1, 0.0, -0.1]))
    doubled = shocked(loaded.economy, ("firms.mass", "multiply", 2))
    np.testing.assert_array_equal(doubled.firms.mass, 2 * mass)
    per_type = shocked(loaded.economy, ("origin.denmark.outside_option", "set", [1, 2, 3, 4]))
    np.testing.assert_array_equal(per_type.home.outside_option, [1.0, 2.0, 3.0, 4.0])


def test_the_order_of_changes_is_of_no_account_and_equal_copies_the_shocked_value(loaded):
    changes = [
        ("origin.china.constant", "equal", "origin.denmark.constant"),
        ("origin.denmark.constant", "add", 10.0),
    ]
    for order in (changes, changes[::-1]):
        after = shocked(loaded.economy, *order)
        assert float(after.origins[1].constant) == float(after.home.constant) == 217.90


def test_an_intensity_on_either_side_or_the_constant_moves_wages_but_not_matches(loaded):
    closed = shocked(loaded.economy, ("origin.china.nu_x", "set", -800.0))
    scale, delta = float(closed.lambda_x), 0.7
    by_workers, by_firms, by_output = (
        solve_equilibrium(shocked(closed, (f"origin.denmark.{name}", "add", step)))
        for name, step in (("nu_x", delta), ("nu_y", delta), ("constant", scale * delta))
    )  # λ_x = λ_y: the same step on both sides
    for other in (by_firms, by_output):
        np.testing.assert_allclose(other.matches[0], by_workers.matches[0], rtol=1e-11)
        gap = other.wages[0] - by_workers.wages[0]
        np.testing.assert_allclose(gap, scale * delta, rtol=1e-10)


def test_all_defects_of_a_shock_are_reported_together(loaded):
    with pytest.raises(InvalidInput) as caught:
        shocked(
            loaded.economy,
            ("origin.denmark.constnat", "add", 1.0),
            ("technology.affinity", "add", [1.0, 2.0]),
            ("tastes.lambda_x", "multiply", 0.0),
            ("tastes.lambda_y", "set", "small"),
            ("firms.mass", "multiply", -1.0),
            ("origin.china.nu_x", "equal", "origin.chine.nu_x"),
            ("origin.china.nu_y", "raise", 1.0),
            ("firms.outside_option", "set", True),
            ("firms.characteristics", "set", [[1.0, 2.0]]),
            ("origin.denmark.skills", "equal", "technology.affinity"),
        )
    parts = ["did you mean 'origin.denmark.constant'", "shape (2,)", "lambda_x: is 0.0",
             "'small'", "firms.mass: is negative", "did you mean 'origin.china.nu_x'",
             "'raise' is unknown", "True", "firms.characteristics: set has shape (1, 2)",
             "origin.denmark.skills: equal has shape (1, 1)"]  # fmt: skip
    for part in parts:
        assert part in str(caught.value)
    assert len(caught.value.defects) == len(parts)


def test_changes_that_contradict_or_chain_are_refused(loaded):
    with pytest.raises(InvalidInput, match="changed more than once"):
        shocked(loaded.economy, ("tastes.lambda_x", "add", 1.0), ("tastes.lambda_x", "set", 1.0))
    with pytest.raises(InvalidInput, match="copies from elsewhere"):
        shocked(
            loaded.economy,
            ("origin.china.constant", "equal", "origin.denmark.constant"),
            ("origin.denmark.constant", "equal", "origin.denmark.outside_option"),
        )


def test_shocks_apply_under_jit_and_have_derivatives(loaded):
    def constant(step):
        after = shocked(loaded.economy, ("origin.denmark.constant", "set", 0.0))
        return get_parameter(after, "origin.denmark.constant") + step

    assert float(jax.grad(constant)(1.0)) == 1.0


def test_a_shocks_file_means_what_it_says(tmp_path, loaded):
    scenarios = written(
        tmp_path,
        """
        [[shock]]
        name = "c_F = 0"
        origin.china.constant = { equal = "origin.denmark.constant" }
        [[shock]]
        name = "two at once"
        technology.affinity = { multiply = 2.0 }
        tastes.lambda_x = 20
        [[shock]]
        name = "whole name"
        "origin.denmark.nu_x" = { add = 1.0 }
        """,
        loaded,
    )
    assert list(scenarios) == ["c_F = 0", "two at once", "whole name"]
    first, second, third = scenarios.values()
    assert float(first.origins[1].constant) == 207.90
    assert float(second.affinity[0, 0]) == 151.1
    assert float(second.lambda_x) == 20.0
    assert float(third.home.nu_x) == pytest.approx(-3.51)


def test_origins_may_bear_names_with_dots_and_of_changes(tmp_path):
    text = edited("economy.toml", '"china"', '"low.wage"').replace('"denmark"', '"add"')
    loaded = read_economy(write_danish(tmp_path, economy=text))
    text = '[[shock]]\nname="s"\norigin."low.wage".nu_x = 0.0\norigin.add.nu_x = {add = 1.0}\n'
    economy = written(tmp_path, text, loaded)["s"]
    assert float(economy.origins[1].nu_x) == 0.0
    assert float(economy.home.nu_x) == pytest.approx(-3.51)


def test_every_defect_of_a_shocks_file_is_reported_with_its_shock(tmp_path, loaded):
    with pytest.raises(InputError) as caught:
        written(
            tmp_path,
            """
            [[shock]]
            name = "baseline"
            tastes.lambda_x = 1.0
            [[shock]]
            name = "nothing"
            [[shock]]
            name = "typo"
            origin.china.constnat = { add = 1.0 }
            technology.affinity = { mutliply = 2.0 }
            [[shock]]
            name = "text"
            tastes.lambda_y = { add = "1" }
            """,
            loaded,
        )
    for part in (
        "shock #1: another scenario bears the name 'baseline'",
        "shock #2: changes nothing",
        "shock #3",
        "did you mean 'origin.china.constant'",
        "did you mean 'multiply'",
        "shock #4",
        "not '1'",
    ):
        assert part in str(caught.value)
    assert len(caught.value.defects) == 5
