"""PNG: every chunk and its check sum looked at, then decoded by pillow."""

from __future__ import annotations

import zlib
from typing import BinaryIO

import numpy as np

from ._checks import InputError
from .guards import check_size, damaged
from .levels import Image
from .pictures import exif_orientation, pixels, upright


def read_png(name: str, file: BinaryIO) -> Image:
    """Read an open PNG as `read_image` promises it."""
    from PIL import PngImagePlugin

    depth, colour, colours = _check_png(name, file)
    if depth == 16 and colour != 0:
        raise InputError(
            f"{name} is a colour PNG of 16 bits per channel, which would be read as 8 bits; "
            "save it as TIFF, which is read exactly."
        )
    file.seek(0)
    try:
        # the class, not Image.open: its limit on the number of pixels is global state, ours is checked above
        with PngImagePlugin.PngImageFile(file) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{name} is an animation; save one of its frames as an ordinary PNG.")
            picture.load()
            if picture.mode == "P" and int(np.asarray(picture).max()) >= colours:  # pillow would make it black
                raise damaged(name, "PNG", f"it uses colours beyond the {colours} of its palette")
            orientation = exif_orientation(picture)
            image = pixels(name, picture)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes may raise anything
        raise damaged(name, "PNG", error) from error
    if depth == 16 and image.dtype != np.uint16:
        raise InputError(f"{name} holds 16 bits per pixel, but was decoded as {image.dtype}; save it as TIFF.")
    return upright(image, orientation)


def _check_png(name: str, file: BinaryIO) -> tuple[int, int, int]:
    """Walk through the chunks to the last, checking each sum; return bit depth, colour type and size of the palette."""
    file.seek(8)
    header = b""
    colours = 0
    while True:
        start = file.read(8)
        if len(start) < 8:
            raise damaged(name, "PNG", "it ends before its last chunk")
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind == b"PLTE":
            colours = length // 3
        crc, left = zlib.crc32(kind), length
        while left:
            block = file.read(min(left, 1 << 20))
            if not block:
                raise damaged(name, "PNG", "it ends in the middle of a chunk")
            if kind == b"IHDR" and not header:
                header = block
            crc, left = zlib.crc32(block, crc), left - len(block)
        if file.read(4) != crc.to_bytes(4, "big"):
            raise damaged(name, "PNG", "a check sum is wrong")
        if kind == b"IEND":
            break
    if len(header) < 13:
        raise damaged(name, "PNG", "it has no header")
    check_size(name, int.from_bytes(header[4:8], "big"), int.from_bytes(header[:4], "big"))
    return header[8], header[9], colours
