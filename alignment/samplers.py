"""The samplers: how a pass reads two images, with the bilinear hat or with the Gaussian.

A kernel runs over rectangles of the domain and asks for pixels without a question whether they exist. What it needs is
prepared here: zeros around an image where taps reach outside its frame, masks in the form that the kernels want, and
the row and column at which the first tap of the domain's pixel (0, 0) lies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._checks import Image, Mask
from .bands import Window, around, in_bands
from .bilinear import Cell
from .gaussian import REACH, Fields, Gaussian, fields, nearest, sample, taps_of
from .pyramid import Masked

# zeros around an image whose Gaussian taps reach beyond its frame, as far as any of them can
_BORDER = 2 * REACH + 1
# the weight of hidden taps, out of 1, beyond which a pixel under the Gaussian is not compared; where that leaves too
# few, up to the next
_MOST_HIDDEN = 0.02, 0.1

Offsets = tuple[Any, Any]


class Sampler:
    """Two images as a pass reads them.

    Attributes
    ----------
    reference, moving : Masked
    shape : (int, int)
        Of both.
    reach : (int, int)
        How many pixels before the frame, and after it, a place may lie that has a tap inside.
    used, usable : uint8 arrays or None
        The masks as the kernels take them, both or none: of the reference's pixels, and of the moving image with a
        border, outside which all may be used, since the zeros there are part of the setting.
    """

    reach: tuple[int, int]

    def __init__(self, reference: Masked, moving: Masked) -> None:
        self.reference, self.moving = reference, moving
        self.shape: tuple[int, int] = (reference.image.shape[0], reference.image.shape[1])
        self.used: Mask | None = None
        self.usable: Mask | None = None

    def overlap(self, domain: Window, x: Cell, y: Cell) -> Window | None:
        """Find the pixels of a domain with a tap inside the frame of the moving image; None where there are none."""
        top, bottom, left, right = domain
        height, width = self.shape
        before, after = self.reach
        top, bottom = max(top, -before - y.whole), min(bottom, height + after - y.whole)
        left, right = max(left, -before - x.whole), min(right, width + after - x.whole)
        return (top, bottom, left, right) if top < bottom and left < right else None

    @cached_property
    def target(self) -> Image:
        """The reference as a pass compares it with the moving image: sampled at displacement zero."""
        return self.reference.image

    def _masks(self, used: Mask | None, usable: Mask | None, border: int) -> tuple[Mask, Mask]:
        """Return both masks, with ones for one that is missing, the moving image's with a border of ones."""
        ones = np.ones(self.shape, np.uint8)
        wide = np.pad(ones if usable is None else usable, border, constant_values=1)
        return (ones if used is None else used), wide


class HatSampler(Sampler):
    """The bilinear hat, which reads the four corners of a cell; at displacement zero the image is as it is."""

    reach = 1, 0

    def __init__(self, reference: Masked, moving: Masked) -> None:
        super().__init__(reference, moving)
        self._dtype = moving.image.dtype.type  # that of the fractions, so that a kernel stays in it
        if reference.mask is not None or moving.mask is not None:
            self.used, wide = self._masks(reference.mask, moving.mask, 1)
            self.usable = np.ascontiguousarray(wide[:-1, :-1] & wide[1:, :-1] & wide[:-1, 1:] & wide[1:, 1:])

    def sums(
        self,
        kernel: Callable[..., NDArray[np.float64]],
        rectangles: NDArray[np.int64],
        x: Cell,
        y: Cell,
        *offsets: Offsets,
        threads: int,
    ) -> NDArray[np.float64]:
        """Return the sums of a fused pass at one displacement, one row for each rectangle.

        Parameters
        ----------
        kernel : callable
            `_kernels.sums_mse`, or `_kernels.sums_ncc`, which takes offsets.
        rectangles : int64 array of shape (K, 4)
            Inside the overlap.
        x, y : Cell
        *offsets : (u0, v0)
        threads : int
        """
        window = around(rectangles)
        source, origin = self._source(window, x, y)
        fraction = self._dtype(x.fraction), self._dtype(y.fraction)

        def run(band: NDArray[np.int64]) -> NDArray[np.float64]:
            return kernel(self.reference.image, source, band, origin, fraction, *offsets, self.used, self.usable)

        return in_bands(run, rectangles, window, threads)

    def moments(
        self,
        kernel: Callable[..., NDArray[np.float64]],
        overlap: Window,
        x: Cell,
        y: Cell,
        *offsets: Offsets,
        threads: int,
    ) -> NDArray[np.float64]:
        """Return the moments of a whole cell by `_kernels.cell_moments_mse`, or `cell_moments_ncc`; see `sums`."""
        source, origin = self._source(overlap, x, y)

        def run(band: NDArray[np.int64]) -> NDArray[np.float64]:
            rectangle = tuple(band[0].tolist())
            return kernel(self.reference.image, source, rectangle, origin, *offsets, self.used, self.usable)

        return in_bands(run, np.array([overlap]), overlap, threads)

    def _source(self, overlap: Window, x: Cell, y: Cell) -> tuple[Image, tuple[int, int]]:
        """Return the moving image and where the reference's pixel (0, 0) reads it.

        Where cells reach outside, and wherever there are masks, the image comes with a border of zeros around it.
        """
        height, width = self.shape
        top, bottom, left, right = overlap
        inside = min(top + y.whole, left + x.whole) >= 0 and bottom + y.whole < height and right + x.whole < width
        if inside and self.usable is None:
            return self.moving.image, (y.whole, x.whole)
        return self._with_border, (y.whole + 1, x.whole + 1)

    @cached_property
    def _with_border(self) -> Image:
        """The moving image in a border of zeros."""
        return np.pad(self.moving.image, 1)


class GaussianSampler(Sampler):
    """The Gaussian, under which both images are smoothed, the reference as at displacement zero."""

    reach = REACH, REACH

    def __init__(self, reference: Masked, moving: Masked, kernel: Gaussian) -> None:
        super().__init__(reference, moving)
        self.kernel = kernel
        self._bordered = _Bordered(reference), _Bordered(moving)
        if reference.mask is not None or moving.mask is not None:
            inside = [None if mask is None else _well_inside(mask, kernel) for mask in (reference.mask, moving.mask)]
            self.used, self.usable = self._masks(inside[0], inside[1], _BORDER)

    @cached_property
    def target(self) -> Image:
        """The reference, smoothed."""
        return fields(*self.reference, 0.0, 0.0, self.kernel).value

    def sums(
        self, rectangles: NDArray[np.int64], x: Cell, y: Cell, offsets: Offsets, *, threads: int
    ) -> NDArray[np.float64]:
        """Return the sixteen sums of a pass at one displacement, one row for each rectangle.

        Parameters
        ----------
        rectangles : int64 array of shape (K, 4)
            Inside the overlap.
        x, y : Cell
            The nearest pixel, and the fraction beside it.
        offsets : (u0, v0)
        threads : int
        """
        window = around(rectangles)
        reference, moving = self._bordered
        B, origin_b = self._source(reference, window, 0, 0)
        A, origin_a = self._source(moving, window, x.whole, y.whole)
        at_zero, across, along = (taps_of(self.kernel, f, A.dtype) for f in (0.0, x.fraction, y.fraction))
        u0, v0 = offsets
        weights = None if self.used is None else (reference.weights, moving.weights)
        origins = np.array([origin_b, origin_a])

        def run(band: NDArray[np.int64]) -> NDArray[np.float64]:
            sums: NDArray[np.float64] = _kernels.sums_gaussian(
                (B, A), weights, band, origins, (at_zero, along), (at_zero, across), (v0, u0), self.used, self.usable
            )
            return sums

        return in_bands(run, rectangles, window, threads)

    def seen_at(self, domain: Window, dx: float, dy: float) -> tuple[Fields, NDArray[np.float64]]:
        """Return the moving image with its derivatives, and the reference, at the usable pixels, in float64."""
        top, bottom, left, right = domain
        inside = np.s_[top:bottom, left:right]
        kept = np.ones((bottom - top, right - left), np.bool_)
        if self.used is not None and self.usable is not None:
            counted = self.usable[_BORDER:-_BORDER, _BORDER:-_BORDER]
            kept = (self.used[inside] != 0) & (_shifted_mask(counted, nearest(dx)[0], nearest(dy)[0])[inside] != 0)
        moving = fields(*self.moving, dx, dy, self.kernel)
        B = self.target[inside][kept].astype(np.float64)
        return Fields(*(field[inside][kept].astype(np.float64) for field in moving)), B

    def _source(self, image: _Bordered, window: Window, kx: int, ky: int) -> tuple[Image, tuple[int, int]]:
        """Return an image, with zeros around it where taps reach outside, and what the domain's (0, 0) meets first.

        Where there are masks, both images come with a border, and so do their weights.
        """
        height, width = self.shape
        top, bottom, left, right = window
        inside = min(top + ky, left + kx) >= REACH and bottom + ky + REACH <= height and right + kx + REACH <= width
        if inside and self.used is None:
            return image.original.image, (ky - REACH, kx - REACH)
        return image.levels, (ky - REACH + _BORDER, kx - REACH + _BORDER)


def sampler_of(reference: Masked, moving: Masked, kernel: Gaussian | str) -> HatSampler | GaussianSampler:
    """Return what reads two images with a kernel, the "hat" or a Gaussian."""
    return GaussianSampler(reference, moving, kernel) if isinstance(kernel, Gaussian) else HatSampler(reference, moving)


class _Bordered:
    """An image, and its weights, in a border as wide as Gaussian taps reach; made when first needed."""

    def __init__(self, original: Masked) -> None:
        self.original = original

    @cached_property
    def levels(self) -> Image:
        """The grey levels, zero where hidden and outside the frame."""
        image, mask = self.original
        return np.pad(image if mask is None else np.where(mask != 0, image, image.dtype.type(0)), _BORDER)

    @cached_property
    def weights(self) -> Image:
        """1 where a pixel may be used, and outside the frame: the zeros there are part of the setting."""
        image, mask = self.original
        return np.pad(np.ones_like(image) if mask is None else mask.astype(image.dtype), _BORDER, constant_values=1)


def _well_inside(mask: Mask, kernel: Gaussian) -> Mask:
    """Return the usable pixels nearly all of whose taps may be used as well, or all where that leaves fewer than half.

    Beside hidden pixels the normalised mean is that of a place farther away from them, by up to half a pixel, and the
    masks of two images hide different places.
    """
    hidden = sample((mask == 0).astype(np.float32), 0.0, 0.0, kernel)
    for most in _MOST_HIDDEN:
        inside = np.asarray((hidden <= most) & (mask != 0), np.uint8)
        if 2 * np.count_nonzero(inside) >= np.count_nonzero(mask):
            return inside
    return mask


def _shifted_mask(mask: Mask, kx: int, ky: int) -> Mask:
    """Return the mask that a displacement by whole pixels reads; what lies outside the frame may be used."""
    height, width = mask.shape
    rows, columns = np.arange(height) + ky, np.arange(width) + kx
    read: Mask = mask[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))].copy()
    read[(rows < 0) | (rows >= height)] = 1
    read[:, (columns < 0) | (columns >= width)] = 1
    return read
