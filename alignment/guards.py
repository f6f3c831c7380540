"""Guards before the decoders: what a file is and what it announces, looked at before anything is decoded.

A pipe would be waited for, a header that lies would fill the memory: both are refused here, in one sentence. Whoever
decodes takes the words for what is damaged or transparent from here as well.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, Final

from ._checks import InputError
from .files import explain, kind_of_file

MAX_PIXELS: Final = 500_000_000
"""Images with more pixels than this are refused before they are decoded (a full plate scan has 36 million)."""

ADVICE: Final = "give a TIFF, PNG or JPEG image"
"""What would be right, where something is no image."""


def open_regular(name: str) -> BinaryIO:
    """Open an ordinary file; a pipe, a device or a folder is refused without being waited for."""
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISREG(mode):
            file = open(name, "rb", opener=_open_without_waiting)  # noqa: SIM115
            status = os.fstat(file.fileno())
            mode = status.st_mode
            if stat.S_ISREG(mode) and status.st_size > 0:
                return file
            file.close()
            if stat.S_ISREG(mode):
                raise InputError(f"{name} is empty (0 bytes); {ADVICE}.")
    except OSError as error:
        raise InputError(explain(name, "read", error)) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name!r} cannot be the name of a file, for it holds a null character; {ADVICE}.") from error
    raise InputError(f"{name} is {kind_of_file(mode)}, not an image file; {ADVICE}.")


def _open_without_waiting(name: str, flags: int) -> int:
    """Open a file that has just been an ordinary one; should it be a pipe by now, do not wait for its writer."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def check_size(name: str, height: int, width: int) -> None:
    """Refuse an image that announces more than `MAX_PIXELS` pixels, or none."""
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{name} announces {width} x {height} = {width * height / 1e6:.0f} million pixels, more than the "
            f"{MAX_PIXELS // 1_000_000} million accepted here; crop or reduce it first."
        )
    if height < 1 or width < 1:
        raise InputError(f"{name} announces {width} x {height} pixels, which is no image; {ADVICE}.")


def damaged(name: str, kind: str, reason: object) -> InputError:
    """Return the error for a file that breaks its own format: TIFF, PNG or JPEG."""
    text = " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
    if len(text) > 200:  # some decoders quote all they were given
        text = f"{text[:160].rstrip()} ..."
    return InputError(f"{name} is a damaged or incomplete {kind} file ({text}); copy or download it again.")


def transparent(name: str) -> InputError:
    """Return the error for an image that shows through somewhere."""
    return InputError(
        f"{name} is partly transparent, and colours under transparent pixels are arbitrary; save it without alpha."
    )
