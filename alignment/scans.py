"""Scans of plates as one grey image, and coarse versions of them, without a copy of the whole where none is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError

# rows that are worked on at a time
_ROWS = 256


def grey(plate: ArrayLike) -> Image:
    """Return a scan as one grey image of its own dtype.

    Parameters
    ----------
    plate : array_like of shape (H, W) or (H, W, C)
        Of a scan with three colours the mean is taken, and an alpha channel, the second or the fourth, left out. Three
        equal colours are the grey image itself, not a copy.

    Returns
    -------
    ndarray of shape (H, W)
        Integers, float32 or float64 in native byte order.

    Raises
    ------
    InputError
        If it is no image, or has pixels without a grey level.

    Examples
    --------
    >>> grey(np.array([[[10, 20, 30], [7, 7, 7]]], np.uint8))
    array([[20,  7]], dtype=uint8)
    """
    array = np.asarray(plate)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "iu" or np.ma.isMaskedArray(plate):
        array, mask = _checks.image("plate", plate, channels=True)
        if mask is not None:
            raise InputError(
                "the plate has pixels that are not finite; give a scan in which every pixel has a grey level"
            )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 2:
        return array
    channels = array.shape[2]
    if channels > 4:
        raise InputError(
            f"plate has shape {array.shape}; give a grey image of shape (H, W) or a colour image (H, W, 3)"
        )
    colours = array[..., : channels - 1 if channels in (2, 4) else channels]
    first = colours[..., 0]
    if all(np.array_equal(first, colours[..., n]) for n in range(1, colours.shape[2])):
        return np.ascontiguousarray(first)
    mean = np.empty(array.shape[:2], array.dtype)
    for row in range(0, len(array), _ROWS):
        levels = colours[row : row + _ROWS].mean(axis=2, dtype=np.float64)
        mean[row : row + _ROWS] = np.rint(levels) if array.dtype.kind in "iu" else levels
    return mean


def block_mean(image: Image, factor: int) -> Image:
    """Return an image reduced by a whole factor, each pixel the mean of a block; what makes no full block is left out.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        Of any real dtype.
    factor : int

    Returns
    -------
    ndarray of shape (H // factor, W // factor)
        float32, or float64 for what float32 cannot hold; integers are divided by the largest value of their dtype.

    Examples
    --------
    >>> block_mean(np.array([[0, 51, 102], [153, 204, 255]], np.uint8), 2)
    array([[0.4]], dtype=float32)
    """
    wide = image.dtype.itemsize > (4 if image.dtype.kind == "f" else 2)
    dtype = np.dtype(np.float64 if wide else np.float32)
    height, width = image.shape[0] // factor, image.shape[1] // factor
    full = factor**2 * (np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1)
    reduced = np.empty((height, width), dtype)
    for row in range(0, height, _ROWS):
        block = image[row * factor : min(row + _ROWS, height) * factor, : width * factor]
        rows = sum((block[n::factor] for n in range(1, factor)), block[::factor].astype(dtype))
        columns = sum((rows[:, n::factor] for n in range(1, factor)), rows[:, ::factor])
        np.divide(columns, dtype.type(full), out=reduced[row : row + _ROWS])
    return reduced


def negative(levels: NDArray[np.generic], white: float) -> Image:
    """Return grey levels with black and white exchanged, in their own dtype."""
    array = np.asarray(levels)
    return np.asarray(array.dtype.type(white) - array)


def white_of(plate: Image) -> float:
    """Return the level that is white: the largest of an integer dtype, of floating levels 1 or what lies above."""
    if plate.dtype.kind in "iu":
        return float(np.iinfo(plate.dtype).max)
    return max(1.0, float(plate.max()))
