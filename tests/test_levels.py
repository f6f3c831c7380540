"""Grey levels: every one comes back, through floats and more bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment import levels
from alignment._checks import InputError
from alignment.levels import as_float, to_dtype


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_levels_survive_floats_and_more_bits(image):
    floats = as_float(image)
    assert floats.dtype == np.float32
    assert floats.min() >= 0
    assert floats.max() <= 1
    np.testing.assert_array_equal(to_dtype(floats, image.dtype), image)
    if image.dtype == np.uint8:
        np.testing.assert_array_equal(to_dtype(to_dtype(image, "uint16"), "uint8"), image)
        np.testing.assert_array_equal(to_dtype(floats, "uint16"), to_dtype(image, "uint16"))


def test_all_levels_come_back():
    every = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_dtype(as_float(every), "uint16"), every)
    np.testing.assert_array_equal(to_dtype(every, "uint8"), np.rint(every / 257))
    np.testing.assert_array_equal(to_dtype(every / 65535, "uint16"), every)


def test_large_images_are_converted_piece_by_piece(rng):
    """Also where the last piece is not full, where memory does not run along the rows, and with NaN in two pieces."""
    many = rng.integers(0, 65536, (3, 5, 150_001), dtype=np.uint16)
    assert many.size % levels._AT_ONCE > 0
    assert many.size > 2 * levels._AT_ONCE
    for image in (many, many.transpose(2, 0, 1)):
        np.testing.assert_array_equal(to_dtype(image, "uint8"), np.rint(image / 257))
        np.testing.assert_array_equal(to_dtype(image / 65535, "uint16"), image)
    holes = np.zeros(many.size, np.float32)
    holes[[7, -1]] = np.nan
    with pytest.raises(InputError, match="holds 2 NaN"):
        to_dtype(holes, "uint8")


def test_floats_pass_as_they_are_and_others_are_refused():
    image = np.array([-3.0, 700.0])
    assert as_float(image) is image
    assert as_float(image.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(to_dtype(np.array([-np.inf, np.inf], np.float16), "uint16"), [0, 65535])
    for function in (as_float, lambda a: to_dtype(a, "uint8")):
        with pytest.raises(InputError, match="dtype int64, which has no known range; give uint8, uint16"):
            function(np.array([1, 2], np.int64))
    with pytest.raises(InputError, match="holds 1 NaN, for which no grey level exists"):
        to_dtype(np.array([0.5, np.nan]), "uint8")
    with pytest.raises(InputError, match="dtype is None"):
        to_dtype(image, None)
