"""Data that leave parameters open, and whether estimators say so: drawn for tests and benchmarks.

Each design takes a seed and returns the parameters that must be named and have no standard error,
those that were named, and whether any of them got one all the same.
"""

from typing import NamedTuple

import numpy as np

from estimation import (
    MOMENTS,
    SampleMoments,
    estimate_affinity,
    estimate_minimum_distance,
    estimate_with_wages,
    make_basis,
    sample_moments,
    simulate_matches,
)
from matching import InvalidInput, solve_equilibrium, with_parameter
from shorematch.denmark import economy_path
from shorematch.files.economy_file import read_economy

INTENSITIES = {"origin.denmark.nu_x", "origin.denmark.nu_y"}


class Told(NamedTuple):
    """What an estimator said of a design."""

    open: set[str]  # what must be named
    named: set[str]
    errors: bool  # whether one of them has a standard error

    @property
    def refused(self):
        return self.open <= self.named and not self.errors


def drawn_economy(seed):
    """The Danish economy of 2006 with parameters moved at random."""
    rng = np.random.default_rng(seed)
    economy = read_economy(economy_path(2006)).economy
    scale = 18.78 * np.exp(0.2 * rng.normal())
    moved = {
        "technology.affinity": np.array([[75.55 * np.exp(0.2 * rng.normal())]]),
        "tastes.lambda_x": scale,
        "tastes.lambda_y": scale,
        "origin.denmark.constant": 207.9 + 10.0 * rng.normal(),
        "origin.denmark.nu_x": -4.51 + 0.3 * rng.normal(),
    }
    for name, value in moved.items():
        economy = with_parameter(economy, name, value)
    return economy


def no_wages(seed):
    """Who works where and who is unemployed: nothing tells the two intensities apart."""
    economy = drawn_economy(seed)
    data = simulate_matches(solve_equilibrium(economy), 20_000, seed, wage_error=3.0)
    home = data.origin == 0
    sampled = sample_moments(
        economy.home.skills, economy.firms.characteristics, data.worker_type[home],
        data.firm_type[home], data.wage[home], moments=["cross_moments", "unemployment_by_worker"],
    )  # fmt: skip
    free = ["technology.affinity", "tastes.lambda_x", *sorted(INTENSITIES)]
    found = estimate_minimum_distance(
        economy, free, sampled=sampled, tied={"tastes.lambda_y": "tastes.lambda_x"}, starts=1
    )
    return _told(found)


def duplicate_moments(seed):
    """Three moments of which one is the difference of the others, for three parameters."""
    economy = drawn_economy(seed)
    equilibrium = solve_equilibrium(economy)
    names = ["mean_output", "mean_wage_home", "mean_profit_home"]
    data = {name: np.asarray(MOMENTS[name](equilibrium)) for name in names}
    root = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])  # profit is output less the wage
    sampled = SampleMoments(data, 0.01 * root @ root.T, 10_000)
    free = ["origin.denmark.constant", *sorted(INTENSITIES)]
    return _told(estimate_minimum_distance(economy, free, sampled=sampled, starts=1))


def collinear_attributes(seed):
    """Three skills, the third a combination of the others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 2))
    third = x @ rng.normal(size=2) + rng.normal()
    names = ("cognitive", "manual", "total")
    try:
        estimate_affinity(np.column_stack([x, third]), x[:, 0] + rng.normal(size=200),
                          skill_names=names)  # fmt: skip
    except InvalidInput as error:
        text = str(error)
        return Told(set(names), {name for name in names if name in text}, False)
    return Told(set(names), set(), True)


def flat_scale(seed):
    """Wages that are almost all noise tell neither taste scale."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=100)
    y = 0.2 * x + rng.normal(size=100)  # hardly sorted: the multipliers hardly vary
    basis = make_basis(["y", "x*y"], ["x", "x*y"], workers=["x"], jobs=["y"])
    found = estimate_with_wages(30.0 * rng.normal(size=100), {"x": x}, {"y": y}, basis)
    named = set(found.identification.names)
    text = " ".join(found.certificate.doubts)
    # at least one of the two; which one depends on the draw
    weak = named or {"scale.worker", "scale.firm"}
    errors = any(np.isfinite(found.std_errors()[found.names.index(name)]) for name in weak)
    return Told(weak, {name for name in named if name in text}, errors)


DESIGNS = (no_wages, duplicate_moments, collinear_attributes, flat_scale)


def _told(found):
    rows = {row["parameter"]: row for row in found.tidy()}
    said = " ".join(found.certificate.doubts)
    return Told(
        INTENSITIES,
        {name for name in INTENSITIES if name in said},
        any(np.isfinite(rows[name]["std_error"]) for name in INTENSITIES),
    )
