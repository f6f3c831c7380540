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


def average(greys: Iterable[NDArray[Any]], places: list[tuple[float, float] | None], border: float) -> Template:
    """Return the mean of frames, each laid where it was found, over the pixels that most of them cover."""
    total = weight = None
    for grey, place in zip(greys, places, strict=True):
        if place is None:
            continue
        image, mask = _checks.image("frames", grey)
        if total is None or weight is None:
            total, weight = np.zeros(image.shape), np.zeros(image.shape, np.float32)
        if mask is not None:  # what is not finite is left out with the frame
            continue
        inside, laid = _resampled(np.ascontiguousarray(image, np.float32), *place)
        total[inside] += laid[inside]
        weight[inside] += 1
    assert total is not None
    assert weight is not None
    covered = weight >= max(_COVERED * float(weight.max()), 1)
    mean = np.where(covered, total / np.maximum(weight, 1), 0.0)
    mean[~covered] = mean[covered].mean()
    mask = None if covered.all() else covered.astype(np.uint8)
    return Template(np.ascontiguousarray(mean, np.float32), mask, border=border)


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


def _sinc(fraction: float) -> NDArray[np.float32]:
    """Return twelve taps, the last two of them zero, of a sinc under a sinc five pixels wide."""
    t = np.arange(-_SINC + 1, _SINC + 1) - fraction
    weights = np.sinc(t) * np.sinc(t / _SINC)
    return np.append(weights / weights.sum(), [0.0, 0.0]).astype(np.float32)
