"""Shocks: named changes of an economy's parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from matching import Economy, InvalidInput, get_parameter, with_parameter
from matching.errors import did_you_mean

Kind = Literal["set", "add", "multiply", "equal"]


@dataclass(frozen=True)
class Change:
    """One parameter changed: ``value`` is a number or an array, or a parameter's name to equal."""

    parameter: str  # as in :func:`matching.parameter_names`, e.g. ``origin.china.constant``
    kind: Kind
    value: Any


@dataclass(frozen=True)
class Shock:
    """A scenario: parameters that change together."""

    name: str
    changes: tuple[Change, ...]


def apply_shock(economy: Economy, shock: Shock) -> Economy:
    """The economy after a shock; the order in which its changes stand is of no account.

    ``set``, ``add`` and ``multiply`` work on the economy's own values, element by element;
    ``equal`` then copies the other parameter as the shock leaves it. Raises
    :class:`~matching.InvalidInput` with all that is wrong: an unknown parameter, one that is
    changed twice, a value of the wrong shape, an economy that is none.

    >>> from matching import make_economy, make_firms, make_origin
    >>> workers = make_origin([0.0], [1.0], constant=2.0, name="denmark")
    >>> economy = make_economy([workers], make_firms([0.0], [1.0]), affinity=3.0,
    ...                        lambda_x=1.0, lambda_y=1.0)
    >>> shock = Shock("Φ × 2", (Change("technology.affinity", "multiply", 2.0),))
    >>> float(apply_shock(economy, shock).affinity[0, 0])
    6.0
    """
    defects = _conflicts(shock)
    copies = [change for change in shock.changes if change.kind == "equal"]
    for change in [c for c in shock.changes if c.kind != "equal"] + copies:
        try:
            economy = with_parameter(economy, change.parameter, _value(economy, change))
        except InvalidInput as error:
            defects.extend(error.defects)
    if defects:
        raise InvalidInput([f"shock {shock.name!r}: {defect}" for defect in defects])
    return economy


_COMBINE: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "set": lambda _, value: value,
    "add": jnp.add,
    "multiply": jnp.multiply,
}


def _value(economy: Economy, change: Change) -> jax.Array:
    old = get_parameter(economy, change.parameter)
    if change.kind == "equal":
        source = get_parameter(economy, str(change.value))
        _require_shape(change, source, old)
        return source
    if change.kind not in _COMBINE:
        hint = did_you_mean(change.kind, [*_COMBINE, "equal"])
        raise InvalidInput(
            [f"{change.parameter}: change {change.kind!r} is unknown{hint}; choose set, add, "
             "multiply or equal"]
        )  # fmt: skip
    value = _numbers(change.value)
    if value is None:
        raise InvalidInput(
            [f"{change.parameter}: {change.kind} needs a number or an array of numbers, "
             f"not {change.value!r}"]
        )  # fmt: skip
    _require_shape(change, value, old)
    return _COMBINE[change.kind](old, jnp.asarray(value))


def _require_shape(change: Change, value: np.ndarray | jax.Array, old: jax.Array) -> None:
    if value.ndim and old.ndim and value.shape != old.shape:
        raise InvalidInput(
            [f"{change.parameter}: {change.kind} has shape {value.shape} where the parameter has "
             f"{old.shape}; give a number or an array of that shape"]
        )  # fmt: skip


def _numbers(value: Any) -> np.ndarray | jax.Array | None:
    """``value`` as float64, ``None`` where it is text, a flag, or rows of unequal length."""
    if isinstance(value, jax.core.Tracer):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _conflicts(shock: Shock) -> list[str]:
    changed = [change.parameter for change in shock.changes]
    copies = {change.parameter for change in shock.changes if change.kind == "equal"}
    twice = [
        f"{name}: is changed more than once; state one change"
        for name in dict.fromkeys(changed)
        if changed.count(name) > 1
    ]
    chained = [
        f"{change.parameter}: equals {change.value!r}, which this shock copies from elsewhere; "
        "name the source itself"
        for change in shock.changes
        if change.kind == "equal" and change.value in copies
    ]
    return twice + chained
