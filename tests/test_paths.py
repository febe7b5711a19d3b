"""The path of a falling cost of offshoring, against equilibria solved one by one."""

from dataclasses import replace

import numpy as np
import pytest

from counterfactuals.paths import matching_intensity_path, offshoring_cost_path
from matching import (
    InvalidInput,
    Status,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
)
from matching.statistics import mean_wage_home, offshoring_rate

POINTS = 5


def economy(*foreign_constants, unit="cell"):
    x, y = np.linspace(0.0, 1.0, 4), np.linspace(0.0, 0.5, 3)
    home = make_origin(x, np.full(4, 0.25), constant=207.9, outside_option=45.3, nu_x=-4.5,
                       nu_y=-2.8, name="home")  # fmt: skip
    foreign = [
        make_origin(x, np.full(4, 0.15), constant=constant, outside_option=25.8, nu_x=-7.6,
                    nu_y=-7.0, name=f"abroad{k}")
        for k, constant in enumerate(foreign_constants)
    ]  # fmt: skip
    firms = make_firms(y, [0.3, 0.4, 0.3155])
    return make_economy([home, *foreign], firms, affinity=75.55, lambda_x=15.0, lambda_y=22.0,
                        intensity_unit=unit)  # fmt: skip


PATHS = (offshoring_cost_path, matching_intensity_path)


@pytest.mark.parametrize("path_of", PATHS)
def test_path_leads_from_the_closed_economy_to_full_integration(path_of):
    open_economy = economy(120.0, unit="density")
    path = path_of(open_economy, POINTS)
    assert np.all(np.asarray(path.status) == Status.CERTIFIED)

    closed = solve_equilibrium(economy(unit="density"))
    assert 0 < path.offshoring_rate[0] <= 1.001e-4
    assert path.mean_wage[0] == pytest.approx(float(mean_wage_home(closed)), abs=0.1)

    home = open_economy.home
    if path_of is offshoring_cost_path:
        merged = {"constant": home.constant}
    else:
        merged = {"nu_x": home.nu_x, "nu_y": home.nu_y}
    free = replace(open_economy, origins=(home, replace(open_economy.origins[1], **merged)))
    solved = solve_equilibrium(free)
    assert path.gap[-1] == 0.0
    assert path.mean_wage[-1] == pytest.approx(float(mean_wage_home(solved)), rel=1e-10)
    assert path.offshoring_rate[-1] == pytest.approx(float(offshoring_rate(solved)), rel=1e-9)


@pytest.mark.parametrize("path_of", PATHS)
def test_home_wages_fall_and_offshoring_rises_as_the_gap_falls(path_of):
    path = path_of(economy(120.0), POINTS)
    assert np.all(np.diff(path.gap) < 0)
    assert np.all(np.diff(path.mean_wage) < 0)
    assert np.all(np.diff(path.offshoring_rate) > 0)


@pytest.mark.parametrize("path_of", PATHS)
@pytest.mark.parametrize("constants", [(120.0,), (-400.0,), (120.0, 90.0)])
def test_the_economy_itself_is_a_point_of_its_path(constants, path_of):
    path = path_of(economy(*constants), POINTS)
    eq = solve_equilibrium(economy(*constants))
    widest = 207.9 - min(constants) if path_of is offshoring_cost_path else 7.0 - 2.8
    assert path.gap[path.own] == pytest.approx(widest, abs=1e-12)
    assert path.mean_wage[path.own] == pytest.approx(float(mean_wage_home(eq)), rel=1e-10)


def test_costs_of_several_origins_fall_together_to_their_own_and_then_in_proportion():
    path = offshoring_cost_path(economy(150.0, 40.0), POINTS)
    assert path.offshoring_rate[0] <= 1.001e-4
    low, high = 207.9 - 150.0, 207.9 - 40.0
    assert 0 < path.own < len(path.gap) - 2
    for k, gap in enumerate(path.gap.tolist()):
        nearer = low + gap - high if k < path.own else low * gap / high
        alone = solve_equilibrium(economy(207.9 - nearer, 207.9 - gap))
        assert path.offshoring_rate[k] == pytest.approx(float(offshoring_rate(alone)), rel=1e-8)


def test_an_economy_cheaper_abroad_than_at_home_is_not_on_its_path():
    path = offshoring_cost_path(economy(220.0), POINTS)
    assert path.own is None
    assert path.gap[-1] == 0.0


def test_a_path_that_cannot_be_solved_is_never_called_solved():
    home, abroad = economy(120.0).origins
    sick = replace(economy(120.0), origins=(home, replace(abroad, nu_x=abroad.nu_x * np.nan)))
    status = [Status(int(code)) for code in offshoring_cost_path(sick, POINTS).status]
    assert status
    assert not any(code.converged for code in status)


def test_without_a_foreign_origin_there_is_no_path():
    with pytest.raises(InvalidInput, match="'home' is the only one"):
        offshoring_cost_path(economy())
    with pytest.raises(InvalidInput, match="at least 2"):
        offshoring_cost_path(economy(120.0), 1)
