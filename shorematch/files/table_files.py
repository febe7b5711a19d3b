"""Tables of CSV, Parquet and Stata files: every defect is noted with its place, none repaired."""

import csv
import io
import math
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matching.errors import did_you_mean
from shorematch.files.defects import Defect, shorten
from shorematch.files.inputs import is_file, read_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MISSING = ("", "None", "<NA>", "NA", "NaN", "nan")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
# a cell in quotes that holds neither quotes nor line breaks
_QUOTED = r'(?:^|(?<=[%s\n]))"[^"\r\n]*"(?=[%s\r\n]|$)'


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written; ``announced`` where the user can say so, as in a run file."""

    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    announced: bool = False


def read_table(
    path: Path,
    defects: list[Defect],
    *,
    columns: Sequence[str] | None = None,
    numeric: Sequence[str] | None = None,
    required: Sequence[str] = (),
    masses: Sequence[str] = (),
    form: CsvForm = CsvForm(),
    missing: bool = False,
    despite_cells: bool = False,
) -> "pd.DataFrame | None":
    """A CSV, Parquet or Stata file as a frame; ``None`` where it has defects, noted in ``defects``.

    Only ``columns`` are read where given. ``numeric`` names the columns that must hold finite
    numbers, returned as float64 (default: all that are read); others of a CSV file are text, and
    of a Stata file their value labels. ``required`` names columns that must be there where
    ``columns`` does not list them, ``masses`` numeric columns in which no number is negative. With
    ``missing`` an empty cell, ``NA`` or ``NaN`` is no defect but NaN, for the caller to count. With
    ``despite_cells`` defective cells are noted and hold infinity, for a caller who adds what else
    is wrong before giving up.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet", ".dta"):
        kind = path.suffix or "no suffix"
        remedy = "Name a .csv, .parquet or .dta file"
        defects.append(Defect(path.name, f"is a table of unknown kind ({kind})", remedy))
        return None
    if not is_file(path, defects):
        return None
    before = len(defects)
    if kind == ".csv":
        frame = _read_csv(path, defects, columns, required, numeric, form, missing)
    elif kind == ".parquet":
        frame = _read_parquet(path, defects, columns, required)
    else:
        frame = _read_stata(path, defects, columns, required, numeric)
    if frame is None:
        return None
    readable = len(defects) == before
    if frame.empty and readable:
        defects.append(Defect(path.name, "holds no rows below its header", "Add the rows"))
        return None
    for name in frame.columns if numeric is None else numeric:
        if name in frame.columns:
            frame[name] = _numbers(
                frame[name], path.name, defects, form.decimal, missing, name in masses
            )
    sound = readable if despite_cells else len(defects) == before
    return frame.reset_index(drop=True) if sound else None


# ---------------------------------------------------------------- tables


def _read_csv(
    path: Path,
    defects: list[Defect],
    columns: Sequence[str] | None,
    required: Sequence[str],
    numeric: Sequence[str] | None,
    form: CsvForm,
    missing: bool,
) -> "pd.DataFrame | None":
    remedy = "Save it as UTF-8"
    if form.announced:
        remedy += ', or say encoding = "latin-1" or "utf-16" in the run file'
    text = read_text(path, defects, form.encoding, remedy)
    if text is None or not _is_separated(text, form, path.name, defects):
        return None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=form.delimiter)
    try:
        header = next(rows)
        before = len(defects)
        read = _columns_read(header, columns, required, path.name, defects)
        if len(defects) == before:
            frame = _read_sound_csv(text, read, read if numeric is None else numeric, form, missing)
            if frame is not None:
                return frame
        return _frame(header, rows, read, path.name, defects)
    except csv.Error as error:
        remedy = "Look for a quotation mark that is not closed, here or above"
        defects.append(Defect(path.name, f"is malformed ({error})", remedy, row=rows.line_num))
        return None


def _read_sound_csv(
    text: str, read: list[str], numeric: Sequence[str], form: CsvForm, missing: bool
) -> "pd.DataFrame | None":
    """A table without any defect, read fast; ``None`` where the other reader has to look closely.

    A million rows take seconds here and minutes there.
    """
    import numpy as np
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import csv as arrow

    text = text.rstrip("\r\n")
    mark = re.escape(form.delimiter)
    odd_quotes = '"' in text and '"' in re.sub(_QUOTED % (mark, mark), "", text)
    if odd_quotes or "\n\n" in text or "\n\r" in text:
        return None
    kinds = {n: pyarrow.float64() if n in numeric else pyarrow.string() for n in read}
    try:
        table = arrow.read_csv(
            io.BytesIO(text.encode()),
            parse_options=arrow.ParseOptions(delimiter=form.delimiter, ignore_empty_lines=False),
            convert_options=arrow.ConvertOptions(
                include_columns=read,
                column_types=kinds,
                null_values=_MISSING,
                decimal_point=form.decimal,
            ),
        )
    except pyarrow.ArrowException:
        return None
    frame = table.to_pandas()
    for name in read:
        if name in numeric:
            values = table[name]
            nulls = values.null_count
            finite = int(np.isfinite(frame[name].to_numpy()).sum())
            if finite + nulls < len(frame) or (nulls and not missing):
                return None
    return frame.set_axis(range(2, len(frame) + 2))


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
    import pyarrow
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
    path: Path,
    defects: list[Defect],
    columns: Sequence[str] | None,
    required: Sequence[str],
    numeric: Sequence[str] | None,
) -> "pd.DataFrame | None":
    import pandas as pd

    try:
        with pd.read_stata(path, iterator=True) as reader:
            header = list(reader.variable_labels())
        read = _columns_read(header, columns, required, path.name, defects)
        frame = pd.read_stata(path, columns=read, convert_categoricals=False)
        texts = [name for name in read if numeric is not None and name not in numeric]
        if texts:
            labelled = pd.read_stata(path, columns=texts)
            frame[texts] = labelled.astype(object)
    except (ValueError, LookupError, OSError, EOFError, struct.error) as error:
        defects.append(_unreadable(path, "Stata", error))
        return None
    return frame.set_axis(range(2, len(frame) + 2))


def _unreadable(path: Path, kind: str, error: Exception) -> Defect:
    problem = f"cannot be read as a {kind} file ({str(error).splitlines()[0]})"
    return Defect(path.name, problem, "Write it again, or save the table as CSV")


def _is_separated(text: str, form: CsvForm, file: str, defects: list[Defect]) -> bool:
    header = text.lstrip().partition("\n")[0]
    other = max(_SEPARATORS, key=header.count)
    if header.count(other) <= header.count(form.delimiter):
        return True
    problem = f"its columns are separated by {_SEPARATORS[other]}"
    cells = (cell for line in text.splitlines()[1:] for cell in line.split(other))
    if other != "," and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells):
        problem += " and its numbers have a decimal comma"
    remedy = "Save it as comma-separated values with decimal points"
    if form.announced:
        remedy = f"Say so in the run file, or separate them by {_SEPARATORS[form.delimiter]}"
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
    column: "pd.Series",
    file: str,
    defects: list[Defect],
    decimal: str,
    missing: bool,
    is_mass: bool,
) -> "np.ndarray":
    """A column as float64; every cell that is not a finite number, or no mass, is noted."""
    import numpy as np

    if column.dtype.kind in "fiub":
        values = column.to_numpy(dtype=np.float64)
    else:
        values = np.array([_number(cell, decimal) for cell in column], dtype=np.float64)
    places = [
        k
        for k in np.flatnonzero(~np.isfinite(values) | (is_mass & (values < 0))).tolist()
        if not (missing and str(column.iloc[k]).strip() in _MISSING)
    ]
    wrong = [
        Defect(file, *_cell_problem(column.iloc[k], decimal), row=int(column.index[k]),
               column=str(column.name))
        for k in places
    ]  # fmt: skip
    defects.extend(shorten(wrong))
    if places:
        values = values.copy()
        values[places] = np.inf
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
        if _THOUSANDS.fullmatch(text):
            remedy = "Write a decimal point, or thousands without a mark"
            return f"{text!r} has a comma, of decimals or of thousands", remedy
        return f"{text!r} has a decimal comma", "Write a decimal point"
    if decimal == "," and _number(text, ".") == _number(text, "."):
        return f"{text!r} has a decimal point where commas are announced", "Write a decimal comma"
    if text.strip("+-").casefold() in ("nan", "inf", "infinity"):
        return f"{text} is not a finite number", "Give a finite number"
    if math.isfinite(_number(cell, decimal)):
        return f"is negative ({text})", "Masses are zero or positive"
    return f"{text!r} is text where a number belongs", "Give a number"
