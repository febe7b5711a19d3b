"""The results folder of a sweep: files written whole, checked when read, shared by processes."""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shorematch.files.defects import Defect, InputError
from shorematch.files.manifest import MANIFEST, changed_outputs, is_sealed
from shorematch.files.run_folder import require_folder, written_whole

_BLOCKS = "blocks"
_QUARANTINE = "quarantine"
_EARLIER = "earlier"
LOGS = "logs"
TABLES = ("table.parquet", "points.parquet")
_PLAN = "plan.json"
_BLOCK_NAME = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})\.parquet")
_STALE = 3600.0  # seconds after which a temporary file has no writer any more


def claim(
    folder: Path, configuration: Mapping[str, Any], *, create: bool, new: bool = False
) -> list[str]:
    """Make ``folder`` the home of a configuration, or check that it is; files set aside by name.

    Any number of processes may call this at once. With ``new``, a folder of another configuration
    becomes this one's; its tables move to ``earlier``, and its blocks stay for whoever shares
    them. Raises :class:`~shorematch.defects.InputError` where the folder belongs to another
    configuration, with the differences, holds something else, or leads elsewhere by a link; and,
    unless ``create``, where it holds nothing.
    """
    require_folder(folder)
    path = folder / _PLAN
    if not create and not path.exists():
        problem = "holds no sweep"
        raise InputError([Defect(str(folder), problem, "Run the sweep first, or correct --out")])
    folder.mkdir(parents=True, exist_ok=True)
    _require_inside(folder)
    aside = []
    if path.exists() and _read_plan(path) is None:
        aside = [_quarantine(folder, path)]
    if not path.exists():
        foreign = [p.name for p in folder.iterdir() if p.name != _PLAN and p.name[0] != "."]
        if foreign and not aside and not path.exists():
            remedy = "Choose another --out, or remove it first"
            raise InputError([Defect(str(folder), "is a folder that is not empty", remedy)])
        _write_once(path, _sealed(configuration))
    stored = _read_plan(path) or {}
    differences = list(_differences(stored, json.loads(json.dumps(configuration))))
    if differences and not new:
        remedy = f"Choose another --out, or pass --new (results so far move to {_EARLIER}/)"
        told = "; ".join(differences)
        raise InputError([Defect(str(folder), f"belongs to another sweep: {told}", remedy)])
    if differences:
        _move_to_earlier(folder, stored)
        _write_once(path, _sealed(configuration))
    (folder / _BLOCKS).mkdir(exist_ok=True)
    for old in (folder / _BLOCKS).glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > _STALE:
                old.unlink()
    return [*aside, *_damaged_tables(folder)]


def stored_blocks(folder: Path, keys: Collection[str]) -> tuple[dict[str, Path], list[str]]:
    """The sound files of these blocks by key, and the names of those set aside as corrupted.

    A block's file bears its key and the SHA-256 of its bytes in its name.
    """
    found: dict[str, Path] = {}
    aside = []
    for path in sorted((folder / _BLOCKS).glob("*.parquet")):
        name = _BLOCK_NAME.fullmatch(path.name)
        if not name or name[1] not in keys:
            continue
        try:
            sound = hashlib.sha256(path.read_bytes()).hexdigest() == name[2]
        except FileNotFoundError:
            continue  # another process has set it aside
        if sound:
            found.setdefault(name[1], path)
        else:
            aside.append(_quarantine(folder, path))
    return found, aside


def is_stored(folder: Path, key: str) -> bool:
    """Whether some process has stored a block by now."""
    return next((folder / _BLOCKS).glob(f"{key}.*.parquet"), None) is not None


def store_block(folder: Path, key: str, data: bytes) -> Path:
    """Store a block whole under its key; the same bytes twice are one file."""
    path = folder / _BLOCKS / f"{key}.{hashlib.sha256(data).hexdigest()}.parquet"
    with written_whole(path) as temporary:
        temporary.write_bytes(data)
    return path


# ---------------------------------------------------------------- helpers


def _write_once(path: Path, text: str) -> None:
    """Write a file unless another process has; whoever comes second leaves the first one's."""
    with written_whole(path, replace=False) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _sealed(configuration: Mapping[str, Any]) -> str:
    text = json.dumps(configuration, sort_keys=True, ensure_ascii=False)
    sealed = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "sweep": configuration}
    return json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"


def _read_plan(path: Path) -> dict[str, Any] | None:
    """The configuration of a folder; ``None`` where there is none, or a corrupted one."""
    try:
        data = path.read_bytes()
        sealed = json.loads(data)
        sound = _sealed(sealed["sweep"]).encode() == data
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return sealed["sweep"] if sound else None


def _require_inside(folder: Path) -> None:
    """Refuse links by which files of the sweep would be written outside its folder."""
    home = folder.resolve()
    links = [folder / name for name in (_BLOCKS, _QUARANTINE, _EARLIER, LOGS)]
    defects = [
        Defect(str(link), f"leads out of the results folder, to {link.resolve()}",
               "Remove the link, or choose another --out")
        for link in links if not link.resolve().is_relative_to(home)
    ]  # fmt: skip
    if defects:
        raise InputError(defects)


def _damaged_tables(folder: Path) -> list[str]:
    """Set aside what a collection left and is not as it left it; the names."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return []  # none collected, or another process is about to
    damaged = changed_outputs(folder, json.loads(data)) if is_sealed(data) else [MANIFEST]
    return [
        _quarantine(folder, folder / name)
        for name in (MANIFEST, *TABLES)  # and no name beside these that a manifest may hold
        if name in damaged and (folder / name).exists()
    ]


def _move_to_earlier(folder: Path, stored: Mapping[str, Any]) -> None:
    """Keep the plan and the tables of the folder's former configuration under a name of its own."""
    target = folder / _EARLIER / hashlib.sha256(_sealed(stored).encode()).hexdigest()[:12]
    target.mkdir(parents=True, exist_ok=True)
    for name in (*TABLES, MANIFEST, _PLAN):  # the plan last: until then all stands as before
        with suppress(FileNotFoundError):
            (folder / name).replace(target / name)


def _quarantine(folder: Path, path: Path) -> str:
    (folder / _QUARANTINE).mkdir(exist_ok=True)
    target = folder / _QUARANTINE / f"{path.name}.{secrets.token_hex(4)}"
    with suppress(FileNotFoundError):  # another process was quicker
        path.rename(target)
    return path.name


def _differences(stored: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*stored, *wanted]):
            where = f"{name}, {key}" if name else str(key)
            yield from _differences(stored.get(key), wanted.get(key), where)
    elif stored != wanted:
        yield f"{name}: {_shown(stored)} there and {_shown(wanted)} here"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return f"{text[:12]}…" if len(text) > 40 else text
