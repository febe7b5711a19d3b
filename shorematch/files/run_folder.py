"""Run folders: written beside their place, moved there whole, never half-written."""

import errno
import json
import math
import os
import re
import secrets
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shorematch.files.defects import Defect, InputError

if TYPE_CHECKING:
    import pandas as pd

_ELSEWHERE = "Choose another --out, or remove it first"
_RESERVED_BY_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@contextmanager
def new_run(out: Path) -> Iterator[Path]:
    """A folder to write a run into, moved to ``out`` when the block ends well.

    When the block raises, nothing is left behind. Raises
    :class:`~shorematch.defects.InputError` before the block where ``out`` holds anything.
    """
    _require_free(out)
    out = out.resolve()  # a link stays, and the folder that it leads to is filled
    made = [parent for parent in (out.parent, *out.parent.parents) if not parent.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        _flush(folder)
        folder.chmod(out.parent.stat().st_mode & 0o777)
        _require_free(out)
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            parent.rmdir()
        raise


@contextmanager
def written_whole(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary file to write, moved to ``path`` when the block ends well and the disk has it.

    Unless ``replace``, a file that has come to stand there stays. Raises :class:`OSError` with the
    path where the disk refuses; then ``path`` is as before.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        with _errors_naming(path):
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            if replace:
                temporary.replace(path)
            else:
                with suppress(FileExistsError):
                    os.link(temporary, path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON: floats to the last digit, what is not finite as ``null``."""
    path.write_text(json_text(data), encoding="utf-8", newline="\n")


def json_text(data: Any) -> str:
    """What :func:`write_json` writes."""
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write a frame as CSV: floats to the last digit, what is undefined as an empty cell."""
    frame.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def safe_names(names: Sequence[str]) -> list[str]:
    """One file name per name: valid on every system, all different, never a path.

    >>> safe_names(["c_F = 0", "../c_F?0", "ν_x* + 1", "NUL"])
    ['c_F_0', 'c_F_0_2', 'ν_x_star_+_1', '_NUL']
    """
    taken: set[str] = set()
    safe = []
    for name in names:
        text = unicodedata.normalize("NFC", name).replace("*", "_star")
        stem = re.sub(r"[^\w.+-]+", "_", text)[:60].strip("._ ")
        stem = f"_{stem}" if not stem or _RESERVED_BY_WINDOWS.fullmatch(stem) else stem
        candidate, count = stem, 1
        while candidate.casefold() in taken:
            count += 1
            candidate = f"{stem}_{count}"
        taken.add(candidate.casefold())
        safe.append(candidate)
    return safe


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Add the path to what the disk says, where a full disk or Arrow leaves it out."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:
            raise OSError(f"{path}: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename reach the disk, where the system lets a folder be opened and flushed."""
    if sys.platform == "win32":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems know no such thing
            raise
    finally:
        os.close(number)


def require_folder(out: Path) -> None:
    """Raise :class:`~shorematch.defects.InputError` where a file stands in an output folder's way.

    The file, or a link that leads nowhere, may have its name or that of a folder above it.
    """
    for path in (out, *out.absolute().parents):
        if (path.exists() or path.is_symlink()) and not path.is_dir():
            problem = "is a file where an output folder belongs"
            problem = problem if path.exists() else "is a link that leads nowhere"
            raise InputError(
                [Defect(str(path), problem, "Choose another --out, or remove it first")]
            )


def _require_free(out: Path) -> None:
    require_folder(out)
    if out.is_dir() and any(out.iterdir()):
        run = any((out / name).exists() for name in ("summary.json", "table.csv"))
        problem = "already holds a run" if run else "is a folder that is not empty"
        raise InputError([Defect(str(out), problem, _ELSEWHERE)])


def _flush(folder: Path) -> None:
    """Make the files reach the disk before the folder bears its final name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
