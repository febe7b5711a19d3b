"""Arrays: in float64, with or without values, on the device together, and samples of types."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_traced(tree: Any) -> bool:
    """Whether any array stands for values that are not known, inside ``jit`` or a derivative."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def float64(value: Any) -> Any:
    """A float64 array: of JAX where the value holds such, else of NumPy; NaN where masked."""
    if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value, dtype=jnp.float64)
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(np.float64), np.nan)
    return np.asarray(value, dtype=np.float64)


@jax.jit
def on_device(tree: Any) -> Any:
    """The same of JAX arrays: one call for all of them, where ``jnp.asarray`` is one for each."""
    return tree


@lru_cache
def sample_of(types: int, count: int) -> np.ndarray:
    """So many of some types, all different and each time the same, or all that there are."""
    if count >= types:
        return np.arange(types)
    return np.random.default_rng(0).choice(types, count, replace=False)
