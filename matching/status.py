"""How a solution ended: a code that lives inside ``jit`` and ``vmap``, and what to do about it."""

from enum import IntEnum
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from matching.arrays import is_traced
from matching.errors import NotConverged

# Margins are accepted at this relative residual; the level of wages at this bound relative to λ.
MARGIN_TOLERANCE = 1e-10
WAGE_TOLERANCE = 1e-8


class Status(IntEnum):
    """Verdict on a solution; only ``CERTIFIED`` is a clean success."""

    CERTIFIED = 0
    UNDETERMINED = 1
    NOT_CONVERGED = 2
    NOT_FINITE = 3

    @property
    def converged(self) -> bool:
        """Whether every margin is met."""
        return self in (Status.CERTIFIED, Status.UNDETERMINED)

    @property
    def explanation(self) -> str:
        """Causes and remedies, in a sentence or two."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Status.CERTIFIED: (
        "Every margin is met to 1e-10, and where there are outside options the level of wages is "
        "proven to 1e-8 of λ."
    ),
    Status.UNDETERMINED: (
        "Every margin is met, but the level of wages is not determined to 1e-8 of λ: matches are "
        "nearly sure, so the unmatched masses that fix the level are lost in rounding. Read wages "
        "and multipliers only to the printed bound; matches and wage differences are unaffected."
    ),
    Status.NOT_CONVERGED: (
        "The solver stopped before the margins were met. Allow more iterations (max_iter), use the "
        "other solver, or look for a taste scale, λ_x or λ_y, far below the spread of output."
    ),
    Status.NOT_FINITE: (
        "A number became infinite or NaN. Look for a missing value among the inputs, or for money "
        "so large against λ that exp() leaves float64; or the kernel given was chosen for another "
        "economy."
    ),
}


class Solution(Protocol):
    """What every solver's result has."""

    @property
    def status(self) -> jax.Array: ...  # noqa: D102
    @property
    def max_residual(self) -> jax.Array: ...  # noqa: D102
    @property
    def iterations(self) -> jax.Array: ...  # noqa: D102
    @property
    def solver(self) -> str: ...  # noqa: D102


def verdict(max_residual: jax.Array, wage_bound: jax.Array | float = 0.0) -> jax.Array:
    """The status of a solution with this residual and this bound on wages; NaN never passes."""
    determined = wage_bound <= WAGE_TOLERANCE
    code = jnp.where(determined, int(Status.CERTIFIED), int(Status.UNDETERMINED))
    code = jnp.where(max_residual <= MARGIN_TOLERANCE, code, int(Status.NOT_CONVERGED))
    return jnp.where(jnp.isfinite(max_residual), code, int(Status.NOT_FINITE))


def raise_unless_converged(solution: Solution) -> None:
    """Raise :class:`~matching.errors.NotConverged`, carrying the result, unless margins are met.

    Inside ``jit`` nothing is known yet and nothing is raised; batches raise for their worst lane.
    """
    if is_traced(solution.status):
        return
    status = Status(int(np.max(solution.status)))
    if not status.converged:
        raise NotConverged(
            f"{status.name.lower().replace('_', ' ')}: largest relative residual "
            f"{float(np.max(solution.max_residual)):.3g} after "
            f"{int(np.max(solution.iterations))} iterations of {solution.solver}. "
            f"{status.explanation}",
            solution,
        )
