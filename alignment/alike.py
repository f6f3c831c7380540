"""Pages of a TIFF that are stored alike: only where the pixels lie has to be looked up.

A reader parses what describes a page, some fifteen entries, for each page anew; for a small frame that takes longer
than reading its pixels. The pages of a stack are described alike, byte for byte, but for where their pixels are and
what is said about them in words. Such a page is read without being parsed; any other is left to the reader.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from io import BufferedReader
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .directories import Layout
from .tiff import orientation_of

Frame = NDArray[Any]

_OFFSETS = 273
_TILE_OFFSETS = 324
# what says nothing about how pixels are stored: names, descriptions, places on paper and stage, dates, software
_WORDS = frozenset({269, 270, 271, 272, 282, 283, 285, 286, 287, 296, 297, 305, 306, 315, 316, 333, 700})
# bytes of a whole number, by its type: SHORT, LONG and LONG8
_WIDTHS = {3: 2, 4: 4, 16: 8}


class AlikePages:
    """The pages of one file that are stored as one that was read before: only where their pixels lie is looked up.

    Parameters
    ----------
    file : binary file
        A TIFF, whose chain of pages has been found to end.
    size : int
        Its bytes.
    places : sequence of int, optional
        Where the descriptions of all pages are, if that is known: `places` of an earlier opening of the file.
    """

    def __init__(self, file: BufferedReader, size: int, places: Sequence[int] | None = None) -> None:
        self._file, self._size = file, size
        self._layout = Layout.of(file)
        # of the descriptions, as far as they are known
        self._places: Sequence[int] = places or array("q", [self._layout.first])
        self._known: NDArray[np.uint8] | None = None

    def read(self, number: int) -> Frame | None:
        """Return a page; None where it is not described as the one that was learnt."""
        if self._known is None:
            return None
        raw = self._description(number)
        if len(raw) != len(self._known) or ((np.frombuffer(raw, np.uint8) ^ self._known) & self._same).any():
            return None
        return self._pixels(self._layout.number(raw[self._at]))

    def learn(self, page: Any, frame: Frame) -> None:
        """Remember how a page is described that was read in full, if its pixels are stored as they were returned.

        Parameters
        ----------
        page : tifffile.TiffPage
        frame : ndarray
            What was read of it.
        """
        self._known = None
        if not _is_plain(page, frame):
            return
        layout = self._layout
        raw = self._description(int(page.index))
        same = np.full(len(raw), 255, np.uint8)
        same[-layout.wide :] = 0  # where the next one is
        at = []
        for entry in range(layout.counted, len(raw) - layout.wide, layout.entry):
            code, kind = (layout.number(raw[entry + n : entry + n + 2]) for n in (0, 2))
            end = entry + layout.entry
            value = end - layout.wide
            if code == _OFFSETS:
                at.append(slice(value, value + _WIDTHS.get(kind, 0)))
                same[value:end] = 0
            elif code in _WORDS:
                same[entry + 2 : end] = 0
        if len(at) != 1 or not raw[at[0]] or layout.number(raw[at[0]]) != page.dataoffsets[0]:
            return
        self._at, self._same = at[0], same
        self._shape, self._wanted = frame.shape, frame.dtype
        self._stored = frame.dtype.newbyteorder(">" if layout.order == "big" else "<")
        self._known = np.frombuffer(raw, np.uint8)

    def places(self) -> array[int]:
        """Follow the chain of the descriptions, and return where each of them is."""
        number = 0
        while self._description(number):
            number += 1
        return array("q", self._places[:number])

    def _pixels(self, start: int) -> Frame | None:
        """Return the pixels that lie at a place; None if the file ends before them."""
        frame = np.empty(self._shape, self._stored)
        if start + frame.nbytes > self._size:
            return None
        self._file.seek(start)
        if self._file.readinto(frame.data.cast("B")) != frame.nbytes:
            return None
        return frame.astype(self._wanted, copy=False)

    def _description(self, number: int) -> bytes:
        """Return the entries of a page and what follows them: where the next description is. Empty if there is none."""
        while len(self._places) <= number:
            known = len(self._places)
            if not self._read(known - 1) or len(self._places) == known:
                return b""
        return self._read(number)

    def _read(self, number: int) -> bytes:
        """Return the description of a page whose place is known, and remember the place of the next."""
        layout = self._layout
        place = self._places[number]
        if not 0 < place <= self._size - layout.counted:
            return b""
        self._file.seek(place)
        count = self._file.read(layout.counted)
        length = layout.number(count) * layout.entry + layout.wide
        raw = count + (self._file.read(length) if length <= self._size else b"")
        if len(raw) < layout.counted + length - layout.wide:
            return b""
        raw = raw.ljust(layout.counted + length, b"\0")  # writers of old leave out that there is no next one
        if number == len(self._places) - 1 and isinstance(self._places, array):
            self._places.append(layout.number(raw[-layout.wide :]))
        return raw


def _is_plain(page: Any, frame: Frame) -> bool:
    """Tell whether the bytes of a page are its grey levels, one after the other, as they were returned.

    That they lie in one piece is not enough: a predictor may have replaced them by differences, or the bits of each
    byte may be stored in reverse.
    """
    return bool(
        page.is_final
        and page.samplesperpixel == 1
        and page.photometric.name == "MINISBLACK"
        and len(page.dataoffsets) == 1
        and _TILE_OFFSETS not in page.tags
        and orientation_of(page) == 1
        and frame.ndim == 2
        and page.databytecounts[0] == frame.nbytes
        and page.dtype == frame.dtype.newbyteorder("=")
    )
