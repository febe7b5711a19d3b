"""``shorematch verify``: a stored run made again from its manifest, and every number compared."""

import contextlib
import io
import math
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shorematch.console import console
from shorematch.files.defects import Defect, InputError
from shorematch.files.inputs import sha256_of
from shorematch.files.manifest import (
    MANIFEST,
    changed_outputs,
    command_line,
    machine,
    read_manifest,
    results_in,
    versions,
)
from shorematch.files.tables import plain_numbers

# What a manifest has to say for its run to be made again and told of.
_NEEDED = ("directory", "inputs", "seed", "phases", "versions", "machine", "commits")
_RERUN = ("solve", "counterfactual", "decompose", "sweep", "estimate", "calibrate", "demo",
          "denmark")  # fmt: skip
# On another processor or other versions numbers are equal to a relative 1e-6, or to 1e-9 where
# they are next to nothing; printed tables to their last digits.
_RELATIVE = {".tex": 1e-3, ".md": 1e-3}
_RELATIVE_ELSE, _ABSOLUTE = 1e-6, 1e-9
_PICTURES = (".pdf", ".png")
_COMPUTER = ("arithmetic", "cores", "xla_flags", "device")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_HOW = re.compile(r'"iterations": \d+')  # how a result was found is none


@dataclass(frozen=True)
class Comparison:
    """A file of the stored run against that of the run made again."""

    file: str
    same_bytes: bool
    compared: bool  # False for a picture whose bytes differ on another machine
    problem: str = ""  # empty where it is equal, or within the tolerance
    gap: float = 0.0  # largest relative difference of a number


def verify_run(folder: Path, directory: Path | None = None) -> int:
    """Run a stored run's command again into a temporary folder and compare every file.

    On the same versions, processor and device files are equal to the byte; elsewhere numbers are
    compared with a tolerance, and pictures not at all. ``directory`` is the folder in which the
    command runs (default: as the manifest says). Prints the paragraph on replication that journals
    ask for. Returns 0 where all is equal, 2 where anything differs. Raises
    :class:`~shorematch.defects.InputError` where the run cannot be made again: no manifest,
    inputs that are missing or have changed.
    """
    manifest = _manifest_of(folder)
    where = (directory or folder.absolute() / manifest["directory"]).resolve()
    defects = list(_input_defects(where, manifest))
    if defects:
        raise InputError(defects)
    same = _stack(manifest) == _stack({"versions": versions(), "machine": machine()})
    console().print(f"Running again: {command_line(manifest)}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary) / "run"
        code = _run_again(manifest["command"], where, again)
        seconds = time.perf_counter() - start
        if not again.is_dir():
            raise InputError([Defect(str(folder), f"its command ended with exit code {code} and "
                              "left nothing", "Run it by hand to see why")])  # fmt: skip
        compared = list(_compare(folder, again, manifest, same))
    told = _outcome(compared, changed_outputs(folder, manifest), same)
    wrong = any(comparison.problem for comparison in compared)
    console().print(told, style="bold red" if wrong else None)
    console().print("")
    console().print(_replication(manifest, seconds, told if not wrong else ""))
    return 2 if wrong else 0


# ---------------------------------------------------------------- running again


def _manifest_of(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is None:
        problem = f"holds no {MANIFEST} that can be read"
        raise InputError([Defect(str(folder), problem, "Name the folder of a run")])
    command = manifest.get("command", [])
    if len(command) < 4 or command[1] not in _RERUN or command[-2] != "--out":
        problem = f"names no command that leaves a run: {' '.join(map(str, command))}"
        raise InputError([Defect(str(folder / MANIFEST), problem, "Run the command by hand")])
    if lost := [key for key in _NEEDED if key not in manifest]:
        problem = f"lacks {', '.join(lost)}, so it is not as the run wrote it"
        raise InputError([Defect(str(folder / MANIFEST), problem, "Run the command by hand")])
    return manifest


def _input_defects(where: Path, manifest: Mapping[str, Any]) -> Iterator[Defect]:
    if not where.is_dir():
        yield Defect(str(where), "is where the command ran and does not exist",
                     "Name the folder that holds its files with --directory")  # fmt: skip
        return
    elsewhere = "Put it back, or name the folder that holds it with --directory"
    for entry in manifest["inputs"]:
        path = where / entry["path"]
        if not path.is_file():
            yield Defect(entry["path"], f"was read by this run and is not in {where}", elsewhere)
        elif sha256_of(path) != entry["sha256"]:
            remedy = f"Restore the version with SHA-256 {entry['sha256']}"
            yield Defect(str(path), "has changed since the run", remedy)


def _run_again(command: list[str], where: Path, out: Path) -> int:
    """The exit code of the command with another ``--out``, run in its folder, silently."""
    from shorematch.cli import app

    silence = io.StringIO()
    with contextlib.chdir(where), contextlib.redirect_stdout(silence):
        return app([*command[1:-1], str(out)], standalone_mode=False) or 0


def _stack(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where these are the same, numbers are the same to the last bit."""
    computer = manifest["machine"]
    return manifest["versions"], *(computer.get(key) for key in _COMPUTER)


# ---------------------------------------------------------------- comparing


def _compare(
    folder: Path, again: Path, manifest: Mapping[str, Any], same: bool
) -> Iterator[Comparison]:
    """Every file of either run."""
    outputs = manifest["outputs"]
    # a sweep's folder holds its blocks too, which are no results
    made = results_in(again) if manifest["command"][1] != "sweep" else list(outputs)
    for name in sorted({*outputs, *made}):
        stored, new = folder / name, again / name
        if not (stored.is_file() and new.is_file()):
            missing = "stored" if new.is_file() else "new"
            yield Comparison(name, False, True, f"is not in the {missing} run")
        elif sha256_of(stored) == sha256_of(new):
            yield Comparison(name, True, True)
        elif stored.suffix in _PICTURES:
            yield Comparison(name, False, same, "is another picture" if same else "")
        else:
            try:
                problem, gap = _difference(stored, new)
            except (ValueError, OSError) as error:
                problem, gap = f"cannot be read ({str(error).splitlines()[0]})", math.inf
            if same and not problem:
                problem = f"differs, in no number by more than {gap:.1e} relative"
            yield Comparison(name, False, True, problem, gap)


def _difference(stored: Path, new: Path) -> tuple[str, float]:
    """What is wrong between two files of numbers and text, if anything; the largest gap."""
    if stored.suffix == ".parquet":
        return _table_difference(stored, new)
    texts = [_HOW.sub("", path.read_text(encoding="utf-8")) for path in (stored, new)]
    if stored.suffix == ".tex":
        texts = list(map(plain_numbers, texts))
    numbers = [_NUMBER.findall(text) for text in texts]
    # a printed table pads its columns
    words = [_NUMBER.sub("0", text).split() for text in texts]
    if words[0] != words[1] or len(numbers[0]) != len(numbers[1]):
        return "differs in words", math.inf
    pairs = [(float(a), float(b)) for a, b in zip(*numbers, strict=True) if a != b]
    return _judged(pairs, _RELATIVE.get(stored.suffix, _RELATIVE_ELSE))


def _table_difference(stored: Path, new: Path) -> tuple[str, float]:
    import numpy as np
    import pandas as pd

    one, other = pd.read_parquet(stored), pd.read_parquet(new)
    if list(one) != list(other) or len(one) != len(other):
        return "has other columns or rows", math.inf
    pairs: list[tuple[float, float]] = []
    for name in one:
        a, b = one[name], other[name]
        if a.dtype.kind == "f" and b.dtype.kind == "f":
            different = ~((a == b) | (a.isna() & b.isna()))
            pairs += zip(np.asarray(a[different]), np.asarray(b[different]), strict=True)
        elif not a.astype(str).equals(b.astype(str)):
            return f"differs in column {name}", math.inf
    return _judged(pairs, _RELATIVE_ELSE)


def _judged(pairs: list[tuple[float, float]], relative: float) -> tuple[str, float]:
    gaps = [abs(a - b) / max(abs(a), abs(b)) if math.isfinite(a - b) else math.inf
            for a, b in pairs]  # fmt: skip
    beyond = [
        (gap, a, b)
        for gap, (a, b) in zip(gaps, pairs, strict=True)
        if not (gap <= relative or abs(a - b) <= _ABSOLUTE)
    ]
    if not beyond:
        return "", max(gaps, default=0.0)
    worst, a, b = max(beyond)
    return f"{len(beyond)} numbers differ, one of them {a!r} and now {b!r}", worst


# ---------------------------------------------------------------- telling


def _outcome(compared: list[Comparison], changed: list[str], same: bool) -> str:
    """What was found, in sentences."""
    wrong = [comparison for comparison in compared if comparison.problem]
    equal = sum(comparison.same_bytes for comparison in compared)
    told = [f"{equal} of {len(compared)} files are equal to the byte"]
    if near := [c for c in compared if c.compared and not c.same_bytes and not c.problem]:
        gap = max(comparison.gap for comparison in near)
        told.append(f"{len(near)} within the tolerance, the largest relative difference {gap:.1e}")
    if pictures := sum(not comparison.compared for comparison in compared):
        told.append(f"{pictures} pictures are not compared, drawn on another machine")
    told = ["; ".join(told) + "."]
    if not same:
        told.append("Versions or processor are not those of the run, so numbers are compared to "
                    f"{_RELATIVE_ELSE:.0e}.")  # fmt: skip
    lines = [
        f"- {c.file}: {'changed since the run: ' if c.file in changed else ''}{c.problem}"
        for c in wrong
    ]
    if lines:
        told.append(f"NOT VERIFIED: {len(wrong)} FILES DIFFER.")
    return "\n".join([" ".join(told), *lines])


def _replication(manifest: Mapping[str, Any], seconds: float, verified: str) -> str:
    """The paragraph on replication: data, software, hardware, command, running time."""
    computer = manifest["machine"]
    software = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    if commit := manifest["commits"]["shorematch"]:
        software += f"; shorematch at commit {commit}"
    inputs = [f"- {entry['path']} (SHA-256 {entry['sha256']})" for entry in manifest["inputs"]]
    took = sum(phase["seconds"] for phase in manifest["phases"])
    peak = max((phase["peak_memory_mb"] or 0.0 for phase in manifest["phases"]), default=0.0)
    memory = f"{computer['memory_gb']} GB" if computer["memory_gb"] else "unknown"
    seed = (
        "" if manifest["seed"] is None else f" Random numbers start from seed {manifest['seed']}."
    )
    return "\n".join([
        "Replication",
        "",
        "Data availability. " + (
            "The results rest on these files alone:" if inputs
            else "The results rest on data that come with the software alone."
        ),
        *inputs,
        f"Software. {software}.",
        f"Hardware. {computer['processor']}, {computer['cores']} cores, {memory} of memory, "
        f"{computer['device']}; {computer['system']}.",
        f"Command. {command_line(manifest)}.{seed}",
        f"Running time. {took:.1f} seconds, {peak / 1e3:.1f} GB of memory at most.",
        *([f"Verification. Run again in {seconds:.1f} seconds: {verified}"] if verified else []),
    ])  # fmt: skip
