"""Where data leave parameters open, no estimator gives them an error, and each names them."""

import pytest

from tests.weak_designs import DESIGNS


@pytest.mark.parametrize("design", DESIGNS)
def test_weak_designs_have_no_errors_and_are_named(design):
    assert all(design(seed).refused for seed in range(3))
