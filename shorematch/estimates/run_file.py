"""The run file of ``estimate``: its sections, their defaults, and the file with every default."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from shorematch.estimates.match_files import MatchData, Name, TableKeys
from shorematch.files.defects import Defect, InputError
from shorematch.files.inputs import FileModel, read_toml

_Share = Annotated[float, Field(gt=0, lt=1)]
_Positive = Annotated[float, Field(gt=0)]
# a number, or a table of one per year: { 1996 = 40.5, 2006 = 45.3 }
_Yearly = float | dict[str, float]
_YearlyShare = _Share | dict[str, _Share]
_YearlyPositive = _Positive | dict[str, _Positive]
_TYPED = ("types", "home", "firms", "foreign")
# estimator → its sections
_SECTIONS = {
    "affinity": ("affinity",),
    "wages": ("wages",),
    "three steps": _TYPED,
    "minimum distance": (*_TYPED, "moments", "parameters"),
}
_NEEDED = {"wages": "wages", "three steps": "home", "minimum distance": "home"}
# key of [inference] → estimators that use it
_USED_BY = {
    "std_errors": ("affinity", "wages"),
    "starts": ("wages", "minimum distance"),
}


class InferenceKeys(FileModel):
    """The section ``[inference]``: errors, starts and draws."""

    std_errors: Literal["sandwich", "information"] | None = None  # the estimator's
    clustered: bool = True  # by firm, where the data name its column
    draws: Annotated[int, Field(ge=0)] = 0  # of the bootstrap; 0: none
    studentised: bool = False  # each draw with an error of its own
    starts: Annotated[int, Field(ge=1)] = 1  # the first is fixed, further ones are random
    seed: Annotated[int, Field(ge=0)] = 0


class AffinityKeys(FileModel):
    """The section ``[affinity]``: a penalty on the matrix."""

    penalty: Literal["nuclear", "l1"]
    strength: Annotated[float, Field(ge=0)] | None = None  # chosen by cross-validation if left out
    strengths: Annotated[int, Field(ge=2)] = 20  # that are tried
    folds: Annotated[int, Field(ge=2)] = 5


class WageKeys(FileModel):
    """The section ``[wages]`` of the estimator ``wages``."""

    logarithm: bool = True
    amenities: list[Name]
    productivity: list[Name]
    profile: bool = True


class QuantileKeys(FileModel):
    """Types as cells of equal mass in each dimension."""

    quantiles: Annotated[int, Field(ge=2)]


class CellKeys(FileModel):
    """Types as a user's own cells: rows with the same label."""

    cells: Name


Cutting = Literal["deciles", "individual"] | QuantileKeys | CellKeys


class TypeKeys(FileModel):
    """The section ``[types]``: how types are made from rows."""

    workers: Cutting = "deciles"
    firms: Cutting = "deciles"


class MomentKeys(FileModel):
    """The section ``[moments]`` of minimum distance: what the model is fitted to."""

    sampled: list[Name] | None = None  # of rows; all that the data have where left out
    aggregates: list[Name] | None = None  # of the market; likewise


class ParameterKeys(FileModel):
    """The section ``[parameters]`` of minimum distance: all are free but what stands here."""

    free: list[Name] | None = None
    fixed: dict[str, float] = Field(default_factory=dict)
    tied: dict[str, Name] = Field(default_factory=dict)  # parameter → the free one that it equals
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)


class HomeKeys(FileModel):
    """The section ``[home]``: what aggregates say about home's workers."""

    name: Name = "home"
    outside_option: _Yearly  # w0, money
    wage_share: _YearlyShare  # W/Y
    unemployment_rate: _YearlyShare | None = None  # |f0|/|f̄|; counted where rows are unmatched


class FirmKeys(FileModel):
    """The section ``[firms]``."""

    outside_option: _Yearly = 0.0  # r0, money
    mass_per_worker: _YearlyPositive | None = None  # |ḡ|/|f̄|; 1 + offshoring rate where left out


class ForeignKeys(TableKeys):
    """The section ``[foreign]``: the offshored side of the market."""

    name: Name = "foreign"
    outside_option: _Yearly  # w0*, money
    mass: _YearlyPositive | None = (
        None  # |f̄*| relative to home's |f̄|; counted where rows are foreign
    )
    types: Name | None = None  # a table of types: mass and skills
    tilt: dict[str, float] | None = None  # skill → log mass, highest over lowest rank, on home's
    mean_wage: _Yearly | None = None  # E(w*), money
    offshoring_rate: _YearlyPositive | None = None  # |f*|/|f|
    purchases: Name | None = None  # a table of imports and value added, by firm or industry
    imports: Name = "imports"
    value_added: Name = "value_added"


class RunFile(FileModel):
    """A run file of ``estimate``."""

    estimator: Literal["affinity", "wages", "three steps", "minimum distance"]
    data: MatchData
    affinity: AffinityKeys | None = None
    wages: WageKeys | None = None
    types: TypeKeys | None = None
    home: HomeKeys | None = None
    firms: FirmKeys | None = None
    foreign: ForeignKeys | None = None
    moments: MomentKeys | None = None
    parameters: ParameterKeys | None = None
    inference: InferenceKeys = InferenceKeys()

    @model_validator(mode="after")
    def _sections_of_the_estimator(self) -> "RunFile":
        own = _SECTIONS[self.estimator]
        for section in {name for names in _SECTIONS.values() for name in names}:
            if getattr(self, section) is not None and section not in own:
                owners = " or ".join(f'"{e}"' for e, names in _SECTIONS.items() if section in names)
                raise ValueError(f"the section [{section}] belongs to estimator = {owners}")
        needed = _NEEDED.get(self.estimator)
        if needed and getattr(self, needed) is None:
            raise ValueError(f'estimator = "{self.estimator}" needs a section [{needed}]')
        if self.estimator != "affinity" and self.data.wage is None:
            raise ValueError(f'estimator = "{self.estimator}" needs the key wage in [data]')
        if self.estimator == "wages" and self.data.weight is not None:
            raise ValueError('estimator = "wages" takes no weight: every match counts once')
        defaults = InferenceKeys()
        for key, users in _USED_BY.items():
            if self.estimator not in users and getattr(self.inference, key) != getattr(
                defaults, key
            ):
                owners = " or ".join(f'"{user}"' for user in users)
                raise ValueError(f"{key} in [inference] belongs to estimator = {owners}")
        if self.affinity is not None and self.inference.draws:
            raise ValueError("draws in [inference]: an estimate under a penalty has no errors")
        if self.data.standardise is None:
            how = "none" if "types" in own else "ddof1"
            data = self.data.model_copy(update={"standardise": how})
            return self.model_copy(update={"data": data})
        return self


def read_run(path: Path) -> RunFile:
    """A run file; raises :class:`~shorematch.defects.InputError` with all its defects."""
    defects: list[Defect] = []
    file = read_toml(path, RunFile, defects)
    if file is None:
        raise InputError(defects)
    return file


def resolved(file: RunFile) -> str:
    """The run file with every default, as TOML; paths are relative to the original."""
    lines = []
    for name in RunFile.model_fields:
        value = getattr(file, name)
        if isinstance(value, BaseModel):
            keys = value.model_dump(exclude_none=True)
            lines += ["", f"[{name}]", *(f"{key} = {_toml(v)}" for key, v in keys.items())]
        elif value is not None:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    """A value as TOML, which writes text, numbers and arrays as JSON does."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(k)} = {_toml(v)}' for k, v in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
