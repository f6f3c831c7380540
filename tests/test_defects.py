"""Dead lines: found where they are, and not where a scene merely has even rows."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.defects import living


def scene(seed=0, shape=(60, 80)):
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dead_rows_and_columns_are_found_though_they_cross(dtype, order):
    image = scene().astype(dtype)
    lines = [(np.s_[[3, 17, 18, 59]], 1), (np.s_[:, [0, 40]], 0)]
    for where, level in lines[::order]:
        image[where] = level
    alive = living(image)
    assert set(np.flatnonzero(~alive.any(axis=1))) == {3, 17, 18, 59}
    assert set(np.flatnonzero(~alive.any(axis=0))) == {0, 40}


def test_a_sound_image_has_none_and_is_left_alone():
    image = scene()
    before = image.copy()
    assert living(image) is None
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_are_a_scene(axis):
    stripes = np.repeat(np.sin(np.arange(60.0))[:, np.newaxis], 60, axis=1)
    assert living(np.moveaxis(stripes, 0, axis)) is None


def test_an_even_background_is_not_dead():
    image = np.zeros((60, 80))
    image[10:55, 30:50] = scene(1, (45, 20))
    assert living(image) is None


def test_a_constant_image_is_not_dead():
    assert living(np.full((20, 20), 3.0)) is None


def test_too_many_dead_lines_are_no_defect():
    image = scene()
    image[::2] = 2
    assert living(image) is None
