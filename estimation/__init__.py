"""Estimation: from who works where, at what wage, and aggregates to the parameters of a market."""

from estimation.affinity import estimate_affinity
from estimation.basis import Basis, Term, make_basis
from estimation.calibration import Aggregates, Calibration, calibrate
from estimation.cells import Cells, given_cells, individual_cells, quantile_cells
from estimation.certificate import Certificate
from estimation.estimates import Bootstrap, CellFit, Estimates, Fit, Minimum
from estimation.identification import Identification, identify
from estimation.levels import ForeignSide, Market, matched_economy
from estimation.likelihood import estimate_with_wages
from estimation.minimum_distance import estimate_minimum_distance
from estimation.moments import MOMENTS, SampleMoments, sample_moments
from estimation.offshored import offshored_matches
from estimation.penalised_affinity import estimate_penalised_affinity
from estimation.penalties import PenaltyPath
from estimation.saliency import Saliency, saliency
from estimation.simulation import SimulatedMatches, simulate_matches
from estimation.standardise import STANDARDISATIONS, Standardised, standardise
from estimation.three_steps import estimate_three_steps

__all__ = [
    "MOMENTS",
    "STANDARDISATIONS",
    "Aggregates",
    "Basis",
    "Bootstrap",
    "Calibration",
    "CellFit",
    "Cells",
    "Certificate",
    "Estimates",
    "Fit",
    "ForeignSide",
    "Identification",
    "Market",
    "Minimum",
    "PenaltyPath",
    "Saliency",
    "SampleMoments",
    "SimulatedMatches",
    "Standardised",
    "Term",
    "calibrate",
    "estimate_affinity",
    "estimate_minimum_distance",
    "estimate_penalised_affinity",
    "estimate_three_steps",
    "estimate_with_wages",
    "given_cells",
    "identify",
    "individual_cells",
    "make_basis",
    "matched_economy",
    "offshored_matches",
    "quantile_cells",
    "saliency",
    "sample_moments",
    "simulate_matches",
    "standardise",
]
