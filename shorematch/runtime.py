"""The one place that sets JAX up: float64, and compiled programs kept between runs."""

import hashlib
import os
import platform
import sys
from pathlib import Path


def start() -> None:
    """Switch float64 on and the compile cache, where its folder can be written."""
    import jax

    jax.config.update("jax_enable_x64", True)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    text = "\n".join(sorted(set(flags))) or platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
