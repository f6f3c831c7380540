"""The objective: what it takes at the door, what it counts, landscapes, and the shares of blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from alignment import losses
from alignment._checks import InputError

SIDES = ("right", "left", "central")


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_what_comes_back(objective, scene, loss):
    made = objective(loss, scene((5, 6), 18), scene((5, 6), 19))
    value, gradient = made.value_and_gradient(0.5, 1)
    assert isinstance(value, float)
    assert isinstance(gradient, np.ndarray)
    assert gradient.shape == (2,)
    assert gradient.dtype == np.float64
    assert made(0.5, 1) == made.value(0.5, 1) == value
    assert made.evaluations == 3
    assert made.passes >= 1
    assert made.shape == (5, 6)
    assert made.pixels_per_unit == (3, 2.5)
    assert made.domain == (0, 5, 0, 6)


def test_the_images_are_left_alone(objective, scene):
    B, A = scene((5, 6), 20), scene((5, 6), 21)
    A[2, 2] = np.nan
    kept = B.copy(), A.copy()
    for loss in ("mse", "ncc"):
        objective(loss, B, A, moving_mask=np.ones((5, 6))).value_and_gradient(0.5, -3.5)
    np.testing.assert_array_equal((B, A), kept)


def test_the_interior_is_the_middle_four_fifths(objective, scene):
    B, A = scene((20, 31), 22), scene((20, 31), 23)
    made = objective("mse", B, A, domain="interior")
    assert made.domain == (2, 18, 3, 28)
    assert made.value(0, 0) == pytest.approx(np.mean((A - B)[2:18, 3:28] ** 2), rel=1e-14)


@pytest.mark.parametrize("loss", ["mse", "ncc"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"side": "middle"}, r"side is 'middle'; give one of 'right', 'left', 'central'"),
        ({"domain": "border"}, r"domain is 'border'; give one of 'frame', 'interior'"),
        ({"domain": (0, 6, 0, 6)}, r"domain is \(0, 6, 0, 6\), which is no window inside an image of shape \(5, 6\)"),
        ({"reference_mask": np.ones((6, 5))}, r"reference_mask has shape \(6, 5\) but its image has \(5, 6\)"),
        ({"moving_mask": np.zeros((5, 6))}, r"moving_mask leaves no pixel to use; True means: use this pixel"),
        ({"moving_mask": np.full((5, 6), 2)}, r"moving_mask holds values other than True and False"),
    ],
)
def test_options_are_checked_at_the_door(objective, scene, loss, options, sentence):
    with pytest.raises(InputError, match=sentence):
        objective(loss, scene((5, 6)), scene((5, 6)), **options)


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_images_and_displacements_are_checked_at_the_door(objective, scene, loss):
    with pytest.raises(
        InputError, match=r"reference has shape \(5, 6\) but moving has \(6, 5\); crop both to the same"
    ):
        objective(loss, scene((5, 6)), scene((6, 5)))
    with pytest.raises(InputError, match=r"moving has shape \(3,\); give a grey image of shape \(H, W\)"):
        objective(loss, scene((5, 6)), np.zeros(3))
    with pytest.raises(InputError, match=r"reference has dtype complex128; give grey levels"):
        objective(loss, np.zeros((5, 6), complex), scene((5, 6)))
    made = objective(loss, scene((5, 6)), scene((5, 6), 1))
    with pytest.raises(InputError, match=r"dx is nan; give a finite number"):
        made.value_and_gradient(np.nan, 0)
    with pytest.raises(InputError, match=r"dy is inf; give a finite number"):
        made.value(0, np.inf)


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_hessian_at_an_integer_is_that_of_its_side(objective, agree, scene, loss):
    B, A = scene((5, 7), 28), scene((5, 7), 29)
    near = 2.0**-40
    one = {side: objective(loss, B, A, side=side).hessian(1, -1) for side in SIDES}
    for side, towards in (("right", near), ("left", -near)):
        limit = objective(loss, B, A).hessian(1 + towards, -1 + towards)
        agree(one[side], limit, scale=np.abs(limit).max(), within=1e-9, name=f"{loss} hessian at an integer")
    assert np.abs(one["right"] - one["left"]).max() > 1e-3
    agree(one["central"], (one["right"] + one["left"]) / 2, scale=1, within=1e-14, name=f"{loss} central hessian")


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_a_landscape_is_the_values(objective, agree, scene, loss):
    made = objective(loss, scene((5, 7), 30), scene((5, 7), 31))
    dx, dy = [-1.5, 0.25, 0, 2, 0.75], [1, -0.4, 0.3, 0.8]
    surface = made.landscape(dx, dy)
    assert surface.shape == (4, 5)
    agree(surface, [[made.value(x, y) for x in dx] for y in dy], scale=1, within=1e-13, name=f"{loss} landscape")


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_many_displacements_of_one_cell_cost_one_pass_in_cells(scene, loss):
    kind = {"mse": losses.MSE, "ncc": losses.NCC}[loss]
    made = kind(scene((5, 7), 32), scene((5, 7), 33), evaluation="cells")
    for dx in np.linspace(1, 2, 9)[:-1]:
        made.value_and_gradient(dx, 0.5)
    assert (made.passes, made.evaluations) == (1, 8)
    made.value_and_gradient(2, 0.5)
    assert made.passes == 2
    made.clear_cache()
    made.value_and_gradient(2, 0.5)
    assert made.passes == 3
    direct = kind(scene((5, 7), 32), scene((5, 7), 33), evaluation="direct")
    for dx in (1, 1.5):
        direct.value_and_gradient(dx, 0.5)
    assert (direct.passes, direct.evaluations) == (2, 2)


def test_an_unknown_evaluation_is_refused(scene):
    with pytest.raises(InputError, match=r"evaluation is 'magic'; give one of 'cells', 'direct'"):
        losses.MSE(scene((5, 6)), scene((5, 6)), evaluation="magic")


def blocks_of(rows, columns):
    """Return the rectangles between cuts along y and x."""
    return [(*y, *x) for y in pairwise(rows) for x in pairwise(columns)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_shares_of_the_blocks_add_up_to_the_gradient(objective, agree, scene, loss, masked):
    masks = {"reference_mask": scene((9, 11), 36) < 0.9, "moving_mask": scene((9, 11), 37) < 0.9} if masked else {}
    B, A = scene((9, 11), 34), scene((9, 11), 35)
    made = objective(loss, B, A, **masks)
    for dx, dy in [(0.3, 0.6), (-1.7, 2.45), (1, 0)]:
        shares = made.gradient_by_blocks(dx, dy, blocks=blocks_of((0, 2, 7, 9), (0, 3, 4, 8, 11)))
        assert shares.shape == (12, 2)
        gradient = made.value_and_gradient(dx, dy)[1]
        agree(shares.sum(axis=0), gradient, scale=np.abs(shares).sum(), within=1e-13, name=f"{loss} shares")
    if loss == "mse" and not masked:
        # each is that of its own pixels: a block of one pixel by hand
        single = made.gradient_by_blocks(0, 0, blocks=blocks_of(range(10), range(12)))[2 * 11 + 3]
        error = A[2, 3] - B[2, 3]
        want = [2 / 99 * error * (A[2, 4] - A[2, 3]), 2 / 99 * error * (A[3, 3] - A[2, 3])]
        agree(single, want, scale=1, within=1e-15, name="mse share of a pixel")


def test_far_away_all_shares_are_zero(objective, scene):
    shares = objective("mse", scene((4, 5)), scene((4, 5))).gradient_by_blocks(
        9, 0, blocks=blocks_of((0, 2, 4), (0, 5))
    )
    assert shares.tolist() == [[0, 0], [0, 0]]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_shares_of_a_constant_image_are_an_error(objective, scene):
    with pytest.raises(InputError, match="is constant over the domain"):
        objective("ncc", np.ones((6, 7)), scene((6, 7))).gradient_by_blocks(0.5, 0.5, blocks=[(0, 6, 0, 7)])


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_of_an_objective_are_a_whole_number(threads):
    with pytest.raises(InputError, match="threads"):
        losses.MSE(np.eye(8), np.eye(8), threads=threads)


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_correlation_is_that_of_the_images_whatever_is_minimised(scene, loss):
    kind = {"mse": losses.MSE, "ncc": losses.NCC}[loss]
    B = scene((25, 30), 42)
    A = B + 0.3 * scene((25, 30), 43)
    want = np.corrcoef(B[4:20, 3:20].ravel(), A[5:21, 1:18].ravel())[0, 1]
    for options in ({}, {"evaluation": "direct"}, {"noise": 0.01}):
        made = kind(B, A, domain=(4, 20, 3, 20), **options)
        assert made.correlation(-2, 1) == pytest.approx(want, rel=1e-12)
        assert made.corrected == ("noise" in options)


def test_the_variance_of_the_reference_is_that_of_the_pixels_compared(scene):
    B, used = scene((9, 11), 44), scene((9, 11), 45) < 0.8
    made = losses.MSE(B, B, domain=(2, 8, 1, 10), reference_mask=used)
    assert made.reference_variance() == pytest.approx(B[2:8, 1:10][used[2:8, 1:10]].var(), rel=1e-12)
    assert losses.NCC(B, B).reference_variance() == pytest.approx(B.var(), rel=1e-12)
