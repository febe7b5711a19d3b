"""The paper's files: tables and figures of a run, each stamped with where it comes from."""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shorematch.files.inputs import sha256_of
from shorematch.files.manifest import results_of

_TABLES = (".tex", ".csv", ".md")


@dataclass(frozen=True)
class Stamp:
    """What identifies a run: the hash of its results, and the command that makes them."""

    run: str
    command: str

    def __str__(self) -> str:
        return " ".join(f"run {self.run}: {self.command}".split())


def copy_paper_files(run: Path, folder: Path, stamp: Stamp) -> list[tuple[str, str]]:
    """Copy a run's printed tables and figures into ``folder``, stamped; their names and SHA-256.

    The stamp is a comment in ``.tex`` and ``.md`` and the subject of ``.pdf`` and ``.png``. A
    ``.csv`` is copied as it is, so that every program reads it.
    """
    copied = []
    for source in sorted(_paper_files(run)):
        name = source.relative_to(run)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _STAMPED.get(source.suffix, _copy)(source, target, str(stamp))
        copied.append((name.as_posix(), sha256_of(target)))
    return copied


def stamp_tables(folder: Path, stem: str, stamps: Sequence[Stamp]) -> list[tuple[str, str]]:
    """Stamp a table that was made from several runs, where it lies; names and SHA-256."""
    text = "\n".join(map(str, stamps))
    paths = [folder / f"{stem}{suffix}" for suffix in _TABLES]
    for path in paths:
        _STAMPED.get(path.suffix, _copy)(path, path, text)
    return [(path.name, sha256_of(path)) for path in paths]


def _paper_files(run: Path) -> Iterator[Path]:
    for path in results_of(run):
        printed = path.suffix in _TABLES and path.with_suffix(".tex").is_file()
        if printed or path.suffix in (".pdf", ".png"):
            yield path


def _copy(source: Path, target: Path, _: str) -> None:
    target.write_bytes(source.read_bytes())


def _stamp_tex(source: Path, target: Path, stamp: str) -> None:
    text = source.read_text(encoding="utf-8")
    comment = "".join(f"% {line}\n" for line in stamp.split("\n"))
    target.write_text(comment + text, encoding="utf-8", newline="\n")


def _stamp_md(source: Path, target: Path, stamp: str) -> None:
    text, comment = source.read_text(encoding="utf-8"), stamp.replace("-->", "-- >")
    target.write_text(f"{text}\n<!-- {comment} -->\n", encoding="utf-8", newline="\n")


def _stamp_png(source: Path, target: Path, stamp: str) -> None:
    """Add a chunk of text behind the header; the picture's own bytes stay as they are."""
    data = source.read_bytes()
    header = 8 + 25  # the signature, and the first chunk, which is the header
    body = b"iTXt" + b"Description\0\0\0\0\0" + stamp.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    target.write_bytes(data[:header] + chunk + data[header:])


def _stamp_pdf(source: Path, target: Path, stamp: str) -> None:
    from pypdf import PdfReader, PdfWriter
    from pypdf.errors import PyPdfError

    try:
        writer = PdfWriter(clone_from=PdfReader(source, strict=True))
    except PyPdfError as error:
        raise ValueError(f"{source.name}: {error}") from error
    writer.add_metadata({"/Subject": stamp})
    writer.write(target)


_STAMPED: dict[str, Callable[[Path, Path, str], None]] = {
    ".tex": _stamp_tex,
    ".md": _stamp_md,
    ".png": _stamp_png,
    ".pdf": _stamp_pdf,
}
