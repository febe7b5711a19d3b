"""Counterfactuals: economies that differ from a baseline in named parameters."""

from counterfactuals.decomposition import (
    Decomposition,
    ParameterGroup,
    decompose,
    default_groups,
    effect_of_cause,
)
from counterfactuals.designs import (
    Axis,
    Design,
    Spread,
    check_design,
    drawn,
    economies_of,
    grid,
    listed,
    part_of,
    shocks_of_point,
    single,
    taken_from,
)
from counterfactuals.intervals import (
    DecompositionDraws,
    ScenarioDraws,
    decompose_draws,
    percentile_interval,
    solve_draws,
)
from counterfactuals.measures import measure_labels, measures, solve_measures
from counterfactuals.shocks import Change, Shock, apply_shock

__all__ = [
    "Axis",
    "Change",
    "Decomposition",
    "DecompositionDraws",
    "Design",
    "ParameterGroup",
    "ScenarioDraws",
    "Shock",
    "Spread",
    "apply_shock",
    "check_design",
    "decompose",
    "decompose_draws",
    "default_groups",
    "drawn",
    "economies_of",
    "effect_of_cause",
    "grid",
    "listed",
    "measure_labels",
    "measures",
    "part_of",
    "percentile_interval",
    "shocks_of_point",
    "single",
    "solve_draws",
    "solve_measures",
    "taken_from",
]
