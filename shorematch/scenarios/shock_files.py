"""Shocks and designs as tables of TOML files: parsed, resolved and checked, every defect noted."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field

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
from matching import InvalidInput, parameter_names
from matching.errors import did_you_mean
from shorematch.files.defects import Defect, InputError
from shorematch.files.economy_file import LoadedEconomy, read_economy
from shorematch.files.inputs import FileModel, sha256_of

_KINDS: tuple[str, ...] = get_args(Kind)
_RANGES = ({"from", "to", "points"}, {"from", "to"}, {"mean", "sd"})
_Name = Annotated[str, Field(min_length=1)]


class ShockEntry(FileModel, extra="allow"):
    """One ``[[shock]]``: a name, the shocks it stands on, and parameters with their changes."""

    name: _Name
    after: tuple[_Name, ...] = ()


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


def read_scenario_entries(
    path: Path,
    loaded: LoadedEconomy,
    shocks: Sequence[ShockEntry],
    designs: Sequence[DesignEntry] = (),
    *,
    taken: Sequence[str] = (),
    most: float = math.inf,
) -> Scenarios:
    """Turn the entries of the file at ``path`` into designs around an economy, checked.

    ``taken`` are names that no entry may bear; ``most`` is the number of points that all may have
    together. Raises :class:`~shorematch.defects.InputError` with every defect.
    """
    others: dict[str, LoadedEconomy] = {}
    stacks: dict[str, tuple[Shock, ...]] = {}
    read: list[Design] = []
    defects: list[Defect] = []
    names = [*taken, *(entry.name for entry in (*shocks, *designs))]
    entries = [(f"shock #{k}", entry) for k, entry in enumerate(shocks, start=1)]
    entries += [(f"design #{k}", entry) for k, entry in enumerate(designs, start=1)]
    for key, entry in entries:

        def note(text: str, key: str = key) -> None:
            defects.append(Defect(path.name, text, "Correct this entry", key=key))

        if names.count(entry.name) > 1:
            note(f"another scenario bears the name {entry.name!r}")
        try:
            leaves = list(_leaves(entry.model_extra or {}, parameter_names(loaded.economy)))
            after = _stacked(entry, stacks)
            left = most - sum(map(len, read))
            changes = [
                change
                for name, node in leaves
                if "equal" in node or not isinstance(entry, DesignEntry)
                for change in _changes(name, node, path.parent, others)
            ]
            if isinstance(entry, DesignEntry):
                varied = [leaf for leaf in leaves if "equal" not in leaf[1]]
                design = _design(entry, varied, changes, after, left)
            elif changes or after:
                design = single(Shock(entry.name, tuple(changes)), after)
                stacks[entry.name] = (*after, Shock(entry.name, tuple(changes)))
            else:
                raise InvalidInput(["changes nothing; name a parameter, as in "
                                    "origin.china.constant = { add = 1.0 }"])  # fmt: skip
            read.append(design)
            check_design(loaded.economy, design)
        except InvalidInput as error:
            for text in error.defects:
                note(text)
    if defects:
        raise InputError(defects)
    files = {path.name: sha256_of(path)}
    for file, other in others.items():
        folder = Path(file).parent
        files |= {(folder / name).as_posix(): sha for name, sha in other.files.items()}
    return Scenarios(tuple(read), files)


def _stacked(entry: ShockEntry, stacks: Mapping[str, tuple[Shock, ...]]) -> tuple[Shock, ...]:
    """All shocks that an entry stands on, one on top of the other."""
    unknown = [name for name in entry.after if name not in stacks]
    if unknown:
        raise InvalidInput([
            f"after: no shock above is named {name!r}{did_you_mean(name, stacks)}"
            for name in unknown
        ])  # fmt: skip
    return tuple(shock for name in entry.after for shock in stacks[name])


def _design(
    entry: DesignEntry,
    varied: Sequence[tuple[str, dict[str, Any]]],
    fixed: Sequence[Change],
    after: Sequence[Shock],
    most: float,
) -> Design:
    def require_few(points: int) -> None:
        if points > most:
            raise InvalidInput([f"its {points:,} points make more than a million; pass --yes if so "
                                "many are meant"])  # fmt: skip

    method = entry.method
    if method == "grid" or method == "list":
        axes = [_axis(*leaf) for leaf in varied]
        lengths = [len(axis.values) for axis in axes]
        require_few(math.prod(lengths) if method == "grid" else max(lengths, default=0))
        make = grid if method == "grid" else listed
        return make(entry.name, axes, fixed=fixed, after=after)
    if entry.points is None:
        raise InvalidInput(["points: is missing; say how many draws to take"])
    require_few(entry.points)
    spreads = [_spread(*leaf) for leaf in varied]
    return drawn(
        entry.name, spreads, entry.points, method=method, seed=entry.seed, fixed=fixed, after=after
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


def _leaves(
    tree: Mapping[str, Any], known: Sequence[str], prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
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


def _axis(name: str, node: Mapping[str, Any]) -> Axis:
    """The values of one parameter of a grid or list: a list, a range, or one number."""
    ((kind, value),) = _one(name, node)
    if isinstance(value, dict):
        if set(value) != _RANGES[0]:
            raise InvalidInput([f"{name}: a range is {{ from = 0.0, to = 1.0, points = 5 }}"])
        if not isinstance(value["points"], int) or value["points"] < 1:
            raise InvalidInput([f"{name}: points is {value['points']!r}; give a whole number"])
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
