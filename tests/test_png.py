"""PNG: every chunk is looked at, and nothing is halved or guessed."""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from alignment.imagefiles import read_image, write_image

from .imagetools import grey, png_of, refuses


def test_transparent_colour_of_a_png_is_refused_where_it_occurs(tmp_path):
    for image in (np.array([[3, 4]], np.uint8), np.array([[3, 400]], np.uint16)):
        picture = Image.fromarray(image)
        picture.save(tmp_path / "a.png", transparency=3)
        refuses(tmp_path / "a.png", "partly transparent")
        picture.save(tmp_path / "b.png", transparency=9)
        np.testing.assert_array_equal(read_image(tmp_path / "b.png"), image)


def test_one_wrong_byte_in_a_png_is_found(tmp_path, rng):
    write_image(tmp_path / "a.png", grey(rng, shape=(40, 40)))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    refuses(tmp_path / "a.png", "check sum is wrong")


def test_16_bit_colour_png_is_refused_not_halved(tmp_path):
    for colour in (2, 6):
        (tmp_path / "a.png").write_bytes(png_of(3, 2, depth=16, colour=colour))
        refuses(tmp_path / "a.png", "colour PNG of 16 bits", "save it as TIFF")


def test_png_with_strange_text_is_read(tmp_path, rng):
    information = PngInfo()
    information.add_text("Comment", "x" * 5000, zip=True)
    image = grey(rng)
    Image.fromarray(image).save(tmp_path / "a.png", pnginfo=information)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
