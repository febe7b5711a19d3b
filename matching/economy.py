"""The primitives of an economy: workers of each origin, firms, technology and tastes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass

from matching.arrays import float64, is_traced, on_device
from matching.errors import InvalidInput, require_float64

INTENSITY_UNITS = ("cell", "density")
# Masses beyond this and its inverse underflow in products, and so does the error that is proven.
_LEAST = 1e-200


@partial(
    register_dataclass,
    data_fields=["skills", "mass", "constant", "outside_option", "nu_x", "nu_y"],
    meta_fields=["name"],
)
@dataclass(frozen=True)
class Origin:
    """Workers of one origin and the terms on which they match; home is the first origin.

    Shapes for ``N`` worker types with ``m`` skills; money in the economy's unit.
    """

    skills: jax.Array  # x, (N, m)
    mass: jax.Array  # f̄, (N,)
    constant: jax.Array  # C, (), money
    outside_option: jax.Array  # w0, () or (N,), money
    nu_x: jax.Array  # ν_x, (), log points: workers' intensity towards firms
    nu_y: jax.Array  # ν_y, (), log points: firms' intensity towards these workers
    name: str = "home"


@partial(
    register_dataclass,
    data_fields=["characteristics", "mass", "outside_option"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Firms:
    """Firm types: ``J`` of them with ``n`` characteristics."""

    characteristics: jax.Array  # y, (J, n)
    mass: jax.Array  # ḡ, (J,)
    outside_option: jax.Array  # r0, () or (J,), money


@partial(
    register_dataclass,
    data_fields=["origins", "firms", "affinity", "lambda_x", "lambda_y"],
    meta_fields=["intensity_unit", "skill_names", "characteristic_names"],
)
@dataclass(frozen=True)
class Economy:
    """All primitives of the model; build it with :func:`make_economy`, which checks them.

    A JAX pytree: its arrays may be traced, batched and differentiated.
    """

    origins: tuple[Origin, ...]
    firms: Firms
    affinity: jax.Array  # Φ, (m, n), money
    lambda_x: jax.Array  # λ_x, (), money
    lambda_y: jax.Array  # λ_y, (), money
    intensity_unit: str = "cell"
    skill_names: tuple[str, ...] = field(default=())
    characteristic_names: tuple[str, ...] = field(default=())

    @property
    def home(self) -> Origin:
        """The first origin."""
        return self.origins[0]

    @property
    def scale(self) -> jax.Array:
        """Total taste scale ``λ = λ_x + λ_y``."""
        return self.lambda_x + self.lambda_y


def make_origin(
    skills: Any,
    mass: Any,
    *,
    constant: Any,
    outside_option: Any = 0.0,
    nu_x: Any = 0.0,
    nu_y: Any = 0.0,
    name: str = "home",
) -> Origin:
    """Gather one origin's workers; a vector of skills means one skill per type.

    Nothing is checked here: :func:`make_economy` checks the whole.
    """
    return Origin(
        skills=_columns(skills),
        mass=_array(mass),
        constant=_array(constant),
        outside_option=_array(outside_option),
        nu_x=_array(nu_x),
        nu_y=_array(nu_y),
        name=name,
    )


def make_firms(characteristics: Any, mass: Any, *, outside_option: Any = 0.0) -> Firms:
    """Gather the firms' side; a vector of characteristics means one per type."""
    return Firms(_columns(characteristics), _array(mass), _array(outside_option))


def make_economy(
    origins: Sequence[Origin],
    firms: Firms,
    *,
    affinity: Any,
    lambda_x: Any,
    lambda_y: Any,
    intensity_unit: str = "cell",
    skill_names: Sequence[str] = (),
    characteristic_names: Sequence[str] = (),
) -> Economy:
    """Build an :class:`Economy` after checking every primitive.

    Shapes: ``affinity`` is ``(m, n)`` for ``m`` skills and ``n`` characteristics; a number stands
    for ``(1, 1)``. Money may be in any unit, the same throughout.

    Raises :class:`~matching.errors.InvalidInput` with all defects together, and
    :class:`~matching.errors.PrecisionError` where JAX runs in float32.

    >>> workers = make_origin([0.2, 0.8], [0.5, 0.5], constant=10.0, outside_option=2.0)
    >>> economy = make_economy([workers], make_firms([0.0, 1.0], [0.5, 0.5]),
    ...                        affinity=3.0, lambda_x=1.0, lambda_y=1.0)
    >>> economy.affinity.shape
    (1, 1)
    """
    require_float64()
    affinity = _array(affinity)
    if affinity.ndim == 0:
        affinity = affinity[None, None]
    economy = Economy(
        origins=tuple(origins),
        firms=firms,
        affinity=affinity,
        lambda_x=_array(lambda_x),
        lambda_y=_array(lambda_y),
        intensity_unit=intensity_unit,
        skill_names=tuple(skill_names) or _numbered("x", affinity.shape[0]),
        characteristic_names=tuple(characteristic_names) or _numbered("y", affinity.shape[-1]),
    )
    defects = economy_defects(economy)
    if defects:
        raise InvalidInput(list(defects.values()))
    return on_device(economy)


def economy_defects(economy: Economy) -> Mapping[str, str]:
    """Everything that is wrong with an economy: parameter name → what, why and the remedy.

    Inside ``jit`` only shapes are known and checked.
    """
    defects: dict[str, str] = {}

    def note(name: str, text: str) -> None:
        defects.setdefault(name, f"{name}: {text}")

    def finite(name: str, value: jax.Array, shapes: Sequence[tuple[int, ...]]) -> bool:
        """Whether the values can be looked at further: right shape, finite, and not traced."""
        if value.shape not in shapes:
            wanted = " or ".join(str(shape) for shape in shapes)
            note(name, f"has shape {value.shape} where {wanted} is needed")
            return False
        if value.dtype != jnp.float64:
            note(name, f"is {value.dtype}, which has lost digits; give it as float64")
            return False
        if is_traced(value):
            return False
        array = np.asarray(value)
        if not np.isfinite(array).all():
            where = [int(i[0]) if len(i) else 0 for i in np.argwhere(~np.isfinite(array))[:3]]
            note(name, f"is not finite at position {', '.join(map(str, where))}; give a number")
            return False
        return True

    def mass(name: str, value: jax.Array, count: int) -> None:
        if not finite(name, value, [(count,)]):
            return
        array = np.asarray(value)
        if (array < 0).any():
            where = ", ".join(str(int(i)) for i in np.flatnonzero(array < 0)[:3])
            note(name, f"is negative at type {where}; masses are zero or positive")
            return
        positive = array[array > 0]
        if not len(positive):
            note(name, "has no positive mass; a side of the market is empty")
        elif not (positive.min() >= _LEAST and positive.max() <= 1.0 / _LEAST):
            note(name, f"has masses outside {_LEAST:g} to {1.0 / _LEAST:g}, whose products leave "
                 "float64; state all masses in another unit")  # fmt: skip

    affinity = economy.affinity
    if affinity.ndim != 2 or 0 in affinity.shape:
        note("technology.affinity", f"has shape {affinity.shape}; rows are skills, columns are "
             "firm characteristics")  # fmt: skip
        return defects
    m, n = affinity.shape
    finite("technology.affinity", affinity, [(m, n)])
    for name, value in (("lambda_x", economy.lambda_x), ("lambda_y", economy.lambda_y)):
        if finite(f"tastes.{name}", value, [()]) and not value > 0:
            note(f"tastes.{name}", f"is {float(value)!r}; a taste scale is positive")
    if economy.intensity_unit not in INTENSITY_UNITS:
        note("technology.intensity_unit", f"is {economy.intensity_unit!r}; choose "
             f"{' or '.join(map(repr, INTENSITY_UNITS))}")  # fmt: skip
    for label, names, count in (
        ("skill_names", economy.skill_names, m),
        ("characteristic_names", economy.characteristic_names, n),
    ):
        if len(names) != count or len(set(names)) != count:
            note(label, f"needs {count} different names, one per row or column of the affinity "
                 f"matrix, and has {list(names)}")  # fmt: skip

    firms = economy.firms
    count = firms.characteristics.shape[0]
    finite("firms.characteristics", firms.characteristics, [(count, n)])
    mass("firms.mass", firms.mass, count)
    finite("firms.outside_option", firms.outside_option, [(), (count,)])

    if not economy.origins:
        note("origin", "there is none; the first origin is home")
    origin_names = [origin.name for origin in economy.origins]
    for name in sorted({name for name in origin_names if origin_names.count(name) > 1}):
        note(f"origin.{name}", "two origins bear this name; names must differ")
    for origin in economy.origins:
        prefix = f"origin.{origin.name}"
        count = origin.skills.shape[0]
        finite(f"{prefix}.skills", origin.skills, [(count, m)])
        mass(f"{prefix}.mass", origin.mass, count)
        finite(f"{prefix}.constant", origin.constant, [()])
        finite(f"{prefix}.outside_option", origin.outside_option, [(), (count,)])
        finite(f"{prefix}.nu_x", origin.nu_x, [()])
        finite(f"{prefix}.nu_y", origin.nu_y, [()])
    return defects


def convert_intensity(economy: Economy, unit: str, *, approximate: bool = False) -> Economy:
    """The same economy with its intensities ``ν`` stated in another unit.

    Per cell, ``ν`` counts acquaintances per partner type; per density, per unit share of the
    partners' population. With equal masses on each side the two differ by the log of the number
    of partner types: ``ν_x(density) = ν_x(cell) + log J``, ``ν_y(density) = ν_y(cell) + log N``
    (``log 10`` for the slides' deciles). With unequal masses no scalar ``ν`` reproduces the same
    equilibrium; ``approximate=True`` then uses the effective number of types, the exponential of
    the entropy of the shares, and the equilibrium moves.

    Raises :class:`~matching.errors.InvalidInput` for an unknown unit, and for unequal masses
    unless ``approximate``.
    """
    if unit not in INTENSITY_UNITS:
        raise InvalidInput([f"intensity unit {unit!r} is unknown; choose from {INTENSITY_UNITS}"])
    if unit == economy.intensity_unit:
        return economy
    sides = {"firms": economy.firms.mass} | {f"origin.{o.name}": o.mass for o in economy.origins}
    unequal = [
        name for name, mass in sides.items() if not np.ptp(mass[mass > 0]) <= 1e-12 * np.max(mass)
    ]
    if unequal and not approximate:
        raise InvalidInput(
            [
                f"{name}.mass: types have unequal masses, so no scalar ν gives the same "
                f"equilibrium in unit {unit!r}; pass approximate=True to shift by the effective "
                "number of types"
                for name in unequal
            ]
        )
    sign = 1.0 if unit == "density" else -1.0
    log_firm_types = sign * _entropy(economy.firms.mass)
    origins = tuple(
        replace(o, nu_x=o.nu_x + log_firm_types, nu_y=o.nu_y + sign * _entropy(o.mass))
        for o in economy.origins
    )
    return replace(economy, origins=origins, intensity_unit=unit)


def _entropy(mass: jax.Array) -> jax.Array:
    share = mass / mass.sum()
    return -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1.0)), 0.0))


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{k + 1}" for k in range(count))


def _array(value: Any) -> Any:
    """float64, unless the value has already lost digits, which :func:`economy_defects` notes."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return float64(value)


def _columns(value: Any) -> jax.Array:
    array = _array(value)
    return array[:, None] if array.ndim == 1 else array
