"""The door: every kind of array that comes in, and every sentence that keeps one out."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from alignment import _checks
from alignment._checks import InputError

LEVELS = [[0, 1, 2], [3, 50, 127]]


# --- images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "becomes"),
    [
        ("u1", "f4"), ("i1", "f4"), ("u2", "f4"), ("i2", "f4"),
        ("u4", "f8"), ("i4", "f8"), ("u8", "f8"), ("i8", "f8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_are_divided_by_the_largest_value_of_their_dtype(dtype, becomes, order):
    dtype = np.dtype(order + dtype)
    limits = np.iinfo(dtype)
    clean, mask = _checks.image("moving", np.array([[limits.max, limits.min], [0, 7]], dtype))
    assert mask is None
    assert clean.dtype == np.dtype(becomes)
    assert clean.dtype.isnative
    assert clean[0, 0] == 1
    assert clean[0, 1] == (0 if limits.min == 0 else pytest.approx(-1, abs=0.01))
    assert clean[1].tolist() == [0, pytest.approx(7 / limits.max, rel=1e-7 if becomes == "f4" else 1e-15)]


@pytest.mark.parametrize(("dtype", "becomes"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), (">f4", "f4"), (">f8", "f8")])
def test_floats_are_taken_as_they_are(dtype, becomes):
    clean, mask = _checks.image("moving", np.array(LEVELS, dtype))
    assert mask is None
    assert clean.dtype == np.dtype(becomes)
    assert clean.dtype.isnative
    np.testing.assert_array_equal(clean, LEVELS)


def test_true_is_white():
    clean, mask = _checks.image("moving", np.array([[True, False]]))
    assert (clean.dtype, clean.tolist(), mask) == (np.float32, [[1, 0]], None)


def test_lists_are_images_too():
    clean, _ = _checks.image("moving", [[0.25, 1.5], [2.0, 3.0]])
    assert clean.dtype == np.float64
    assert clean.tolist() == [[0.25, 1.5], [2, 3]]


@pytest.mark.parametrize(
    "arrange",
    [
        np.asfortranarray,
        lambda a: a[::-1, ::-1],
        lambda a: a[::2, ::3],
        lambda a: a.T,
        lambda a: np.broadcast_to(a[0], (3, 7)),
    ],
    ids=["fortran", "negative strides", "steps", "transposed", "broadcast"],
)
def test_any_layout_becomes_contiguous(arrange):
    given = arrange(np.arange(42.0).reshape(6, 7))
    kept = given.copy()
    clean, _ = _checks.image("moving", given)
    assert clean.flags.c_contiguous
    np.testing.assert_array_equal(clean, kept)


def test_read_only_images_are_welcome_and_nothing_is_written_to():
    given = np.array([[1.0, np.nan], [np.inf, 4.0]])
    given.flags.writeable = False
    clean, mask = _checks.image("moving", given)
    assert clean.tolist() == [[1, 0], [0, 4]]
    assert mask.tolist() == [[1, 0], [0, 1]]
    assert np.isnan(given[0, 1])


def test_a_clean_image_is_not_copied():
    given = np.ones((2, 3))
    assert np.shares_memory(_checks.image("moving", given)[0], given)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_masked(hole):
    clean, mask = _checks.image("moving", np.array([[1, hole], [3, 4]], np.float32))
    assert (clean.tolist(), clean.dtype) == ([[1, 0], [3, 4]], np.float32)
    assert (mask.tolist(), mask.dtype) == ([[1, 0], [1, 1]], np.uint8)


def test_masked_arrays_bring_their_mask():
    given = np.ma.MaskedArray([[1.0, 2.0], [np.nan, 4.0]], [[False, True], [False, False]])
    clean, mask = _checks.image("moving", given)
    assert clean.tolist() == [[1, 0], [0, 4]]
    assert mask.tolist() == [[1, 0], [0, 1]]
    assert _checks.image("moving", np.ma.MaskedArray(np.ones((2, 2))))[1] is None
    whole, mask = _checks.image("moving", np.ma.MaskedArray(np.array([[255, 255]], "u1"), [[True, False]]))
    assert (whole.tolist(), mask.tolist()) == ([[0, 1]], [[0, 1]])


def test_a_colour_pixel_is_usable_where_all_its_channels_are():
    given = np.ones((2, 2, 3))
    given[0, 1, 2] = np.nan
    clean, mask = _checks.image("image", given, channels=True)
    assert clean.shape == (2, 2, 3)
    assert clean[0, 1].tolist() == [0, 0, 0]
    assert mask.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("value", "channels", "sentence"),
    [
        (np.zeros(3), False, r"moving has shape \(3,\); give a grey image of shape \(H, W\)$"),
        (np.zeros((2, 2, 3)), False, r"moving has shape \(2, 2, 3\); give a grey image of shape \(H, W\)$"),
        (5.0, False, r"moving has shape \(\); give a grey image"),
        (np.zeros((1, 2, 2, 3)), True, r"has shape \(1, 2, 2, 3\); give a grey .* or a colour image of shape"),
        (np.zeros((0, 4)), False, r"moving has shape \(0, 4\), without a single pixel; give at least one"),
        (np.zeros((2, 3, 0)), True, r"moving has shape \(2, 3, 0\), without a single pixel; give at least one"),
        (np.zeros((2, 2), complex), False, r"moving has dtype complex128; give grey levels as integers, float32 or"),
        (np.array([["a", "b"]]), False, r"moving has dtype <U1; give grey levels as integers"),
        (np.array([[1, None]], object), False, r"moving has dtype object; give grey levels as integers"),
        (np.zeros((2, 2), "M8[s]"), False, r"moving has dtype datetime64\[s\]; give grey levels as integers"),
        (np.zeros((2, 2), [("r", "u1")]), False, r"moving has dtype \[\('r', 'u1'\)\]; give grey levels as integers"),
        (None, False, r"moving has dtype object; give grey levels"),
        ("scan.tif", False, r"moving has dtype <U8; give grey levels"),
        ([[1, 2], [3]], False, r"moving is \[\[1, 2\], \[3\]\]; give a rectangular array of numbers"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_told_so(value, channels, sentence):
    with pytest.raises(InputError, match=sentence):
        _checks.image("moving", value, channels=channels)


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="here long double is double")
def test_long_doubles_are_refused_rather_than_shortened():
    with pytest.raises(InputError, match=r"moving has dtype \S+; give grey levels as integers, float32 or float64"):
        _checks.image("moving", np.zeros((2, 2), np.longdouble))


def test_the_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def test_pairs():
    first, second = _checks.common_dtype(np.zeros((2, 2), np.float32), np.zeros((2, 2)))
    assert first.dtype == second.dtype == np.float64
    first, second = _checks.common_dtype(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    assert first.dtype == second.dtype == np.float32
    _checks.same_shape(first, second)
    with pytest.raises(
        InputError, match=r"reference has shape \(2, 2\) but moving has \(2, 3\); crop both to the same shape"
    ):
        _checks.same_shape(first, np.zeros((2, 3)))


# --- masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f4", "f8", ">i2"])
def test_masks_of_any_dtype(dtype):
    mask = _checks.mask("reference_mask", np.asfortranarray(np.array([[1, 0, 1], [0, 1, 1]], dtype)), (2, 3))
    assert (mask.tolist(), mask.dtype) == ([[1, 0, 1], [0, 1, 1]], np.uint8)
    assert mask.flags.c_contiguous


def test_no_mask():
    assert _checks.mask("reference_mask", None, (2, 3)) is None
    assert _checks.mask("reference_mask", np.ones((2, 3), bool), (2, 3)) is None


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.ones((3, 2)), r"moving_mask has shape \(3, 2\) but its image has \(2, 3\); give one value for each pixel"),
        (np.zeros((2, 3)), r"moving_mask leaves no pixel to use; True means: use this pixel"),
        (
            np.full((2, 3), 255, np.uint8),
            r"moving_mask holds values other than True and False; True means: use this pixel",
        ),
        (np.full((2, 3), np.nan), r"moving_mask holds values other than True and False"),
        (np.full((2, 3), -1), r"moving_mask holds values other than True and False"),
        (np.full((2, 3), 0.5), r"moving_mask holds values other than True and False"),
        (np.full((2, 3), "yes"), r"moving_mask has dtype <U3; give"),
    ],
)
def test_masks_are_checked(value, sentence):
    with pytest.raises(InputError, match=sentence):
        _checks.mask("moving_mask", value, (2, 3))


# --- windows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        ("frame", (20, 31), (0, 20, 0, 31)),
        ("interior", (20, 31), (2, 18, 3, 28)),
        ("interior", (9, 1), (0, 9, 0, 1)),
        ((1, 4, 2, 6), (5, 7), (1, 4, 2, 6)),
        ([0, 5, 0, 7], (5, 7), (0, 5, 0, 7)),
        (np.array([4, 5, 6, 7]), (5, 7), (4, 5, 6, 7)),
    ],
)
def test_windows(value, shape, expected):
    window = _checks.window("domain", value, shape)
    assert window == expected
    assert all(type(number) is int for number in window)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("middle", r"domain is 'middle'; give one of 'frame', 'interior'"),
        (None, r'domain is None; give "frame", "interior" or \(top, bottom, left, right\)'),
        ((1, 2, 3), r'domain is \(1, 2, 3\); give "frame", "interior" or'),
        ((0.0, 2, 0, 3), r"domain\[0\] is 0\.0; give a whole number of at least 0"),
        ((0, 2, -1, 3), r"domain\[2\] is -1; give a whole number of at least 0"),
        ((2, 2, 0, 3), r"domain is \(2, 2, 0, 3\), which is no window inside an image of shape \(5, 7\)"),
        ((0, 6, 0, 3), r"with 0 <= top < bottom <= 5 and 0 <= left < right <= 7"),
        ((0, 5, 3, 8), r"domain is \(0, 5, 3, 8\), which is no window"),
        ((0, 5, 3, 3), r"domain is \(0, 5, 3, 3\), which is no window"),
        ((3, 1, 0, 3), r"domain is \(3, 1, 0, 3\), which is no window"),
    ],
)
def test_windows_are_checked(value, sentence):
    with pytest.raises(InputError, match=sentence):
        _checks.window("domain", value, (5, 7))


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.int8(2), np.array(2), np.array(2.0), Fraction(2), np.uint64(2)]
)
def test_numbers_of_any_kind(value):
    number = _checks.finite_number("dx", value)
    assert (number, type(number)) == (2.0, float)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"), (float("inf"), "inf"), (np.float64("-inf"), "-inf"), (True, "True"),
        (np.True_, r"np\.True_"), ("3", "'3'"), (None, "None"), (1 + 2j, r"\(1\+2j\)"), (Decimal(2), r"Decimal\('2'\)"),
        (np.array([1.0]), r"array\(\[1\.\]\)"), ([1], r"\[1\]"),
    ],
)  # fmt: skip
def test_what_is_no_finite_number(value, shown):
    with pytest.raises(InputError, match=f"^dx is {shown}; give a finite number$"):
        _checks.finite_number("dx", value)


def test_positive_numbers():
    assert _checks.positive_number("sigma", 0.5) == 0.5
    for value, shown in ((0, "0"), (-1.5, "-1.5"), (-0.0, "-0")):
        with pytest.raises(InputError, match=f"^sigma is {shown}; give a number above 0$"):
            _checks.positive_number("sigma", value)


def test_numbers_between():
    assert [_checks.number_between("share", value, 0, 1) for value in (0, 0.5, 1)] == [0, 0.5, 1]
    for value in (-0.1, 1.5):
        with pytest.raises(InputError, match=f"^share is {value}; give a number from 0 to 1$"):
            _checks.number_between("share", value, 0, 1)


def test_whole_numbers():
    for value in (3, np.int64(3), np.uint8(3)):
        number = _checks.whole_number("steps", value, at_least=3)
        assert (number, type(number)) == (3, int)
    for value, shown in ((2, "2"), (3.0, "3.0"), (True, "True"), ("3", "'3'"), (None, "None")):
        with pytest.raises(InputError, match=f"^steps is {shown}; give a whole number of at least 3$"):
            _checks.whole_number("steps", value, at_least=3)


def test_pairs_of_numbers():
    for value in ((1, 2), [1.0, 2.0], np.array([1, 2])):
        assert _checks.pair_of_numbers("start", value) == (1.0, 2.0)
    for value in ((1, 2, 3), "ab", 5, None, {1, 2}):
        with pytest.raises(InputError, match=r"^start is .*; give two numbers \(dx, dy\) in pixels$"):
            _checks.pair_of_numbers("start", value)
    with pytest.raises(InputError, match=r"^start\[0\] is nan; give a finite number$"):
        _checks.pair_of_numbers("start", (float("nan"), 0))


def test_choices():
    assert _checks.one_of("side", "left", ("right", "left")) == "left"
    for value, shown in (("up", "'up'"), (None, "None"), (3, "3"), (["left"], r"\['left'\]")):
        with pytest.raises(InputError, match=f"^side is {shown}; give one of 'right', 'left'$"):
            _checks.one_of("side", value, ("right", "left"))


def test_long_values_are_cut_short():
    with pytest.raises(InputError, match=r"^dx is a list that starts \[0, 1, 2, .{28,34}\.\.\.; give a finite number$"):
        _checks.finite_number("dx", list(range(1000)))


def test_whole_numbers_beyond_all_floats_are_not_finite():
    with pytest.raises(InputError, match="give a finite number"):
        _checks.finite_number("dx", 10**400)


@pytest.mark.parametrize("check", [lambda v: _checks.pair_of_numbers("x", v), lambda v: _checks.window("x", v, (5, 7))])
def test_an_array_without_axes_is_no_pair_and_no_window(check):
    with pytest.raises(InputError, match=r"^x is array\(3\.\)"):
        check(np.array(3.0))


@pytest.mark.parametrize("values", [[[1.0, 2.0]], ["1"], None, [1, [2, 3]], {"a": 1}, [1j]])
def test_what_is_no_list_of_displacements(values):
    with pytest.raises(InputError, match=r"^dx is .*; give a list of displacements in pixels"):
        _checks.displacements("dx", values)


def test_a_list_of_displacements_may_be_one_or_none_and_holds_finite_numbers():
    assert _checks.displacements("dx", np.float32(0.5)) == [0.5]
    assert _checks.displacements("dx", ()) == []
    assert [type(number) for number in _checks.displacements("dx", np.arange(3))] == [float] * 3
    with pytest.raises(InputError, match="dx is nan; give a finite number"):
        _checks.displacements("dx", [1.0, np.nan])
