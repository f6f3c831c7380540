"""The directories of a TIFF: a chain, each describing a page and saying where the next one is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from ._checks import InputError
from .guards import damaged

_MOST_PAGES: Final = 1_000_000


@dataclass(frozen=True)
class Layout:
    r"""How the numbers of a TIFF are written, which its first 16 bytes tell.

    Attributes
    ----------
    order : {"little", "big"}
        The order of bytes.
    wide, counted, entry : int
        Bytes of an offset, of the number of entries, and of an entry.
    first : int
        Where the first directory is.

    Examples
    --------
    >>> import io
    >>> layout = Layout.of(io.BytesIO(b"MM\0*\0\0\0\x08" + bytes(8)))
    >>> layout.order, layout.entry, layout.first
    ('big', 12, 8)
    """

    order: Literal["little", "big"]
    wide: int
    counted: int
    entry: int
    first: int

    @classmethod
    def of(cls, file: BinaryIO) -> Layout:
        """Read the layout of an open file."""
        file.seek(0)
        head = file.read(16)
        order: Literal["little", "big"] = "big" if head[:2] == b"MM" else "little"
        if head[2:4] in (b"+\0", b"\0+"):
            return cls(order, 8, 8, 20, int.from_bytes(head[8:16], order))
        return cls(order, 4, 2, 12, int.from_bytes(head[4:8], order))

    def number(self, raw: bytes) -> int:
        """Return the whole number that some bytes stand for."""
        return int.from_bytes(raw, self.order)


def check_pages(name: str, file: BinaryIO) -> None:
    """Follow the chain of the directories of a TIFF to its end; one that goes round in a circle would never end.

    Raises
    ------
    InputError
        If the chain leads back, out of the file, or through more than 1,000,000 pages.
    """
    layout = Layout.of(file)
    size = file.seek(0, os.SEEK_END)
    offset = layout.first
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise damaged(name, "TIFF", "its pages go round in a circle")
        seen.add(offset)
        if len(seen) > _MOST_PAGES:
            raise InputError(f"{name} has more than {_MOST_PAGES} pages; split it into several files.")
        if not 8 <= offset <= size - layout.counted:
            raise damaged(name, "TIFF", f"it has {size} bytes and refers to a page at {offset}")
        file.seek(offset)
        entries = layout.number(file.read(layout.counted))
        end = offset + layout.counted + entries * layout.entry
        if end > size:
            raise damaged(name, "TIFF", f"it has {size} bytes and a page whose description ends at {end}")
        file.seek(end)
        offset = layout.number(file.read(layout.wide))  # the last may be cut off, by writers of old
