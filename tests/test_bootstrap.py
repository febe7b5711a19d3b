"""Bootstrap draws are what the estimator finds in the resampled rows, and say when they fail."""

import numpy as np
import pytest

from estimation import (
    estimate_affinity,
    estimate_with_wages,
    make_basis,
    sample_moments,
    simulate_matches,
)
from matching import solve_equilibrium

SEED = 3


def resampled(clusters, draw=0):
    """The rows of a draw, and labels of their clusters, each copy one of its own."""
    labels = np.unique(clusters, return_inverse=True)[1]
    count = labels.max() + 1
    rng = np.random.default_rng([SEED, *b"bootstrap"])
    for _ in range(draw + 1):
        drawn = rng.integers(0, count, count)
    rows = [np.flatnonzero(labels == cluster) for cluster in drawn]
    return np.concatenate(rows), np.repeat(np.arange(count), [len(part) for part in rows])


# ---------------------------------------------------------------- affinity


def test_a_draw_of_the_affinity_is_the_estimate_of_its_rows_with_its_own_sandwich():
    """Of some types a draw holds no row at all."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    y += 0.4 * x
    weights, firm = rng.uniform(0.5, 2.0, 80), rng.permutation(80) // 3
    found = estimate_affinity(x, y, weights, clusters=firm, draws=2, studentised=True, seed=SEED)
    for draw in range(2):
        rows, labels = resampled(firm, draw)
        again = estimate_affinity(x[rows], y[rows], weights[rows], clusters=labels)
        np.testing.assert_allclose(found.bootstrap.values[draw], again.values, rtol=1e-9)
        np.testing.assert_allclose(
            found.bootstrap.covariances[draw], again.vcov("sandwich"), rtol=1e-8
        )


def test_draws_of_the_affinity_spread_as_the_sandwich_says():
    """2,000 pairs of seven types a side; 400 draws leave 3.5 % of error in a spread."""
    rng = np.random.default_rng(2)
    levels = np.linspace(-1.0, 1.0, 7)
    pi = np.exp(0.8 * np.outer(levels, levels))
    cell = rng.choice(49, size=2000, p=(pi / pi.sum()).ravel())
    found = estimate_affinity(levels[cell // 7], levels[cell % 7], draws=400, studentised=True)
    assert not found.bootstrap.failed.any()
    ratio = found.std_errors("bootstrap") / found.std_errors("sandwich")
    assert ratio[0] == pytest.approx(1.0, abs=0.15)
    drawn, error = found.bootstrap.values[:, 0], found.std_errors("sandwich")[0]
    t = (drawn - found.values[0]) / np.sqrt(found.bootstrap.covariances[:, 0, 0])
    low, high = np.quantile(t, [0.025, 0.975])
    # the table shows another kind of error; that of draws is the sandwich
    expected = found.values[0] - error * np.array([high, low])
    np.testing.assert_allclose(found.confint()[0], expected, rtol=1e-12)


def test_too_few_draws_for_percentiles_leave_the_intervals_of_standard_errors():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 100))
    alone = estimate_affinity(x, y)
    few, enough = (estimate_affinity(x, y, draws=draws, seed=SEED) for draws in (38, 39))
    np.testing.assert_array_equal(few.confint(), alone.confint())
    assert "38 bootstrap draws are too few for 95 % intervals" in few.notes[-1]
    np.testing.assert_array_equal(enough.confint(), enough.confint(kind="percentile"))
    assert enough.notes == alone.notes


def test_draws_without_the_rows_that_tell_a_parameter_fail_and_leave_no_error():
    """Two rows of thirty differ in a dummy; where neither is drawn, nothing is sorted on it."""
    rng = np.random.default_rng(4)
    x = np.column_stack([rng.normal(size=30), np.arange(30) < 2])
    y = 0.5 * x[:, 0] + rng.normal(size=30)
    found = estimate_affinity(x, y, draws=40, seed=SEED)
    alike = [np.ptp(x[resampled(np.arange(30), draw)[0], 1]) == 0 for draw in range(40)]
    np.testing.assert_array_equal(found.bootstrap.failed, alike)
    assert 0.05 < np.mean(alike) < 0.3
    assert np.all(np.isnan(found.std_errors()))
    assert np.all(np.isnan(found.confint()))
    assert "of the bootstrap draws failed" in found.certificate.doubts[0]


def test_draws_that_are_sorted_without_exception_fail():
    """Of 40 pairs in nearly the same order on both sides many draws have no finite estimate."""
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 40)
    found = estimate_affinity(x, x + 0.05 * rng.normal(size=40), draws=8, studentised=True)
    assert found.bootstrap.failed.mean() > 0.05
    assert np.all(np.isnan(found.std_errors()))
    assert np.all(np.isnan(found.confint()))


# ---------------------------------------------------------------- matches and wages


def test_a_draw_of_the_likelihood_is_the_estimate_of_its_rows_with_its_own_sandwich():
    rng = np.random.default_rng(5)
    x = rng.normal(size=150).round(1)
    y = (0.5 * x + rng.normal(size=150)).round(1)
    wages = 0.5 * x + 0.3 * y + 0.2 * x * y - 0.1 * y**2 + 0.3 * x**2 + rng.normal(size=150)
    basis = make_basis(["y", "x*y"], ["x", "x*y"], workers=["x"], jobs=["y"])
    firm = rng.permutation(150) // 2
    found = estimate_with_wages(
        wages, {"x": x}, {"y": y}, basis, clusters=firm, draws=2, studentised=True, seed=SEED
    )
    rows, labels = resampled(firm, 1)
    again = estimate_with_wages(
        wages[rows], {"x": x[rows]}, {"y": y[rows]}, basis, clusters=labels
    )  # fmt: skip
    assert not found.bootstrap.failed.any()
    drawn, covariance = found.bootstrap.values[1], found.bootstrap.covariances[1]
    error = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(drawn / error, again.values / error, atol=1e-7)
    known = np.isfinite(again.std_errors())
    assert known.sum() >= 4
    np.testing.assert_allclose(error[known], again.std_errors()[known], rtol=1e-6)


def test_draws_in_which_a_term_does_not_vary_fail():
    """Two rows of sixty have a dummy."""
    rng = np.random.default_rng(6)
    x, noise, error = rng.normal(size=(3, 60))
    y, few = 0.5 * x + noise, (np.arange(60) < 2) * 1.0
    wages = 0.5 * x + 0.3 * y + 0.2 * x * y - 0.1 * y**2 + 0.3 * x**2 + 0.4 * few + error
    basis = make_basis(["y"], ["x", "few", "x*y"], workers=["x", "few"], jobs=["y"])
    found = estimate_with_wages(
        wages, {"x": x, "few": few}, {"y": y}, basis, draws=20, studentised=True, seed=SEED
    )
    alike = [few[resampled(np.arange(60), draw)[0]].sum() == 0 for draw in range(20)]
    assert any(alike)
    assert np.all(found.bootstrap.failed[alike])
    assert np.all(np.isfinite(found.bootstrap.values[~found.bootstrap.failed]))


# ---------------------------------------------------------------- moments


def test_a_draw_of_moments_is_that_of_its_rows_with_their_covariance(danish_2006):
    data = simulate_matches(solve_equilibrium(danish_2006), 2_000, seed=1, wage_error=3.0)
    home = data.origin == 0
    rows = [data.worker_type[home], data.firm_type[home], data.wage[home]]
    types = danish_2006.home.skills, danish_2006.firms.characteristics
    pairs = np.arange(2_000) // 2
    found = sample_moments(*types, *rows, clusters=pairs, draws=2, studentised=True, seed=SEED)
    which, labels = resampled(pairs, 1)
    again = sample_moments(*types, *(column[which] for column in rows), clusters=labels)
    flat = np.concatenate([np.ravel(value) for value in again.data.values()])
    np.testing.assert_allclose(found.draws[1], flat, rtol=1e-12)
    np.testing.assert_allclose(found.draw_covariances[1], again.covariance, atol=1e-18, rtol=1e-9)
