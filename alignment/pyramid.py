r"""Coarse versions of an image, and the filters that make a loss surface walkable.

A displacement of 2 d pixels on one level is one of d pixels on the next: both images of a pair are halved by the same
filter on the same grid, so whatever that filter does to the position of a pixel centre it does to both, and the
displacement only changes its unit. There is no half-pixel to lose.

Every filter here is separable and normalised. Where a mask hides pixels, each of them is a weighted mean of the pixels
that may be used, :math:`\sum h m A / \sum h m`, so that what lies under the mask never leaks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._checks import Image, Mask

# of even length, so that a coarse pixel lies midway between two fine ones
_HALVING = np.array([1.0, 3.0, 3.0, 1.0]) / 8.0
# the width in pixels below which a Gaussian leaves its neighbours less than any rounding
_NOTHING = 0.1
# the weights of usable pixels, out of 1, that make a filtered pixel usable
_ENOUGH = 0.5


class Masked(NamedTuple):
    """An image and which of its pixels may be used (None: all)."""

    image: Image
    mask: Mask | None = None


def halve(level: Masked) -> Masked:
    r"""Return an image at half the resolution, low-pass filtered before every second pixel is dropped.

    Parameters
    ----------
    level : Masked
        An image of shape (H, W), both at least 2, float32 or float64.

    Returns
    -------
    Masked
        Of shape (H // 2, W // 2). The centre of its pixel (i, j) lies at (2 i + 1/2, 2 j + 1/2) of the fine image.

    Notes
    -----
    Each axis is filtered by :math:`(1, 3, 3, 1) / 8`, whose response :math:`\cos^3(\omega / 2)` falls to zero at the
    old Nyquist frequency. Outside the frame its edge pixels are repeated.

    Examples
    --------
    >>> import numpy as np
    >>> halve(Masked(np.arange(8.0) * np.ones((4, 1)))).image
    array([[0.625, 2.5  , 4.5  , 6.375],
           [0.625, 2.5  , 4.5  , 6.375]])
    """
    return _filter(level, _HALVING, before=1, step=2)


def smooth(level: Masked, sigma: float) -> Masked:
    r"""Return an image convolved with a Gaussian, its edge pixels repeated outside.

    Parameters
    ----------
    level : Masked
    sigma : float
        In pixels; below 0.1 the level itself is returned.

    Notes
    -----
    .. math:: g(t) = e^{-t^2 / 2\sigma^2}, \qquad |t| \le 4\sigma

    along each axis, divided by its sum.
    """
    if sigma < _NOTHING:
        return level
    taps = smoothing_taps(sigma)
    return _filter(level, taps, before=len(taps) // 2, step=1)


def smoothing_taps(sigma: float) -> NDArray[np.float64]:
    """Return the weights that `smooth` runs along each axis.

    Examples
    --------
    >>> smoothing_taps(0), smoothing_taps(0.5).round(3)
    (array([1.]), array([0.   , 0.106, 0.787, 0.106, 0.   ]))
    """
    if sigma < _NOTHING:
        return np.ones(1)
    reach = max(1, math.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum())


def band_pass(level: Masked, sigma: float) -> Masked:
    """Return an image less its own Gaussian mean of width `sigma`: fine structure without slow changes of light."""
    return Masked(level.image - smooth(level, sigma).image, level.mask)


def edges(level: Masked) -> Masked:
    r"""Return the magnitude of the gradient of an image, by central differences.

    Contrast may differ or even be reversed between two images; where there is an edge in one there usually is one in
    the other.

    Notes
    -----
    .. math:: \sqrt{(A(x+1, y) - A(x-1, y))^2 + (A(x, y+1) - A(x, y-1))^2} / 2
    """
    image, mask = level
    if mask is not None:
        image = np.where(mask != 0, image, image.dtype.type(0))
    magnitude = np.empty_like(image)
    _kernels.gradient_magnitude(image, magnitude)
    if mask is not None:
        around = np.pad(mask, 1, mode="edge")
        mask = mask & around[1:-1, 2:] & around[1:-1, :-2] & around[2:, 1:-1] & around[:-2, 1:-1]
        magnitude *= mask
    return Masked(magnitude, mask)


def build(image: Image, mask: Mask | None, levels: int) -> list[Masked]:
    """Return a pyramid, the finest level first."""
    pyramid = [Masked(image, mask)]
    for _ in range(levels - 1):
        pyramid.append(halve(pyramid[-1]))
    return pyramid


def count_levels(shape: tuple[int, int], *, smallest: int) -> int:
    """Return how many levels a pyramid has whose coarsest image is not below `smallest` pixels along its short side.

    Examples
    --------
    >>> [count_levels(shape, smallest=64) for shape in ((341, 400), (3200, 3700), (20, 500))]
    [3, 6, 1]
    """
    return 1 + max(0, int(math.log2(min(shape) / smallest))) if min(shape) >= smallest else 1


def _filter(level: Masked, taps: NDArray[np.float64], *, before: int, step: int) -> Masked:
    """Filter along both axes, and keep every `step`-th pixel; `before` taps lie in front of the first pixel."""
    image, mask = level
    if mask is None:
        return Masked(_convolve(image, taps, before, step))
    share = _convolve(mask.astype(image.dtype), taps, before, step)
    total = _convolve(image * mask, taps, before, step)
    usable = share >= _ENOUGH
    if step == 1:
        usable &= mask != 0
    filtered = np.divide(total, share, out=np.zeros_like(total), where=usable)
    return Masked(filtered, np.ascontiguousarray(usable, np.uint8))


def _convolve(image: Image, taps: NDArray[np.float64], before: int, step: int) -> Image:
    """Run the kernel."""
    out = np.empty((image.shape[0] // step, image.shape[1] // step), image.dtype)
    weights = np.zeros(3 * math.ceil(len(taps) / 3), image.dtype)
    weights[: len(taps)] = taps
    _kernels.filter_separably(image, weights, weights, (-before, -before), step, out)
    return out
