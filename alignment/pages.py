"""Pages of a TIFF that are stored as one that was read before: only where their pixels lie has to be looked up.

A reader parses what describes a page, some fifteen entries, for each page anew; for a small frame that takes longer
than reading its pixels. The pages of a stack are described alike, byte for byte, but for where their pixels are and
what is said about them in words. Such a page is read without being parsed; any other is left to the reader.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from io import BufferedReader
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[Any]

_OFFSETS = 273
_ORIENTATION = 274
# what says nothing about how pixels are stored: names, descriptions, places on paper and stage, dates, software
_WORDS = frozenset({269, 270, 271, 272, 273, 282, 283, 285, 286, 287, 296, 297, 305, 306, 315, 316, 333, 700})
# bytes of a whole number, by its type: SHORT, LONG and LONG8
_WIDTHS = {3: 2, 4: 4, 16: 8}


class AlikePages:
    """The pages of one file.

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
        file.seek(0)
        head = file.read(16)
        self._order: Literal["little", "big"] = "big" if head[:2] == b"MM" else "little"
        # bytes of an offset, of the number of entries, and of an entry
        self._wide, self._counted, self._entry = (8, 8, 20) if head[2:4] in (b"+\0", b"\0+") else (4, 2, 12)
        first = head[8:16] if self._wide == 8 else head[4:8]
        # of the descriptions, as far as they are known
        self._places: Sequence[int] = places or array("q", [int.from_bytes(first, self._order)])
        self._known: NDArray[np.uint8] | None = None

    def read(self, number: int) -> Frame | None:
        """Return a page; None where it is not described as the one that was learnt."""
        if self._known is None:
            return None
        raw = self._description(number)
        if len(raw) != len(self._known) or ((np.frombuffer(raw, np.uint8) ^ self._known) & self._same).any():
            return None
        start = self._number(raw, self._at, self._at + self._of_offset)
        frame = np.empty(self._shape, self._stored)
        if start + frame.nbytes > self._size:
            return None
        self._file.seek(start)
        if self._file.readinto(frame.data.cast("B")) != frame.nbytes:
            return None
        return frame.astype(self._wanted, copy=False)

    def learn(self, page: Any, frame: Frame) -> None:
        """Remember how a page is described that was read in full, if its pixels are stored as they were returned.

        Parameters
        ----------
        page : tifffile.TiffPage
        frame : ndarray
            What was read of it.
        """
        self._known = None
        tag = page.tags.get(_ORIENTATION)
        plain = page.is_contiguous and page.samplesperpixel == 1 and page.photometric.name == "MINISBLACK"
        if not plain or len(page.dataoffsets) != 1 or (tag is not None and int(tag.value) != 1):
            return
        stored = frame.dtype.newbyteorder(">" if self._order == "big" else "<")
        raw = self._description(int(page.index))
        if frame.ndim != 2 or page.databytecounts[0] != frame.nbytes or page.dtype != frame.dtype.newbyteorder("="):
            return
        same = np.full(len(raw), 255, np.uint8)
        same[-self._wide :] = 0  # where the next one is
        at = width = 0
        for entry in range(self._counted, len(raw) - self._wide, self._entry):
            code, kind = (self._number(raw, entry + n, entry + n + 2) for n in (0, 2))
            value = entry + self._entry - self._wide
            if code == _OFFSETS:
                at, width = value, _WIDTHS.get(kind, 0)
                same[value : entry + self._entry] = 0
            elif code in _WORDS:
                same[entry + 2 : entry + self._entry] = 0
        if not width or self._number(raw, at, at + width) != page.dataoffsets[0]:
            return
        self._at, self._of_offset, self._same = at, width, same
        self._shape, self._stored, self._wanted = frame.shape, stored, frame.dtype
        self._known = np.frombuffer(raw, np.uint8)

    def places(self) -> array[int]:
        """Follow the chain of the descriptions, and return where each of them is."""
        number = 0
        while self._description(number):
            number += 1
        return array("q", self._places[:number])

    def _description(self, number: int) -> bytes:
        """Return the entries of a page and what follows them: where the next description is. Empty if there is none."""
        while len(self._places) <= number:
            known = len(self._places)
            if not self._read(known - 1) or len(self._places) == known:
                return b""
        return self._read(number)

    def _read(self, number: int) -> bytes:
        """Return the description of a page whose place is known, and remember the place of the next."""
        place = self._places[number]
        if not 0 < place <= self._size - self._counted:
            return b""
        self._file.seek(place)
        count = self._file.read(self._counted)
        length = self._number(count, 0, self._counted) * self._entry + self._wide
        raw = count + (self._file.read(length) if length <= self._size else b"")
        if len(raw) < self._counted + length - self._wide:
            return b""
        raw = raw.ljust(self._counted + length, b"\0")  # writers of old leave out that there is no next one
        if number == len(self._places) - 1 and isinstance(self._places, array):
            self._places.append(self._number(raw, len(raw) - self._wide, len(raw)))
        return raw

    def _number(self, raw: bytes, start: int, stop: int) -> int:
        """Return the whole number that some bytes stand for."""
        return int.from_bytes(raw[start:stop], self._order)
