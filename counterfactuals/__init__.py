"""Counterfactuals: economies that differ from a baseline in named parameters."""

from counterfactuals.decomposition import (
    Decomposition,
    ParameterGroup,
    decompose,
    default_groups,
    effect_of_cause,
)
from counterfactuals.measures import measure_labels, measures, solve_measures
from counterfactuals.shocks import Change, Shock, apply_shock

__all__ = [
    "Change",
    "Decomposition",
    "ParameterGroup",
    "Shock",
    "apply_shock",
    "decompose",
    "default_groups",
    "effect_of_cause",
    "measure_labels",
    "measures",
    "solve_measures",
]
