"""Counterfactuals: economies that differ from a baseline in named parameters."""

from counterfactuals.shocks import Change, Shock, apply_shock

__all__ = ["Change", "Shock", "apply_shock"]
