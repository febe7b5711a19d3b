"""The ways to solve a matching problem that are compared: this project, plain loops, libraries.

A method takes a :class:`Problem` and returns a function that solves it anew at every call, from
types and masses to the potentials of ``log π = q + row + column``, with its iterations (or NaN).
Each stops where the margin error, ``Σ|margin − mass|`` of the worse side over the total mass, is
1e-9, by its own measure of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MARGIN = 1e-9
_MOST = 1_000_000  # iterations; the time bound comes first
_CHECK_EVERY = 10

Potentials = tuple[np.ndarray, np.ndarray, float]
Solver = Callable[[], Potentials]


@dataclass(frozen=True)
class Problem:
    """``q_ij = (x_i'A y_j + constant)/λ``, ``λ_x = λ_y = λ/2``, equal masses.

    With ``singles`` there are outside options: ``π = exp(q) √(f0 g0)``, with the partner space
    counted in ``constant``. Without, all are matched.
    """

    x: np.ndarray  # (N, d)
    y: np.ndarray  # (J, d)
    affinity: np.ndarray  # (d, d)
    constant: float
    mass: np.ndarray  # (N,), on both sides
    singles: bool

    @property
    def surplus(self) -> np.ndarray:
        """``q`` of every pair, ``(N, J)``."""
        return (self.x @ self.affinity) @ self.y.T + self.constant


def problem(count: int, skills: int, reach: float, singles: bool) -> Problem:
    """Individual types, uniform skills, ``q`` of a range ``reach`` about zero."""
    rng = np.random.default_rng([count, skills])
    x, y = rng.uniform(-0.5, 0.5, size=(2, count, skills))
    affinity = np.eye(1) if skills == 1 else rng.normal(size=(skills, skills))
    affinity *= reach / (0.5 * np.abs(affinity).sum())  # range of x'Ay over the cube
    constant = -np.log(count) if singles else 0.0
    return Problem(x, y, affinity, constant, np.full(count, 1.0 / count), singles)


def margin_error(p: Problem, row: np.ndarray, column: np.ndarray) -> float:
    """The margin error of potentials, summed block by block in NumPy whatever found them."""
    workers, firms = np.zeros(len(p.x)), np.zeros(len(p.y))
    left = p.x @ p.affinity
    for start in range(0, len(p.x), 500):
        part = slice(start, start + 500)
        log_pi = left[part] @ p.y.T + (p.constant + row[part])[:, None] + column[None, :]
        pi = np.exp(log_pi)
        workers[part] = pi.sum(1)
        firms += pi.sum(0)
    if p.singles:  # row = ½ log f0
        workers, firms = workers + np.exp(2.0 * row), firms + np.exp(2.0 * column)
    return max(np.abs(side - p.mass).sum() for side in (workers, firms)) / p.mass.sum()


# ---------------------------------------------------------------- this project


def shorematch(p: Problem) -> Solver:
    """Newton, kernel chosen by itself, certificate included where there are outside options."""
    from matching import (
        make_economy,
        make_firms,
        make_origin,
        solve_equilibrium,
        solve_fixed_margins,
    )
    from matching.kernel import Factors

    def with_singles() -> Potentials:
        constant = p.constant + np.log(len(p.mass))  # a density holds the partner space
        economy = make_economy(
            [make_origin(p.x, p.mass, constant=constant)], make_firms(p.y, p.mass),
            affinity=p.affinity, lambda_x=0.5, lambda_y=0.5, intensity_unit="density",
        )  # fmt: skip
        eq = solve_equilibrium(economy, throw=False)
        row, column = np.asarray(eq.log_unmatched[0]), np.asarray(eq.log_unmatched_firms)
        return 0.5 * row, 0.5 * column, float(eq.iterations)

    def fixed() -> Potentials:
        solution = solve_fixed_margins(Factors(p.x @ p.affinity, p.y), p.mass, p.mass, throw=False)
        row, column = -np.asarray(solution.multiplier_x), -np.asarray(solution.multiplier_y)
        return row - p.constant, column, float(solution.iterations)

    return with_singles if p.singles else fixed


# ---------------------------------------------------------------- plain loops


def plain_numpy(p: Problem) -> Solver:
    """IPFP on the stored kernel; half steps in closed form."""

    def solve() -> Potentials:
        kernel = np.exp(p.surplus)
        v = np.sqrt(p.mass)
        for iteration in range(1, _MOST):  # noqa: B007
            u = _half_step(kernel @ v, p)
            sums = kernel.T @ u
            if np.abs(_margin(v, sums, p) - p.mass).sum() <= MARGIN * p.mass.sum():
                break
            v = _half_step(sums, p)
        return np.log(u), np.log(v), iteration

    return solve


def plain_jax(p: Problem) -> Solver:
    """The same as one compiled program."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def run(x, y, mass):
        kernel = jnp.exp((x @ p.affinity) @ y.T + p.constant)

        def step(state):
            _, v, _, iteration = state
            u = _half_step(kernel @ v, p, jnp)
            sums = u @ kernel
            error = jnp.abs(_margin(v, sums, p) - mass).sum() / mass.sum()
            return u, jnp.where(error > MARGIN, _half_step(sums, p, jnp), v), error, iteration + 1

        start = (mass, jnp.sqrt(mass), jnp.inf, 0)
        return jax.lax.while_loop(lambda s: (s[2] > MARGIN) & (s[3] < _MOST), step, start)

    def solve() -> Potentials:
        u, v, _, iteration = jax.block_until_ready(run(p.x, p.y, p.mass))
        return np.log(u), np.log(v), float(iteration)

    return solve


def _half_step(sums, p: Problem, xp=np):
    """``u`` with ``u² + u·sums = mass`` where there are outside options, else ``u·sums = mass``."""
    if not p.singles:
        return p.mass / sums
    # the root without cancellation: sums may be far larger than the mass
    return 2.0 * p.mass / (sums + xp.sqrt(sums**2 + 4.0 * p.mass))


def _margin(v, sums, p: Problem):
    return v * sums + (v**2 if p.singles else 0.0)


# ---------------------------------------------------------------- libraries


def ott(p: Problem) -> Solver | None:
    """ott-jax: Sinkhorn on the stored kernel; no outside options of this kind."""
    if p.singles:
        return None
    import jax
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    solver = sinkhorn.Sinkhorn(
        threshold=MARGIN, max_iterations=_MOST, inner_iterations=_CHECK_EVERY, lse_mode=False
    )

    @jax.jit
    def run(cost, mass):
        geom = geometry.Geometry(cost_matrix=cost, epsilon=1.0)
        return solver(linear_problem.LinearProblem(geom, a=mass, b=mass))

    def solve() -> Potentials:
        out = jax.block_until_ready(run(-p.surplus, p.mass))
        iterations = float(_CHECK_EVERY * np.sum(np.asarray(out.errors) >= 0))
        return np.asarray(out.f), np.asarray(out.g), iterations

    return solve


def pot(p: Problem) -> Solver | None:
    """POT: its ``sinkhorn``; no outside options of this kind."""
    if p.singles:
        return None
    import ot as pot

    def solve() -> Potentials:
        # it measures the 2-norm of one side's error
        _, log = pot.sinkhorn(
            p.mass, p.mass, -p.surplus, 1.0, stopThr=MARGIN / len(p.mass) ** 0.5,
            numItermax=_MOST, log=True, warn=False,
        )  # fmt: skip
        return np.log(log["u"]), np.log(log["v"]), float(log["niter"])

    return solve


def cupid(p: Problem) -> Solver:
    """cupid_matching: Choo and Siow's market, with or without singles; no count of iterations."""
    from cupid_matching import ipfp_solvers

    def solve_to(tolerance: float) -> Potentials:
        options = {"tol": tolerance, "maxiter": _MOST}
        if p.singles:
            matching = ipfp_solvers.ipfp_homoskedastic_solver(
                2.0 * p.surplus, p.mass, p.mass, **options
            )[0]
            return 0.5 * np.log(matching.mux0), 0.5 * np.log(matching.mu0y), np.nan
        matches = ipfp_solvers.ipfp_homoskedastic_no_singles_solver(
            2.0 * p.surplus, p.mass, p.mass, **options
        )[0]
        log = np.log(matches) - p.surplus  # row + column
        return log[:, 0] - log[0, 0], log[0], np.nan

    tolerance = 0.0

    def solve() -> Potentials:
        nonlocal tolerance
        if tolerance:
            return solve_to(tolerance)
        # at first: it is on the change of the solution, the loosest that reaches the margins
        for tolerance in (MARGIN, 1e-1 * MARGIN, 1e-2 * MARGIN, 1e-3 * MARGIN):
            found = solve_to(tolerance)
            if margin_error(p, *found[:2]) <= MARGIN:
                break
        return found

    return solve


def keops(p: Problem) -> Solver:
    """KeOps: the same IPFP in logs, sums over pairs that are never stored."""
    import torch
    from pykeops.torch import LazyTensor

    def solve() -> Potentials:
        left = torch.from_numpy(p.x @ p.affinity)[:, None, :]
        right, mass = torch.from_numpy(p.y)[None, :, :], torch.from_numpy(p.mass)
        log_mass = torch.log(mass)

        def log_sums(one: torch.Tensor, other: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            pairs = (LazyTensor(one) * LazyTensor(other)).sum(-1)
            pairs = pairs + LazyTensor(weight[None, :, None])
            return pairs.logsumexp(dim=1)[:, 0] + p.constant

        def half_step(log: torch.Tensor) -> torch.Tensor:
            if not p.singles:
                return log_mass - log
            return -torch.asinh(0.5 * torch.exp(log - 0.5 * log_mass)) + 0.5 * log_mass

        back = (right.transpose(0, 1).contiguous(), left.transpose(0, 1).contiguous())
        column = 0.5 * log_mass
        for iteration in range(1, _MOST):  # noqa: B007
            row = half_step(log_sums(left, right, column))
            log = log_sums(*back, row)
            margin = torch.exp(log + column) + (torch.exp(2.0 * column) if p.singles else 0.0)
            if float((margin - mass).abs().sum()) <= MARGIN:
                break
            column = half_step(log)
        return row.numpy(), column.numpy(), iteration

    return solve


def start_jax() -> None:
    """Whatever JAX takes for itself, taken."""
    import jax

    jax.block_until_ready(jax.jit(lambda x: x + 1.0)(1.0))


METHODS: dict[str, Callable[[Problem], Solver | None]] = {
    "shorematch": shorematch,
    "NumPy IPFP": plain_numpy,
    "JAX IPFP": plain_jax,
    "ott-jax": ott,
    "POT": pot,
    "cupid_matching": cupid,
    "KeOps": keops,
}
COMPILED = ("shorematch", "JAX IPFP", "ott-jax")  # by JAX
PACKAGES = {"ott-jax": "ott-jax", "POT": "POT", "cupid_matching": "cupid-matching",
            "KeOps": "pykeops"}  # fmt: skip
