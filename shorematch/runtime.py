"""The one place that sets JAX up: device, float64, and compiled programs kept between runs."""

import hashlib
import importlib
import os
import platform
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_CHECKED = "checked"  # its date says up to when the kept programs are known to be whole


def start(device: str | None = "cpu") -> None:
    """Choose the device, ``"cpu"`` or ``"gpu"``, switch float64 on, and keep compiled programs.

    Without a device JAX takes what it finds. Raises :class:`~shorematch.defects.InputError` where
    a GPU is asked for and there is none that JAX can use. Programs are kept where their folder can
    be written.
    """
    import jax

    from matching.memory import limit_memory

    jax.config.update("jax_enable_x64", True)
    if device == "gpu":
        _require_gpu()
    elif device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    for limit in control_group_limits():
        limit_memory(limit)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_truncated(folder)
    except OSError:
        return  # slower, not wrong; `shorematch doctor` says so
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def cache_folder() -> Path:
    """The user's folder for compiled programs; ``SHOREMATCH_CACHE`` overrides it.

    Programs are compiled for one processor, so machines that share a home do not share them.
    """
    if chosen := os.environ.get("SHOREMATCH_CACHE"):
        base = Path(chosen)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "shorematch"
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches/shorematch"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shorematch"
    return base / _processor()


def kept_programs() -> list[Path]:
    """The files of all compiled programs that are kept for this processor."""
    folder = cache_folder()
    return sorted(path for path in folder.glob("*-cache") if path.is_file())


def clear_cache() -> int:
    """Remove all compiled programs that are kept; how many there were."""
    programs = kept_programs()
    for path in programs:
        path.unlink(missing_ok=True)
    return len(programs)


def _require_gpu() -> None:
    import jax

    from shorematch.files.defects import Defect, InputError

    try:
        jax.config.update("jax_default_device", jax.devices("gpu")[0])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        remedy = (
            "Leave the option out to compute on the CPU; or, on a machine with an NVIDIA GPU and "
            "driver, install jax[cuda12] and unset JAX_PLATFORMS"
        )
        raise InputError([Defect("--device gpu", f"JAX finds no GPU ({reason})", remedy)]) from None


def _remove_truncated(folder: Path) -> None:
    """Remove the programs that a killed process left half-written since the last check.

    JAX warns of such a file at every use and never writes it anew.
    """
    stamp = folder / _CHECKED
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    stamp.touch()
    for path in kept_programs():
        if path.stat().st_mtime >= since and not _is_whole(path.read_bytes()):
            path.unlink(missing_ok=True)


def _is_whole(data: bytes) -> bool:
    """Whether a compressed file ends where its format says."""
    for decompress in _decompressors():
        try:
            decompress(data)
        except Exception:
            continue
        return True
    return False


def _decompressors() -> Iterator[Callable[[bytes], bytes]]:
    """What JAX may have compressed with, by what is installed."""
    yield zlib.decompress
    for module in ("compression.zstd", "zstandard"):
        with suppress(ImportError):
            yield importlib.import_module(module).decompress


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    text = "\n".join(sorted(set(flags))) or platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def control_group_limits(root: Path = Path("/")) -> list[int]:
    """Bytes that the control groups of this process, as of a batch job or a container, allow."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system than Linux
        return []
    limits = []
    for group in groups:
        _, controllers, path = group.split(":", 2)
        top, file = root / "sys/fs/cgroup", "memory.max"
        if controllers:  # the first version of control groups has a tree per controller
            top, file = top / "memory", "memory.limit_in_bytes"
        if controllers and "memory" not in controllers.split(","):
            continue
        place = top / path.lstrip("/")
        for folder in (place, *place.parents):
            if (folder / file).is_file():
                text = (folder / file).read_text(encoding="utf-8").strip()
                limits += [int(text)] if text.isdigit() else []
            if folder == top:
                break
    return limits
