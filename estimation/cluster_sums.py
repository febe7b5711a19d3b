"""What a sample of clusters says of cells of matches, and how far its estimates may be off."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse


@dataclass(frozen=True)
class ClusterSums:
    """Mass and wage bill of each of ``C`` clusters in each of ``NJ`` cells, and squared wages."""

    mass: scipy.sparse.csr_array  # (C, NJ)
    bill: scipy.sparse.csr_array  # (C, NJ)
    squares: np.ndarray  # of all cells, times mass, (C,)

    @property
    def clusters(self) -> int:
        """``C``."""
        return int(self.mass.shape[0])

    def cells(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Shares and mean wages of cells, ``(NJ,)``, and the variance of wages within them.

        With each cluster so many ``times (C,)``. The mean wage of a cell without mass is zero.
        """
        mass, bill = times @ self.mass, times @ self.bill
        mean = np.divide(bill, mass, out=np.zeros_like(bill), where=mass > 0)
        variance = (times @ self.squares - mass @ mean**2) / mass.sum()
        return mass / mass.sum(), mean, max(float(variance), 0.0)

    def covariance(
        self, times: np.ndarray, by_share: np.ndarray, by_wage: np.ndarray
    ) -> np.ndarray:
        """Of estimates ``(P,)``, by the influence of each cluster; slopes are ``(P, NJ)``.

        A match moves the share of its cell by its mass, and the mean wage by its distance from it.
        """
        share, mean, _ = self.cells(times)
        per_wage = np.divide(by_wage, share, out=np.zeros_like(by_wage), where=share > 0)
        per_mass = by_share - (by_share @ share)[:, None] - per_wage * mean
        influence = (self.mass @ per_mass.T + self.bill @ per_wage.T) / (times @ self.mass).sum()
        return np.asarray(influence.T @ (times[:, None] * influence))


def cluster_sums(
    labels: np.ndarray, cell: np.ndarray, weight: np.ndarray, wage: np.ndarray, cells: int
) -> ClusterSums:
    """Of matches with cluster ``labels``, numbered from 0, in ``cell`` of so many ``cells``."""
    shape = (int(labels.max()) + 1, cells)
    mass, bill = (
        scipy.sparse.csr_array((v, (labels, cell)), shape=shape) for v in (weight, weight * wage)
    )
    return ClusterSums(mass, bill, np.bincount(labels, weight * wage**2))
