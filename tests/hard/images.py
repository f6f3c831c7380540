"""Images as an adversary, a careless caller or a strange file would hand them over: each a way to alter a plain one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

Make = Callable[[np.ndarray], Any]


def _strided(image: np.ndarray) -> np.ndarray:
    wide = np.full((2 * image.shape[0], 3 * image.shape[1], *image.shape[2:]), np.nan)
    wide[::2, ::3] = image
    return wide[::2, ::3]


def _mapped(image: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        stored = np.memmap(file, np.float64, "w+", shape=image.shape)
        stored[:] = image
        return stored


def _read_only(image: np.ndarray) -> np.ndarray:
    copy = image.copy()
    copy.flags.writeable = False
    return copy


class _Holder:
    """Something that is no array, but says that it can become one."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.image if dtype is None else self.image.astype(dtype)


class _Derived(np.ndarray):
    """A subclass without anything of its own."""


def _unaligned(image: np.ndarray) -> np.ndarray:
    raw = np.zeros(image.nbytes + 1, np.uint8)
    odd = raw[1:].view(np.float64).reshape(image.shape)
    odd[:] = image
    return odd


# the same numbers in another order of memory: the same bits must come out
LAYOUTS: dict[str, Make] = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda image: image[::-1, ::-1].copy()[::-1, ::-1],
    "every second row and third column": _strided,
    "transposed twice": lambda image: np.ascontiguousarray(image.swapaxes(0, 1)).swapaxes(0, 1),
    "read-only": _read_only,
    "memory-mapped": _mapped,
    "big-endian": lambda image: image.astype(">f8"),
    "unaligned": _unaligned,
    "nested lists": lambda image: image.tolist(),
    "tuple of rows": tuple,
    "something with __array__": _Holder,
    "a subclass": lambda image: image.copy().view(_Derived),
    "masked array without a mask": np.ma.MaskedArray,
}

# other types that hold grey levels: the same displacement, to their precision
TYPES: dict[str, Make] = {
    "float32": lambda image: image.astype(np.float32),
    "big-endian float32": lambda image: image.astype(">f4"),
    "float16": lambda image: image.astype(np.float16),
    "int8": lambda image: np.rint(image * 127).astype(np.int8),
    "uint8": lambda image: np.rint(image * 255).astype(np.uint8),
    "int16": lambda image: np.rint(image * 32767).astype(np.int16),
    "uint16": lambda image: np.rint(image * 65535).astype(np.uint16),
    "big-endian uint16": lambda image: np.rint(image * 65535).astype(">u2"),
    "int32": lambda image: np.rint(image * (2**31 - 1)).astype(np.int32),
    "uint32": lambda image: np.rint(image * (2**32 - 1)).astype(np.uint32),
    "int64": lambda image: np.rint(image * 2.0**62).astype(np.int64),
    "uint64": lambda image: np.rint(image * 2.0**63).astype(np.uint64),
}

# what is no image at all: refused, whatever the function
NO_IMAGES: dict[str, Make] = {
    "complex": lambda image: image.astype(np.complex128),
    "objects": lambda image: image.astype(object),
    "text in each pixel": lambda image: image.astype("U8"),
    "bytes in each pixel": lambda image: image.astype("S8"),
    "dates": lambda image: (image * 1000).astype("datetime64[s]"),
    "durations": lambda image: (image * 1000).astype("timedelta64[s]"),
    "records": lambda image: np.zeros(image.shape[:2], [("a", "f8"), ("b", "i4")]),
    "raw bytes": lambda image: np.zeros(image.shape[:2], "V8"),
    "None": lambda image: None,
    "a name": lambda image: "image.png",
    "bytes": lambda image: b"\x89PNG",
    "a number": lambda image: 0.5,
    "a dictionary": lambda image: {"image": 1},
    "a set": lambda image: {0.5, 0.25},
    "a generator": lambda image: (row for row in image),
    "a class": lambda image: np.ndarray,
    "an empty list": lambda image: [],
    "ragged rows": lambda image: [[0.1, 0.2], [0.3]],
    "no rows": lambda image: image[:0],
    "no columns": lambda image: image[:, :0],
    "zero dimensions": lambda image: np.array(0.5),
    "one dimension": lambda image: image.ravel(),
    "four dimensions": lambda image: image.reshape(image.shape[0], -1, 1, 1),
    "five dimensions": lambda image: image.reshape(1, 1, 1, image.shape[0], -1),
}


def _with(value: float, at: Any) -> Make:
    def make(image: np.ndarray) -> np.ndarray:
        changed = image.copy()
        changed[at] = value
        return changed

    return make


def _everywhere(value: float) -> Make:
    return lambda image: np.full(image.shape, value)


# images that say little, or things that no camera does: a right answer or a sentence, never NaN
CONTENTS: dict[str, Make] = {
    "nothing but NaN": _everywhere(np.nan),
    "nothing but infinity": _everywhere(np.inf),
    "nothing but minus infinity": _everywhere(-np.inf),
    "one NaN": _with(np.nan, (5, 7)),
    "one infinity": _with(np.inf, (5, 7)),
    "one minus infinity": _with(-np.inf, (20, 30)),
    "a row of NaN": _with(np.nan, 11),
    "half NaN": _with(np.nan, np.s_[:, 36:]),
    "a frame of NaN": lambda image: np.pad(image[6:-6, 6:-6], ((6, 6), (6, 6)), constant_values=np.nan),
    "all masked": lambda image: np.ma.MaskedArray(image, np.ones(image.shape, bool)),
    "one pixel not masked": lambda image: np.ma.MaskedArray(image, np.arange(image.size).reshape(image.shape) != 99),
    "one of 1e300": _with(1e300, (5, 7)),
    "times 1e300": lambda image: image * 1e300,
    "times 1e150": lambda image: image * 1e150,
    "1e300 and -1e300 by turns": lambda image: np.where(np.indices(image.shape).sum(0) % 2, 1e300, -1e300),
    "the largest number there is": _everywhere(np.finfo(np.float64).max),
    "times 1e-300": lambda image: image * 1e-300,
    "denormal": lambda image: image * 1e-320,
    "float32 near its largest": lambda image: (image * 3e38).astype(np.float32),
    "float32 denormal": lambda image: (image * 1e-42).astype(np.float32),
    "float16 near its largest": lambda image: (image * 6e4).astype(np.float16),
    "all zero": _everywhere(0.0),
    "minus zero": _everywhere(-0.0),
    "all one": _everywhere(1.0),
    "constant third": _everywhere(1.0 / 3.0),
    "constant but for the last digit": lambda image: np.where(image > 0.5, 1.0, np.nextafter(1.0, 2.0)),
    "a high pedestal": lambda image: image + 1e12,
    "one hot pixel": lambda image: np.where(np.indices(image.shape).sum(0) == 40, 0.0, 0.0) + _spot(image.shape),
    "all True": lambda image: np.ones(image.shape, bool),
    "True and False": lambda image: image > 0.5,
    "only 0 and 255": lambda image: np.where(image > 0.5, 255, 0).astype(np.uint8),
    "the lowest int8": lambda image: np.full(image.shape, -128, np.int8),
    "the lowest and highest int64": lambda image: np.where(image > 0.5, 2**63 - 1, -(2**63)),
    "the highest uint64": lambda image: np.full(image.shape, 2**64 - 1, np.uint64),
    "negative": lambda image: -image,
    "checkerboard": lambda image: (np.indices(image.shape).sum(0) % 2).astype(float),
    "stripes": lambda image: np.sin(np.indices(image.shape)[1] * (2 * np.pi / 8)),
    "a ramp": lambda image: np.indices(image.shape)[1] / 100.0,
    "noise": lambda image: np.random.default_rng(int(image[0, 0] * 1e15)).random(image.shape),
    "1 x 1": lambda image: image[:1, :1],
    "1 x 2": lambda image: image[:1, :2],
    "1 x N": lambda image: image[:1],
    "N x 1": lambda image: image[:, :1],
    "2 x 2": lambda image: image[:2, :2],
    "3 x 3": lambda image: image[:3, :3],
    "3 x N": lambda image: image[:3],
    "7 x 8": lambda image: image[20:27, 20:28],
    "16 x 16": lambda image: image[20:36, 20:36],
    "long double": lambda image: image.astype(np.longdouble),
}


def _spot(shape: tuple[int, ...]) -> np.ndarray:
    image = np.zeros(shape)
    image[shape[0] // 2, shape[1] // 2] = 1.0
    return image


class _Odd:
    """An object that is none of the things anybody asks for, and says so in two lines."""

    def __repr__(self) -> str:
        return "<odd\nobject>"


# values that every argument of every function is tried with
HOSTILE: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "1e18": 1e18,
    "1e308": 1e308,
    "1e-308": 1e-308,
    "zero": 0,
    "minus one": -1,
    "a half": 0.5,
    "a billion": 10**9,
    "10 ** 400": 10**400,
    "complex": 1 + 2j,
    "True": True,
    "a digit": "3",
    "an empty text": "",
    "a long text": "x" * 300,
    "two lines": "a\nb",
    "bytes": b"ncc",
    "an empty list": [],
    "one number in a list": [1.0],
    "two NaN": (float("nan"), float("nan")),
    "two infinities": (float("inf"), 1.0),
    "two numbers of 1e18": (1e18, -1e18),
    "two texts": ("a", "b"),
    "four numbers": (5, 2, 9, 9),
    "four negative numbers": (-5, -2, -9, -9),
    "an array of NaN": np.full((64, 72), np.nan),
    "an array of zeros": np.zeros((64, 72)),
    "an array of False": np.zeros((64, 72), bool),
    "an array of another shape": np.ones((3, 5)),
    "an array without pixels": np.ones((0, 72)),
    "an array of zero dimensions": np.array(2.0),
    "NumPy's NaN": np.float32("nan"),
    "NumPy's NaT": np.datetime64("NaT"),
    "a dictionary": {"red": 1},
    "a dictionary of numbers": {1: 2},
    "a set": {1, 2},
    "a class": dict,
    "an object": _Odd(),
    "a function": len,
}
