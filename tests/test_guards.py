"""Guards: pipes are not waited for, and headers that lie do not fill the memory."""

from __future__ import annotations

import os
import socket

import pytest
from PIL import Image

from alignment._checks import InputError
from alignment.imagefiles import check_writable, read_image, write_image

from .imagetools import grey, needs_posix, png_of, refuses


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
