"""What is wrong with an input: where, why, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from matching.errors import InvalidInput


@dataclass(frozen=True)
class Defect:
    """One thing wrong with one file; rows count as a spreadsheet does, the header being row 1."""

    file: str
    problem: str
    remedy: str
    row: int | None = None
    column: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = [self.file]
        if self.key is not None:
            place.append(f"key {self.key}")
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column {self.column}")
        return f"{', '.join(place)}: {_sentence(self.problem)} {_sentence(self.remedy)}"


def shorten(defects: Sequence[Defect], what: str = "rows", shown: int = 5) -> list[Defect]:
    """Defects of one kind, the first few one by one and the others as a count."""
    if len(defects) <= shown + 1:
        return list(defects)
    first = defects[0]
    rest = f"{len(defects) - shown} more {what} are wrong likewise"
    return [*defects[:shown], Defect(first.file, rest, "Mend them too", column=first.column)]


class InputError(InvalidInput):
    """All defects of the inputs of one command, together; some may be sentences already."""

    def __init__(self, defects: Sequence[Defect | str]):
        super().__init__([str(defect) for defect in dict.fromkeys(defects)])


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else text + "."
