r"""Coarse versions of an image, and the smoothing that makes a loss surface walkable.

A displacement of 2 d pixels on one level is one of d pixels on the next: both images of a pair are halved by the same
filter on the same grid, so whatever that filter does to the position of a pixel centre it does to both, and the
displacement only changes its unit. There is no half-pixel to lose.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ._checks import Image, Mask

# the binomial filter of even length: the coarse pixel lies midway between two fine ones
_HALVING = (0.125, 0.375, 0.375, 0.125)


def halve(image: Image) -> Image:
    r"""Return the image at half the resolution, low-pass filtered before every second pixel is dropped.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        float32 or float64; H and W at least 2.

    Returns
    -------
    ndarray of shape (H // 2, W // 2)
        The centre of its pixel (i, j) lies at (2 i + 1/2, 2 j + 1/2) of `image`.

    Notes
    -----
    Each axis in turn is filtered by :math:`(1, 3, 3, 1) / 8`, whose response :math:`\cos^3(\omega / 2)` falls to zero
    at the old Nyquist frequency. The edge pixels are repeated outside.

    Examples
    --------
    >>> import numpy as np
    >>> halve(np.arange(8.0) * np.ones((4, 1)))
    array([[0.625, 2.5  , 4.5  , 6.375],
           [0.625, 2.5  , 4.5  , 6.375]])
    """
    return np.ascontiguousarray(_halve_rows(_halve_rows(image).T).T)


def _halve_rows(image: Image) -> Image:
    """Filter and thin out along the first axis."""
    half = image.shape[0] // 2
    padded = np.concatenate((image[:1], image[: 2 * half], image[min(2 * half, image.shape[0] - 1) :][:1]))
    taps = [image.dtype.type(tap) for tap in _HALVING]
    out = taps[0] * padded[0 : 2 * half : 2]
    for offset, tap in enumerate(taps[1:], start=1):
        out += tap * padded[offset : offset + 2 * half : 2]
    return out


def halve_mask(mask: Mask | None) -> Mask | None:
    """Return the mask of coarse pixels all of whose sixteen fine ones may be used.

    Examples
    --------
    >>> import numpy as np
    >>> fine = np.ones((4, 8), np.uint8)
    >>> fine[0, 0] = 0
    >>> halve_mask(fine)
    array([[0, 1, 1, 1],
           [1, 1, 1, 1]], dtype=uint8)
    """
    if mask is None:
        return None
    return (halve(mask.astype(np.float32)) > 1 - 1e-6).astype(np.uint8)


def levels(shape: tuple[int, int], *, smallest: int = 32) -> int:
    """Return how many levels a pyramid has whose coarsest image is not below `smallest` pixels along its short side.

    Examples
    --------
    >>> levels((341, 400)), levels((3200, 3700)), levels((20, 500))
    (4, 7, 1)
    """
    return max(1, 1 + int(math.log2(max(min(shape) / smallest, 1))))


def smooth(image: Image, sigma: float) -> Image:
    r"""Return the image convolved with a Gaussian, normalised at the borders to what lies inside.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        float32 or float64.
    sigma : float
        In pixels; 0 returns the image itself.

    Notes
    -----
    .. math:: \frac{\sum_t g(t) A(x + t)}{\sum_t g(t)}, \qquad g(t) = e^{-t^2 / 2\sigma^2}

    along each axis in turn, over the taps with :math:`|t| \le 4\sigma` that lie inside the frame.
    """
    if sigma == 0:
        return image
    return np.ascontiguousarray(_smooth_rows(_smooth_rows(image, sigma).T, sigma).T)


def _smooth_rows(image: Image, sigma: float) -> Image:
    """Smooth along the first axis."""
    length = image.shape[0]
    reach = min(math.ceil(4 * sigma), length - 1)
    taps = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    out = taps[0].astype(image.dtype) * image
    share: NDArray[np.float64] = np.full(length, taps[0])
    for t in range(1, reach + 1):
        tap = taps[t].astype(image.dtype)
        out[t:] += tap * image[:-t]
        out[:-t] += tap * image[t:]
        share[t:] += taps[t]
        share[:-t] += taps[t]
    out /= share.astype(image.dtype)[:, None]
    return out
