"""Pixels of pictures: palettes and bits expanded, alpha dropped if opaque, and the right side up."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alignment.imagefiles import read_image

from .imagetools import grey, refuses, smooth


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
