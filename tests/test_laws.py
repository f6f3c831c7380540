"""What must hold whatever the images are: laws of the shift and of the two losses, on generated cases.

Displacements are multiples of 1/64 where a law is exact in floating point, so that equality can be asked for.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from alignment import bilinear

settings.register_profile("laws", deadline=None, derandomize=True, max_examples=25, database=None)
law = settings(settings.get_profile("laws"))

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
boundaries = st.sampled_from(["zero", "edge", "wrap"])
sides = st.sampled_from(["right", "left", "central"])
losses = pytest.mark.parametrize("loss", ["mse", "ncc"])


def dyadic(low, high):
    """Return displacements whose arithmetic is exact; a good part of them are integers."""
    return st.integers(low * 64, high * 64).map(lambda n: n / 64) | st.integers(low, high).map(float)


def images(seed, shape, count=2):
    random = np.random.default_rng(seed)
    return [random.random(shape) for _ in range(count)]


def sliced(image, kx, ky):
    """Return the image moved by whole pixels, zeros behind it."""
    height, width = image.shape
    out = np.zeros_like(image)
    y0, y1 = max(0, -ky), min(height, height - ky)
    x0, x1 = max(0, -kx), min(width, width - kx)
    if y0 < y1 and x0 < x1:
        out[y0:y1, x0:x1] = image[y0 + ky : y1 + ky, x0 + kx : x1 + kx]
    return out


# --- the shift -----------------------------------------------------------------------------------------------------


@law
@given(a=st.floats(-9, 9), b=st.floats(-9, 9), c=st.floats(-9, 9), dx=st.floats(-2.9, 2.9), dy=st.floats(-2.9, 2.9))
def test_a_plane_is_shifted_exactly(a, b, c, dx, dy):
    y, x = np.mgrid[0:9, 0:11].astype(float)
    inside = np.s_[3:-3, 3:-3]
    shifted = bilinear.shift(a * x + b * y + c, dx, dy)
    np.testing.assert_allclose(shifted[inside], (a * (x + dx) + b * (y + dy) + c)[inside], atol=1e-12, rtol=0)
    slope_x, slope_y = bilinear.shift_gradients(a * x + b * y + c, dx, dy)
    np.testing.assert_allclose(slope_x[inside], a, atol=1e-12, rtol=0)
    np.testing.assert_allclose(slope_y[inside], b, atol=1e-12, rtol=0)


@law
@given(seed=seeds, shape=shapes, kx=st.integers(-9, 9), ky=st.integers(-9, 9))
def test_an_integer_shift_is_slicing(seed, shape, kx, ky):
    (image,) = images(seed, shape, 1)
    np.testing.assert_array_equal(bilinear.shift(image, kx, ky), sliced(image, kx, ky))
    wrapped = bilinear.shift(image, kx, ky, boundary="wrap")
    np.testing.assert_array_equal(wrapped, np.roll(image, (-ky, -kx), (0, 1)))
    rows, columns = np.arange(shape[0]) + ky, np.arange(shape[1]) + kx
    nearest = image[rows.clip(0, shape[0] - 1)][:, columns.clip(0, shape[1] - 1)]
    np.testing.assert_array_equal(bilinear.shift(image, kx, ky, boundary="edge"), nearest)


@law
@given(seed=seeds, shape=shapes, boundary=boundaries)
def test_shifting_by_nothing_changes_nothing(seed, shape, boundary):
    (image,) = images(seed, shape, 1)
    np.testing.assert_array_equal(bilinear.shift(image, 0, 0, boundary=boundary), image)
    np.testing.assert_array_equal(bilinear.shift(image, -0.0, -0.0, boundary=boundary), image)


@law
@given(seed=seeds, shape=shapes, dx=dyadic(-9, 9), dy=dyadic(-9, 9), boundary=boundaries, side=sides)
def test_the_shift_and_its_slopes_are_linear_in_the_image(seed, shape, dx, dy, boundary, side):
    first, second = images(seed, shape)
    for function in (
        lambda image: bilinear.shift(image, dx, dy, boundary=boundary),
        lambda image: np.array(bilinear.shift_gradients(image, dx, dy, boundary=boundary, side=side)),
    ):
        together = function(3 * first - 0.7 * second)
        np.testing.assert_allclose(together, 3 * function(first) - 0.7 * function(second), atol=2e-14, rtol=0)


@law
@given(seed=seeds, shape=shapes, kx=st.integers(-9, 9), ky=st.integers(-9, 9), dx=dyadic(-5, 5), dy=dyadic(-5, 5))
def test_wrap_around_shifts_compose_with_integers(seed, shape, kx, ky, dx, dy):
    (image,) = images(seed, shape, 1)
    at_once = bilinear.shift(image, kx + dx, ky + dy, boundary="wrap")
    for one, two in (((kx, ky), (dx, dy)), ((dx, dy), (kx, ky))):
        in_turn = bilinear.shift(bilinear.shift(image, *one, boundary="wrap"), *two, boundary="wrap")
        np.testing.assert_array_equal(in_turn, at_once)


@law
@given(seed=seeds, shape=shapes, dx=dyadic(-9, 9), dy=dyadic(-9, 9))
def test_a_wrap_around_shift_keeps_the_mean(seed, shape, dx, dy):
    (image,) = images(seed, shape, 1)
    assert bilinear.shift(image, dx, dy, boundary="wrap").mean() == pytest.approx(image.mean(), rel=1e-14)


@law
@given(seed=seeds, shape=shapes, dx=dyadic(-9, 9), dy=dyadic(-9, 9), boundary=boundaries)
def test_the_shift_never_leaves_the_range(seed, shape, dx, dy, boundary):
    (image,) = images(seed, shape, 1)
    shifted = bilinear.shift(image + 1, dx, dy, boundary=boundary)
    assert shifted.max() <= image.max() + 1 + 1e-15
    assert shifted.min() >= (0 if boundary == "zero" else image.min() + 1 - 1e-15)


@law
@given(seed=seeds, shape=shapes, dx=dyadic(-9, 9), dy=dyadic(-9, 9), boundary=boundaries, side=sides)
def test_the_shift_and_its_slopes_transpose_with_the_image(seed, shape, dx, dy, boundary, side):
    (image,) = images(seed, shape, 1)
    shifted = bilinear.shift(image, dx, dy, boundary=boundary)
    transposed = bilinear.shift(image.T, dy, dx, boundary=boundary)
    np.testing.assert_allclose(transposed.T, shifted, atol=2e-15, rtol=0)
    slope_x, slope_y = bilinear.shift_gradients(image, dx, dy, boundary=boundary, side=side)
    across_x, across_y = bilinear.shift_gradients(image.T, dy, dx, boundary=boundary, side=side)
    np.testing.assert_allclose((across_y.T, across_x.T), (slope_x, slope_y), atol=2e-15, rtol=0)


@law
@given(row=st.integers(3, 5), column=st.integers(3, 6), dx=st.integers(-3, 3), dy=st.integers(-3, 3))
def test_the_sign_convention(row, column, dx, dy):
    """The moving image's content lies dx to the right of, and dy below, the reference's."""
    reference, moving = np.zeros((9, 10)), np.zeros((9, 10))
    reference[row, column] = moving[row + dy, column + dx] = 1
    np.testing.assert_array_equal(bilinear.shift(moving, dx, dy), reference)
    # scipy.ndimage.shift takes the move to apply, in row-column order
    np.testing.assert_array_equal(ndimage.shift(moving, (-dy, -dx), order=1), reference)


# --- the losses ----------------------------------------------------------------------------------------------------


@losses
@law
@given(row=st.integers(6, 8), column=st.integers(6, 9), dx=st.integers(-3, 3), dy=st.integers(-3, 3))
def test_the_sign_convention_of_the_losses(objective, loss, row, column, dx, dy):
    reference, moving = np.zeros((15, 16)), np.zeros((15, 16))
    reference[row, column] = moving[row + dy, column + dx] = 1
    made = objective(loss, reference, moving)
    best = {"mse": 0, "ncc": -1}[loss]
    values = {(x, y): made.value(x, y) for x in {-3, -dx, 0, dx, 3} for y in {-3, -dy, 0, dy, 3}}
    assert values[dx, dy] == pytest.approx(best, abs=1e-14)
    assert sum(value < best + 1e-3 for value in values.values()) == 1


@losses
@law
@given(seed=seeds, shape=st.tuples(st.integers(2, 7), st.integers(2, 7)), side=sides)
def test_an_image_lies_best_on_itself(objective, loss, seed, shape, side):
    """At 0 the error vanishes at every pixel, and with it every term of the gradient: on every side, in the frame.

    So it does for the NCC, where both sums of its gradient are the same.
    """
    (image,) = images(seed, shape, 1)
    value, gradient = objective(loss, image, image, side=side).value_and_gradient(0, 0)
    assert value == pytest.approx({"mse": 0, "ncc": -1}[loss], abs=1e-14)
    assert np.abs(gradient).max() < 1e-12


@losses
@law
@given(seed=seeds, dx=dyadic(-3, 3), dy=dyadic(-3, 3))
def test_no_displacement_is_better_than_the_true_one(objective, loss, seed, dx, dy):
    (image,) = images(seed, (6, 7), 1)
    made = objective(loss, image, image)
    assert made.value(dx, dy) >= made.value(0, 0) - 1e-14


@law
@given(seed=seeds, shape=st.tuples(st.integers(4, 7), st.integers(4, 7)), dx=dyadic(-3, 3), dy=dyadic(-3, 3))
def test_losses_keep_their_range(objective, seed, shape, dx, dy):
    B, A = images(seed, shape)
    assert objective("mse", B, A).value(dx, dy) >= 0
    assert -1 - 1e-14 <= objective("ncc", B, A).value(dx, dy) <= 1 + 1e-14


@law
@given(
    seed=seeds,
    gains=st.tuples(st.floats(0.1, 50), st.floats(0.1, 50)),
    offsets=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    dx=dyadic(-2, 2),
    dy=dyadic(-2, 2),
    side=sides,
)
def test_ncc_does_not_see_gain_and_offset(objective, seed, gains, offsets, dx, dy, side):
    """In a window that never reads the zeros outside, whose grey level no offset changes."""
    B, A = images(seed, (9, 10))
    options = {"domain": (3, 6, 3, 7), "side": side}
    value, gradient = objective("ncc", B, A, **options).value_and_gradient(dx, dy)
    for sign in (1, -1):
        changed = objective("ncc", gains[0] * B + offsets[0], sign * gains[1] * A + offsets[1], **options)
        other, slope = changed.value_and_gradient(dx, dy)
        assert other == pytest.approx(sign * value, abs=1e-9)
        assert slope == pytest.approx(sign * gradient, abs=1e-8)
    # a gain alone leaves the zeros outside what they are
    frame = objective("ncc", gains[0] * B, gains[1] * A, side=side).value_and_gradient(dx, dy)
    plain = objective("ncc", B, A, side=side).value_and_gradient(dx, dy)
    assert frame[0] == pytest.approx(plain[0], abs=1e-12)
    assert frame[1] == pytest.approx(plain[1], abs=1e-11)


@law
@given(seed=seeds, gain=dyadic(-9, 9), offset=dyadic(-9, 9), dx=dyadic(-2, 2), dy=dyadic(-2, 2))
def test_mse_scales_with_the_square_of_the_grey_levels(objective, seed, gain, offset, dx, dy):
    B, A = images(seed, (8, 9))
    window = {"domain": (2, 5, 2, 6)}
    value, gradient = objective("mse", B, A, **window).value_and_gradient(dx, dy)
    other, slope = objective("mse", gain * B + offset, gain * A + offset, **window).value_and_gradient(dx, dy)
    assert other == pytest.approx(gain**2 * value, rel=1e-9, abs=1e-12)
    assert slope == pytest.approx(gain**2 * gradient, rel=1e-9, abs=1e-11)


@losses
@law
@given(seed=seeds, dx=dyadic(-2, 2), dy=dyadic(-2, 2), side=sides)
def test_losses_transpose_with_the_images(objective, loss, seed, dx, dy, side):
    B, A = images(seed, (5, 8))
    used, usable = (random > 0.1 for random in images(seed + 1, (5, 8)))
    for options, across in (
        ({}, {}),
        ({"domain": (1, 4, 2, 7)}, {"domain": (2, 7, 1, 4)}),
        ({"reference_mask": used, "moving_mask": usable}, {"reference_mask": used.T, "moving_mask": usable.T}),
    ):
        value, gradient = objective(loss, B, A, side=side, **options).value_and_gradient(dx, dy)
        other, slope = objective(loss, B.T, A.T, side=side, **across).value_and_gradient(dy, dx)
        assert other == pytest.approx(value, abs=1e-13)
        assert slope[::-1] == pytest.approx(gradient, abs=1e-12)


@losses
@law
@given(seed=seeds, dx=dyadic(-4, 4), dy=dyadic(-4, 4), side=sides)
def test_losses_turn_with_the_images(objective, loss, seed, dx, dy, side):
    """By 180 degrees: every displacement changes its sign, and what was to the right of an integer is to its left."""
    B, A = images(seed, (5, 8))
    turned = {"right": "left", "left": "right", "central": "central"}[side]
    value, gradient = objective(loss, B, A, side=side).value_and_gradient(dx, dy)
    other, slope = objective(loss, B[::-1, ::-1], A[::-1, ::-1], side=turned).value_and_gradient(-dx, -dy)
    assert other == pytest.approx(value, abs=1e-13)
    assert -slope == pytest.approx(gradient, abs=1e-12)


@losses
@law
@given(seed=seeds, dx=dyadic(-4, 4), dy=dyadic(-4, 4), side=sides)
def test_a_mask_of_ones_changes_nothing(objective, loss, seed, dx, dy, side):
    B, A = images(seed, (5, 7))
    everything = np.ones((5, 7), bool)
    plain = objective(loss, B, A, side=side).value_and_gradient(dx, dy)
    for masks in (
        {"reference_mask": everything},
        {"moving_mask": everything},
        {"reference_mask": everything.astype(float), "moving_mask": everything.astype("u1")},
    ):
        value, gradient = objective(loss, B, A, side=side, **masks).value_and_gradient(dx, dy)
        assert value == plain[0]
        np.testing.assert_array_equal(gradient, plain[1])


@losses
@law
@given(
    seed=seeds,
    dx=dyadic(-2, 2),
    dy=dyadic(-2, 2),
    side=sides,
    dirt=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_what_lies_under_a_mask_changes_nothing(objective, loss, seed, dx, dy, side, dirt):
    B, A = images(seed, (6, 7))
    used, usable = (random > 0.1 for random in images(seed + 1, (6, 7)))
    masks = {"reference_mask": used, "moving_mask": usable, "side": side}
    value, gradient = objective(loss, B, A, **masks).value_and_gradient(dx, dy)
    dirty = objective(loss, np.where(used, B, dirt), np.where(usable, A, dirt), **masks)
    other, slope = dirty.value_and_gradient(dx, dy)
    assert other == pytest.approx(value, abs=1e-13)
    assert slope == pytest.approx(gradient, abs=1e-12)


@losses
@law
@given(seed=seeds, kx=st.integers(-4, 4), ky=st.integers(-4, 4), off=st.integers(1, 63).map(lambda n: n / 64))
def test_losses_are_continuous_across_integers(objective, loss, seed, kx, ky, off):
    """In a fixed window: the value at a border of a cell is what both cells say, and nearby it is close to that."""
    B, A = images(seed, (6, 7))
    right, left = (objective(loss, B, A, domain=(1, 5, 1, 6), side=side) for side in ("right", "left"))
    for point, along in (((kx, ky + off), (1, 0)), ((kx + off, ky), (0, 1)), ((kx, ky), (1, 1))):
        there, gradient = right.value_and_gradient(*point)
        assert left.value(*point) == pytest.approx(there, abs=1e-13)
        near = 2.0**-30
        ahead = right.value(point[0] + near * along[0], point[1] + near * along[1])
        behind = right.value(point[0] - near * along[0], point[1] - near * along[1])
        steepest = 1 + max(np.abs(gradient).sum(), np.abs(left.value_and_gradient(*point)[1]).sum())
        assert abs(ahead - there) <= near * steepest
        assert abs(behind - there) <= near * steepest


def around(image):
    """Return an image three periods wide and high, and the window of the one in the middle."""
    height, width = image.shape
    return np.tile(image, (3, 3)), (height, 2 * height, width, 2 * width)


@losses
@law
@given(seed=seeds, kx=st.integers(-4, 4), ky=st.integers(-3, 3))
def test_swapping_any_two_periodic_images_negates_whole_displacements(objective, loss, seed, kx, ky):
    (B, window), (A, _) = (around(image) for image in images(seed, (4, 5)))
    one, other = objective(loss, B, A, domain=window), objective(loss, A, B, domain=window)
    assert other.value(-kx, -ky) == pytest.approx(one.value(kx, ky), abs=1e-13)


@losses
@law
@given(seed=seeds, sx=st.integers(-2, 2), sy=st.integers(-1, 1), dx=dyadic(-4, 4), dy=dyadic(-3, 3))
def test_swapping_an_image_with_itself_moved_negates_the_minimiser(objective, loss, seed, sx, sy, dx, dy):
    """Between pixels one image is blurred by interpolation, the other is not: equal content swaps exactly."""
    (image,) = images(seed, (4, 5), 1)
    B, window = around(image)
    A, _ = around(np.roll(image, (sy, sx), (0, 1)))
    one, other = objective(loss, B, A, domain=window), objective(loss, A, B, domain=window, side="left")
    value, gradient = one.value_and_gradient(dx, dy)
    swapped, slope = other.value_and_gradient(-dx, -dy)
    assert swapped == pytest.approx(value, abs=1e-13)
    assert -slope == pytest.approx(gradient, abs=1e-12)
    best = {"mse": 0, "ncc": -1}[loss]
    assert one.value(sx, sy) == pytest.approx(best, abs=1e-13)
    assert other.value(-sx, -sy) == pytest.approx(best, abs=1e-13)
    assert value >= best - 1e-13
