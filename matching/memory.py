"""How much memory this process may still take, known before anything is allocated."""

import math
import resource

import jax

# Of what a process may take, the share that its programs and libraries leave.
_SHARE = 0.7


def available_bytes() -> float:
    """What the device, else the limits of this process, leave; infinite where neither says."""
    on_device = jax.local_devices()[0].memory_stats()
    if on_device is not None and "bytes_limit" in on_device:
        return float(on_device["bytes_limit"] - on_device.get("bytes_in_use", 0))
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    most = min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=math.inf)
    return _SHARE * most


def gigabytes(size: float) -> str:
    """A size for people: three digits."""
    return f"{size / 1e9:.3g} GB"
