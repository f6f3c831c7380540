"""Grey levels: as floats from 0 to 1, and as whole numbers of 8 or 16 bits."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ._checks import InputError, in_words

__all__ = ["as_float", "to_dtype"]

Image = npt.NDArray[Any]

INTEGERS: Final = ("uint8", "uint16")
"""Names of the dtypes whose range is known: from 0, black, to their largest number, white."""

_AT_ONCE: Final = 1 << 20  # levels that are converted at a time, so that what is computed on the way stays small


def as_float(image: npt.ArrayLike) -> Image:
    """Grey levels as numbers in [0, 1], by the range of the dtype.

    Parameters
    ----------
    image : array of any shape
        ``uint8`` is divided by 255, ``uint16`` by 65535; a float array is passed through as it is, whatever its range.

    Returns
    -------
    ndarray
        ``float32`` for integers, otherwise the very array given.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.levels import as_float
    >>> as_float(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    array = array_of("the image", image)
    if array.dtype.kind == "f":
        return array
    if array.dtype.name not in INTEGERS:
        raise InputError(
            f"the image has dtype {array.dtype}, which has no known range; give uint8, uint16 or a float type."
        )
    result: Image = np.divide(array, np.float32(np.iinfo(array.dtype).max), dtype=np.float32)
    return result


def to_dtype(image: npt.ArrayLike, dtype: npt.DTypeLike) -> Image:
    """Grey levels as ``uint8`` or ``uint16``: clipped to the range and rounded to the nearest level.

    Parameters
    ----------
    image : array of any shape
        Floats count from 0 (black) to 1 (white), and what lies outside is clipped; ``uint8`` and ``uint16`` count
        from 0 to their largest number, so that white stays white.
    dtype : {"uint8", "uint16"} or the NumPy types of these names
        What to return.

    Returns
    -------
    ndarray
        A new array of that dtype, or the very array given if it has it already.

    Raises
    ------
    InputError
        If a float image holds NaN, for which no grey level exists.

    Examples
    --------
    >>> import numpy as np
    >>> from alignment.levels import to_dtype
    >>> to_dtype(np.array([-0.1, 0.0, 0.5, 1.0, 1.2]), "uint8")
    array([  0,   0, 128, 255, 255], dtype=uint8)
    >>> to_dtype(np.array([0, 128, 255], np.uint8), "uint16")
    array([    0, 32896, 65535], dtype=uint16)
    """
    target = known_dtype(dtype, INTEGERS)
    array = array_of("the image", image)
    if array.dtype.name == target.name:
        return array.astype(target, copy=False)
    if array.dtype.name not in INTEGERS and array.dtype.kind != "f":
        raise InputError(
            f"the image has dtype {array.dtype}, which has no known range; give uint8, uint16 or a float type."
        )
    source = array.reshape(-1)
    made = np.empty(source.shape, target)
    unknown = 0
    for first in range(0, source.size, _AT_ONCE):
        part = source[first : first + _AT_ONCE]
        unknown += int(np.isnan(part).sum()) if part.dtype.kind == "f" else 0
        if not unknown:
            made[first : first + _AT_ONCE] = _levels(part, target)
    if unknown:
        raise InputError(
            f"the image holds {unknown} NaN, for which no grey level exists; replace them first (numpy.nan_to_num)."
        )
    return made.reshape(array.shape)


def _levels(values: Image, target: np.dtype[Any]) -> Image:
    """Return uint8, uint16 or floats without NaN as grey levels of the other kind."""
    if values.dtype.name == "uint8":
        return values.astype(np.uint16) * np.uint16(257)
    if values.dtype.name == "uint16":
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    levels: Image = np.asarray(np.clip(values, 0, 1, dtype=np.result_type(values.dtype, np.float32)))
    levels *= int(np.iinfo(target).max)
    np.rint(levels, out=levels)
    return levels.astype(target)


def array_of(name: str, image: npt.ArrayLike) -> Image:
    """Make an array of an image, or say that it is none, or that a mask hides some of it."""
    if np.ma.is_masked(image):
        raise InputError(f"{name} is of a masked array, whose hidden pixels have no level; fill them first (.filled).")
    try:
        return np.asarray(image)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is of rows that differ in length; give a rectangular array of numbers.") from error


def known_dtype(dtype: npt.DTypeLike, known: tuple[str, ...]) -> np.dtype[Any]:
    """Return one of some dtypes, asked for by its name or its type; refuse any other."""
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(dtype, str | type | np.dtype) and np.dtype(dtype).name in known:
            return np.dtype(dtype)
    raise InputError(
        f"dtype is {in_words(dtype)}, which cannot be stored; choose {', '.join(known[:-1])} or {known[-1]}."
    )
