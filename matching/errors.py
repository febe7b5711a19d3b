"""The exceptions of the libraries: one root, each with a message that says what to do next."""

import difflib
from collections.abc import Iterable, Sequence


class ShorematchError(Exception):
    """Root of every exception raised on purpose."""


class InvalidInput(ShorematchError):
    """One or more inputs are wrong; ``defects`` lists all of them, one sentence each."""

    def __init__(self, defects: Sequence[str]):
        self.defects = tuple(defects)
        super().__init__("\n".join(self.defects))


class NotConverged(ShorematchError):
    """The solver stopped before the margins were met; ``result`` holds what it reached."""

    def __init__(self, message: str, result: object):
        self.result = result
        super().__init__(message)


class PrecisionError(ShorematchError):
    """float64 is switched off in JAX, so no number would be worth reporting."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint ``; did you mean 'x'?``, or nothing where no known name is near."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``name`` in spelling, if any is close."""
    by_folded = {candidate.strip().casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.strip().casefold(), by_folded, n=1)
    return by_folded[near[0]] if near else None


def require_float64() -> None:
    """Raise :class:`PrecisionError` unless JAX computes in float64."""
    import jax

    if not jax.config.read("jax_enable_x64"):
        raise PrecisionError(
            "JAX computes in float32 in this process. Multipliers need float64: call "
            'jax.config.update("jax_enable_x64", True) before any computation, or set the '
            "environment variable JAX_ENABLE_X64=1."
        )
