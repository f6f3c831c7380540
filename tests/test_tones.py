"""Images that differ in their tones: the curve between them, and what it does for a displacement."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import comparison, datasets, register
from alignment.pyramid import Masked
from alignment.tones import tone_curve

from .scenes import scene

WHOLE = (0, 60, 0, 70)
BENT = {
    "negative": lambda levels: 1 - levels,
    "bent": lambda levels: levels**2,
    "bent negative": lambda levels: 1 - np.sqrt(levels),
}


def levels(shape=(60, 70), seed=0):
    return np.random.default_rng(seed).uniform(0.1, 1, shape)


def blob(dx=0.0, dy=0.0, noise=0.01, seed=0):
    """Return a soft-edged disc that the border cuts: the slopes that tell how high it lies are all on one side."""
    y, x = np.mgrid[:150, :180].astype(float)
    disc = 1 / (1 + np.exp((np.hypot(x - 80 - dx, y - 45 - dy) - 45) / 5))
    grain = 0.06 * np.sin((x - dx) / 9) * np.cos((y - dy) / 7)
    return np.clip(0.15 + 0.7 * disc + grain + np.random.default_rng(seed).normal(0, noise, x.shape), 0, 1)


@pytest.mark.parametrize("bent", BENT.values(), ids=BENT)
def test_a_curve_is_found_and_explains_everything(bent):
    curve = tone_curve(Masked(bent(levels())), Masked(levels()), (0.0, 0.0), WHOLE)
    assert curve.share >= 0.999
    assert curve.tells
    np.testing.assert_allclose(curve(Masked(levels())).image, bent(levels()), atol=0.02)


@pytest.mark.parametrize("bent", [lambda levels: 0.5 * levels + 3, lambda levels: levels, lambda levels: levels**1.05])
def test_gain_and_offset_are_no_matter_of_tones(bent):
    """Nor is a curve that a line does nearly as well as: levels are compared as they are there."""
    noise = np.random.default_rng(1).normal(0, 0.02, (60, 70))
    curve = tone_curve(Masked(bent(levels()) + noise), Masked(levels()), (0.0, 0.0), WHOLE)
    assert curve.of_gain >= 0.97
    assert not curve.tells


def test_noise_has_its_share():
    noise = np.random.default_rng(1).normal(0, 0.1, (60, 70))
    curve = tone_curve(Masked(1 - levels() + noise), Masked(levels()), (0.0, 0.0), WHOLE)
    want = levels().var() / (levels().var() + 0.01)
    assert curve.share == pytest.approx(want, abs=0.02)


def test_what_is_no_function_is_not_explained():
    curve = tone_curve(Masked(levels(seed=1)), Masked(levels()), (0.0, 0.0), WHOLE)
    assert curve.share <= 0.01
    assert not curve.tells


def test_the_displacement_counts():
    wide = levels((60, 80))
    curve = tone_curve(Masked(1 - wide[:, 4:74]), Masked(wide[:, :70]), (4.0, 0.0), WHOLE)
    assert curve.share == pytest.approx(1)


def test_levels_that_were_not_seen_are_the_nearest_that_were():
    """A polynomial knows nothing of what lies beyond: one hot pixel would become anything."""
    curve = tone_curve(Masked(1 - levels() ** 3), Masked(levels()), (0.0, 0.0), WHOLE)
    got = curve(Masked(np.array([[-5.0, levels().min(), levels().max(), 9.0]]))).image[0]
    assert got[0] == got[1]
    assert got[3] == got[2]


def test_hidden_pixels_say_nothing():
    mask = np.ones((60, 70), np.uint8)
    mask[:20] = 0
    reference, moving = 1 - levels(), levels()
    reference[:20] = 7.0
    assert tone_curve(Masked(reference, mask), Masked(moving), (0.0, 0.0), WHOLE).share == pytest.approx(1)
    reference, moving = 1 - levels(), levels()
    moving[:20] = 7.0
    assert tone_curve(Masked(reference), Masked(moving, mask), (0.0, 0.0), WHOLE).share == pytest.approx(1)


@pytest.mark.parametrize(
    ("reference", "moving", "at"),
    [
        (np.ones((60, 70)), levels(), (0.0, 0.0)),
        (levels(), np.ones((60, 70)), (0.0, 0.0)),
        (levels(), levels(), (69.5, 0.0)),
        (levels(), levels(), (0.0, -80.0)),
    ],
)
def test_where_there_is_nothing_to_see_there_is_no_curve(reference, moving, at):
    assert tone_curve(Masked(reference), Masked(moving), at, WHOLE) is None


def test_inputs_and_dtypes_stay_as_they_are():
    moving = levels().astype(np.float32)
    before = moving.copy()
    curve = tone_curve(Masked(1 - moving), Masked(moving), (0.0, 0.0), WHOLE)
    assert curve(Masked(moving)).image.dtype == np.float32
    np.testing.assert_array_equal(moving, before)


@pytest.mark.parametrize("bent", BENT.values(), ids=BENT)
def test_soft_edges_under_bent_tones(bent):
    """Their steepest slope moves with the tones, all one way where the border cuts the other side off."""
    reference, moving = blob(), bent(blob(3.25, -1.5, seed=1))
    found = register(reference, moving)
    assert found.success, found.message
    assert found.options["features"] == "toned"
    assert np.hypot(found.dx - 3.25, found.dy + 1.5) <= 0.1


def test_a_negative_is_compared_by_its_levels():
    pair = datasets.shifted_pair(3.3, -2.6, noise=0.01, seed=3)
    found = register(pair.reference, 1 - pair.moving)
    assert found.options["features"] == "toned"
    assert found.success
    assert np.hypot(found.dx - 3.3, found.dy + 2.6) <= 0.02
    edges = register(pair.reference, 1 - pair.moving, features="edges")
    assert edges.options["features"] == "edges"
    assert np.hypot(edges.dx - 3.3, edges.dy + 2.6) > np.hypot(found.dx - 3.3, found.dy + 2.6)


@pytest.mark.slow
def test_the_curve_of_a_large_negative_is_taken_at_a_coarse_level(monkeypatch):
    """Four numbers need no hundred million pixels, of which each would take some forty bytes."""
    seen = []

    def watched(reference, moving, at, window):
        seen.append((reference.image.shape, at, window))
        return tone_curve(reference, moving, at, window)

    monkeypatch.setattr(comparison, "tone_curve", watched)
    found = register(scene((820, 900), blur=3), -scene((820, 900), 6.5, -4.25, blur=3))
    assert found.options["features"] == "toned"
    assert np.hypot(found.dx - 6.5, found.dy + 4.25) <= 0.02
    assert seen
    for shape, (dx, dy), (_, bottom, _, right) in seen:
        assert shape == (205, 225)
        assert np.hypot(dx - 6.5 / 4, dy + 4.25 / 4) <= 0.1
        assert bottom <= 205
        assert right <= 225


def test_images_in_one_light_are_compared_as_they_are():
    pair = datasets.shifted_pair(3.3, -2.6, noise=0.01, seed=3)
    assert register(pair.reference, pair.moving).options["features"] == "intensity"
