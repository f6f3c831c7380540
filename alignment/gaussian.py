r"""A smoother kernel for the same double sum: interpolation and smoothing in one step, without a kink.

.. math:: A^*(x, y) = \sum_n \sum_m A[n, m]\, k(y_s - n)\, k(x_s - m), \qquad
    k(t) = \frac{e^{-t^2 / 2\sigma^2}}{\sum_j e^{-(t - j)^2 / 2\sigma^2}}

The hat leaves sharp content sharp at integers and blurs it in between, and averages noise away at half pixels: both
pull the minimum of a loss. The Gaussian blurs alike at every fraction, if the reference is sampled by it too, at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _checks

# taps at -4 ... 4 around the nearest pixel
REACH = 4


@dataclass(frozen=True)
class Gaussian:
    r"""The Gaussian interpolation kernel.

    Parameters
    ----------
    sigma : float
        Width in pixels, from 0.5 (below, a Gaussian is too narrow for the grid and its blur depends on the fraction)
        to 1 (above, nine taps cut it off).

    Notes
    -----
    At a fraction f in [-1/2, 1/2] the nine weights are, for the offsets j = -4 ... 4,

    .. math:: w_j = \frac{g_j}{S},\quad w'_j = \frac{(j - f)\, g_j}{\sigma^2 S} - w_j \frac{S'}{S}, \qquad
        g_j = e^{-(j - f)^2 / 2 \sigma^2},\; S = \sum_j g_j

    where the prime is the derivative with respect to the displacement.

    Examples
    --------
    >>> weights, slopes = Gaussian(0.8).taps(0.25)
    >>> round(float(weights.sum()), 12), round(float((weights * range(-4, 5)).sum()), 4)
    (1.0, 0.25)
    """

    sigma: float = 0.8

    def __post_init__(self) -> None:
        _checks.number_between("sigma", self.sigma, 0.5, 1.0)

    def taps(self, fraction: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the nine weights at a fraction of a pixel, and their derivatives along the displacement."""
        t = np.arange(-REACH, REACH + 1) - fraction
        g = np.exp(-0.5 * (t / self.sigma) ** 2)
        dg = t / self.sigma**2 * g
        total = g.sum()
        return g / total, dg / total - g * dg.sum() / total**2


def nearest(displacement: float) -> tuple[int, float]:
    """Split one coordinate of a displacement into the nearest whole pixel and the fraction in [-1/2, 1/2]."""
    whole = int(np.rint(displacement))
    return whole, displacement - whole
