"""Coordinates turn ``exp(u·v)`` into a Gaussian between scalings, whatever is scaled and moved."""

import numpy as np
import pytest

from matching.coordinates import Frame, equal_spread, grouped, least_dense


def _sides(dimensions, seed=0):
    """Two sides with a few types far out, and potentials of some density."""
    rng = np.random.default_rng(seed)
    u, v = rng.pareto(2.0, (400, dimensions)), rng.standard_t(3, size=(300, dimensions))
    u *= 40.0 / np.ptp(u @ v.T)
    potentials = -0.5 * (u**2).sum(1), -0.5 * (v**2).sum(1)
    return u, v, potentials


def _equal_spread(u, v):
    return equal_spread(u, v, np.full(len(u), 1 / len(u)), np.full(len(v), 1 / len(v)))


def _largest(frame, u, v, potentials):
    """The largest log densities of either side, added up."""
    shifts = frame.shifts(u, v, frame.points(u, v))
    return sum((shift + p).max() for shift, p in zip(shifts, potentials, strict=True))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_every_frame_writes_the_affinity_as_shifts_and_a_distance(dimensions):
    u, v, potentials = _sides(dimensions)
    spread, alike = _equal_spread(u, v)
    least = least_dense(spread, alike, u, v, potentials)
    near = least.points(u, v)
    frames = (spread, alike), (least, near), grouped(spread, alike), grouped(least, near)
    for frame, points in frames:
        for side, other in zip(points, frame.points(u, v), strict=True):
            for given, found in zip(side, other, strict=True):
                np.testing.assert_allclose(given, found, rtol=0, atol=1e-13 * np.abs(found).max())
        shift_x, shift_y = frame.shifts(u, v, points)
        distance = sum(((x[:, None] - y[None]) ** 2).sum(2) for x, y in points)
        log_affinity = shift_x[:, None] + shift_y - 0.5 * distance
        scale = np.abs(shift_x).max() + np.abs(shift_y).max()
        np.testing.assert_allclose(log_affinity, u @ v.T, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_scale_or_move_of_a_coordinate_makes_the_largest_density_much_smaller(
    dimensions, seed
):
    u, v, potentials = _sides(dimensions, seed)
    spread, points = _equal_spread(u, v)
    frame = least_dense(spread, points, u, v, potentials)
    found = _largest(frame, u, v, potentials)
    density = (u @ v.T + potentials[0][:, None] + potentials[1]).max()
    assert density <= found <= _largest(spread, u, v, potentials) - 1.0
    # a smooth maximum is within a quarter of the log of how many there are
    slack = 0.25 * (np.log(len(u)) + np.log(len(v)))
    for k in range(dimensions):
        for scale in (0.5, 0.9, 1.1, 2.0):
            for move in (-1.0, 0.0, 1.0):
                factors = np.where(np.arange(dimensions) == k, scale, 1.0)
                into_y = frame.into_y[0] / factors
                other = Frame(
                    frame.centre_u + move * into_y[:, k],
                    frame.centre_v,
                    (frame.into_x[0] * factors,),
                    (into_y,),
                )
                assert found <= _largest(other, u, v, potentials) + slack


def test_types_that_match_nobody_do_not_count():
    u, v, (p, q) = _sides(2)
    some = u[:, 0] < np.quantile(u[:, 0], 0.9)
    spread, ((x, y),) = _equal_spread(u, v)
    among_all = least_dense(spread, [(x, y)], u, v, (np.where(some, p, -np.inf), q))
    alone = least_dense(spread, [(x[some], y)], u[some], v, (p[some], q))
    np.testing.assert_allclose(among_all.into_x[0], alone.into_x[0], rtol=1e-9)
    np.testing.assert_allclose(among_all.centre_u, alone.centre_u, rtol=1e-9)


def test_coordinates_in_which_nobody_differs_are_left_out():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(50, 3)), rng.normal(size=(40, 3))
    u[:, 1] = v[:, 1] = 2.0
    frame, points = grouped(*_equal_spread(u, v))
    assert [x.shape[1] for x, _ in points] == [a.shape[1] for a in frame.into_x] == [1, 1]
    nobody, points = grouped(*_equal_spread(u, 0.0 * v))
    assert [(x.shape[1], np.abs(x).max()) for x, _ in points] == [(1, 0.0)]
    assert np.abs(nobody.into_x[0]).max() == 0.0
