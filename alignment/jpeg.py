"""JPEG: looked at whether it is all there, then decoded by pillow."""

from __future__ import annotations

import os
from typing import BinaryIO

from ._checks import InputError
from .guards import check_size, damaged
from .levels import Image
from .pictures import exif_orientation, pixels, upright


def read_jpeg(name: str, file: BinaryIO) -> Image:
    """Read an open JPEG as `read_image` promises it."""
    from PIL import JpegImagePlugin

    _check_jpeg(name, file)
    file.seek(0)
    try:
        with JpegImagePlugin.JpegImageFile(file) as picture:
            width, height = picture.size
            check_size(name, height, width)
            picture.load()
            orientation = exif_orientation(picture)
            image = pixels(name, picture)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes may raise anything
        raise damaged(name, "JPEG", error) from error
    return upright(image, orientation)


def _check_jpeg(name: str, file: BinaryIO) -> None:
    """Find the end marker behind the start of the scan; a decoder would fill what is missing with grey."""
    file.seek(2)
    while True:
        marker = file.read(2)
        while marker == b"\xff\xff":  # fill bytes
            marker = b"\xff" + file.read(1)
        size = file.read(2)
        if len(marker) < 2 or len(size) < 2 or marker[0] != 0xFF or int.from_bytes(size, "big") < 2:
            raise damaged(name, "JPEG", "it ends before its picture begins")
        file.seek(int.from_bytes(size, "big") - 2, os.SEEK_CUR)
        if marker[1] == 0xDA:
            break
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    tail = b""
    while end > start:  # backwards in blocks that overlap by a byte
        begin = max(start, end - (1 << 16))
        file.seek(begin)
        tail = file.read(end - begin) + tail[:1]
        if b"\xff\xd9" in tail:
            return
        end = begin
    raise damaged(name, "JPEG", "it ends in the middle of the picture")
