r"""The mean of frames laid on one another, to serve as a template.

Frames are resampled by a sinc under a sinc (Lanczos), five pixels wide: unlike the bilinear sampler it hardly blurs,
and what it does depends little on the fraction of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks, _kernels
from .template import Template

# pixels to each side of a sample, and the share of the frames that must cover a pixel of the mean
_SINC = 5
_COVERED = 0.5
# between which grey levels float32 has room for their squares
_HOLDS = 1e-15, 1e15


def average(greys: Iterable[NDArray[Any]], places: list[tuple[float, float] | None], border: float) -> Template:
    """Return the mean of frames, each laid where it was found, over the pixels that most of them cover."""
    total = weight = None
    middle, unit = 0.0, 1.0
    for grey, place in zip(greys, places, strict=True):
        if place is None:
            continue
        image, mask = _checks.image("frames", grey)
        if total is None or weight is None:
            total, weight = np.zeros(image.shape), np.zeros(image.shape, np.float32)
            middle, unit = _scale(image if mask is None else image[mask != 0])
        levels = (image - image.dtype.type(middle)) / image.dtype.type(unit)
        inside, laid = _resampled(np.ascontiguousarray(levels, np.float32), *place)
        if mask is None:
            total[inside] += laid[inside]
            weight[inside] += 1
        else:
            usable = _usable(mask, *place)[inside]
            total[inside] += laid[inside] * usable
            weight[inside] += usable
    assert total is not None
    assert weight is not None
    covered = weight >= max(_COVERED * float(weight.max()), 1)
    mean = np.where(covered, total / np.maximum(weight, 1), 0.0)
    mean[~covered] = mean[covered].mean() if covered.any() else 0.0
    mask = None if covered.all() else covered.astype(np.uint8)
    return Template(np.ascontiguousarray(mean, np.float32), mask, border=border)


def _scale(image: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of a frame, and the unit in which float32 holds what is about it: 1, or what goes beyond that."""
    middle = float(image.mean(dtype=np.float64))
    most = float(np.abs(image - image.dtype.type(middle)).max())
    return middle, 1.0 if _HOLDS[0] < most < _HOLDS[1] else most or 1.0


def _resampled(image: NDArray[np.float32], dx: float, dy: float) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
    """Shift a frame by a windowed sinc, which hardly blurs it, and return where it has pixels."""
    kx, ky = math.floor(dx), math.floor(dy)
    out = np.empty_like(image)
    taps = [_sinc(d - k) for d, k in ((dy, ky), (dx, kx))]
    _kernels.filter_separably(image, taps[0], taps[1], (ky - _SINC + 1, kx - _SINC + 1), 1, out)
    height, width = image.shape
    inside = (
        slice(max(0, _SINC - ky), max(0, min(height, height - ky - _SINC))),
        slice(max(0, _SINC - kx), max(0, min(width, width - kx - _SINC))),
    )
    return inside, out


def _usable(mask: NDArray[np.uint8], dx: float, dy: float) -> NDArray[np.bool_]:
    """Return where all that a windowed sinc meets may be used."""
    share = np.empty(mask.shape, np.float32)
    even = np.full(2 * _SINC + 2, 1 / (2 * _SINC + 2), np.float32)
    first = math.floor(dy) - _SINC + 1, math.floor(dx) - _SINC + 1
    _kernels.filter_separably(mask.astype(np.float32), even, even, first, 1, share)
    return share > 1 - 1e-3


def _sinc(fraction: float) -> NDArray[np.float32]:
    """Return twelve taps, the last two of them zero, of a sinc under a sinc five pixels wide."""
    t = np.arange(-_SINC + 1, _SINC + 1) - fraction
    weights = np.sinc(t) * np.sinc(t / _SINC)
    return np.append(weights / weights.sum(), [0.0, 0.0]).astype(np.float32)
