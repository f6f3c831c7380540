r"""Finding the three exposures on the scan of a plate, whatever the scan shows around them.

Between and around the exposures the plate was not exposed: a frame, black on a positive scan, white on a negative one.
Outside the plate lies paper, or the scan was cut before. Two thin straight lines across the plate, and the ends of the
outer exposures as far away again, are what all plates share; neither their place nor their width is.

All rectangles are (top, bottom, left, right) in pixels of the scan, bottom and right exclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import Image, InputError
from .pyramid import Masked, edges, smooth
from .scans import block_mean

Rectangle = tuple[int, int, int, int]
Levels = NDArray[np.float64]

CHANNELS = ("red", "green", "blue")
_INITIALS = {name[0]: name for name in CHANNELS}

# the smallest exposure that can show anything to align
SMALLEST = 24
# rows of the reduced scan that is looked at: enough for a line of a few of them to be seen
_ROWS = 1100
# of the height of the scan: where the first and the last frame between exposures may lie, and how far apart
_FIRST, _LAST, _PITCH = (0.2, 0.48), (0.5, 0.82), (0.2, 0.36)
# of a pitch: how much of the outer exposures the scan may have lost
_LOST = 0.1
# of the height of the scan: the thickest frame between exposures, and how far it may be from straight and level
_THICK, _SLANT = 0.015, 0.004
# of the levels of a scan: what is dark, how deep a line across the plate is at least, the smallest step into a picture
_DARK, _LINE, _STEP = 0.3, 0.08, 0.04
# of the length of a profile: how wide a step into a picture is; and the share of the largest one that counts as well
_STEP_WIDTH, _OUTERMOST = 0.008, 0.6
# rows of the scan on which the scene is looked for three times, and pixels that its edges are compared over there
_SCENES, _SCENE_DETAIL = 360, 6.0
# how far, of a pitch, frames and scenes are displaced at times (thrice that never), and how much better one pitch is
# than others to be sure
_PLAY, _REPEATED = 0.02, 1.5
# what a pitch of picture outside the three exposures, or of an exposure outside the scan, counts against them
_OUTSIDE, _BEYOND = 3.0, 1.0
# most scans are positives: the evidence that it takes to think otherwise
_NEGATIVE = 0.5
# strips that a side is cut into, each with an opinion of its own
_STRIPS = 8
# of the width of a scan: how far apart the sides of two exposures may be, and how wide a frame
_ONE_PLATE, _FRAME = 0.02, 0.15
# of the size of a scan: how far from its edge a side may lie
_DEEP = 0.3


@dataclass(frozen=True)
class Exposures:
    """The three exposures of a plate.

    Attributes
    ----------
    rectangles : dict
        For "red", "green" and "blue" (top, bottom, left, right), the frame left out; their sizes may differ a little.
    inverted : bool
        Whether the scan is a negative: its frames are white.
    found : bool
        Whether the frames between the exposures were seen; if not, the rectangles are thirds of what is inside the
        paper.
    """

    rectangles: dict[str, Rectangle]
    inverted: bool
    found: bool


class _Lines(NamedTuple):
    """The two frames between exposures, in rows of the reduced scan, and how well they show."""

    first: int
    last: int
    depth: float

    @property
    def pitch(self) -> int:
        """How far one exposure lies below the one before."""
        return self.last - self.first


def names_of(order: str) -> tuple[str, str, str]:
    """Return the channels from the top of a plate down.

    Examples
    --------
    >>> names_of("bgr")
    ('blue', 'green', 'red')
    """
    if not isinstance(order, str) or sorted(order) != sorted(_INITIALS):
        raise InputError(
            f"order is {order!r}; give the letters r, g and b in the order of the exposures from the top, such as 'bgr'"
        )
    first, second, third = (_INITIALS[letter] for letter in order)
    return first, second, third


def find_exposures(plate: Image, *, order: str = "bgr") -> Exposures:
    r"""Find the three exposures of a plate.

    Parameters
    ----------
    plate : ndarray of shape (H, W)
        A grey scan of any dtype, the exposures above one another.
    order : str
        The letters r, g and b in the order of the filters from the top down.

    Returns
    -------
    Exposures

    Raises
    ------
    InputError
        If the plate is constant or too small.

    Notes
    -----
    The scan is reduced to about a thousand rows. Its columns are gathered in strips, of each row of a strip the median
    and a high quantile are taken, and a line is as deep as both sink below what is above and below them:

    .. math:: D(y) = \min\left(\max_{0 < k \le K} q(y - k), \max_{0 < k \le K} q(y + k)\right) - q(y)

    The two lines of one depth that lie a third of the plate apart, with the ends of the outer exposures where the same
    pitch puts them, are the frames between the exposures. On a negative they are ridges; which of the two a scan is
    follows from their depth, and from what lies outside: paper is white about a black frame, black about a white one.

    Each side of an exposure is where the frame ends, strip by strip; the middle one of the strips counts, so that a
    chip, a tape or writing on the frame moves nothing.

    Examples
    --------
    >>> from alignment import datasets
    >>> demo = datasets.demo_plate()
    >>> found = find_exposures(demo.plate)
    >>> found.found, found.inverted
    (True, False)
    >>> demo.exposures["green"], found.rectangles["green"]  # with its frame of nine pixels, without
    ((388, 760, 16, 456), (397, 750, 26, 447))
    """
    names = names_of(order)
    if plate.shape[0] < 3 * SMALLEST or plate.shape[1] < SMALLEST:
        raise InputError(
            f"the plate has {plate.shape[1]} x {plate.shape[0]} pixels (width x height), too few for three exposures "
            f"above one another; give at least {SMALLEST} x {3 * SMALLEST}"
        )
    levels, factor = _reduced(plate)
    inverted, lines = _polarity(levels)
    if inverted:
        levels = 1 - levels
    if lines.depth < _LINE:
        return Exposures(dict(zip(names, _thirds(plate.shape, levels, factor), strict=True)), False, False)
    rectangles = [_at_full_size(r, factor, plate.shape) for r in _rectangles(levels, lines)]
    if any(bottom - top < SMALLEST or right - left < SMALLEST for top, bottom, left, right in rectangles):
        return Exposures(dict(zip(names, _thirds(plate.shape, levels, factor), strict=True)), inverted, False)
    return Exposures(dict(zip(names, rectangles, strict=True)), inverted, True)


def is_negative(plate: Image) -> bool:
    """Say whether a scan is a negative, with white frames, as `find_exposures` does."""
    return _polarity(_reduced(plate)[0])[0]


def check_exposures(exposures: object, shape: tuple[int, ...]) -> dict[str, Rectangle]:
    """Return rectangles given by hand as a dictionary, or say what is wrong with them."""
    right = "give 'red', 'green' and 'blue', each as (top, bottom, left, right)"
    if not isinstance(exposures, Mapping) or sorted(exposures) != sorted(CHANNELS):
        raise InputError(f"exposures is {_checks.in_words(exposures)}; {right}")
    checked = {name: _checks.window(f"exposures[{name!r}]", exposures[name], (shape[0], shape[1])) for name in CHANNELS}
    for name, (top, bottom, left, right_) in checked.items():
        if bottom - top < SMALLEST or right_ - left < SMALLEST:
            raise InputError(
                f"exposures[{name!r}] is {right_ - left} x {bottom - top} pixels (width x height), too few to align; "
                f"give at least {SMALLEST} x {SMALLEST}"
            )
    return checked


def frame_end(profiles: Levels, most: int) -> int | None:
    r"""Say how many levels of all profiles, from outside inwards, belong to a dark frame.

    Parameters
    ----------
    profiles : ndarray of shape (S, N)
        A high quantile of the levels of each of S strips along one side, from outside inwards, in [0, 1].
    most : int
        The deepest that the frame may reach.

    Returns
    -------
    int or None
        None where no frame is seen.

    Notes
    -----
    A frame ends where nearly all strips are dark before, and on average

    .. math:: s(x) = \frac{1}{w} \sum_{k = 0}^{w - 1} q(x + k) - \min_{0 < k \le w} q(x - k)

    is large: at the outermost of the largest such steps. The rim of a plate makes smaller ones, and a dark part of the
    picture is seldom dark, and bright beside it, along a whole side.

    Examples
    --------
    >>> strip = [1, 1, 0, 0, 0, 0.6, 0.5, 0.6, 0.6]
    >>> frame_end(np.array([strip] * 4), 8)
    5
    >>> frame_end(np.full((4, 9), 0.5), 8) is None
    True
    """
    wide = max(1, round(_STEP_WIDTH * profiles.shape[1]))
    padded = np.pad(profiles, ((0, 0), (wide, wide)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, wide, axis=1)
    before, after = windows[:, : profiles.shape[1]].min(axis=2), windows[:, wide:][:, : profiles.shape[1]].mean(axis=2)
    step = np.where(np.quantile(before, 0.75, axis=0) < _DARK, (after - before).clip(-0.5, 0.5).mean(axis=0), 0.0)
    step = step[: most + 1]
    if not len(step) or step.max() < _STEP:
        return None
    first = int(np.argmax(step >= _OUTERMOST * step.max()))
    return first + int(np.argmax(step[first : first + 2 * wide + 1]))


def _located(profiles: Levels, near: int, reach: int) -> int:
    """Return where the middle one of the strips has risen half way from its frame to its picture, about a place."""
    start, stop = max(0, near - reach), min(profiles.shape[1], near + reach + 1)
    ends = []
    for profile in profiles[:, start:stop]:
        at = near - start
        low = int(np.argmin(profile[: at + 1]))
        high = float(profile[at : at + reach].max())
        if high - profile[low] >= _STEP:
            ends.append(start + low + int(np.argmax(profile[low:] >= (profile[low] + high) / 2)))
    return math.ceil(float(np.median(ends))) if ends else near


def _reduced(plate: Image) -> tuple[Levels, int]:
    """Return the scan reduced by a whole factor, and its levels between its darkest and its brightest ones."""
    factor = max(1, round(plate.shape[0] / _ROWS))
    small = block_mean(plate, factor).astype(np.float64)
    low, high = np.quantile(small, (0.005, 0.995))
    if low == high:
        low, high = small.min(), small.max()
    if low == high:
        raise InputError(f"the plate is constant: every pixel is {plate.flat[0]}; give a scan with three exposures")
    return ((small - low) / (high - low)).clip(0, 1), factor


def _polarity(levels: Levels) -> tuple[bool, _Lines]:
    """Say whether a scan is a negative, and where its frames between the exposures lie."""
    pitches = _pitches(levels)
    low, middle, high = _strips(levels)
    content = _content(levels)
    dark = _lines(np.stack([middle, high]), content, pitches)
    bright = _lines(1 - np.stack([middle, low]), content, pitches)
    votes = _votes(levels, dark if dark.depth >= bright.depth else bright)
    evidence = (dark.depth - bright.depth) / max(dark.depth, bright.depth, 1e-6) + votes
    inverted = evidence < -_NEGATIVE and bright.depth >= _LINE
    return inverted, bright if inverted else dark


def _pitches(levels: Levels) -> dict[int, float]:
    r"""Return how many rows one exposure may lie below the one before, and what speaks against each.

    It is seen from the scene, which a plate shows three times.

    The edges of the scan, so normalised that frames and skies count little, correlate with themselves moved down by

    .. math:: R(m) = \max_n \sum_{x, y} e(x, y) \, e(x + n, y + m)

    where one exposure falls on the next; the frames need not be exactly as far apart as the scenes inside them.
    """
    height = len(levels)
    low, high = (round(share * height) for share in _PITCH)
    factor = max(1, round(height / _SCENES))
    small = edges(smooth(Masked(block_mean(levels, factor)), 1.0)).image
    width = small.shape[1]
    small = small[:, round(0.12 * width) : round(0.88 * width)]
    small = np.minimum(small, np.quantile(small, 0.97))
    fine = small - smooth(Masked(small), _SCENE_DETAIL).image
    scatter = np.sqrt(smooth(Masked(fine**2), _SCENE_DETAIL).image)
    fine = fine / np.maximum(scatter, max(0.25 * float(scatter.mean()), 1e-12))
    size = 2 * fine.shape[0], 2 * fine.shape[1]
    power = np.abs(np.fft.rfft2(fine - fine.mean(axis=1, keepdims=True), s=size)) ** 2
    lags = np.arange(low // factor, high // factor + 1)
    beside = round(_LOST * width)
    found = np.fft.irfft2(power, s=size)[lags][:, np.r_[-beside : beside + 1]].max(axis=1) / (len(fine) - lags)
    best = int(np.argmax(found))
    others = found[np.abs(lags - lags[best]) > 3 * _PLAY * lags[best]]
    if not len(others) or found[best] < _REPEATED * max(float(others.max()), 0.0):
        return dict.fromkeys(range(low, high), 0.0)
    pitch = factor * float(lags[best])
    near, far = (round((1 + 3 * play) * pitch) for play in (-_PLAY, _PLAY))
    return {n: 0.05 * ((n / pitch - 1) / _PLAY) ** 2 for n in range(max(near, low), min(far, high) + 1)}


def _strips(levels: Levels) -> Levels:
    """Return a low quantile, the median and a high quantile of each row of each strip of columns: (3, strips, rows)."""
    width = levels.shape[1]
    cuts = np.linspace(0.06 * width, 0.94 * width, _STRIPS + 3).astype(int)
    return np.stack([_quantiles(levels[:, a : max(b, a + 1)]) for a, b in pairwise(cuts)], axis=1)


def _quantiles(levels: Levels) -> Levels:
    """Return the quantiles 0.1, 0.5 and 0.9 of each row: the nearest levels, which is quicker than between them."""
    ordered = np.sort(levels, axis=1)
    last = levels.shape[1] - 1
    return np.stack([ordered[:, round(share * last)] for share in (0.1, 0.5, 0.9)])


def _lines(strips: Levels, content: Levels, pitches: dict[int, float]) -> _Lines:
    """Return the two dark lines across the plate that are most likely the frames between exposures."""
    height = len(content)
    depth, falls, rises = _depths(strips)
    best = _Lines(height // 3, 2 * height // 3, 0.0)
    score = -math.inf
    content = np.concatenate([[0.0], np.cumsum(content)])
    near = max(1, round(0.02 * float(np.median(list(pitches)))))
    top, end = _highest(falls, near), _highest(rises, near)
    first = np.arange(round(_FIRST[0] * height), round(_FIRST[1] * height))
    for pitch, against in pitches.items():
        y1 = first[(first - pitch > -_LOST * pitch) & (first + 2 * pitch < height + _LOST * pitch)]
        y1 = y1[(y1 + pitch >= _LAST[0] * height) & (y1 + pitch < _LAST[1] * height)]
        if not len(y1):
            continue
        y0, y3 = y1 - pitch, y1 + 2 * pitch
        ends = np.where(y0 >= 0, top[np.maximum(y0, 0)], 0) + np.where(y3 < height, end[np.minimum(y3, height - 1)], 0)
        outside = content[np.maximum(y0 - near, 0)] + content[-1] - content[np.minimum(y3 + near, height)]
        beyond = np.maximum(-y0, 0) + np.maximum(y3 - height, 0)
        total = depth[y1] + depth[y1 + pitch] + 0.25 * ends - (_OUTSIDE * outside + _BEYOND * beyond) / pitch
        i = int(np.argmax(total))
        if total[i] - against > score:
            score = float(total[i]) - against
            best = _Lines(int(y1[i]), int(y1[i]) + pitch, float(depth[y1[i]] + depth[y1[i] + pitch]) / 2)
    return best


def _depths(strips: Levels) -> tuple[Levels, Levels, Levels]:
    """Return by how much each row is darker than those above and below, than those below, and than those above."""
    height = strips.shape[-1]
    thick, slant = max(4, round(_THICK * height)), max(1, round(_SLANT * height))
    above = _windows(strips, thick, 0).max(axis=-1)
    below = _windows(strips, 0, thick).max(axis=-1)
    deeper = np.stack([np.minimum(above, below) - strips, below - strips, above - strips])
    deeper = _highest(deeper, slant).mean(axis=1)
    # a line across the plate is one in nearly all strips, what the picture shows in some
    depth, falls, rises = (deeper.mean(axis=1) + np.quantile(deeper, 0.3, axis=1)) / 2
    # what any row has by chance, being above and below others, is no line
    return depth - np.median(depth), falls, rises


def _content(levels: Levels) -> Levels:
    """Return, of each row, how much it looks like a picture (1) and not like paper or frame (0)."""
    width = levels.shape[1]
    low, _, high = _quantiles(levels[:, round(0.1 * width) : max(round(0.9 * width), 1)])
    spread = high - low
    content: Levels = (spread / max(float(np.median(spread)), 1e-6)).clip(0, 1)
    return content


def _highest(values: Levels, near: int) -> Levels:
    """Return the largest of the values within `near` of each, along the last axis."""
    highest: Levels = _windows(values, near, near).max(axis=-1)
    return highest


def _windows(values: Levels, before: int, after: int) -> Levels:
    """Return the values from `before` to `after` each, along a new last axis, the ends repeated."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(before, after)], mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, before + after + 1, axis=-1)


def _votes(levels: Levels, lines: _Lines) -> float:
    """Return what the surroundings say: from 1, paper about black frames, to -1, the same of a negative."""
    height, width = levels.shape
    pitch = lines.pitch
    votes = []
    for n in range(3):
        top, bottom = round(lines.first + (n - 0.9) * pitch), round(lines.first + (n - 0.1) * pitch)
        part = levels[max(top, 0) : min(bottom, height)]
        low, high = np.quantile(part, (0.005, 0.995))
        part = (part - low) / max(high - low, 1e-6)
        most = round(_DEEP * width)
        votes += [_vote(part[:, :most]), _vote(part[:, : -most - 1 : -1])]
    middle = levels[:, round(0.2 * width) : round(0.8 * width)].T
    most = max(8, round(0.5 * _DEEP * height))
    votes += [_vote(middle[:, :most]), _vote(middle[:, : -most - 1 : -1])]
    return float(np.mean(votes))


def _vote(lines: Levels) -> float:
    """Say what the columns of one side, from outside inwards, speak for: a black frame (1) or a white one (-1)."""
    low, high = np.quantile(lines, (0.12, 0.88), axis=0)
    kinds = np.where(high < _DARK, 1, np.where(low > 1 - _DARK, -1, 0))
    kinds = kinds[kinds != 0]
    if not len(kinds):
        return 0.0
    other = np.nonzero(kinds != kinds[0])[0]
    # paper, then a frame; or but one of the two, which might be either: more likely a frame where it is dark
    return float(kinds[other[0]]) if len(other) else 0.25 * float(kinds[0])


def _rectangles(levels: Levels, lines: _Lines) -> list[Rectangle]:
    """Return the three rectangles on the reduced scan."""
    height, width = levels.shape
    pitch = lines.pitch
    columns = np.linspace(0.18 * width, 0.82 * width, _STRIPS + 1).astype(int)
    profiles = np.stack([
        _quantiles(levels[:, a : max(b, a + 1)])[2]
        for a, b in pairwise(columns)
    ])  # fmt: skip
    (above1, below1), (above2, below2) = (_around(profiles, line, pitch) for line in (lines.first, lines.last))
    tops = [_outer(profiles, above1 - (above2 - below1), pitch), below1, below2]
    bottoms = [above1, above2, height - _outer(profiles[:, ::-1], height - below2 - (above2 - below1), pitch)]
    sides = _sides(levels, list(zip(tops, bottoms, strict=True)))
    return [(t, b, *side) for t, b, side in zip(tops, bottoms, sides, strict=True)]


def _around(profiles: Levels, line: int, pitch: int) -> tuple[int, int]:
    """Return where the exposure above a line ends and the one below begins."""
    reach = max(6, round(0.06 * pitch))
    window = profiles[:, line - reach : line + reach + 1]
    ends = []
    for profile in window:
        near = max(2, round(0.4 * reach))
        centre = reach - near + int(np.argmin(profile[reach - near : reach + near + 1]))
        ends.append((centre - _rise(profile[centre::-1]), centre + 1 + _rise(profile[centre:])))
    above, below = np.median(ends, axis=0)
    return line - reach + math.floor(above) + 1, line - reach + math.ceil(below) - 1


def _rise(profile: Levels) -> int:
    """Return how far the middle of a line is from where its profile has risen half way to what is beside it."""
    low = float(profile[: max(2, len(profile) // 8)].min())
    above = profile > low + max(_STEP, 0.2 * (float(profile.max()) - low))
    start = int(np.argmax(above)) if above.any() else 0
    high = float(profile[start : start + max(3, len(profile) // 6)].max())
    return int(np.argmax(profile >= (low + high) / 2))


def _outer(profiles: Levels, expected: int, pitch: int) -> int:
    """Return where the first exposure begins, of profiles from its outer side, near where the others let expect it."""
    reach = max(6, round(0.06 * pitch))
    if expected + reach < 1:
        return 0
    start = max(0, expected - reach)
    end = frame_end(profiles[:, start : expected + 4 * reach], expected + reach - start)
    if end is None:
        return max(0, expected)
    return _located(profiles, start + end, max(3, reach // 3))


def _sides(levels: Levels, rows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the left and the right side of each exposure: those of one plate are nearly the same."""
    width = levels.shape[1]
    profiles = [_side_profiles(levels[top:bottom]) for top, bottom in rows]
    left = _one_side(profiles)
    right = _one_side([p[:, ::-1] for p in profiles])
    return [(a, width - b) for a, b in zip(left, right, strict=True)]


def _one_side(profiles: list[Levels]) -> list[int]:
    """Return how many levels of the profiles of each exposure, from outside inwards, belong to paper and frame."""
    together = np.concatenate(profiles)
    width = together.shape[1]
    paper = _paper(together)
    most = min(paper + round(_FRAME * width), round(_DEEP * width))
    end = frame_end(together, most)
    if end is None:
        return [paper] * len(profiles)
    return [_located(p, end, max(3, round(_ONE_PLATE * width))) for p in profiles]


def _side_profiles(levels: Levels) -> Levels:
    """Return a high quantile of each column of each strip of one exposure."""
    height = len(levels)
    low, high = np.quantile(levels, (0.005, 0.995))
    rows = np.linspace(0.04 * height, 0.96 * height, _STRIPS + 1).astype(int)
    strips = [_quantiles(levels[a : max(b, a + 1)].T)[2] for a, b in pairwise(rows)]
    return np.asarray((np.stack(strips) - low) / max(high - low, 1e-6))


def _paper(profiles: Levels) -> int:
    """Return how many levels from the outside are paper: bright in most strips, up to a darker one."""
    bright = np.median(profiles, axis=0) > 1 - 0.5 * _DARK
    if not bright[0] or bright[: round(_DEEP * profiles.shape[1])].all():
        return 0
    return int(np.argmin(bright))


def _thirds(shape: tuple[int, ...], levels: Levels, factor: int) -> list[Rectangle]:
    """Return equal thirds of what lies inside the paper."""
    width = levels.shape[1]
    rows = np.median(levels[:, round(0.2 * width) : max(round(0.8 * width), 1)], axis=1)[np.newaxis]
    columns = np.median(levels, axis=0)[np.newaxis]
    top, bottom = factor * _paper(rows), shape[0] - factor * _paper(rows[:, ::-1])
    left, right = factor * _paper(columns), shape[1] - factor * _paper(columns[:, ::-1])
    third = (bottom - top) // 3
    return [(top + n * third, top + (n + 1) * third, left, right) for n in range(3)]


def _at_full_size(rectangle: Sequence[int], factor: int, shape: tuple[int, ...]) -> Rectangle:
    """Return a rectangle of the reduced scan in pixels of the scan, inside it."""
    top, bottom, left, right = (factor * side for side in rectangle)
    return max(top, 0), min(bottom, shape[0]), max(left, 0), min(right, shape[1])
