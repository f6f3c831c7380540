"""JPEG: what is cut off is found out, what is appended does not matter."""

from __future__ import annotations

import warnings

import numpy as np
from PIL import Image, ImageFile

from alignment.imagefiles import read_image, write_image

from .imagetools import refuses, smooth


def test_broken_exif_says_nothing_about_the_picture(tmp_path):
    Image.fromarray(smooth((24, 40))).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.jpg").shape == (24, 40)


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
