"""How much memory this process may still take, known before anything is allocated."""

from functools import cache

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
# Bytes that this process may take in all, as far as it was told.
_LIMITS_SET: list[float] = []


def available_bytes() -> float:
    """What the device leaves, else what the host does."""
    on_device = jax.local_devices()[0].memory_stats()
    if on_device is not None and "bytes_limit" in on_device:
        return float(on_device["bytes_limit"] - on_device.get("bytes_in_use", 0))
    return host_bytes()


def host_bytes() -> float:
    """What the limits of this process or its job, or the machine itself leave."""
    # all of the machine's, not what is free at the moment: the same machine, the same kernel
    limits = [_host_total(), *_LIMITS_SET]
    limits += [limit for limit in (resource.getrlimit(kind)[0] for kind in _LIMITS)
               if limit != resource.RLIM_INFINITY]  # fmt: skip
    return _SHARE * min(limits)


@cache
def _host_total() -> int:
    return int(psutil.virtual_memory().total)


def limit_memory(size: float) -> None:
    """Tell that this process may take so many bytes in all, as in a batch job."""
    _LIMITS_SET.append(size)


def gigabytes(size: float) -> str:
    """A size for people: three digits."""
    return f"{size / 1e9:.3g} GB"
