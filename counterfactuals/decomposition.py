"""The change between two economies taken apart by groups of parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from counterfactuals.measures import Label, measure_labels, solve_measures
from matching import Economy, InvalidInput, get_parameter, parameter_names, with_parameter

STRUCTURAL_CHANGE = "structural change"
GLOBALISATION = "globalisation"
_MOST_GROUPS = 12  # 4,096 economies


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that move together; ``cause`` says what the slides would call their change."""

    name: str
    parameters: tuple[str, ...]
    cause: str = ""


@dataclass(frozen=True)
class Decomposition:
    """What each group of parameters contributes to the change of each measure.

    ``G`` groups in the order in which they move, ``S`` measures; contributions of either kind add
    up to ``end − start``. NaN where an economy they need has not converged.
    """

    groups: tuple[ParameterGroup, ...]
    labels: tuple[Label, ...]  # of the measures, see :func:`counterfactuals.measure_labels`
    corners: np.ndarray  # (2^G, S): bit g of the row's number says that group g has moved
    status: np.ndarray  # (2^G,): a :class:`~matching.Status` each
    wage_error_bound: np.ndarray  # (2^G,): of any wage, money
    sequential: np.ndarray  # (G, S): groups move one after another, in order
    shapley: np.ndarray  # (G, S): average over all orders
    least: np.ndarray  # (G, S): smallest contribution in any order
    most: np.ndarray  # (G, S): largest contribution in any order

    @property
    def start(self) -> np.ndarray:
        """Measures of the first economy, ``(S,)``."""
        return self.corners[0]

    @property
    def end(self) -> np.ndarray:
        """Measures of the second economy, ``(S,)``."""
        return self.corners[-1]


@dataclass(frozen=True)
class CauseEffect:
    """Contribution of all groups of one cause to one measure."""

    cause: str
    shapley: float  # sum over the groups: average over all orders of moving
    least: float  # smallest in any order
    most: float  # largest in any order


def decompose(
    start: Economy, end: Economy, groups: Sequence[ParameterGroup] | None = None
) -> Decomposition:
    """Take the change from ``start`` to ``end`` apart by groups of parameters.

    All ``2^G`` economies in which some groups have moved are solved together. A group's
    contribution depends on which have moved before it: the Shapley value averages over all orders
    of moving (Shorrocks 2013), ``sequential`` takes the order of ``groups`` (default:
    :func:`default_groups`).

    Raises :class:`~matching.InvalidInput` where the economies do not have the same types and
    names, a group names an unknown parameter, two groups share one, or a parameter that differs
    is in no group.
    """
    groups = tuple(groups or default_groups(start))
    defects = _shape_defects(start, end) or _group_defects(start, end, groups)
    if defects:
        raise InvalidInput(defects)
    values, status, bound = solve_measures(_corner_economies(start, end, groups))
    masks = np.arange(2 ** len(groups))
    marginal = np.full((len(groups), len(masks) // 2, values.shape[1]), np.nan)
    shapley = np.empty((len(groups), values.shape[1]))
    for g in range(len(groups)):
        before = masks[masks >> g & 1 == 0]
        marginal[g] = values[before | 1 << g] - values[before]
        shapley[g] = _order_weights(before, len(groups)) @ marginal[g]
    return Decomposition(
        groups=groups,
        labels=measure_labels(start),
        corners=values,
        status=status,
        wage_error_bound=bound,
        sequential=np.diff(values[[2**g - 1 for g in range(len(groups) + 1)]], axis=0),
        shapley=shapley,
        least=marginal.min(1),
        most=marginal.max(1),
    )


def default_groups(economy: Economy) -> tuple[ParameterGroup, ...]:
    """Technology, tastes, home constant, home intensities, foreign terms, and all the rest.

    The first four are structural change, the foreign terms ``C*, ν*`` globalisation.
    """
    home, *foreign = (f"origin.{o.name}" for o in economy.origins)
    terms = [f"{origin}.{key}" for origin in foreign for key in ("constant", "nu_x", "nu_y")]
    named = (
        ParameterGroup("technology Φ", ("technology.affinity",), STRUCTURAL_CHANGE),
        ParameterGroup("tastes λ", ("tastes.lambda_x", "tastes.lambda_y"), STRUCTURAL_CHANGE),
        ParameterGroup("home constant C", (f"{home}.constant",), STRUCTURAL_CHANGE),
        ParameterGroup(
            "home intensities ν", (f"{home}.nu_x", f"{home}.nu_y"), STRUCTURAL_CHANGE
        ),
        *([ParameterGroup("foreign C*, ν*", tuple(terms), GLOBALISATION)] if terms else []),
    )  # fmt: skip
    taken = {name for group in named for name in group.parameters}
    rest = tuple(name for name in parameter_names(economy) if name not in taken)
    return (*named, ParameterGroup("outside options, masses, types", rest))


def effect_of_cause(result: Decomposition, cause: str, label: Label) -> CauseEffect:
    """What the groups of one cause do to one measure; zero where no group bears the cause.

    In one order of moving that is the sum of the steps in which a group of the cause moves. The
    extremes over all orders are those over all paths from corner to corner, found corner by corner.
    """
    column = result.labels.index(label)
    bears = np.array([group.cause == cause for group in result.groups])
    values = result.corners[:, column]
    least, most = np.zeros_like(values), np.zeros_like(values)
    for corner in range(1, len(values)):
        moved = np.flatnonzero(corner >> np.arange(len(bears)) & 1)
        before = corner ^ 1 << moved
        steps = np.where(bears[moved], values[corner] - values[before], 0.0)
        least[corner] = (least[before] + steps).min()
        most[corner] = (most[before] + steps).max()
    shapley = result.shapley[bears, column].sum()
    return CauseEffect(cause, float(shapley), float(least[-1]), float(most[-1]))


# ---------------------------------------------------------------- helpers


def _corner_economies(
    start: Economy, end: Economy, groups: Sequence[ParameterGroup]
) -> Economy:  # fmt: skip
    """The ``2^G`` economies as a batch: row ``k`` takes from ``end`` the groups in ``k``'s bits."""
    moved = np.arange(2 ** len(groups))[:, None] >> np.arange(len(groups)) & 1 == 1

    def corner(row: jax.Array) -> Economy:
        economy = start
        for g, group in enumerate(groups):
            for name in group.parameters:
                value = jnp.where(row[g], get_parameter(end, name), get_parameter(start, name))
                economy = with_parameter(economy, name, value)
        return economy

    return jax.vmap(corner)(jnp.asarray(moved))


def _order_weights(masks: np.ndarray, count: int) -> np.ndarray:
    """Share of the orders of ``count`` groups in which exactly those in the mask come first."""
    sizes = [int(mask).bit_count() for mask in masks]
    return np.array([1 / (count * math.comb(count - 1, size)) for size in sizes])


def _shape_defects(start: Economy, end: Economy) -> list[str]:
    """What keeps parameters of one economy from standing in the other."""
    defects = []

    def compare(what: str, one: Any, other: Any) -> None:
        if one != other:
            defects.append(f"{what}: {one!r} in the first economy and {other!r} in the second; "
                           "a decomposition needs the same in both")  # fmt: skip

    for what in ("intensity_unit", "skill_names", "characteristic_names"):
        compare(what, getattr(start, what), getattr(end, what))
    compare("names of the origins", *([o.name for o in e.origins] for e in (start, end)))
    if not defects:
        for name in parameter_names(start):
            shapes = (get_parameter(economy, name).shape for economy in (start, end))
            compare(f"shape of {name}", *shapes)
    return defects


def _group_defects(
    start: Economy, end: Economy, groups: Sequence[ParameterGroup]
) -> list[str]:  # fmt: skip
    defects = []
    if len(groups) > _MOST_GROUPS:
        defects.append(f"groups: there are {len(groups)}, which makes {2 ** len(groups)} economies;"
                       f" name at most {_MOST_GROUPS}")  # fmt: skip
    names = [group.name for group in groups]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            defects.append(f"group {name!r}: bears the name of another; name each once")
    owner: dict[str, str] = {}
    for group in groups:
        for name in group.parameters:
            try:
                get_parameter(start, name)
            except InvalidInput as error:
                defects += [f"group {group.name!r}: {defect}" for defect in error.defects]
            if name in owner:
                defects.append(f"group {group.name!r}: {name} is in group {owner[name]!r} already; "
                               "a parameter moves once")  # fmt: skip
            owner.setdefault(name, group.name)
    for name in parameter_names(start):
        same = np.array_equal(get_parameter(start, name), get_parameter(end, name))
        if name not in owner and not same:
            defects.append(f"{name}: differs between the two economies and is in no group; add it "
                           "to one, or the contributions would not add up")  # fmt: skip
    return defects
