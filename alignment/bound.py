r"""How precisely anybody could know a displacement: the Cramer-Rao bound for a pair of noisy images.

The noise of *both* images counts, because the scene is known from nothing else than these two images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError, Mask
from .gaussian import Gaussian, sample

# times that hidden pixels are filled in from around, with means twice as wide each time
_FILLS = 12

# a noise, in units of the largest grey level, whose square is still a number
_LARGEST = 1e100


def cramer_rao(
    image: ArrayLike,
    noise: float | tuple[float, float],
    *,
    displacement: tuple[float, float] = (0.0, 0.0),
    mask: ArrayLike | None = None,
    moving_mask: ArrayLike | None = None,
    window: str | Sequence[int] = "frame",
    kernel: Gaussian | None = None,
) -> NDArray[np.float64]:
    r"""Return the smallest covariance that an unbiased estimate of a displacement can have.

    Parameters
    ----------
    image : array_like of shape (H, W)
        The scene without noise, in the reference's frame. Pixels that are not finite count as masked.
    noise : float or (float, float)
        The standard deviation of the noise in the reference and in the moving image, in the grey levels that the
        package computes in (integers are divided by the range of their dtype); one number for both, and not 0 for both.
    displacement : (float, float)
        (dx, dy) in pixels: pixels of the reference that the moving frame does not show tell nothing.
    mask : array_like of shape (H, W), optional
        True where a pixel of the reference may be used.
    moving_mask : array_like of shape (H, W), optional
        True where a pixel of the moving image may be used, in its own frame; a pixel of the reference counts if all
        those that lie less than a pixel from where it is read may be.
    window : "frame", "interior" or (top, bottom, left, right)
        The pixels of the reference that are compared, bottom and right exclusive.
    kernel : Gaussian, optional
        Take the slopes of the scene as this kernel smooths it, in place of its own. They are smaller, and what comes
        out is larger than the bound: a measure beside it, which a better estimator may go below.

    Returns
    -------
    ndarray of shape (2, 2)
        The covariance of (dx, dy), in square pixels; infinite along the axes that have a part in a direction without
        structure.

    Raises
    ------
    InputError
        If an argument is not as described, or no pixel is shown by both images.

    Notes
    -----
    Let both images show a scene f, of which nothing else is known, under independent Gaussian noise of the variances
    :math:`v_B` and :math:`v_A`:

    .. math:: B(x) = f(x) + n_B(x), \qquad A(x + d) = f(x) + n_A(x)

    where A was moved back by d; moving a band-limited image leaves white noise white. The unknowns are d and, as
    nuisance, every grey level of f. With :math:`G = (f_x, f_y)`, one row for each pixel, the Fisher information is

    .. math::
        I_{ff} = \left(\tfrac{1}{v_B} + \tfrac{1}{v_A}\right) 1, \qquad
        I_{fd} = -\tfrac{1}{v_A} G, \qquad I_{dd} = \tfrac{1}{v_A} G'G

    because a change of d acts on A alone, like a change of f by its slope. What is left for d once the scene has to be
    found as well is the Schur complement

    .. math::
        I_{dd} - I_{df} I_{ff}^{-1} I_{fd}
        = G'G \left(\frac{1}{v_A} - \frac{1}{v_A^2} \frac{v_A v_B}{v_A + v_B}\right) = \frac{G'G}{v_A + v_B}

    so that

    .. math:: \operatorname{Cov}(d) \ge (v_A + v_B) \left(\sum_x \nabla f \, \nabla f'\right)^{-1}

    Knowing the scene, which is having a reference without noise, would leave :math:`v_A` alone; two equally noisy
    images double it. A gain and an offset between the images, unknown as for the NCC, would only take from G what is
    alike to f and to a constant: next to nothing in a scene with many details, and not taken into account.

    It is a bound for a given scene and at weak noise. In frequencies where the noise exceeds the scene no estimate gets
    what the bound promises: with the power S of the scene there and noise v in both images, the information shrinks by
    :math:`S / (S + v / 2)` even if S is known. The bound also says nothing of the errors that sampling brings, where
    a sensor's pixels do not average away all that is finer than they are.

    The slopes are those of the cosine series through the grey levels, the band-limited scene that goes on mirrored
    outside the frame: up to the Nyquist frequency nothing is damped, as differences and splines do, which would promise
    less than is possible; how much less, `kernel` tells. Hidden pixels are filled in smoothly from around, and their
    own slopes are not counted.

    References
    ----------
    D. Robinson, P. Milanfar, "Fundamental performance limits in image registration", IEEE Transactions on Image
    Processing 13, 2004; there with one of the two images free from noise. T. Q. Pham, M. Bezuijen, L. J. van Vliet,
    K. Schutte, C. L. Luengo Hendriks, "Performance of optimal registration estimators", SPIE 5817, 2005.

    Examples
    --------
    A round blob of height a, wide against a pixel, has :math:`\sum f_x^2 = \pi a^2 / 2`, however wide it is:

    >>> import numpy as np
    >>> y, x = np.mgrid[0:100, 0:100]
    >>> blob = np.exp(-((x - 50)**2 + (y - 50)**2) / (2 * 6.0**2))
    >>> covariance = cramer_rao(blob, 0.05)
    >>> bool(np.allclose(covariance, 2 * 0.05**2 / (np.pi / 2) * np.eye(2), atol=1e-9))
    True
    """
    if kernel is not None and not isinstance(kernel, Gaussian):
        raise InputError(f"kernel is {_checks.in_words(kernel)}; give a Gaussian, or leave it out")
    levels, finite = _checks.image("image", image, any_size=True)
    shape = levels.shape
    noises = _noises(noise)
    known = _checks.both(finite, _checks.mask("mask", mask, shape))
    used = _used(shape, known, _checks.mask("moving_mask", moving_mask, shape), displacement, window)
    if not used.any():
        raise InputError(
            "no pixel of the reference is shown by both images; give a smaller displacement, or masks and a window "
            "that leave some"
        )
    # in units of the largest grey level, so that no square overflows
    scale = float(np.abs(levels).max()) or 1.0
    scene = _filled(levels / scale, known)
    if kernel is None:
        across, down = _slope(scene, 1)[used], _slope(scene, 0)[used]
    else:
        across, down = (sample(scene, 0.0, 0.0, kernel, order, boundary="edge")[used] for order in ((1, 0), (0, 1)))
    if max(noises) / scale > _LARGEST:
        raise InputError(f"noise is {max(noises):.3g}, beyond all grey levels of the image; give less noise")
    information = np.array([[across @ across, across @ down], [across @ down, down @ down]])
    inverse = _inverse(information)
    variance = sum((sigma / scale) ** 2 for sigma in noises)  # may be so small that it vanishes
    return np.multiply(inverse, variance, out=inverse, where=np.isfinite(inverse))


def _noises(noise: Any) -> tuple[float, float]:
    """Return the standard deviations of the noise in the reference and in the moving image."""
    if isinstance(noise, Sequence | np.ndarray) and not isinstance(noise, str) and np.shape(noise) == (2,):
        first, second = (_checks.number_between(f"noise[{n}]", v, 0, math.inf) for n, v in enumerate(noise))
        if not first + second:
            raise InputError("noise is 0 in both images, where nothing bounds the precision; give a number above 0")
        return first, second
    both = _checks.positive_number("noise", noise)
    return both, both


def _used(
    shape: tuple[int, ...], known: Mask | None, visible: Mask | None, displacement: Any, window: Any
) -> NDArray[np.bool_]:
    """Say which pixels of the reference both images show, inside the window."""
    height, width = shape
    dx, dy = _checks.pair_of_numbers("displacement", displacement)
    top, bottom, left, right = _checks.window("window", window, (height, width))
    used = np.zeros((height, width), np.bool_)
    used[top:bottom, left:right] = True
    if known is not None:
        used &= known != 0
    shown = np.ones((height, width), np.bool_) if visible is None else visible != 0
    for y in {math.floor(dy), math.ceil(dy)}:
        for x in {math.floor(dx), math.ceil(dx)}:
            used &= _moved(shown, x, y)
    return used


def _moved(shown: NDArray[np.bool_], dx: int, dy: int) -> NDArray[np.bool_]:
    """Return what of the moving image may be used, read whole pixels away; outside its frame nothing."""
    height, width = shown.shape
    out = np.zeros_like(shown)
    y, x = slice(max(0, -dy), min(height, height - dy)), slice(max(0, -dx), min(width, width - dx))
    if y.start < y.stop and x.start < x.stop:
        out[y, x] = shown[y.start + dy : y.stop + dy, x.start + dx : x.stop + dx]
    return out


def _slope(scene: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the slope along an axis, at the pixels, of the cosine series through the grey levels."""
    lines = np.moveaxis(scene, axis, -1)
    size = lines.shape[-1]
    spectrum = np.fft.rfft(np.concatenate([lines, lines[..., ::-1]], axis=-1))
    frequencies = np.pi / size * np.arange(size + 1)
    frequencies[-1] = 0.0  # of which the samples do not show the phase
    slope = np.fft.irfft(1j * frequencies * spectrum, 2 * size)[..., :size]
    return np.moveaxis(slope, -1, axis)


def _filled(levels: Image, known: Mask | None) -> NDArray[np.float64]:
    """Fill in hidden pixels: with the mean of what is near, or where nothing is, of what is less near."""
    scene = levels.astype(np.float64)
    if known is None:
        return scene
    weight = (known != 0).astype(np.float64)
    scene = np.where(weight > 0, scene, 0.0)
    total, share = scene.copy(), weight.copy()
    missing = weight == 0
    for n in range(_FILLS):
        total, share = (_spread(plane, 2**n) for plane in (total, share))
        reached = missing & (share > 1e-3)
        scene[reached] = total[reached] / share[reached]
        missing &= ~reached
    return scene


def _spread(plane: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Weigh each pixel and those `step` away by 1, 2, 1 along both axes; zeros outside."""
    for axis in (0, 1):
        lines = np.moveaxis(plane, axis, 0)
        out = lines / 2
        out[step:] += lines[:-step] / 4
        out[:-step] += lines[step:] / 4
        plane = np.moveaxis(out, 0, axis)
    return plane


def _inverse(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert; infinite along every axis that a direction without information has a part in."""
    values, vectors = np.linalg.eigh(information)
    if values[1] <= 0:
        return np.full((2, 2), np.inf)
    if values[0] > 1e-12 * values[1]:
        return np.asarray(np.linalg.inv(information))
    part = np.abs(vectors[:, 0]) > 1e-6
    certain = np.outer(vectors[:, 1], vectors[:, 1]) / values[1]
    return np.where(np.outer(part, part), np.inf, certain)
