"""The profile of sRGB, as another implementation of the format reads it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from alignment import srgb

ImageCms = pytest.importorskip("PIL.ImageCms")


@pytest.fixture(scope="module")
def read():
    return ImageCms.ImageCmsProfile(io.BytesIO(srgb.profile()))


def test_the_profile_says_what_it_is(read):
    assert ImageCms.getProfileDescription(read).strip() == "sRGB"
    assert read.profile.xcolor_space.strip() == "RGB"
    assert read.profile.device_class == "mntr"


def test_the_colours_are_those_of_another_implementation(read):
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    for name in ("red_colorant", "green_colorant", "blue_colorant"):
        ours, theirs = (np.array(getattr(p.profile, name)[0]) for p in (read, other))
        np.testing.assert_allclose(ours, theirs, atol=1.5e-4)


def test_from_srgb_to_srgb_nothing_changes(read):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    back = ImageCms.profileToProfile(image, read, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(back).astype(int) - np.asarray(image)).max() <= 1


def test_white_is_white(read):
    lab = ImageCms.createProfile("LAB")
    white = ImageCms.profileToProfile(Image.new("RGB", (2, 2), (255, 255, 255)), read, lab, outputMode="LAB")
    lightness, a, b = (int(np.asarray(white)[0, 0, i]) for i in range(3))
    assert lightness == 255
    assert (min(a, 256 - a), min(b, 256 - b)) == (0, 0)


def test_the_curve_is_the_standards():
    levels = np.array([0, 0.04045, 0.2, 0.5, 1.0])
    np.testing.assert_allclose(srgb.linear(levels), [0, 0.04045 / 12.92, 0.0331, 0.2140, 1.0], atol=5e-5)


def test_the_profile_is_the_same_every_time():
    first = srgb.profile()
    srgb.profile.cache_clear()
    assert srgb.profile() == first
