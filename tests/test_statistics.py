"""Every statistic against loops over the cells, written from the definitions with NumPy alone."""

import math

import jax
import numpy as np
import pandas as pd
import pytest

from matching import (
    STATISTICS,
    Status,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
    statistics,
    with_parameter,
)
from matching.statistics import (
    hires,
    matched_workers,
    mean_match_quality_by_firm,
    mean_wage_by_firm,
    mean_wage_by_worker,
    offshoring_share_by_firm,
    unemployment_by_worker,
)
from tests.equilibrium_properties import split_types


@jax.jit
def measured(economy, order_skill, order_characteristic):
    """The equilibrium and its statistics in one compilation; the orders may vary."""
    eq = solve_equilibrium(economy)
    return eq, statistics(eq, order_skill, order_characteristic)


def economy(unit="cell"):
    """Three origins, two skills; masses that no decile edge divides, ties in what orders types."""
    rng = np.random.default_rng(4)
    tied_skills = np.column_stack([[0.3, 0.1, 0.8, 0.3, 0.9, 0.1, 0.5], rng.uniform(size=7)])
    home = make_origin(
        tied_skills,
        [0.013, 0.021, 0.07, 0.3, 0.05, 0.06, 0.2],
        constant=6.0,
        outside_option=rng.uniform(0, 1, 7),
        nu_x=-1.0,
        nu_y=0.4,
    )
    abroad = [
        make_origin(
            rng.uniform(size=(count, 2)),
            rng.uniform(0.1, 0.3, count),
            constant=4.0 + count,
            outside_option=0.2 * count,
            nu_x=-0.3,
            nu_y=-2.0,
            name=f"abroad{count}",
        )
        for count in (2, 3)
    ]
    firms = make_firms(
        np.column_stack([rng.uniform(size=6), [0.2, 0.7, 0.2, 0.5, 0.7, 0.6]]),
        [0.31, 0.04, 0.03, 0.5, 0.033, 0.2],
        outside_option=rng.uniform(0, 1, 6),
    )
    return make_economy(
        [home, *abroad],
        firms,
        affinity=[[3.0, -1.0], [0.5, 2.0]],
        lambda_x=0.6,
        lambda_y=1.1,
        intensity_unit=unit,
    )


def cells_of(eq):
    """One row per pair of types; the wage from the workers' choices, not from the multipliers."""
    e = eq.economy
    phi, lambda_x = np.asarray(e.affinity), float(e.lambda_x)
    g = np.asarray(e.firms.mass)
    rows = []
    for k, o in enumerate(e.origins):
        f = np.asarray(o.mass)
        w0 = np.broadcast_to(o.outside_option, f.shape)
        pi, f0 = np.asarray(eq.matches[k]), np.asarray(eq.unmatched[k])
        for i, x in enumerate(np.asarray(o.skills)):
            for j, y in enumerate(np.asarray(e.firms.characteristics)):
                omega_x = f[i] / f.sum() if e.intensity_unit == "density" else 1.0
                omega_y = g[j] / g.sum() if e.intensity_unit == "density" else 1.0
                q = x @ phi @ y + float(o.constant)
                w = w0[i] + lambda_x * (math.log(pi[i, j] / f0[i] / omega_y) - float(o.nu_x))
                to_worker = math.log(pi[i, j] / f[i] / omega_y) - float(o.nu_x)
                to_firm = math.log(pi[i, j] / g[j] / omega_x) - float(o.nu_y)
                rows.append([k, i, j, pi[i, j], *x, q, w, q - w, to_worker, to_firm])
    columns = ["origin", "i", "j", "pi", "x0", "x1", "q", "w", "r", "to_worker", "to_firm"]
    return pd.DataFrame(rows, columns=columns)


def by_hand(eq, order_skill=0, order_characteristic=0):
    """Every statistic, each from its definition."""
    e = eq.economy
    cells = cells_of(eq)
    home, foreign = cells[cells.origin == 0], cells[cells.origin > 0]
    lambda_x, lambda_y = float(e.lambda_x), float(e.lambda_y)
    f_bar, g_bar = [np.asarray(o.mass) for o in e.origins], np.asarray(e.firms.mass)
    f0, g0 = [np.asarray(f) for f in eq.unmatched], np.asarray(eq.unmatched_firms)
    w0 = [np.broadcast_to(o.outside_option, o.mass.shape) for o in e.origins]
    r0 = np.broadcast_to(e.firms.outside_option, g_bar.shape)

    def mean(rows, column):
        return np.average(rows[column], weights=rows.pi)

    def variance(values, weights):
        return np.cov(values, aweights=weights, ddof=0)

    def between(column):
        firms = home.groupby("j").apply(lambda rows: mean(rows, column))
        return variance(firms, home.groupby("j").pi.sum())

    def spread(side, values, masses):
        bill = (home.w * home.pi).groupby(home[side]).sum().to_numpy()
        matched = home.groupby(side).pi.sum().to_numpy()

        def end(groups):
            """Fill a tenth of the population from groups of equal value, in part at the edge."""
            room, wages, heads = masses.sum() / 10, 0.0, 0.0
            for value in groups:
                group = values == value
                part = min(1.0, room / masses[group].sum())
                room -= part * masses[group].sum()
                wages += part * bill[group].sum()
                heads += part * matched[group].sum()
            return wages / heads

        ranks = sorted(set(values))
        return end(ranks[::-1]) - end(ranks)

    u, _, vt = np.linalg.svd(np.asarray(e.affinity))
    skills, characteristics = np.asarray(e.home.skills), np.asarray(e.firms.characteristics)
    index_x = (skills @ u[:, 0])[home.i]
    index_y = (characteristics @ vt[0])[home.j]
    joint = np.cov(index_x, index_y, aweights=home.pi)
    utility = [
        (f * (w + lambda_x * np.log(f / single))).sum()
        for f, w, single in zip(f_bar, w0, f0, strict=True)
    ]
    profit = (g_bar * (r0 + lambda_y * np.log(g_bar / g0))).sum()
    taste_x = sum((single * np.log(single / f)).sum() for single, f in zip(f0, f_bar, strict=True))
    taste_y = (g0 * np.log(g0 / g_bar)).sum()
    return {
        "unemployment_rate": f0[0].sum() / f_bar[0].sum(),
        "offshoring_rate": foreign.pi.sum() / home.pi.sum(),
        "mean_wage_home": mean(home, "w"),
        "sd_wage_home": math.sqrt(variance(home.w, home.pi)),
        "mean_wage_foreign": mean(foreign, "w"),
        "wage_spread_by_skill": spread("i", skills[:, order_skill], f_bar[0]),
        "wage_spread_by_firm": spread("j", characteristics[:, order_characteristic], g_bar),
        "var_wage": variance(home.w, home.pi),
        "var_wage_between_firms": between("w"),
        "var_skill": [variance(home[x], home.pi) for x in ("x0", "x1")],
        "var_skill_between_firms": [between(x) for x in ("x0", "x1")],
        "mean_output": mean(home, "q"),
        "wage_share": mean(home, "w") / mean(home, "q"),
        "mean_profit_home": mean(home, "r"),
        "mean_profit_foreign": mean(foreign, "r"),
        "sorting": joint[0, 1] / math.sqrt(joint[0, 0] * joint[1, 1]),
        "welfare_workers_home": utility[0],
        "welfare_workers_foreign": sum(utility[1:]),
        "welfare_firms": profit,
        "welfare": sum(utility) + profit,
        "output": (cells.pi * cells.q).sum(),
        "outside_income": sum(f @ w for f, w in zip(f0, w0, strict=True)) + g0 @ r0,
        "entropy": -lambda_x * ((cells.pi * cells.to_worker).sum() + taste_x)
        - lambda_y * ((cells.pi * cells.to_firm).sum() + taste_y),
    }


@pytest.mark.parametrize("unit", ["cell", "density"])
@pytest.mark.parametrize("orders", [(0, 0), (1, 1)], ids=["by_first", "by_second"])
def test_every_statistic_follows_its_definition(unit, orders):
    eq, computed = measured(economy(unit), *orders)
    assert eq.status == Status.CERTIFIED
    expected = by_hand(eq, *orders)
    assert list(expected) == list(STATISTICS)
    assert set(computed) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(computed[key], value, rtol=1e-11, err_msg=key)
    parts = sum(computed[key] for key in ("output", "outside_income", "entropy"))
    assert float(computed["welfare"]) == pytest.approx(float(parts), rel=1e-12)
    assert expected["wage_spread_by_skill"] > 0.1
    assert expected["wage_spread_by_firm"] != pytest.approx(0.0, abs=0.01)


def test_profiles_by_type_follow_their_definitions():
    eq, _ = measured(economy(), 0, 0)
    cells = cells_of(eq)
    home = cells[cells.origin == 0]
    hired = cells.groupby("j").pi.sum()

    def mean(group, column):
        return group.apply(lambda rows: np.average(rows[column], weights=rows.pi))

    quality = np.column_stack([mean(home.groupby("j"), x) for x in ("x0", "x1")])
    for computed, expected in (
        (mean_wage_by_firm(eq), mean(home.groupby("j"), "w")),
        (mean_match_quality_by_firm(eq), quality),
        (offshoring_share_by_firm(eq), 1 - home.groupby("j").pi.sum() / hired),
        (np.concatenate(hires(eq)), cells.groupby(["origin", "j"]).pi.sum()),
        (np.concatenate(matched_workers(eq)), cells.groupby(["origin", "i"]).pi.sum()),
        (np.concatenate(mean_wage_by_worker(eq)), mean(cells.groupby(["origin", "i"]), "w")),
        (
            np.concatenate([u * o.mass for u, o in zip(unemployment_by_worker(eq),
                                                       eq.economy.origins, strict=True)]),
            np.concatenate([o.mass for o in eq.economy.origins])
            - cells.groupby(["origin", "i"]).pi.sum(),
        ),
    ):  # fmt: skip
        np.testing.assert_allclose(computed, expected, rtol=1e-11)


def test_splitting_types_changes_no_statistic_per_density_and_every_one_per_cell():
    for unit in ("density", "cell"):
        _, whole = measured(economy(unit), 0, 0)
        _, parts = measured(split_types(economy(unit)), 0, 0)
        for key in STATISTICS:
            gap = np.max(np.abs(parts[key] / whole[key] - 1))
            assert (gap <= 2e-11) == (unit == "density"), (unit, key, gap)
            assert unit == "density" or gap > 1e-5, (key, gap)


def undefined(economy):
    _, values = measured(economy, 0, 0)
    return {key for key, value in values.items() if np.any(np.isnan(value))}


def test_what_nobody_carries_is_undefined_and_the_rest_is_not():
    base = economy()
    closed = make_economy(
        [base.home], base.firms, affinity=base.affinity, lambda_x=0.6, lambda_y=1.1
    )
    foreign = {"mean_wage_foreign", "mean_profit_foreign"}
    assert undefined(closed) == foreign
    assert undefined(with_parameter(base, "technology.affinity", 0.0)) == {"sorting"}
    tied = with_parameter(base, "technology.affinity", 3.0 * np.eye(2))
    assert undefined(tied) == {"sorting"}  # any rotation of the two indices leads as well
    assert undefined(with_parameter(base, "technology.affinity", np.diag([3.0, 2.9]))) == set()
    # what output is offered at home then underflows: nobody is matched there
    defined = {"unemployment_rate", "welfare", "welfare_workers_home", "welfare_workers_foreign",
               "welfare_firms", "output", "outside_income", "entropy"}  # fmt: skip
    idle = with_parameter(base, "origin.home.constant", -1e4)
    assert undefined(idle) == set(STATISTICS) - defined - foreign
