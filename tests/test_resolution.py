"""Resolution: pixels per inch, there and back, turned with the picture."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from alignment._checks import InputError
from alignment.imagefiles import read_image, write_image
from alignment.resolution import read_resolution

from .imagetools import COLOUR


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
