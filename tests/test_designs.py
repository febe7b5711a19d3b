"""Grids, lists and draws as data: point by point against SciPy and shocks applied one by one."""

from functools import reduce

import jax
import numpy as np
import pytest
from scipy.stats import kstest, norm, qmc

from counterfactuals import Change, Shock, apply_shock
from counterfactuals.designs import (
    Axis,
    Spread,
    check_design,
    drawn,
    economies_of,
    grid,
    listed,
    shocks_of_point,
    single,
    taken_from,
)
from matching import InvalidInput, get_parameter
from shorematch.denmark import economy_path
from shorematch.files.defects import InputError
from shorematch.files.economy_file import read_economy
from shorematch.files.inputs import FileModel, read_toml
from shorematch.scenarios.shock_files import DesignEntry, ShockEntry, read_scenario_entries
from tests.danish import FILES, write_danish

COST = Axis("origin.china.constant", "add", np.array([0.0, 5.0, 10.0]))
AFFINITY = Axis("technology.affinity", "multiply", np.array([1.0, 2.0]))
UNIFORM = Spread("origin.denmark.nu_x", "add", "uniform", (-1.0, 2.0))
NORMAL = Spread("tastes.lambda_x", "multiply", "normal", (1.0, 0.1))


def assert_same_economies(economy, design):
    points = np.arange(len(design))
    batch = economies_of(economy, design, points)
    for k in points:
        alone = reduce(apply_shock, shocks_of_point(design, k), economy)
        lane = jax.tree.map(lambda leaf, k=k: leaf[k], batch)
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(lane), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_batch_holds_the_economies_that_shocks_make_one_by_one(danish_1996, danish_2006):
    copy = Change("origin.china.nu_x", "equal", "origin.denmark.nu_x")
    before = Shock("technology of 1996", (taken_from(danish_1996, "technology.affinity"),))
    array = Axis("firms.mass", "set", np.linspace(0.1, 1.0, 20).reshape(2, 10))
    for design in (
        grid("a", [COST, AFFINITY], fixed=[copy], after=[before]),
        listed("b", [AFFINITY, array]),
        drawn("c", [UNIFORM, NORMAL], 3, seed=1, fixed=[copy]),
        single(Shock("d", (copy,)), [before]),
    ):
        assert_same_economies(danish_2006, design)


def test_a_grid_holds_every_combination_once_and_a_list_runs_in_step():
    values = [
        tuple(float(change.value) for change in shocks_of_point(grid("g", [COST, AFFINITY]), k)[0]
              .changes)
        for k in range(6)
    ]  # fmt: skip
    assert values == [(0, 1), (0, 2), (5, 1), (5, 2), (10, 1), (10, 2)]
    np.testing.assert_array_equal(listed("l", [AFFINITY, AFFINITY]).index, [[0, 0], [1, 1]])
    with pytest.raises(InvalidInput, match=r"constant 3, technology\.affinity 2"):
        listed("l", [COST, AFFINITY])


@pytest.mark.parametrize("method", ["random", "latin_hypercube", "sobol", "halton"])
def test_draws_follow_their_distribution_and_their_seed(method):
    design = drawn("d", [UNIFORM, NORMAL], 1024, method=method, seed=3)
    uniform, normal = (axis.values for axis in design.axes)
    assert kstest(uniform, "uniform", args=(-1.0, 3.0)).pvalue > 0.01
    assert kstest(normal, "norm", args=(1.0, 0.1)).pvalue > 0.01
    assert abs(np.corrcoef(uniform, normal)[0, 1]) < 0.1
    again = drawn("d", [UNIFORM, NORMAL], 1024, method=method, seed=3)
    np.testing.assert_array_equal(again.axes[1].values, normal)
    for other in (drawn("d", [UNIFORM], 1024, method=method, seed=4),
                  drawn("e", [UNIFORM], 1024, method=method, seed=3)):  # fmt: skip
        assert not np.any(other.axes[0].values == uniform)


def test_quasi_random_draws_fill_the_square_more_evenly_than_random_ones():
    square = [Spread(name, "add", "uniform", (0.0, 1.0)) for name in ("a", "b")]
    uneven = {
        method: qmc.discrepancy(
            np.column_stack([a.values for a in drawn("d", square, 256, method=method).axes])
        )
        for method in ("random", "latin_hypercube", "sobol", "halton")
    }
    assert max(uneven["sobol"], uneven["halton"]) < uneven["latin_hypercube"] < uneven["random"]


def test_normal_draws_are_the_quantiles_of_uniform_ones():
    design = drawn("d", [NORMAL], 64, method="sobol", seed=2)
    share = np.sort(norm.cdf(design.axes[0].values, 1.0, 0.1))
    assert np.all(np.floor(share * 64) == np.arange(64))  # one in each of 64 equal slices


def test_what_is_wrong_at_any_point_is_found_before_solving(danish_2006):
    for axis, said in (
        (Axis("tastes.lambda_x", "add", np.array([0.0, -20.0, 1.0])), "taste scale is positive"),
        (Axis("tastes.lambda_x", "multiply", np.array([1.0, np.nan, 2.0])), "not finite"),
        (Axis("firms.mass", "set", np.ones((2, 9))), r"shape \(9,\)"),
        (Axis("origin.chna.nu_x", "add", np.array([1.0])), "did you mean 'origin.china.nu_x'"),
    ):
        with pytest.raises(InvalidInput, match=said):
            check_design(danish_2006, grid("g", [AFFINITY, axis]))
    for wrong in ([], [Axis("tastes.lambda_x", "set", np.array([]))]):
        with pytest.raises(InvalidInput, match="design 'g'"):
            grid("g", wrong)
    with pytest.raises(InvalidInput, match="from < to"):
        drawn("d", [Spread("tastes.lambda_x", "set", "uniform", (2.0, 1.0))], 5)


class File(FileModel):
    shock: list[ShockEntry] = []  # noqa: RUF012
    design: list[DesignEntry] = []  # noqa: RUF012


def read(folder, text, **keywords):
    path = folder / "sweep.toml"
    path.write_text(text)
    loaded = read_economy(write_danish(folder))
    defects = []
    file = read_toml(path, File, defects)
    assert not defects
    return read_scenario_entries(path, loaded, file.shock, file.design, **keywords)


def test_a_file_of_shocks_and_designs_means_what_it_says(tmp_path):
    text = FILES["economy.toml"].replace("75.55", "75.38")
    (tmp_path / "before.toml").write_text(text)
    read_1, read_2, both, costs, draws = read(
        tmp_path,
        """
        [[shock]]
        name = "technology before"
        technology.affinity = { equal = "technology.affinity", of = "before.toml" }
        [[shock]]
        name = "no cost"
        origin.china.constant = { equal = "origin.denmark.constant" }
        [[shock]]
        name = "both"
        after = ["technology before", "no cost"]
        [[design]]
        name = "costs"
        method = "grid"
        after = ["both"]
        origin.china.constant = { add = { from = -20, to = 0.0, points = 3 } }
        technology.affinity = { multiply = [1, 2] }
        origin.china.nu_x = { equal = "origin.denmark.nu_x" }
        [[design]]
        name = "draws"
        method = "halton"
        points = 7
        seed = 5
        tastes.lambda_x = { multiply = { mean = 1.0, sd = 0.05 } }
        origin.denmark.nu_y = { set = { from = -3.0, to = -2.0 } }
        """,
    ).designs
    loaded = read_economy(tmp_path / "economy.toml").economy
    economy = reduce(apply_shock, shocks_of_point(costs, 1), loaded)
    assert float(economy.affinity[0, 0]) == 2 * 75.38
    assert float(economy.origins[1].constant) == 207.90 - 20
    assert float(economy.origins[1].nu_x) == -4.51
    assert [len(d) for d in (read_1, read_2, both, costs, draws)] == [1, 1, 1, 6, 7]
    nu_y = get_parameter(economies_of(loaded, draws, np.arange(7)), "origin.denmark.nu_y")
    assert np.all((nu_y > -3) & (nu_y < -2))


def test_files_of_other_economies_are_recorded(tmp_path):
    (tmp_path / "before.toml").write_text(FILES["economy.toml"] + "\n")
    text = (
        '[[shock]]\nname = "s"\ntechnology.affinity = { equal = "technology.affinity", of = "X" }'
    )
    found = read(tmp_path, text.replace("X", "before.toml"))
    assert "before.toml" in found.files
    with pytest.raises(InputError, match=r"does not exist; did you mean 'before\.toml'"):
        read(tmp_path, text.replace("X", "befor.toml"))
    with pytest.raises(InputError, match=r"did you mean 'technology\.affinity'"):
        read(tmp_path, text.replace('equal = "technology.aff', 'equal = "technology.af')
             .replace("X", "before.toml"))  # fmt: skip


def test_every_defect_of_a_file_is_said_at_its_entry(tmp_path):
    with pytest.raises(InputError) as caught:
        read(
            tmp_path,
            """
            [[shock]]
            name = "a"
            after = ["b"]
            [[design]]
            name = "b"
            method = "grid"
            origin.china.constnat = { add = [1.0] }
            [[design]]
            name = "c"
            method = "random"
            tastes.lambda_x = { add = { from = 0.0, to = 1.0 } }
            [[design]]
            name = "d"
            method = "grid"
            tastes.lambda_x = { add = [] }
            [[design]]
            name = "d"
            method = "sobol"
            points = 4
            tastes.lambda_x = { mutliply = { from = 1.0, to = 2.0 } }
            [[design]]
            name = "e"
            method = "list"
            tastes.lambda_x = { add = ["1"] }
            """,
        )
    for part in (
        "shock #1: after: no shock above is named 'b'",
        "did you mean 'origin.china.constant'",
        "design #2: points: is missing",
        "design #3: another scenario bears the name 'd'",
        "design #3: design 'd': tastes.lambda_x has no values",
        "did you mean 'multiply'",
        "design #5: tastes.lambda_x: ['1'] are no numbers",
    ):
        assert part in str(caught.value), str(caught.value)


def test_more_points_than_allowed_are_refused_before_they_are_made(tmp_path):
    text = """
    [[design]]
    name = "huge"
    method = "grid"
    tastes.lambda_x = { add = { from = 0, to = 1, points = 100000 } }
    tastes.lambda_y = { add = { from = 0, to = 1, points = 100000 } }
    """
    with pytest.raises(InputError, match=r"10,000,000,000 points .* pass --yes"):
        read(tmp_path, text, most=1_000_000)
    text = text.replace("100000", "1000000000000")
    with pytest.raises(InputError, match=r"than this machine has memory for, 50,000,000"):
        read(tmp_path, text, most=5e7)


def test_the_shipped_shocks_are_designs_of_one_point():
    path = economy_path(2006)
    file = read_toml(path.with_name("shocks.toml"), File, [])
    found = read_scenario_entries(path, read_economy(path), file.shock)
    assert [len(design) for design in found.designs] == [1] * 6
