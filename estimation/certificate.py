"""The certificate of an estimate: conditions of an optimum, recomputed apart from the optimiser."""

from dataclasses import dataclass

# The inner margins hold to 1e-13.
GRADIENT_TOLERANCE = 1e-9
MARGIN_TOLERANCE = 1e-10
# Below this curvature, relative to the largest, rounding decides where the optimum lies.
CURVATURE_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Certificate:
    """First- and second-order conditions at an estimate, and whether the market clears there."""

    gradient: float  # largest |model − data| moment, or mean score, in standard deviations
    curvature: float  # smallest eigenvalue of the Hessian over its largest
    margin_residual: float  # largest relative error of any margin
    iterations: int
    remarks: tuple[str, ...] = ()  # further reasons to doubt, a sentence each

    @property
    def failures(self) -> tuple[str, ...]:
        """What keeps the point from being an optimum, a sentence each."""
        found = []
        if not self.margin_residual <= MARGIN_TOLERANCE:
            found.append(
                f"the market does not clear: a margin is off by {self.margin_residual:.3g}, as "
                "happens where the sample is sorted nearly as strongly as it can be"
            )
        if not self.gradient <= GRADIENT_TOLERANCE:
            found.append(
                f"the first-order conditions are missed by {self.gradient:.3g}; where the sample "
                "is sorted as strongly as it can be, no finite estimate exists"
            )
        if not self.curvature >= -CURVATURE_TOLERANCE:
            found.append(
                f"the objective bends the wrong way (relative curvature {self.curvature:.3g}): "
                "this is no optimum; try more starts"
            )
        return tuple(found)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes the optimum one that the data hardly choose."""
        if self.curvature > CURVATURE_TOLERANCE:
            return self.remarks
        return (
            *self.remarks,
            f"the objective is flat in some direction (relative curvature {self.curvature:.3g}); "
            "look for columns that hardly vary or nearly repeat each other",
        )

    @property
    def met(self) -> bool:
        """Whether the point is an optimum, and the only one near it."""
        return not self.failures and self.curvature > CURVATURE_TOLERANCE

    @property
    def verdict(self) -> str:
        """``CERTIFIED``, ``DOUBTFUL`` or ``FAILED``."""
        return "FAILED" if self.failures else "DOUBTFUL" if self.doubts else "CERTIFIED"
