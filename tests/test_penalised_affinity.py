"""Penalised affinity matrices against closed forms, finite differences and plain fitting."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from estimation import estimate_affinity, estimate_penalised_affinity
from matching import InvalidInput
from tests.test_affinity import gaussian_pairs

DATA = Path(os.environ.get("SHOREMATCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
COUPLES = DATA / "dupuy_galichon_2014_personality"
needs_couples = pytest.mark.skipif(not COUPLES.is_dir(), reason=f"no data at {COUPLES}")
PENALTIES = ("nuclear", "l1")


def standard(values):
    return (values - values.mean(0)) / values.std(0)


def sample(rows=200, seed=0):
    """Normal pairs sorted along two of three skills and two of four characteristics."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 4))
    y[:, :2] += 0.5 * x[:, :2]
    return standard(x), standard(y)


def objective(a, x, y, gamma, penalty):
    """W(A) − Σ A·E[x y'] + γ‖A‖ of equal weights, by textbook proportional fitting."""
    n = len(x)
    kernel, v = np.exp(x @ a @ y.T), np.ones(n)
    for _ in range(500):
        u = 1.0 / (n * (kernel @ v))
        v = 1.0 / (n * (kernel.T @ u))
    pi = u[:, None] * kernel * v
    surplus = np.sum(pi * (x @ a @ y.T)) - np.sum(pi * np.log(pi))
    norm = np.linalg.norm(a, "nuc") if penalty == "nuclear" else np.abs(a).sum()
    return surplus - np.sum(a * (x.T @ y)) / n + gamma * norm


def largest_strength(x, y, penalty):
    moments = x.T @ y / len(x)
    return np.linalg.norm(moments, 2) if penalty == "nuclear" else np.abs(moments).max()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_without_a_penalty_the_estimate_is_that_of_moment_matching(penalty):
    x, y = sample()
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(x))
    found = estimate_penalised_affinity(x, 100.0 * y, weights, penalty=penalty, strength=0.0)
    expected = estimate_affinity(x, 100.0 * y, weights)
    np.testing.assert_allclose(100.0 * found.affinity(), 100.0 * expected.affinity(), atol=1e-8)
    assert found.certificate.verdict == "CERTIFIED"


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_affinity_is_zero_from_the_dual_norm_of_the_moments_on_and_not_before(penalty):
    x, y = sample()
    largest = largest_strength(x, y, penalty)
    found = estimate_penalised_affinity(x, y, penalty=penalty, strength=largest * (1 + 1e-12))
    assert np.all(found.affinity() == 0)
    assert found.penalty.size == 0
    assert found.certificate.verdict == "CERTIFIED"
    found = estimate_penalised_affinity(x, y, penalty=penalty, strength=0.999 * largest)
    assert found.penalty.size == 1


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_objective_rises_whichever_way_one_leaves_the_estimate(penalty):
    """One-sided derivatives of a convex function are negative in some way unless at its minimum."""
    x, y = sample(60)
    gamma = 0.4 * largest_strength(x, y, penalty)
    found = estimate_penalised_affinity(x, y, penalty=penalty, strength=gamma)
    a, h, rng = found.affinity(), 1e-6, np.random.default_rng(3)
    u, _, vt = np.linalg.svd(a)
    ways = [np.outer(u[:, i], vt[j]) for i in range(3) for j in range(4)]
    ways += [e.reshape(3, 4) for e in np.eye(12)] + list(rng.normal(size=(30, 3, 4)))
    least = objective(a, x, y, gamma, penalty)
    slopes = [(objective(a + h * sign * way, x, y, gamma, penalty) - least) / h
              for way in ways for sign in (1, -1)]  # fmt: skip
    assert min(slopes) > -1e-7
    assert found.certificate.gradient <= 1e-9
    assert found.certificate.verdict == "CERTIFIED"


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.3, 0.6])
def test_two_types_a_side_have_a_closed_form(penalty, gamma):
    """With x, y = ±1 evenly, E_π[xy] = tanh A, so that A = atanh(r − γ) for a correlation r."""
    x, y = np.repeat([-1.0, 1.0], 4), np.array([-1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0])
    found = estimate_penalised_affinity(x, y, penalty=penalty, strength=gamma)
    assert found.affinity()[0, 0] == pytest.approx(np.arctanh(max(0.5 - gamma, 0.0)), abs=1e-9)


def test_a_normal_pair_loses_its_correlations_one_by_one_to_the_nuclear_norm():
    """Σxy = U diag(ρ) V' and unit variances: A = U diag(k) V', k the closed form's at ρ − γ.

    A penalty takes γ from each singular value of the moments; k = r/(1−r²) at what is left, up to
    what eight nodes leave of normal margins (Bojilov and Galichon 2016).
    """
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    cov_xy = turn @ np.diag([0.45, 0.2]) @ turn[:, ::-1]
    x, y, weights = gaussian_pairs(np.eye(2), cov_xy, np.eye(2), nodes=8)
    found = estimate_penalised_affinity(x, y, weights, strength=0.25)
    r = 0.45 - 0.25
    expected = r / (1 - r**2) * np.outer(turn[:, 0], turn[:, 1])
    assert found.penalty.size == 1
    np.testing.assert_allclose(found.affinity(), expected, atol=1e-4)


def test_permuted_columns_and_rows_give_the_permuted_estimate():
    x, y = sample()
    rows = np.random.default_rng(4).permutation(len(x))
    for penalty in PENALTIES:
        base = estimate_penalised_affinity(x, y, penalty=penalty, strength=0.15).affinity()
        other = estimate_penalised_affinity(
            x[rows][:, ::-1], y[rows][:, [2, 0, 3, 1]], penalty=penalty, strength=0.15
        ).affinity()
        np.testing.assert_allclose(other, base[::-1][:, [2, 0, 3, 1]], atol=1e-9)


def test_the_same_seed_gives_the_same_choice_and_another_one_other_folds():
    x, y = sample()
    first, second, other = (
        estimate_penalised_affinity(x, y, strengths=4, folds=2, seed=seed) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first.penalty.gains, second.penalty.gains)
    np.testing.assert_array_equal(first.values, second.values)
    assert np.any(first.penalty.gains != other.penalty.gains)


def best_scalar(x, y, gamma):
    return minimize_scalar(
        lambda a: objective(np.array([[a]]), x, y, gamma, "l1"), bracket=(0.0, 0.5), tol=1e-9
    ).x


def test_the_gain_of_a_fold_is_its_log_likelihood_given_its_margins():
    x, y = (side[:, :1] for side in sample(90))
    found = estimate_penalised_affinity(x, y, strengths=3, folds=3, seed=5)
    folds = np.array_split(np.random.default_rng(5).permutation(90), 3)
    for fold, rows in enumerate(folds):
        rest, t = np.setdiff1d(np.arange(90), rows), len(rows)
        for place, gamma in enumerate(found.penalty.strengths):
            a = best_scalar(x[rest], y[rest], gamma)
            kernel, v = np.exp(a * x[rows] @ y[rows].T), np.ones(t)
            for _ in range(500):
                u = 1.0 / (t * (kernel @ v))
                v = 1.0 / (t * (kernel.T @ u))
            log_likelihood = np.mean(np.log(u * np.diag(kernel) * v))
            assert found.penalty.gains[fold, place] == pytest.approx(
                log_likelihood - np.log(1.0 / t**2), abs=1e-5
            )


def test_two_indices_are_found_by_the_one_standard_error_choice_more_often_than_not():
    """300 normal pairs sorted on two of four indices; the affinities are 0.8 and 0.5."""
    k = np.array([0.8, 0.5, 0.0, 0.0])
    rho = np.divide(np.sqrt(1 + 4 * k**2) - 1, 2 * k, out=np.zeros(4), where=k > 0)
    ranks = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        turn_x, turn_y = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
        z = rng.normal(size=(300, 4))
        other = rho * z + np.sqrt(1 - rho**2) * rng.normal(size=(300, 4))
        found = estimate_penalised_affinity(
            z @ turn_x, other @ turn_y, strengths=6, folds=3, seed=seed
        )
        ranks.append(found.penalty.size)
    assert ranks.count(2) >= 3, ranks


def test_no_standard_errors_are_offered_and_the_result_says_why():
    x, y = sample()
    found = estimate_penalised_affinity(x, y, strength=0.1)
    assert np.all(np.isnan(found.std_errors()))
    assert np.all(np.isnan(found.confint()))
    assert any("no standard errors" in note for note in found.notes)


def test_every_defect_of_the_request_is_named():
    x, y = sample()
    with pytest.raises(InvalidInput) as caught:
        estimate_penalised_affinity(x, y, penalty="rank", strength=None, strengths=1, folds=101)
    assert [text.split(":")[0] for text in caught.value.defects] == [
        "penalty", "strengths", "folds",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="strength: -1"):
        estimate_penalised_affinity(x, y, strength=-1.0)


@needs_couples
def test_couples_sort_along_several_indices_and_all_of_the_path_is_an_optimum():
    """Dupuy and Galichon (2014) reject that 1,158 couples sort on few indices."""
    men, women = (pd.read_csv(COUPLES / f"{side}vals.csv").to_numpy(dtype=float) for side in "XY")
    path = estimate_penalised_affinity(men, women, strengths=6, folds=2).penalty
    assert path.sizes[0] == 0
    assert np.all(np.diff(path.sizes) >= 0)
    assert path.violations.max() <= 1e-9
    assert 2 <= path.sizes[path.chosen] <= path.sizes[path.best] < 10
    assert 0 < path.best < 5
    assert path.mean_gain[path.best] > path.mean_gain[-1] > 0
