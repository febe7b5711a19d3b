"""Everything that is measured in an equilibrium, scalars and profiles by type, as one vector."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from matching import STATISTICS, Economy, Equilibrium, Status, solve_batch, statistics
from matching.statistics import (
    matched_workers,
    mean_match_quality_by_firm,
    mean_wage_by_firm,
    mean_wage_by_worker,
    offshoring_share_by_firm,
    unemployment_by_worker,
)

# a statistic, and the skill, firm type or worker type it belongs to ("" for none)
Label = tuple[str, str]


def measure_labels(economy: Economy) -> tuple[Label, ...]:
    """What :func:`measures` returns for such an economy: statistic and group of each number.

    The group is empty for a number of the whole economy; else it names a skill, a firm type
    (``firm 0``) or a worker type (``denmark 3``), counted as in ``firms.csv`` and ``workers.csv``.
    """
    skills = economy.skill_names
    per_skill = ("var_skill", "var_skill_between_firms")
    labels = [
        (name, group)
        for name in STATISTICS
        for group in (skills if name in per_skill and len(skills) > 1 else ("",))
    ]
    for name, (_, groups) in _PROFILES.items():
        labels += [(name, group) for group in groups(economy)]
    return tuple(labels)


def measures(eq: Equilibrium) -> jax.Array:
    """Every statistic and profile of an equilibrium, ``(S,)`` in the order of the labels.

    NaN where undefined, and throughout where the equilibrium has not converged.
    """
    values = [jnp.ravel(value) for value in statistics(eq).values()]
    values += [jnp.ravel(profile(eq)) for profile, _ in _PROFILES.values()]
    converged = (eq.status == Status.CERTIFIED) | (eq.status == Status.UNDETERMINED)
    return jnp.where(converged, jnp.concatenate(values), jnp.nan)


def solve_measures(economies: Economy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures ``(B, S)``, status ``(B,)`` and wage error bound ``(B,)``, money, of a batch.

    Every array of ``economies`` has a leading axis ``B``; see :func:`matching.solve_batch`.
    """
    return solve_batch(economies, _measures_and_verdict)


def _measures_and_verdict(eq: Equilibrium) -> tuple[jax.Array, jax.Array, jax.Array]:
    return measures(eq), eq.status, eq.wage_error_bound * eq.economy.scale


def offshoring_by_worker(eq: Equilibrium) -> jax.Array:
    """Matches of each foreign worker type over all home matches.

    ``(ΣN_o,)`` over the foreign origins; they add up to the rate of offshoring.
    """
    home, *foreign = matched_workers(eq)
    return jnp.concatenate([*foreign, jnp.zeros(0)]) / home.sum()


def _firms(economy: Economy) -> list[str]:
    return [f"firm {j}" for j in range(economy.firms.mass.shape[-1])]


def _firms_by_skill(economy: Economy) -> list[str]:
    names = economy.skill_names
    if len(names) == 1:
        return _firms(economy)
    return [f"{firm} {name}" for firm in _firms(economy) for name in names]


def _workers(economy: Economy, first: int = 0) -> list[str]:
    return [f"{o.name} {i}" for o in economy.origins[first:] for i in range(o.mass.shape[-1])]


_Profile = tuple[Callable[[Equilibrium], jax.Array], Callable[[Economy], list[str]]]
_PROFILES: dict[str, _Profile] = {
    "mean_wage_by_firm": (mean_wage_by_firm, _firms),
    "mean_match_quality_by_firm": (mean_match_quality_by_firm, _firms_by_skill),
    "offshoring_share_by_firm": (offshoring_share_by_firm, _firms),
    "expected_profit_by_firm": (lambda eq: eq.expected_profits, _firms),
    "mean_wage_by_worker": (lambda eq: jnp.concatenate(mean_wage_by_worker(eq)), _workers),
    "unemployment_by_worker": (lambda eq: jnp.concatenate(unemployment_by_worker(eq)), _workers),
    "expected_utility_by_worker": (lambda eq: jnp.concatenate(eq.expected_utilities), _workers),
    "offshoring_by_worker": (offshoring_by_worker, lambda economy: _workers(economy, first=1)),
}
PROFILES = tuple(_PROFILES)  # the statistics that are profiles by type
