"""Encoding: what a format cannot hold is refused, what is attached is kept, the numbers stay."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from alignment import __version__, srgb
from alignment._checks import InputError
from alignment.imagefiles import encode_image, read_image, replace_file, write_image

from .imagetools import COLOUR


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
