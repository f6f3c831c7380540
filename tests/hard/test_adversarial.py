"""Pairs that once were called sure and were wrong, each under the name of what was wrong with it."""

from __future__ import annotations

import numpy as np
import pytest

import alignment as al


def photograph(seed, shape=(420, 460)):
    """Return noise with the spectrum of photographs."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
    spectrum = np.fft.rfft2(rng.normal(size=shape)) / np.maximum(np.hypot(fy, fx), 1 / max(shape))
    image = np.fft.irfft2(spectrum, shape)
    return 0.5 + 0.15 * (image - image.mean()) / image.std()


def cut(wide, dx=0, dy=0, shape=(200, 240)):
    """Cut out the middle, its content displaced."""
    top, left = (wide.shape[0] - shape[0]) // 2 - dy, (wide.shape[1] - shape[1]) // 2 - dx
    return wide[top : top + shape[0], left : left + shape[1]].copy()


def disc(dx=0, dy=0, shape=(200, 240)):
    """Return where a disc of 30 % of the frame lies."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(x - 120 - dx, y - 100 - dy) < np.sqrt(0.3 * shape[0] * shape[1] / np.pi)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("contrast", [1.0, 3.0])
def test_a_thing_that_moved_by_itself_was_taken_for_the_scene(seed, contrast):
    behind, front = photograph(seed), np.random.default_rng(seed).normal(0.5, 0.1 * contrast, (420, 460))
    reference = np.where(disc(), cut(front), cut(behind))
    moving = np.where(disc(-9, 12), cut(front, -9, 12), cut(behind, 8, 5))
    found = al.register(reference, moving)
    assert found.status != "converged" or np.hypot(found.dx - 8, found.dy - 5) < 1
    if contrast == 3.0:
        assert found.status == "ambiguous"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_of_the_two_exposures_of_a_double_exposure_was_chosen(seed):
    wide = photograph(seed)
    found = al.register(cut(wide), (cut(wide, 14, -9) + cut(wide, -12, 10)) / 2)
    assert not found.success


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dead_lines_held_the_images_where_they_were(axis, seed):
    wide = photograph(seed)
    pair = [cut(wide), cut(wide, 7, -6)]
    dead = np.random.default_rng(seed).choice(pair[0].shape[axis], 12, replace=False)
    for image in pair:
        np.moveaxis(image, axis, 0)[dead] = 1
    found = al.register(*pair)
    assert found.success
    assert np.hypot(found.dx - 7, found.dy + 6) < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_exposures_a_few_pixels_apart_were_taken_for_one_between_them(seed):
    """Where single pixels tell them apart, few parts of the frame agree; at half the resolution all do."""
    wide = photograph(seed)
    found = al.register(cut(wide), (cut(wide, 9, -4) + cut(wide, 5, -2)) / 2)
    assert not found.success, str(found)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_thing_before_a_plain_scene_was_taken_for_the_scene(seed):
    """No part of the scene shows enough to tell how it moved; all of it, taken together, does."""
    rng = np.random.default_rng(seed)
    behind, front = 0.5 + 0.03 * (photograph(seed) - 0.5), rng.normal(0.5, 0.2, (420, 460))
    reference = np.where(disc(), cut(front), cut(behind)) + rng.normal(0, 0.001, (200, 240))
    moving = np.where(disc(-9, 12), cut(front, -9, 12), cut(behind, 8, 5)) + rng.normal(0, 0.001, (200, 240))
    found = al.register(reference, moving)
    assert found.status == "ambiguous", str(found)
    assert "(8, 5) px" in found.message


def test_a_rival_outside_of_max_shift_does_not_count():
    """What the message advises helps."""
    wide = photograph(0)
    both = np.where(np.arange(240) < 120, cut(wide, 14, -9), cut(wide, -12, 10))
    assert not al.register(cut(wide), both).success
    near = al.register(cut(wide), both, init=(14, -9), max_shift=6)
    assert np.hypot(near.dx - 14, near.dy + 9) < 0.5
    assert "(-12, 10) px" not in near.message


@pytest.mark.parametrize("period", [3.1, 5.7, 7.0, 11.3])
@pytest.mark.parametrize("degrees", [20, 55, 100, 145])
def test_the_edges_of_stripes_told_a_displacement_along_them(degrees, period):
    """As the grid of pixels sees them, the edges of oblique stripes change along the stripes; the stripes do not."""
    y, x = np.mgrid[0:128, 0:128]
    phase = 2 * np.pi * (np.cos(np.radians(degrees)) * x + np.sin(np.radians(degrees)) * y) / period
    found = al.register(0.5 + 0.4 * np.sin(phase), 0.5 + 0.4 * np.sin(phase - 2.2))
    assert not found.success, str(found)


@pytest.mark.parametrize("size", [3, 4, 5, 8])
def test_the_fine_structure_of_a_checkerboard_told_which_square(size):
    y, x = np.mgrid[0:160, 0:240]
    squares = ((y // size + x // size) % 2).astype(float)
    found = al.register(squares[:, :200], squares[:, 40:])
    assert not found.success, str(found)
