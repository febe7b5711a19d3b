"""The affinity matrix, its Fisher information and saliency, against closed forms and the JPE."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy.special import logsumexp

from estimation import estimate_affinity, saliency, standardise
from matching import InvalidInput, solve_fixed_margins

DATA = Path(os.environ.get("SHOREMATCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
COUPLES = DATA / "dupuy_galichon_2014_personality"
needs_couples = pytest.mark.skipif(not COUPLES.is_dir(), reason=f"no data at {COUPLES}")


@pytest.fixture(scope="module")
def couples():
    """Dupuy and Galichon's estimate on the 1,158 couples, and their Table 3."""
    table = pd.read_csv(COUPLES / "affinitymatrix.csv", index_col=0).iloc[:10, :10].to_numpy()
    assert table[2, 9] == 0.01
    table[2, 9] = -0.01  # BMI x risk: the file has lost the sign that the paper prints
    men, women = (pd.read_csv(COUPLES / f"{side}vals.csv").to_numpy(dtype=float) for side in "XY")
    return estimate_affinity(standardise(men).values, standardise(women).values), table


def gaussian_pairs(cov_x, cov_xy, cov_y, nodes):
    """Rows ``(x, y)`` and weights of a jointly normal pair on Gauss-Hermite nodes."""
    m, n = cov_xy.shape
    joint = np.block([[cov_x, cov_xy], [cov_xy.T, cov_y]])
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[points] * (m + n), indexing="ij"), -1).reshape(-1, m + n)
    base = np.prod(np.stack(np.meshgrid(*[weights] * (m + n), indexing="ij"), -1), axis=-1).ravel()
    # the density of the pair over that of independent standard normals, at the nodes
    log_ratio = -0.5 * np.einsum("ki,ij,kj->k", grid, np.linalg.inv(joint) - np.eye(m + n), grid)
    log_weight = np.log(base) + log_ratio
    return grid[:, :m], grid[:, m:], np.exp(log_weight - logsumexp(log_weight))


def test_quadratic_gaussian_affinity_is_recovered():
    """A = Σx⁻¹Σxy(Σy − Σxy'Σx⁻¹Σxy)⁻¹ (Bojilov and Galichon 2016), two skills, one characteristic.

    On product nodes log π is x'Ay plus functions of x and of y exactly, so A is met to rounding.
    """
    cov_x, cov_y = np.array([[1.0, 0.3], [0.3, 1.2]]), np.array([[0.9]])
    cov_xy = np.array([[0.35], [-0.2]])
    x, y, weights = gaussian_pairs(cov_x, cov_xy, cov_y, nodes=8)
    inverse = np.linalg.inv(cov_x)
    expected = inverse @ cov_xy @ np.linalg.inv(cov_y - cov_xy.T @ inverse @ cov_xy)
    estimate = estimate_affinity(x, y, weights)
    assert estimate.certificate.verdict == "CERTIFIED"
    np.testing.assert_allclose(estimate.affinity(), expected, atol=1e-9)


def test_fisher_information_of_a_gaussian_pair_is_the_slope_of_its_correlation():
    """With ρ(k) = (√(1+4k²) − 1)/(2k), E[xy] moves by ρ'(k), so N·var(A) = 1/ρ'(k)."""
    k = 0.5
    rho = (np.sqrt(1 + 4 * k**2) - 1) / (2 * k)
    slope = (1 - 1 / np.sqrt(1 + 4 * k**2)) / (2 * k**2)
    x, y, weights = gaussian_pairs(np.eye(1), np.array([[rho]]), np.eye(1), nodes=22)
    estimate = estimate_affinity(x, y, weights)
    assert estimate.values[0] == pytest.approx(k, abs=1e-8)
    variance = estimate.vcov()[0, 0] * estimate.effective_observations
    assert variance == pytest.approx(1 / slope, rel=1e-7)


def test_information_is_the_finite_difference_of_the_models_moments():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 3))
    y[:, :2] += 0.5 * x
    estimate = estimate_affinity(x, y)
    uniform = np.full(40, 1 / 40)

    def moments(a):
        solved = solve_fixed_margins(x @ a.reshape(2, 3) @ y.T, uniform, uniform)
        return (x.T @ np.asarray(solved.matches) @ y).ravel()

    a, h = estimate.values, 1e-4
    slope = np.array([(moments(a + h * e) - moments(a - h * e)) / (2 * h) for e in np.eye(6)])
    # the central difference is right to h² times the third derivative
    np.testing.assert_allclose(np.linalg.inv(estimate.vcov()) / 40, slope, atol=2e-6)


def test_standard_errors_are_the_spread_of_estimates_over_samples():
    """60 samples of 150 normal pairs: Monte Carlo leaves an error of 9 % in the spread."""
    rng = np.random.default_rng(11)
    rho = 0.4
    draws = []
    for _ in range(60):
        x = rng.normal(size=150)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=150)
        estimate = estimate_affinity(x, y)
        draws.append((estimate.values[0], estimate.std_errors()[0]))
    estimates, errors = np.array(draws).T
    assert np.mean(errors) / np.std(estimates) == pytest.approx(1.0, abs=0.21)


def test_units_and_order_do_not_matter():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    y += 0.4 * x
    weights = rng.uniform(0.5, 2.0, 80)
    base = estimate_affinity(x, y, weights)
    rows = rng.permutation(80)
    scaled = estimate_affinity(
        1e5 * x[rows][:, ::-1] + 3.0, 1e-4 * y[rows], 7.0 * weights[rows]
    )  # fmt: skip
    np.testing.assert_allclose(scaled.affinity()[::-1] * 10.0, base.affinity(), rtol=1e-9)
    for kind in ("information", "sandwich"):
        t, t_scaled = (e.values / e.std_errors(kind) for e in (base, scaled))
        np.testing.assert_allclose(t_scaled.reshape(2, 2)[::-1], t.reshape(2, 2), rtol=1e-8)


def test_splitting_a_match_into_two_of_half_its_weight_changes_nothing():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=30), rng.normal(size=30)
    twice = np.repeat(np.arange(30), 2)
    base = estimate_affinity(x, y)
    split = estimate_affinity(x[twice], y[twice], np.full(60, 0.5))
    np.testing.assert_allclose(split.values, base.values, rtol=1e-9)
    np.testing.assert_allclose(split.vcov() * 2.0, base.vcov(), rtol=1e-9)


def test_a_perfectly_sorted_sample_is_not_certified():
    x = np.linspace(-1, 1, 12)
    assert estimate_affinity(x, x).certificate.verdict == "FAILED"


def test_what_cannot_be_identified_is_refused_by_name():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(20, 2))
    y = rng.normal(size=20)
    collinear = np.column_stack([x, x @ [1.0, -2.0]])
    with pytest.raises(InvalidInput, match="columns age, tenure, sum: are collinear"):
        estimate_affinity(collinear, y, skill_names=["age", "tenure", "sum"])
    with pytest.raises(InvalidInput) as caught:
        estimate_affinity(np.column_stack([x, np.full(20, 3.1)]), np.ones(20))
    assert [text.split(":")[0] for text in caught.value.defects] == ["column x3", "column y1"]
    with pytest.raises(InvalidInput, match="weights: are not all positive"):
        estimate_affinity(x, y, np.r_[0.0, np.ones(19)])
    with pytest.raises(InvalidInput, match="skills: are of one match"):
        estimate_affinity(x[:1], y[:1])
    with pytest.raises(InvalidInput, match="skill x1: is not finite in every row"):
        estimate_affinity(np.ma.masked_greater(x, 1.0)[:, :1], y)


def test_a_weight_beyond_all_others_is_named_where_it_leaves_no_estimate():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60))
    heavy = np.r_[1e12, np.ones(59)]
    with pytest.raises(InvalidInput, match="60 matches count as 1 of equal weight"):
        estimate_affinity(x, y, heavy)


def test_errors_that_are_refused_leave_the_reason_and_doubt():
    age, other, y = np.random.default_rng(3).normal(size=(3, 60))
    estimate = estimate_affinity(np.column_stack([age, age + 0.05 * other]), y)
    assert np.isnan(estimate.std_errors()).all()
    assert estimate.certificate.verdict == "DOUBTFUL"
    assert "hardly identified" in estimate.certificate.doubts[0]


def test_clusters_that_tell_no_error_are_refused_or_doubted():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 200, 2))
    for labels, message in (
        (np.zeros(200), "clusters: all rows are of one, '0.0'"),
        (np.r_[np.nan, np.arange(199)], "clusters: 1 rows have no label, first row 0"),
        (["a", None, *"b" * 198], "clusters: 1 rows have no label, first row 1"),
        (np.arange(199), r"clusters: have shape \(199,\)"),
    ):
        with pytest.raises(InvalidInput, match=message):
            estimate_affinity(x, y, clusters=labels)
    for count, verdict in ((2, "DOUBTFUL"), (4, "DOUBTFUL"), (5, "CERTIFIED")):
        found = estimate_affinity(x, y, clusters=np.arange(200) % count)
        assert found.certificate.verdict == verdict
        rank = np.linalg.matrix_rank(found.vcov("sandwich"))
        assert (rank < 4) == (count <= 4)  # scores of all add up to zero


def test_standardisation_counts_degrees_of_freedom_as_told():
    values = np.random.default_rng(6).normal(3.0, 2.0, (17, 3))
    for ddof in (0, 1):
        unit = standardise(values, how=f"ddof{ddof}").unit
        np.testing.assert_allclose(unit, values.std(axis=0, ddof=ddof), rtol=1e-13)
    assert standardise(values, how="none").values is not None
    rounded = standardise([[0.1 + 0.2, 1.0], [0.3, 2.0]])  # a sum that differs by rounding alone
    assert rounded.unit[0] == 0.0
    assert not rounded.values[:, 0].any()
    np.testing.assert_array_equal(standardise(values, how="none").values, values)


def test_saliency_rebuilds_the_affinity_matrix_with_fixed_signs():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    y += x[:, :2] * [0.5, -0.3]
    estimate = estimate_affinity(x, y)
    found = estimate.saliency()
    rebuilt = (found.skill_loadings * found.singular_values) @ found.characteristic_loadings.T
    np.testing.assert_allclose(rebuilt, estimate.affinity(), atol=1e-12)
    largest = np.argmax(np.abs(found.skill_loadings), axis=0)
    assert np.all(found.skill_loadings[largest, [0, 1]] > 0)
    assert np.all(np.diff(found.singular_values) < 0)


def test_saliency_standard_errors_are_the_finite_difference_of_the_shares():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    y += x * [0.8, 0.3]
    estimate = estimate_affinity(x, y)

    def shares(a):
        s = np.linalg.svd(a.reshape(2, 2), compute_uv=False)
        return s / s.sum()

    a, h = estimate.values, 1e-6
    slope = np.array([(shares(a + h * e) - shares(a - h * e)) / (2 * h) for e in np.eye(4)]).T
    expected = np.sqrt(np.diag(slope @ estimate.vcov() @ slope.T))
    np.testing.assert_allclose(estimate.saliency().share_std_errors, expected, rtol=1e-7)


def test_loading_standard_errors_are_the_finite_difference_of_the_loadings():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    y += x[:, :2] * [0.8, 0.3]
    estimate = estimate_affinity(x, y)

    def loadings(a):
        u, _, vt = np.linalg.svd(a.reshape(3, 2), full_matrices=False)
        sign = np.sign(u[np.argmax(np.abs(u), axis=0), [0, 1]])
        return np.concatenate([(u * sign).ravel(), (vt.T * sign).ravel()])

    a, h = estimate.values, 1e-6
    slope = [(loadings(a + h * e) - loadings(a - h * e)) / (2 * h) for e in np.eye(6)]
    expected = np.sqrt(np.diag(np.transpose(slope) @ estimate.vcov() @ np.array(slope)))
    found = estimate.saliency()
    np.testing.assert_allclose(
        [*found.skill_loading_std_errors.ravel(), *found.characteristic_loading_std_errors.ravel()],
        expected, rtol=1e-6,
    )  # fmt: skip


def test_the_test_of_rank_has_its_size_under_the_hypothesis():
    """500 estimates around a matrix of rank one: p values are uniform."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    y += x[:, :1] * [0.8, 0.0]
    estimate = estimate_affinity(x, y)
    truth = np.outer([1.0, 0.5, -0.3], [1.0, 0.4])
    covariance = 0.01 * estimate.vcov()  # so that rank one is far from rank zero
    draws = rng.multivariate_normal(truth.ravel(), covariance, size=500)
    p_values = np.array([
        saliency(a.reshape(3, 2), covariance).rank_p_values
        for a in draws
    ])  # fmt: skip
    assert np.all(p_values[:, 0] < 1e-6)
    assert scipy.stats.kstest(p_values[:, 1], "uniform").pvalue > 0.01
    wald = truth.ravel() @ np.linalg.solve(estimate.vcov(), truth.ravel())
    of_zero = saliency(truth, estimate.vcov()).rank_p_values[0]
    assert of_zero == pytest.approx(scipy.stats.chi2.sf(wald, 6), rel=1e-9)


def test_sandwich_errors_of_copies_clustered_by_original_are_those_of_the_originals():
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    y += 0.4 * x
    rows = np.repeat(np.arange(80), 3)
    once = estimate_affinity(x, y)
    copied = estimate_affinity(x[rows], y[rows], clusters=rows)
    np.testing.assert_allclose(
        copied.std_errors("sandwich"), once.std_errors("sandwich"), rtol=1e-7
    )
    np.testing.assert_allclose(
        copied.std_errors("information") * np.sqrt(3), once.std_errors("information"), rtol=1e-7
    )


def test_both_errors_agree_where_the_model_is_right():
    """5,000 pairs drawn between nine types a side: Monte Carlo leaves 2 % in the sandwich."""
    rng = np.random.default_rng(13)
    levels = np.linspace(-1.5, 1.5, 9)
    pi = np.exp(0.5 * np.outer(levels, levels) - 0.3 * levels[:, None] ** 2)
    cell = rng.choice(81, size=5000, p=(pi / pi.sum()).ravel())
    x, y = levels[cell // 9], levels[cell % 9]
    estimate = estimate_affinity(x, y)
    ratio = estimate.std_errors("sandwich") / estimate.std_errors("information")
    np.testing.assert_allclose(ratio, 1.0, atol=0.08)


def test_a_quarter_of_a_million_matches_of_few_types_are_estimated_as_the_weighted_types():
    rng = np.random.default_rng(14)
    levels = np.linspace(-1.0, 1.0, 7)
    pi = np.exp(0.8 * np.outer(levels, levels))
    cell = rng.choice(49, size=250_000, p=(pi / pi.sum()).ravel())
    x, y = levels[cell // 7], levels[cell % 7]
    estimate = estimate_affinity(x, y)
    counts = np.bincount(cell, minlength=49)
    grid = np.array([(a, b) for a in levels for b in levels])
    weighted = estimate_affinity(grid[:, 0], grid[:, 1], counts)
    assert estimate.observations == 250_000
    np.testing.assert_allclose(estimate.values, weighted.values, rtol=1e-9)
    assert abs(estimate.values[0] - 0.8) < 3 * estimate.std_errors()[0]


@needs_couples
def test_all_hundred_cells_of_dupuy_and_galichon_are_met_to_two_decimals(couples):
    estimate, table = couples
    assert estimate.certificate.verdict == "CERTIFIED"
    assert estimate.observations == 1158
    assert np.all(np.abs(estimate.affinity() - table) <= 0.005)


@needs_couples
def test_all_ten_saliency_shares_of_dupuy_and_galichon_are_met(couples):
    published = [27.98, 16.60, 14.20, 10.07, 9.18, 8.51, 6.24, 4.14, 2.09, 0.99]
    np.testing.assert_allclose(100 * couples[0].saliency().shares, published, atol=0.005)


@needs_couples
def test_twelve_cells_are_significant_at_one_percent_under_the_fisher_information(couples):
    """|t| > 2.576; no other cell comes within 0.1 of the border, so rounding cannot move it."""
    estimate, _ = couples
    names = ["educ", "height", "bmi", "health", "cons", "extra", "agree", "emo", "auto", "risk"]
    t = estimate.affinity() / estimate.std_errors().reshape(10, 10)
    significant = {(names[i], names[j]) for i, j in np.argwhere(np.abs(t) > 2.576)}
    diagonal = {(name, name) for name in ("educ", "height", "bmi", "health", "cons", "risk")}
    assert significant == diagonal | {
        ("agree", "cons"),
        ("agree", "extra"),
        ("emo", "bmi"),
        ("emo", "cons"),
        ("auto", "cons"),
        ("auto", "extra"),
    }
    assert np.min(np.abs(np.abs(t) - 2.576)) > 0.1
