"""Which parameters, and which combinations of them, the data pin down."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A direction along which moments move less than this, relative to the one along which they move
# most, is one that rounding decides.
FLAT = 1e-7
# Standard deviation beyond which first-order errors say nothing, in natural units: a log point of
# a scale or an intensity, an affinity or a constant of the size of the scale.
_WEAK = 1.0
# Parameters that make up less than this of a direction's largest are not named.
_PART = 0.02


@dataclass(frozen=True)
class Identification:
    """The rank of a Jacobian, and each direction of parameters that data leave open, by name."""

    rank: int
    parameters: int
    singular_values: np.ndarray  # of the Jacobian, columns of norm one, largest first, (P,)
    open: tuple[dict[str, float], ...]  # directions in which no moment moves
    weak: tuple[dict[str, float], ...]  # directions whose error exceeds a natural unit

    @property
    def identified(self) -> bool:
        """Whether the data pin down every parameter well enough for first-order errors."""
        return not (self.open or self.weak)

    @property
    def names(self) -> frozenset[str]:
        """The parameters for which first-order errors are refused."""
        return frozenset(name for way in (*self.open, *self.weak) for name in way)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is left open, for a reader."""
        return (
            *(
                f"not identified: no moment moves along {_written(way)}; fix one of them, tie "
                "them, or add a moment that tells them apart"
                for way in self.open
            ),
            *(
                f"hardly identified: the data leave more than a natural unit open along "
                f"{_written(way)}; first-order errors mean nothing there"
                for way in self.weak
            ),
        )


def identify(
    jacobian: np.ndarray, names: Sequence[str], covariance: np.ndarray | None = None
) -> Identification:
    """Rank and open directions of ``∂(moments)/∂(parameters)``, ``(M, P)``, in natural units.

    Moments are whitened or of a common size; ``covariance (P, P)`` of the parameters, in the same
    natural units, tells which directions are weak.

    >>> identify(np.array([[1.0, 1.0], [2.0, 2.0]]), ["nu_x", "nu_y"]).sentences[0][:55]
    'not identified: no moment moves along nu_x (+0.71), nu_'
    """
    norms = np.linalg.norm(jacobian, axis=0)
    norms = np.where(norms > 0, norms, 1.0)  # so that a stiff parameter does not hide another
    _, spread, directions = np.linalg.svd(jacobian / norms)
    directions = directions / norms
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spread = np.r_[spread, np.zeros(len(names) - len(spread))]
    flat = ~(spread > FLAT * spread[0])
    weak: list[np.ndarray] = []
    if covariance is not None:  # of what is not open, being finite
        variances, axes = np.linalg.eigh(covariance)
        weak = list(axes.T[variances > _WEAK**2])
    return Identification(
        rank=int((~flat).sum()),
        parameters=len(names),
        singular_values=spread,
        open=tuple(_named(way, names) for way in directions[flat]),
        weak=tuple(_named(way, names) for way in weak),
    )


def identify_scales(
    scales: Sequence[str], names: Sequence[str], values: np.ndarray, covariance: np.ndarray
) -> Identification:
    """Which combinations of taste scales, in log points, the wages hardly tell.

    ``covariance (P, P)`` is that of all parameters, of which ``names`` lists the order.
    """
    places = [names.index(name) for name in scales]
    unit = np.abs(values[places])
    log_points = covariance[np.ix_(places, places)] / np.outer(unit, unit)
    return identify(np.eye(len(places)), scales, log_points)


def _named(direction: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    largest = np.abs(direction).max()
    sign = np.sign(direction[np.argmax(np.abs(direction))])
    return {
        str(name): float(sign * part)
        for name, part in zip(names, direction, strict=True)
        if abs(part) > _PART * largest
    }


def _written(direction: dict[str, float]) -> str:
    return ", ".join(f"{name} ({part:+.2f})" for name, part in direction.items())
