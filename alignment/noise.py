r"""How much noise one image has, without taking its structure for noise.

Small patches of a photograph are alike: a few patterns (a grey level, slopes, edges) make up most of what they show.
Along all other directions in the space of patches there is nothing but noise, equally much along each. So the smallest
eigenvalues of the patches' covariance are the variance of the noise, whatever the scene. A high-pass filter, the usual
way, takes whatever texture passes it for noise.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError

# pixels along the side of a patch
_SIDE = 7
# the orders of the cosines, down and across together, that tell texture; those beyond tell noise
_ORDER = 3
# patches looked at, at the most: more do not make the estimate better
_MOST = 40_000
# patches that a covariance is estimated from, at the least
_LEAST = 1500
# the normal deviate that 99 % lie below
_CONFIDENT = 2.326
_ROUNDS = 6
# the share of the pixels that lie at the darkest or brightest level where the sensor clips
_CLIPPED = 0.002


def estimate_noise(image: ArrayLike, mask: ArrayLike | None = None) -> float:
    r"""Estimate the standard deviation of the noise in one image.

    Parameters
    ----------
    image : array_like of shape (H, W)
        A grey image. Pixels that are not finite count as masked.
    mask : array_like of shape (H, W), optional
        True where a pixel may be used.

    Returns
    -------
    float
        In the grey levels that the package computes in: those of the image if it is floating, divided by the range of
        its dtype if it is of integers. The rounding to whole grey levels is noise as well, of 0.29 levels.

    Raises
    ------
    InputError
        If an argument is not as described, or fewer than 1500 patches of 7 x 7 usable pixels are left to tell.

    Notes
    -----
    The noise is taken to be independent from pixel to pixel and equally strong everywhere. A patch of 7 x 7 pixels is
    written in cosines of the orders (i, j); an orthonormal change of basis, after which the noise is as independent as
    before. The covariance of the coefficients c with :math:`i + j > 3`, over the patches, is

    .. math:: \operatorname{Cov}(c) = \Sigma + \sigma^2 I

    with :math:`\Sigma` that of the scene, whose rank is low: the eigenvalues :math:`\lambda_1 \ge \dots \ge \lambda_n`
    end in a tail that scatters around :math:`\sigma^2`. The tail is the longest one whose mean is not above its
    median [1]_: as long as eigenvalues of the scene are in it, they pull the mean up.

    Where everything is texture the rank is full. Hence patches with little texture are chosen [2]_, those whose
    coefficients with :math:`0 < i + j \le 3` have no more energy than noise of the last estimate alone gives with a
    probability of 99 %, and the estimate is repeated on them; on the 1500 patches with the least, if these are fewer.
    The noise in these coefficients tells nothing of that in the others, so that the choice does not favour patches that
    happen to have little noise.

    Pixels at the darkest or brightest level, if that is shared by more than 0.2 % of all, are clipped, where noise
    cannot be seen; patches that touch them are left out unless nothing else remains. An image that is constant
    wherever it is not clipped has no noise: 0.

    Texture as fine and as irregular as the pixels themselves (grass, dithering, grain in the photograph) cannot be told
    from noise by one image; the answer is then their sum. ``benchmarks/noise.py`` prints by how much, over photographs.

    References
    ----------
    .. [1] G. Chen, F. Zhu, P. A. Heng, "An efficient statistical method for image noise level estimation", ICCV 2015.
    .. [2] X. Liu, M. Tanaka, M. Okutomi, "Single-image noise level estimation for blind denoising", IEEE Transactions
       on Image Processing 22, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[0:200, 0:200]
    >>> scene = np.sin(x / 5) * np.cos(y / 7)
    >>> noisy = scene + np.random.default_rng(0).normal(0, 0.05, scene.shape)
    >>> round(estimate_noise(noisy), 3), round(estimate_noise(scene), 3)
    (0.05, 0.0)
    """
    levels, allowed = _door(image, mask)
    whole = _whole_patches(allowed)
    unclipped = _whole_patches(allowed & ~_clipped(levels, allowed))
    patches = _patches(levels, unclipped if np.count_nonzero(unclipped) >= _LEAST else whole)
    size = float(np.ptp(patches))
    if size == 0:
        return 0.0
    texture, fine = _split((patches - patches.min()) / size)
    order = np.argsort(texture, kind="stable")
    variance = _tail(fine)
    for _ in range(_ROUNDS):
        count = max(_LEAST, int(np.searchsorted(texture[order], variance * _most_texture(), side="right")))
        variance = _tail(fine[order[:count]])
    return size * math.sqrt(variance)


def _door(image: ArrayLike, mask: ArrayLike | None) -> tuple[Image, NDArray[np.bool_]]:
    """Return the grey levels in double precision, and which of them may be used."""
    levels, finite = _checks.image("image", image, any_size=True)
    usable = _checks.both(finite, _checks.mask("mask", mask, levels.shape))
    allowed = np.ones(levels.shape, np.bool_) if usable is None else usable != 0
    count = np.count_nonzero(_whole_patches(allowed)) if min(levels.shape) >= _SIDE else 0
    if count < _LEAST:
        raise InputError(
            f"image has {count} patches of {_SIDE} x {_SIDE} usable pixels; "
            f"give an image, and a mask, with at least {_LEAST}, such as one of 50 x 50 pixels, to tell the noise from"
        )
    return levels.astype(np.float64), allowed


def _whole_patches(allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of which patches all pixels may be used, one answer for each upper left corner."""
    return np.asarray(sliding_window_view(allowed, (_SIDE, _SIDE)).all(axis=(2, 3)))


def _clipped(levels: Image, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which pixels lie at the darkest or brightest level, where so many share it that the sensor clips there."""
    out = np.zeros(levels.shape, np.bool_)
    used = levels[allowed]
    for extreme in (used.min(), used.max()):
        if np.count_nonzero(used == extreme) > _CLIPPED * used.size:
            out |= levels == extreme
    return out


def _patches(levels: Image, whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return patches as rows, evenly chosen where there are too many."""
    y, x = np.nonzero(whole)
    if len(y) > _MOST:
        chosen = np.linspace(0, len(y) - 1, _MOST).astype(np.int64)
        y, x = y[chosen], x[chosen]
    return np.asarray(sliding_window_view(levels, (_SIDE, _SIDE))[y, x]).reshape(-1, _SIDE**2)


@functools.cache
def _cosines() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the orthonormal cosines over a patch, as columns: those that tell texture, and those that tell noise."""
    k = np.arange(_SIDE)
    line = np.cos(np.pi / _SIDE * np.outer(k, k + 0.5))
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    order = np.add.outer(k, k).ravel()
    every = np.kron(line, line)
    low, high = (order > 0) & (order <= _ORDER), order > _ORDER
    return np.ascontiguousarray(every[low].T, np.float64), np.ascontiguousarray(every[high].T, np.float64)


def _split(patches: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the energy of each patch in the low orders, and its coefficients in the high ones."""
    low, high = _cosines()
    return np.asarray(((patches @ low) ** 2).sum(axis=1)), np.asarray(patches @ high)


@functools.cache
def _most_texture() -> float:
    """Return the energy in the low orders that noise of variance 1 stays below with a probability of 99 %.

    It is chi squared; the quantile is that of Wilson and Hilferty.
    """
    freedom = _cosines()[0].shape[1]
    return float(freedom * (1 - 2 / (9 * freedom) + _CONFIDENT * math.sqrt(2 / (9 * freedom))) ** 3)


def _tail(fine: NDArray[np.float64]) -> float:
    """Return the mean of the longest tail of the eigenvalues of the coefficients' covariance that is not skew."""
    centred = fine - fine.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred / len(fine))
    tails = (values[:n] for n in range(len(values), 0, -1))
    return max(0.0, next(float(tail.mean()) for tail in tails if tail.mean() <= np.median(tail)))
