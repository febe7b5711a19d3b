"""The matching model with offshoring: economies, equilibria, statistics."""

from matching.batches import solve_batch
from matching.economy import (
    Economy,
    Firms,
    Origin,
    convert_intensity,
    make_economy,
    make_firms,
    make_origin,
)
from matching.equilibrium import Equilibrium
from matching.errors import InvalidInput, NotConverged, PrecisionError, ShorematchError
from matching.fixed_margins import FixedMargins, solve_fixed_margins
from matching.kernel import Factors
from matching.kernel_choice import choose_kernel, explain_kernel
from matching.parameters import get_parameter, parameter_names, with_parameter
from matching.sharding import solve_sharded
from matching.solve import solve_equilibrium
from matching.statistics import STATISTICS, statistics
from matching.status import Status

__all__ = [
    "STATISTICS",
    "Economy",
    "Equilibrium",
    "Factors",
    "Firms",
    "FixedMargins",
    "InvalidInput",
    "NotConverged",
    "Origin",
    "PrecisionError",
    "ShorematchError",
    "Status",
    "choose_kernel",
    "convert_intensity",
    "explain_kernel",
    "get_parameter",
    "make_economy",
    "make_firms",
    "make_origin",
    "parameter_names",
    "solve_batch",
    "solve_equilibrium",
    "solve_fixed_margins",
    "solve_sharded",
    "statistics",
    "with_parameter",
]
