r"""The bilinear shift, its two slopes, and the conventions of the whole package.

``aligned(x, y) = moving(x + dx, y + dy)``: arrays are indexed ``[y, x]``, pixel centres lie at integers, x runs to the
right and y down, and all displacements are in pixels. A positive dx says that the content of the moving image lies dx
pixels to the *right* of the reference's, so the shift that lays it back reads from the right.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, _kernels
from ._checks import Image
from .gaussian import Gaussian, sample

SIDES = ("right", "left", "central")
BOUNDARIES = ("zero", "edge", "wrap")


class Cell(NamedTuple):
    """One coordinate of a displacement: the cell it lies in and how far into it, displacement = whole + fraction."""

    whole: int
    fraction: float


def split(displacement: float, *, side: str = "right") -> Cell:
    """Split one coordinate of a displacement into its cell and the fraction in [0, 1].

    Parameters
    ----------
    displacement : float
        In pixels.
    side : {"right", "left"}
        The cell that an integer belongs to: the one on its right, with fraction 0, or on its left, with fraction 1.

    Returns
    -------
    Cell
        The upper neighbour is always ``whole + 1``, never the ceiling: with the ceiling both neighbours would coincide
        at an integer and the slope would vanish without a word.

    Examples
    --------
    >>> split(2.25)
    Cell(whole=2, fraction=0.25)
    >>> split(2.0), split(2.0, side="left")
    (Cell(whole=2, fraction=0.0), Cell(whole=1, fraction=1.0))
    """
    index = math.floor(displacement)
    fraction = displacement - index
    if fraction == 0.0 and side == "left":
        return Cell(index - 1, 1.0)
    # just below an integer the difference can round to 1: seen from the right that is the next cell's 0
    return Cell(index, fraction) if fraction < 1.0 or side == "left" else Cell(index + 1, 0.0)


def theta(dx: float, dy: float) -> NDArray[np.float64]:
    """Return the 2 x 3 matrix that maps a target point (x, y, 1) to the source point to read.

    Examples
    --------
    >>> theta(3.0, -1.0)
    array([[ 1.,  0.,  3.],
           [ 0.,  1., -1.]])
    """
    dx, dy = _checks.finite_number("dx", dx), _checks.finite_number("dy", dy)
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


def shift(
    image: ArrayLike, dx: float, dy: float, *, boundary: str = "zero", kernel: Gaussian | str = "hat"
) -> NDArray[Any]:
    r"""Shift an image by a sub-pixel displacement: ``shifted(x, y) = image(x + dx, y + dy)``, bilinearly unless told.

    Parameters
    ----------
    image : array_like of shape (H, W) or (H, W, C)
        Grey levels of any real dtype. NaN spreads to the pixels that are made of it; what a masked array hides is NaN,
        or in an image of integers 0.
    dx, dy : float
        Displacement in pixels; positive reads from the right and from below.
    boundary : {"zero", "edge", "wrap"}
        What lies outside the frame: zeros, the nearest pixel of the frame, or the image again.
    kernel : "hat" or Gaussian
        The k of the formula: the bilinear hat, or a Gaussian, which smooths at every fraction alike.

    Returns
    -------
    ndarray
        Of the shape and dtype of `image`; integers are rounded (a bilinear mean cannot leave their range).

    Raises
    ------
    InputError
        If `image` is no image or a displacement is not finite.

    Notes
    -----
    With the kernel :math:`k(t) = \max(0, 1 - |t|)` and :math:`x_s = x + dx, y_s = y + dy`

    .. math:: A^*(x, y) = \sum_n \sum_m A[n, m]\, k(y_s - n)\, k(x_s - m)

    Of the double sum only the four pixels around the source point are not zero. A displacement is the same at every
    pixel, so are the weights :math:`(1-a)(1-b), a(1-b), (1-a)b, ab` of the fractions a of dx and b of dy.
    The move that `scipy.ndimage.shift` applies is ``(-dy, -dx)``.

    References
    ----------
    M. Jaderberg, K. Simonyan, A. Zisserman, K. Kavukcuoglu, "Spatial transformer networks", NIPS 2015.

    Examples
    --------
    >>> import numpy as np
    >>> row = np.array([[0.0, 0.0, 8.0, 0.0]])
    >>> shift(row, 1, 0)
    array([[0., 8., 0., 0.]])
    >>> shift(row, 0.25, 0)
    array([[0., 2., 6., 0.]])
    """
    original = _checks.as_array("image", image)
    clean, mask = _checks.image("image", image, channels=True, any_size=True)
    if mask is not None and original.dtype.kind == "f":
        clean = _checks.as_floating("image", original)  # what is not finite stays visible in the result
        if isinstance(image, np.ma.MaskedArray):
            clean = np.where(np.ma.getmaskarray(image), clean.dtype.type(np.nan), clean)
    x = split(_checks.finite_number("dx", dx))
    y = split(_checks.finite_number("dy", dy))
    weights = (
        (1.0 - x.fraction) * (1.0 - y.fraction),
        x.fraction * (1.0 - y.fraction),
        (1.0 - x.fraction) * y.fraction,
        x.fraction * y.fraction,
    )
    if isinstance(_checked(kernel), Gaussian):
        shifted = _by_gaussian(clean, dx, dy, kernel, (0, 0), boundary)
    else:
        shifted = _interpolate(clean, x, y, weights, boundary)
    if original.dtype.kind in "iu":
        limits = np.iinfo(original.dtype)
        levels = np.rint(shifted.astype(np.float64) * limits.max)
        top = float(limits.max)
        if int(top) > limits.max:  # the largest 64-bit integers are no float64, and the next one is beyond
            top = float(np.nextafter(top, 0.0))
        return np.clip(levels, limits.min, top).astype(original.dtype)
    return shifted >= 0.5 if original.dtype.kind == "b" else shifted.astype(original.dtype, copy=False)


def shift_gradients(
    image: ArrayLike,
    dx: float,
    dy: float,
    *,
    boundary: str = "zero",
    side: str = "right",
    kernel: Gaussian | str = "hat",
) -> tuple[Image, Image]:
    r"""Return the slopes of the shifted image along the displacement, dA*/ddx and dA*/ddy.

    Parameters
    ----------
    image : array_like of shape (H, W) or (H, W, C)
        Grey levels; integers are taken as fractions of their dtype's largest value.
    dx, dy : float
        Displacement in pixels.
    boundary : {"zero", "edge", "wrap"}
        What lies outside the frame.
    side : {"right", "left", "central"}
        Which slope to return at an integer displacement, where the bilinear interpolation has a kink: that of the
        cell on the right, on the left, or their mean. Each axis decides for itself; off the integers all agree.
    kernel : "hat" or Gaussian
        A Gaussian has no kinks, so that all sides agree everywhere.

    Returns
    -------
    slope_x, slope_y : ndarray
        Of the shape of `image`, float32 or float64, in grey levels per pixel of displacement.

    Raises
    ------
    InputError
        If `image` is no image, a displacement is not finite or an option is unknown.

    Notes
    -----
    .. math:: \partial A^*/\partial dx = \sum_n \sum_m A[n, m]\, k(y_s - n)\, s(m, x_s)

    with s = 0 where :math:`|m - x_s| \ge 1`, +1 to the right and -1 to the left of the source point: the difference of
    the two columns around it. At an integer the published s claims the tie m = x_s for both signs and returns a
    *grey level*; see `alignment.formulas`.

    Examples
    --------
    >>> import numpy as np
    >>> row = np.array([[0.0, 1.0, 3.0, 7.0]])
    >>> [shift_gradients(row, 0, 0, boundary="edge", side=side)[0] for side in ("right", "left", "central")]
    [array([[1., 2., 4., 0.]]), array([[0., 1., 2., 4.]]), array([[0.5, 1.5, 3. , 2. ]])]
    """
    clean = _checks.image("image", image, channels=True, any_size=True)[0]
    dx, dy = _checks.finite_number("dx", dx), _checks.finite_number("dy", dy)
    sides = one_sided(side)
    if isinstance(_checked(kernel), Gaussian):
        return _by_gaussian(clean, dx, dy, kernel, (1, 0), boundary), _by_gaussian(
            clean, dx, dy, kernel, (0, 1), boundary
        )
    slopes = [_slopes(clean, dx, dy, boundary, one) for one in sides]
    if len(slopes) == 1:
        return slopes[0]
    half = clean.dtype.type(0.5)
    return half * slopes[0][0] + half * slopes[1][0], half * slopes[0][1] + half * slopes[1][1]


def one_sided(side: str) -> tuple[str, ...]:
    """Return the one-sided readings whose mean `side` asks for."""
    _checks.one_of("side", side, SIDES)
    return ("right", "left") if side == "central" else (side,)


def _checked(kernel: Gaussian | str) -> Gaussian | str:
    """Refuse what is no kernel."""
    return kernel if isinstance(kernel, Gaussian) else _checks.one_of("kernel", kernel, ("hat",))


def _by_gaussian(
    image: Image, dx: float, dy: float, kernel: Gaussian | str, order: tuple[int, int], boundary: str
) -> Image:
    """Return the smoothly interpolated image or a derivative of it, channel by channel."""
    assert isinstance(kernel, Gaussian)
    _checks.one_of("boundary", boundary, BOUNDARIES)
    if image.ndim == 2:
        return sample(image, dx, dy, kernel, order, boundary=boundary)
    planes = [
        sample(np.ascontiguousarray(image[..., c]), dx, dy, kernel, order, boundary=boundary)
        for c in range(image.shape[2])
    ]
    return np.stack(planes, axis=-1) if planes else np.empty_like(image)


def _slopes(image: Image, dx: float, dy: float, boundary: str, side: str) -> tuple[Image, Image]:
    """Return both slopes as differences of the neighbouring columns, and rows, of the cell on one side."""
    x, y = split(dx, side=side), split(dy, side=side)
    a, b = x.fraction, y.fraction
    slope_x = _interpolate(image, x, y, (-(1.0 - b), 1.0 - b, -b, b), boundary)
    slope_y = _interpolate(image, x, y, (-(1.0 - a), -a, 1.0 - a, a), boundary)
    return slope_x, slope_y


def _interpolate(image: Image, x: Cell, y: Cell, weights: tuple[float, float, float, float], boundary: str) -> Image:
    """Return the weighted sum of the four corners of each pixel's cell."""
    height, width = image.shape[:2]
    w0, w1, w2, w3 = (image.dtype.type(w) for w in weights)
    upper, lower = _neighbours(height, y.whole, boundary)
    left, right = _neighbours(width, x.whole, boundary)
    # a neighbour without any weight is not read: what is not finite there must not spread
    if w2 == 0 and w3 == 0:
        lower = upper
    if w1 == 0 and w3 == 0:
        right = left
    out = np.empty_like(image)
    planes = [(image, out)] if image.ndim == 2 else [(image[..., c], out[..., c]) for c in range(image.shape[2])]
    for source, target in planes:
        plane = np.empty((height, width), image.dtype)
        _kernels.interpolate(np.ascontiguousarray(source), upper, lower, left, right, (w0, w1, w2, w3), plane)
        target[...] = plane
    return out


def _neighbours(length: int, index: int, boundary: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lower and the upper neighbour of every target position along one axis; -1 is a zero outside."""
    _checks.one_of("boundary", boundary, BOUNDARIES)
    # a whole period and a whole frame are enough to tell any two displacements apart
    index = index % length if boundary == "wrap" else min(max(index, -length - 1), length + 1)
    first = np.arange(length, dtype=np.int64) + index
    both = first, first + 1
    if boundary == "wrap":
        return both[0] % length, both[1] % length
    if boundary == "edge":
        return both[0].clip(0, length - 1), both[1].clip(0, length - 1)
    return tuple(np.where((n >= 0) & (n < length), n, -1) for n in both)  # type: ignore[return-value]
