"""Intervals: scenarios and decompositions solved again under every draw of the estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

from counterfactuals.decomposition import ParameterGroup, decompose
from counterfactuals.measures import Label, measure_labels, solve_measures
from counterfactuals.shocks import Shock, apply_shock
from matching import Economy, InvalidInput, Status


@dataclass(frozen=True)
class ScenarioDraws:
    """Measures of ``K`` scenarios at the estimate and under ``B`` draws of it, ``S`` measures.

    NaN where an economy is none or has not converged; such draws are in no interval.
    """

    scenarios: tuple[str, ...]  # the baseline first
    labels: tuple[Label, ...]  # of the measures, see :func:`counterfactuals.measure_labels`
    estimate: np.ndarray  # (K, S)
    draws: np.ndarray  # (K, B, S)
    failed: np.ndarray  # (B,): the estimation of the draw has failed
    status: np.ndarray  # (K, B): a :class:`~matching.Status` each, not finite for no economy

    @property
    def used(self) -> np.ndarray:
        """The draws that intervals of each scenario rest on, ``(K, B)``."""
        return (self.status == Status.CERTIFIED) | (self.status == Status.UNDETERMINED)

    @property
    def estimated_change(self) -> np.ndarray:
        """Each scenario less the baseline at the estimate, ``(K, S)``."""
        return self.estimate - self.estimate[:1]

    @property
    def changes(self) -> np.ndarray:
        """Each scenario less the baseline *under the same draw*, ``(K, B, S)``."""
        return self.draws - self.draws[:1]


def solve_draws(
    economy: Economy,
    draws: Economy,
    failed: np.ndarray,
    scenarios: Mapping[str, Sequence[Shock]],
    *,
    baseline: str = "baseline",
) -> ScenarioDraws:
    """Solve the baseline and every scenario at the estimate ``economy`` and under its ``draws``.

    Every array of ``draws`` has a leading axis ``B``. A scenario is a stack of shocks, applied to
    each draw's own parameters: ``Φ × 2`` doubles the draw's ``Φ``. ``failed`` ``(B,)`` tells the
    draws whose estimation has failed, which are not solved. A draw that a shock leaves without a
    sound economy (a negative mass, a taste scale of zero) is not finite.

    Raises :class:`~matching.InvalidInput` for a shock that the estimate itself cannot bear.
    """
    wanted = np.concatenate([[True], ~np.asarray(failed, bool)])
    stack = jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), economy, draws)
    found = [
        _solve(_shocked(economy, stack, shocks), wanted)
        for shocks in ((), *scenarios.values())
    ]  # fmt: skip
    values, status = (np.stack(part) for part in zip(*found, strict=True))
    return ScenarioDraws(
        scenarios=(baseline, *scenarios),
        labels=measure_labels(economy),
        estimate=values[:, 0],
        draws=values[:, 1:],
        failed=~wanted[1:],
        status=status[:, 1:],
    )


@dataclass(frozen=True)
class DecompositionDraws:
    """What ``G`` groups contribute to changes of ``S`` measures, under ``B`` pairs of draws.

    NaN where an economy between the two is none or has not converged.
    """

    shapley: np.ndarray  # (B, G, S)
    change: np.ndarray  # (B, S), the sum of a draw's contributions
    failed: np.ndarray  # (B,): the estimation of one of the two draws has failed
    status: np.ndarray  # (B, 2^G): a :class:`~matching.Status` each, not finite for no economy

    @property
    def used(self) -> np.ndarray:
        """The draws that intervals rest on: every economy between the two is solved, ``(B,)``."""
        solved = (self.status == Status.CERTIFIED) | (self.status == Status.UNDETERMINED)
        return solved.all(1)


def decompose_draws(
    starts: Economy, ends: Economy, failed: np.ndarray, groups: Sequence[ParameterGroup]
) -> DecompositionDraws:
    """Take the change between two economies apart again under every pair of their draws.

    Every array of ``starts`` and ``ends`` has a leading axis ``B``; draw ``b`` of one goes with
    draw ``b`` of the other. Two years of one estimation keep what they have in common so; for
    independent estimations any pairing will do. ``failed`` ``(B,)`` tells the pairs of which an
    estimation has failed.

    Raises :class:`~matching.InvalidInput` as :func:`~counterfactuals.decompose` does: a parameter
    that differs in a draw only must be in a group, too.
    """
    failed = np.asarray(failed, bool)
    size = (len(failed), len(groups), len(measure_labels(starts)))
    shapley, change = np.full(size, np.nan), np.full(size[::2], np.nan)
    status = np.full((len(failed), 2 ** len(groups)), int(Status.NOT_FINITE))
    for b in np.flatnonzero(~failed & _sound(starts) & _sound(ends)):
        start, end = (jax.tree.map(lambda x, b=b: x[b], stack) for stack in (starts, ends))
        try:
            found = decompose(start, end, groups)
        except InvalidInput as error:
            raise InvalidInput([f"draw {b}: {defect}" for defect in error.defects]) from None
        shapley[b], change[b], status[b] = found.shapley, found.end - found.start, found.status
    return DecompositionDraws(shapley, change, failed, status)


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> np.ndarray:
    """The percentile interval of each measure over its draws, ``(..., B, S)`` to ``(..., 2, S)``.

    From the ``(1 − level)/2`` to the ``(1 + level)/2`` quantile (Efron 1979); draws that are NaN
    are left out, and where none is left, so is the interval. Raises
    :class:`~matching.InvalidInput` for a level that is no share.

    >>> percentile_interval(np.arange(5.0)[:, None], 0.5).ravel().tolist()
    [1.0, 3.0]
    """
    if not 0.0 < level < 1.0:
        raise InvalidInput([f"level: {level} is none; give a share such as 0.95"])
    tails = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    known = ~np.isnan(draws)
    ordered = np.sort(draws, axis=-2)  # NaN last
    places = tails[:, None] * np.maximum(known.sum(-2, keepdims=True) - 1, 0)
    below = np.floor(places).astype(int)
    above = np.ceil(places).astype(int)
    low, high = (np.take_along_axis(ordered, place, axis=-2) for place in (below, above))
    return low + (places - below) * (high - low)


# ---------------------------------------------------------------- helpers


def _shocked(economy: Economy, stack: Economy, shocks: Sequence[Shock]) -> Economy:
    """A batch of economies after a stack of shocks that the estimate can bear."""
    reduce(apply_shock, shocks, economy)  # raises what is wrong with it
    return jax.vmap(lambda each: reduce(apply_shock, shocks, each))(stack)


def _solve(economies: Economy, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measures and status of a batch; NaN where not wanted or unsound."""
    wanted = wanted & _sound(economies)
    # what is not to be solved stands in as the first economy, for which it converges
    economies = jax.tree.map(lambda x: jnp.where(_column(wanted, x), x, x[:1]), economies)
    values, status, _ = solve_measures(economies)
    values[~wanted] = np.nan
    return values, np.where(wanted, status, int(Status.NOT_FINITE))


def _sound(economies: Economy) -> np.ndarray:
    """Which of a batch are economies: finite, with positive taste scales and masses."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(economies)]
    sound = np.logical_and.reduce([
        np.isfinite(leaf).reshape(len(leaf), -1).all(-1) for leaf in leaves
    ])  # fmt: skip
    for scale in (economies.lambda_x, economies.lambda_y):
        sound &= np.asarray(scale) > 0
    for mass in map(np.asarray, (economies.firms.mass, *(o.mass for o in economies.origins))):
        sound &= (mass >= 0).all(-1) & (mass > 0).any(-1)
    return sound


def _column(flags: np.ndarray, like: jax.Array) -> np.ndarray:
    return flags.reshape(-1, *[1] * (like.ndim - 1))
