"""The shift and its slopes: against the double sums, against SciPy, and as a function that users call."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from alignment import bilinear, formulas
from alignment._checks import InputError

SHAPES = [(5, 7), (7, 4), (1, 6), (6, 1), (1, 1)]
DISPLACEMENTS = [
    (0.3, 0.6), (-1.7, 0.45), (2.25, -2.5), (0.9, -0.001),
    (0, 0), (1, -2), (-2, 1), (0.4, 2), (-1, 0.7),
    (3.5, -3.5), (-6.2, 0.1), (0.5, 6.9), (-7, 0), (9.5, 1), (-40.3, 12.8),
]  # fmt: skip
SIDES = ("right", "left", "central")
# ours: SciPy's; its "constant" and "wrap" are others, they do not interpolate across the border
BOUNDARIES = {"zero": "grid-constant", "edge": "nearest", "wrap": "grid-wrap"}


def everywhere(function, A, dx, dy, *reading):
    """Return a sampler of the formulas at every pixel."""
    height, width = A.shape
    grid = A.astype(np.float64).tolist()
    return np.array([[function(grid, x + dx, y + dy, *reading) for x in range(width)] for y in range(height)])


@pytest.mark.parametrize(("kind", "within"), [(np.float64, 1e-15), (np.float32, 2e-7)], ids=["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
def test_shift_equals_the_double_sum(scene, agree, shape, kind, within):
    A = scene(shape, 50, kind)
    for dx, dy in DISPLACEMENTS:
        shifted = bilinear.shift(A, dx, dy)
        assert shifted.dtype == kind
        # x + dx is rounded in the formulas, by half a unit in the last place of 48
        agree(shifted, everywhere(formulas.sample, A, dx, dy), scale=1, within=within + 7e-15, name="shift")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
def test_slopes_equal_the_double_sums(scene, agree, shape, side):
    A = scene(shape, 51)
    single = A.astype(np.float32)
    for dx, dy in DISPLACEMENTS:
        along_x = everywhere(formulas.sample_slope_x, A, dx, dy, side)
        along_y = everywhere(formulas.sample_slope_y, A, dx, dy, side)
        for image, within in ((A, 1e-14), (single, 4e-7)):
            slope_x, slope_y = bilinear.shift_gradients(image, dx, dy, side=side)
            assert slope_x.dtype == slope_y.dtype == image.dtype
            agree(slope_x, along_x, scale=1, within=within, name="slope along x")
            agree(slope_y, along_y, scale=1, within=within, name="slope along y")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(5, 7), (7, 4), (2, 6), (6, 2), (1, 5)], ids="{0[0]}x{0[1]}".format)
def test_shift_equals_scipy(scene, agree, shape, boundary):
    A = scene(shape, 52)
    for dx, dy in DISPLACEMENTS:
        expected = ndimage.shift(A, (-dy, -dx), order=1, mode=BOUNDARIES[boundary], prefilter=False)
        agree(bilinear.shift(A, dx, dy, boundary=boundary), expected, scale=1, within=2e-14, name="shift against SciPy")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("boundary", ["edge", "wrap"])
def test_slopes_at_the_other_boundaries_are_those_of_a_larger_image(scene, agree, boundary, side):
    A = scene((4, 5), 53)
    large = np.pad(A, 12, mode="edge" if boundary == "edge" else "wrap")
    for dx, dy in [(0.3, 0.6), (-1.7, 0.45), (0, 0), (1, -2), (0.4, 2), (-1, 0.7), (7.25, -6.5)]:
        expected = [slope[12:-12, 12:-12] for slope in bilinear.shift_gradients(large, dx, dy, side=side)]
        slopes = bilinear.shift_gradients(A, dx, dy, boundary=boundary, side=side)
        agree(slopes, expected, scale=1, within=1e-15, name="slopes at the boundary")


def test_positive_dx_reads_from_the_right_and_positive_dy_from_below():
    moving = np.zeros((6, 8))
    moving[4, 5] = 1
    aligned = bilinear.shift(moving, 3, 2)
    assert np.argwhere(aligned).tolist() == [[2, 2]]
    # SciPy speaks of the move to apply, in row-column order
    np.testing.assert_array_equal(aligned, ndimage.shift(moving, (-2, -3), order=1))
    np.testing.assert_array_equal(aligned[2], bilinear.shift(moving[4:5], 3, 0)[0])
    # theta maps the target pixel to the source point
    np.testing.assert_array_equal(bilinear.theta(3, 2) @ [2, 2, 1], [5, 4])
    assert bilinear.theta(3, 2).tolist() == [[1, 0, 3], [0, 1, 2]]


def test_slopes_of_a_bright_pixel():
    moving = np.zeros((3, 5))
    moving[1, 2] = 1
    slope_x, slope_y = bilinear.shift_gradients(moving, 0.25, 0.5)
    # reading further right brings the pixel in from one side and takes it away on the other
    assert slope_x[1].tolist() == [0, 0.5, -0.5, 0, 0]
    assert slope_y[:, 2].tolist() == [0.75, -0.75, 0]
    assert slope_y[:, 1].tolist() == [0.25, -0.25, 0]


@pytest.mark.parametrize(
    ("displacement", "side", "whole", "fraction"),
    [
        (2.25, "right", 2, 0.25), (2.25, "left", 2, 0.25), (-0.25, "right", -1, 0.75), (-0.25, "left", -1, 0.75),
        (0, "right", 0, 0), (0, "left", -1, 1), (3, "right", 3, 0), (3, "left", 2, 1), (-3, "left", -4, 1),
        (-1e-30, "right", 0, 0),
    ],
)  # fmt: skip
def test_split(displacement, side, whole, fraction):
    assert bilinear.split(displacement, side=side) == (whole, fraction)


def test_one_sided():
    assert [bilinear.one_sided(side) for side in SIDES] == [("right",), ("left",), ("right", "left")]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "?", ">f4", ">u2"])
def test_shift_returns_what_it_was_given(dtype, boundary):
    levels = np.array([[0, 1, 2, 100], [7, 50, 127, 3]]) % (2 if dtype == "?" else 200)
    image = levels.astype(dtype)
    shifted = bilinear.shift(image, 0, 0, boundary=boundary)
    assert shifted.dtype == image.dtype
    np.testing.assert_array_equal(shifted, levels)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4"])
def test_integers_are_rounded_and_keep_their_range(dtype):
    limits = np.iinfo(dtype)
    image = np.array([[limits.min, limits.max, limits.max, limits.min, 10, 13]], dtype)
    np.testing.assert_array_equal(bilinear.shift(image, 0, 0), image)
    shifted = bilinear.shift(image, 0.25, 0, boundary="edge")
    assert shifted[0, 1] == limits.max
    assert shifted[0, 4] == 11  # 10.75
    assert shifted[0, 5] == 13


def test_each_channel_is_shifted_alike(scene):
    image = scene((5, 6, 3), 54)
    for dx, dy in [(0.3, -1.6), (-2, 0.5)]:
        together = bilinear.shift(image, dx, dy), *bilinear.shift_gradients(image, dx, dy)
        for c in range(3):
            apart = bilinear.shift(image[..., c], dx, dy), *bilinear.shift_gradients(image[..., c], dx, dy)
            np.testing.assert_array_equal([plane[..., c] for plane in together], apart)


@pytest.mark.parametrize("arrange", [np.asfortranarray, lambda a: a[::-1, ::-1], lambda a: a.T, lambda a: a[::2]])
def test_layout_in_memory_changes_nothing(scene, arrange):
    image = arrange(scene((6, 6), 55))
    np.testing.assert_array_equal(bilinear.shift(image, 0.3, -1.6), bilinear.shift(image.copy(order="C"), 0.3, -1.6))
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(bilinear.shift(frozen, 0.3, -1.6), bilinear.shift(image, 0.3, -1.6))


def test_shift_returns_a_copy(scene):
    image = scene((4, 5), 56)
    kept = image.copy()
    shifted = bilinear.shift(image, 0, 0)
    np.testing.assert_array_equal(shifted, image)
    shifted[:] = 0
    np.testing.assert_array_equal(image, kept)


def test_what_is_not_finite_stays_where_it_is_read():
    image = np.ones((4, 5))
    image[1, 2] = np.nan
    assert np.argwhere(np.isnan(bilinear.shift(image, 0, 0))).tolist() == [[1, 2]]
    assert np.argwhere(np.isnan(bilinear.shift(image, 1, 0))).tolist() == [[1, 1]]
    # without weight it is not read: a shift along x leaves the rows apart, and the other way round
    assert np.argwhere(np.isnan(bilinear.shift(image, 0.5, 0))).tolist() == [[1, 1], [1, 2]]
    assert np.argwhere(np.isnan(bilinear.shift(image, 0, 0.5))).tolist() == [[0, 2], [1, 2]]
    assert np.isnan(bilinear.shift(image, 0.5, 0.5)).sum() == 4


@pytest.mark.parametrize("boundary", ["zero", "edge"])
def test_far_away_there_is_only_the_boundary(scene, boundary):
    image = scene((3, 4), 57)
    for far in (5, 1e3, 1e9, 1e300):
        right = bilinear.shift(image, far, 0, boundary=boundary)
        left = bilinear.shift(image, 0, -far, boundary=boundary)
        np.testing.assert_array_equal(right, np.zeros((3, 4)) if boundary == "zero" else image[:, [-1]] * np.ones(4))
        np.testing.assert_array_equal(left, np.zeros((3, 4)) if boundary == "zero" else image[[0]] * np.ones((3, 1)))


def test_around_and_around(scene):
    image = scene((3, 4), 58)
    for turns in (1, -7, 10**6):
        np.testing.assert_array_equal(
            bilinear.shift(image, 4 * turns + 1, 3 * turns, boundary="wrap"), np.roll(image, -1, 1)
        )


@pytest.mark.parametrize("function", [bilinear.shift, bilinear.shift_gradients])
def test_arguments_are_checked_at_the_door(function):
    image = np.zeros((3, 4))
    with pytest.raises(InputError, match=r"boundary is 'mirror'; give one of 'zero', 'edge', 'wrap'"):
        function(image, 0, 0, boundary="mirror")
    with pytest.raises(InputError, match=r"dx is nan; give a finite number"):
        function(image, np.nan, 0)
    with pytest.raises(InputError, match=r"dy is 'up'; give a finite number"):
        function(image, 0, "up")
    with pytest.raises(
        InputError, match=r"image has shape \(3,\); give a grey image of shape \(H, W\) or a colour image"
    ):
        function(image[:, 0], 0, 0)


def test_an_unknown_side_is_refused():
    with pytest.raises(InputError, match=r"side is 'both'; give one of 'right', 'left', 'central'"):
        bilinear.shift_gradients(np.zeros((3, 4)), 0, 0, side="both")


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_the_widest_integers_keep_their_range(dtype):
    limits = np.iinfo(dtype)
    image = np.array([[limits.max, 0, limits.min]], dtype)
    shifted = bilinear.shift(image, 0, 0)
    assert shifted[0, 0] > limits.max // 2
    assert shifted[0, 1] == 0
