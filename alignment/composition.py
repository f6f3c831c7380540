r"""The colour photograph: channels that are laid on one another, sampled once, and cut to what all of them show.

``photograph(x, y, c) = plate_c(x + dx_c, y + dy_c)`` on the pixels of the reference's rectangle. The rectangles and the
crop are (top, bottom, left, right) in pixels of the plate, bottom and right exclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import Image, InputError
from .bilinear import shift, split
from .exposures import CHANNELS, SMALLEST, Rectangle, check_exposures
from .scans import block_mean, grey, negative, white_of

CROPS = ("auto", "overlap", "none")
Crop = str | Sequence[int]
Displacements = Mapping[str, tuple[float, float]]

# rows that are sampled at a time
_ROWS = 256
# pixels along the short side of the sketch on which borders are looked for
_SKETCH = 400
# of the short side: how deep a damaged border may reach, and what is next to the edge
_DEEP, _EDGE = 0.05, 0.015
# rows next to the edge that may show a frame in part
_MARGIN = 2
# strips that a side is looked at in
_STRIPS = 6
# a border is a step that is so many times as large as nearly all of the picture, and this much of a logarithm at least
_OUT_OF_SCALE, _VISIBLE = 1.2, 0.12


def compose(
    plate: ArrayLike,
    exposures: Mapping[str, Rectangle],
    displacements: Displacements,
    *,
    reference: str = "green",
    crop: Crop = "auto",
    inverted: bool = False,
) -> tuple[NDArray[Any], Rectangle]:
    """Lay the channels of a plate on one another, by displacements that are known.

    Parameters
    ----------
    plate : array_like of shape (H, W) or (H, W, C)
        The scan.
    exposures : mapping
        The rectangle of each channel.
    displacements : mapping
        For the other two channels (dx, dy) in pixels, between pixel (0, 0) of the channel's own rectangle and of the
        reference's.
    reference : {"green", "red", "blue"}
        The channel that stays where it is.
    crop : {"auto", "overlap", "none"} or (top, bottom, left, right)
        What to show: the part that all three channels cover without damaged or partly covered borders, all that they
        cover, the whole rectangle of the reference, or a rectangle inside it.
    inverted : bool
        Whether the scan is a negative, and black and white are to be exchanged.

    Returns
    -------
    rgb : ndarray of shape (M, N, 3)
        In the dtype of the plate; black where a channel has nothing to show.
    crop : (top, bottom, left, right)
        What it shows.

    Raises
    ------
    InputError
        If an argument is not as described.

    Notes
    -----
    Each displaced channel is interpolated once, from the levels of the plate; the reference is copied.

    Examples
    --------
    >>> from alignment import datasets
    >>> demo = datasets.demo_plate()
    >>> rgb, crop = compose(demo.plate, demo.exposures, demo.truth, crop="none")
    >>> rgb.shape, crop == demo.exposures["green"]
    ((372, 440, 3), True)
    """
    levels = grey(plate)
    _checks.one_of("reference", reference, CHANNELS)
    rectangles = check_exposures(exposures, levels.shape)
    moves = _moves(displacements, reference)
    shown = _shown(levels, rectangles, moves, reference, check_crop(crop, rectangles[reference]), inverted)
    return _composed(levels, rectangles, moves, rectangles[reference], shown, inverted), shown


def check_crop(crop: object, rectangle: Rectangle | None = None) -> Crop:
    """Return a crop that is one of the names or a rectangle inside the reference's, or say what is wrong with it."""
    if isinstance(crop, str):
        return _checks.one_of("crop", crop, CROPS)
    right = "give 'auto', 'overlap', 'none' or (top, bottom, left, right) in pixels of the plate"
    if not isinstance(crop, Sequence | np.ndarray) or np.shape(crop) != (4,):
        raise InputError(f"crop is {crop!r}; {right}")
    top, bottom, left, right_ = (_checks.whole_number(f"crop[{n}]", v) for n, v in enumerate(crop))
    if not (top < bottom and left < right_):
        raise InputError(f"crop is {(top, bottom, left, right_)}, which holds no pixel; {right}")
    if rectangle is not None:
        t, b, l, r = rectangle  # noqa: E741
        if not (t <= top and bottom <= b and l <= left and right_ <= r):
            raise InputError(
                f"crop is {(top, bottom, left, right_)}, which does not lie inside the exposure of the reference, "
                f"{rectangle}; {right}"
            )
    return top, bottom, left, right_


def _moves(displacements: Displacements, reference: str) -> dict[str, tuple[float, float]]:
    """Return the displacement of each channel, that of the reference (0, 0)."""
    others = [name for name in CHANNELS if name != reference]
    if not isinstance(displacements, Mapping) or not set(others) <= set(displacements):
        raise InputError(f"displacements are {displacements!r}; give (dx, dy) for {others[0]!r} and {others[1]!r}")
    return {
        name: _checks.pair_of_numbers(f"displacements[{name!r}]", displacements[name]) if name in others else (0.0, 0.0)
        for name in CHANNELS
    }


def _composed(
    plate: Image,
    rectangles: Mapping[str, Rectangle],
    moves: Displacements,
    frame: Rectangle,
    shown: Rectangle,
    inverted: bool,
) -> Image:
    """Sample the part of the reference's frame that is shown from all channels, some rows at a time."""
    top, bottom, left, right = shown
    rgb = np.empty((bottom - top, right - left, 3), plate.dtype)
    white = white_of(plate) if inverted else None
    for start in range(top, bottom, _ROWS):
        stop = min(start + _ROWS, bottom)
        window = (start - frame[0], stop - frame[0], left - frame[2], right - frame[2])
        for n, name in enumerate(CHANNELS):
            rgb[start - top : stop - top, :, n] = _sampled(plate, rectangles[name], moves[name], window, white)
    return rgb


def _sampled(
    plate: Image, rectangle: Rectangle, move: tuple[float, float], window: Rectangle, white: float | None
) -> Image:
    """Return exposure(x + dx, y + dy) for the x and y of a window, zero outside the exposure."""
    top, bottom, left, right = rectangle
    x, y = split(move[0]), split(move[1])
    y0, y1, x0, x1 = window[0] + y.whole, window[1] + y.whole + 1, window[2] + x.whole, window[3] + x.whole + 1
    block = np.zeros((y1 - y0, x1 - x0), plate.dtype)
    a, b = min(max(y0, 0), bottom - top), max(min(y1, bottom - top), 0)
    c, d = min(max(x0, 0), right - left), max(min(x1, right - left), 0)
    if a < b and c < d:
        source = plate[top + a : top + b, left + c : left + d]
        block[a - y0 : b - y0, c - x0 : d - x0] = source if white is None else negative(source, white)
    laid = shift(block, x.fraction, y.fraction) if x.fraction or y.fraction else block
    return np.asarray(laid[:-1, :-1])


def _shown(
    plate: Image,
    rectangles: Mapping[str, Rectangle],
    moves: Displacements,
    reference: str,
    crop: Crop,
    inverted: bool,
) -> Rectangle:
    """Return the part of the plate, within the reference's rectangle, that the photograph shows."""
    frame = rectangles[reference]
    if not isinstance(crop, str):
        top, bottom, left, right = crop
        return top, bottom, left, right
    if crop == "none":
        return frame
    shown = _overlap(rectangles, moves, frame)
    if shown is None:
        return frame  # displaced beyond sense: show all, the status says why
    return shown if crop == "overlap" else _undamaged(plate, rectangles, moves, frame, shown, inverted)


def _overlap(rectangles: Mapping[str, Rectangle], moves: Displacements, frame: Rectangle) -> Rectangle | None:
    """Return what all three exposures cover, or None if that is too little to see."""
    y0 = max(math.ceil(-moves[name][1]) for name in CHANNELS)
    x0 = max(math.ceil(-moves[name][0]) for name in CHANNELS)
    y1 = min(math.floor(r[1] - r[0] - moves[name][1]) for name, r in rectangles.items())
    x1 = min(math.floor(r[3] - r[2] - moves[name][0]) for name, r in rectangles.items())
    top, bottom = frame[0] + max(y0, 0), min(frame[0] + y1, frame[1])
    left, right = frame[2] + max(x0, 0), min(frame[2] + x1, frame[3])
    return (top, bottom, left, right) if bottom - top >= SMALLEST and right - left >= SMALLEST else None


def _undamaged(
    plate: Image,
    rectangles: Mapping[str, Rectangle],
    moves: Displacements,
    frame: Rectangle,
    shown: Rectangle,
    inverted: bool,
) -> Rectangle:
    """Return what is shown less the borders that are damaged or partly covered in any of the channels."""
    factor = max(1, round(min(shown[1] - shown[0], shown[3] - shown[2]) / _SKETCH))
    small = _sketch(plate, rectangles, moves, frame, shown, factor, inverted)
    top, bottom, left, right = shown
    cuts = [factor * _damage(side) for side in (small, small[::-1], small.swapaxes(0, 1), small.swapaxes(0, 1)[::-1])]
    shown = top + cuts[0], bottom - cuts[1], left + cuts[2], right - cuts[3]
    tight = shown[1] - shown[0] < SMALLEST or shown[3] - shown[2] < SMALLEST
    return (top, bottom, left, right) if tight else shown


def _sketch(
    plate: Image,
    rectangles: Mapping[str, Rectangle],
    moves: Displacements,
    frame: Rectangle,
    shown: Rectangle,
    factor: int,
    inverted: bool,
) -> Image:
    """Return the photograph reduced by a whole factor, from exposures that are reduced first."""
    y, x = (shown[0] - frame[0]) / factor, (shown[2] - frame[2]) / factor
    window = (0, (shown[1] - shown[0]) // factor, 0, (shown[3] - shown[2]) // factor)
    layers = []
    for name in CHANNELS:
        top, bottom, left, right = rectangles[name]
        small = block_mean(plate[top:bottom, left:right], factor)
        white = (1.0 if plate.dtype.kind in "iu" else white_of(plate)) if inverted else None
        move = moves[name][0] / factor + x, moves[name][1] / factor + y
        layers.append(_sampled(small, (0, small.shape[0], 0, small.shape[1]), move, window, white))
    # what lies a part of a coarse pixel outside an exposure is not a border of the photograph
    return np.stack(layers, axis=-1)[:-1, :-1]


def _damage(picture: Image) -> int:
    r"""Return how many rows to drop at the top of a picture to be rid of what is no picture in any channel.

    What the picture shows changes in all three channels at one place; the border of one exposure, a chip or a tape in
    one of them. So of each strip the shares of the channels, :math:`\log q_c - \frac{1}{3} \sum_c \log q_c`, are
    looked at; next to the edge, where three borders may coincide, the channels themselves.
    """
    short = min(picture.shape[:2])
    deep, edge = max(4, round(_DEEP * short)), max(3, round(_EDGE * short))
    margin = round(0.03 * picture.shape[1])
    cuts = np.linspace(margin, picture.shape[1] - margin, _STRIPS + 1).astype(int)
    black = 0.02 * float(picture.max()) + 1e-9
    worst = _MARGIN
    for a, b in pairwise(cuts):
        logs = np.log(picture[:, a:b].mean(axis=1, dtype=np.float64).clip(0) + black)
        shares = logs - logs.mean(axis=1, keepdims=True)
        worst = max(worst, _step(shares, deep), _step(logs, edge))
    return worst


def _step(profiles: NDArray[np.float64], deep: int) -> int:
    """Return the row behind the innermost step that is out of scale with those of the picture, 0 if there is none."""
    steps = np.abs(profiles[2:] - profiles[:-2]).max(axis=1)
    usual = float(np.quantile(steps[deep:], 0.98)) if len(steps) > deep else 0.0
    high = np.nonzero(steps[:deep] > max(_OUT_OF_SCALE * usual, _VISIBLE))[0]
    return int(high[-1]) + 2 if len(high) else 0
