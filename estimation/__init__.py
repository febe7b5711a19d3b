"""Estimation: affinity from who works where, likelihood with wages, calibration."""

from estimation.affinity import AffinityEstimate, estimate_affinity
from estimation.basis import Basis, Term, make_basis
from estimation.calibration import Aggregates, Calibration, calibrate
from estimation.cells import Cells, given_cells, individual_cells, quantile_cells
from estimation.certificate import Certificate
from estimation.estimates import Estimates, Fit, Minimum
from estimation.identification import Identification, identify
from estimation.levels import ForeignSide, Market, matched_economy
from estimation.likelihood import WageEstimate, estimate_with_wages, profile_interval
from estimation.minimum_distance import estimate_minimum_distance
from estimation.moments import MOMENTS, SampleMoments, sample_moments
from estimation.offshored import offshored_matches
from estimation.penalised_affinity import (
    PenalisedAffinity,
    PenaltyPath,
    estimate_penalised_affinity,
)
from estimation.saliency import Saliency, saliency
from estimation.simulation import SimulatedMatches, simulate_matches
from estimation.standardise import STANDARDISATIONS, Standardised, standardise
from estimation.three_steps import ThreeSteps, estimate_three_steps

__all__ = [
    "MOMENTS",
    "STANDARDISATIONS",
    "AffinityEstimate",
    "Aggregates",
    "Basis",
    "Calibration",
    "Cells",
    "Certificate",
    "Estimates",
    "Fit",
    "ForeignSide",
    "Identification",
    "Market",
    "Minimum",
    "PenalisedAffinity",
    "PenaltyPath",
    "Saliency",
    "SampleMoments",
    "SimulatedMatches",
    "Standardised",
    "Term",
    "ThreeSteps",
    "WageEstimate",
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
    "profile_interval",
    "quantile_cells",
    "saliency",
    "sample_moments",
    "simulate_matches",
    "standardise",
]
