"""Maximum likelihood with wages: a direct likelihood, a closed form, the published estimates."""

import os
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from scipy.special import logsumexp

from estimation import estimate_with_wages, make_basis, simulate_matches
from estimation.likelihood import SCALES
from estimation.wage_equation import evaluate, make_sample
from matching import InvalidInput, solve_equilibrium

DATA = Path(os.environ.get("SHOREMATCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
JOBS = DATA / "dupuy_galichon_2022_jobs" / "workingdataset_occind.csv"

# x*y in both, x*size in productivity alone, age*y in amenities alone: every case there is
BASIS = make_basis(
    ["y", "x*y", "age*y"], ["x", "x*x", "x*y", "x*size"], workers=["x", "age"], jobs=["y", "size"]
)


RHO = 0.5


def gaussian_pairs(rng, rows):
    """Pairs with correlation ρ: A = ρ/(1 − ρ²), and both multipliers are κ times the square.

    log f(x,y)/(f(x)g(y)) = A x y − κ(x² + y²) + const, κ = ρ²/(2(1 − ρ²)).
    """
    x = rng.normal(size=rows)
    y = RHO * x + np.sqrt(1 - RHO**2) * rng.normal(size=rows)
    kappa = RHO**2 / (2 * (1 - RHO**2))
    affinity = RHO / (1 - RHO**2)
    wages = 0.5 * x + 0.3 * y - 0.2 * x * y + 0.4 * (affinity * x * y - kappa * y**2)
    wages += 0.8 * kappa * x**2 + 0.3 * rng.normal(size=rows)
    return wages, {"x": x}, {"y": y}


def draw(rows, seed=0):
    """Gaussian pairs, and a column a side by which nothing is sorted."""
    rng = np.random.default_rng(seed)
    wages, workers, jobs = gaussian_pairs(rng, rows)
    return wages, workers | {"age": rng.normal(size=rows)}, jobs | {"size": rng.normal(size=rows)}


@pytest.fixture(scope="module", params=[1, 2], ids=["all distinct", "each pair twice"])
def small(request):
    """A sample of 100 pairs, or of each of them twice, and its estimate."""
    copies = request.param
    wages, *sides = draw(100)
    data = (
        np.tile(wages, copies),
        *({name: np.tile(values, copies) for name, values in side.items()} for side in sides),
    )
    return data, estimate_with_wages(*data, BASIS)


def direct_log_likelihood(estimate, wages, workers, jobs):
    """``Σ log(N π_ii) + Σ log density of the wage``, from α and γ themselves.

    Every term, main effects too, enters the surplus; proportional fitting in NumPy. The constant
    of the wage equation is at its optimum.
    """
    n = len(wages)
    columns = {k: v[:, None] for k, v in workers.items()} | {k: v[None] for k, v in jobs.items()}

    def total(prefix, terms):
        return sum(
            estimate[f"{prefix}.{t.name}"] * np.prod(
                np.broadcast_arrays(np.ones((n, n)), *[columns[c] for c in (*t.workers, *t.jobs)]),
                axis=0,
            )
            for t in terms
        )  # fmt: skip

    alpha = total("amenity", BASIS.amenities)
    gamma = total("productivity", BASIS.productivity)
    lam_x, lam_y = estimate["scale.worker"], estimate["scale.firm"]
    lam = lam_x + lam_y
    a = b = np.zeros(n)
    for _ in range(400):
        a = logsumexp((alpha + gamma) / lam - b[None], axis=1) + np.log(n)
        b = logsumexp((alpha + gamma) / lam - a[:, None], axis=0) + np.log(n)
    log_pi = np.diag((alpha + gamma) / lam) - a - b
    w = (lam_x * (np.diag(gamma) - lam * b) + lam_y * (lam * a - np.diag(alpha))) / lam
    error = wages - w - np.mean(wages - w)
    s2 = estimate["error_variance"]
    return np.sum(log_pi + np.log(n)) - 0.5 * n * np.log(s2) - 0.5 * error @ error / s2


def moved(estimate, name, step):
    """The parameters by name, one of them moved."""
    values = dict(zip(estimate.names, estimate.values, strict=True))
    values[name] += step
    return values


def test_the_estimate_is_a_maximum_of_the_likelihood_written_out_in_full(small):
    """Value, slopes and second differences of a likelihood that concentrates nothing."""
    data, estimate = small
    top = direct_log_likelihood(moved(estimate, "scale.firm", 0.0), *data)
    assert top == pytest.approx(-estimate.minima[0].objective - 0.5 * len(data[0]), abs=1e-8)
    kept = [k for k, name in enumerate(estimate.names) if name != "constant"]
    covariance = estimate.covariances["information"][np.ix_(kept, kept)]
    for k, curvature in zip(kept, np.diag(np.linalg.inv(covariance)), strict=True):
        name = estimate.names[k]
        h = 1e-2 / np.sqrt(curvature)
        up, down = (direct_log_likelihood(moved(estimate, name, s), *data) for s in (h, -h))
        assert (up - down) / 2e-2 == pytest.approx(0.0, abs=1e-3), name
        # rounding leaves 1e-7 in the sums, bending of the third order 1e-4
        assert (2 * top - up - down) / 1e-4 == pytest.approx(1.0, abs=1e-2), name


def test_gradient_and_hessian_of_the_concentrated_likelihood_are_finite_differences():
    sample = make_sample(*draw(40, seed=1), BASIS)
    a, h = np.array([0.4, 0.2, -0.1]), 1e-5
    for held in ({}, {SCALES["scale.firm"]: 0.7}):
        gradient, hessian = evaluate(sample, a, held=held).concentrated()
        ends = [
            [evaluate(sample, a + s * h * e, held=held) for s in (1, -1)] for e in np.eye(3)
        ]  # fmt: skip
        slope = [(up.objective - down.objective) / (2 * h) for up, down in ends]
        bend = [(up.concentrated()[0] - down.concentrated()[0]) / (2 * h) for up, down in ends]
        np.testing.assert_allclose(gradient[:3], slope, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(hessian[:3], bend, rtol=1e-6, atol=1e-5)


def test_profile_interval_ends_where_the_likelihood_ratio_says():
    """At each end the best objective with the scale held lies 1.92 below the top."""
    data = gaussian_pairs(np.random.default_rng(2), 150)
    estimate = estimate_with_wages(*data, GAUSS, profile=True)
    interaction = (estimate["amenity.y*x"] + estimate["productivity.y*x"]) / (
        estimate["scale.worker"] + estimate["scale.firm"]
    )
    sample = make_sample(*data, GAUSS)
    for scale, place in SCALES.items():
        low, high = estimate.confint()[estimate.names.index(scale)]
        assert low < estimate[scale] < high
        for end in (low, high):
            best = scipy.optimize.minimize(
                lambda a, end=end, place=place: (
                    -evaluate(sample, a, held={place: end}).objective
                ),
                interaction,
                tol=1e-8,
            )  # fmt: skip
            assert -estimate.minima[0].objective + best.fun == pytest.approx(1.920729, abs=1e-4)


# ---------------------------------------------------------------- inference


GAUSS = make_basis(["y", "x*y"], ["x", "x*y"], workers=["x"], jobs=["y"])
TRUTH = {
    "amenity.y": -0.3, "amenity.y*x": 0.2, "productivity.x": 0.5, "productivity.y*x": 0.6,
    "scale.worker": 0.4, "scale.firm": 0.8, "error_variance": 0.09,
}  # fmt: skip


def test_sandwich_errors_are_the_spread_of_estimates_around_the_truth():
    """100 samples of 150 Gaussian pairs: Monte Carlo leaves an error of 7 % in the spread.

    The columns are drawn anew in every sample, which moves the multipliers: errors that take
    the columns as given are a third too small for the productivity of x. In a few samples a scale
    is left open by more than its size, and has no error.
    """
    rng = np.random.default_rng(0)
    estimates = [estimate_with_wages(*gaussian_pairs(rng, 150), GAUSS) for _ in range(100)]
    values = np.array([[e[name] for name in TRUTH] for e in estimates])
    places = [estimates[0].names.index(name) for name in TRUTH]
    assert sum(not e.identification.identified for e in estimates) < 10
    errors = np.nanmean([e.std_errors()[places] for e in estimates], axis=0)
    np.testing.assert_allclose(errors / values.std(0), 1.0, atol=0.25)
    given = np.mean([e.std_errors("information")[places] for e in estimates], axis=0)
    assert given[2] < 0.75 * errors[2]
    # the bias of order 1/N is a fraction of a standard error
    assert np.all(np.abs(values.mean(0) - list(TRUTH.values())) < 0.6 * values.std(0))


def test_units_names_and_order_of_rows_do_not_matter(small):
    (wages, workers, jobs), base = small
    rows = np.random.default_rng(3).permutation(len(wages))
    scaled = estimate_with_wages(
        wages[rows] + np.log(100.0),  # cents for crowns, under the logarithm
        {"x": 1e3 * workers["x"][rows], "age": 0.01 * workers["age"][rows]},
        {"y": 1e-2 * jobs["y"][rows], "size": 1e4 * jobs["size"][rows]},
        BASIS,
    )
    # an estimate that rounding alone moves by 1e-8 standard errors
    kept = [k for k, name in enumerate(base.names) if name != "constant"]
    for kind in ("sandwich", "information"):
        t, t_base = scaled.values / scaled.std_errors(kind), base.values / base.std_errors(kind)
        np.testing.assert_allclose(t[kept], t_base[kept], rtol=1e-8)


def test_clusters_of_identical_rows_have_the_errors_of_one_row_each():
    """Copies of every row say nothing new: clustered by original, errors stay the same."""
    wages, workers, jobs = draw(40, seed=4)
    twice = np.repeat(np.arange(40), 2)
    once = estimate_with_wages(wages, workers, jobs, BASIS)
    copied = estimate_with_wages(
        wages[twice],
        {name: column[twice] for name, column in workers.items()},
        {name: column[twice] for name, column in jobs.items()},
        BASIS,
        clusters=twice,
    )
    slopes = [k for k, name in enumerate(once.names) if name != "constant"]
    np.testing.assert_allclose(copied.values[slopes], once.values[slopes], rtol=1e-6)
    np.testing.assert_allclose(
        copied.std_errors()[slopes], once.std_errors()[slopes], rtol=1e-6
    )  # fmt: skip


def test_random_starts_lead_to_the_optimum_found_from_zero(small):
    data, estimate = small
    again = estimate_with_wages(*data, BASIS, starts=4, seed=1)
    best = min(one.objective for one in again.minima)
    assert best == pytest.approx(estimate.minima[0].objective, abs=1e-7)
    assert sum(one.agrees for one in again.minima) == 4


CELLS = make_basis(
    ["log_firms"], ["log_workers", "skill*size"], workers=["skill", "log_workers"],
    jobs=["size", "log_firms"],
)  # fmt: skip


def slides_truth(economy, pi, wages):
    """The slides' economy in these terms: here a worker is a type, there a cell of workers is."""
    share = pi / pi.sum()
    log_f, log_g = np.log(pi.sum(1)), np.log(pi.sum(0))
    phi = float(economy.affinity[0, 0])
    lam_x, lam_y = float(economy.lambda_x), float(economy.lambda_y)
    z = np.asarray(economy.home.skills @ economy.firms.characteristics.T)
    bare = wages + lam_y * log_f[:, None] - lam_x * log_g - lam_x * phi / (lam_x + lam_y) * z
    return {
        "amenity.log_firms": -lam_x, "productivity.log_workers": -lam_y,
        "productivity.size*skill": phi, "scale.worker": lam_x, "scale.firm": lam_y,
        "constant": np.sum(share * bare), "error_variance": 9.0,
    }  # fmt: skip


def of_cells(economy, pi, worker_type, firm_type):
    """The columns of workers and of jobs."""
    skill, size = economy.home.skills[:, 0], economy.firms.characteristics[:, 0]
    return (
        {"skill": skill[worker_type], "log_workers": np.log(pi.sum(1))[worker_type]},
        {"size": size[firm_type], "log_firms": np.log(pi.sum(0))[firm_type]},
    )


def test_matches_and_wages_of_the_slides_equilibrium_itself_return_it(danish_2006):
    """100,000 rows in the equilibrium's shares, wages 3 kroner above and below; scales differ."""
    economy = replace(danish_2006, lambda_x=jnp.asarray(15.0), lambda_y=jnp.asarray(22.56))
    equilibrium = solve_equilibrium(economy)
    pi, wages = np.asarray(equilibrium.matches[0]), np.asarray(equilibrium.wages[0])
    pairs = np.rint(5e4 * pi / pi.sum()).astype(int).ravel()
    worker, firm = (np.repeat(index.ravel(), 2 * pairs) for index in np.indices(pi.shape))
    wage = wages[worker, firm] + np.tile([3.0, -3.0], pairs.sum())
    found = estimate_with_wages(wage, *of_cells(economy, pi, worker, firm), CELLS)
    truth = slides_truth(economy, pi, wages)
    # to the rounding of a cell's share, a part in 1,000
    np.testing.assert_allclose([found[n] for n in truth], list(truth.values()), rtol=2e-3)


def test_the_danish_economy_is_recovered_within_three_standard_errors_at_100_000_workers(
    danish_2006,
):
    equilibrium = solve_equilibrium(danish_2006)
    data = simulate_matches(equilibrium, 100_000, seed=2006, wage_error=3.0)
    home = (data.origin == 0) & (data.firm_type >= 0)
    pi, wages = np.asarray(equilibrium.matches[0]), np.asarray(equilibrium.wages[0])
    columns = of_cells(danish_2006, pi, data.worker_type[home], data.firm_type[home])
    found = estimate_with_wages(data.wage[home], *columns, CELLS)
    assert found.certificate.verdict == "CERTIFIED"
    truth = slides_truth(danish_2006, pi, wages)
    assert tuple(truth) == found.names
    assert np.all(np.abs(found.values - list(truth.values())) < 3 * found.std_errors())


# ---------------------------------------------------------------- refusals


def test_terms_that_no_data_tell_are_refused_together():
    with pytest.raises(InvalidInput) as caught:
        make_basis(
            ["x", "y", "y"], ["y", "x*z", "x*y"], workers=["x", "age"], jobs=["y", "size"]
        )  # fmt: skip
    text = str(caught.value)
    assert "amenities: x is the worker's alone" in text
    assert "amenities: y stands there twice" in text
    assert "productivity: y is the job's alone" in text
    assert "'x*z' names 'z'" in text
    with pytest.raises(InvalidInput, match="no term joins"):
        make_basis(["y"], ["x"], workers=["x"], jobs=["y"])


def test_terms_that_the_sample_does_not_tell_apart_are_named():
    wages, workers, jobs = draw(30)
    basis = make_basis(
        ["y"], ["x", "age", "x*y", "age*y"], workers=["x", "age"], jobs=["y"]
    )  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        estimate_with_wages(wages, {"x": workers["x"], "age": 2 * workers["x"] + 1}, jobs, basis)
    assert "terms x, age: are collinear" in str(caught.value)
    assert "y*x, y*age: are collinear" in str(caught.value)
    with pytest.raises(InvalidInput, match="term y: does not vary"):
        estimate_with_wages(wages, workers, {"y": np.full(30, 0.1)}, basis)
    with pytest.raises(InvalidInput, match="wages: are all the same"):
        estimate_with_wages(np.ones(30), workers, jobs, basis)
    with pytest.raises(InvalidInput, match="age: is not finite"):
        estimate_with_wages(wages, workers | {"age": np.full(30, np.nan)}, jobs, basis)


def test_a_sample_sorted_almost_without_exception_is_not_certified():
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 40)
    wages, noise = rng.normal(size=(2, 40))
    estimate = estimate_with_wages(wages, {"x": x}, {"y": x + 0.01 * noise}, GAUSS)
    assert estimate.certificate.verdict == "FAILED"
    assert "the market does not clear" in estimate.certificate.failures[0]


def test_wages_that_no_taste_scale_explains_are_doubted():
    """Wages that fall where the model's rise: the firms' scale comes out negative."""
    rng = np.random.default_rng(6)
    wages, workers, jobs = gaussian_pairs(rng, 150)
    estimate = estimate_with_wages(-wages, workers, jobs, GAUSS)
    assert estimate["scale.firm"] < 0
    assert estimate.certificate.verdict == "DOUBTFUL"
    assert "scale.firm is estimated at -" in estimate.certificate.doubts[-1]


# ---------------------------------------------------------------- published


PUBLISHED = {
    "amenity.risk": -0.023, "amenity.public": -0.062, "amenity.public*educ": 0.081,
    "productivity.educ": 0.057, "productivity.exper": 0.084, "productivity.female": -0.404,
    "productivity.married": 0.050, "productivity.white": 0.046, "productivity.black": -0.108,
    "productivity.asian": 0.069, "productivity.exper*exper": -0.051,
    "productivity.risk*educ": -0.059, "productivity.risk*exper": 0.074,
    "productivity.risk*female": -2.388, "productivity.public*educ": 0.838,
    "productivity.public*exper": 0.096, "productivity.public*female": 0.548,
    "scale.worker": 0.046, "scale.firm": 2.233,
}  # fmt: skip


@pytest.mark.skipif(not JOBS.is_file(), reason=f"no data at {JOBS}")
def test_all_nineteen_coefficients_of_dupuy_and_galichon_are_met_from_zero():
    frame = pd.read_csv(JOBS)

    def standard(name):
        return (frame[name] - frame[name].mean()) / frame[name].std(ddof=0)

    workers = {"educ": standard("x_yrseduc"), "exper": standard("x_exp"), "female": frame["x_sex"]}
    workers |= {name: frame[f"x_{name}"] for name in ("married", "white", "black", "asian")}
    jobs = {"risk": standard("y_risk_rateh_occind_ave"), "public": frame["y_public"]}
    basis = make_basis(
        [name.split(".")[1] for name in PUBLISHED if name.startswith("amenity")],
        [name.split(".")[1] for name in PUBLISHED if name.startswith("productivity")],
        workers=list(workers),
        jobs=list(jobs),
    )
    estimate = estimate_with_wages(np.log(frame["wage"]), workers, jobs, basis)
    assert estimate.certificate.verdict == "CERTIFIED"
    for name, value in PUBLISHED.items():
        assert round(estimate[name], 3) == value, name
    assert estimate.r_squared == pytest.approx(0.235, abs=5e-4)
    assert -estimate.minima[0].objective == pytest.approx(-24599.2555, abs=5e-5)
    assert estimate["error_variance"] == pytest.approx(0.1392646, abs=5e-8)
