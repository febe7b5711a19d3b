"""Firms' potentials predicted from solved economies: a polynomial in what varies among them.

An equilibrium depends on an economy through the numbers of its market alone: output and outside
options over ``λ`` come together with the intensities, so that ten parameters may vary the market in
three directions. In the directions that vary most a polynomial of high degree then takes few
coefficients, found by least squares.
"""

from itertools import chain, combinations_with_replacement, islice
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from matching.economy import Economy
from matching.market import factors, market_of

# Directions in which markets may differ, found from so many of them; less variation, beside the
# largest, is rounding.
_DIRECTIONS, _SEEN, _ROUNDING = 16, 512, 1e-8
# Numbers multiplied in a term.
_DEGREE = 6
# Solved economies for each coefficient, at least.
_PER_TERM = 4
# Markets count e^-d², d their distance from the centre, in units in which d² is so much on average
# at most: those far out, of few matches or few unmatched, would bend the polynomial to themselves.
_NEAR = 3.0
# Beyond so many standard deviations the polynomial is evaluated at that distance.
_FAR = 4.0


class Prediction(NamedTuple):
    """``clip(Σ_t coefficients_t Π_k z_{factors_tk})``, ``z = (1, (numbers − centre) directions)``.

    Its size does not depend on what varies; what is not used is zero.
    """

    centre: np.ndarray  # (D,)
    directions: np.ndarray  # (D, R)
    factors: np.ndarray  # (T, _DEGREE), into z
    coefficients: np.ndarray  # (T, J)
    least: np.ndarray  # (J,)
    most: np.ndarray  # (J,)


def market_numbers(economy: Economy) -> jax.Array:
    """What an equilibrium depends on, ``(D,)``, in log points where it can be."""
    market = market_of(economy)
    u, v = factors(economy)
    return jnp.concatenate([
        u.ravel(), v.ravel(), market.log_worth_x, market.log_worth_y,
        jnp.log(market.mass_x), jnp.log(market.mass_y), market.theta[None],
    ])  # fmt: skip


def predicted(prediction: Prediction, numbers: jax.Array) -> jax.Array:
    """Potentials ``t (J,)`` for the numbers ``(D,)`` of a market."""
    z = (numbers - prediction.centre) @ jnp.asarray(prediction.directions)
    # what lies far outside, or is no number, is for the solver to find out
    z = jnp.concatenate([jnp.ones(1), jnp.clip(jnp.nan_to_num(z), -_FAR, _FAR)])
    terms = jnp.prod(z[prediction.factors], axis=1)
    potentials = terms @ jnp.asarray(prediction.coefficients)
    return jnp.clip(potentials, prediction.least, prediction.most)


def no_prediction(numbers: int, firms: int, lanes: int) -> Prediction:
    """Zero potentials, in the form of a prediction from ``lanes`` economies or more."""
    terms = max(1, lanes // _PER_TERM)
    return Prediction(
        centre=np.zeros(numbers),
        directions=np.zeros((numbers, _DIRECTIONS)),
        factors=np.zeros((terms, _DEGREE), dtype=int),
        coefficients=np.zeros((terms, firms)),
        least=np.zeros(firms),
        most=np.zeros(firms),
    )


def fit_prediction(before: Prediction, numbers: np.ndarray, potentials: np.ndarray) -> Prediction:
    """Fit to solved economies, ``numbers (B, D)``, ``potentials (B, J)``.

    Terms of low degree come first, then those in the directions of the largest variation, as many
    as ``before`` has or the economies are enough for.
    """
    count = len(numbers)
    centre = numbers.mean(0)
    centred = numbers - centre
    seen = centred[:: -(-count // _SEEN)]
    _, size, axes = np.linalg.svd(seen, full_matrices=False)
    size = size[:_DIRECTIONS] / len(seen) ** 0.5
    varying = int(np.sum(size > _ROUNDING * size[0]))
    directions = np.zeros_like(before.directions)
    directions[:, :varying] = axes[:varying].T / size[:varying]

    degrees = (combinations_with_replacement(range(1, varying + 1), d) for d in range(_DEGREE + 1))
    most = min(len(before.factors), max(1, count // _PER_TERM))
    products = list(islice(chain.from_iterable(degrees), most))
    which = np.zeros_like(before.factors)
    for row, product in zip(which, products, strict=False):
        row[: len(product)] = product

    z = np.clip(centred @ directions, -_FAR, _FAR)
    weight = np.exp(-0.5 * min(1.0, _NEAR / max(1, varying)) * (z**2).sum(1))
    z = np.column_stack([np.ones(count), z])
    terms = z[:, which[: len(products)]].prod(2)
    coefficients = np.zeros_like(before.coefficients)
    coefficients[: len(products)] = np.linalg.lstsq(
        weight[:, None] * terms, weight[:, None] * potentials, rcond=None
    )[0]
    return Prediction(centre, directions, which, coefficients, potentials.min(0), potentials.max(0))
