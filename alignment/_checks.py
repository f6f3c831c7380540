"""Arguments are checked once, at the door: what comes out of here is clean, below nothing checks again.

Every error names what is wrong, the value received and what would be right.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[Any]
Mask = NDArray[np.uint8]

# larger grey levels overflow in the sums of squares that float32 takes, or in the fourth powers that float64 does; what
# is smaller than one over that vanishes there. By the bytes of the dtype.
_LARGEST = {4: 1e15, 8: 1e60}


def one_line(text: str) -> str:
    r"""Return a text in which line breaks and other control characters are written as escapes.

    Examples
    --------
    >>> print(one_line("two" + chr(10) + "lines.png"))
    two\nlines.png
    """
    controls = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
    return text.translate(controls)


class InputError(ValueError):
    """An argument or a file that cannot be used; the message says what would be right.

    The message is one line, whatever the names of files in it: what cannot be printed is written as an escape.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class UndefinedLossError(InputError):
    """A loss has no value where it was asked for: nothing to compare there, or nothing but one grey level."""


def finite_number(name: str, value: Any) -> float:
    """Return `value` as a float, or say why it is no finite number.

    Examples
    --------
    >>> finite_number("dx", 2)
    2.0
    >>> finite_number("dx", float("nan"))
    Traceback (most recent call last):
    ...
    alignment._checks.InputError: dx is nan; give a finite number
    """
    if type(value) is float and math.isfinite(value):  # what a descent asks for all the time
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise InputError(f"{name} is {in_words(value)}; give a finite number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} is {number}; give a finite number")
    return number


def displacements(name: str, values: Any) -> list[float]:
    """Return one displacement, or a list of them, as floats.

    Examples
    --------
    >>> displacements("dx", [1, 2.5]), displacements("dx", 3)
    ([1.0, 2.5], [3.0])
    """
    try:
        listed = np.atleast_1d(np.asarray(values))
        flat = listed.astype(np.float64) if listed.dtype.kind in "biuf" else None
    except (TypeError, ValueError, OverflowError):
        flat = None
    if flat is None or flat.ndim != 1:
        raise InputError(f"{name} is {in_words(values)}; give a list of displacements in pixels")
    return [finite_number(name, number) for number in flat]


def positive_number(name: str, value: Any) -> float:
    """Return `value` as a float above zero."""
    number = finite_number(name, value)
    if number <= 0:
        raise InputError(f"{name} is {number:g}; give a number above 0")
    return number


def number_between(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a float in [low, high]."""
    number = finite_number(name, value)
    if not low <= number <= high:
        raise InputError(f"{name} is {number:g}; give a number from {low:g} to {high:g}")
    return number


def whole_number(name: str, value: Any, *, at_least: int = 0) -> int:
    """Return `value` as an int that is not below `at_least`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise InputError(f"{name} is {in_words(value)}; give a whole number of at least {at_least}")
    if int(value) < at_least:
        raise InputError(f"{name} is {in_words(int(value))}; give a whole number of at least {at_least}")
    return int(value)


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value` if it is one of the names in `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    raise InputError(f"{name} is {in_words(value)}; give one of {listed}")


def callback(name: str, value: Any) -> Any:
    """Return `value` if it can be called, or is None."""
    if value is None or callable(value):
        return value
    raise InputError(f"{name} is {in_words(value)}; give a function, or leave it out")


def with_methods(name: str, value: Any, methods: Sequence[str], advice: str) -> Any:
    """Return `value` if it has all these methods; a class has them, but is no object that holds anything."""
    if not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods):
        return value
    raise InputError(f"{name} is {in_words(value)}, without the method {' or '.join(methods)}; {advice}")


def pair_of_numbers(name: str, value: Any) -> tuple[float, float]:
    """Return `value` as two finite floats (dx, dy)."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or np.shape(value) != (2,):
        raise InputError(f"{name} is {in_words(value)}; give two numbers (dx, dy) in pixels")
    return finite_number(f"{name}[0]", value[0]), finite_number(f"{name}[1]", value[1])


def image(name: str, value: ArrayLike, *, channels: bool = False, any_size: bool = False) -> tuple[Image, Mask | None]:
    """Return a clean floating copy or view of an image, and the mask of what may be used of it.

    Parameters
    ----------
    name : str
        What the error messages call it.
    value : array_like of shape (H, W), or (H, W, C) where `channels` is true
        Grey levels. float32 and float64 are kept as they are; 8- and 16-bit integers become float32, wider integers
        float64, divided by the largest value of their dtype.
    channels : bool
        Whether a third axis is welcome.
    any_size : bool
        Whether grey levels are welcome that are too large, or all too small, for their squares to be computed.
        Otherwise a few that are too large count as not finite.

    Returns
    -------
    array : ndarray
        C-contiguous, native byte order, float32 or float64, finite: what was not is 0 here.
    mask : uint8 ndarray of shape (H, W), or None
        1 where the value was finite and not masked; None where that is everywhere.

    Raises
    ------
    InputError
        If it is no image: wrong number of axes, no pixels, or a dtype without grey levels.
    """
    array = as_array(name, value)
    wanted = (2, 3) if channels else (2,)
    if array.ndim not in wanted:
        right = "a grey image of shape (H, W)" + (" or a colour image of shape (H, W, C)" if channels else "")
        raise InputError(f"{name} has shape {array.shape}; give {right}")
    if array.size == 0:
        raise InputError(f"{name} has shape {array.shape}, without a single pixel; give at least one")
    clean = as_floating(name, array)
    largest = float(np.finfo(clean.dtype).max) if any_size else _LARGEST[clean.dtype.itemsize]
    usable = _usable(clean, largest, value)
    if not any_size:
        _refuse_extremes(name, clean if usable is None or not usable.any() else clean[usable], largest)
    if usable is None:
        return clean, None
    if clean.ndim == 3:
        usable = np.asarray(usable.all(axis=2))
        clean = np.where(usable[:, :, None], clean, clean.dtype.type(0))
    else:
        clean = np.where(usable, clean, clean.dtype.type(0))
    return clean, np.ascontiguousarray(usable, np.uint8)


def _usable(clean: Image, largest: float, value: ArrayLike) -> NDArray[np.bool_] | None:
    """Return where the levels are finite, not too large and not masked; None where they all are."""
    if not isinstance(value, np.ma.MaskedArray):
        # a NaN compares as false, and makes both extremes NaN
        if -largest <= float(np.min(clean)) and float(np.max(clean)) <= largest:
            return None
        return np.asarray(np.abs(clean) <= largest)
    usable: NDArray[np.bool_] = np.asarray(np.abs(clean) <= largest) & ~np.ma.getmaskarray(value)
    return None if usable.all() else usable


def _refuse_extremes(name: str, levels: Image, largest: float) -> None:
    """Refuse levels that are all too large, or all too small, for their squares to be computed."""
    top = max(float(np.max(levels)), -float(np.min(levels)))
    if not math.isfinite(top):
        levels = np.abs(levels[np.isfinite(levels)])
        top = float(np.max(levels, initial=0.0))
    if top > largest:
        raise InputError(f"{name} holds grey levels up to {top:.3g}, too large to be squared; divide it first")
    if 0 < top < 1 / largest:
        raise InputError(f"{name} holds no grey level beyond {top:.3g}, too small to be squared; multiply it first")


def as_floating(name: str, array: NDArray[Any]) -> Image:
    """Return `array` as C-contiguous float32 or float64; integers are divided by the largest value of their dtype."""
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize in (4, 8):
        # writeable, because the kernels would be compiled once more for arrays that are not
        return np.require(array, array.dtype.newbyteorder("="), ("C", "A", "W"))
    if kind == "f" and array.dtype.itemsize == 2:
        return np.ascontiguousarray(array, np.float32)
    if kind == "b":
        return np.ascontiguousarray(array, np.float32)
    if kind in "iu":
        # beyond 16 bits float32 would drop grey levels
        floating = np.dtype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
        return np.ascontiguousarray(array, floating) / floating.type(np.iinfo(array.dtype).max)
    raise InputError(f"{name} has dtype {array.dtype}; give grey levels as integers, float32 or float64")


def mask(name: str, value: ArrayLike | None, shape: tuple[int, int]) -> Mask | None:
    """Return a mask as uint8 zeros and ones (1: use), or None where every pixel may be used."""
    if value is None:
        return None
    array = as_array(name, value)
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape} but its image has {shape}; give one value for each pixel")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{name} holds values other than True and False; True means: use this pixel")
    if not array.any():
        raise InputError(f"{name} leaves no pixel to use; True means: use this pixel")
    return None if array.all() else np.ascontiguousarray(array, np.uint8)


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """Return the mask of what both masks allow."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def same_shape(reference: Image, moving: Image) -> None:
    """Refuse a pair of images of different sizes."""
    if reference.shape != moving.shape:
        raise InputError(
            f"reference has shape {reference.shape} but moving has {moving.shape}; crop both to the same shape first"
        )


def window(name: str, value: Any, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a domain as (top, bottom, left, right) inside an image of `shape`, bottom and right exclusive.

    "frame" is the whole image; "interior" its middle 80 % along each axis.
    """
    height, width = shape
    if isinstance(value, str):
        if one_of(name, value, ("frame", "interior")) == "frame":
            return 0, height, 0, width
        return height // 10, height - height // 10, width // 10, width - width // 10
    right_form = 'give "frame", "interior" or (top, bottom, left, right)'
    if not isinstance(value, Sequence | np.ndarray) or np.shape(value) != (4,):
        raise InputError(f"{name} is {in_words(value)}; {right_form}")
    top, bottom, left, right = (whole_number(f"{name}[{i}]", v) for i, v in enumerate(value))
    if not (top < bottom <= height and left < right <= width):
        raise InputError(
            f"{name} is {(top, bottom, left, right)}, which is no window inside an image of shape {shape}; "
            f"{right_form} with 0 <= top < bottom <= {height} and 0 <= left < right <= {width}"
        )
    return top, bottom, left, right


def common_dtype(first: Image, second: Image) -> tuple[Image, Image]:
    """Return both images in the wider of their two floating dtypes."""
    dtype = np.result_type(first, second)
    return first.astype(dtype, copy=False), second.astype(dtype, copy=False)


def as_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """Make an array of `value`, or say that it is none."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is {in_words(value)}; give a rectangular array of numbers") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {array.dtype}; give grey levels as integers, float32 or float64")
    return array


def in_words(value: Any) -> str:
    """Show a value inside a sentence, cut short where it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # whole numbers of thousands of digits are not written out
        return f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= 60 else f"a {type(value).__name__} that starts {text[:40]}..."
