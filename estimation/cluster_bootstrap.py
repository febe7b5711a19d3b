"""Bootstrap of the three steps: samples of clusters with replacement, estimated in batches."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from estimation.cell_estimate import estimate_cells, matching_at, moment_step
from estimation.certificate import GRADIENT_TOLERANCE
from estimation.estimates import Bootstrap
from estimation.levels import Market
from matching import Economy

_DRAWS_AT_ONCE = 50  # so that memory stays small
_NEWTON_STEPS = 8  # of a draw, from the estimate; five reach rounding


def sampled_cells(
    labels: np.ndarray, cell: np.ndarray, weight: np.ndarray, wage: np.ndarray, cells: int,
    draws: int, seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Shares and mean wages of the cells in samples of clusters with replacement, ``(B, NJ)``."""
    count = int(labels.max()) + 1
    rng = np.random.default_rng([seed, *b"bootstrap"])
    mass, bill = (
        scipy.sparse.csr_array((v, (labels, cell)), shape=(count, cells))
        for v in (weight, weight * wage)
    )
    share, total = np.empty((2, draws, cells))
    for b in range(draws):
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        share[b], total[b] = times @ mass, times @ bill
    share_sum = share.sum(1, keepdims=True)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    return share / share_sum, mean


def estimate_draws(
    affinity: np.ndarray, sampled: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray,
    market: Market,
) -> Bootstrap:  # fmt: skip
    """The estimate of each sample, in batches of one size."""
    share, mean_wage, counted = sampled
    count, size = len(share), min(_DRAWS_AT_ONCE, len(share))
    rows = np.arange(-(-count // size) * size) % count
    cells = (len(rows), len(x), len(y))
    parts = (share[rows].reshape(cells), mean_wage[rows].reshape(cells), counted[rows])
    batches = [
        _draw(affinity, *(part[k : k + size] for part in parts), x, y, market)
        for k in range(0, len(rows), size)
    ]
    return Bootstrap(*jax.tree.map(lambda *found: np.concatenate(found)[:count], *batches))


@jax.jit
def _draw(
    affinity: jax.Array, share: jax.Array, mean_wage: jax.Array, counted: jax.Array,
    x: jax.Array, y: jax.Array, market: Market,
) -> tuple[jax.Array, jax.Array, Economy]:  # fmt: skip
    """A batch of draws; one has failed where moments do not meet or a scale is not positive."""
    unit = jnp.outer(x.std(0), y.std(0))

    def one(
        share: jax.Array, mean_wage: jax.Array, counted: jax.Array
    ) -> tuple[jax.Array, jax.Array, Economy]:  # fmt: skip
        a = jax.lax.fori_loop(
            0, _NEWTON_STEPS, lambda _, a: moment_step(a, share, x, y), jnp.asarray(affinity)
        )
        values, economy = estimate_cells(a, share, mean_wage, counted, x, y, market)
        assert economy is not None
        gap = x.T @ (share - matching_at(a, share, x, y).matches) @ y / unit
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(economy)]
        positive = jnp.minimum(economy.lambda_x, economy.lambda_y) > 0
        met = jnp.max(jnp.abs(gap)) <= GRADIENT_TOLERANCE
        return values, ~(met & positive & jnp.all(jnp.stack(finite))), economy

    return jax.vmap(one)(share, mean_wage, counted)
