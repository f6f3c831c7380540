r"""One image as the levels of a pyramid show it, by grey levels, by their fine structure or by their edges.

The same few views are asked for again and again: by the search, by the descent, by the vote of the tiles, for each of
the features that are tried. Those that are small are made once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from . import _checks
from ._checks import Image, InputError, Mask
from .defects import living
from .pyramid import Masked, band_pass, build, count_levels, edges, smooth

S = TypeVar("S")
T = TypeVar("T")

# pixels along the short side of the coarsest level: enough structure to be recognised, few enough to search at once
_COARSEST = 64
# the share of each side that the frame of a scan may take
FRAME = 0.1
# pixels from the border that the filters of the features make up: the frame's last pixels stand for those outside it
REACHES = {"intensity": 0, "fine": 4, "edges": 5}
# pixels: the width of the mean that a search measures structure from, and that fine structure is measured from
_COARSE_TONES = 3.0
_MIDDLE_TONES = 1.0
# pixels from which on a thread is worth its start
_WORTH_THREADS = 1 << 20
# and beyond which a view is too large to be kept
_SMALL = 1 << 20


def usable(image: Image, mask: Mask | None) -> Masked:
    """Return an image and which of its pixels may be used: not those of dead lines.

    What may not be used gets the mean of the others: what lay there may be large beyond all digits.
    """
    if min(image.shape) < 8:
        raise InputError(f"the images have shape {image.shape}; give at least 8 x 8 pixels")
    used = _checks.both(mask, living(image))
    if used is None or not used.any():
        return Masked(image, used)
    mean = image[used != 0].mean(dtype=np.float64)
    return Masked(np.where(used != 0, image, image.dtype.type(mean)), used)


class Pair(NamedTuple):
    """Two images of one shape."""

    reference: Masked
    moving: Masked


class Views:
    """The views of one image: by level (0 is the finest) and by feature.

    Parameters
    ----------
    image : Masked
    sigma : float
        Width of the Gaussian that every level is smoothed with, in pixels of that level.
    """

    def __init__(self, image: Masked, sigma: float) -> None:
        height, width = image.image.shape
        self.levels = build(*image, count_levels((height, width), smallest=_COARSEST))
        self._sigma = sigma
        self._kept: dict[tuple[str, int, str], Masked] = {}

    def featured(self, level: int, features: str) -> Masked:
        """Return a level as it is, or reduced to its fine structure or to the edges of its smoothed image."""
        image = self.levels[level]
        if features == "intensity":
            return image

        def reduced() -> Masked:
            fine = features == "fine"
            seen = band_pass(image, _MIDDLE_TONES) if fine else edges(self.smoothed(level, "intensity"))
            return _structure(image, seen, REACHES[features])

        return self._once("featured", level, features, reduced)

    def smoothed(self, level: int, features: str) -> Masked:
        """Return a level as the bilinear objective sees it.

        The magnitude of a gradient is sharper than the image it comes from, so that it is smoothed as well.
        """
        return self._once("smoothed", level, features, lambda: smooth(self.featured(level, features), self._sigma))

    def toneless(self, level: int, features: str) -> Masked:
        """Return a level without slow changes of light, which only blur the difference between displacements."""
        return self._once("toneless", level, features, lambda: band_pass(self.smoothed(level, features), _COARSE_TONES))

    def _once(self, name: str, level: int, features: str, make: Callable[[], Masked]) -> Masked:
        """Return a view, made now or before."""
        key = name, level, features
        if key in self._kept:
            return self._kept[key]
        view = make()
        if view.image.size <= _SMALL:
            self._kept[key] = view
        return view


class Both(NamedTuple):
    """The views of two images of one shape, taken side by side if there are threads."""

    reference: Views
    moving: Views
    threads: int

    @classmethod
    def of(cls, pair: Pair, sigma: float, threads: int) -> Both:
        """Build both pyramids."""
        return cls(*_each(lambda image: Views(image, sigma), pair, pair.reference.image.size, threads), threads)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the finest level."""
        height, width = self.reference.levels[0].image.shape
        return height, width

    @property
    def levels(self) -> list[Pair]:
        """Both pyramids, level by level."""
        return [Pair(*level) for level in zip(self.reference.levels, self.moving.levels, strict=True)]

    def featured(self, level: int, features: str) -> Pair:
        """Return `Views.featured` of both."""
        return self._pair(level, lambda views: views.featured(level, features))

    def smoothed(self, level: int, features: str) -> Pair:
        """Return `Views.smoothed` of both."""
        return self._pair(level, lambda views: views.smoothed(level, features))

    def toneless(self, level: int, features: str) -> Pair:
        """Return `Views.toneless` of both."""
        return self._pair(level, lambda views: views.toneless(level, features))

    def _pair(self, level: int, view: Callable[[Views], Masked]) -> Pair:
        size = self.reference.levels[level].image.size
        return Pair(*_each(view, (self.reference, self.moving), size, self.threads))


def cropped(pair: Pair) -> Pair:
    """Return a pair without the outer share of both frames."""
    height, width = pair.reference.image.shape
    my, mx = round(FRAME * height), round(FRAME * width)
    inside = np.s_[my : height - my, mx : width - mx]
    return Pair(
        *(Masked(np.ascontiguousarray(f.image[inside]), None if f.mask is None else f.mask[inside]) for f in pair)
    )


def _structure(image: Masked, featured: Masked, reach: int) -> Masked:
    """Return what a filter makes of an image, or nothing if that is only its rounding, as the edges of a ramp are."""
    levels = featured.image[reach:-reach, reach:-reach]
    rounding = 16 * np.finfo(image.image.dtype).eps * max(float(image.image.max()), -float(image.image.min()))
    sparse = levels[::8, ::8]
    if levels.size and sparse.std(dtype=np.float64) * math.sqrt(sparse.size / levels.size) > rounding:
        return featured  # the others cannot bring the scatter of all below that
    if levels.size and levels.std(dtype=np.float64) <= rounding:
        return Masked(np.zeros_like(featured.image), featured.mask)
    return featured


def _each(function: Callable[[S], T], both: tuple[S, S], size: int, threads: int) -> tuple[T, T]:
    """Apply a function to both, side by side if there are threads: the kernels let go of Python's lock."""
    if threads == 1 or size < _WORTH_THREADS:
        return function(both[0]), function(both[1])
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(function, both)
        return first, second
