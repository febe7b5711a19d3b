"""How much memory this process may still take, asked of the system before anything is allocated."""

import resource
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")


def available_bytes() -> float:
    """What the machine, the container and the limits of this process leave; infinite if unknown."""
    return min(_of_machine(), _of_container(), _of_limits())


def gigabytes(size: float) -> str:
    """A size for people: three digits."""
    return f"{size / 1e9:.3g} GB"


def _of_machine() -> float:
    return _field(_MEMINFO, "MemAvailable")


def _of_container() -> float:
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        used = (_CGROUP / "memory.current").read_text().strip()
        return float("inf") if most == "max" else max(float(most) - float(used), 0.0)
    except (OSError, ValueError):
        return float("inf")


def _of_limits() -> float:
    """What ``ulimit`` leaves of address space and of data."""
    left = float("inf")
    for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            left = min(left, max(most - _field(_STATUS, used, otherwise=0.0), 0.0))
    return left


def _field(path: Path, name: str, otherwise: float = float("inf")) -> float:
    """A line ``name: 123 kB`` of a file of the system, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return otherwise
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024.0 * float(found[0]) if found else otherwise
