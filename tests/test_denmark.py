"""The shipped Danish economies against the published table and aggregates."""

import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import ndtri

from matching import solve_equilibrium, statistics
from shorematch.denmark import FOLDER, SHOCKS_PATH, YEARS, economy_path
from shorematch.denmark.published import AGGREGATES, COUNTERFACTUALS_2006
from shorematch.denmark.recover import _weighted_gaps, danish_economy
from shorematch.files.economy_file import read_economy
from shorematch.scenarios.counterfactual import BASELINE, economies_under, read_scenarios

# Largest relative gap to a published number.
CELL = 0.005
GAPS = {
    2006: {"unemployment_rate": 0.01, "offshoring_rate": 0.02, "mean_wage_foreign": 0.01,
           "wage_share": 0.002},
    1996: {"unemployment_rate": 0.01, "offshoring_rate": 0.10, "mean_wage_foreign": 0.03,
           "wage_share": 0.003},
}  # fmt: skip


@jax.jit
@jax.vmap
def solved(economy):
    eq = solve_equilibrium(economy)
    return statistics(eq) | {"status": eq.status}


def table(economies):
    """Statistics by scenario, from one batch; every lane certified."""
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *economies.values())
    values = solved(batch)
    assert np.all(values["status"] == 0)
    return {
        name: {key: float(value[k]) for key, value in values.items()}
        for k, name in enumerate(economies)
    }


@pytest.fixture(scope="module")
def scenarios():
    """2006 under the shipped shocks, and 1996 unshocked."""
    loaded = read_economy(economy_path(2006))
    shocked = economies_under(read_scenarios(SHOCKS_PATH, loaded), loaded.economy)
    earlier = read_economy(economy_path(1996)).economy
    return table({BASELINE: loaded.economy} | shocked | {"1996": earlier})


@pytest.mark.parametrize("name", COUNTERFACTUALS_2006)
def test_every_cell_of_the_published_counterfactual_table_is_met(name, scenarios):
    for key, published in COUNTERFACTUALS_2006[name].items():
        assert scenarios[name][key] == pytest.approx(published, rel=CELL), key


@pytest.mark.parametrize("year", YEARS)
def test_the_published_aggregates_are_met_in_2006_and_out_of_sample_in_1996(year, scenarios):
    model = scenarios[BASELINE if year == 2006 else "1996"]
    for key, gap in GAPS[year].items():
        assert model[key] == pytest.approx(AGGREGATES[year][key], rel=gap), key


def test_the_shocks_file_holds_the_published_scenarios_and_no_other(scenarios):
    assert set(scenarios) == {*COUNTERFACTUALS_2006, "1996"}


def shape_of(economy):
    """The eleven numbers of the recovery's shape, read off an economy's types."""
    z, u = np.linspace(-1, 1, 10), (np.arange(10) + 0.5) / 10

    def tilt(mass):
        return np.polyfit(z, np.log(mass), 1)[0]

    def points(values):
        mean, sd = values.mean(), values.std()

        def gap(form):
            normality, skew = form
            v = (1 - normality) * 1.5 * z + normality * ndtri(u)
            v = v + skew * (v**2 - np.mean(v**2))
            return (v - v.mean()) / v.std() - (values - mean) / sd

        form = least_squares(gap, [1.2, 0.3], xtol=1e-15, ftol=1e-15, gtol=1e-15)
        return mean, sd, *form.x

    home, china = economy.origins
    return np.array(
        [
            *points(np.asarray(home.skills)[:, 0]),
            *points(np.asarray(economy.firms.characteristics)[:, 0]),
            *(tilt(mass) for mass in (home.mass, economy.firms.mass, china.mass)),
        ]
    )


@pytest.mark.parametrize("year", YEARS)
def test_the_files_hold_the_published_parameters_and_one_recovered_shape(
    year, danish_2006, danish_1996
):
    shipped = {1996: danish_1996, 2006: danish_2006}[year]
    rebuilt = danish_economy(year, shape_of(danish_2006))
    assert jax.tree.structure(rebuilt) == jax.tree.structure(shipped)
    for a, b in zip(jax.tree.leaves(rebuilt), jax.tree.leaves(shipped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_both_years_have_the_same_workers_and_the_files_say_that_types_are_recovered():
    files = [tomllib.loads(economy_path(year).read_text("utf-8")) for year in YEARS]
    for one, other in zip(*(file["origin"] for file in files), strict=True):
        assert one["types"] == other["types"]
    for year in YEARS:
        assert "recovered, not published" in economy_path(year).read_text("utf-8")
    assert (FOLDER / files[0]["origin"][0]["types"]).is_file()


def test_the_recovered_types_are_a_local_minimum_of_the_fit(danish_2006):
    slopes_and_gaps = jax.jit(
        jax.jacfwd(lambda shape: (gaps := _weighted_gaps(shape), gaps), has_aux=True)
    )
    shape = shape_of(danish_2006)
    slopes, gaps = slopes_and_gaps(shape)
    cosine = gaps @ slopes / (np.linalg.norm(slopes, axis=0) * np.linalg.norm(gaps))
    assert np.all(np.abs(cosine) <= 1e-6)
    for step in 1e-3 * np.vstack([np.eye(len(shape)), -np.eye(len(shape))]):
        assert np.linalg.norm(slopes_and_gaps(shape + step)[1]) > np.linalg.norm(gaps)
