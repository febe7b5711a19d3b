"""Intervals of scenarios, against draws solved one by one and NumPy's quantiles."""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from counterfactuals import Change, Shock, apply_shock
from counterfactuals.intervals import percentile_interval, solve_draws
from matching import (
    InvalidInput,
    Status,
    get_parameter,
    parameter_names,
    solve_equilibrium,
    with_parameter,
)
from matching.statistics import mean_wage_home
from shorematch.files.defects import InputError
from shorematch.files.draw_files import DRAWS, Draws, parameters_of, read_draws, write_draws
from shorematch.files.economy_file import read_economy, write_economy
from shorematch.scenarios.counterfactual import counterfactual_file
from shorematch.scenarios.interval_tables import Intervals, interval_figure
from shorematch.solving import SolveOptions
from tests.danish import write_danish

QUICK = SolveOptions(figures=False)
COUNT, FAILED = 9, 4
SHOCKS = {
    "c_F = 0": [
        Shock("c_F = 0", (Change("origin.china.constant", "equal", "origin.denmark.constant"),))
    ],
    "Φ × 2": [Shock("Φ × 2", (Change("technology.affinity", "multiply", 2.0),))],
}
FILE = """\
[[shock]]
name = "c_F = 0"
origin.china.constant = { equal = "origin.denmark.constant" }
[[shock]]
name = "Φ × 2"
technology.affinity = { multiply = 2.0 }
"""


def drawn(economy):
    """Draws of the estimated parameters; the failed one holds nothing."""
    rng = np.random.default_rng(5)

    def varied(errors):
        changed = with_parameter(economy, "technology.affinity", economy.affinity + errors[0])
        changed = with_parameter(changed, "tastes.lambda_x", economy.lambda_x + errors[1])
        constant = get_parameter(economy, "origin.china.constant") + errors[2]
        return with_parameter(changed, "origin.china.constant", constant)

    errors = rng.normal(size=(COUNT, 3)) * [2.0, 1.0, 3.0]
    errors[FAILED] = np.nan
    return Draws(jax.vmap(varied)(jnp.asarray(errors)), np.arange(COUNT) == FAILED)


@pytest.fixture(scope="module")
def economy(tmp_path_factory):
    return read_economy(write_danish(tmp_path_factory.mktemp("economy"))).economy


@pytest.fixture(scope="module")
def draws(economy):
    return drawn(economy)


@pytest.fixture(scope="module")
def result(economy, draws):
    return solve_draws(economy, draws.economies, draws.failed, SHOCKS)


def test_every_draw_is_the_shock_of_that_draw_s_own_parameters(result, economy, draws):
    wage = result.labels.index(("mean_wage_home", ""))
    assert result.scenarios == ("baseline", *SHOCKS)
    for k, shocks in enumerate([[], *SHOCKS.values()]):
        for b in (None, 0, COUNT - 1):
            base = economy if b is None else jax.tree.map(lambda x, b=b: x[b], draws.economies)
            alone = mean_wage_home(solve_equilibrium(reduce(apply_shock, shocks, base)))
            values = result.estimate[k] if b is None else result.draws[k, b]
            np.testing.assert_allclose(values[wage], alone, rtol=1e-10)


def test_changes_are_paired_draw_by_draw(result):
    np.testing.assert_array_equal(result.changes[2], result.draws[2] - result.draws[0])
    np.testing.assert_array_equal(
        result.estimated_change[1], result.estimate[1] - result.estimate[0]
    )
    wage = result.labels.index(("mean_wage_home", ""))
    paired, levels = (percentile_interval(x[1])[:, wage] for x in (result.changes, result.draws))
    assert np.ptp(paired) < np.ptp(levels)  # what draws share cancels


def test_a_failed_draw_is_in_no_interval_and_counted(result):
    assert result.used.sum(1).tolist() == [COUNT - 1] * 3
    assert not result.used[:, FAILED].any()
    assert np.isnan(result.draws[:, FAILED]).all()
    wage = result.labels.index(("mean_wage_home", ""))
    kept = np.delete(result.changes[1, :, wage], FAILED)
    np.testing.assert_allclose(
        percentile_interval(result.changes[1])[:, wage],
        np.quantile(kept, [0.025, 0.975]),
        rtol=1e-12,
    )


def test_intervals_are_numpy_s_quantiles_whatever_is_missing():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 40, 6))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[1, :, 2] = np.nan
    values[0, 1:, 0] = np.nan
    found = percentile_interval(values, 0.9)
    for i, j in np.ndindex(3, 6):
        kept = values[i, :, j][~np.isnan(values[i, :, j])]
        expected = np.quantile(kept, [0.05, 0.95]) if len(kept) else [np.nan, np.nan]
        np.testing.assert_allclose(found[i, :, j], expected, rtol=1e-13)
    with pytest.raises(InvalidInput, match="give a share"):
        percentile_interval(values, 95)


def test_a_draw_that_a_shock_leaves_without_an_economy_has_failed(economy, draws):
    lambdas = np.asarray(draws.economies.lambda_x)
    step = -np.nanmedian(lambdas)
    shock = Shock("less taste", (Change("tastes.lambda_x", "add", step),))
    result = solve_draws(economy, draws.economies, draws.failed, {"less taste": [shock]})
    left = ~draws.failed & (lambdas + step > 0)
    assert 0 < left.sum() < COUNT - 1
    assert not result.used[1][~left].any()
    assert set(result.status[1][~left]) == {Status.NOT_FINITE}


def test_draws_are_read_back_bit_for_bit(economy, draws, tmp_path):
    write_draws(tmp_path / DRAWS, parameters_of(draws.economies), draws.failed)
    frame = pd.read_parquet(tmp_path / DRAWS)
    assert list(frame) == ["draw", "failed", *parameter_names(economy)]
    assert frame["tastes.lambda_x"].dtype == np.float64
    assert frame.drop(columns=["draw", "failed"]).iloc[FAILED].isna().all()
    read = read_draws(tmp_path / DRAWS, economy)
    np.testing.assert_array_equal(read.failed, draws.failed)
    for name in parameter_names(economy):
        one, other = (np.asarray(get_parameter(x.economies, name)) for x in (read, draws))
        np.testing.assert_array_equal(one[~read.failed], other[~read.failed])


def test_all_that_is_wrong_with_draws_is_said_together(economy, draws, tmp_path):
    write_draws(tmp_path / DRAWS, parameters_of(draws.economies), draws.failed)
    sound = pd.read_parquet(tmp_path / DRAWS)
    frame = sound.rename(columns={"tastes.lambda_x": "tastes.lamda_x"})
    frame.to_parquet(tmp_path / DRAWS)
    with pytest.raises(InputError) as caught:
        read_draws(tmp_path / DRAWS, economy)
    assert "did you mean 'tastes.lamda_x'" in str(caught.value)
    assert "no parameter of the economy" in str(caught.value)
    frame = sound.copy()
    frame.loc[2, "tastes.lambda_x"] = np.nan
    frame.at[3, "firms.mass"] = np.ones(2)
    frame.to_parquet(tmp_path / DRAWS)
    with pytest.raises(InputError) as caught:
        read_draws(tmp_path / DRAWS, economy)
    assert [f"row {row}" in text for row, text in zip((3, 4), caught.value.defects, strict=True)]
    (tmp_path / DRAWS).write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="cannot be read"):
        read_draws(tmp_path / DRAWS, economy)
    with pytest.raises(InputError, match="with a bootstrap"):
        read_draws(tmp_path / "gone" / DRAWS, economy)


@pytest.fixture(scope="module")
def written(tmp_path_factory, economy, draws):
    """An estimation's folder, and in it a run with intervals."""
    folder = tmp_path_factory.mktemp("run")
    path = write_economy(economy, folder)
    write_draws(folder / DRAWS, parameters_of(draws.economies), draws.failed)
    (folder / "shocks.toml").write_text(FILE, encoding="utf-8")
    assert counterfactual_file(path, folder / "shocks.toml", folder / "out", QUICK, folder) == 0
    return folder


def test_the_command_writes_levels_and_changes_with_intervals(written, result):
    out = written / "out"
    frame = pd.read_csv(out / "changes.csv", keep_default_na=False)
    assert list(frame) == [
        "scenario", "statistic", "group", "estimate", "ci_low", "ci_high", "draws",
    ]  # fmt: skip
    row = frame.query("scenario == 'Φ × 2' and statistic == 'sorting'").iloc[0]
    k = result.labels.index(("sorting", ""))
    low, high = percentile_interval(result.changes[2])[:, k]
    assert (row.estimate, row.ci_low, row.ci_high) == (result.estimated_change[2, k], low, high)
    assert row.draws == COUNT - 1
    lines = (out / "changes.md").read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("| sorting"))
    assert f"[{low:#.5g}, {high:#.5g}]" in lines[place + 1]
    levels = pd.read_csv(out / "levels.csv")
    assert set(levels["scenario"]) == set(result.scenarios)


def test_the_figure_shows_each_change_with_its_interval(result):
    changes = result.estimated_change[1:], result.changes[1:]
    found = Intervals("scenario", result.scenarios[1:], result.labels, *changes)
    ax = interval_figure(found, "Changes").axes[0]
    k = result.labels.index(("mean_wage_home", ""))
    (lines,) = ax.collections
    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, percentile_interval(result.changes[1:])[..., k])
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), result.estimated_change[1:, k])


def test_draws_of_another_economy_are_refused(written, economy, tmp_path):
    other = with_parameter(economy, "tastes.lambda_y", 20.0)
    path = write_economy(other, tmp_path)
    with pytest.raises(InputError, match=r"differs in tastes\.lambda_y"):
        counterfactual_file(path, written / "shocks.toml", tmp_path / "out", QUICK, written)
    assert not (tmp_path / "out").exists()
