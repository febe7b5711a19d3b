"""``shorematch doctor``: what this installation computes with, and what to do about it."""

import os
import tempfile
import time
from pathlib import Path

from shorematch import runtime
from shorematch.console import console


def run_doctor(economy_path: Path | None = None, *, clear_cache: bool = False) -> int:
    """Print versions, device, precision, cache and a solved test economy; 0 where all is well.

    Of an economy file it also says which types repeat, which kernel solves it, and why. With
    ``clear_cache`` the compiled programs that are kept are removed first.
    """
    import jax

    from shorematch.files.manifest import versions

    if clear_cache:
        console().print(f"{runtime.clear_cache()} compiled programs removed")
    findings = [("versions", ", ".join(f"{k} {v}" for k, v in versions().items()), True, "")]
    device = jax.devices()[0]
    findings += [
        ("device", f"{device.device_kind} ({device.platform}), {os.cpu_count()} processors", True,
         "" if device.platform != "cpu" else
         "A CPU is enough; a GPU needs jax[cuda12] installed, and the option --device gpu."),
        ("float64", "on" if jax.config.read("jax_enable_x64") else "OFF",
         bool(jax.config.read("jax_enable_x64")),
         "Unset the environment variable JAX_ENABLE_X64, then try again."),
        _cache(runtime.cache_folder()),
        _solves(),
    ]  # fmt: skip
    if economy_path is not None:
        findings += _economy(economy_path)
    for name, finding, well, remedy in findings:
        console().print(f"{'ok  ' if well else 'BAD '} {name}: {finding}")
        if remedy and (not well or name == "device"):
            console().print(f"     {remedy}")
    return 0 if all(well for _, _, well, _ in findings) else 1


def _cache(folder: Path) -> tuple[str, str, bool, str]:
    """Whether compiled programs can be kept."""
    remedy = "Set SHOREMATCH_CACHE to a folder that can be written; till then every run compiles."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return "compile cache", f"{folder} cannot be written ({error.strerror})", False, remedy
    programs = runtime.kept_programs()
    size = sum(path.stat().st_size for path in programs) / 1e6
    text = f"{folder}, {len(programs)} programs, {size:.0f} MB (doctor --clear-cache removes them)"
    return "compile cache", text, True, ""


def _economy(economy_path: Path) -> list[tuple[str, str, bool, str]]:
    """Which types of an economy are solved as one, and which kernel the distinct ones take."""
    from matching import explain_kernel
    from matching.repeated_types import merged_types
    from shorematch.files.economy_file import read_economy

    economy = read_economy(economy_path).economy
    merged = merged_types(economy)
    findings = []
    if merged is not None:
        economy = merged.economy
        findings.append(("types", f"{merged}; equal ones are solved as one", True, ""))
    choice = explain_kernel(economy)
    return [*findings, ("kernel", choice.reason, True, "")]


def _solves() -> tuple[str, str, bool, str]:
    """Whether a market of one type a side has its closed-form equilibrium."""
    import math

    from matching import make_economy, make_firms, make_origin, solve_equilibrium

    start = time.perf_counter()
    economy = make_economy(
        [make_origin([0.0], [1.0], constant=2.0)], make_firms([0.0], [1.0]),
        affinity=0.0, lambda_x=1.0, lambda_y=1.0,
    )  # fmt: skip
    matched = float(solve_equilibrium(economy).matches[0][0, 0])
    error = abs(matched - math.e / (1.0 + math.e))
    text = f"a test market, error {error:.1e}, {time.perf_counter() - start:.1f} s"
    return "solves", text, error < 1e-12, "Reinstall jax and jaxlib; the arithmetic is not right."
