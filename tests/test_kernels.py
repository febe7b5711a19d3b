"""Every kernel gives the equilibrium of the dense one, to its own bound, without its matrix."""

import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from matching import (
    STATISTICS,
    InvalidInput,
    NotConverged,
    Status,
    choose_kernel,
    kernel_ladder,
    low_rank,
    make_economy,
    make_firms,
    make_origin,
    newton,
    solve_equilibrium,
    solve_fixed_margins,
    with_parameter,
)
from matching.kernel import DenseKernel, DenseMatches, Factors, sums
from matching.low_rank import low_rank_kernel
from matching.m_matrix import DIRECT, solve_margins
from matching.market import Matched, factors
from matching.scaled_kernel import ScaledKernel
from matching.streamed_kernel import StreamedKernel
from tests.economies import Shape, random_economy, stack
from tests.equilibrium_properties import BOUNDS, measure


def _economy(workers: int, firms: int, dimensions: int, reach: float):
    """Individual types, two origins, λ = 1, ``reach`` the range of the affinity."""
    rng = np.random.default_rng([workers, firms, dimensions])
    skills = rng.uniform(size=(workers, dimensions))
    characteristics = rng.uniform(size=(firms, dimensions))
    affinity = rng.normal(size=(dimensions, dimensions))
    affinity *= reach / np.ptp(skills[:1000] @ affinity @ characteristics[:1000].T)
    half = workers // 2
    home = make_origin(skills[:half], np.full(half, 1 / half), constant=2.0, outside_option=0.3)
    abroad = make_origin(
        skills[half:], np.full(workers - half, 0.5 / half), constant=1.0, name="abroad"
    )
    return make_economy(
        [home, abroad],
        make_firms(characteristics, rng.uniform(0.5, 1.5, firms) / firms),
        affinity=affinity,
        lambda_x=0.4,
        lambda_y=0.6,
        intensity_unit="density",
    )


def _economy_of(skills, characteristics, affinity, *, constant=0.0, people=1.0):
    """One origin, one skill, as many workers as firms, of the same mass each."""
    return make_economy(
        [make_origin(skills, np.full(len(skills), people / len(skills)), constant=constant)],
        make_firms(characteristics, np.full(len(characteristics), people / len(skills))),
        affinity=affinity,
        lambda_x=0.5,
        lambda_y=0.5,
        intensity_unit="density",
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("reach", [2.0, 10.0, 50.0])
def test_the_low_rank_bound_holds_for_every_entry(dimensions, reach):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 3, (300, dimensions)), rng.uniform(-2, 1, (200, dimensions))
    u *= reach / np.ptp(u @ v.T)
    bound = _assert_bound_holds(low_rank_kernel(u, v), u, v)
    # asked: 1e-11 on the average over partners
    assert bound.mean(0).max() <= 3e-11
    assert bound.mean(1).max() <= 3e-11


def _assert_bound_holds(kernel, u, v):
    approximate = np.asarray(kernel.table.times(jnp.eye(len(v))))
    shifts = np.asarray(kernel.shift_x)[:, None] + np.asarray(kernel.shift_y)[None, :]
    gaussian = np.exp(u @ v.T - shifts)
    assert gaussian.max() <= 1.0 + 1e-9
    bound = np.outer(kernel.error_x, kernel.error_y)
    # the exponent of the comparison itself is rounded: ε times its size
    slack = 4e-16 * (1.0 + np.abs(u @ v.T) + np.abs(shifts)) * gaussian
    assert np.all(np.abs(approximate - gaussian) <= bound + slack)
    return bound


@pytest.mark.parametrize("at_once", [64, 301])
def test_products_of_features_are_the_same_kept_or_formed_anew(at_once, monkeypatch):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (301, 3)), rng.uniform(-1, 1, (200, 3))
    table = low_rank_kernel(u, v).table
    assert [len(group.factors) for group in table.left] == [1, 1]
    assert table.at_once == 301
    monkeypatch.setattr(low_rank, "_FEW", 0)
    kernel = low_rank_kernel(u, v)
    _assert_bound_holds(kernel, u, v)
    parts = replace(kernel.table, at_once=at_once)
    assert [len(group.factors) for group in parts.left] == [1, 2]
    assert low_rank_kernel(u, v, max_rank=table.rank).table.rank <= table.rank
    pairs = (table, parts), (table.flipped(), parts.flipped()), (table, parts.kept())
    for whole, some in pairs:
        values = jnp.asarray(rng.normal(size=(whole.right[0].factors[0].shape[1], 2)))
        np.testing.assert_allclose(some.times(values), whole.times(values), rtol=1e-12, atol=1e-12)
        slopes = (jax.grad(lambda z, t=t: jnp.sum(t.times(z) ** 2))(values) for t in (whole, some))
        np.testing.assert_allclose(*slopes, rtol=1e-11, atol=1e-11)


def test_the_low_rank_bound_is_as_tight_for_types_far_from_all_others():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(3000, 2)), rng.normal(size=(1000, 2))
    u *= 10.0 / np.ptp(u @ v.T)
    bound = _assert_bound_holds(low_rank_kernel(u, v), u, v)
    # what margins are accepted at
    assert bound.mean(0).max() <= 1e-10
    assert bound.mean(1).max() <= 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_the_low_rank_bound_holds_where_skills_tell_the_same_and_a_characteristic_nothing(seed):
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(400, 4)), rng.normal(size=(300, 4))
    u[:, 2] = u[:, 1]
    v[:, 0] = 0.0
    u *= 10.0 / np.ptp(u @ v.T)
    _assert_bound_holds(low_rank_kernel(u, v, max_rank=3000), u, v)


def test_conjugate_gradients_keep_what_is_not_finite():
    gap, zeros = jnp.ones(DIRECT + 1), jnp.zeros(DIRECT + 1)
    matches = DenseMatches(DenseKernel(Factors(zeros[:, None], zeros[:, None])), zeros, zeros)
    matched = Matched(matches, *sums(matches, (len(gap), len(gap))))
    for odd in (jnp.nan, jnp.inf):
        solved = solve_margins(matched, gap, gap, 0.0 * gap, gap.at[3].set(odd))
        assert np.isnan(solved).all()


@pytest.mark.parametrize("reach", [6.0, 400.0])  # exponentials stored, logs
@pytest.mark.parametrize("firms", [100, 320])  # after fitting: systems eliminated, by products
def test_newton_agrees_with_ipfp_where_types_are_many(firms, reach, monkeypatch):
    monkeypatch.setattr(newton, "_SWEEPS", 3)  # after which margins are not met yet
    economy = _economy(firms + 30, firms, 2, reach)
    found = solve_equilibrium(economy, kernel="dense")
    fitted = solve_equilibrium(economy, "ipfp", kernel="dense")
    assert found.status == fitted.status == Status.CERTIFIED
    gap = np.abs(found.log_unmatched_firms - fitted.log_unmatched_firms)
    assert np.all(gap <= found.bound_firms + fitted.bound_firms)

    mass_x = np.concatenate([origin.mass for origin in economy.origins])
    given = factors(economy), mass_x / mass_x.sum(), economy.firms.mass / economy.firms.mass.sum()
    matches = [solve_fixed_margins(*given, solver).matches for solver in ("newton", "ipfp")]
    np.testing.assert_allclose(*matches, rtol=1e-9)


def test_a_result_holds_no_matrix():
    equilibrium = solve_equilibrium(_economy(120, 100, 2, 6.0), kernel="dense")
    assert max(leaf.size for leaf in jax.tree.leaves(equilibrium)) < 120 * 100
    assert sum(matches.size for matches in equilibrium.matches) == 120 * 100


@pytest.mark.parametrize(
    ("dimensions", "names"), [(1, ("dense", "streamed", "low rank")), (3, ("dense", "low rank"))]
)
def test_derivatives_pass_through_every_kernel(dimensions, names, monkeypatch):
    monkeypatch.setattr(low_rank, "_FEW", 0)  # features formed anew, of several skills
    economy = _economy(120, 100, dimensions, 4.0)

    def variance(scale, kernel):
        moved = with_parameter(economy, "technology.affinity", scale * economy.affinity)
        moved = with_parameter(moved, "tastes.lambda_x", 0.4 * scale)
        return STATISTICS["var_wage"](solve_equilibrium(moved, kernel=kernel, throw=False))

    dense, *others = (
        jax.jit(jax.grad(variance))(1.0, choose_kernel(economy, name)) for name in names
    )
    for other in others:
        np.testing.assert_allclose(other, dense, rtol=1e-8)


@pytest.mark.parametrize("name", ["streamed", "low rank"])
def test_every_property_of_the_equilibrium_holds_on_every_kernel(name):
    shape = Shape((3, 2), 4, 1, 1, True, "density")
    worst = measure(stack([random_economy(seed, shape) for seed in range(20)]), name)
    certified = worst.pop("certified") == 1.0
    assert certified.mean() >= 0.75
    for prop, bound in BOUNDS.items():
        assert np.all(worst[prop][certified] <= bound), prop


def test_a_low_rank_kernel_of_another_economy_is_never_reported_as_solved():
    economy = _economy(120, 100, 1, 4.0)
    moved = with_parameter(economy, "technology.affinity", 1.01 * economy.affinity)
    stale = choose_kernel(economy, "low rank")
    own = solve_equilibrium(economy, kernel=stale)
    assert own.status == Status.CERTIFIED
    with pytest.raises(NotConverged, match="another economy"):
        solve_equilibrium(moved, kernel=stale)


@pytest.mark.parametrize("name", ["streamed", "low rank"])
def test_the_matrix_of_matches_is_formed_up_to_a_million_cells(name):
    economy = _economy(120, 100, 1, 4.0)
    matches = solve_equilibrium(economy, kernel=name).matches[0]
    np.testing.assert_allclose(matches, solve_equilibrium(economy).matches[0], rtol=1e-11)
    with pytest.raises(InvalidInput, match="never forms"):
        _ = solve_equilibrium(_economy(1001, 1000, 1, 4.0), kernel=name).matches


def test_the_choice_follows_size_and_rank():
    assert isinstance(choose_kernel(_economy(100, 100, 1, 2.0)), DenseKernel)
    assert isinstance(choose_kernel(_economy(1000, 250, 1, 50.0)), DenseKernel)
    assert isinstance(choose_kernel(_economy(1000, 251, 1, 50.0)), ScaledKernel)
    assert isinstance(choose_kernel(_economy(1000, 1000, 2, 2.0)), DenseKernel)
    large = _economy(2000, 1000, 1, 2.0)
    assert isinstance(choose_kernel(large), ScaledKernel)
    assert isinstance(choose_kernel(large, low_rank=False), DenseKernel)
    assert isinstance(choose_kernel(large, "streamed"), StreamedKernel)
    assert isinstance(choose_kernel(_economy(2000, 1000, 4, 60.0)), DenseKernel)


@pytest.mark.parametrize("workers", [1500, 1700])  # by their draws: affinity negative, positive
def test_a_low_rank_that_leaves_doubt_absorbs_the_potentials(workers, caplog):
    # matches concentrate in corners, where features made without them keep few digits
    economy = _economy(workers, 1200, 1, 50.0)
    caplog.set_level("INFO", logger="matching")
    assert solve_equilibrium(economy, kernel="low rank", throw=False).status != Status.CERTIFIED
    chosen = solve_equilibrium(economy)
    assert chosen.status == Status.CERTIFIED
    assert chosen.kernel == "low rank"
    assert "absorbing its potentials" in caplog.text
    u, v = factors(economy)
    matches = chosen.all_matches
    pi = np.exp(np.asarray(u) @ np.asarray(v).T + np.add.outer(matches.row, matches.column))
    mass = np.concatenate([origin.mass for origin in economy.origins])
    unmatched = np.concatenate(chosen.unmatched), chosen.unmatched_firms
    np.testing.assert_allclose(pi.sum(1) + unmatched[0], mass, rtol=1e-10)
    np.testing.assert_allclose(pi.sum(0) + unmatched[1], economy.firms.mass, rtol=1e-10)


@pytest.mark.parametrize(
    ("centre", "reach", "share"),  # of what a firm's best match has, its outside option
    [(0.0, 50.0, 0.0), (0.0, 200.0, 0.0), (0.5, 50.0, 0.0), (0.5, 200.0, 0.0), (0.5, 50.0, 0.5)],
)
def test_newton_takes_few_steps_on_a_low_rank_where_nearly_all_are_matched(centre, reach, share):
    skills, characteristics = centre - 0.5 + np.random.default_rng(0).uniform(size=(2, 800))
    mass = np.full(800, 1 / 800)
    mass[0] = 0.0
    option = share * 2.0 * reach * centre * characteristics
    economy = make_economy(
        [make_origin(skills, mass, constant=0.0)],
        make_firms(characteristics, mass, outside_option=option),
        affinity=2.0 * reach,
        lambda_x=0.4,
        lambda_y=0.6,
        intensity_unit="density",
    )
    newton, fitted = (
        solve_equilibrium(economy, solver, kernel="low rank") for solver in ("newton", "ipfp")
    )
    assert int(newton.iterations) <= 15
    np.testing.assert_allclose(
        newton.log_unmatched[0], fitted.log_unmatched[0], rtol=1e-10, atol=1e-8
    )


def _economy_with_few_far_out(tail, reach, seed, largest_firm=1.0, people=1.0):
    """600 types a side of Pareto skills, all but few within a small part of the range."""
    skills, characteristics = np.random.default_rng(seed).pareto(tail, (2, 600))
    if largest_firm > 1.0:
        characteristics[0] = largest_firm * characteristics.max()
    affinity = reach / (np.ptp(skills) * np.ptp(characteristics))
    return _economy_of(skills, characteristics, affinity, people=people)


@pytest.mark.parametrize("tail", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_low_rank_bound_holds_where_densities_range_far(tail, dimensions, seed):
    rng = np.random.default_rng(seed)
    u, v = rng.pareto(tail, (2, 250, dimensions))
    u *= 100.0 / dimensions / np.ptp(u @ v.T)
    p, q = np.zeros(250), np.zeros(250)
    for _ in range(60):  # till all are matched
        p = np.log(250.0) - logsumexp(u @ v.T + q, axis=1)
        q = np.log(250.0) - logsumexp(u @ v.T + p[:, None], axis=0)
    p[7] = q[3] = -np.inf  # types that nobody has
    kernel = low_rank_kernel(u, v, log_density=(p, q), tolerance=1e-12)
    _assert_bound_holds(kernel, u, v)


def test_a_closer_low_rank_is_of_the_types_that_there_are():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 3000, 1))
    few = np.where(np.arange(3000) < 20, 0.0, -np.inf)
    kernel = low_rank_kernel(u, v, log_density=(few, few))
    bound = np.outer(kernel.error_x, kernel.error_y)[:20, :20]
    assert bound.max() <= 1e-11


@pytest.mark.parametrize(
    ("tail", "reach", "seed", "people"), [(3, 50, 1, 1.0), (3, 50, 1, 1e6), (2, 200, 2, 1e6)]
)
def test_few_types_far_out_leave_a_low_rank_its_digits_once_potentials_are_known(
    tail, reach, seed, people, caplog
):
    caplog.set_level("INFO")
    economy = _economy_with_few_far_out(tail, reach, seed, people=people)
    equilibrium = solve_equilibrium(economy)
    assert equilibrium.kernel == "low rank"
    assert int(equilibrium.status) == Status.CERTIFIED
    assert "absorbing its potentials" in caplog.text
    exact = solve_equilibrium(economy, kernel="dense")
    bound = np.asarray(equilibrium.bound_workers[0])
    error = np.abs(equilibrium.log_unmatched[0] - exact.log_unmatched[0])
    assert np.all(error <= bound + np.asarray(exact.bound_workers[0]))
    assert error.max() <= 1e-8


@pytest.mark.parametrize(("memory", "kernel"), [(0.9e6, "low rank"), (0.8e6, "streamed")])
def test_a_closer_low_rank_is_one_that_memory_holds(memory, kernel, caplog):
    caplog.set_level("INFO")
    equilibrium = solve_equilibrium(_economy_with_few_far_out(3, 50, 1), memory=memory)
    assert "absorbing its potentials" in caplog.text
    assert (equilibrium.kernel, int(equilibrium.status)) == (kernel, Status.CERTIFIED)


def test_types_of_which_a_low_rank_tells_nothing_are_seen_by_their_pairs(monkeypatch):
    found, counts = kernel_ladder._lost, []

    def counted(error, mass):
        types = found(error, mass)
        counts.append(len(types))
        return types

    monkeypatch.setattr(kernel_ladder, "_lost", counted)
    economy = _economy_with_few_far_out(5, 50, 2, largest_firm=30.0)
    equilibrium = solve_equilibrium(economy)
    assert (equilibrium.kernel, int(equilibrium.status)) == ("low rank", Status.CERTIFIED)
    assert len(counts) == 2
    assert min(counts) > 0  # of either side
    exact = solve_equilibrium(economy, kernel="dense")
    error = np.abs(equilibrium.log_unmatched[0] - exact.log_unmatched[0])
    assert error.max() <= 1e-8
    monkeypatch.setattr(kernel_ladder, "_LOST", np.inf)
    assert solve_equilibrium(economy).kernel == "dense"


def _nearly_all_matched(constant):
    skills, characteristics = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 600))
    return _economy_of(skills, characteristics, 200.0, constant=constant)


def test_a_level_of_wages_that_no_kernel_would_tell_is_left_open(caplog):
    economy = _nearly_all_matched(50.0)
    # without memory for a matrix the exact kernel is the streamed one
    equilibrium = solve_equilibrium(economy, memory=5e6)
    assert equilibrium.kernel == "low rank"
    assert "low-rank" not in caplog.text
    assert solve_equilibrium(economy).kernel == "dense"
    exact = solve_equilibrium(economy, kernel="dense")
    for found in (equilibrium, exact):
        assert int(found.status) == Status.UNDETERMINED
        assert float(found.max_residual) <= 1e-11
        assert float(found.wage_error_bound) > 1e-3


def test_an_exact_kernel_is_asked_where_it_might_tell_the_level_of_wages():
    for constant, kernel in ((15.0, "streamed"), (20.0, "low rank")):
        economy = _nearly_all_matched(constant)
        first = solve_equilibrium(economy, kernel="low rank")
        last = solve_equilibrium(economy, memory=5e6)
        assert last.kernel == kernel
        assert int(first.status) == int(last.status) == Status.UNDETERMINED
        assert last.wage_error_bound <= first.wage_error_bound


@pytest.mark.parametrize(("tail", "reach", "seed"), [(2.0, 200, 1), (1.0, 400, 5)])
def test_a_low_rank_whose_sums_mean_nothing_gives_way_to_an_exact_kernel(tail, reach, seed, caplog):
    equilibrium = solve_equilibrium(_economy_with_few_far_out(tail, reach, seed), throw=False)
    assert equilibrium.kernel == "dense"
    assert "no low-rank kernel certified" in caplog.text
    assert float(equilibrium.max_residual) < 1e-12
    assert int(equilibrium.status) in (Status.CERTIFIED, Status.UNDETERMINED)


def test_a_solution_that_began_on_a_kernel_given_up_is_not_taken(monkeypatch):
    made, solved = [], []
    make, solve = low_rank._kernel, kernel_ladder._within_memory

    def counted(*arguments, **how):
        made.append(make(*arguments, **how))
        return made[-1]

    def looked_at(kernel, *how):
        solved.append((kernel, how[-1]))
        return solve(kernel, *how)

    monkeypatch.setattr(low_rank, "_kernel", counted)
    monkeypatch.setattr(kernel_ladder, "_within_memory", looked_at)
    rng = np.random.default_rng(0)
    u, v, mass = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2)), np.full(1500, 1 / 1500)
    u *= 40.0 / np.ptp(u @ v.T)
    solution = solve_fixed_margins(Factors(u, v), mass, mass, kernel="low rank")
    assert len(made) > 1  # types joined
    ((kernel, under_way),) = solved
    assert kernel is made[-1][0]
    assert under_way is not None
    assert solution.all_matches.kernel is kernel


def test_a_sample_holds_types_of_every_part_of_a_line(monkeypatch):
    monkeypatch.setattr(low_rank, "_ATTEMPTS", 1)
    rng = np.random.default_rng(0)
    u, v = np.concatenate([rng.normal(0.0, 0.05, (2, 3990)), rng.uniform(2.5, 3.5, (2, 10))], 1)
    kernel = low_rank_kernel(u[:, None], v[:, None])
    assert isinstance(kernel, ScaledKernel)
    _assert_bound_holds(kernel, u[:, None], v[:, None])
    assert float(kernel.error_x.max() * kernel.error_y.mean()) < 1e-11


def test_low_rank_never_builds_the_matrix():
    # 200,000 × 50,000 cells would take 80 GB; the process may take 3
    script = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
import jax; jax.config.update("jax_enable_x64", True)
from tests.test_kernels import _economy
from matching import solve_equilibrium, statistics
eq = solve_equilibrium(_economy(200_000, 50_000, 1, 10.0))
assert eq.kernel == "low rank" and int(eq.status) == 0, (eq.kernel, eq.status)
print(float(eq.max_residual), float(statistics(eq)["unemployment_rate"]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def test_streamed_sums_never_build_the_matrix_and_agree_with_low_rank():
    # 40,000 × 8,000 cells would take 2.6 GB; the process may take 1.5
    script = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (1536 << 20, 1536 << 20))
import jax; jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from tests.test_kernels import _economy
from matching import choose_kernel
from matching.kernel import sums
economy = _economy(40_000, 8_000, 1, 2.0)
row, column = jnp.zeros(40_000), jnp.zeros(8_000)
totals = {}
for name in ("streamed", "low rank"):
    matches = choose_kernel(economy, name).matches(row, column)
    totals[name] = sums(matches, (40_000, 8_000))
for exact, near, error in zip(totals["streamed"], totals["low rank"], matches.error()):
    assert jnp.all(jnp.abs(exact - near) <= error + 1e-13 * exact)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def test_a_rank_that_cannot_meet_the_bound_is_refused_with_the_bound_that_it_meets():
    economy = _economy(120, 100, 1, 4.0)
    needed = choose_kernel(economy, "low rank").table.rank
    assert choose_kernel(economy, "low rank", rank=needed).table.rank == needed
    with pytest.raises(InvalidInput, match=rf"rank 4 leaves an error of .* takes rank {needed}"):
        choose_kernel(economy, "low rank", rank=4)


def test_memory_that_cannot_hold_a_kernel_is_refused_with_what_would_fit():
    economy = _economy(2000, 1000, 1, 2.0)  # 48 MB dense
    assert choose_kernel(economy, "dense", memory=60e6).name == "dense"
    with pytest.raises(InvalidInput, match=r"dense kernel of 2,000 x 1,000 types needs 0.0487 GB"):
        choose_kernel(economy, "dense", memory=10e6)
    with pytest.raises(InvalidInput, match=r"'streamed', 58 worker types at a time, 0.01 GB"):
        choose_kernel(economy, "dense", memory=10e6)
    assert choose_kernel(economy, "streamed", memory=10e6).block == 58
    assert choose_kernel(economy, low_rank=False, memory=10e6).name == "streamed"
    with pytest.raises(InvalidInput, match="no kernel fits"):
        choose_kernel(economy, "streamed", memory=1e5)


def test_unknown_kernels_and_choices_inside_jit_are_refused():
    economy = _economy(20, 20, 1, 2.0)
    with pytest.raises(InvalidInput, match="'sparse' is unknown"):
        choose_kernel(economy, "sparse")
    with pytest.raises(InvalidInput, match="inside jit"):
        jax.jit(lambda e: jnp.sum(solve_equilibrium(e, kernel="streamed").log_unmatched_firms))(
            economy
        )
