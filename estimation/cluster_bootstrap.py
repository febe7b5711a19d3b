"""Bootstrap of the three steps: samples of clusters with replacement, estimated in batches."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from estimation.cell_estimate import (
    estimate_cells,
    matching_at,
    moment_step,
    slopes_of_cells,
)
from estimation.certificate import GRADIENT_TOLERANCE
from estimation.cluster_sums import ClusterSums
from estimation.estimates import Bootstrap
from estimation.levels import Market
from estimation.resampling import counted_drawn, times_drawn
from matching import Economy
from matching.blas import one_blas_thread

DRAWS_AT_ONCE = 50  # so that memory stays small
_NEWTON_STEPS = 8  # of a draw, from the estimate; five reach rounding


def bootstrap_cells(
    sums: ClusterSums, affinity: np.ndarray, x: np.ndarray, y: np.ndarray, market: Market,
    draws: int, seed: int, *, studentised: bool,
) -> Bootstrap:  # fmt: skip
    """Estimates of so many samples of clusters with replacement; ``affinity`` is near theirs.

    Aggregates are drawn with the errors that the market names. ``studentised`` adds the covariance
    that each sample would give its own estimate.
    """
    times = list(times_drawn(sums.clusters, draws, seed))
    share, mean_wage, variance = map(np.array, zip(*map(sums.cells, times), strict=True))
    share, mean_wage = (v.reshape(draws, len(x), len(y)) for v in (share, mean_wage))
    errors = np.asarray(market.std_errors)
    counted = counted_drawn(np.asarray(market.counted), errors, draws, seed)
    sampled = (share, mean_wage, variance, counted)
    at, values, failed, economies = _in_batches(_draw, (affinity,), sampled, (x, y, market))
    covariances = None
    if studentised:
        slopes = _in_batches(_slopes, (), (at, *sampled), (x, y, market))
        by_share, by_wage = (np.asarray(d).reshape(*values.shape, -1) for d in slopes[:2])
        of_counted = np.asarray(slopes[2]) * errors
        covariances = np.stack(
            [
                sums.covariance(t, by_share[b], by_wage[b]) + of_counted[b] @ of_counted[b].T
                for b, t in enumerate(times)
            ]
        )
    return Bootstrap(values, failed, economies, covariances)


def _in_batches(
    function: Any, before: Sequence[Any], arrays: Sequence[Any], after: Sequence[Any]
) -> Any:
    """A function of batches of one size, and of what is the same for all."""
    count, size = len(arrays[0]), min(DRAWS_AT_ONCE, len(arrays[0]))
    rows = np.arange(-(-count // size) * size) % count
    with one_blas_thread():  # XLA's threads factor many small matrices each
        batches = [
            function(*before, *(array[rows[k : k + size]] for array in arrays), *after)
            for k in range(0, len(rows), size)
        ]
        return jax.tree.map(lambda *found: np.concatenate(found)[:count], *batches)


@jax.jit
def _draw(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, wage_variance: jax.Array,
    counted: jax.Array, x: jax.Array, y: jax.Array, market: Market,
) -> tuple[jax.Array, jax.Array, jax.Array, Economy]:  # fmt: skip
    """``Φ/λ`` of a batch of draws, their estimates, which have failed, and their economies.

    One has failed where moments do not meet or a scale is not positive.
    """
    unit = jnp.outer(x.std(0), y.std(0))

    def one(
        share: jax.Array, mean_wage: jax.Array, wage_variance: jax.Array, counted: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, Economy]:  # fmt: skip
        a = jax.lax.fori_loop(
            0, _NEWTON_STEPS, lambda _, a: moment_step(a, share, x, y), jnp.asarray(affinity)
        )
        values, economy = estimate_cells(a, share, mean_wage, wage_variance, counted, x, y, market)
        assert economy is not None
        gap = x.T @ (share - matching_at(a, share, x, y).matches) @ y / unit
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(economy)]
        positive = jnp.minimum(economy.lambda_x, economy.lambda_y) > 0
        met = jnp.max(jnp.abs(gap)) <= GRADIENT_TOLERANCE
        return a, values, ~(met & positive & jnp.all(jnp.stack(finite))), economy

    return jax.vmap(one)(share, mean_wage, wage_variance, counted)


_slopes = jax.jit(
    jax.vmap(
        lambda *at: slopes_of_cells(*at)[0], in_axes=(0, 0, 0, 0, 0, None, None, None)
    )
)  # fmt: skip
