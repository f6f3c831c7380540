"""Frame after frame on one template: look where the last one was, and search only where that does not do.

A frame that lies near its predecessor and fits as well as the others did costs one pass. Whatever else comes, a jump,
a frame in which something went wrong, goes through the whole of `register`, whose verdict holds.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import InputError
from .registration import Registration, register
from .search import phase_peak
from .template import Look, Template

Array = NDArray[np.float64]
Window = tuple[int, int, int, int]

# frames whose fit is remembered, after how many it is looked at anew, and how many make a habit
_REMEMBERED = 51
_REFRESHED = 8
_HABIT = 3
# how much worse than usual a fit may be: in scatters, and in correlation at the least
_SCATTERS = 6.0
_SLACK = 0.02
# pixels by which a search and a look at its end may differ, and that a frame may have moved where it is ambiguous
_SAME = 0.75
_NEARBY = 8.0
# frames at the beginning among which the first good one is looked for, and partners that each is tried with
HEAD = 8
_PARTNERS = 3
# pixels along a side of the coarse copies that a jump is looked for in, and how few are of no use; a level beyond
# which they are, too
_COARSE = 128
_LEAST = 16
_IMMENSE = 1e60
# the share of a frame that must be finite
_FINITE = 0.5
# strips are kept of the first frames and of some later ones: enough to know how the gradient scatters
_EVERY = 64, 32

# a frame with less than this share of the usual contrast, in which neighbours correlate by less than this, is noise
_CONTRAST = 0.5
_ALIKE = 0.1

FAILURES = {
    "dark": "the frame has much less contrast than usual, and what there is is noise, different from pixel to pixel",
    "blank": "the frame is of one grey level",
    "not finite": "more than half of the frame's pixels are masked, not finite, or too large to be squared",
}


class Fit(NamedTuple):
    """Where a search ended, and how well the images fit there."""

    dx: float
    dy: float
    ncc: float
    covariance: Array
    window: Window

    @classmethod
    def of(cls, found: Registration) -> Fit:
        """Take from a registration what counts here."""
        return cls(found.dx, found.dy, found.ncc, found.covariance, found.window)


class Found(NamedTuple):
    """What is known of one frame: a look at it, or what a search ended with.

    Attributes
    ----------
    status : str
        "converged", one of `FAILURES`, or why the search failed.
    """

    status: str
    message: str
    look: Look | None = None
    fit: Fit | None = None

    @property
    def success(self) -> bool:
        """Whether there is a displacement."""
        return self.status == "converged"

    @property
    def ncc(self) -> float:
        """The correlation, NaN where there is none."""
        best = self.look or self.fit
        return best.ncc if best is not None else np.nan

    @property
    def place(self) -> tuple[float, float]:
        """The displacement (dx, dy), NaN where there is none."""
        best = self.look or self.fit
        return (best.dx, best.dy) if best is not None and self.success else (np.nan, np.nan)


class Habit:
    """How well frames usually fit."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=_REMEMBERED)
        self._least = math.inf
        self._count = 0

    def add(self, ncc: float) -> None:
        """Remember a fit."""
        self._seen.append(ncc)
        self._count += 1
        if self._count >= _HABIT and (self._count < _REMEMBERED or self._count % _REFRESHED == 0):
            middle = sorted(self._seen)[len(self._seen) // 2]
            scatter = 1.4826 * sorted(abs(value - middle) for value in self._seen)[len(self._seen) // 2]
            self._least = middle - max(_SCATTERS * scatter, _SLACK)

    @property
    def known(self) -> bool:
        """Whether there is a habit yet."""
        return math.isfinite(self._least)

    def allows(self, ncc: float) -> bool:
        """Say whether a fit is as good as usual."""
        return ncc >= self._least


class Tracker:
    """Finds frames on a template, each in its turn.

    Parameters
    ----------
    template : Template
    max_shift : float or (float, float), optional
        Largest abs(dx), abs(dy), in pixels; half the frame unless given.
    """

    def __init__(self, template: Template, *, max_shift: float | tuple[float, float] | None = None) -> None:
        self._template = template
        self._max_shift = max_shift
        height, width = template.image.shape
        both = (width / 2, height / 2) if max_shift is None else max_shift
        self._most = both if isinstance(both, tuple) else (both, both)
        self._near = (0.0, 0.0)
        self._habit = Habit()
        self._number = 0
        self._contrast = 0.0  # of the last good frame

    def find(self, frame: NDArray[Any]) -> Found:
        """Return where a frame lies.

        Parameters
        ----------
        frame : ndarray of shape (H, W)
            Of any dtype.
        """
        strips = self._number < _EVERY[0] or self._number % _EVERY[1] == 0
        self._number += 1
        look = self._template.look(frame, self._near, strips=strips)
        if look is None or not (self._habit.allows(look.ncc) and self._asked(look)):
            return self._search(frame, strips)
        return self._remember(Found("converged", "converged", look))

    def _asked(self, look: Look) -> bool:
        """Say whether a displacement is one of those asked for."""
        return abs(look.dx) <= self._most[0] and abs(look.dy) <= self._most[1]

    def _search(self, frame: NDArray[Any], strips: bool) -> Found:
        """Register a frame as if nothing were known, and if it could be anywhere, near its predecessor."""
        reason = unfit(frame)
        if reason is not None:
            return Found(reason, FAILURES[reason])
        if _contrast(frame) < _CONTRAST * self._contrast and _is_noise(frame):
            return Found("blank", FAILURES["dark"])
        guess = self._guess(frame, strips)
        if guess is not None:
            return self._remember(Found("converged", "converged", guess))
        options: dict[str, Any] = {"reference_mask": self._template.mask}
        found = register(self._template.image, frame, max_shift=self._max_shift, **options)
        if found.status == "ambiguous" and self._number > _HABIT:
            again = register(self._template.image, frame, init=self._near, max_shift=_NEARBY, **options)
            found = again if again.success else found
        if not found.success:
            return Found(found.status, found.message, fit=Fit.of(found))
        look = self._template.look(frame, (found.dx, found.dy), strips=strips)
        same = look is not None and max(abs(look.dx - found.dx), abs(look.dy - found.dy)) <= _SAME
        return self._remember(Found("converged", found.message, look if same else None, Fit.of(found)))

    def _guess(self, frame: NDArray[Any], strips: bool) -> Look | None:
        """Look where phase correlations point, of coarse copies first; what fits there as others do is no chance."""
        if self._number <= _HABIT or not self._habit.known:
            return None
        place = _pointed(self._template.image, frame)
        look = None if place is None else self._template.look(frame, place, strips=strips)
        return look if look is not None and self._habit.allows(look.ncc) and self._asked(look) else None

    def _remember(self, found: Found) -> Found:
        """Take a frame as what the next one will be like."""
        self._near = found.place
        if found.look is not None:
            self._habit.add(found.look.ncc)
            self._contrast = math.sqrt(found.look.squares / found.look.sight.pixels)
        return found


def unfit(frame: NDArray[Any]) -> str | None:
    """Return why there is nothing in a frame to be registered; None where there may be."""
    if frame.dtype.kind == "f":
        levels = frame if frame.dtype.itemsize > 2 else frame.astype(np.float32)
        most = _checks._LARGEST[min(levels.dtype.itemsize, 8)]
        usable = np.abs(levels) <= most
        if usable.mean() < _FINITE:
            return "not finite"
        frame = levels[usable]
        if max(float(frame.max()), -float(frame.min())) < 1 / most:  # its squares vanish
            return "blank"
    return "blank" if frame.max() == frame.min() else None


def _pointed(reference: NDArray[Any], frame: NDArray[Any]) -> tuple[float, float] | None:
    """Return where phase correlations of ever finer copies of ever smaller parts point, each beginning at the last."""
    step = 2 ** max(0, math.ceil(math.log2(max(frame.shape) / _COARSE)))
    x = y = 0
    while step:
        parts = [
            (slice(start, start + length), slice(start + k, start + k + length))
            for size, k in zip(frame.shape, (y, x), strict=True)
            for length in [min(_COARSE * step, size - abs(k)) // step * step]
            for start in [max(0, -k, min((size - length) // 2, size - length - k))]
        ]
        here, there = zip(*parts, strict=True)
        if min(part.stop - part.start for part in here) < _LEAST * step:
            return None
        peak = phase_peak(_coarse(reference[here], step), _coarse(frame[there], step))
        x, y = x + step * peak.dx, y + step * peak.dy
        if max(abs(x) - frame.shape[1], abs(y) - frame.shape[0]) >= 0:
            return None
        step //= 2
    return float(x), float(y)


def _coarse(frame: NDArray[Any], step: int) -> NDArray[np.float64]:
    """Return the means of blocks of a frame; gaps make the whole of no use, which a look finds out."""
    height, width = (size // step for size in frame.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        means = frame.reshape(height, step, width, step).mean(axis=(1, 3), dtype=np.float64)
    return np.asarray(np.where(np.abs(means) < _IMMENSE, means, 0.0))


def _contrast(frame: NDArray[Any]) -> float:
    """Return the standard deviation of the grey levels of some pixels; that of a frame with gaps is not small."""
    step = max(1, min(frame.shape) // _COARSE)
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(frame[::step, ::step].std(dtype=np.float64))
    return deviation if math.isfinite(deviation) else math.inf


def _is_noise(frame: NDArray[Any]) -> bool:
    """Say whether neighbouring pixels of the middle have nothing in common, along a row or down a column."""
    middle = tuple(slice((size - s) // 2, (size + s) // 2) for size in frame.shape for s in [min(size, 2 * _COARSE)])
    levels = frame[middle].astype(np.float64)
    levels -= levels.mean()
    levels /= float(np.abs(levels).max()) or 1.0
    power = float(np.square(levels).mean())
    along, down = (levels[:, 1:] * levels[:, :-1]).mean(), (levels[1:] * levels[:-1]).mean()
    return max(abs(float(along)), abs(float(down))) < _ALIKE * power


def first_good(greys: list[NDArray[Any]]) -> int:
    """Return the number of the first of some frames that shows the same scene as one of those after it.

    Raises
    ------
    InputError
        If there is nothing in any of them.
    """
    fit = [n for n, grey in enumerate(greys) if unfit(grey) is None]
    if not fit:
        raise InputError(f"the first {len(greys)} frames are all blank or not finite; give others")
    for n in fit:
        partners = [m for m in fit if m > n][:_PARTNERS]
        if any(register(greys[n], greys[m]).success for m in partners):
            return n
    return fit[0]
