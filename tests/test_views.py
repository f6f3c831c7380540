"""The views of an image: what each shows, and that it is made once."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import InputError, views
from alignment.pyramid import Masked, band_pass, edges, halve, smooth
from alignment.views import Both, Pair, Views, cropped, usable

FEATURES = ("intensity", "fine", "edges")
VIEWS = ("featured", "smoothed", "toneless")


def image(seed=0, shape=(150, 170)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("level", [0, 1])
def test_what_each_view_shows(level):
    seen = Views(Masked(image()), 1.0)
    plain = Masked(image()) if level == 0 else halve(Masked(image()))
    want = {"intensity": plain, "fine": band_pass(plain, 1.0), "edges": edges(smooth(plain, 1.0))}
    for features in FEATURES:
        smoothed = smooth(want[features], 1.0)
        np.testing.assert_array_equal(seen.featured(level, features).image, want[features].image)
        np.testing.assert_array_equal(seen.smoothed(level, features).image, smoothed.image)
        np.testing.assert_array_equal(seen.toneless(level, features).image, band_pass(smoothed, 3.0).image)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("view", VIEWS)
def test_a_small_view_is_made_once_and_a_large_one_is_not_kept(view, features, monkeypatch):
    seen = Views(Masked(image()), 1.0)
    assert getattr(seen, view)(0, features).image is getattr(seen, view)(0, features).image
    monkeypatch.setattr(views, "_SMALL", 1000)
    large = Views(Masked(image()), 1.0)
    made = [getattr(large, view)(0, features).image for _ in range(2)]
    np.testing.assert_array_equal(*made)
    if (view, features) != ("featured", "intensity"):  # which is the level itself
        assert made[0] is not made[1]


def test_the_edges_of_a_ramp_are_nothing():
    """Their magnitude is the same everywhere but for its rounding, which no attempt should follow."""
    y, x = np.mgrid[:80, :90]
    seen = Views(Masked((0.3 * x + 0.2 * y).astype(np.float32)), 1.0)
    assert not seen.featured(0, "edges").image.any()


def test_the_outer_tenth_is_cut_off():
    pair = cropped(Pair(Masked(image()), Masked(image(1), np.ones((150, 170), np.uint8))))
    assert [level.image.shape for level in pair] == [(120, 136)] * 2
    np.testing.assert_array_equal(pair.reference.image, image()[15:-15, 17:-17])
    assert pair.reference.mask is None
    assert pair.moving.mask.shape == (120, 136)


def test_what_may_not_be_used_is_filled_with_the_mean():
    mask = np.ones((20, 30), np.uint8)
    mask[5, 7] = 0
    levels = image(shape=(20, 30))
    levels[5, 7] = 1e30
    got = usable(levels, mask)
    np.testing.assert_array_equal(got.mask, mask)
    assert got.image[5, 7] == pytest.approx(levels[mask != 0].mean(), abs=1e-6)
    assert levels[5, 7] == np.float32(1e30)  # the caller's array stays as it was


def test_dead_lines_may_not_be_used():
    levels = 0.5 + smooth(Masked(image()), 3.0).image
    levels[40] = 0
    got = usable(levels, None)
    assert got.mask is not None
    assert not got.mask[40].any()


@pytest.mark.parametrize("shape", [(7, 40), (40, 7), (1, 1)])
def test_images_below_eight_pixels_are_refused(shape):
    with pytest.raises(InputError, match="at least 8 x 8 pixels"):
        usable(np.zeros(shape, np.float32), None)


def test_threads_see_the_same(monkeypatch):
    monkeypatch.setattr(views, "_WORTH_THREADS", 0)
    pair = Pair(Masked(image(shape=(40, 50))), Masked(image(1, (40, 50))))
    one, two = (Both.of(pair, 1.0, threads) for threads in (1, 2))
    for features in FEATURES:
        for mine, theirs in zip(one.toneless(0, features), two.toneless(0, features), strict=True):
            np.testing.assert_array_equal(mine.image, theirs.image)
    assert one.shape == (40, 50)
    assert len(one.levels) == 1
