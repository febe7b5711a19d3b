"""Matching with given margins against closed forms, SciPy's linear programs and plain NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import entropy

from matching import InvalidInput, Status, solve_fixed_margins
from matching.kernel import Factors
from matching.streamed_kernel import StreamedKernel

NODES, _WEIGHTS = hermegauss(20)
NORMAL = _WEIGHTS / _WEIGHTS.sum()
SOLVERS = ["newton", "ipfp"]


def small_problem(rows=6, columns=4, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    q = spread * rng.normal(size=(rows, columns))
    return q, rng.dirichlet(np.ones(rows)), rng.dirichlet(np.ones(columns))


def plain_ipfp(q, f, g, sweeps=2000):
    """Textbook iterated proportional fitting of ``exp(q)``; returns ``π``."""
    kernel, v = np.exp(q), np.ones(q.shape[1])
    for _ in range(sweeps):
        u = f / (kernel @ v)
        v = g / (kernel.T @ u)
    return u[:, None] * kernel * v[None, :]


def rho(k):
    return (np.sqrt(1 + 4 * k**2) - 1) / (2 * k)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("k", [0.3, 1.0])
def test_normal_margins_match_with_the_closed_form_correlation(k, solver):
    pi = solve_fixed_margins(k * np.outer(NODES, NODES), NORMAL, NORMAL, solver).matches
    assert NODES @ pi @ NODES == pytest.approx(rho(k), abs=1e-11)
    assert rho(1.0) == pytest.approx(0.6180339887, abs=1e-10)


def test_normal_margins_in_two_dimensions_match_with_the_closed_form_covariance():
    sigma, affinity = 2.0, np.array([[0.5, -0.3], [0.2, 0.4]])
    cov_x, cov_y = np.array([[1.0, 0.4], [0.4, 0.8]]), np.array([[0.9, -0.2], [-0.2, 1.2]])
    root_x, root_y = sqrtm(cov_x), sqrtm(cov_y)
    grid = np.stack(np.meshgrid(NODES, NODES), axis=-1).reshape(-1, 2)
    mass = np.outer(NORMAL, NORMAL).ravel()
    x, y = grid @ root_x, grid @ root_y
    pi = solve_fixed_margins(x @ affinity @ y.T / sigma, mass, mass).matches
    u, k, vt = np.linalg.svd(root_x @ affinity @ root_y / sigma)
    cov_xy = root_x @ u @ np.diag(rho(k)) @ vt @ root_y
    np.testing.assert_allclose(x.T @ pi @ y, cov_xy, rtol=0, atol=1e-11)
    back = sigma * np.linalg.inv(cov_x) @ cov_xy
    back = back @ np.linalg.inv(cov_y - cov_xy.T @ np.linalg.inv(cov_x) @ cov_xy)
    np.testing.assert_allclose(back, affinity, rtol=1e-11)


def best_assignment(q):
    return q[linear_sum_assignment(q, maximize=True)].mean()


def best_transport(q, f, g):
    rows, columns = q.shape
    margins = np.vstack(
        [np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))]
    )
    return -linprog(-q.ravel(), A_eq=margins, b_eq=np.concatenate([f, g])).fun


@pytest.mark.parametrize("lam", [10.0, 1.0, 0.1, 0.01, 0.001])
def test_output_is_within_the_entropic_bound_of_the_best_match(lam):
    uneven = small_problem(6, 4)
    even = (small_problem(6, 6)[0], np.full(6, 1 / 6), np.full(6, 1 / 6))
    for (q, f, g), best in (
        (uneven, best_transport(*uneven)),
        (even, best_assignment(even[0])),
    ):
        pi = solve_fixed_margins(q / lam, f, g).matches
        assert -1e-11 <= best - np.sum(pi * q) <= lam * min(entropy(f), entropy(g))


def test_both_solvers_agree_with_textbook_fitting_and_rebuild_the_match_from_multipliers():
    q, f, g = small_problem()
    expected = plain_ipfp(q, f, g)
    for solver in SOLVERS:
        solution = solve_fixed_margins(q, f, g, solver)
        assert solution.status == Status.CERTIFIED
        np.testing.assert_allclose(solution.matches, expected, rtol=1e-11)
        a, b = solution.multiplier_x, solution.multiplier_y
        np.testing.assert_allclose(solution.log_matches, q - a[:, None] - b[None, :], rtol=1e-12)
        assert abs(g @ b) <= 1e-14 * (1 + np.abs(b).max())


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_start_from_a_neighbour_saves_iterations_and_changes_nothing(solver):
    q, f, g = small_problem(spread=5.0)
    neighbour = solve_fixed_margins(1.001 * q, f, g, solver)
    cold = solve_fixed_margins(q, f, g, solver)
    warm = solve_fixed_margins(q, f, g, solver, start=neighbour.potentials)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.matches, cold.matches, rtol=1e-10)
    np.testing.assert_allclose(warm.multiplier_y, cold.multiplier_y, atol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_types_without_mass_match_nobody_and_disturb_nobody(solver):
    q, f, g = small_problem(4, 3)
    wider = np.pad(q, 1, constant_values=7.0)
    ghost = solve_fixed_margins(wider, np.pad(f, 1), np.pad(g, 1), solver)
    plain = solve_fixed_margins(q, f, g, solver)
    assert ghost.status == Status.CERTIFIED
    pi = np.asarray(ghost.matches)
    np.testing.assert_allclose(pi[1:-1, 1:-1], plain.matches, rtol=1e-12)
    assert not np.any(np.delete(pi, slice(1, -1), 0))
    assert not np.any(np.delete(pi, slice(1, -1), 1))
    np.testing.assert_allclose(ghost.multiplier_x[1:-1], plain.multiplier_x, rtol=1e-11)
    assert np.all(np.isposinf(np.asarray(ghost.multiplier_x)[[0, -1]]))


def test_margins_that_cannot_be_met_are_refused_with_all_defects():
    q, f, g = small_problem()
    with pytest.raises(InvalidInput, match=r"totals .* differ"):
        solve_fixed_margins(q, f, 1.001 * g)
    with pytest.raises(InvalidInput) as caught:
        solve_fixed_margins(q[:, 1:], -f, 0.0 * g)
    assert [defect.split(":")[0] for defect in caught.value.defects] == [
        "log_affinity", "mass_x", "mass_y",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="log_affinity: is not finite"):
        solve_fixed_margins(jnp.where(q > 0, q, -jnp.inf), f, g)


def test_a_kernel_is_named_not_handed_over():
    pair, mass = Factors(np.ones((2, 1)), np.ones((2, 1))), np.array([0.5, 0.5])
    with pytest.raises(InvalidInput, match="kernel: is named here"):
        solve_fixed_margins(pair, mass, mass, kernel=StreamedKernel(*pair, 1))  # type: ignore[arg-type]
