"""Joint minimum distance: the truth from any start, right errors, and nothing said that is open."""

from dataclasses import replace

import numpy as np
import pytest

from estimation import (
    MOMENTS,
    SampleMoments,
    estimate_minimum_distance,
    sample_moments,
    simulate_matches,
)
from matching import InvalidInput, get_parameter, solve_equilibrium

SAMPLED = ["cross_moments", "mean_wage_by_worker", "mean_wage_by_firm", "unemployment_by_worker"]
AGGREGATES = ["offshoring_rate", "mean_wage_foreign", "wage_share", "profit_ratio"]
FREE = ["technology.affinity", "tastes.lambda_x", "tastes.lambda_y"] + [
    f"origin.{name}.{key}" for name in ("denmark", "china") for key in ("constant", "nu_x", "nu_y")
]
TRUTH = [75.55, 18.78, 18.78, 207.90, -4.51, -2.79, 119.94, -7.57, -6.99]


@pytest.fixture(scope="module")
def equilibrium(danish_2006):
    return solve_equilibrium(danish_2006)


@pytest.fixture(scope="module")
def aggregates(equilibrium):
    return {name: np.asarray(MOMENTS[name](equilibrium)) for name in AGGREGATES}


def moments_of(economy, equilibrium, **options):
    """Moments of 100,000 workers."""
    data = simulate_matches(equilibrium, 100_000, seed=2006, wage_error=3.0)
    home = data.origin == 0
    return sample_moments(
        economy.home.skills, economy.firms.characteristics, data.worker_type[home],
        data.firm_type[home], data.wage[home], **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sample(danish_2006, equilibrium):
    return moments_of(danish_2006, equilibrium)


@pytest.fixture(scope="module")
def found(danish_2006, sample, aggregates):
    return estimate_minimum_distance(danish_2006, FREE, sampled=sample, known=aggregates, starts=3)


def of_free(found, values):
    return np.array([v for v, status in zip(values, found.status, strict=True) if status == "free"])


def test_noiseless_moments_return_the_truth_from_19_of_20_random_starts(danish_2006, equilibrium):
    known = {name: np.asarray(MOMENTS[name](equilibrium)) for name in SAMPLED + AGGREGATES}
    found = estimate_minimum_distance(danish_2006, FREE, known=known, starts=20, seed=1)
    assert found.certificate.verdict == "CERTIFIED"
    assert sum(one.agrees for one in found.minima) >= 19
    for one in found.minima:
        near = np.allclose(of_free(found, one.values), TRUTH, rtol=1e-6)
        assert near or not one.agrees  # the rest are flagged
    assert np.all(np.isnan(found.std_errors()))  # nothing sampled, nothing known of errors


def test_parameters_lie_within_three_standard_errors_and_the_model_is_not_rejected(found):
    gaps = of_free(found, found.values) - TRUTH
    assert found.certificate.verdict == "CERTIFIED"
    assert np.all(np.abs(gaps) < 3 * of_free(found, found.std_errors()))
    assert found.over_identification[1] == 35 - 9
    assert found.j_p_value > 0.001
    np.testing.assert_allclose(
        [float(get_parameter(found.economy, name).sum()) for name in FREE],
        of_free(found, found.values), rtol=1e-12,
    )  # fmt: skip


def test_sensitivity_is_what_a_moment_does_to_the_estimates(
    danish_2006, equilibrium, sample, aggregates
):
    """From moments that the model meets, the mean wage of the lowest skill up a tenth of an øre."""
    exact = replace(
        sample, data={name: np.array(MOMENTS[name](equilibrium)) for name in sample.data}
    )
    before = estimate_minimum_distance(danish_2006, FREE, sampled=exact, known=aggregates, starts=1)
    exact.data["mean_wage_by_worker"][0] += 0.001
    after = estimate_minimum_distance(danish_2006, FREE, sampled=exact, known=aggregates, starts=1)
    place = before.fit.names.index("mean_wage_by_worker.0")
    np.testing.assert_allclose(
        of_free(before, after.values - before.values),
        0.001 * of_free(before, before.sensitivity[:, place]), rtol=0.01,
    )  # fmt: skip


def test_draws_fit_their_own_moments_and_spread_as_errors_say(danish_2006, equilibrium, aggregates):
    """60 draws leave 9 % of error in a spread; the weighting is the sample's in all of them."""
    sample = moments_of(danish_2006, equilibrium, draws=60, studentised=True, seed=3)
    sample.draws[7, -1] = np.nan  # as where a type is in no row of the draw
    found = estimate_minimum_distance(danish_2006, FREE, sampled=sample, known=aggregates, starts=1)
    drawn = found.bootstrap
    np.testing.assert_array_equal(drawn.failed, np.arange(60) == 7)
    kept = ~drawn.failed
    free = np.array([status == "free" for status in found.status])
    errors = found.std_errors()[free]
    np.testing.assert_allclose(drawn.values[kept][:, free].std(0) / errors, 1.0, atol=0.32)
    of_draws = np.sqrt(np.einsum("bkk->bk", drawn.covariances[kept]))[:, free]
    np.testing.assert_allclose(of_draws.mean(0) / errors, 1.0, atol=0.1)
    for name, place in zip(FREE, np.flatnonzero(free), strict=True):
        economies = np.asarray(get_parameter(drawn.economies, name)).reshape(60)
        np.testing.assert_allclose(economies, drawn.values[:, place], rtol=1e-14)
    # the first draw's moments as if they were the data
    ends = np.cumsum([value.size for value in sample.data.values()])[:-1]
    data = {
        name: part.reshape(value.shape)
        for (name, value), part in zip(
            sample.data.items(), np.split(sample.draws[0], ends), strict=True
        )
    }
    first = replace(sample, data=data, draws=None, draw_covariances=None)
    again = estimate_minimum_distance(danish_2006, FREE, sampled=first, known=aggregates, starts=1)
    gaps = (drawn.values[0] - again.values)[free] / again.std_errors()[free]
    np.testing.assert_allclose(gaps, 0.0, atol=1e-6)
    fixed = found.status.index("fixed")  # varies in no draw
    np.testing.assert_array_equal(found.confint()[fixed], 2 * [found.values[fixed]])


def test_cents_for_kroner_change_no_t_statistic(danish_2006, found, sample, aggregates):
    money = {"mean_wage_by_worker", "mean_wage_by_firm", "mean_wage_foreign"}
    unit = np.concatenate([
        np.full(value.size, 100.0 if name in money else 1.0) for name, value in sample.data.items()
    ])  # fmt: skip
    in_cents = SampleMoments(
        {name: value * (100.0 if name in money else 1.0) for name, value in sample.data.items()},
        sample.covariance * np.outer(unit, unit), sample.observations,
    )  # fmt: skip
    origins = tuple(
        replace(o, constant=100 * o.constant, outside_option=100 * o.outside_option)
        for o in danish_2006.origins
    )
    firms = replace(danish_2006.firms, outside_option=100 * danish_2006.firms.outside_option)
    economy = replace(
        danish_2006, origins=origins, firms=firms, affinity=100 * danish_2006.affinity,
        lambda_x=100 * danish_2006.lambda_x, lambda_y=100 * danish_2006.lambda_y,
    )  # fmt: skip
    known = {name: value * (100.0 if name in money else 1.0) for name, value in aggregates.items()}
    again = estimate_minimum_distance(economy, FREE, sampled=in_cents, known=known, starts=1)
    t, t_again = (of_free(one, one.values / np.where(one.std_errors() > 0, one.std_errors(), 1.0))
                  for one in (found, again))  # fmt: skip
    np.testing.assert_allclose(t_again, t, rtol=1e-8)


def test_without_wages_the_scales_stay_open_and_are_named(danish_2006, sample):
    """Matches alone say Φ/λ, not Φ and λ: no error, no estimate, no economy."""
    only = ["cross_moments", "unemployment_by_worker"]
    size = [sample.data[name].size for name in sample.data]
    kept = np.concatenate([
        np.full(k, name in only) for name, k in zip(sample.data, size, strict=True)
    ])  # fmt: skip
    matches = SampleMoments(
        {name: sample.data[name] for name in only}, sample.covariance[np.ix_(kept, kept)],
        sample.observations,
    )  # fmt: skip
    free = ["technology.affinity", "tastes.lambda_x", "origin.denmark.nu_x", "origin.denmark.nu_y"]
    found = estimate_minimum_distance(
        danish_2006, free, sampled=matches, tied={"tastes.lambda_y": "tastes.lambda_x"}, starts=1
    )
    assert found["tastes.lambda_y"] == found["tastes.lambda_x"]
    assert found.certificate.verdict != "CERTIFIED"
    assert "not identified: no moment moves along" in " ".join(found.certificate.doubts)
    assert {"origin.denmark.nu_x", "origin.denmark.nu_y"} <= found.identification.names
    assert found.economy is None
    rows = {row["parameter"]: row for row in found.tidy()}
    for name in ("origin.denmark.nu_x", "origin.denmark.nu_y"):
        assert np.isnan(rows[name]["estimate"])
    for name in ("affinity.skill.productivity", "tastes.lambda_x", "tastes.lambda_y"):
        assert np.isnan(rows[name]["std_error"])


def test_a_parameter_at_a_bound_has_no_error_and_is_said(danish_2006, sample, aggregates):
    found = estimate_minimum_distance(
        danish_2006, FREE, sampled=sample, known=aggregates, starts=1,
        bounds={"tastes.lambda_x": (10.0, 19.0)},
    )  # fmt: skip
    place = found.names.index("tastes.lambda_x")
    assert found.values[place] == pytest.approx(19.0, rel=1e-5)
    assert found.status[place] == "at a bound"
    assert np.isnan(found.std_errors()[place])
    assert any("tastes.lambda_x is at a bound" in doubt for doubt in found.certificate.doubts)


def test_joint_intervals_are_wider_and_tables_carry_every_parameter(found):
    apart, together = found.confint(), found.confint(joint=True)
    known = found.std_errors() > 0
    assert np.all(together[known, 0] < apart[known, 0])
    assert np.all(together[known, 1] > apart[known, 1])
    assert "CERTIFIED" in found.summary()
    assert found.to_latex().count(r"\\") == len(found.names) + 1
    assert r"affinity.skill.productivity" in found.to_latex()


def test_errors_of_sample_moments_are_the_spread_over_samples(danish_2006, equilibrium):
    """200 samples of 5,000 workers; Monte Carlo leaves 5 % in each of 31 spreads."""
    draws = []
    for seed in range(200):
        data = simulate_matches(equilibrium, 5_000, seed, wage_error=3.0)
        home = data.origin == 0
        draws.append(sample_moments(
            danish_2006.home.skills, danish_2006.firms.characteristics, data.worker_type[home],
            data.firm_type[home], data.wage[home],
        ))  # fmt: skip
    values = np.array([np.concatenate([v.ravel() for v in one.data.values()]) for one in draws])
    errors = np.sqrt(np.mean([np.diag(one.covariance) for one in draws], axis=0))
    np.testing.assert_allclose(errors / values.std(axis=0), 1.0, atol=0.2)


def test_what_cannot_be_estimated_is_refused_together(danish_2006):
    with pytest.raises(InvalidInput) as caught:
        estimate_minimum_distance(
            danish_2006, ["tastes.lambda_z"], known={"wage_shares": 0.6},
            tied={"tastes.lambda_y": "tastes.lambda_x"},
        )  # fmt: skip
    text = str(caught.value)
    assert "tastes.lambda_x" in text
    assert "did you mean" in text.lower()
    assert "wage_shares" in text
    with pytest.raises(InvalidInput, match=r"mean_wage_by_worker: has shape \(2,\)"):
        estimate_minimum_distance(
            danish_2006, ["tastes.lambda_x"], known={"mean_wage_by_worker": [1.0, 2.0]}
        )
    with pytest.raises(InvalidInput, match="no row has type 1"):
        sample_moments([0.0, 1.0], [0.0], [0, 0], [0, 0], [1.0, 2.0])
