r"""What the rows of sums of a pass say: variances, correlation, and how much of the slopes these explain.

A pass over two images adds up, over each of some rectangles, with :math:`u = A^* - u_0` and :math:`v = B - v_0` the
grey levels about fixed offsets and :math:`A_x, A_y` the slopes of the shifted image,

.. math:: u,\; v,\; u^2,\; u v,\; v^2,\; A_x,\; A_y,\; u A_x,\; u A_y,\; v A_x,\; v A_y,\; 1

in this order, and with the Gaussian kernel :math:`A_x B_x,\; A_x B_y,\; A_y B_x,\; A_y B_y` behind them. Whatever rows
are chosen, their sum is that over all their pixels, and everything about the mean follows from it.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Centred(NamedTuple):
    """Second moments of the shifted image and the reference about their means, from the sums of a pass.

    Attributes
    ----------
    n : float
        The number of pixels; with none, everything else is 0.
    mean_u, mean_v : float
        Of the grey levels about their offsets.
    var_a, var_b, covariance : float
        n times the variances of the two images, and n times their covariance.
    suu, svv : float
        The squares about the offsets: what rounding is relative to.
    """

    n: float
    mean_u: float
    mean_v: float
    var_a: float
    var_b: float
    covariance: float
    suu: float
    svv: float

    @classmethod
    def of(cls, total: NDArray[np.float64]) -> Centred:
        r"""Return the centred moments behind the first twelve sums of a pass.

        Notes
        -----
        .. math:: \sum \tilde A \tilde B = \sum u v - \frac{\sum u \sum v}{N}

        and so on: the offsets fall out.

        Examples
        --------
        >>> u, v = np.array([1.0, 2.0, 6.0]), np.array([0.0, 1.0, 5.0])
        >>> c = Centred.of(np.array([9.0, 6.0, u @ u, u @ v, v @ v, 0, 0, 0, 0, 0, 0, 3.0]))
        >>> c.var_a, c.covariance, round(c.rho, 12)
        (14.0, 14.0, 1.0)
        """
        su, sv, suu, suv, svv, *_, n = total.tolist()
        if n == 0:
            return cls(0, 0, 0, 0, 0, 0, 0, 0)
        return cls(n, su / n, sv / n, suu - su * su / n, svv - sv * sv / n, suv - su * sv / n, suu, svv)

    @property
    def rho(self) -> float:
        """The correlation coefficient."""
        return self.covariance / (sqrt(self.var_a) * sqrt(self.var_b))


def added(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first twelve sums over the pixels behind all of some rows."""
    total: NDArray[np.float64] = rows[:, :12].sum(axis=0)
    return total


def centred(rows: NDArray[np.float64]) -> Centred:
    """Return the centred moments over the pixels behind all of some rows."""
    return Centred.of(added(rows))


def correlation(rows: NDArray[np.float64]) -> float:
    """Return the correlation coefficient over the pixels behind some rows; nan where undefined."""
    c = centred(rows)
    return min(max(c.rho, -1.0), 1.0) if min(c.var_a, c.var_b) > 0 else float("nan")


def variance(rows: NDArray[np.float64]) -> float:
    """Return the variance of the reference's grey levels over the pixels behind some rows."""
    c = centred(rows)
    return c.var_b / c.n if c.n else 0.0


def explained(rows: NDArray[np.float64], c: Centred) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return by how much of a constant, and of the image itself, the slopes along x and y are explained.

    Notes
    -----
    The least-squares fit :math:`A_i \approx m_i + a_i \tilde u` has

    .. math:: m_i = \frac{\sum A_i}{N}, \qquad a_i = \frac{\sum \tilde u A_i}{\sum \tilde u^2}
    """
    slopes, products = rows[:, 5:7].sum(axis=0), rows[:, 7:9].sum(axis=0)
    return slopes / c.n, (products - c.mean_u * slopes) / c.var_a
