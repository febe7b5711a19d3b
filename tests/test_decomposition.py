"""The change between two economies by groups of parameters, against sums written out by hand."""

import itertools
import json
import math
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pandas as pd
import pytest

from counterfactuals import (
    ParameterGroup,
    decompose,
    decompose_draws,
    default_groups,
    effect_of_cause,
    measure_labels,
)
from matching import STATISTICS, InvalidInput, parameter_names, solve_equilibrium, with_parameter
from matching.statistics import offshoring_rate, offshoring_share_by_firm
from shorematch.denmark import economy_path
from shorematch.files.defects import InputError
from shorematch.files.draw_files import DRAWS, Draws, parameters_of, write_draws
from shorematch.files.economy_file import write_economy
from shorematch.report.run_comparison import compare_runs
from shorematch.scenarios.decomposing import (
    causes_frame,
    decompose_files,
    decomposition_frame,
    findings_of,
)
from shorematch.solving import statistics_of


@pytest.fixture(scope="module")
def result(danish_1996, danish_2006):
    return decompose(danish_1996, danish_2006)


def marginals(result, column, order):
    """Contributions as the groups move in an order, a walk from corner to corner."""
    corner, steps = 0, {}
    for g in order:
        steps[g] = result.corners[corner | 1 << g, column] - result.corners[corner, column]
        corner |= 1 << g
    return [steps[g] for g in range(len(order))]


def test_contributions_add_up_to_the_change_of_every_statistic(result):
    change = result.end - result.start
    assert np.isfinite(change).all()
    for parts in (result.shapley, result.sequential):
        np.testing.assert_allclose(parts.sum(0), change, rtol=0, atol=1e-10)


def test_shapley_values_and_ranges_are_those_over_all_720_orders(result):
    for label in [("var_wage_between_firms", ""), ("offshoring_share_by_firm", "firm 3")]:
        column = result.labels.index(label)
        walks = np.array([marginals(result, column, o) for o in itertools.permutations(range(6))])
        assert len(walks) == math.factorial(6)
        scale = np.abs(walks).max()
        close = {"rtol": 0, "atol": 1e-12 * scale}
        np.testing.assert_allclose(result.shapley[:, column], walks.mean(0), **close)
        np.testing.assert_allclose(result.least[:, column], walks.min(0), **close)
        np.testing.assert_allclose(result.most[:, column], walks.max(0), **close)
        np.testing.assert_allclose(result.sequential[:, column], walks[0], **close)


def test_first_and_last_corner_are_the_two_economies(result, danish_1996, danish_2006):
    for economy, corner in ((danish_1996, result.start), (danish_2006, result.end)):
        values = dict(zip(result.labels, corner, strict=True))
        equilibrium = solve_equilibrium(economy)
        for name, value in statistics_of(equilibrium).items():
            np.testing.assert_allclose(values[name, ""], value, rtol=1e-9)
        by_firm = [values["offshoring_share_by_firm", f"firm {j}"] for j in range(10)]
        np.testing.assert_allclose(by_firm, offshoring_share_by_firm(equilibrium), rtol=1e-9)
        utility = [values["expected_utility_by_worker", f"denmark {i}"] for i in range(10)]
        total = np.dot(economy.home.mass, utility)
        np.testing.assert_allclose(total, values["welfare_workers_home", ""], rtol=1e-9)
        unmatched = [values["unemployment_by_worker", f"denmark {i}"] for i in range(10)]
        gain = economy.home.outside_option - economy.lambda_x * np.log(unmatched)
        np.testing.assert_allclose(utility, gain, rtol=1e-9)
        profit = [values["expected_profit_by_firm", f"firm {j}"] for j in range(10)]
        total = np.dot(economy.firms.mass, profit)
        np.testing.assert_allclose(total, values["welfare_firms", ""], rtol=1e-9)
        by_worker = [values["offshoring_by_worker", f"china {k}"] for k in range(10)]
        np.testing.assert_allclose(sum(by_worker), offshoring_rate(equilibrium), rtol=1e-9)


def test_a_group_that_does_not_change_contributes_nothing(danish_1996):
    moved = with_parameter(danish_1996, "tastes.lambda_x", 50.0)
    result = decompose(danish_1996, moved)
    for g, group in enumerate(result.groups):
        moves = np.any(result.shapley[g] != 0)
        assert moves == ("tastes.lambda_x" in group.parameters)


@pytest.fixture(scope="module")
def years(tmp_path_factory, danish_1996, danish_2006):
    """Both economies as estimations would leave them, with four draws each, the third failed."""
    folder, draws = tmp_path_factory.mktemp("years"), []
    rng = np.random.default_rng(3)
    for name, economy in (("1996", danish_1996), ("2006", danish_2006)):
        (folder / name).mkdir()
        write_economy(economy, folder / name)
        constants = economy.origins[1].constant + rng.normal(size=4)
        vary = partial(with_parameter, economy, "origin.china.constant")
        stack = jax.vmap(vary)(constants)
        draws.append(Draws(stack, np.arange(4) == 2))
        write_draws(folder / name / DRAWS, parameters_of(draws[-1].economies), draws[-1].failed)
    return folder, draws


def test_each_draw_is_the_decomposition_of_its_own_pair(years, result):
    starts, ends = (draws.economies for draws in years[1])
    found = decompose_draws(starts, ends, years[1][0].failed, result.groups)
    there = decompose_draws(ends, starts, years[1][0].failed, result.groups)
    assert found.used.tolist() == [True, True, False, True]
    assert np.isnan(found.shapley[2]).all()
    kept = found.used
    np.testing.assert_allclose(
        found.shapley[kept].sum(1), found.change[kept], rtol=0, atol=1e-10
    )  # fmt: skip
    # a change and its reverse have opposite contributions, whatever moves first
    scale = np.abs(found.shapley[kept]).max()
    np.testing.assert_allclose(there.shapley[kept], -found.shapley[kept], rtol=0,
                               atol=1e-9 * scale)  # fmt: skip
    one = decompose(*(jax.tree.map(lambda x: x[1], stack) for stack in (starts, ends)))
    np.testing.assert_allclose(found.shapley[1], one.shapley, rtol=1e-12)
    assert not np.allclose(found.shapley[1], result.shapley, rtol=1e-6)
    with pytest.raises(InvalidInput, match=r"draw 0: origin\.china\.constant: differs"):
        decompose_draws(starts, ends, [False] * 4, result.groups[:-2])


@pytest.fixture(scope="module")
def runs(years):
    """A run of the command, and one of its own groups with intervals."""
    folder = years[0]
    assert decompose_files(economy_path(1996), economy_path(2006), folder / "a") == 0
    paths = [folder / name / "economy.toml" for name in ("1996", "2006")]
    assert decompose_files(*paths, folder / "b", folder / "a/groups.toml", intervals=True) == 0
    return folder


def test_the_command_writes_intervals_of_contributions_causes_and_the_change(
    runs, years, result, tmp_path
):
    draws = years[1]
    frame = pd.read_csv(runs / "b/intervals.csv", keep_default_na=False)
    assert list(frame) == ["moved", "statistic", "group", "estimate", "ci_low", "ci_high", "draws"]
    drawn = decompose_draws(*(d.economies for d in draws), draws[0].failed, result.groups)
    k = result.labels.index(("var_wage_between_firms", ""))
    foreign = result.groups[4]
    assert foreign.cause == "globalisation"
    numbers = {
        foreign.name: drawn.shapley[:, 4, k],
        "globalisation": drawn.shapley[:, 4, k],
        "structural change": drawn.shapley[:, :4, k].sum(1),
        "change": drawn.change[:, k],
    }
    rows = frame.query("statistic == 'var_wage_between_firms'").set_index("moved")
    assert list(rows.index) == [g.name for g in result.groups] + list(numbers)[2:0:-1] + ["change"]
    for name, values in numbers.items():
        expected = np.quantile(np.delete(values, 2), [0.025, 0.975])
        np.testing.assert_allclose(rows.loc[name, ["ci_low", "ci_high"]].to_numpy(float), expected)
        assert rows.loc[name, "draws"] == 3
    assert rows.loc["change", "estimate"] == pytest.approx(result.end[k] - result.start[k])
    with pytest.raises(InputError, match="none beside them"):
        decompose_files(economy_path(1996), economy_path(2006), tmp_path / "none", intervals=True)


def test_default_groups_hold_every_parameter_once(danish_2006):
    for economy in (danish_2006, replace(danish_2006, origins=danish_2006.origins[:1])):
        named = [name for group in default_groups(economy) for name in group.parameters]
        assert sorted(named) == sorted(parameter_names(economy))


def test_labels_name_each_measure_once(danish_2006):
    labels = measure_labels(danish_2006)
    assert len(set(labels)) == len(labels)


def test_all_that_is_wrong_with_the_groups_is_said_together(danish_1996, danish_2006):
    groups = [
        ParameterGroup("one", ("technology.afinity", "tastes.lambda_x")),
        ParameterGroup("one", ("tastes.lambda_x",)),
    ]
    with pytest.raises(InvalidInput) as error:
        decompose(danish_1996, danish_2006, groups)
    text = str(error.value)
    assert "did you mean 'technology.affinity'?" in text
    assert "tastes.lambda_x is in group 'one' already" in text
    assert "bears the name of another" in text
    assert "origin.denmark.nu_x: differs between the two economies and is in no group" in text


def test_economies_of_different_types_are_refused(danish_1996, danish_2006):
    home = danish_2006.home
    fewer = replace(home, skills=home.skills[:9], mass=home.mass[:9], name="norway")
    for first, said in (
        (fewer, "names of the origins"),
        (replace(fewer, name="denmark"), r"\(9, 1\)"),
    ):
        other = replace(danish_2006, origins=(first, danish_2006.origins[1]))
        with pytest.raises(InvalidInput, match=said):
            decompose(danish_1996, other)


def test_the_range_of_a_cause_is_over_all_720_orders_and_holds_its_average(result):
    for label in [("var_wage_between_firms", ""), ("unemployment_rate", "")]:
        column = result.labels.index(label)
        walks = np.array([marginals(result, column, o) for o in itertools.permutations(range(6))])
        for cause in ("structural change", "globalisation", "", "no such cause"):
            sums = walks[:, [group.cause == cause for group in result.groups]].sum(1)
            effect = effect_of_cause(result, cause, label)
            found = [effect.least, effect.shapley, effect.most]
            expected = [sums.min(), sums.mean(), sums.max()]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(walks).max())


def test_findings_follow_the_numbers(result):
    causes = causes_frame(result).set_index(["statistic", "cause"])
    effects = {
        name: causes.loc[f"Between-firm variance of {name}", "shapley"]
        for name in ("wages", "skills")
    }
    for finding, (name, effect) in zip(findings_of(result)[1:], effects.items(), strict=True):
        confirmed = effect["structural change"] > 0 > effect["globalisation"]
        assert name in finding
        assert ("not confirmed" in finding) != confirmed
        total = result.end - result.start
        column = result.labels.index((f"var_{name.removesuffix('s')}_between_firms", ""))
        np.testing.assert_allclose(effect.sum(), total[column], rtol=1e-10)

    flipped = replace(result, corners=result.corners[::-1], shapley=-result.shapley)
    assert all("not confirmed" in finding for finding in findings_of(flipped)[1:])
    same = replace(result, shapley=0.0 * result.shapley)
    for finding in findings_of(same)[1:]:
        assert "structural change leaves it as it is and globalisation leaves it as it" in finding
    unsolved = replace(result, corners=result.corners.copy())
    unsolved.corners[5] = np.nan
    assert all("not known" in finding for finding in findings_of(unsolved)[1:])


def test_the_command_writes_tables_figures_and_groups_that_it_takes_back(runs, result):
    assert {p.name for p in (runs / "a").iterdir()} == {
        "decomposition.csv", "table.csv", "table.tex", "table.md", "causes.csv", "causes.tex",
        "causes.md", "groups.toml", "findings.md", "summary.json", "manifest.json",
        "figures",
    }  # fmt: skip
    frame = pd.read_csv(runs / "a/decomposition.csv", keep_default_na=False)
    expected = decomposition_frame(result)
    np.testing.assert_array_equal(frame["shapley"].to_numpy(float), expected["shapley"])
    assert frame["statistic"].nunique() * 6 <= len(frame) == len(result.labels) * 6
    a, b = ((runs / run / "decomposition.csv").read_bytes() for run in "ab")
    assert a == b
    frames = compare_runs({"a": runs / "a", "b": runs / "b"})
    assert list(frames) == ["change", *(group.name for group in result.groups)]
    scalars = [k for k, (name, _) in enumerate(result.labels) if name in STATISTICS]
    for g, group in enumerate(result.groups):
        np.testing.assert_array_equal(frames[group.name]["b"], result.shapley[g, scalars])
    assert json.loads((runs / "a/summary.json").read_text())["status"] == {"certified": 64}


def test_a_defect_of_the_groups_file_leaves_nothing_behind(tmp_path):
    path = tmp_path / "groups.toml"
    path.write_text('[[group]]\nname = "all"\nparameter = ["technology.affinity"]\n')
    with pytest.raises(InputError, match="did you mean 'parameters'"):
        decompose_files(economy_path(1996), economy_path(2006), tmp_path / "out", path)
    path.write_text('[[group]]\nname = "all"\nparameters = ["technology.affinity"]\n')
    with pytest.raises(InvalidInput, match="is in no group"):
        decompose_files(economy_path(1996), economy_path(2006), tmp_path / "out", path)
    path.write_text('[[group]]\nname = "change"\nparameters = ["technology.affinity"]\n')
    with pytest.raises(InputError, match="a group is named 'change'"):
        decompose_files(economy_path(1996), economy_path(2006), tmp_path / "out", path)
    assert [p.name for p in tmp_path.iterdir()] == ["groups.toml"]


def test_an_economy_that_cannot_be_solved_leaves_its_numbers_out(danish_1996):
    end = with_parameter(danish_1996, "technology.affinity", 1e300)
    result = decompose(danish_1996, end)
    assert np.isnan(result.end).all()
    assert np.isnan(result.shapley[0]).all()
    assert np.isfinite(result.start).all()
