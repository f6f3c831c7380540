"""What the tests of image files share: pictures, and the way a file has to be refused."""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import warnings
import zlib

import numpy as np
import pytest

from alignment._checks import InputError
from alignment.imagefiles import read_image

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files and permissions")
no_imagecodecs = pytest.mark.skipif(
    importlib.util.find_spec("imagecodecs") is not None,
    reason="with imagecodecs installed, tifffile decodes this by itself",
)

COLOUR = np.random.default_rng(3).integers(0, 255, (12, 9, 3)).astype(np.uint8)


def grey(rng, dtype=np.uint8, shape=(13, 17)):
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def smooth(shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = (128 + 60 * np.sin(x / 17) + 60 * np.cos(y / 11)).astype(np.uint8)
    return image if len(shape) == 2 else np.dstack([image, 255 - image, image // 2])


def refuses(path, *words, **options):
    """The file is refused in one sentence that names it, silently otherwise."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError) as raised:
            read_image(path, **options)
    message = str(raised.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    assert ";" in message, "says what would be right"
    for word in words:
        assert re.search(word, message), message
    assert not caught
    return message


def png_of(width, height, *, depth=8, colour=0):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = bytes(1 + (width * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8)
    body = zlib.compress(row * min(height, 4))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
