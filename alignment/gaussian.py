r"""A smoother kernel for the same double sum: interpolation and smoothing in one step, without a kink.

.. math:: A^*(x, y) = \sum_n \sum_m A[n, m]\, k(y_s - n)\, k(x_s - m), \qquad
    k(t) = \frac{e^{-t^2 / 2\sigma^2}}{\sum_j e^{-(t - j)^2 / 2\sigma^2}}

The hat leaves sharp content sharp at integers and blurs it in between, and averages noise away at half pixels: both
pull the minimum of a loss. The Gaussian blurs alike at every fraction, if the reference is sampled by it too, at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks, _kernels
from ._checks import Image, Mask

# taps at -4 ... 4 around the nearest pixel
REACH = 4
# below, a Gaussian is too narrow for the grid, and its blur depends on the fraction; above, nine taps cut it off
NARROWEST, WIDEST = 0.5, 1.2
# of neighbouring pixels, in photographs
_CORRELATION = 0.98


@dataclass(frozen=True)
class Gaussian:
    r"""The Gaussian interpolation kernel.

    Parameters
    ----------
    sigma : float
        Width in pixels, from 0.5 (below, a Gaussian is too narrow for the grid and its blur depends on the fraction)
        to 1.2 (above, nine taps cut it off).

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
        _checks.number_between("sigma", self.sigma, NARROWEST, WIDEST)

    def twice(self) -> Twice:
        """Return the kernel that does what this one does to what it has smoothed before."""
        return Twice(self.sigma)

    def taps(self, fraction: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the nine weights at a fraction of a pixel, and their derivatives along the displacement."""
        weights, slopes, _ = self.derivatives(fraction)
        return weights, slopes

    def derivatives(self, fraction: float) -> NDArray[np.float64]:
        r"""Return the nine weights, and their first and second derivatives along the displacement.

        Returns
        -------
        ndarray of shape (3, 9)

        Notes
        -----
        By the quotient rule for :math:`w = g / S`,

        .. math:: w' = \frac{g' - w S'}{S}, \quad w'' = \frac{g'' - 2 w' S' - w S''}{S}, \qquad
            g' = \frac{t}{\sigma^2} g,\; g'' = \left(\frac{t^2}{\sigma^4} - \frac{1}{\sigma^2}\right) g,\; t = j - f
        """
        return _derivatives(self.sigma, _checks.number_between("fraction", fraction, -1, 1)).copy()


class Twice(Gaussian):
    r"""A Gaussian after itself, at fraction 0, in nine taps.

    Notes
    -----
    One after the other they have seventeen taps t. A Gaussian wider by the root of 2, cut off after nine, would be a
    poor stand-in: of a ramp, sigma = 1.2 would show 6 % less than the slope. The nine taps u here differ least from
    the seventeen on a scene in which pixels m apart correlate by :math:`R_m = 0.98^m`, as in photographs, among those
    that show a constant as these do, however bright it is:

    .. math:: u = \arg\min_{1'u = 1't}\, (E u - t)' R (E u - t) = u_0 + Q^{-1} 1\, \frac{1't - 1'u_0}{1' Q^{-1} 1},
        \qquad Q = E' R E,\; u_0 = Q^{-1} E' R\, t

    with E putting nine taps in the middle of seventeen.

    Examples
    --------
    >>> once, twice = Gaussian(1.2), Gaussian(1.2).twice()
    >>> slopes = [-(np.arange(len(taps)) @ taps) for taps in (once.taps(0)[1], twice.taps(0)[1])]
    >>> [round(float(slope), 3) for slope in slopes]
    [-0.998, -0.982]
    """

    def all_taps(self, fraction: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return all seventeen weights at a fraction of a pixel, and their derivatives along the displacement."""
        weights, slopes, _ = _seventeen(self.sigma, _checks.number_between("fraction", fraction, -1, 1))
        return weights, slopes

    def derivatives(self, fraction: float) -> NDArray[np.float64]:
        """Return the nine weights, and their first and second derivatives along the displacement."""
        return _nine_of_seventeen(self.sigma, _checks.number_between("fraction", fraction, -1, 1)).copy()


def _seventeen(sigma: float, fraction: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian after itself, at fraction 0, and their first and second derivatives."""
    return np.stack([np.convolve(_derivatives(sigma, 0.0)[0], taps) for taps in _derivatives(sigma, fraction)])


@lru_cache(maxsize=64)
def _nine_of_seventeen(sigma: float, fraction: float) -> NDArray[np.float64]:
    """Return the nine taps, for the weights and their derivatives, that differ least from seventeen."""
    seventeen = _seventeen(sigma, fraction).T
    R = _CORRELATION ** np.abs(np.subtract.outer(np.arange(17), np.arange(17)))[REACH:-REACH]
    free, constant = np.split(np.linalg.solve(R[:, REACH:-REACH], np.column_stack([R @ seventeen, np.ones(9)])), [3], 1)
    missing = seventeen.sum(axis=0) - free.sum(axis=0)
    return np.asarray((free + constant * (missing / constant.sum())).T)


@lru_cache(maxsize=64)  # a registration asks for the same few many times
def _derivatives(sigma: float, fraction: float) -> NDArray[np.float64]:
    """Return the nine weights, and their first and second derivatives."""
    t = np.arange(-REACH, REACH + 1) - fraction
    g = np.exp(-0.5 * (t / sigma) ** 2)
    dg = t / sigma**2 * g
    ddg = (t**2 / sigma**4 - 1 / sigma**2) * g
    S, dS, ddS = g.sum(), dg.sum(), ddg.sum()
    w = g / S
    dw = (dg - w * dS) / S
    return np.stack([w, dw, (ddg - 2 * dw * dS - w * ddS) / S])


def nearest(displacement: float) -> tuple[int, float]:
    """Split one coordinate of a displacement into the nearest whole pixel and the fraction in [-1/2, 1/2).

    Of two pixels as near it is the right one, at every pixel alike.
    """
    whole = math.floor(displacement + 0.5)
    return whole, displacement - whole


def sample(
    image: Image, dx: float, dy: float, kernel: Gaussian, order: tuple[int, int] = (0, 0), *, boundary: str = "zero"
) -> Image:
    r"""Return an interpolated image, or a derivative of it, at every pixel of its own frame.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        float32 or float64.
    dx, dy : float
        Displacement in pixels.
    kernel : Gaussian
    order : (int, int)
        How often to differentiate along dx and along dy, each 0, 1 or 2.
    boundary : {"zero", "edge", "wrap"}
        What lies outside the frame: zeros, the nearest pixel of the frame, or the image again.

    Returns
    -------
    ndarray of shape (H, W)

    Examples
    --------
    >>> ramp = np.arange(12.0) * np.ones((12, 1))
    >>> sample(ramp, 0.25, 0.0, Gaussian(0.8), boundary="edge")[6, 6].round(4)
    np.float64(6.25)
    >>> sample(ramp, 0.25, 0.0, Gaussian(0.8), (1, 0), boundary="edge")[6, 6].round(3)
    np.float64(1.0)
    """
    (kx, fx), (ky, fy) = nearest(dx), nearest(dy)
    height, width = image.shape
    if boundary == "wrap":
        image = np.pad(np.roll(image, (-(ky % height), -(kx % width)), axis=(0, 1)), REACH, mode="wrap")
        first = 0, 0
    else:  # beyond a whole frame and the reach of the taps nothing changes any more
        border = (
            1 if boundary == "zero" else 0
        )  # the kernel repeats the outermost pixels: those zeros, if there are any
        image = np.pad(image, border)
        most = REACH - 1 + border
        ky, kx = (max(min(k, size + most), -size - most) for k, size in ((ky, height), (kx, width)))
        first = ky - REACH + border, kx - REACH + border
    taps_x, taps_y = (kernel.derivatives(f)[n].astype(image.dtype) for f, n in zip((fx, fy), order, strict=True))
    out = np.empty((height, width), image.dtype)
    _kernels.filter_separably(np.ascontiguousarray(image), taps_y, taps_x, first, 1, out)
    return out


def taps_of(kernel: Gaussian, fraction: float, dtype: Any) -> NDArray[Any]:
    """Return weights and slopes, of shape (2, 9), in the dtype of the images, so that a kernel stays in it."""
    return kernel.derivatives(fraction)[:2].astype(dtype)


class Fields(NamedTuple):
    """An interpolated image and its first and second derivatives along the displacement, each of one shape."""

    value: Image
    x: Image
    y: Image
    xx: Image
    xy: Image
    yy: Image


def fields(image: Image, mask: Mask | None, dx: float, dy: float, kernel: Gaussian) -> Fields:
    r"""Return an interpolated image with its first and second derivatives; zeros outside the frame.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        float32 or float64.
    mask : uint8 ndarray of shape (H, W), optional
        1 where a pixel may be used; the others have no weight, and those that have share it out.
    dx, dy : float
        Displacement in pixels.
    kernel : Gaussian

    Returns
    -------
    Fields

    Notes
    -----
    With F the sum of usable grey levels and W that of usable weights under the taps,

    .. math:: A^* = \frac{F}{W}, \quad A_i = \frac{F_i - A^* W_i}{W}, \quad
        A_{ij} = \frac{F_{ij} - A_i W_j - A_j W_i - A^* W_{ij}}{W}
    """
    orders = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    if mask is None:
        return Fields(*(sample(image, dx, dy, kernel, order) for order in orders))
    hidden = (mask == 0).astype(image.dtype)
    shown = np.where(mask != 0, image, image.dtype.type(0))
    F = Fields(*(sample(shown, dx, dy, kernel, order) for order in orders))
    # what lies outside the frame is not hidden but zero
    missing = Fields(*(sample(hidden, dx, dy, kernel, order) for order in orders))
    W = Fields(1 - missing.value, *(-field for field in missing[1:]))
    inverse = np.divide(1, W.value, out=np.zeros_like(W.value), where=W.value > 1e-6)
    value = F.value * inverse
    x, y = (F.x - value * W.x) * inverse, (F.y - value * W.y) * inverse
    return Fields(
        value,
        x,
        y,
        (F.xx - 2 * x * W.x - value * W.xx) * inverse,
        (F.xy - x * W.y - y * W.x - value * W.xy) * inverse,
        (F.yy - 2 * y * W.y - value * W.yy) * inverse,
    )
