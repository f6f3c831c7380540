"""The margins of a domain: its pixels beside the overlap, to which the moving image shows nothing but zeros.

No pass needs to visit them. What they add to a loss follows from the reference alone, and is the same for a whole cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .bands import Window
from .samplers import Sampler

# whoever evaluates stays in few cells; beyond, all are forgotten
_KEPT = 4096


class Margin(NamedTuple):
    """How many pixels of the domain read only zeros, and the sums of v and v^2 over them, v = B - v0."""

    n: float
    first: float
    second: float


NO_MARGIN = Margin(0.0, 0.0, 0.0)


class Margins:
    """The margins of one domain, each summed once.

    Parameters
    ----------
    sampler : Sampler
        Knows the reference, and which of its pixels are used.
    domain : (top, bottom, left, right)
    offset : float
        v0, which the reference's grey levels are about.

    Examples
    --------
    >>> from alignment.pyramid import Masked
    >>> from alignment.samplers import HatSampler
    >>> reference = Masked(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    >>> margins = Margins(HatSampler(reference, reference), (0, 2, 0, 3), 1.0)
    >>> margins.beside((0, 2, 0, 2))
    Margin(n=2.0, first=7.0, second=29.0)
    >>> margins.beside(None).n, margins.beside((0, 2, 0, 3)).n
    (6.0, 0.0)
    """

    def __init__(self, sampler: Sampler, domain: Window, offset: float) -> None:
        self._sampler, self._domain, self._offset = sampler, domain, offset
        self._kept: dict[Window | None, Margin] = {}

    def beside(self, overlap: Window | None) -> Margin:
        """Return the margin beside an overlap, which is all of the domain if there is none."""
        if overlap == self._domain:
            return NO_MARGIN
        if overlap not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[overlap] = self._added_up(overlap)
        return self._kept[overlap]

    def clear(self) -> None:
        """Forget them."""
        self._kept.clear()

    def _added_up(self, overlap: Window | None) -> Margin:
        """Sum the strips of the domain beside the overlap."""
        top, bottom, left, right = self._domain
        y0, y1, x0, x1 = overlap if overlap is not None else (bottom, bottom, left, left)
        target, used = self._sampler.target, self._sampler.used
        n = first = second = 0.0
        for strip in (
            np.s_[top:y0, left:right],
            np.s_[y1:bottom, left:right],
            np.s_[y0:y1, left:x0],
            np.s_[y0:y1, x1:right],
        ):
            levels = target[strip].astype(np.float64) - self._offset
            if used is not None:
                levels = levels[used[strip] != 0]
            n += levels.size
            first += float(levels.sum())
            second += float(np.square(levels).sum())
        return Margin(n, first, second)
