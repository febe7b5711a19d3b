"""How much memory this process may still take, known before anything is allocated."""

from pathlib import Path

import jax
import psutil

try:
    import resource
except ImportError:  # Windows has no limits of this kind
    _LIMITS: tuple[int, ...] = ()
else:
    _LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)

# Of what a process may take, the share that its programs and libraries leave.
_SHARE = 0.7


def available_bytes() -> float:
    """What the device, else the limits of this process or its job, or the machine itself leave."""
    on_device = jax.local_devices()[0].memory_stats()
    if on_device is not None and "bytes_limit" in on_device:
        return float(on_device["bytes_limit"] - on_device.get("bytes_in_use", 0))
    # all of the machine's, not what is free at the moment: the same machine, the same kernel
    limits = [psutil.virtual_memory().total, *control_group_limits()]
    limits += [limit for limit in (resource.getrlimit(kind)[0] for kind in _LIMITS)
               if limit != resource.RLIM_INFINITY]  # fmt: skip
    return _SHARE * min(limits)


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


def gigabytes(size: float) -> str:
    """A size for people: three digits."""
    return f"{size / 1e9:.3g} GB"
