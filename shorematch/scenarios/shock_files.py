"""Shocks and designs as tables of TOML files: parsed, resolved and checked, every defect noted."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from counterfactuals import Change, Shock
from counterfactuals.designs import (
    Axis,
    Design,
    Method,
    Spread,
    check_design,
    drawn,
    grid,
    listed,
    single,
    taken_from,
)
from counterfactuals.shocks import Kind
from matching import Economy, InvalidInput, get_parameter, parameter_names
from matching.errors import did_you_mean
from shorematch.files.defects import Defect, InputError
from shorematch.files.economy_file import LoadedEconomy, read_economy
from shorematch.files.inputs import FileModel, Model, sha256_of, toml_data, validated

POINTS_WITHOUT_ASKING = 1_000_000
_KINDS: tuple[str, ...] = get_args(Kind)
_RANGES = ({"from", "to", "points"}, {"from", "to"}, {"mean", "sd"})
_Name = Annotated[str, Field(min_length=1)]
_Leaf = tuple[str, dict[str, Any]]  # a parameter and its changes


class ShockEntry(FileModel, extra="allow"):
    """One ``[[shock]]``: a name, the shocks it stands on, and parameters with their changes."""

    name: _Name
    after: tuple[_Name, ...] = ()

    @property
    def unread(self) -> dict[str, Any]:
        """What stands in the entry besides its keys: parameters, if they are spelt well."""
        return self.model_extra or {}


class DesignEntry(ShockEntry):
    """One ``[[design]]``: like a shock, with many values of each parameter."""

    method: Literal["grid", "list", Method]
    points: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Scenarios:
    """What a file of shocks and designs asks for, and it and the economies' files it drew on."""

    designs: tuple[Design, ...]  # one per entry, in file order, shocks first
    files: dict[str, str]  # path from the folder of the file → SHA-256


def sound_part(path: Path, model: type[Model]) -> Model | None:
    """What is sound in a file with wrong keys, so that its parameters are checked all the same.

    Entries keep their places, with stand-ins for keys that they need. ``None`` where too little
    is left.
    """
    data = toml_data(path, []) or {}
    for kind, entry_model in (("shock", ShockEntry), ("design", DesignEntry)):
        entries = data.get(kind)
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            for k, entry in enumerate(entries, start=1):
                needed: dict[str, Any] = {"name": f"{kind} #{k}"}
                if entry_model is DesignEntry:
                    needed |= {"method": "random" if "points" in entry else "grid", "points": 1}
                entries[k - 1] = _without_defects(entry, entry_model, needed)
    try:
        return validated(_without_defects(data, model, {}), model)
    except ValidationError:
        return None


def read_scenario_entries(
    path: Path,
    loaded: LoadedEconomy,
    shocks: Sequence[ShockEntry],
    designs: Sequence[DesignEntry] = (),
    *,
    taken: Sequence[str] = (),
    most: float = math.inf,
    noted: Sequence[Defect] = (),
) -> Scenarios:
    """Turn the entries of the file at ``path`` into designs around an economy, checked.

    ``taken`` are names that no entry may bear; ``most`` is the number of points that all may have
    together; ``noted`` is what is known to be wrong with the file already. Raises
    :class:`~shorematch.defects.InputError` with every defect.
    """
    others: dict[str, LoadedEconomy] = {}
    stacks: dict[str, tuple[Shock, ...]] = {}
    read: list[Design] = []
    defects = list(noted)
    names = Counter([*taken, *(entry.name for entry in (*shocks, *designs))])
    entries = [(f"shock #{k}", entry) for k, entry in enumerate(shocks, start=1)]
    entries += [(f"design #{k}", entry) for k, entry in enumerate(designs, start=1)]
    for key, entry in entries:
        wrong = [f"another scenario bears the name {entry.name!r}"] * (names[entry.name] > 1)
        after = _stacked(entry, stacks, wrong)
        leaves = _known_leaves(entry, loaded.economy, wrong)
        checked = partial(
            _checked, loaded.economy, after=after, folder=path.parent, others=others,
            most=most - sum(map(len, read)),
        )  # fmt: skip
        found = _attempts(checked, [(entry, leaves)], wrong) if leaves or not entry.unread else []
        if wrong:  # what is wrong with one parameter hides nothing of the others
            _attempts(checked, [(_alone(entry, leaf), [leaf]) for leaf in leaves], wrong)
        read += found
        if not isinstance(entry, DesignEntry):  # whoever stands on an unsound shock is not to blame
            sound = found and not wrong
            stacks[entry.name] = (*after, Shock(entry.name, found[0].fixed)) if sound else ()
        defects += [
            Defect(path.name, text, "Correct this entry", key=key) for text in dict.fromkeys(wrong)
        ]
    if defects:
        raise InputError(defects)
    files = {path.name: sha256_of(path)}
    for file, other in others.items():
        folder = Path(file).parent
        files |= {(folder / name).as_posix(): sha for name, sha in other.files.items()}
    return Scenarios(tuple(read), files)


def _without_defects(
    data: dict[str, Any], model: type[BaseModel], needed: Mapping[str, Any]
) -> dict[str, Any]:
    """Tables without the keys that a model refuses, with ``needed`` where these leave a gap."""
    try:
        validated(data, model)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors()}
        return {**needed, **{key: value for key, value in data.items() if key not in wrong}}
    return data


def _stacked(
    entry: ShockEntry, stacks: Mapping[str, tuple[Shock, ...]], wrong: list[str]
) -> tuple[Shock, ...]:
    """All shocks that an entry stands on, one on top of the other; unknown ones are noted."""
    wrong += [
        f"after: no shock above is named {name!r}{did_you_mean(name, stacks)}"
        for name in entry.after
        if name not in stacks
    ]
    return tuple(shock for name in entry.after for shock in stacks.get(name, ()))


def _known_leaves(entry: ShockEntry, economy: Economy, wrong: list[str]) -> list[_Leaf]:
    """The parameters that an entry changes and the economy has; others are noted."""
    known = []
    for name, node in _leaves(entry.unread, parameter_names(economy)):
        try:
            get_parameter(economy, name)
        except InvalidInput as error:
            hint = did_you_mean(name, type(entry).model_fields)
            misspelt = [f"{name}: is no parameter and no key of an entry{hint}"]
            wrong += error.defects if "." in name else misspelt
        else:
            known.append((name, node))
    return known


def _attempts(
    checked: Callable[..., Design], parts: Iterable[tuple[ShockEntry, list[_Leaf]]],
    wrong: list[str],
) -> list[Design]:  # fmt: skip
    """The designs of what is sound among some parts of entries; what is wrong is noted."""
    found = []
    for part in parts:
        try:
            found.append(checked(*part))
        except InvalidInput as error:
            wrong += error.defects
    return found


def _alone(entry: ShockEntry, leaf: _Leaf) -> ShockEntry:
    """An entry that may change this parameter and no other: a design varies one at least."""
    return ShockEntry(name=entry.name, after=entry.after) if "equal" in leaf[1] else entry


def _checked(
    economy: Economy,
    entry: ShockEntry,
    leaves: Sequence[_Leaf],
    *,
    after: Sequence[Shock],
    folder: Path,
    others: dict[str, LoadedEconomy],
    most: float,
) -> Design:
    """The design of an entry with these parameters, none of whose points is wrong."""
    varied = [leaf for leaf in leaves if isinstance(entry, DesignEntry) and "equal" not in leaf[1]]
    fixed = [
        change
        for leaf in leaves
        if leaf not in varied
        for change in _changes(*leaf, folder, others)
    ]
    if isinstance(entry, DesignEntry):
        design = _design(entry, varied, fixed, after, most)
    elif fixed or entry.after:
        design = single(Shock(entry.name, tuple(fixed)), after)
    else:
        raise InvalidInput(["changes nothing; name a parameter, as in "
                            "origin.china.constant = { add = 1.0 }"])  # fmt: skip
    check_design(economy, design)
    return design


def _design(
    entry: DesignEntry,
    varied: Sequence[_Leaf],
    fixed: Sequence[Change],
    after: Sequence[Shock],
    most: float,
) -> Design:
    method = entry.method
    if method == "grid" or method == "list":
        axes = [_axis(*leaf, most) for leaf in varied]
        lengths = [len(axis.values) for axis in axes]
        _require_few(math.prod(lengths) if method == "grid" else max(lengths, default=0), most)
        make = grid if method == "grid" else listed
        return make(entry.name, axes, fixed=fixed, after=after)
    if entry.points is None:
        raise InvalidInput(["points: is missing; say how many draws to take"])
    _require_few(entry.points, most)
    spreads = [_spread(*leaf) for leaf in varied]
    return drawn(
        entry.name, spreads, entry.points, method=method, seed=entry.seed, fixed=fixed, after=after
    )


def _require_few(points: int, most: float) -> None:
    if points > most:
        asked = f"its {points:,} points make more than"
        if most <= POINTS_WITHOUT_ASKING:
            raise InvalidInput([f"{asked} a million; pass --yes if so many are meant"])
        raise InvalidInput(
            [f"{asked} this machine has memory for, {most:,.0f}; make several files"]
        )


def _changes(
    name: str, node: Mapping[str, Any], folder: Path, others: dict[str, LoadedEconomy]
) -> list[Change]:
    """The changes of one parameter; ``of`` names the economy file that ``equal`` takes from."""
    if "of" not in node:
        return [Change(name, kind, value) for kind, value in node.items()]  # type: ignore[arg-type]
    if set(node) != {"equal", "of"}:
        raise InvalidInput([f'{name}: of belongs to equal, as in {{ equal = "{name}", of = '
                            '"other.toml" }'])  # fmt: skip
    file = str(node["of"])
    if file not in others:
        others[file] = read_economy(folder / file)
    return [taken_from(others[file].economy, name, str(node["equal"]))]


def _leaves(tree: Mapping[str, Any], known: Sequence[str], prefix: str = "") -> Iterator[_Leaf]:
    """Parameters and their changes in nested tables; a bare value is one to set."""
    for key, node in tree.items():
        name = f"{prefix}{key}"
        if not isinstance(node, dict):
            yield name, {"set": node}
        elif name in known or _is_change(node):
            yield name, node
        else:
            yield from _leaves(node, known, f"{name}.")


def _is_change(node: Mapping[str, Any]) -> bool:
    ranges = all(set(v) in _RANGES for v in node.values() if isinstance(v, dict))
    return set(node) <= {*_KINDS, "of"} and ranges


def _axis(name: str, node: Mapping[str, Any], most: float) -> Axis:
    """The values of one parameter of a grid or list: a list, a range, or one number."""
    ((kind, value),) = _one(name, node)
    if isinstance(value, dict):
        if set(value) != _RANGES[0]:
            raise InvalidInput([f"{name}: a range is {{ from = 0.0, to = 1.0, points = 5 }}"])
        if not isinstance(value["points"], int) or value["points"] < 1:
            raise InvalidInput(
                [f"{name}: points is {value['points']!r}; give a whole number, 1 or more"]
            )
        _require_few(value["points"], most)
        values = np.linspace(_number(name, value["from"]), _number(name, value["to"]),
                             value["points"])  # fmt: skip
        return Axis(name, kind, values)
    try:
        values = np.asarray(value if isinstance(value, list) else [value])
    except ValueError:
        values = np.asarray(["ragged"])
    if values.dtype.kind not in "iuf":
        raise InvalidInput([f"{name}: {value!r} are no numbers, or arrays of different shapes"])
    return Axis(name, kind, values.astype(np.float64))


def _spread(name: str, node: Mapping[str, Any]) -> Spread:
    ((kind, value),) = _one(name, node)
    if not isinstance(value, dict) or set(value) not in _RANGES[1:]:
        raise InvalidInput([f"{name}: draws need {{ from = 0.0, to = 1.0 }} or "
                            "{ mean = 0.0, sd = 1.0 }"])  # fmt: skip
    shape: Literal["uniform", "normal"] = "uniform" if "from" in value else "normal"
    keys = ("from", "to") if shape == "uniform" else ("mean", "sd")
    first, second = (_number(name, value[key]) for key in keys)
    return Spread(name, kind, shape, (first, second))


def _one(name: str, node: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    if len(node) != 1 or not set(node) <= set(_KINDS):
        stated = ", ".join(f"{kind}{did_you_mean(kind, _KINDS)}" for kind in node)
        raise InvalidInput([f"{name}: needs one of set, add, multiply and equal; it has {stated}"])
    return list(node.items())


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput([f"{name}: {value!r} is no number"])
    return float(value)
