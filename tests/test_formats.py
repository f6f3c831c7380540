"""Formats: the suffix says what to write, the first bytes what is there."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment import formats
from alignment._checks import InputError
from alignment.formats import image_format
from alignment.imagefiles import read_image, write_image

from .imagetools import grey, refuses


def test_image_format_by_suffix():
    assert [image_format(f"a{s}") for s in formats.IMAGE_SUFFIXES] == ["TIFF", "TIFF", "PNG", "JPEG", "JPEG"]


def test_content_decides_not_the_suffix(tmp_path, rng):
    image = grey(rng)
    write_image(tmp_path / "a.png", image)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), image)


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


@given(data=st.binary(min_size=0, max_size=60), magic=st.sampled_from([m for m, _ in formats._SIGNATURES]))
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
