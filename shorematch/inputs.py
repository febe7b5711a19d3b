"""Reading tables and TOML files: every defect is noted with its place, nothing is repaired."""

import csv
import hashlib
import io
import json
import math
import re
import struct
import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from matching.errors import did_you_mean
from shorematch.defects import Defect, shorten
from shorematch.toml_keys import key_defects

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MISSING = ("", "None", "<NA>", "NA", "NaN", "nan")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")


class FileModel(BaseModel):
    """Base of the models of TOML files: unknown keys and text for numbers are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model], defects: list[Defect]) -> Model | None:
    """A TOML file as ``model``; ``None`` where it has defects, which are appended to ``defects``.

    Integers stand for numbers, text does not. Misspelt keys are reported with the nearest one.
    """
    text = _read_text(path, defects)
    if text is None:
        return None
    try:
        data = tomllib.loads(text)
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
    try:
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        defects.extend(key_defects(path.name, model, error))
        return None


def read_table(
    path: Path,
    defects: list[Defect],
    *,
    columns: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    required: Sequence[str] = (),
    delimiter: str = ",",
    decimal: str = ".",
    missing: bool = False,
) -> "pd.DataFrame | None":
    """A CSV, Parquet or Stata file as a frame; ``None`` where it has defects, noted in ``defects``.

    Only ``columns`` are read where given. ``numeric`` names the columns that must hold finite
    numbers, returned as float64 (default: all that are read); others of a CSV file are text.
    ``required`` names columns that must be there where ``columns`` does not list them. A CSV file
    has the ``delimiter`` and the ``decimal`` mark given. With ``missing`` an empty cell, ``NA`` or
    ``NaN`` is no defect but NaN, for the caller to count.
    """
    readers: dict[str, Callable[..., pd.DataFrame | None]] = {
        ".csv": partial(_read_csv, delimiter=delimiter),
        ".parquet": _read_parquet,
        ".dta": _read_stata,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        kind = path.suffix or "no suffix"
        remedy = "Name a .csv, .parquet or .dta file"
        defects.append(Defect(path.name, f"is a table of unknown kind ({kind})", remedy))
        return None
    if not _is_file(path, defects):
        return None
    before = len(defects)
    frame = reader(path, defects, columns, required)
    if frame is None:
        return None
    if frame.empty and len(defects) == before:
        defects.append(Defect(path.name, "holds no rows below its header", "Add the rows"))
        return None
    for name in frame.columns if numeric is None else numeric:
        if name in frame.columns:
            frame[name] = _numbers(frame[name], path.name, defects, decimal, missing)
    return frame.reset_index(drop=True) if len(defects) == before else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---------------------------------------------------------------- files and text


def _is_file(path: Path, defects: list[Defect]) -> bool:
    if path.is_file():
        return True
    if path.is_dir():
        defects.append(Defect(path.name or str(path), "is a folder", "Name a file inside it"))
        return False
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, beside)
    remedy = f"Check the path {path}"
    defects.append(Defect(path.name, f"does not exist{hint}", remedy))
    return False


def _read_text(path: Path, defects: list[Defect]) -> str | None:
    """A file's text, if it is UTF-8 (a byte-order mark is allowed)."""
    if not _is_file(path, defects):
        return None
    data = path.read_bytes()
    encoding = _ENCODINGS.get(data[:2]) or ("UTF-16" if b"\0" in data[:200] else None)
    if encoding:
        defects.append(Defect(path.name, f"is encoded as {encoding}", "Save it as UTF-8"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        defects.append(Defect(path.name, "is not encoded as UTF-8", "Save it as UTF-8", row=row))
        return None
    if not text.strip():
        defects.append(Defect(path.name, "is empty", "Fill it, or name another file"))
        return None
    return text


# ---------------------------------------------------------------- tables


def _read_csv(
    path: Path,
    defects: list[Defect],
    columns: Sequence[str] | None,
    required: Sequence[str],
    delimiter: str,
) -> "pd.DataFrame | None":
    text = _read_text(path, defects)
    if text is None or not _is_separated(text, delimiter, path.name, defects):
        return None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = next(rows)
        read = _columns_read(header, columns, required, path.name, defects)
        return _frame(header, rows, read, path.name, defects)
    except csv.Error as error:
        remedy = "Look for a quotation mark that is not closed, here or above"
        defects.append(Defect(path.name, f"is malformed ({error})", remedy, row=rows.line_num))
        return None


def _frame(
    header: list[str], rows: Iterable[list[str]], read: list[str], file: str, defects: list[Defect]
) -> "pd.DataFrame":
    """The cells of the columns ``read`` as text, indexed by spreadsheet row."""
    import pandas as pd

    places = [header.index(name) for name in read]
    cells: dict[int, list[str]] = {}
    ragged: list[tuple[int, list[str]]] = []
    blank: list[int] = []
    for number, row in enumerate(rows, start=2):
        if len(row) == len(header):
            cells[number] = [row[k] for k in places]
        elif row:
            ragged.append((number, row))
        else:
            blank.append(number)
    # blank lines at the end are common and harmless; one inside a table hides a missing row
    last = max([1, *cells, *(number for number, _ in ragged)])
    inside = [number for number in blank if number < last]
    defects.extend(_row_defects(ragged, inside, len(header), file))
    return pd.DataFrame(list(cells.values()), index=list(cells), columns=read, dtype=object)


def _read_parquet(
    path: Path, defects: list[Defect], columns: Sequence[str] | None, required: Sequence[str]
) -> "pd.DataFrame | None":
    import pandas as pd
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        header = parquet.read_schema(path).names
        read = _columns_read(header, columns, required, path.name, defects)
        frame = pd.read_parquet(path, columns=read)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        defects.append(_unreadable(path, "Parquet", error))
        return None
    return frame.set_axis(range(2, len(frame) + 2))


def _read_stata(
    path: Path, defects: list[Defect], columns: Sequence[str] | None, required: Sequence[str]
) -> "pd.DataFrame | None":
    import pandas as pd

    try:
        with pd.read_stata(path, iterator=True) as reader:
            header = list(reader.variable_labels())
        read = _columns_read(header, columns, required, path.name, defects)
        frame = pd.read_stata(path, columns=read, convert_categoricals=False)
    except (ValueError, LookupError, OSError, EOFError, struct.error) as error:
        defects.append(_unreadable(path, "Stata", error))
        return None
    return frame.set_axis(range(2, len(frame) + 2))


def _unreadable(path: Path, kind: str, error: Exception) -> Defect:
    problem = f"cannot be read as a {kind} file ({str(error).splitlines()[0]})"
    return Defect(path.name, problem, "Write it again, or save the table as CSV")


def _is_separated(text: str, delimiter: str, file: str, defects: list[Defect]) -> bool:
    header = text.lstrip().splitlines()[0]
    other = max(_SEPARATORS, key=header.count)
    if header.count(other) <= header.count(delimiter):
        return True
    problem = f"its columns are separated by {_SEPARATORS[other]}"
    cells = (cell for line in text.splitlines()[1:] for cell in line.split(other))
    if other != "," and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells):
        problem += " and its numbers have a decimal comma"
    remedy = "Save it as comma-separated values with decimal points"
    if delimiter != ",":
        remedy = f"Say so, or separate them by {_SEPARATORS[delimiter]}"
    defects.append(Defect(file, problem, remedy, row=1))
    return False


def _columns_read(
    header: Sequence[str],
    columns: Sequence[str] | None,
    required: Sequence[str],
    file: str,
    defects: list[Defect],
) -> list[str]:
    """The columns that can be read, after noting everything wrong with the header."""

    def note(problem: str, remedy: str, column: str | None = None) -> None:
        defects.append(Defect(file, problem, remedy, row=1, column=column))

    for place, name in enumerate(header, start=1):
        if not name.strip():
            note(f"column {place} has no name", "Give every column a name, or delete the column")
        elif name != name.strip():
            note("its name begins or ends with white space", "Remove it", repr(name))
    for name in sorted({name for name in header if name.strip() and header.count(name) > 1}):
        note(f"{header.count(name)} columns bear this name", "Rename or delete all but one", name)
    for name in dict.fromkeys([*required, *(columns or ())]):
        if name not in header:
            hint = did_you_mean(name, header)
            found = ", ".join(header)
            note(f"is missing{hint}", f"Add it; the columns found are: {found}", name)
    wanted = header if columns is None else [name for name in columns if name in header]
    return [name for name in dict.fromkeys(wanted) if name.strip()]


def _row_defects(
    ragged: list[tuple[int, list[str]]], blank: list[int], width: int, file: str
) -> list[Defect]:
    uneven = []
    for number, row in ragged:
        comma = len(row) > width and all(re.fullmatch(r"\s*[-+]?\d+\s*", cell) for cell in row)
        cause = "; are there decimal commas?" if comma else ""
        problem = f"has {len(row)} fields where the header has {width}{cause}"
        remedy = "Use decimal points, one comma between columns, and quotes around text with commas"
        uneven.append(Defect(file, problem, remedy, row=number))
    empty = [Defect(file, "is blank", "Delete it, or fill it in", row=number) for number in blank]
    return shorten(uneven) + shorten(empty)


def _numbers(
    column: "pd.Series", file: str, defects: list[Defect], decimal: str, missing: bool
) -> "np.ndarray":
    """A column as float64; every cell that is not a finite number is noted."""
    import numpy as np

    cells = list(column)
    values = np.array([_number(cell, decimal) for cell in cells], dtype=np.float64)
    wrong = [
        Defect(file, *_cell_problem(cells[k], decimal), row=int(column.index[k]),
               column=str(column.name))
        for k in np.flatnonzero(~np.isfinite(values)).tolist()
        if not (missing and str(cells[k]).strip() in _MISSING)
    ]  # fmt: skip
    defects.extend(shorten(wrong))
    return values


def _number(cell: Any, decimal: str) -> float:
    """A cell as a float, NaN where it is none; Python's digit groups (1_000) are text here."""
    if isinstance(cell, str):
        if "_" in cell or (decimal == "," and "." in cell):
            return math.nan
        cell = cell.replace(decimal, ".")
    try:
        return float(cell)
    except (ValueError, TypeError):
        return math.nan


def _cell_problem(cell: Any, decimal: str) -> tuple[str, str]:
    text = str(cell).strip()
    if not text or text in ("None", "<NA>"):
        return "the cell is empty", "Give a number, or leave the row out on purpose"
    if _DECIMAL_COMMA.fullmatch(text):
        return f"{text!r} has a decimal comma", "Write a decimal point"
    if decimal == "," and _number(text, ".") == _number(text, "."):
        return f"{text!r} has a decimal point where commas are announced", "Write a decimal comma"
    if text.strip("+-").casefold() in ("nan", "inf", "infinity"):
        return f"{text} is not a finite number", "Give a finite number"
    return f"{text!r} is text where a number belongs", "Give a number"
