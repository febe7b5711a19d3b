"""Random economies over the whole range that the solvers must master."""

import numpy as np

from matching import Economy, make_economy, make_firms, make_origin


def random_economy(seed: int, shape: tuple[tuple[int, ...], int, int, int]) -> Economy:
    """One economy of ``shape = (worker types of each origin, firm types, m, n)``.

    λ_x/λ in [0.05, 0.95], λ in [1, 400], masses over 12 decades or equal and balanced or moderate,
    the range of q/λ up to 100, outside options scalar or per type, either intensity unit.
    """
    workers, firm_types, m, n = shape
    rng = np.random.default_rng([seed, *workers, firm_types, m, n])
    scale = 10.0 ** rng.uniform(0, np.log10(400))
    theta = rng.uniform(0.05, 0.95)
    affinity = rng.normal(size=(m, n))
    skills = [rng.uniform(0, 1, (count, m)) for count in workers]
    characteristics = rng.uniform(0, 1, (firm_types, n))
    product = np.concatenate(skills) @ affinity @ characteristics.T
    affinity *= scale * 10.0 ** rng.uniform(-1, 2) / max(np.ptp(product), 1e-3)
    kind = rng.choice(["decades", "balanced", "moderate"])

    def masses(count: int, share: float) -> np.ndarray:
        if kind == "decades":
            return 10.0 ** rng.uniform(-6, 6, count)
        if kind == "balanced":
            return np.full(count, share / count)
        return rng.uniform(0.1, 1.0, count)

    per_type = bool(rng.integers(2))

    def option(count: int) -> np.ndarray | float:
        return scale * rng.normal(size=count if per_type else None)

    origins = [
        make_origin(
            x,
            masses(len(x), 1.0 / len(workers)),
            constant=scale * rng.uniform(-4, 8),
            outside_option=option(len(x)),
            nu_x=rng.uniform(-4, 2),
            nu_y=rng.uniform(-4, 2),
            name=f"origin{k}",
        )
        for k, x in enumerate(skills)
    ]
    return make_economy(
        origins,
        make_firms(characteristics, masses(firm_types, 1.0), outside_option=option(firm_types)),
        affinity=affinity,
        lambda_x=theta * scale,
        lambda_y=(1 - theta) * scale,
        intensity_unit=str(rng.choice(["cell", "density"])),
    )


def random_shapes(count: int, seed: int = 0) -> list[tuple[tuple[int, ...], int, int, int]]:
    """``count`` shapes: 1-3 origins, 1-40 types a side in total, 1-4 dimensions each."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        origins = int(rng.integers(1, 4))
        workers = tuple(int(rng.integers(1, 40 // origins + 1)) for _ in range(origins))
        shapes.append(
            (workers, int(rng.integers(1, 41)), int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        )
    return shapes
