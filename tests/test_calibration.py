"""Calibration: published estimates from published aggregates, and exactness everywhere."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimation import Aggregates, calibrate
from matching import InvalidInput, solve_equilibrium, statistics, with_parameter
from shorematch.denmark.published import AGGREGATES, ESTIMATES, INTERVALS_2006
from tests.economies import Shape, random_economy

# E(wage) of the published counterfactual table, baseline, 2006
MEAN_WAGE_2006 = 147.42


def aggregates_of(equilibrium):
    """What a statistician would report about this equilibrium."""
    table = {key: float(jnp.sum(value)) for key, value in jax.jit(statistics)(equilibrium).items()}
    foreign = len(equilibrium.economy.origins) > 1
    keys = ("unemployment_rate", "mean_wage_home", "wage_share")
    keys += ("offshoring_rate", "mean_wage_foreign") if foreign else ()
    return Aggregates(**{key: table[key] for key in keys})


def forgotten(economy):
    """The economy without its constants and intensities."""
    zero = jnp.zeros(())
    origins = tuple(replace(o, constant=zero, nu_x=zero, nu_y=zero) for o in economy.origins)
    return replace(economy, origins=origins)


def test_published_estimates_of_2006_follow_from_the_published_aggregates(danish_2006):
    """C within 0.5 %, C* within 2 %, every ν inside its published interval."""
    data = AGGREGATES[2006]
    result = calibrate(
        forgotten(danish_2006),
        Aggregates(
            unemployment_rate=data["unemployment_rate"],
            mean_wage_home=MEAN_WAGE_2006,
            wage_share=data["wage_share"],
            offshoring_rate=data["offshoring_rate"],
            mean_wage_foreign=data["mean_wage_foreign"],
        ),
    )
    home, foreign = result.economy.origins
    published = ESTIMATES[2006]
    assert float(home.constant) == pytest.approx(published["constant"], rel=0.005)
    assert float(foreign.constant) == pytest.approx(published["constant_foreign"], rel=0.02)
    found = {"nu_x": home.nu_x, "nu_y": home.nu_y,
             "nu_x_foreign": foreign.nu_x, "nu_y_foreign": foreign.nu_y}  # fmt: skip
    for name, (low, high) in INTERVALS_2006.items():
        assert low < float(found[name]) < high, name
    assert result.max_gap < 1e-12


def test_every_restriction_is_met_by_an_independent_solver(danish_1996):
    """The other solver, on the calibrated economy alone, finds the aggregates to 1e-9."""
    data = AGGREGATES[1996]
    wanted = Aggregates(
        data["unemployment_rate"], 134.0, data["wage_share"],
        data["offshoring_rate"], data["mean_wage_foreign"],
    )  # fmt: skip
    economy = calibrate(forgotten(danish_1996), wanted).economy
    equilibrium = solve_equilibrium(economy, "ipfp")
    table = jax.jit(statistics)(equilibrium)
    for key, value in vars(wanted).items():
        assert float(table[key]) == pytest.approx(value, rel=1e-9), key
    assert float(table["mean_profit_foreign"]) == pytest.approx(
        float(table["mean_profit_home"]), rel=1e-9
    )


# λ_x ≠ λ_y, several dimensions, both units of intensity, outside options per type, one origin;
# seeds whose equilibrium is one that a statistician could report
CASES = [
    (1, Shape((6,), 4, 2, 2, True, "cell")),
    (4, Shape((6,), 4, 2, 2, True, "cell")),
    (2, Shape((8, 7), 9, 2, 1, True, "density")),
    (5, Shape((8, 7), 9, 2, 1, True, "density")),
]


@pytest.mark.parametrize(("seed", "shape"), CASES)
def test_an_economy_is_found_again_from_its_own_aggregates(seed, shape):
    """Home's C, ν_x, ν_y return exactly; abroad the matches do, profits being set to home's."""
    truth = random_economy(seed, shape)
    equilibrium = solve_equilibrium(truth)
    result = calibrate(forgotten(truth), aggregates_of(equilibrium))
    for name in ("constant", "nu_x", "nu_y"):
        found, true = getattr(result.economy.home, name), getattr(truth.home, name)
        assert float(found) == pytest.approx(float(true), abs=1e-6 * float(truth.scale)), name
    for found, true in zip(result.equilibrium.matches, equilibrium.matches, strict=True):
        np.testing.assert_allclose(found, true, atol=1e-7 * float(true.max()))


def test_the_assumed_mass_of_firms_moves_nu_y_and_hardly_the_constant(danish_2006):
    """From |ḡ| = 1.0155 to 2, C moves by 0.3 % and ν_y by 3.3 (the model's documentation)."""
    wanted = Aggregates(0.0391, MEAN_WAGE_2006, 0.6786, 0.0155, 56.513)
    mass = danish_2006.firms.mass
    few = calibrate(danish_2006, wanted).economy.home
    many = calibrate(
        with_parameter(danish_2006, "firms.mass", mass * 2.0 / mass.sum()), wanted
    ).economy.home
    assert float(few.nu_y - many.nu_y) == pytest.approx(3.3, abs=0.1)
    assert abs(float(many.constant / few.constant) - 1) < 0.004


def test_each_number_names_what_it_rests_on(danish_2006):
    result = calibrate(danish_2006, Aggregates(0.0391, MEAN_WAGE_2006, 0.6786, 0.0155, 56.513))
    assert set(result.rests_on) == {
        f"origin.{o.name}.{key}"
        for o in danish_2006.origins
        for key in ("constant", "nu_x", "nu_y")
    }
    foreign = danish_2006.origins[1].name
    assert "E(r*) = E(r)" in result.rests_on[f"origin.{foreign}.constant"]
    assert "assumed mass of firms" in result.rests_on["origin.denmark.nu_y"]


def test_aggregates_that_no_parameters_can_meet_are_refused_together(danish_2006):
    with pytest.raises(InvalidInput) as caught:
        calibrate(danish_2006, Aggregates(3.91, MEAN_WAGE_2006, 67.86, None, 56.513))
    assert [text.split(":")[0] for text in caught.value.defects] == [
        "offshoring_rate", "wage_share", "unemployment_rate",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="foreign workers would be hired"):
        calibrate(danish_2006, Aggregates(0.0391, MEAN_WAGE_2006, 0.6786, 0.9, 56.513))
    with pytest.raises(InvalidInput, match="matches would be made by a mass"):
        calibrate(danish_2006, Aggregates(0.0001, MEAN_WAGE_2006, 0.6786, 0.0160, 56.513))
