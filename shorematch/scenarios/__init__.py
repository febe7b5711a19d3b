"""``shorematch counterfactual`` and ``decompose``: shocks as data, scenarios side by side."""
