"""The two ways to meet the scarcity constraints, by name.

They share the kernel alone, but for large matrices, on which Newton begins with what IPFP finds.
"""

import jax

from matching import ipfp, newton
from matching.errors import InvalidInput
from matching.market import Market

SOLVERS = {"newton": newton.iterate, "ipfp": ipfp.iterate}
MAX_ITER = {"newton": 500, "ipfp": 20_000}

# Margins are accepted at 1e-10; solvers aim lower, so that rounding alone is left.
_TOLERANCE = 1e-13


def find_potentials(
    market: Market,
    solver: str,
    max_iter: int | jax.Array | None,
    start: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Potentials ``s (N,)``, ``t (J,)`` of a prepared market, and the number of iterations."""
    if solver not in SOLVERS:
        raise InvalidInput([f"solver: {solver!r} is unknown; choose from {sorted(SOLVERS)}"])
    limit = MAX_ITER[solver] if max_iter is None else max_iter
    return SOLVERS[solver](market, jax.lax.stop_gradient(start), _TOLERANCE, limit)
