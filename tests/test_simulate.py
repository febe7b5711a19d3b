"""Simulated data: the equilibrium's masses, firms, wages and bytes."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from estimation import estimate_affinity, simulate_matches
from matching import InvalidInput, solve_equilibrium
from shorematch.denmark import economy_path
from shorematch.simulating import simulate_file

WORKERS = 40_000


@pytest.fixture(scope="module")
def equilibrium(danish_2006):
    return solve_equilibrium(danish_2006)


@pytest.fixture(scope="module")
def data(equilibrium):
    """40,000 home workers of 2006, without an error on wages."""
    return simulate_matches(equilibrium, WORKERS, seed=7)


def test_frequencies_are_the_masses_of_the_equilibrium(equilibrium, data):
    """Pearson's statistic of each origin's cells; one seed in a thousand would fail."""
    for k, (pi, f0) in enumerate(zip(equilibrium.matches, equilibrium.unmatched, strict=True)):
        mass = np.column_stack([pi, f0])
        here = data.origin == k
        assert here.sum() == round(WORKERS * mass.sum())  # home's mass is one
        cells = data.worker_type[here] * mass.shape[1] + data.firm_type[here] % mass.shape[1]
        expected = here.sum() * (mass / mass.sum()).ravel()
        drawn = np.bincount(cells, minlength=mass.size)
        kept = expected >= 5  # the others together are one cell
        pooled = [np.r_[v[kept], v[~kept].sum()] for v in (drawn, expected)]
        pooled = [v if v[-1] else v[:-1] for v in pooled]
        assert stats.chisquare(*pooled).pvalue > 1e-3


def test_wages_are_those_of_the_equilibrium_and_errors_have_their_spread(equilibrium, data):
    for k, wages in enumerate(equilibrium.wages):
        here = (data.origin == k) & (data.firm_type >= 0)
        exact = np.asarray(wages)[data.worker_type[here], data.firm_type[here]]
        np.testing.assert_array_equal(data.wage[here], exact)
    noisy = simulate_matches(equilibrium, WORKERS, seed=7, wage_error=3.0)
    np.testing.assert_array_equal(noisy.firm, data.firm)  # its own stream
    np.testing.assert_array_equal(np.isnan(noisy.wage), data.firm_type < 0)
    error = (noisy.wage - data.wage)[data.firm_type >= 0]
    # four standard errors of a normal's mean and standard deviation
    assert abs(error.mean()) < 4 * 3.0 / np.sqrt(len(error))
    assert abs(error.std() - 3.0) < 4 * 3.0 / np.sqrt(2 * len(error))


def test_a_firm_has_one_type_and_firms_sizes_are_as_unequal_as_in_registers(data):
    matched = data.firm >= 0
    np.testing.assert_array_equal(matched, data.firm_type >= 0)
    types = pd.Series(data.firm_type[matched]).groupby(data.firm[matched]).nunique()
    assert (types == 1).all()
    sizes = np.bincount(data.firm[matched])
    assert sizes.min() == 1  # numbered without gaps
    # P(size >= s) = s^-1.06: half the firms have one worker, one in twelve has ten or more
    assert np.mean(sizes == 1) == pytest.approx(1 - 2**-1.06, abs=0.03)
    assert np.mean(sizes >= 10) == pytest.approx(10**-1.06, abs=0.02)
    assert sizes.max() > 300


def test_the_affinity_matrix_is_recovered_from_simulated_data(danish_2006, equilibrium):
    """Φ/λ of home matches within three of its standard errors."""
    draw = simulate_matches(equilibrium, 3_000, seed=3)
    home = (draw.origin == 0) & (draw.firm_type >= 0)
    x = np.asarray(danish_2006.home.skills)[draw.worker_type[home]]
    y = np.asarray(danish_2006.firms.characteristics)[draw.firm_type[home]]
    estimate = estimate_affinity(x, y)
    truth = float(danish_2006.affinity[0, 0] / danish_2006.scale)
    assert abs(estimate.values[0] - truth) < 3 * estimate.std_errors()[0]


def test_the_three_kinds_of_files_hold_the_same_and_one_seed_gives_the_same_bytes(tmp_path):
    frames = []
    for suffix, read in (
        ("csv", pd.read_csv), ("parquet", pd.read_parquet), ("dta", pd.read_stata)
    ):  # fmt: skip
        first, second = (tmp_path / f"{stem}.{suffix}" for stem in ("first", "second"))
        for path in (first, second):
            assert simulate_file(economy_path(2006), path, 500, seed=1, wage_error=2.0) == 0
        assert first.read_bytes() == second.read_bytes()
        frames.append(read(first).astype({"firm": float, "firm_size": float}))
    for other in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], other, check_dtype=False, rtol=1e-15)
    frame = frames[0]
    unmatched = frame["matched"] == 0
    assert list(frame.columns) == [
        "worker", "firm", "origin", "matched", "wage", "skill", "productivity", "firm_size",
    ]  # fmt: skip
    assert frame["worker"].is_unique
    empty = frame[["firm", "wage", "productivity", "firm_size"]].isna()
    assert (empty.to_numpy() == unmatched.to_numpy()[:, None]).all()
    simulate_file(economy_path(2006), tmp_path / "other.csv", 500, seed=2, wage_error=2.0)
    assert (tmp_path / "other.csv").read_bytes() != (tmp_path / "first.csv").read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{s}.{k}" for s in ("first", "second") for k in ("csv", "parquet", "dta")} | {
        "other.csv"
    }


def test_what_cannot_be_drawn_or_written_is_refused_at_once(tmp_path, equilibrium):
    (tmp_path / "there.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"there\.csv: exists"):
        simulate_file(economy_path(2006), tmp_path / "there.csv", 10, seed=1)
    assert (tmp_path / "there.csv").read_text(encoding="utf-8") == "mine"
    with pytest.raises(InvalidInput) as caught:
        simulate_file(economy_path(2006), tmp_path / "nowhere" / "data.xlsx", 10, seed=1)
    assert "unknown kind (.xlsx)" in str(caught.value)
    assert "its folder does not exist" in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        simulate_matches(equilibrium, 0, seed=1, wage_error=-1.0)
    assert len(caught.value.defects) == 2
