"""Estimation: affinity from who works where, calibration from aggregates."""

from estimation.affinity import AffinityEstimate, estimate_affinity
from estimation.calibration import Aggregates, Calibration, calibrate
from estimation.certificate import Certificate
from estimation.saliency import Saliency, saliency
from estimation.standardise import STANDARDISATIONS, Standardised, standardise

__all__ = [
    "STANDARDISATIONS",
    "AffinityEstimate",
    "Aggregates",
    "Calibration",
    "Certificate",
    "Saliency",
    "Standardised",
    "calibrate",
    "estimate_affinity",
    "saliency",
    "standardise",
]
