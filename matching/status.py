"""How a solution ended, as a code that lives inside ``jit`` and ``vmap``, and what to do about it."""

from enum import IntEnum


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
    Status.CERTIFIED: "Every margin is met and the level of wages is proven to 1e-8 of λ.",
    Status.UNDETERMINED: (
        "Every margin is met, but the level of wages is not determined to 1e-8 of λ: matches are "
        "nearly sure, so the unmatched masses that fix the level are lost in rounding. Read wages "
        "and multipliers only to the printed bound; matches and wage differences are unaffected."
    ),
    Status.NOT_CONVERGED: (
        "The solver stopped before the margins were met. Allow more iterations (max_iter), use "
        "solver='newton', or look for a taste scale λ far below the spread of output."
    ),
    Status.NOT_FINITE: (
        "A number became infinite or NaN. Look for a missing value among the inputs, or for money "
        "so large against λ that exp() leaves float64."
    ),
}
