r"""One curve that turns the grey levels of one image into those of another.

A negative, another exposure, another film: where one image is a function of the other, level by level, its edges look
alike, but not in the same place. A soft edge whose tones are bent has its steepest slope elsewhere, and what is
compared by edges is displaced by that. Through the curve the levels can be compared themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._checks import Image
from .bilinear import shift
from .losses import Window
from .pyramid import Masked

# of the polynomial: a line, and bent twice
_DEGREE = 3
# the share that a curve explains where two images differ in their tones and in little else, and how much of what an
# increasing line, another gain and offset, leaves may still be left
_ENOUGH = 0.9
_LEFT = 0.5


@dataclass(frozen=True)
class ToneCurve:
    """A polynomial of grey levels.

    Attributes
    ----------
    coefficients : ndarray
        Of the powers of the level, which is counted from `middle` in units of `unit`.
    middle, unit : float
        In grey levels.
    range : (float, float)
        The levels that were seen; those beyond are taken for the nearest of them.
    share, of_gain : float
        How much of the variance of the other image the curve explains, and how much gain and offset, in [0, 1].
    """

    coefficients: NDArray[np.float64]
    middle: float
    unit: float
    range: tuple[float, float]
    share: float
    of_gain: float

    @property
    def tells(self) -> bool:
        """Whether the two images differ in their tones, by more than gain and offset, and in little else."""
        return self.share >= _ENOUGH and 1 - self.share <= _LEFT * (1 - self.of_gain)

    def __call__(self, image: Masked) -> Masked:
        """Return an image with its levels turned."""
        levels = (np.clip(image.image, *self.range) - self.middle) / self.unit
        turned = np.polynomial.polynomial.polyval(levels, self.coefficients.astype(levels.dtype))
        return Masked(np.ascontiguousarray(turned, image.image.dtype), image.mask)


def tone_curve(reference: Masked, moving: Masked, at: tuple[float, float], window: Window) -> ToneCurve | None:
    r"""Return the curve that explains most of the reference by the moving image at a displacement.

    Parameters
    ----------
    reference, moving : Masked
        Of one shape (H, W), smoothed: noise of the moving image flattens the curve.
    at : (dx, dy)
        In pixels.
    window : (top, bottom, left, right)
        The pixels of the reference to look at.

    Returns
    -------
    ToneCurve or None
        None where the window shows too little, or a single level.

    Notes
    -----
    The coefficients minimise :math:`\sum (B - \sum_k c_k A^k)^2`, and the share is
    :math:`1 - \operatorname{var}(B - f(A)) / \operatorname{var}(B)`: the correlation ratio, with a polynomial in place
    of the mean in each bin.

    References
    ----------
    A. Roche, G. Malandain, X. Pennec, N. Ayache, "The correlation ratio as a new similarity measure for multimodal
    image registration", MICCAI 1998.

    Examples
    --------
    >>> levels = np.random.default_rng(0).uniform(0.2, 1, (40, 50))
    >>> curve = tone_curve(Masked(1 - levels**2), Masked(levels), (0.0, 0.0), (0, 40, 0, 50))
    >>> round(curve.share, 6), curve(Masked(np.array([[0.5, 0.9]]))).image.round(6)
    (1.0, array([[0.75, 0.19]]))
    """
    seen = _seen(reference, moving, at, window)
    if seen is None:
        return None
    B, A = seen
    middle, unit = float(A.mean()), float(A.std())
    variance = float(B.var())
    if not unit > 0 or not variance > 0:
        return None
    powers = np.vander((A - middle) / unit, _DEGREE + 1, increasing=True)
    coefficients = np.asarray(np.linalg.lstsq(powers, B, rcond=None)[0], np.float64)
    left = float((B - powers @ coefficients).var())
    slope = float(np.mean((A - middle) / unit * (B - B.mean())))
    return ToneCurve(
        coefficients=coefficients,
        middle=middle,
        unit=unit,
        range=(float(A.min()), float(A.max())),
        share=max(1 - left / variance, 0.0),
        of_gain=max(slope, 0.0) ** 2 / variance,
    )


def _seen(
    reference: Masked, moving: Masked, at: tuple[float, float], window: Window
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the levels of both images where both may be used; None if they are too few."""
    dx, dy = at
    height, width = reference.image.shape
    top, bottom = max(window[0], int(np.ceil(-dy))), min(window[1], int(np.floor(height - 1 - dy)))
    left, right = max(window[2], int(np.ceil(-dx))), min(window[3], int(np.floor(width - 1 - dx)))
    if bottom - top < 2 or right - left < 2:
        return None
    inside = np.s_[top:bottom, left:right]
    used = np.ones((bottom - top, right - left), np.bool_)
    if reference.mask is not None:
        used &= reference.mask[inside] != 0
    if moving.mask is not None:
        used &= _laid(moving.mask.astype(np.float32), at)[inside] >= 1
    if used.sum() < 8 * (_DEGREE + 1):
        return None
    B, A = reference.image[inside][used], _laid(moving.image, at)[inside][used]
    return B.astype(np.float64), A.astype(np.float64)


def _laid(image: Image, at: tuple[float, float]) -> Image:
    return np.asarray(shift(image, *at))
