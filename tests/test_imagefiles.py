"""Files are read exactly, written whole, and refused in one sentence."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import stat
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from alignment import __version__, imagefiles, srgb
from alignment._checks import InputError
from alignment.imagefiles import (
    as_float,
    check_writable,
    encode_image,
    image_format,
    read_image,
    read_resolution,
    replace_file,
    to_dtype,
    write_image,
)

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files and permissions")
no_imagecodecs = pytest.mark.skipif(
    importlib.util.find_spec("imagecodecs") is not None,
    reason="with imagecodecs installed, tifffile decodes this by itself",
)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


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


# round trips


@pytest.mark.parametrize(
    ("suffix", "dtype", "colour"),
    [
        (".tif", np.uint8, False),
        (".tif", np.uint8, True),
        (".TIFF", np.uint16, False),
        (".tiff", np.uint16, True),
        (".png", np.uint8, False),
        (".png", np.uint8, True),
        (".PNG", np.uint16, False),
    ],
)
def test_lossless_round_trip_is_exact(tmp_path, rng, suffix, dtype, colour):
    image = grey(rng, dtype, (13, 17, 3) if colour else (13, 17))
    write_image(tmp_path / f"a{suffix}", image)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.dtype == dtype
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 7), (4, 9), (3, 3), (3, 4, 3), (1, 1, 3)])
def test_odd_shapes_are_not_mistaken_for_colour(tmp_path, rng, shape, dtype):
    image = grey(rng, np.dtype(dtype), shape)
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages) == 1
        assert tiff.pages[0].photometric.name == ("RGB" if len(shape) == 3 else "MINISBLACK")


def test_small_values_keep_16_bits(tmp_path):
    image = np.array([[0, 1], [2, 200]], np.uint16)
    for suffix in ("png", "tif"):
        write_image(tmp_path / f"a.{suffix}", image)
        back = read_image(tmp_path / f"a.{suffix}")
        assert back.dtype == np.uint16
        np.testing.assert_array_equal(back, image)


def test_views_that_are_not_contiguous_are_written_right(tmp_path, rng):
    image = grey(rng, np.uint16, (20, 30, 3))[::-2, ::3]
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_big_endian_arrays_are_written_right(tmp_path, rng):
    image = grey(rng, np.uint16)
    for suffix in ("tif", "png"):
        write_image(tmp_path / f"a.{suffix}", image.astype(">u2"))
        np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), image)


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 3)])
def test_jpeg_is_close_and_its_colours_are_not_subsampled(tmp_path, shape):
    image = smooth(shape)
    write_image(tmp_path / "a.jpg", image)
    back = read_image(tmp_path / "a.jpg")
    assert back.shape == shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - image).mean() < 1
    with Image.open(tmp_path / "a.jpg") as picture:
        assert {layer[1:3] for layer in picture.layer} == {(1, 1)}


def test_floats_are_stored_by_format(tmp_path):
    image = np.linspace(0, 1, 12).reshape(3, 4)
    for suffix, dtype in (("tif", np.uint16), ("png", np.uint8), ("jpg", np.uint8)):
        write_image(tmp_path / f"a.{suffix}", image)
        assert read_image(tmp_path / f"a.{suffix}").dtype == dtype
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.rint(image * 65535))
    write_image(tmp_path / "b.png", image, dtype="uint16")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), np.rint(image * 65535))
    write_image(tmp_path / "c.tif", 3 * image - 1, dtype="float32")
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif"), (3 * image - 1).astype(np.float32))


def test_dtype_converts_by_range(tmp_path, rng):
    image = grey(rng, np.uint16)
    write_image(tmp_path / "a.jpg", image, dtype="uint8")
    write_image(tmp_path / "a.png", image, dtype=np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rint(image / 257))


def test_description_is_kept(tmp_path):
    text = "dx = 1.25 px; plate № 5"
    for suffix in ("tif", "png", "jpg"):
        write_image(tmp_path / f"a.{suffix}", np.zeros((2, 3), np.uint8), description=text)
        assert read_image(tmp_path / f"a.{suffix}").shape == (2, 3)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].description == text
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.text["Description"] == text
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.info["comment"].decode() == text
    with pytest.raises(InputError, match="JPEG ends at 65533; shorten it"):
        write_image(tmp_path / "b.jpg", np.zeros((2, 3), np.uint8), description="x" * 70000)
    with pytest.raises(InputError, match="null character"):
        write_image(tmp_path / "b.tif", np.zeros((2, 3), np.uint8), description="a\0b")


# reading what others wrote


def test_content_decides_not_the_suffix(tmp_path, rng):
    image = grey(rng)
    write_image(tmp_path / "a.png", image)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), image)


def test_rgb_with_equal_channels_stays_rgb(tmp_path, rng):
    image = np.repeat(grey(rng)[..., None], 3, axis=2)
    write_image(tmp_path / "a.png", image)
    assert read_image(tmp_path / "a.png").shape == image.shape


def test_palette_and_one_bit_are_expanded(tmp_path, rng):
    colours = np.array([[255, 0, 0], [0, 200, 0], [10, 20, 30]], np.uint8)
    picture = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    picture.putpalette(colours.ravel().tolist())
    for suffix in ("png", "tif"):
        picture.save(tmp_path / f"p.{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"p.{suffix}"), colours[[[0, 1, 2], [2, 1, 0]]])
    bits = rng.integers(0, 2, (5, 9)).astype(bool)
    for suffix in ("png", "tif"):
        Image.fromarray(bits).save(tmp_path / f"b.{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"b.{suffix}"), bits * np.uint8(255))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_alpha_is_dropped_only_if_opaque(tmp_path, rng, mode, suffix):
    channels = len(mode)
    image = grey(rng, shape=(6, 5, channels))
    image[..., -1] = 255
    Image.frombytes(mode, (5, 6), image.tobytes()).save(tmp_path / f"a.{suffix}")
    expected = image[..., 0] if mode == "LA" else image[..., :3]
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), expected)
    image[2, 3, -1] = 254
    Image.frombytes(mode, (5, 6), image.tobytes()).save(tmp_path / f"b.{suffix}")
    refuses(tmp_path / f"b.{suffix}", "partly transparent", "save it without alpha")


def test_transparent_colour_of_a_png_is_refused_where_it_occurs(tmp_path):
    for image in (np.array([[3, 4]], np.uint8), np.array([[3, 400]], np.uint16)):
        picture = Image.fromarray(image)
        picture.save(tmp_path / "a.png", transparency=3)
        refuses(tmp_path / "a.png", "partly transparent")
        picture.save(tmp_path / "b.png", transparency=9)
        np.testing.assert_array_equal(read_image(tmp_path / "b.png"), image)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {274: orientation}} if suffix == "tif" else {"exif": exif}
    picture = Image.fromarray(smooth((24, 40)))
    picture.save(tmp_path / f"plain.{suffix}")
    picture.save(tmp_path / f"turned.{suffix}", **options)
    plain, turned = (read_image(tmp_path / f"{name}.{suffix}") for name in ("plain", "turned"))
    move = Image.Transpose
    to_apply = {
        2: move.FLIP_LEFT_RIGHT,
        3: move.ROTATE_180,
        4: move.FLIP_TOP_BOTTOM,
        5: move.TRANSPOSE,
        6: move.ROTATE_270,
        7: move.TRANSVERSE,
        8: move.ROTATE_90,
    }
    upright = Image.fromarray(plain)
    if orientation in to_apply:
        upright = upright.transpose(to_apply[orientation])
    np.testing.assert_array_equal(turned, np.asarray(upright))


def test_broken_exif_says_nothing_about_the_picture(tmp_path):
    Image.fromarray(smooth((24, 40))).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.jpg").shape == (24, 40)


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


# refusals


def test_what_is_no_file_is_refused(tmp_path):
    refuses(tmp_path / "absent.png", "does not exist; check the path")
    refuses(tmp_path, "is a folder")
    (tmp_path / "empty.tif").write_bytes(b"")
    refuses(tmp_path / "empty.tif", r"is empty \(0 bytes\)")
    (tmp_path / "notes.jpg").write_text("dear diary")
    refuses(tmp_path / "notes.jpg", "its content is text; give a TIFF, PNG or JPEG")
    refuses(tmp_path / "notes.jpg" / "a.png", "not a folder")
    refuses(tmp_path / ("x" * 300 + ".png"), "name is too long")
    with pytest.raises(InputError, match="null character"):
        read_image("a\0b.png")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"GIF89a" + bytes(40), "a GIF image"),
        (b"%PDF-1.7 " + bytes(40), "a PDF document"),
        (b"\x93NUMPY" + bytes(40), "a NumPy array"),
        (b"\x00\x01\x02\x03abcd" + bytes(30), "begins with the bytes 00 01 02 03 61 62 63 64"),
        (b"<html><body>404 not found", "text"),
        (b"\xff", "begins with the bytes ff"),
    ],
)
def test_strangers_are_named(tmp_path, content, what):
    (tmp_path / "a.png").write_bytes(content)
    refuses(tmp_path / "a.png", what)


@needs_posix
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "a.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            server.bind("a.png")
        finally:
            os.chdir(here)
            server.close()
    else:
        path.symlink_to(os.devnull)
    refuses(path, f"is a (named )?{kind}, not an image file")
    with pytest.raises(InputError, match=f"is a (named )?{kind}, which is not written to"):
        check_writable(path, overwrite=True)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_cut_at_any_point_is_refused(tmp_path, suffix, colour, caplog, capfd):
    image = smooth((48, 64, 3) if colour else (48, 64))
    image = image ^ np.random.default_rng(0).integers(0, 32, image.shape, np.uint8)
    write_image(tmp_path / f"whole.{suffix}", image)
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    for part in (*np.linspace(4, len(data) - 1, 25).astype(int), len(data) - 2):
        (tmp_path / f"a.{suffix}").write_bytes(data[:part])
        refuses(tmp_path / f"a.{suffix}")
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_truncated_jpeg_is_refused_even_where_pillow_is_told_to_load_it(tmp_path, monkeypatch):
    write_image(tmp_path / "whole.jpg", smooth((64, 64)))
    (tmp_path / "a.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-100])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    refuses(tmp_path / "a.jpg", "damaged or incomplete JPEG", "ends in the middle of the picture", "download it again")


def test_jpeg_with_something_behind_it_is_read(tmp_path):
    write_image(tmp_path / "a.jpg", smooth((64, 64)))
    whole = read_image(tmp_path / "a.jpg")
    with open(tmp_path / "a.jpg", "ab") as file:
        file.write(bytes(70_000))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), whole)


def test_progressive_jpeg_is_read(tmp_path):
    Image.fromarray(smooth((64, 64, 3))).save(tmp_path / "a.jpg", progressive=True)
    assert read_image(tmp_path / "a.jpg").shape == (64, 64, 3)


def test_one_wrong_byte_in_a_png_is_found(tmp_path, rng):
    write_image(tmp_path / "a.png", grey(rng, shape=(40, 40)))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    refuses(tmp_path / "a.png", "check sum is wrong")


@given(data=st.binary(min_size=0, max_size=60), magic=st.sampled_from([m for m, _ in imagefiles._SIGNATURES]))
def test_rubbish_behind_a_signature_is_refused(tmp_path_factory, data, magic):
    path = tmp_path_factory.getbasetemp() / "rubbish.img"
    path.write_bytes(magic + data)
    with pytest.raises(InputError):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xd8\xff\xe0\x00\x01", "before its picture begins"),
        (b"\xff\xd8\xff\xff\xff\xda\x00\x02\xff\xd9", "damaged or incomplete JPEG"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")), "no header"),
    ],
)
def test_hollow_files_are_refused(tmp_path, content, reason):
    (tmp_path / "a.img").write_bytes(content)
    refuses(tmp_path / "a.img", reason)


def test_tiff_with_a_missing_part_is_refused(tmp_path, rng):
    tifffile.imwrite(tmp_path / "a.tif", grey(rng), photometric="minisblack", rowsperstrip=13)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = data.index(struct.pack("<H", 279))  # the lengths of the strips
    data[entry + 8 : entry + 12] = bytes(4)
    (tmp_path / "a.tif").write_bytes(data)
    refuses(tmp_path / "a.tif", "damaged or incomplete TIFF")


def test_memory_that_runs_out_and_disks_that_fail_are_explained(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    for error, words in (
        (MemoryError(), "too large for the free memory"),
        (OSError(5, "Input/output error"), "cannot be read, because input/output error; check the disk"),
    ):

        def fail(*args, error=error):
            raise error

        monkeypatch.setattr(imagefiles, "_recognise", fail)
        refuses(tmp_path / "a.png", words)


def png_of(width, height, *, depth=8, colour=0):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = bytes(1 + (width * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8)
    body = zlib.compress(row * min(height, 4))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_16_bit_colour_png_is_refused_not_halved(tmp_path):
    for colour in (2, 6):
        (tmp_path / "a.png").write_bytes(png_of(3, 2, depth=16, colour=colour))
        refuses(tmp_path / "a.png", "colour PNG of 16 bits", "save it as TIFF")


def test_too_many_pixels_are_explained_before_they_are_decoded(tmp_path):
    (tmp_path / "a.png").write_bytes(png_of(40_000, 20_000))
    refuses(tmp_path / "a.png", "40000 x 20000 = 800 million pixels", "500 million accepted")


def test_pillows_own_limit_neither_applies_nor_changes(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    image = grey(rng, shape=(40, 40))
    for suffix in ("png", "jpg", "tif"):
        write_image(tmp_path / f"a.{suffix}", image)
        assert read_image(tmp_path / f"a.{suffix}").shape == image.shape
    assert Image.MAX_IMAGE_PIXELS == 50


@pytest.mark.slow
def test_a_hundred_million_pixels_are_read(tmp_path):
    Image.new("1", (10_000, 20_000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (20_000, 10_000)


def test_other_colour_models_and_types_are_refused(tmp_path, rng):
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    refuses(tmp_path / "a.jpg", "as CMYK, which is neither grey nor RGB")
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.tif")
    refuses(tmp_path / "a.tif", "4 channel.* as SEPARATED; convert")
    for dtype in (np.int16, np.uint32, np.complex64):
        tifffile.imwrite(tmp_path / "b.tif", np.zeros((4, 5), dtype))
        refuses(tmp_path / "b.tif", f"as {np.dtype(dtype).name}; save it with 8 or 16 bits")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((6, 7, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    refuses(tmp_path / "c.tif", "5 channels")
    frames = [Image.fromarray(grey(rng)) for _ in range(2)]
    frames[0].save(tmp_path / "d.png", save_all=True, append_images=frames[1:])
    refuses(tmp_path / "d.png", "is an animation")


def test_tifffile_and_pillow_stay_silent_and_their_settings_return(tmp_path, rng, caplog, capfd):
    tifffile.imwrite(tmp_path / "a.tif", grey(rng), photometric="minisblack")
    data = (tmp_path / "a.tif").read_bytes()
    with caplog.at_level(logging.DEBUG):
        for part in range(8, len(data), 7):
            (tmp_path / "b.tif").write_bytes(data[:part])
            refuses(tmp_path / "b.tif")
    assert not [r for r in caplog.records if r.name.startswith("tifffile")]
    assert not logging.getLogger("tifffile").filters
    filters = list(warnings.filters)
    threads = [threading.Thread(target=read_image, args=(tmp_path / "a.tif",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters
    assert not logging.getLogger("tifffile").filters
    assert capfd.readouterr() == ("", "")


# refusing to write


@pytest.mark.parametrize(
    ("name", "image", "options", "sentence"),
    [
        (
            "a.gif",
            np.zeros((2, 2), np.uint8),
            {},
            "has the suffix '.gif', so its format is unknown; end the name in .tif",
        ),
        ("a", np.zeros((2, 2), np.uint8), {}, "has no suffix"),
        ("a.png", np.zeros((2, 2, 3), np.uint16), {}, "uint16 in colour.*; use TIFF, or dtype uint8"),
        ("a.jpg", np.zeros((2, 2), np.uint16), {}, "JPEG stores 8 bits; use TIFF or PNG, or dtype uint8"),
        ("a.jpg", np.zeros((2, 70_000), np.uint8), {}, "JPEG ends at 65500"),
        ("a.tif", np.zeros((2, 2, 4), np.uint8), {}, r"shape \(2, 2, 4\); give \(H, W\) or \(H, W, 3\)"),
        ("a.tif", np.zeros((0, 2), np.uint8), {}, r"shape \(0, 2\)"),
        ("a.tif", np.zeros(5, np.uint8), {}, r"shape \(5,\)"),
        ("a.tif", np.zeros((2, 2), np.int32), {}, "dtype int32; give uint8, uint16, or floats"),
        ("a.tif", np.zeros((2, 2), bool), {}, "dtype bool"),
        ("a.tif", np.array([[0.5, np.nan]]), {}, "NaN or infinity; replace"),
        ("a.tif", np.array([[0.5, np.inf]]), {"dtype": "float32"}, "NaN or infinity"),
        ("a.tif", np.array([[0.0, 255.0]]), {}, "run from 0 to 255; scale or clip"),
        ("a.tif", np.array([[-0.5, 1.0]]), {}, "run from -0.5 to 1"),
        ("a.png", np.array([[0.0, 1.0]]), {"dtype": "float32"}, "float32, which PNG does not know"),
        ("a.tif", np.zeros((2, 2), np.uint8), {"dtype": "int8"}, "dtype is 'int8'.*choose uint8, uint16 or float32"),
        ("a.tif", np.zeros((2, 2), np.uint8), {"dtype": "nonsense"}, "dtype is 'nonsense'"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, image, options, sentence):
    with pytest.raises(InputError, match=sentence):
        write_image(tmp_path / name, image, **options)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unless_asked(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="exists already and will not be replaced"):
        write_image(path, np.ones((2, 2), np.uint8))
    assert read_image(path).max() == 0
    write_image(path, np.ones((2, 2), np.uint8), overwrite=True)
    assert read_image(path).max() == 1
    assert os.listdir(tmp_path) == ["a.png"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(error):
        with replace_file(path, overwrite=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(InputError, match="cannot be written, because the disk is full; free some space"):
        fail(OSError(28, "No space left on device"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_file_that_appears_during_the_writing_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"

    def race():
        with replace_file(path) as file:
            file.write(b"mine")
            path.write_text("theirs")

    for link in (os.link, None):
        if link is None:  # a file system without hard links
            monkeypatch.setattr(os, "link", lambda *a: (_ for _ in ()).throw(PermissionError(1, "no links")))
        path.unlink(missing_ok=True)
        with pytest.raises(InputError, match="exists already"):
            race()
        assert path.read_text() == "theirs"
        assert os.listdir(tmp_path) == ["a.txt"]
    path.unlink()
    with replace_file(path) as file:
        file.write(b"mine")
    assert path.read_text() == "mine"


@needs_posix
def test_permissions_follow_the_umask_or_the_old_file(tmp_path):
    old = os.umask(0o027)
    try:
        write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
    (tmp_path / "a.png").chmod(0o604)
    write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8), overwrite=True)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o604


@needs_posix
def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "b.png").write_text("old")
    (tmp_path / "a.png").symlink_to(tmp_path / "there" / "b.png")
    write_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8), overwrite=True)
    assert (tmp_path / "a.png").is_symlink()
    assert read_image(tmp_path / "there" / "b.png").shape == (2, 2)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refuses(tmp_path / "loop.png", "circle")
    with pytest.raises(InputError, match=r"loop\.png"):
        check_writable(tmp_path / "loop.png")


def test_check_writable_reports_before_the_work_and_leaves_nothing(tmp_path):
    check_writable(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        check_writable(tmp_path / "a.png")
    check_writable(tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_text() == "x"
    with pytest.raises(InputError, match="is a folder, so no file"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match=r"the folder .*absent does not exist; create it first"):
        check_writable(tmp_path / "absent" / "a.png")
    with pytest.raises(InputError, match=r"the folder .*a\.png is not a folder; choose another"):
        check_writable(tmp_path / "a.png" / "b.png")
    with pytest.raises(InputError, match="name is too long; choose a shorter one"):
        check_writable(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(InputError, match="null character"):
        check_writable("a\0b.png")
    with pytest.raises(InputError, match="names no file"):
        check_writable("")


@needs_posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_permissions_are_explained(tmp_path):
    (tmp_path / "a.png").write_text("x")
    (tmp_path / "a.png").chmod(0o400)
    with pytest.raises(InputError, match="write-protected"):
        check_writable(tmp_path / "a.png", overwrite=True)
    (tmp_path / "a.png").chmod(0)
    refuses(tmp_path / "a.png", "permission is denied")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission is denied; change the permissions"):
            check_writable(tmp_path / "b.png")
    finally:
        tmp_path.chmod(0o700)


def test_denied_permission_is_explained(tmp_path, monkeypatch):
    def deny(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(imagefiles, "open", deny, raising=False)
    with pytest.raises(InputError, match=r"a\.png cannot be written, because permission is denied"):
        check_writable(tmp_path / "a.png")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder where nothing can be created")
def test_folder_in_which_nothing_can_be_created(tmp_path):
    with pytest.raises(InputError, match=r"/proc/self/a\.png cannot be written, because .*; "):
        check_writable("/proc/self/a.png")


# numbers


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_levels_survive_floats_and_more_bits(image):
    floats = as_float(image)
    assert floats.dtype == np.float32
    assert floats.min() >= 0
    assert floats.max() <= 1
    np.testing.assert_array_equal(to_dtype(floats, image.dtype), image)
    if image.dtype == np.uint8:
        np.testing.assert_array_equal(to_dtype(to_dtype(image, "uint16"), "uint8"), image)
        np.testing.assert_array_equal(to_dtype(floats, "uint16"), to_dtype(image, "uint16"))


def test_all_levels_come_back():
    every = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_dtype(as_float(every), "uint16"), every)
    np.testing.assert_array_equal(to_dtype(every, "uint8"), np.rint(every / 257))
    np.testing.assert_array_equal(to_dtype(every / 65535, "uint16"), every)


def test_large_images_are_converted_piece_by_piece(rng):
    """Also where the last piece is not full, where memory does not run along the rows, and with NaN in two pieces."""
    many = rng.integers(0, 65536, (3, 5, 150_001), dtype=np.uint16)
    assert many.size % imagefiles._AT_ONCE > 0
    assert many.size > 2 * imagefiles._AT_ONCE
    for image in (many, many.transpose(2, 0, 1)):
        np.testing.assert_array_equal(to_dtype(image, "uint8"), np.rint(image / 257))
        np.testing.assert_array_equal(to_dtype(image / 65535, "uint16"), image)
    holes = np.zeros(many.size, np.float32)
    holes[[7, -1]] = np.nan
    with pytest.raises(InputError, match="holds 2 NaN"):
        to_dtype(holes, "uint8")


def test_floats_pass_as_they_are_and_others_are_refused():
    image = np.array([-3.0, 700.0])
    assert as_float(image) is image
    assert as_float(image.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(to_dtype(np.array([-np.inf, np.inf], np.float16), "uint16"), [0, 65535])
    for function in (as_float, lambda a: to_dtype(a, "uint8")):
        with pytest.raises(InputError, match="dtype int64, which has no known range; give uint8, uint16"):
            function(np.array([1, 2], np.int64))
    with pytest.raises(InputError, match="holds 1 NaN, for which no grey level exists"):
        to_dtype(np.array([0.5, np.nan]), "uint8")
    with pytest.raises(InputError, match="dtype is None"):
        to_dtype(image, None)


def test_image_format_by_suffix():
    assert [image_format(f"a{s}") for s in imagefiles.IMAGE_SUFFIXES] == ["TIFF", "TIFF", "PNG", "JPEG", "JPEG"]


def test_heavy_libraries_are_imported_late():
    code = (
        "import sys, alignment.imagefiles, alignment.datasets;"
        "print([m for m in ('imageio', 'tifffile', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("grain", [1, 3, 30])
def test_photographs_in_png_are_no_larger_than_pillow_makes_them(tmp_path, rng, grain):
    """Though they are written in a quarter of the time, by not looking for what grain does not have: repetitions."""
    y, x = np.mgrid[:300, :400]
    light = 120 + 60 * np.sin(x / 70 + np.cos(y / 50))
    image = (light[..., np.newaxis] + rng.normal(0, grain, (300, 400, 3))).clip(0, 255).astype(np.uint8)
    write_image(tmp_path / "ours.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "ours.png"), image)
    Image.fromarray(image).save(tmp_path / "theirs.png")
    assert (tmp_path / "ours.png").stat().st_size < 1.05 * (tmp_path / "theirs.png").stat().st_size


def test_png_with_strange_text_is_read(tmp_path, rng):
    information = PngInfo()
    information.add_text("Comment", "x" * 5000, zip=True)
    image = grey(rng)
    Image.fromarray(image).save(tmp_path / "a.png", pnginfo=information)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


# resolution and colour space


COLOUR = np.random.default_rng(3).integers(0, 255, (12, 9, 3)).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "within"), [(".tif", 1e-6), (".png", 0.02), (".jpg", 0.5)])
@pytest.mark.parametrize("resolution", [(1200.0, 1200.0), (300.0, 600.0), (72.25, 72.25)])
def test_resolution_there_and_back(tmp_path, suffix, within, resolution):
    path = tmp_path / f"x{suffix}"
    write_image(path, COLOUR, resolution=resolution)
    assert read_resolution(path) == pytest.approx(resolution, abs=within)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_without_a_resolution_none_is_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_image(path, COLOUR)
    assert read_resolution(path) is None


def test_resolution_in_centimetres(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, COLOUR, photometric="rgb", resolution=(100, 200), resolutionunit="CENTIMETER")
    assert read_resolution(path) == pytest.approx((254.0, 508.0))


def test_resolution_turns_with_the_picture(tmp_path):
    path = tmp_path / "x.tif"
    tags = [(274, "H", 1, 6, False)]  # lies on its side
    tifffile.imwrite(path, COLOUR, photometric="rgb", resolution=(100, 200), resolutionunit="INCH", extratags=tags)
    assert read_image(path).shape == (9, 12, 3)
    assert read_resolution(path) == pytest.approx((200.0, 100.0))


@pytest.mark.parametrize("resolution", [(0, 300), (300, -1), (np.nan, 300), (300, np.inf), (1e9, 1e9)])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_a_resolution_that_cannot_be(tmp_path, suffix, resolution):
    with pytest.raises(InputError, match="pixels per inch"):
        write_image(tmp_path / f"x{suffix}", COLOUR, resolution=resolution)
    assert list(tmp_path.iterdir()) == []


def test_resolution_of_what_is_no_image(tmp_path):
    path = tmp_path / "x.tif"
    path.write_text("a letter")
    with pytest.raises(InputError, match="its content is text"):
        read_resolution(path)
    path.write_bytes(b"II*\x00\x08\x00\x00\x00broken")
    assert read_resolution(path) is None


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_the_colour_space_is_attached_and_the_numbers_stay(tmp_path, suffix):
    path, plain = tmp_path / f"x{suffix}", tmp_path / f"plain{suffix}"
    write_image(path, COLOUR, colour_space="srgb")
    write_image(plain, COLOUR)
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == srgb.profile()
    np.testing.assert_array_equal(read_image(path), read_image(plain))


def test_sixteen_bits_with_everything_attached(tmp_path):
    deep = COLOUR.astype(np.uint16) * 257 + 3
    path = tmp_path / "x.tif"
    write_image(path, deep, description="made of glass", resolution=(1000, 1000), colour_space="srgb")
    np.testing.assert_array_equal(read_image(path), deep)
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        assert tags["ImageDescription"].value == "made of glass"
        assert tags["InterColorProfile"].value == srgb.profile()
        assert tags["Software"].value == f"alignment {__version__}"


@pytest.mark.parametrize(("image", "space"), [(COLOUR[..., 0], "srgb"), (COLOUR, "adobe")])
def test_a_colour_space_that_cannot_be(tmp_path, image, space):
    with pytest.raises(InputError, match="cannot be marked as"):
        write_image(tmp_path / "x.tif", image, colour_space=space)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_equal_arguments_give_equal_bytes(tmp_path, suffix):
    made = []
    for name in "ab":
        path = tmp_path / f"{name}{suffix}"
        write_image(path, COLOUR, description="x", resolution=(300, 300), colour_space="srgb")
        made.append(path.read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_encoding_into_an_open_file_gives_the_same_bytes(tmp_path, suffix):
    options = {"description": "x", "resolution": (300, 300), "colour_space": "srgb"}
    write_image(tmp_path / f"a{suffix}", COLOUR, **options)
    with replace_file(tmp_path / f"b{suffix}") as file:
        encode_image(file, f"anything{suffix}", COLOUR, **options)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_what_cannot_be_encoded_is_refused_before_a_byte_is_written(tmp_path):
    with open(tmp_path / "x", "w+b") as file:
        with pytest.raises(InputError, match="cannot hold uint16"):
            encode_image(file, "x.jpg", COLOUR.astype(np.uint16))
        assert file.tell() == 0
