"""MSE and NCC against the literal double sums, and against naive loops with masks."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import bilinear, formulas, losses
from alignment._checks import InputError

SIDES = ("right", "left", "central")
SHAPES = [(5, 7), (7, 4), (1, 6), (6, 1), (4, 4)]
# off the integers, integers in one or both coordinates, and further than the image is large
DISPLACEMENTS = [
    (0.3, 0.6), (-1.7, 0.45), (2.25, -2.5), (0.9, -0.001),
    (0, 0), (1, -2), (-2, 1), (0.4, 2), (-1, 0.7), (0, -0.2),
    (3.5, -3.5), (-6.2, 0.1), (0.5, 6.9), (-7, 0), (9.5, 1), (-40.3, 12.8),
]  # fmt: skip


def by_formulas(loss, B, A, dx, dy, window, side):
    """Return the loss that is minimised and its gradient, by the double sums."""
    A, B = A.tolist(), B.tolist()
    if loss == "mse":
        return formulas.mse(A, B, dx, dy, window), formulas.mse_gradient(A, B, dx, dy, window, side)
    gradient = formulas.ncc_gradient(A, B, dx, dy, window, side)
    return -formulas.ncc(A, B, dx, dy, window), (-gradient[0], -gradient[1])


def compare(agree, made, expected, dx, dy, within, name):
    """Hold value and gradient against what is expected, or expect the error where the loss is undefined."""
    if expected is None:
        with pytest.raises(InputError, match=r"the masks leave no pixel to compare|is constant over the domain"):
            made.value_and_gradient(dx, dy)
        return
    value, gradient = made.value_and_gradient(dx, dy)
    value_scale, gradient_scale = expected.scales(made)
    agree(value, expected.value, scale=value_scale, within=within, name=f"{name}, value")
    agree(gradient, expected.gradient, scale=gradient_scale, within=within, name=f"{name}, gradient")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_frame_equals_the_double_sums(objective, naive, agree, scene, loss, shape, side):
    B, A = scene(shape, 1), scene(shape, 2)
    single = B.astype(np.float32), A.astype(np.float32)
    made = {np.float64: objective(loss, B, A, side=side), np.float32: objective(loss, *single, side=side)}
    for dx, dy in DISPLACEMENTS:
        expected = naive.loss(loss, B, A, dx, dy, side=side)
        if expected is not None:
            value, gradient = by_formulas(loss, B, A, dx, dy, None, side)
            # the naive loops that give the scales are no judge before they agree themselves
            agree(expected.value, value, scale=expected.value_scale, within=2e-15, name=f"{loss} loops, value")
            agree(expected.gradient, gradient, scale=expected.gradient_scale, within=2e-15, name=f"{loss} loops")
            expected.value, expected.gradient = value, gradient
        compare(agree, made[np.float64], expected, dx, dy, 1e-12, f"{loss} float64, frame")
        if expected is not None:
            value, gradient = by_formulas(loss, *single, dx, dy, None, side)
            expected.value, expected.gradient = value, gradient
        compare(agree, made[np.float32], expected, dx, dy, 1e-5, f"{loss} float32, frame")


@pytest.mark.parametrize("window", [(1, 4, 2, 6), (0, 2, 0, 8), (4, 5, 7, 8), (0, 5, 3, 4), (2, 3, 0, 8)])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_a_window_equals_the_double_sums(objective, naive, agree, scene, loss, window, side):
    B, A = scene((5, 8), 3), scene((5, 8), 4)
    made = objective(loss, B, A, domain=window, side=side)
    assert made.domain == window
    for dx, dy in [(0.3, 0.6), (-1.7, 1.45), (0, 0), (1, -1), (0.4, 2), (-2, 0.7), (4.5, -3.5), (-7.5, 3), (30, 0.5)]:
        expected = naive.loss(loss, B, A, dx, dy, domain=window, side=side)
        if expected is not None:
            expected.value, expected.gradient = by_formulas(loss, B, A, dx, dy, window, side)
        compare(agree, made, expected, dx, dy, 1e-12, f"{loss} float64, window")


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_each_axis_decides_for_itself_which_side_it_is_on(objective, agree, scene, loss):
    """Where only one coordinate is an integer the side may change nothing about the other one's slope."""
    B, A = scene((6, 5), 5), scene((6, 5), 6)
    right, left, central = (objective(loss, B, A, side=side) for side in SIDES)
    for dx, dy, kinked, smooth in [(1, 0.3, 0, 1), (0.3, 1, 1, 0), (0, -0.4, 0, 1), (-1.6, 0, 1, 0)]:
        r, m, c = (made.value_and_gradient(dx, dy)[1] for made in (right, left, central))
        agree(m[smooth], r[smooth], scale=1, within=1e-14, name="smooth axis")
        agree(c[smooth], r[smooth], scale=1, within=1e-14, name="smooth axis")
        assert abs(r[kinked] - m[kinked]) > 1e-3
        agree(c[kinked], (r[kinked] + m[kinked]) / 2, scale=1, within=1e-14, name="kinked axis")
    # at a corner both axes have a kink, and each slope is that of its own axis alone
    for made, side in ((right, 1), (left, -1)):
        corner = made.value_and_gradient(1, 2)[1]
        near = 2.0**-40
        agree(corner[0], made.value_and_gradient(1 + side * near, 2)[1][0], scale=1, within=1e-11, name="corner")
        agree(corner[1], made.value_and_gradient(1, 2 + side * near)[1][1], scale=1, within=1e-11, name="corner")
        agree(corner[0], made.value_and_gradient(1 + side * near, 2 - side * near)[1][0], scale=1, within=1e-11,
              name="corner")  # fmt: skip


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("masked", ["reference", "moving", "both"])
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_masks_equal_the_naive_loops(objective, naive, agree, scene, loss, masked, side):
    shape = (6, 8)
    B, A = scene(shape, 7), scene(shape, 8)
    masks = {}
    if masked != "moving":
        masks["reference_mask"] = scene(shape, 9) < 0.8
    if masked != "reference":
        masks["moving_mask"] = scene(shape, 10) < 0.9
        masks["moving_mask"][0, 0] = masks["moving_mask"][-1, 3] = masks["moving_mask"][2, -1] = False
    for domain in (None, (1, 5, 2, 8)):
        made = objective(loss, B, A, domain=domain or "frame", side=side, **masks)
        single = objective(loss, B.astype("f4"), A.astype("f4"), domain=domain or "frame", side=side, **masks)
        for dx, dy in [
            (0.3, 0.6),
            (-1.7, 0.45),
            (0, 0),
            (1, -2),
            (0.4, 2),
            (-1, 0.7),
            (3.5, -3.5),
            (-6.2, 0.1),
            (2, 4),
        ]:
            expected = naive.loss(loss, B, A, dx, dy, domain=domain, side=side, **masks)
            compare(agree, made, expected, dx, dy, 1e-12, f"{loss} float64, masks")
            compare(agree, single, expected, dx, dy, 1e-5, f"{loss} float32, masks")


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_pixels_that_are_not_finite_count_as_masked(objective, naive, agree, scene, loss):
    B, A = scene((6, 7), 11), scene((6, 7), 12)
    holes_b, holes_a = np.ones((6, 7), bool), np.ones((6, 7), bool)
    holes_b[1, 2] = holes_b[5, 6] = holes_a[2, 3] = holes_a[0, 5] = False
    broken_b, broken_a = B.copy(), A.copy()
    broken_b[~holes_b] = np.nan, np.inf
    broken_a[~holes_a] = -np.inf, np.nan
    for made in (
        objective(loss, broken_b, broken_a),
        objective(loss, broken_b, A, moving_mask=holes_a),
        objective(loss, broken_b, broken_a, reference_mask=holes_b),
        objective(loss, np.ma.MaskedArray(B, ~holes_b), np.ma.MaskedArray(A, ~holes_a)),
    ):
        for dx, dy in [(0, 0), (0.4, -0.3), (-2, 1.5)]:
            expected = naive.loss(loss, B, A, dx, dy, reference_mask=holes_b, moving_mask=holes_a)
            compare(agree, made, expected, dx, dy, 1e-12, f"{loss} float64, not finite")


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_what_the_masks_leave_nothing_of_is_an_error(objective, scene, loss):
    B, A = scene((4, 6), 13), scene((4, 6), 14)
    left, right = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :2] = right[:, 4:] = True
    made = objective(loss, B, A, reference_mask=left, moving_mask=right)
    with pytest.raises(
        InputError, match=r"at displacement \(0(\.5)?, 0\) px the masks leave no pixel to compare; move less"
    ):
        made.value_and_gradient(0.5, 0)
    # four columns further right the two do meet, and behind the frame there are zeros
    assert np.isfinite(made.value(4, 0) if loss == "mse" else made.value(4.0, 1.5))


def test_ncc_of_a_constant_image_is_an_error(objective, scene):
    structured = scene((5, 6), 15)
    for flat in (np.zeros((5, 6)), np.full((5, 6), 0.3), np.full((5, 6), 1e6), np.full((5, 6), 0.1, np.float32)):
        with pytest.raises(
            InputError, match=r"^reference is constant over the domain \(0, 5, 0, 6\) at displacement \(0"
        ):
            objective("ncc", flat, structured).value(0, 0)
        with pytest.raises(
            InputError, match=r"moving( image)? is constant over the domain.* undefined; use a domain with structure"
        ):
            objective("ncc", structured, flat, domain=(1, 4, 1, 5)).value(0.25, 0.5)
    # nothing but zeros where the moving image has gone
    with pytest.raises(InputError, match=r"moving( image)? is constant over the domain"):
        objective("ncc", structured, structured).value(-6, 0)


def test_a_small_signal_on_a_large_offset_is_not_constant(objective, agree, scene):
    B, A = scene((5, 6), 16), scene((5, 6), 17)
    window = {"domain": (1, 4, 1, 5)}
    plain = objective("ncc", B, A, **window)
    raised = objective("ncc", 1e4 + 1e-3 * B, 1e4 + 1e-3 * A, **window)
    agree(raised.value(0.3, -0.4), plain.value(0.3, -0.4), scale=1, within=1e-8, name="ncc on a large offset")


def test_the_gradient_of_the_mean_not_of_the_sum(objective):
    """A plane against itself, moved: every number is known by hand."""
    y, x = np.mgrid[0:6, 0:9].astype(float)
    made = objective("mse", x + 10 * y, x + 10 * y, domain=(1, 4, 1, 6))
    # at (0.5, 0.25) the error is 0.5 + 2.5 = 3 at each pixel
    value, gradient = made.value_and_gradient(0.5, 0.25)
    assert value == pytest.approx(9, rel=1e-14)
    assert gradient == pytest.approx([6, 60], rel=1e-14)


def test_the_moving_image_outside_its_frame_is_zero(objective):
    B = np.array([[1.0, 2.0, 4.0]])
    A = np.array([[3.0, 5.0, 7.0]])
    assert objective("mse", B, A).value(100, 0) == pytest.approx((1 + 4 + 16) / 3, rel=1e-15)
    assert objective("mse", B, A).value(0.5, 0) == pytest.approx((9 + 16 + 0.25) / 3, rel=1e-15)
    assert objective("mse", B, A).value(-0.5, 0) == pytest.approx((0.25 + 4 + 4) / 3, rel=1e-15)
    value, gradient = objective("mse", B, A).value_and_gradient(-100, 3)
    assert value == pytest.approx(7, rel=1e-15)
    assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_mixed_precision_is_the_wider_one(objective, agree, scene, loss):
    B, A = scene((5, 6), 24), scene((5, 6), 25).astype(np.float32)
    mixed, wide = objective(loss, B, A), objective(loss, B, A.astype(np.float64))
    assert mixed.value(0.3, 0.4) == wide.value(0.3, 0.4)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_hessian_is_the_slope_of_the_gradient(objective, agree, scene, loss, side):
    """Inside a cell the gradient is smooth: a fourth-order difference of it is the judge."""
    B, A = scene((5, 7), 26), scene((5, 7), 27)
    made = objective(loss, B, A, side=side)
    h = 2.0**-9
    for dx, dy in [(0.3, 0.6), (-1.7, 1.45), (4.4, -2.5)]:
        hessian = made.hessian(dx, dy)
        columns = []
        for i, j in ((1, 0), (0, 1)):
            g = {t: made.value_and_gradient(dx + t * h * i, dy + t * h * j)[1] for t in (-2, -1, 1, 2)}
            columns.append((8 * (g[1] - g[-1]) - (g[2] - g[-2])) / (12 * h))
        agree(hessian, np.transpose(columns), scale=np.abs(hessian).max(), within=1e-9, name=f"{loss} hessian")
        assert hessian[0, 1] == hessian[1, 0]


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_a_cell_says_the_same_at_one_point_as_at_many(agree, scene, loss):
    """The polynomial that is quick at one point, and the quadratic forms that take arrays."""
    kind = {"mse": losses.MSE, "ncc": losses.NCC}[loss]
    cell = kind(scene((5, 7), 40), scene((5, 7), 41)).cell(-1, 1)
    a, b = np.meshgrid([0, 0.25, 0.7, 1], [0, 0.4, 1])
    many = cell.expand(a, b)
    for i, part in enumerate(many):
        one = [[cell.at(x, y)[i] for x in a[0]] for y in b[:, 0]]
        agree(part, one, scale=1, within=1e-12, name=f"{loss} cell, {many._fields[i]}")


def test_large_values_under_a_mask_cost_the_ncc_no_digits(objective, agree, scene):
    """A no-data value of the file format, or a hot pixel, that is masked."""
    B, A = scene((6, 7), 38), scene((6, 7), 39)
    mask = np.ones((6, 7), bool)
    mask[0, 0] = False
    clean = objective("ncc", B, A, reference_mask=mask, moving_mask=mask).value_and_gradient(0.5, -0.25)
    B[0, 0], A[0, 0] = 1e9, -1e9
    dirty = objective("ncc", B, A, reference_mask=mask, moving_mask=mask).value_and_gradient(0.5, -0.25)
    agree(dirty[0], clean[0], scale=1, within=1e-12, name="ncc with large values under a mask")
    agree(dirty[1], clean[1], scale=1, within=1e-12, name="ncc with large values under a mask")


@pytest.mark.parametrize("dirt", [1e9, -1e30, 1e200])
def test_large_values_under_a_mask_change_nothing_for_the_mse(objective, scene, dirt):
    B, A = scene((6, 7), 38), scene((6, 7), 39)
    mask = np.ones((6, 7), bool)
    mask[0, 0] = mask[3, 4] = False
    clean = objective("mse", B, A, reference_mask=mask, moving_mask=mask).value_and_gradient(0.5, -0.25)
    B[~mask], A[~mask] = dirt, -dirt
    dirty = objective("mse", B, A, reference_mask=mask, moving_mask=mask).value_and_gradient(0.5, -0.25)
    assert dirty[0] == clean[0]
    assert dirty[1].tolist() == clean[1].tolist()


def test_the_mse_of_a_perfect_match_is_not_below_zero(scene):
    """Its root is taken by those who want grey levels."""
    for seed in range(20):
        image = scene((8, 9), 100 + seed)
        matched = bilinear.shift(image, 0.3, 0.6)
        made = losses.MSE(matched, image, domain=(1, 6, 1, 7), evaluation="cells")
        assert made.value(0.3, 0.6) >= 0
        assert losses.MSE(image, image, side="left", evaluation="cells").value(0, 0) >= 0
