"""Colour: what each option promises, measured on pictures made for the purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment import InputError, colour
from alignment.colour import Adjustment, measure

DTYPES = ("uint8", "uint16", "float32", "float64")


def picture(dtype, seed=0, cast=(1.0, 0.7, 0.5), low=0.08, high=0.9):
    """Return a picture with a colour cast that uses part of the range."""
    rng = np.random.default_rng(seed)
    levels = low + (high - low) * rng.random((60, 50, 3)) ** 1.5 * np.array(cast)
    top = np.iinfo(dtype).max if dtype.startswith("u") else None
    return np.rint(levels * top).astype(dtype) if top else levels.astype(dtype)


def in_unit(image):
    return image / np.iinfo(image.dtype).max if image.dtype.kind in "iu" else image.astype(float)


def level(dtype):
    """Return the distance of two neighbouring levels."""
    return 1 / np.iinfo(dtype).max if dtype.startswith("u") else 1e-6


gains = st.floats(0.3, 3.0)
adjustments = st.builds(
    lambda r, g, b, black, span, gamma: Adjustment((r, g, b), black, black + span, gamma),
    gains, gains, gains, st.floats(-0.1, 0.4), st.floats(0.2, 1.2), st.floats(0.4, 2.5),
)  # fmt: skip


# nothing unless asked for


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_happens_unless_asked_for(dtype):
    image = picture(dtype)
    found = measure(image)
    assert found.identity
    np.testing.assert_array_equal(found.apply(image), image)
    assert found.apply(image).dtype == image.dtype


def test_each_option_alone_leaves_the_others_alone():
    image = picture("uint16")
    balanced = measure(image, balance="gray-world")
    assert (balanced.black, balanced.white, balanced.gamma) == (0.0, 1.0, 1.0)
    assert balanced.gains != (1.0, 1.0, 1.0)
    stretched = measure(image, contrast=True)
    assert (stretched.gains, stretched.gamma) == ((1.0, 1.0, 1.0), 1.0)
    assert 0 < stretched.black < stretched.white < 1
    curved = measure(image, gamma=1.5)
    assert curved == Adjustment(gamma=1.5)


# balance


@pytest.mark.parametrize("dtype", DTYPES)
def test_gray_world_makes_the_means_equal(dtype):
    image = picture(dtype)
    before = in_unit(image).mean(axis=(0, 1))
    after = in_unit(measure(image, balance="gray-world").apply(image)).mean(axis=(0, 1))
    assert np.ptp(before) > 0.1
    assert np.ptp(after) < level(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_white_patch_makes_the_whites_equal(dtype):
    image = picture(dtype)
    after = in_unit(measure(image, balance="white-patch").apply(image))
    whites = np.percentile(after, 99.5, axis=(0, 1))
    assert np.ptp(np.percentile(in_unit(image), 99.5, axis=(0, 1))) > 0.2
    assert np.ptp(whites) < max(3 * level(dtype), 2e-3)


@pytest.mark.parametrize("balance", colour.BALANCES)
@pytest.mark.parametrize("cast", [(1.0, 0.7, 0.5), (0.2, 1.0, 0.3), (0.9, 0.9, 0.9)])
def test_balance_clips_nothing_and_keeps_the_brightness_where_it_can(balance, cast):
    bright = picture("uint16", cast=cast, high=1.0)
    bright[3, 4] = 65000  # a highlight that is white in all channels, whatever their means are
    found = measure(bright, balance=balance)
    assert found.clipped(bright) == 0
    for channel in range(3):
        assert found.gains[channel] * in_unit(bright)[..., channel].max() <= 1 + 1e-12
    dark = bright // 4
    same = measure(dark, balance=balance).apply(dark)
    assert in_unit(same).mean() == pytest.approx(in_unit(dark).mean(), rel=1e-3)


def test_a_black_channel_cannot_be_balanced():
    image = picture("uint8")
    image[..., 2] = 0
    for balance in colour.BALANCES:
        with pytest.raises(InputError, match="the blue channel is black"):
            measure(image, balance=balance)


# contrast


@pytest.mark.parametrize("dtype", DTYPES)
def test_contrast_puts_its_percentiles_at_black_and_white(dtype):
    image = picture(dtype)
    found = measure(image, contrast=(2, 95))
    low, high = np.percentile(in_unit(image), (2, 95))
    assert (found.black, found.white) == pytest.approx((low, high), abs=max(level(dtype), 1e-4))
    outside = (in_unit(image) < found.black - 1e-12) | (in_unit(image) > found.white + 1e-12)
    assert found.clipped(image) == pytest.approx(outside.mean(), abs=1e-3)
    assert 0.03 < outside.mean() < 0.075  # 2 and 5 %, less those that are at the very percentile
    after = in_unit(found.apply(image))
    assert (after.min(), after.max()) == (0, 1)


def test_contrast_is_shared_by_the_channels():
    image = picture("float64")
    after = measure(image, contrast=True).apply(image)
    inside = ((after > 0) & (after < 1)).all(axis=2)
    before, after = image[inside], after[inside]
    differences = [(b[:, 0] - b[:, 1]) / (b[:, 1] - b[:, 2]) for b in (before, after)]
    np.testing.assert_allclose(*differences, rtol=1e-6)


def test_contrast_comes_after_the_balance():
    image = picture("uint16")
    both = measure(image, balance="gray-world", contrast=True)
    balanced = measure(image, balance="gray-world")
    assert both.gains == balanced.gains
    low, high = np.percentile(in_unit(balanced.apply(image)), colour.PERCENTILES)
    assert (both.black, both.white) == pytest.approx((low, high), abs=1e-4)


def test_one_grey_level_cannot_be_stretched():
    assert measure(np.full((5, 5, 3), 77, np.uint8), contrast=True).identity


# curves


def test_gamma_is_the_power_it_says():
    levels = np.linspace(0, 1, 11)
    np.testing.assert_allclose(Adjustment(gamma=2.0).curve(1, levels), np.sqrt(levels))


@settings(max_examples=25, deadline=None)
@given(adjustments, st.integers(0, 2), st.sampled_from(["uint8", "uint16"]))
def test_no_tone_overtakes_another(adjustment, channel, dtype):
    ramp = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    image = np.zeros((1, len(ramp), 3), dtype)
    image[0, :, channel] = ramp
    made = adjustment.apply(image)[0, :, channel].astype(int)
    assert (np.diff(made) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(adjustments, st.integers(0, 2))
def test_what_is_not_clipped_comes_back(adjustment, channel):
    levels = np.linspace(0, 1, 257)
    made = adjustment.curve(channel, levels)
    inside = (made > 0) & (made < 1)
    np.testing.assert_allclose(adjustment.inverse(channel, made)[inside], levels[inside], atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"balance": "gray-world"}, {"gamma": 1.4}, {"balance": "white-patch", "gamma": 0.7}]
)
def test_sixteen_bits_come_back_to_rounding(options):
    image = picture("uint16")
    found = measure(image, **options)
    back = found.undo(found.apply(image)).astype(int)
    slopes = [np.diff(found.curve(c, np.arange(65536) / 65535)) * 65535 for c in range(3)]
    for c in range(3):
        # half a level of the result, taken back, and half a level of rounding there
        slope = slopes[c][np.clip(image[..., c].astype(int) - 1, 0, 65534)]
        assert (np.abs(back[..., c] - image[..., c]) <= 0.5 / slope * 1.05 + 0.5).all()


def test_tables_and_numbers_agree():
    image = picture("uint16")
    found = measure(image, balance="gray-world", contrast=True, gamma=1.3)
    exact = found.apply(in_unit(image))
    assert np.abs(in_unit(found.apply(image)) - exact).max() <= 0.5 / 65535 + 1e-12


def test_the_numbers_can_be_written_down():
    found = measure(picture("uint8"), balance="gray-world", contrast=True, gamma=1.3)
    assert Adjustment.from_dict(found.to_dict()) == found


# what cannot be


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.int32), "dtype"),
        (np.full((4, 4, 3), 1.5), "1.5"),
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
    ],
)
def test_what_is_no_picture(image, says):
    with pytest.raises(InputError, match=says):
        measure(image, contrast=True)
    with pytest.raises(InputError, match=says):
        Adjustment(gamma=2.0).apply(image)


@pytest.mark.parametrize(
    "options",
    [
        {"balance": "grey"},
        {"contrast": (5, 5)},
        {"contrast": (-1, 50)},
        {"contrast": (1, 2, 3)},
        {"gamma": 0},
        {"gamma": np.nan},
    ],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(InputError):
        measure(picture("uint8"), **options)


@pytest.mark.parametrize(
    "values",
    [
        {"gains": (1, 0, 1)}, {"gains": (1, np.inf, 1)}, {"black": 0.5, "white": 0.5}, {"white": np.nan}, {"gamma": -1},
    ],
)  # fmt: skip
def test_adjustments_that_cannot_be_taken_back_are_refused(values):
    with pytest.raises(InputError):
        Adjustment(**values)


@pytest.mark.parametrize("data", [{}, {"gains": [1, 2], "black": 0, "white": 1, "gamma": 1}, {"gains": None}])
def test_what_is_no_adjustment(data):
    with pytest.raises(InputError):
        Adjustment.from_dict(data)
