"""Parameters of an economy by the names that economy files, shocks and estimates use."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from matching.arrays import is_traced
from matching.economy import Economy, Firms, Origin, economy_defects
from matching.errors import InvalidInput, did_you_mean, require_float64

# name in an economy file → field; the group says which dataclass holds it
_GROUPS: dict[str, dict[str, str]] = {
    "tastes": {"lambda_x": "lambda_x", "lambda_y": "lambda_y"},
    "technology": {"affinity": "affinity"},
    "firms": {
        "outside_option": "outside_option",
        "mass": "mass",
        "characteristics": "characteristics",
    },
    "origin": {
        "constant": "constant",
        "outside_option": "outside_option",
        "nu_x": "nu_x",
        "nu_y": "nu_y",
        "mass": "mass",
        "skills": "skills",
    },
}


def parameter_names(economy: Economy) -> tuple[str, ...]:
    """Every parameter of an economy, e.g. ``tastes.lambda_x``, ``origin.denmark.nu_x``."""
    names = [
        f"{group}.{key}" for group in ("tastes", "technology", "firms") for key in _GROUPS[group]
    ]
    names += [f"origin.{o.name}.{key}" for o in economy.origins for key in _GROUPS["origin"]]
    return tuple(names)


def get_parameter(economy: Economy, name: str) -> jax.Array:
    """The value of a parameter by name; raises ``InvalidInput`` with the nearest name."""
    holder, field = _find(economy, name)
    return getattr(holder, field)


def with_parameter(economy: Economy, name: str, value: jax.Array | float) -> Economy:
    """The economy with one parameter replaced; a number fills a parameter of any shape.

    Raises :class:`~matching.errors.InvalidInput` for an unknown name (with the nearest known
    one) and for a value that makes the economy invalid.
    """
    holder, field = _find(economy, name)
    require_float64()
    value = jnp.asarray(value, dtype=jnp.float64)
    old = getattr(holder, field)
    if value.ndim == 0:
        value = jnp.broadcast_to(value, old.shape)
    changed: Economy | Firms | Origin = replace(holder, **{field: value})  # type: ignore[arg-type]
    if isinstance(changed, Origin):
        origins = tuple(changed if o is holder else o for o in economy.origins)
        new = replace(economy, origins=origins)
    elif isinstance(changed, Firms):
        new = replace(economy, firms=changed)
    else:
        new = changed
    if not is_traced(value):
        defects = economy_defects(new)
        if defects:
            raise InvalidInput(list(defects.values()))
    return new


def _find(economy: Economy, name: str) -> tuple[Economy | Firms | Origin, str]:
    if name not in parameter_names(economy):
        hint = did_you_mean(name, parameter_names(economy))
        raise InvalidInput([f"parameter {name!r} does not exist in this economy{hint}"])
    group, *middle, key = name.split(".")
    if group == "origin":
        origin_name = ".".join(middle)
        return next(o for o in economy.origins if o.name == origin_name), key
    return (economy.firms if group == "firms" else economy), _GROUPS[group][key]
