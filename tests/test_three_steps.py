"""The slides' three steps: exact on noiseless data, right errors on sampled data, equation (10)."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from estimation import (
    Aggregates,
    ForeignSide,
    Market,
    calibrate,
    estimate_three_steps,
    offshored_matches,
    simulate_matches,
)
from matching import (
    InvalidInput,
    get_parameter,
    parameter_names,
    solve_equilibrium,
    solve_fixed_margins,
    statistics,
)

TRUTH = [75.55, 18.78, 18.78]


@pytest.fixture(scope="module")
def equilibrium(danish_2006):
    return solve_equilibrium(danish_2006)


def estimated(economy, data, **options):
    """The estimate from the home matches of simulated data."""
    home = (data.origin == 0) & (data.firm_type >= 0)
    if "clusters" in options:
        options["clusters"] = options["clusters"][home]
    return estimate_three_steps(
        economy.home.skills, economy.firms.characteristics, data.worker_type[home],
        data.firm_type[home], data.wage[home], **options,
    )  # fmt: skip


def exactly_estimated(economy, equilibrium, scale=1.0, **options):
    """The estimate from the equilibrium's own masses and wages."""
    pi = np.asarray(equilibrium.matches[0])
    worker, firm = (index.ravel() for index in np.indices(pi.shape))
    wages = scale * np.asarray(equilibrium.wages[0]).ravel()
    return estimate_three_steps(
        economy.home.skills, economy.firms.characteristics, worker, firm, wages, pi.ravel(),
        **options,
    )  # fmt: skip


def test_noiseless_data_and_aggregates_return_every_parameter(danish_2006):
    """The steps and the calibration after them: Φ, λ_x, λ_y, and C, ν_x, ν_y of both origins."""
    known = Aggregates(0.0391, 147.42, 0.6786, 0.0155, 56.513)
    truth = calibrate(danish_2006, known)
    found = exactly_estimated(danish_2006, truth.equilibrium)
    np.testing.assert_allclose(found.values, TRUTH, rtol=1e-9)
    assert found.r_squared == pytest.approx(1.0, abs=1e-12)
    blank = tuple(
        replace(o, constant=jnp.zeros(()), nu_x=jnp.zeros(()), nu_y=jnp.zeros(()))
        for o in danish_2006.origins
    )
    start = replace(
        danish_2006, origins=blank, affinity=jnp.asarray(found.affinity()),
        lambda_x=jnp.asarray(found["tastes.lambda_x"]),
        lambda_y=jnp.asarray(found["tastes.lambda_y"]),
    )  # fmt: skip
    for mine, theirs in zip(
        calibrate(start, known).economy.origins, truth.economy.origins, strict=True
    ):
        for field in ("constant", "nu_x", "nu_y"):
            assert float(getattr(mine, field)) == pytest.approx(
                float(getattr(theirs, field)), rel=1e-6
            )


def market_of(economy, equilibrium):
    """The aggregates of a Danish equilibrium."""
    table = {
        key: float(value)
        for key, value in jax.jit(statistics)(equilibrium).items()
        if value.ndim == 0
    }
    home, china = economy.origins
    abroad = ForeignSide(
        table["offshoring_rate"], table["mean_wage_foreign"], np.asarray(china.mass),
        float(china.outside_option), "china",
    )  # fmt: skip
    return Market(
        table["unemployment_rate"], table["wage_share"], abroad, float(home.outside_option),
        name="denmark", firm_mass=float(economy.firms.mass.sum()),
    )  # fmt: skip


def test_noiseless_matches_and_aggregates_return_the_whole_economy(danish_2006):
    """Of an equilibrium with E(r*) = E(r); nothing of it but home's matches and the aggregates."""
    economy = replace(
        danish_2006,
        lambda_x=jnp.asarray(0.6 * 18.78),
        lambda_y=jnp.asarray(1.4 * 18.78),
    )
    truth = calibrate(economy, Aggregates(0.0391, 147.42, 0.6786, 0.0155, 56.513))
    market = market_of(truth.economy, truth.equilibrium)
    found = exactly_estimated(truth.economy, truth.equilibrium, market=market)
    for name in parameter_names(truth.economy):
        np.testing.assert_allclose(
            get_parameter(found.economy, name), get_parameter(truth.economy, name), rtol=1e-8,
            atol=1e-12, err_msg=name,
        )  # fmt: skip
    assert found.names[1:] == (
        "tastes.lambda_x", "tastes.lambda_y", *market.rests_on, "cost_of_offshoring",
    )  # fmt: skip


def test_draws_are_estimates_of_resampled_clusters_and_spread_as_errors_say(
    danish_2006, equilibrium
):
    """200 draws leave 5 % of error in a spread; its own resampling is undone by hand."""
    data = simulate_matches(equilibrium, 50_000, seed=5, wage_error=3.0)
    pairs = np.arange(len(data.wage)) // 2
    market = market_of(danish_2006, equilibrium)
    found = estimated(
        danish_2006, data, clusters=pairs, market=market, draws=200, studentised=True, seed=3
    )
    assert not found.bootstrap.failed.any()
    drawn = found.bootstrap.values
    economies = np.column_stack([
        np.asarray(get_parameter(found.bootstrap.economies, name)).reshape(200)
        for name in ("technology.affinity", *found.names[1:-1])
    ])  # fmt: skip
    np.testing.assert_allclose(economies, drawn[:, :-1], rtol=1e-12)
    np.testing.assert_allclose(found.std_errors("bootstrap"), drawn.std(0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(drawn.std(0) / found.std_errors(), 1.0, atol=0.2)
    home = (data.origin == 0) & (data.firm_type >= 0)
    labels = np.unique(pairs[home], return_inverse=True)[1]
    rng = np.random.default_rng([3, *b"bootstrap"])
    count = labels.max() + 1
    times = np.bincount(rng.integers(0, count, count), minlength=count)[labels]
    rows = np.flatnonzero(home)[times > 0]
    first = estimate_three_steps(
        danish_2006.home.skills, danish_2006.firms.characteristics, data.worker_type[rows],
        data.firm_type[rows], data.wage[rows], times[times > 0],
    )  # fmt: skip
    np.testing.assert_allclose(drawn[0, :3], first.values, rtol=1e-8)
    # every copy of a pair is a cluster of its own
    home_rows = np.flatnonzero(home)
    copies = np.repeat(np.arange(len(home_rows)), times)
    number = np.concatenate([np.arange(t) for t in times])
    rows = home_rows[copies]
    copied = estimate_three_steps(
        danish_2006.home.skills, danish_2006.firms.characteristics, data.worker_type[rows],
        data.firm_type[rows], data.wage[rows], clusters=labels[copies] * 100 + number,
    )  # fmt: skip
    np.testing.assert_allclose(found.bootstrap.covariances[0, :3, :3], copied.vcov(), rtol=1e-6)
    t = (drawn - found.values) / np.sqrt(np.einsum("bkk->bk", found.bootstrap.covariances))
    low, high = np.percentile(t, [5.0, 95.0], axis=0)
    expected = found.values[:, None] - found.std_errors()[:, None] * np.stack([high, low], axis=1)
    np.testing.assert_allclose(found.confint(0.9), expected, rtol=1e-12)
    assert np.all(found.confint(0.9, "percentile") != found.confint(0.9))


def test_aggregates_that_no_economy_meets_are_refused_together(danish_2006, equilibrium):
    market = market_of(danish_2006, equilibrium)
    wrong = replace(market, wage_share=67.9, foreign=replace(market.foreign, offshoring_rate=0.9))
    with pytest.raises(InvalidInput) as caught:
        exactly_estimated(danish_2006, equilibrium, market=wrong)
    text = str(caught.value)
    assert "wage_share: is 67.9" in text
    assert "foreign workers would be hired" in text
    assert "matches would be made by a mass" in text


def test_all_parameters_lie_within_three_standard_errors_at_100_000_workers(
    danish_2006, equilibrium
):
    data = simulate_matches(equilibrium, 100_000, seed=2006, wage_error=3.0)
    found = estimated(danish_2006, data)
    assert found.certificate.verdict == "CERTIFIED"
    assert np.all(np.abs(found.values - TRUTH) < 3 * found.std_errors())


def test_scales_are_those_of_least_squares_with_errors_in_the_multipliers(danish_2006, equilibrium):
    """SciPy at its minimum; two steps stop within a tenth of a standard error of it."""
    data = simulate_matches(equilibrium, 100_000, seed=7, wage_error=3.0)
    found = estimated(danish_2006, data)
    share, wages = found.cells.matches, found.cells.mean_wages
    f, g = share.sum(1), share.sum(0)
    ratio = found.affinity() / (found["tastes.lambda_x"] + found["tastes.lambda_y"])
    x, y = danish_2006.home.skills, danish_2006.firms.characteristics
    solved = solve_fixed_margins(x @ ratio @ y.T, f, g)
    a, log_pi = np.asarray(solved.multiplier_x)[:, None], np.asarray(solved.log_matches)

    def residuals(at):
        lam, lam_x, constant = at[:3]
        alpha, beta = at[3 : 3 + len(f)], at[3 + len(f) :]
        gap = wages - lam * (a + alpha[:, None]) - constant
        gap = gap - lam_x * (log_pi - alpha[:, None] - beta)
        return np.concatenate([
            (np.sqrt(share) * gap).ravel(), 3.0 * np.sqrt(f) * alpha, 3.0 * np.sqrt(g) * beta
        ])  # fmt: skip

    start = np.r_[37.56, 18.78, 147.0, np.zeros(len(f) + len(g))]
    best = least_squares(residuals, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14).x
    scales = [best[1], best[0] - best[1]]
    assert np.all(np.abs(found.values[1:] - scales) < 0.1 * found.std_errors()[1:])


def test_standard_errors_are_the_spread_of_estimates(danish_2006, equilibrium):
    """60 samples of 20,000 workers: Monte Carlo leaves an error of 9 % in the spread."""
    draws = [
        estimated(danish_2006, simulate_matches(equilibrium, 20_000, seed, wage_error=3.0))
        for seed in range(60)
    ]
    spread = np.std([found.values for found in draws], axis=0)
    errors = np.mean([found.std_errors() for found in draws], axis=0)
    np.testing.assert_allclose(errors / spread, 1.0, atol=0.28)
    ends = np.array([found.confint() for found in draws])
    covered = (ends[:, :, 0] < TRUTH) & (ends[:, :, 1] > TRUTH)
    assert np.all(covered.sum(axis=0) >= 50)  # of 57 expected; 3.6 standard deviations of chance


def test_a_sample_too_small_for_the_scales_is_said_and_its_intervals_allow_for_it(
    danish_2006, equilibrium
):
    data = simulate_matches(equilibrium, 2_000, seed=3, wage_error=3.0)
    found = estimated(danish_2006, data)
    assert "the sample is small for the scales" in " ".join(found.certificate.doubts)
    ends = found.confint()
    assert np.all((ends[:, 0] < TRUTH) & (ends[:, 1] > TRUTH))
    assert np.all(ends[1:, 0] > 0)  # of the scales, in logs
    assert ends[0].mean() == pytest.approx(found.values[0] - found.bias[0], rel=1e-12)


def test_wages_that_say_nothing_of_the_scales_leave_no_error_at_all(danish_2006, equilibrium):
    data = simulate_matches(equilibrium, 2_000, seed=4)
    noise = replace(data, wage=100.0 + np.random.default_rng(0).normal(size=len(data.wage)))
    found = estimated(danish_2006, noise)
    assert {"tastes.lambda_x", "tastes.lambda_y"} & found.identification.names
    assert np.all(np.isnan(found.std_errors()))
    assert found.certificate.verdict == "DOUBTFUL"
    assert "hardly identified" in " ".join(found.certificate.doubts)


def test_errors_of_clusters_count_copies_once(danish_2006, equilibrium):
    """Each row twice, clustered by original, has the errors of each row once."""
    data = simulate_matches(equilibrium, 5_000, seed=1, wage_error=3.0)
    once = estimated(danish_2006, data)
    twice = {name: np.repeat(values, 2) for name, values in vars(data).items()}
    rows = np.repeat(np.arange(len(data.wage)), 2)
    copied = estimated(danish_2006, type(data)(**twice), clusters=rows)
    np.testing.assert_allclose(copied.values, once.values, rtol=1e-9)
    np.testing.assert_allclose(copied.std_errors(), once.std_errors(), rtol=1e-9)


def test_money_scales_all_three_alike(danish_2006, equilibrium):
    found = exactly_estimated(danish_2006, equilibrium, scale=100.0)
    np.testing.assert_allclose(found.values, 100.0 * np.array(TRUTH), rtol=1e-9)
    negative = exactly_estimated(danish_2006, equilibrium, scale=-1.0)
    assert negative.certificate.verdict == "DOUBTFUL"
    assert "tastes.lambda_x is estimated at -18.8" in negative.certificate.doubts[0]


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_equation_10_spreads_the_offshored_mass_as_the_equilibrium_does(danish_2006, share):
    """From home's matches and the rate alone; the scales need not be equal."""
    scale = float(danish_2006.scale)
    economy = replace(
        danish_2006,
        lambda_x=jnp.asarray(share * scale),
        lambda_y=jnp.asarray((1 - share) * scale),
    )
    solved = solve_equilibrium(economy)
    home, abroad = (np.asarray(pi) for pi in solved.matches)
    found = offshored_matches(
        home, solved.unmatched[0], economy.origins[1].mass, abroad.sum() / home.sum(), share
    )
    np.testing.assert_allclose(found, abroad, rtol=1e-11)


def test_what_the_types_or_the_masses_cannot_say_is_refused():
    with pytest.raises(InvalidInput) as caught:
        estimate_three_steps(
            [0.0, 1.0, 2.0], [0.0, 1.0], [0, 1, 0, -1], [0, 0, 0, 0], [1.0, np.nan, 1.0, 1.0]
        )
    text = str(caught.value)
    assert "worker_type: -1 in row 3 is no type" in text
    assert "firm_type: no match has type 1" in text
    assert "wages: are not finite" in text
    with pytest.raises(InvalidInput, match=r"0\.6 foreign workers would be hired, of 0\.5"):
        offshored_matches([[0.6]], [0.1], [0.5], rate=1.0, worker_share=0.5)
    with pytest.raises(InvalidInput, match="shapes"):
        offshored_matches([[0.6]], [0.1, 0.1], [0.5], rate=0.1, worker_share=0.5)
