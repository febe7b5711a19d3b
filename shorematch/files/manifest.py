"""Manifests: what a run was made of and what it left, so that it can be checked and run again."""

import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from shorematch import __version__
from shorematch.files.defects import Defect, InputError
from shorematch.files.inputs import sha256_of
from shorematch.files.run_folder import json_text, new_run, write_json, written_whole
from shorematch.runtime import cache_folder

MANIFEST = "manifest.json"
# What also tells a run, or a part of one.
_MARKS = ("summary.json", "plan.json", "table.csv")
_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "optax", "pandas", "pyarrow", "matplotlib")
_SOURCE = Path(__file__).resolve().parents[2]  # the checkout, where shorematch runs from one


@dataclass
class Run:
    """A command at work: what it was asked, what it read, and how long each phase took.

    Made first thing, so that its clock counts all. ``arguments`` are those of the command line
    without ``--out``, of which options that have their default may be left out.
    """

    arguments: Sequence[object]
    out: Path
    inputs: dict[str, str] = field(default_factory=dict)  # path as given → SHA-256
    phases: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def read(self, folder: Path, files: Mapping[str, str]) -> None:
        """Note files that were read, by their names relative to ``folder``, with SHA-256."""
        self.inputs |= {(folder / name).as_posix(): sha for name, sha in files.items()}

    def lap(self, phase: str) -> None:
        """End a phase: its seconds, and the most memory that it took."""
        now = time.perf_counter()
        self.phases.append(
            {"phase": phase, "seconds": now - self._last, "peak_memory_mb": _peak_memory()}
        )
        self._last = now

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest: ``seed``, ``rows``, a certificate, assumptions."""
        self.facts |= facts

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The run's new folder to write into; its manifest is added when the block ends well."""
        with new_run(self.out) as folder:
            yield folder
            self.finish(folder)

    def finish(self, folder: Path, outputs: Iterable[str] | None = None) -> None:
        """Write the manifest of the files in ``folder``, or of those named, ending "write"."""
        self.lap("write")
        with written_whole(folder / MANIFEST) as temporary:
            manifest = self._manifest(folder, outputs)
            seal = hashlib.sha256(json_text(manifest).encode()).hexdigest()
            write_json(temporary, manifest | {"seal": seal})

    def _manifest(self, folder: Path, outputs: Iterable[str] | None) -> dict[str, Any]:
        names = results_in(folder) if outputs is None else outputs
        source = next(iter(self.inputs), None)
        return {
            "command": [
                "shorematch",
                *map(_argument, self.arguments),
                *_device_argument(),
                "--out",
                _argument(self.out),
            ],
            "directory": _way(self.out, Path.cwd()),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": [{"path": path, "sha256": sha} for path, sha in self.inputs.items()],
            "seed": None,
            "rows": None,
            **self.facts,
            "phases": self.phases,
            "versions": versions(),
            "machine": machine(),
            "commits": {
                "inputs": _commit(Path(source).parent) if source else None,
                "shorematch": _commit(_SOURCE) if (_SOURCE / ".git").exists() else None,
            },
            "outputs": {name: sha256_of(folder / name) for name in names},
        }


def versions() -> dict[str, str]:
    """Versions of what the numbers and files of a run depend on."""
    packages = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "shorematch": __version__} | packages


def machine() -> dict[str, Any]:
    """What computed: system, processor, cores, memory and JAX's device.

    ``arithmetic`` names the processor's instruction set: where it, the cores, the device, the
    compiler's flags and the versions are the same, numbers are the same to the last bit.
    """
    import jax

    device = jax.devices()[0]
    return {
        "system": platform.platform(terse=True),
        "processor": processor(),
        "arithmetic": cache_folder().name,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
    }


def results_in(folder: Path) -> list[str]:
    """Names of all files of a run but its manifest, in order."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files if path.name != MANIFEST)


def results_of(folder: Path) -> list[Path]:
    """The files that runs have written, in order: this folder's run, or else the runs inside it.

    Whatever else lies there, such as the data of a study, is none of them.
    """
    manifest = read_manifest(folder)
    if manifest:
        return sorted(path for name in manifest["outputs"] if (path := folder / name).is_file())
    if any((folder / name).exists() for name in (MANIFEST, *_MARKS)):
        return [folder / name for name in results_in(folder)]
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for run in inner for path in results_of(run)]


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run; ``None`` where the folder holds none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "outputs" in manifest else None


def is_sealed(data: bytes) -> bool:
    """Whether a manifest is, byte for byte, as the run wrote it."""
    try:
        manifest = json.loads(data)
        del manifest["seal"]
    except (ValueError, TypeError, KeyError):
        return False
    text = json_text(manifest)
    sealed = json_text(manifest | {"seal": hashlib.sha256(text.encode()).hexdigest()})
    return data == sealed.encode()


def changed_outputs(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of files that are gone or no longer as the run wrote them."""
    return [
        name
        for name, sha in manifest["outputs"].items()
        if not (folder / name).is_file() or sha256_of(folder / name) != sha
    ]


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Turn what a damaged file of a run makes its reader raise into a message that names the run.

    Raises :class:`~shorematch.defects.InputError`, with the files that are not as they were.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        manifest = read_manifest(folder)
        changed = changed_outputs(folder, manifest) if manifest else []
        told = f"; not as the run wrote it: {', '.join(changed)}" if changed else ""
        problem = f"holds a file that cannot be read ({type(error).__name__}: {error}){told}"
        raise InputError([Defect(str(folder), problem, "Run its command again")]) from error


def command_line(manifest: Mapping[str, Any]) -> str:
    """The command of a manifest as one would type it."""
    return shlex.join(manifest["command"])


# ---------------------------------------------------------------- helpers


def _device_argument() -> list[str]:
    import jax

    return ["--device", "gpu"] if jax.default_backend() == "gpu" else []


def _argument(argument: object) -> str:
    return argument.as_posix() if isinstance(argument, Path) else str(argument)


def _way(start: Path, end: Path) -> str:
    """The path from one folder to another; absolute where they are on different drives."""
    try:
        return Path(os.path.relpath(end, start)).as_posix()
    except ValueError:
        return end.absolute().as_posix()


def _peak_memory() -> float | None:
    """Most memory of the process since the last call, MB; since its start outside Linux."""
    if sys.platform == "win32":
        return None
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")  # starts the count of VmHWM anew
        return float(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1e3
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def processor() -> str:
    """What the processor calls itself."""
    with suppress(OSError):
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if names:
            return str(names[0])
    return platform.processor() or platform.machine()


def _commit(folder: Path) -> str | None:
    """The commit that a folder is at, ``-dirty`` where files differ from it; none without git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
