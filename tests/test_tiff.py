"""TIFF: every kind of page that others write, read exactly or refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from alignment.imagefiles import read_image, write_image

from .imagetools import grey, no_imagecodecs, refuses


@no_imagecodecs
@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("dtype", "colour"), [(np.uint8, False), (np.uint8, True), (np.uint16, False)])
def test_compressed_tiff_falls_back_to_pillow_exactly(tmp_path, rng, compression, dtype, colour, orientation):
    image = grey(rng, dtype, (9, 7, 3) if colour else (9, 7))
    Image.fromarray(image).save(tmp_path / "a.tif", compression=compression, tiffinfo={274: orientation})
    back = read_image(tmp_path / "a.tif")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, np.rot90(image, {1: 0, 3: 2, 6: -1, 8: 1}[orientation]))


@no_imagecodecs
def test_compressed_16_bit_colour_is_refused_with_advice(tmp_path, rng):
    tifffile.imwrite(tmp_path / "a.tif", grey(rng, np.uint16, (9, 7, 3)), photometric="rgb")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = data.index(struct.pack("<HHIH", 259, 3, 1, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 5)  # claims LZW
    (tmp_path / "a.tif").write_bytes(data)
    refuses(tmp_path / "a.tif", "compressed with LZW", "install imagecodecs")


def test_white_is_zero_is_inverted(tmp_path, rng):
    for dtype in (np.uint8, np.uint16):
        image = grey(rng, dtype)
        tifffile.imwrite(tmp_path / "a.tif", image, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.iinfo(dtype).max - image)


def test_planar_deflated_tiled_and_float_tiff(tmp_path, rng):
    colour = grey(rng, np.uint16, (33, 47, 3))
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), colour)
    tifffile.imwrite(tmp_path / "b.tif", colour, photometric="rgb", tile=(16, 16), byteorder=">", bigtiff=True)
    back = read_image(tmp_path / "b.tif")
    np.testing.assert_array_equal(back, colour)
    assert back.dtype == np.uint16
    floats = rng.normal(size=(5, 6))
    floats[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "c.tif", floats)
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif"), floats)


def test_pages(tmp_path, rng):
    stack = grey(rng, np.uint16, (3, 8, 9))
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    refuses(tmp_path / "a.tif", "holds 3 pages", "page=0 to page=2")
    refuses(tmp_path / "a.tif", "page 3 was asked for", page=3)
    refuses(tmp_path / "a.tif", "page -1 was asked for", page=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", page=1), stack[1])
    write_image(tmp_path / "a.png", stack[0])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", page=0), stack[0])
    refuses(tmp_path / "a.png", "has one page, but page 1", page=1)


def test_thumbnail_is_no_page(tmp_path, rng):
    image = grey(rng, np.uint8, (64, 64))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(image, subifds=0)
        writer.write(image[::4, ::4], subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_imagej_stack_without_page_marks_is_refused(tmp_path, rng):
    stack = grey(rng, np.uint8, (5, 8, 9))
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        several = len(tiff.pages) > 1
    refuses(tmp_path / "a.tif", "holds 5 pages" if several else "ImageJ stack")


def test_tiff_with_a_missing_part_is_refused(tmp_path, rng):
    tifffile.imwrite(tmp_path / "a.tif", grey(rng), photometric="minisblack", rowsperstrip=13)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = data.index(struct.pack("<H", 279))  # the lengths of the strips
    data[entry + 8 : entry + 12] = bytes(4)
    (tmp_path / "a.tif").write_bytes(data)
    refuses(tmp_path / "a.tif", "damaged or incomplete TIFF")
