"""Economy files: a TOML file and one table of types for each side of the market."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from matching import Economy, InvalidInput, make_economy, make_firms, make_origin
from shorematch.files.defects import Defect, InputError
from shorematch.files.inputs import FileModel, read_toml, sha256_of, toml_data
from shorematch.files.run_folder import safe_names, write_csv
from shorematch.files.table_files import read_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# columns of a run's workers.csv and firms.csv, which types must therefore not use as names
WORKER_COLUMNS = (
    "origin", "worker", "mass", "unmatched", "multiplier", "expected_utility", "mean_wage",
)  # fmt: skip
FIRM_COLUMNS = (
    "firm", "mass", "unmatched", "multiplier", "expected_profit", "mean_wage_paid",
    "offshoring_share",
)  # fmt: skip

_Name = Annotated[str, Field(min_length=1)]
_Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class LoadedEconomy:
    """An economy and where it came from: ``files`` maps each file's name to its SHA-256."""

    economy: Economy
    name: str
    files: dict[str, str]


class _Firms(FileModel):
    types: _Name
    outside_option: float | _Name


class _Tastes(FileModel):
    lambda_x: _Positive
    lambda_y: _Positive


class _Technology(FileModel):
    affinity: list[list[float]]
    intensity_unit: Literal["cell", "density"]


class OriginKeys(FileModel):
    """What every file says about an origin."""

    name: _Name
    types: _Name
    outside_option: float | _Name


class EconomyKeys(FileModel):
    """What every file that describes an economy holds, beside its origins."""

    firms: _Firms
    tastes: _Tastes
    technology: _Technology


class _Origin(OriginKeys):
    constant: float
    nu_x: float
    nu_y: float


class _EconomyFile(EconomyKeys):
    origin: Annotated[list[_Origin], Field(min_length=1)]


@dataclass(frozen=True)
class _Types:
    characteristics: "pd.DataFrame"  # skills, for workers
    mass: "np.ndarray"
    outside_option: "np.ndarray | float"

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self.characteristics]


def read_economy(path: Path) -> LoadedEconomy:
    """The economy that a TOML file and its tables of types describe.

    Paths in the file are relative to it. Raises :class:`~shorematch.defects.InputError` with
    every defect of all the files.
    """
    defects: list[Defect] = []
    file = read_toml(path, _EconomyFile, defects)
    if file is None:
        note_table_defects(path, defects)
        raise InputError(defects)
    return load_economy(path, file, file.origin, defects)


def note_table_defects(path: Path, defects: list[Defect]) -> None:
    """Note what is wrong with the tables of a file whose keys are wrong, as far as it names them.

    So that one message holds the defects of all files.
    """
    data = toml_data(path, []) or {}
    origins = data.get("origin")
    sides = [(data.get("firms"), FIRM_COLUMNS)]
    sides += [(o, WORKER_COLUMNS) for o in (origins if isinstance(origins, list) else [])]
    for keys, result_columns in sides:
        if isinstance(keys, dict) and isinstance(keys.get("types"), str):
            side = _Firms.model_construct(outside_option=0.0)
            _read_types(path, side.model_copy(update=keys), result_columns, defects)


def load_economy(
    path: Path, file: EconomyKeys, origins: Sequence[OriginKeys], defects: list[Defect]
) -> LoadedEconomy:
    """The economy of a file whose keys were read, home first among ``origins``.

    Constants and intensities that the origins do not give are zero. Raises
    :class:`~shorematch.defects.InputError` with ``defects`` and those of the tables of types.
    """
    firms = _read_types(path, file.firms, FIRM_COLUMNS, defects)
    workers = [_read_types(path, origin, WORKER_COLUMNS, defects) for origin in origins]
    defects += _name_defects(path, origins)
    defects += _skill_defects(origins, workers)
    defects += _affinity_defects(path, file, workers[0], firms)
    sides = [types for types in workers if types is not None]
    if defects or firms is None:
        raise InputError(defects)

    skills = sides[0].names
    economy = make_economy(
        [
            make_origin(
                types.characteristics[skills],
                types.mass,
                outside_option=types.outside_option,
                name=origin.name,
                **{key: getattr(origin, key, 0.0) for key in ("constant", "nu_x", "nu_y")},
            )
            for origin, types in zip(origins, sides, strict=True)
        ],
        make_firms(firms.characteristics, firms.mass, outside_option=firms.outside_option),
        affinity=file.technology.affinity,
        lambda_x=file.tastes.lambda_x,
        lambda_y=file.tastes.lambda_y,
        intensity_unit=file.technology.intensity_unit,
        skill_names=skills,
        characteristic_names=firms.names,
    )
    tables = dict.fromkeys([file.firms.types, *(origin.types for origin in origins)])
    files = {path.name: sha256_of(path)}
    files |= {name: sha256_of(path.parent / name) for name in tables}
    return LoadedEconomy(economy, path.stem, files)


def write_economy(economy: Economy, folder: Path, name: str = "economy") -> Path:
    """Write an economy as files that :func:`read_economy` takes back bit for bit.

    Returns the path of the TOML file, ``name.toml``; tables of types beside it bear its name.
    Raises :class:`~matching.InvalidInput` where a name cannot head a column of types.
    """
    defects = [
        f"{kind} {name!r} cannot head a column of types; rename it"
        for kind, names, taken in (
            ("skill", economy.skill_names, WORKER_COLUMNS),
            ("firm characteristic", economy.characteristic_names, FIRM_COLUMNS),
        )
        for name in names
        if name in taken or not name or name != name.strip()
    ]
    if defects:
        raise InvalidInput(defects)

    def types(stem: str, values: Any, names: tuple[str, ...], side: Any) -> dict[str, Any]:
        """Write one table of types; the keys of the TOML file that point to it."""
        import numpy as np
        import pandas as pd

        frame = pd.DataFrame(np.asarray(values), columns=list(names))
        frame.insert(0, "mass", np.asarray(side.mass))
        option: float | str
        if np.ndim(side.outside_option):
            option = "outside_option"
            while option in frame:
                option += "_"
            frame[option] = np.asarray(side.outside_option)
        else:
            option = float(side.outside_option)
        write_csv(folder / f"{stem}.csv", frame)
        return {"types": f"{stem}.csv", "outside_option": option}

    firms = economy.firms
    stems = safe_names([name, f"{name}_firms", *(f"{name}_{o.name}" for o in economy.origins)])
    sections = {
        "[firms]": types(stems[1], firms.characteristics, economy.characteristic_names, firms),
        "[tastes]": {"lambda_x": float(economy.lambda_x), "lambda_y": float(economy.lambda_y)},
        "[technology]": {
            "affinity": economy.affinity.tolist(),
            "intensity_unit": economy.intensity_unit,
        },
    }
    lines = [line for head, keys in sections.items() for line in (head, *_toml_lines(keys))]
    for stem, origin in zip(stems[2:], economy.origins, strict=True):
        keys = {"name": origin.name, **types(stem, origin.skills, economy.skill_names, origin)}
        keys |= {key: float(getattr(origin, key)) for key in ("constant", "nu_x", "nu_y")}
        lines += ["[[origin]]", *_toml_lines(keys)]
    path = folder / f"{stems[0]}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


# ---------------------------------------------------------------- helpers


def _read_types(
    path: Path, side: _Firms | OriginKeys, result_columns: tuple[str, ...], defects: list[Defect]
) -> _Types | None:
    """One table of types, ``None`` where it has defects."""
    option = side.outside_option
    required = ["mass", option] if isinstance(option, str) else ["mass"]
    frame = read_table(path.parent / side.types, defects, required=required, masses=["mass"])
    if frame is None:
        return None
    before = len(defects)
    file = Path(side.types).name
    names = [str(name) for name in frame.columns if name not in required]
    if not names:
        remedy = "Add one column per skill of these workers or characteristic of these firms"
        defects.append(Defect(file, "has no characteristic beside the mass", remedy, row=1))
    for name in names:
        if name in result_columns:
            problem = "bears the name of a column of the results"
            defects.append(Defect(file, problem, "Rename it", row=1, column=name))
    if not frame["mass"].any():
        remedy = "Give at least one type a positive mass"
        defects.append(Defect(file, "all masses are zero", remedy, column="mass"))
    if len(defects) > before:
        return None
    return _Types(
        frame[names],
        frame["mass"].to_numpy(),
        frame[option].to_numpy() if isinstance(option, str) else option,
    )


def _name_defects(path: Path, origins: Sequence[OriginKeys]) -> list[Defect]:
    names = [origin.name for origin in origins]
    return [
        Defect(path.name, f"{names.count(name)} origins bear the name {name!r}",
               "Give each origin a name of its own", key="origin.name")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]  # fmt: skip


def _skill_defects(origins: Sequence[OriginKeys], workers: list[_Types | None]) -> list[Defect]:
    """Every origin has home's skills, in any order."""
    home = workers[0]
    defects = []
    for origin, types in zip(origins, workers, strict=True):
        if home is None or types is None or set(types.names) == set(home.names):
            continue
        problem = f"its skills are {', '.join(types.names)}; home's are {', '.join(home.names)}"
        remedy = "Every origin needs the same skills under the same names"
        defects.append(Defect(Path(origin.types).name, problem, remedy, row=1))
    return defects


def _affinity_defects(
    path: Path, file: EconomyKeys, home: _Types | None, firms: _Types | None
) -> list[Defect]:
    rows = file.technology.affinity
    problems = []
    if len({len(row) for row in rows}) > 1:
        problems.append(f"its rows have {', '.join(str(len(row)) for row in rows)} numbers")
    if home is not None and len(rows) != len(home.names):
        problems.append(f"has {len(rows)} rows for skills {', '.join(home.names)}")
    if firms is not None and any(len(row) != len(firms.names) for row in rows):
        widths = " or ".join(str(width) for width in sorted({len(row) for row in rows}))
        problems.append(f"has {widths} columns for characteristics {', '.join(firms.names)}")
    remedy = "Give one row per skill and one column per firm characteristic"
    return [Defect(path.name, text, remedy, key="technology.affinity") for text in problems]


def _toml_lines(keys: dict[str, Any]) -> list[str]:
    """Keys as TOML, whose text, floats and arrays are written as in JSON."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
