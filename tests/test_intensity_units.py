"""Intensities per cell and per density: the same equilibrium, or a refusal."""

from dataclasses import replace

import numpy as np
import pytest

from matching import (
    InvalidInput,
    convert_intensity,
    make_economy,
    make_firms,
    make_origin,
    solve_equilibrium,
    with_parameter,
)


def economy():
    """Two origins of 3 and 4 types, 5 firm types, equal masses within each side."""
    origins = [
        make_origin(np.linspace(0, 1, n), np.full(n, mass / n), constant=4.0 - mass, nu_x=-0.3,
                    nu_y=0.6, name=name)
        for n, mass, name in ((3, 1.0, "home"), (4, 0.6, "abroad"))
    ]  # fmt: skip
    firms = make_firms(np.linspace(0, 1, 5), np.full(5, 0.25))
    return make_economy(origins, firms, affinity=2.0, lambda_x=0.7, lambda_y=1.3)


def test_equal_masses_have_the_same_equilibrium_in_either_unit():
    per_cell = economy()
    per_density = convert_intensity(per_cell, "density")
    assert [float(o.nu_x) for o in per_density.origins] == pytest.approx([-0.3 + np.log(5)] * 2)
    assert [float(o.nu_y) for o in per_density.origins] == pytest.approx(
        [0.6 + np.log(3), 0.6 + np.log(4)]
    )
    cells, density = solve_equilibrium(per_cell), solve_equilibrium(per_density)
    for one, other in zip(cells.log_matches, density.log_matches, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    for one, other in zip(cells.wages, density.wages, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    back = convert_intensity(per_density, "cell")
    assert float(back.home.nu_y) == pytest.approx(0.6, abs=1e-15)
    assert convert_intensity(per_cell, "cell") is per_cell


def test_unequal_masses_are_refused_by_name_unless_the_equilibrium_may_move():
    uneven = with_parameter(economy(), "origin.abroad.mass", [0.1, 0.1, 0.1, 0.3])
    with pytest.raises(InvalidInput, match=r"^origin\.abroad\.mass: types have unequal masses"):
        convert_intensity(uneven, "density")
    shifted = convert_intensity(uneven, "density", approximate=True)
    # e^entropy of shares (1/6, 1/6, 1/6, 1/2) is 6^½ 2^½: the effective number of types
    expected = float(uneven.origins[1].nu_y) + 0.5 * np.log(12)
    assert float(shifted.origins[1].nu_y) == pytest.approx(expected, abs=1e-14)
    with pytest.raises(InvalidInput, match="'cells' is unknown"):
        convert_intensity(replace(uneven), "cells")
