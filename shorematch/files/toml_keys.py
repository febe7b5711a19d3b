"""Keys of TOML files that a model does not accept: where they stand and what was meant."""

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from matching.errors import nearest
from shorematch.files.defects import Defect, shorten


def key_defects(file: str, model: type[BaseModel], error: ValidationError) -> list[Defect]:
    """What pydantic found, in our words: a misspelt key is one defect, not unknown and missing."""
    entries = error.errors(include_url=False)
    missing = {e["loc"] for e in entries if e["type"] == "missing"}
    unknown = []
    meant = set()
    for entry in entries:
        loc = entry["loc"]
        if entry["type"] == "extra_forbidden":
            known = _keys_at(model, loc[:-1])
            free = [k for k in known if (*loc[:-1], k) in missing] or known
            near = nearest(str(loc[-1]), free) or nearest(str(loc[-1]), known)
            meant.add((*loc[:-1], near))
            hint = f"; did you mean {near!r}?" if near else ""
            remedy = f"The keys here are: {', '.join(known)}"
            unknown.append(Defect(file, f"is unknown{hint}", remedy, key=_key_text(loc)))
    defects = shorten(unknown, "keys")
    wrong: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for entry in entries:
        loc = entry["loc"]
        if entry["type"] == "missing" and loc not in meant:
            defects.append(Defect(file, "is missing", "Add it", key=_key_text(loc)))
        elif entry["type"] == "value_error":  # a model's own check, which says it all
            problem = entry["msg"].removeprefix("Value error, ")
            key = _key_text(loc) or None
            defects.append(Defect(file, problem, "Correct the value", key=key))
        elif entry["type"] not in ("missing", "extra_forbidden"):
            key = _key_text(_without_alternative(model, loc))
            wrong.setdefault(key, []).append(entry["msg"].removeprefix("Input "))
            values[key] = repr(entry["input"])
    for key, wanted in wrong.items():
        kinds = list(dict.fromkeys(text.removeprefix("should be ") for text in wanted))
        wish = " or ".join(kinds).replace("an object", "a table")
        problem = f"should be {wish}, and is {values[key]}"
        quoted = values[key].startswith(("'", '"')) and "number" in problem
        remedy = "Write the number without quotes" if quoted else "Correct the value"
        defects.append(Defect(file, problem, remedy, key=key))
    return defects


def _key_text(loc: tuple[int | str, ...]) -> str:
    """``("origin", 1, "nu_x")`` as ``origin #2.nu_x``."""
    text = ""
    for part in loc:
        text += f" #{part + 1}" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _without_alternative(
    model: type[BaseModel], loc: tuple[int | str, ...]
) -> tuple[int | str, ...]:
    """A place without the name that pydantic adds for each type that a key may have."""
    end = len(loc)
    while (
        end > 1
        and isinstance(loc[end - 1], str)
        and loc[end - 1] not in _keys_at(model, loc[: end - 1])
    ):
        end -= 1
    return loc[:end]


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that ``model`` knows at a place inside it."""
    models = [model]
    for part in loc:
        fields = [m.model_fields[str(part)] for m in models if part in m.model_fields]
        if fields:
            models = [m for field in fields for m in _models_in(field.annotation)]
    return [key for m in models for key in m.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in get_args(annotation) for m in _models_in(argument)]
