"""Random economies over the whole range that the solvers must master."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from matching import Economy, make_economy, make_firms, make_origin


class Shape(NamedTuple):
    """What economies must share to be stacked into one batch."""

    workers: tuple[int, ...]  # types of each origin
    firms: int
    m: int
    n: int
    per_type: bool  # outside options per type
    unit: str


def random_shapes(count: int, seed: int = 0, most: int = 40) -> list[Shape]:
    """``count`` shapes: 1-3 origins, up to ``most`` types a side, 1-4 dimensions each."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        origins = int(rng.integers(1, 4))
        workers = tuple(int(rng.integers(1, most // origins + 1)) for _ in range(origins))
        m, n = (int(k) for k in rng.integers(1, 5, 2))
        unit = str(rng.choice(["cell", "density"]))
        firms = int(rng.integers(1, most + 1))
        shapes.append(Shape(workers, firms, m, n, bool(rng.integers(2)), unit))
    return shapes


def random_economy(seed: int, shape: Shape) -> Economy:
    """One economy: λ_x/λ in [0.05, 0.95], λ in [1, 400], range of q/λ up to 100.

    Masses lie over 12 decades, or are equal and balanced, or moderate.
    """
    rng = np.random.default_rng([seed, *shape.workers, shape.firms, shape.m, shape.n])
    scale = 10.0 ** rng.uniform(0, np.log10(400))
    theta = rng.uniform(0.05, 0.95)
    affinity = rng.normal(size=(shape.m, shape.n))
    skills = [rng.uniform(0, 1, (count, shape.m)) for count in shape.workers]
    characteristics = rng.uniform(0, 1, (shape.firms, shape.n))
    product = np.concatenate(skills) @ affinity @ characteristics.T
    affinity *= scale * 10.0 ** rng.uniform(-1, 2) / np.ptp(np.append(product, 0.0))
    kind = rng.choice(["decades", "balanced", "moderate"])
    sure = rng.random() < 0.2  # hardly anybody is unmatched on the short side

    def masses(count: int, share: float) -> np.ndarray:
        if kind == "decades":
            return 10.0 ** rng.uniform(-6, 6, count)
        if kind == "balanced":
            return np.full(count, share / count)
        return rng.uniform(0.1, 1.0, count)

    def option(count: int) -> np.ndarray | float:
        return scale * rng.normal(size=count if shape.per_type else None)

    origins = [
        make_origin(
            x,
            masses(len(x), 1.0 / len(skills)),
            constant=scale * (rng.uniform(10, 60) if sure else rng.uniform(-4, 8)),
            outside_option=option(len(x)),
            nu_x=rng.uniform(-4, 2),
            nu_y=rng.uniform(-4, 2),
            name=f"origin{k}",
        )
        for k, x in enumerate(skills)
    ]
    firms = make_firms(
        characteristics, masses(shape.firms, 1.0), outside_option=option(shape.firms)
    )
    return make_economy(
        origins,
        firms,
        affinity=affinity,
        lambda_x=theta * scale,
        lambda_y=(1 - theta) * scale,
        intensity_unit=shape.unit,
    )


def stack(economies: list[Economy]) -> Economy:
    """Economies of one shape as a batch for ``vmap``."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *economies)
