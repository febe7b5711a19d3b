"""Figures show the statistics, say what they leave out, and are the same every time."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

from counterfactuals.paths import IntegrationPath
from matching import Status, make_economy, make_firms, make_origin, solve_equilibrium
from shorematch import equilibrium_figures as figures
from shorematch.drawing import line_styles

X, Y = np.linspace(0.0, 1.0, 4), np.linspace(0.0, 0.5, 3)
LONG = "a long name, as nobody would give to a scenario that is to be printed, and yet one might"


def economy(constant=207.9, skills=X, mass=(0.1, 0.2, 0.3, 0.4), affinity=75.55, foreign=True):
    home = make_origin(skills, mass, constant=constant, outside_option=45.3, nu_x=-4.5, nu_y=-2.8,
                       name="denmark")  # fmt: skip
    abroad = make_origin(skills, np.full(4, 0.15), constant=120.0, outside_option=25.8, nu_x=-7.6,
                         nu_y=-7.0, name="china")  # fmt: skip
    origins = [home, abroad] if foreign else [home]
    return make_economy(origins, make_firms(Y, [0.3, 0.4, 0.3155]), affinity=affinity,
                        lambda_x=18.78, lambda_y=18.78, characteristic_names=["log productivity"],
                        skill_names=["education in years", "age"][: np.size(affinity)])  # fmt: skip


@pytest.fixture(scope="module")
def equilibria():
    return {"1996": solve_equilibrium(economy(240.0)), "2006": solve_equilibrium(economy())}


@pytest.fixture(scope="module")
def path():
    return IntegrationPath(
        gap=jnp.array([200.0, 100.0, 80.0, 0.0]),
        mean_wage=jnp.array([150.0, 147.0, 146.0, 130.0]),
        offshoring_rate=jnp.array([0.0, 0.01, 0.02, 0.1]),
        status=jnp.zeros(4, int),
        wage_error_bound=jnp.zeros(4),
        own=2,
    )


def note(figure):
    return figure.get_supxlabel()


# each figure's values, written out in NumPy from matches and wages alone
BY_HAND = {
    "wage_by_skill": lambda eq: (X, (eq.matches[0] * eq.wages[0]).sum(1) / eq.matches[0].sum(1)),
    "unemployment_by_skill": lambda eq: (
        X,
        100 * (1 - eq.matches[0].sum(1) / eq.economy.home.mass),
    ),
    "offshoring_by_firm": lambda eq: (Y, 100 * eq.matches[1].sum(0) / sum(eq.matches).sum(0)),
    "match_quality_by_firm": lambda eq: (Y, X @ eq.matches[0] / eq.matches[0].sum(0)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_profiles_show_the_statistic_of_each_equilibrium(name, equilibria):
    figure = getattr(figures, name)(equilibria)
    lines = [line for ax in figure.axes for line in ax.lines]
    assert [line.get_label() for line in lines] == ["1996", "2006"]
    for line, eq in zip(lines, equilibria.values(), strict=True):
        x, y = BY_HAND[name](eq)
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), y, rtol=1e-9)


def test_types_sharing_a_value_are_averaged_by_mass_and_empty_types_left_out():
    skills = np.array([[0.0, 0.3], [1.0, 0.1], [0.0, 0.9], [2.0, 0.0]])
    eq = solve_equilibrium(economy(skills=skills, mass=[0.3, 0.5, 0.2, 0.0], affinity=[[75], [20]]))
    (line,) = figures.wage_by_skill({"": eq}).axes[0].lines
    pi, w = np.asarray(eq.matches[0]), np.asarray(eq.wages[0])
    together = [[0, 2], [1]]
    by_hand = [(pi[rows] * w[rows]).sum() / pi[rows].sum() for rows in together]
    np.testing.assert_array_equal(line.get_xdata(), [0.0, 1.0])
    np.testing.assert_allclose(line.get_ydata(), by_hand, rtol=1e-12)
    (second,) = figures.unemployment_by_skill({"": eq}, skill=1).axes[0].lines
    np.testing.assert_array_equal(second.get_xdata(), [0.1, 0.3, 0.9])


def test_density_is_relative_to_random_matching_of_the_populations(equilibria):
    figure = figures.matching_density(equilibria)
    meshes = [ax.collections[0] for ax in figure.axes if ax.get_title()]
    assert len({(mesh.norm.vmin, mesh.norm.vmax) for mesh in meshes}) == 1
    cells = [(eq, k) for eq in equilibria.values() for k in (0, 1)]
    for mesh, (eq, k) in zip(meshes, cells, strict=True):
        pi = np.asarray(eq.matches[k])
        share_x = np.asarray(eq.economy.origins[k].mass / eq.economy.origins[k].mass.sum())
        share_y = np.asarray(eq.economy.firms.mass / eq.economy.firms.mass.sum())
        drawn = np.exp(mesh.get_array().reshape(3, 4).T)
        np.testing.assert_allclose(drawn, pi / pi.sum() / np.outer(share_x, share_y), rtol=1e-12)


def test_what_has_not_converged_is_named_and_not_drawn(equilibria):
    failed = solve_equilibrium(economy(), max_iter=1, throw=False)
    assert not Status(int(failed.status)).converged
    mixed = {"1996": equilibria["1996"], "failed": failed, "2006": equilibria["2006"]}
    figure = figures.wage_by_skill(mixed)
    assert [line.get_label() for line in figure.axes[0].lines] == ["1996", "2006"]
    assert "“failed” has not converged" in note(figure)
    alone = figures.matching_density({"failed": failed})
    assert not any(ax.collections for ax in alone.axes)
    assert "“failed” has not converged" in note(alone)


def test_undetermined_wage_level_is_stated_with_the_bound_in_money(equilibria):
    eq = equilibria["2006"]
    loose = replace(eq, status=jnp.asarray(int(Status.UNDETERMINED)),
                    wage_error_bound=jnp.asarray(0.5))  # fmt: skip
    stated = note(figures.wage_by_skill({"2006": loose}, money="DKK per hour"))
    assert "± 19 DKK per hour" in stated  # 0.5 λ, λ = 37.56


def test_point_of_a_path_that_has_not_converged_is_not_drawn(path):
    broken = replace(path, status=path.status.at[1].set(int(Status.NOT_CONVERGED)))
    figure = figures.mean_wage_by_offshoring_cost({"whole": path, "broken": broken, "none": None})
    whole, line = figure.axes[0].lines
    np.testing.assert_array_equal(whole.get_ydata(), path.mean_wage)
    np.testing.assert_array_equal(line.get_ydata(), [150.0, np.nan, 146.0, 130.0])
    np.testing.assert_array_equal(figure.axes[1].lines[1].get_ydata(), [0.0, np.nan, 2.0, 10.0])
    assert line.get_markevery() == [2]
    assert "“broken”: 1 of 4 points" in note(figure)
    assert "“none”: no path" in note(figure)


def test_series_differ_in_grey_print():
    styles = [style for style, _ in zip(line_styles(), range(40), strict=False)]
    assert len({(str(style["linestyle"]), style["marker"]) for style in styles}) == 40


@pytest.mark.parametrize("labels", [["2006"], ["c_F = 0", "Φ × 2", "ν_x* + 1", "$5", "_", LONG]])
def test_nothing_printed_overlaps_or_leaves_the_page(labels, equilibria, path):
    named = dict.fromkeys(labels, equilibria["2006"])
    whole_set = [
        figures.wage_by_skill(named, money="DKK per hour"),
        figures.unemployment_by_skill(named),
        figures.match_quality_by_firm(named),
        figures.offshoring_by_firm(named),
        figures.mean_wage_by_offshoring_cost(dict.fromkeys(labels, path), money="DKK per hour"),
        figures.matching_density(named),
    ]
    for figure in whole_set:
        figure.draw_without_rendering()
        shown = [ax for ax in figure.axes if ax.get_visible()]
        boxes = [ax.get_tightbbox() for ax in shown] + [
            box.get_window_extent() for box in figure.legends
        ]
        page = figure.bbox.padded(1)
        for k, box in enumerate(boxes):
            assert page.x0 <= box.x0 <= box.x1 <= page.x1
            assert page.y0 <= box.y0 <= box.y1 <= page.y1
            assert not any(box.padded(-1).overlaps(other) for other in boxes[k + 1 :])
        for legend in figure.legends:
            assert [text.get_text().replace("\n", " ") for text in legend.texts] == labels


def test_whole_set_is_written_as_pdf_and_png_with_the_same_bytes_each_time(equilibria, tmp_path):
    first, second = (
        figures.economy_figures(tmp_path / name, equilibria, money="DKK per hour")
        for name in ("first", "second")
    )
    stems = {
        "matching_density", "wage_by_skill", "unemployment_by_skill", "match_quality_by_firm",
        "offshoring_by_firm", "mean_wage_by_offshoring_cost", "mean_wage_by_matching_intensity",
    }  # fmt: skip
    assert {path.stem for path in first} == stems
    for path, again in zip(first, second, strict=True):
        content = path.read_bytes()
        assert content == again.read_bytes()
        if path.suffix == ".pdf":
            assert content.startswith(b"%PDF-")
            assert b"CreationDate" not in content
            assert b"/FontFile2" in content  # embedded TrueType
            assert b"/Type3" not in content
        else:
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert np.ptp(imread(path)[..., :3]) > 0.9


def test_closed_economies_have_no_figures_of_offshoring(tmp_path):
    closed = solve_equilibrium(economy(foreign=False))
    written = {path.stem for path in figures.economy_figures(tmp_path, {"closed": closed})}
    assert written == {
        "matching_density", "wage_by_skill", "unemployment_by_skill", "match_quality_by_firm",
    }  # fmt: skip
