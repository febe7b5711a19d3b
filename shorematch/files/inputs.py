"""Reading text and TOML files: every defect is noted with its place, nothing is repaired."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from matching.errors import nearest
from shorematch.files.defects import Defect
from shorematch.files.toml_keys import key_defects

_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF_16 = "utf-16"
_LARGEST_TOML = 1_000_000  # bytes
_DEEPEST = 50
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_TOO_DEEP = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{{_DEEPEST}}}")


class FileModel(BaseModel):
    """Base of the models of TOML files: unknown keys and text for numbers are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model], defects: list[Defect]) -> Model | None:
    """A TOML file as ``model``; ``None`` where it has defects, which are appended to ``defects``.

    Integers stand for numbers, text does not. Misspelt keys are reported with the nearest one.
    """
    data = toml_data(path, defects)
    if data is None:
        return None
    try:
        return validated(data, model)
    except ValidationError as error:
        defects.extend(key_defects(path.name, model, error))
        return None


def validated(data: dict[str, Any], model: type[Model]) -> Model:
    """Tables as ``model``; raises pydantic's :class:`~pydantic.ValidationError`."""
    return model.model_validate_json(json.dumps(data, default=str))


def toml_data(path: Path, defects: list[Defect]) -> dict[str, Any] | None:
    """The tables of a TOML file, whatever their keys; ``None`` where it cannot be read."""
    if is_file(path, defects) and path.stat().st_size > _LARGEST_TOML:
        problem = f"has {path.stat().st_size / 1e6:.1f} MB; a TOML file has at most 1 MB here"
        defects.append(Defect(path.name, problem, "Long lists belong in tables of their own"))
        return None
    text = read_text(path, defects) if path.is_file() else None
    if text is None:
        return None
    deep = Defect(path.name, "is nested too deeply", f"At most {_DEEPEST} tables in one another")
    if _TOO_DEEP.search(text):  # tomllib's time is quadratic in the parts of a dotted key
        defects.append(deep)
        return None
    try:
        data = tomllib.loads(text)
        json.dumps(data, default=str)  # as deep as whoever reads the tables may go
        return data
    except RecursionError:
        defects.append(deep)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        defects.append(
            Defect(
                path.name,
                f"is not valid TOML: {error}",
                "Text stands in quotes, numbers use a decimal point, and each key stands once",
                row=int(at.group(1)) if at else None,
            )
        )
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_file(path: Path, defects: list[Defect]) -> bool:
    """Whether there is a file at ``path``; where not, why is noted."""
    if path.is_file():
        return True
    if path.is_dir():
        defects.append(Defect(path.name or str(path), "is a folder", "Name a file inside it"))
        return False
    folder = path.parent.iterdir() if path.parent.is_dir() else ()
    beside = {other.stem: other.name for other in folder if other.is_file()}
    near = nearest(path.stem, beside)  # a common suffix makes no likeness
    hint = f"; did you mean {beside[near]!r}?" if near else ""
    remedy = f"Check the path {path}"
    defects.append(Defect(path.name, f"does not exist{hint}", remedy))
    return False


def read_text(
    path: Path, defects: list[Defect], encoding: str = "utf-8", remedy: str = "Save it as UTF-8"
) -> str | None:
    """A file's text, if it is in the ``encoding`` given (a byte-order mark is allowed)."""
    if not is_file(path, defects):
        return None
    data = path.read_bytes()
    is_utf_16 = data[:2] in _BYTE_ORDER_MARKS or b"\0" in data[:200]
    if is_utf_16 and encoding != _UTF_16:
        defects.append(Defect(path.name, "is encoded as UTF-16", remedy))
        return None
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        problem = f"is not encoded as {encoding.upper()}"
        defects.append(Defect(path.name, problem, remedy, row=row))
        return None
    if not text.strip():
        defects.append(Defect(path.name, "is empty", "Fill it, or name another file"))
        return None
    return text
