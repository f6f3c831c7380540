"""All integer displacements at once, the walk from cell to cell, and the exhaustive search, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from alignment import InputError, register
from alignment.losses import MSE, NCC
from alignment.search import LagSurface, all_lags, brute_force, minima, phase_peak, walk, wrapped

KINDS = {"mse": MSE, "ncc": NCC}
both = pytest.mark.parametrize("loss", ["mse", "ncc"])


def one_lag(loss, B, A, dx, dy, used, usable):
    """Return the loss over the pixels that overlap at one displacement, and their number, from the definition."""
    height, width = B.shape
    here = np.s_[max(0, -dy) : min(height, height - dy), max(0, -dx) : min(width, width - dx)]
    there = np.s_[max(0, dy) : min(height, height + dy), max(0, dx) : min(width, width + dx)]
    keep = used[here] & usable[there]
    b, a = B[here][keep], A[there][keep]
    if a.size < 2:
        return np.inf, a.size
    if loss == "mse":
        return np.mean((a - b) ** 2), a.size
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.inf, a.size
    return -np.corrcoef(a, b)[0, 1], a.size


def blobs(shape, dx=0.0, dy=0.0, seed=0):
    """Return an analytic scene, bumps two to five pixels wide, its content moved right by dx and down by dy."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image = np.zeros(shape)
    for _ in range(shape[0] * shape[1] // 60):
        cx, cy = rng.uniform(-9, shape[1] + 9), rng.uniform(-9, shape[0] + 9)
        width, height = rng.uniform(2, 5), rng.normal()
        image += height * np.exp(-((x - dx - cx) ** 2 + (y - dy - cy) ** 2) / (2 * width**2))
    return image


# --- all lags ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", ["none", "reference", "moving", "both"])
@pytest.mark.parametrize(
    ("shape", "most"), [((13, 17), (5, 4)), ((9, 8), (7, 8)), ((16, 6), (0, 15)), ((5, 1), (0, 3))]
)
@both
def test_every_lag_equals_brute_force(agree, scene, loss, shape, most, masked):
    B, A = scene(shape, 1) - 0.2, 3 * scene(shape, 2) + 0.5
    used = scene(shape, 3) < 0.85 if masked in ("reference", "both") else np.ones(shape, bool)
    usable = scene(shape, 4) < 0.85 if masked in ("moving", "both") else np.ones(shape, bool)
    masks = {"reference_mask": used, "moving_mask": usable}
    masks = {name: mask.astype(np.uint8) for name, mask in masks.items() if not mask.all()}
    surface = all_lags(B, A, loss=loss, max_shift=most, min_overlap=0.01, **masks)
    assert surface.loss.shape == surface.overlap.shape == (2 * most[1] + 1, 2 * most[0] + 1)
    compared = 0
    for j, i in np.ndindex(surface.loss.shape):
        dx, dy = surface.displacement(j, i)
        assert (dx, dy) == (i - most[0], j - most[1])
        want, n = one_lag(loss, B, A, dx, dy, used, usable)
        assert surface.overlap[j, i] == n
        if n >= max(2, 0.01 * surface.overlap.max()) and np.isfinite(want):
            agree(surface.loss[j, i], want, scale=max(1, abs(want)), within=1e-9, name=f"{loss} at all lags")
            compared += 1
        else:
            assert surface.loss[j, i] == np.inf
    assert compared > surface.loss.size / 2


@both
def test_single_precision_and_an_offset_keep_their_digits(agree, loss):
    B, A = blobs((40, 50)), blobs((40, 50), 2, -1)
    want = all_lags(B, A, loss=loss, max_shift=(6, 5)).loss
    for offset in (0.0, 30.0):
        single = (image.astype(np.float32) + np.float32(offset) for image in (B, A))
        got = all_lags(*single, loss=loss, max_shift=(6, 5)).loss
        agree(got, want, scale=np.abs(want).max(), within=2e-5, name=f"{loss} at all lags in float32")


def test_too_little_overlap_does_not_compete():
    B, A = np.random.default_rng(0).random((2, 10, 12))
    for share in (0.05, 0.25, 0.6, 1.0):
        surface = all_lags(B, A, max_shift=(8, 7), min_overlap=share)
        inside = np.isfinite(surface.loss)
        assert (surface.overlap[inside] >= share * 120).all()
        assert (surface.overlap[~inside] < max(share * 120, 3)).all()
        assert inside[7, 8]
    masks = np.random.default_rng(1).random((10, 12)) < 0.5
    surface = all_lags(B, A, max_shift=(8, 7), min_overlap=0.5, reference_mask=masks.astype(np.uint8))
    assert (np.isfinite(surface.loss) == (surface.overlap >= 0.5 * surface.overlap.max())).all()


@both
def test_what_lies_under_the_masks_is_not_seen(scene, loss):
    B, A = scene((12, 14), 5), scene((12, 14), 6)
    masks = {"reference_mask": scene((12, 14), 7) < 0.9, "moving_mask": scene((12, 14), 8) < 0.9}
    masks = {name: mask.astype(np.uint8) for name, mask in masks.items()}
    want = all_lags(B, A, loss=loss, max_shift=(4, 4), **masks).loss
    B, A = np.where(masks["reference_mask"], B, 50.0), np.where(masks["moving_mask"], A, -90.0)
    np.testing.assert_allclose(all_lags(B, A, loss=loss, max_shift=(4, 4), **masks).loss, want, rtol=0, atol=1e-9)


def test_a_constant_patch_has_no_correlation():
    B = np.random.default_rng(2).random((12, 14))
    A = B.copy()
    A[:, 4:] = 0.5
    surface = all_lags(B, A, max_shift=(11, 0), min_overlap=0.05)
    # from dx = 4 on, the reference lies on the constant part alone
    assert np.isinf(surface.loss[0, 11 + 4 :]).all()
    assert np.isfinite(surface.loss[0, 11 - 3 : 11 + 4]).all()
    assert np.isinf(all_lags(B, np.full_like(B, 0.1), max_shift=(3, 3)).loss).all()


def test_the_images_are_left_alone():
    B, A = np.random.default_rng(3).random((2, 9, 9))
    before = B.copy(), A.copy()
    all_lags(B, A, max_shift=(3, 3), moving_mask=(A > 0.1).astype(np.uint8))
    assert (before[0] == B).all()
    assert (before[1] == A).all()


# --- its minima -------------------------------------------------------------------------------------------------------


def test_minima_are_the_low_points_in_order():
    surface = np.full((5, 7), 3.0) + 0.01 * np.arange(35).reshape(5, 7)
    surface[1, 2], surface[4, 6], surface[3, 0] = -1.0, -2.0, 0.5
    found = minima(LagSurface(surface, np.ones((5, 7)), (3, 2)))
    assert [(c.dx, c.dy, c.loss) for c in found[:3]] == [(3, 2, -2.0), (-1, -1, -1.0), (-3, 1, 0.5)]
    assert [c.loss for c in found] == sorted(c.loss for c in found)
    assert minima(LagSurface(surface, np.ones((5, 7)), (3, 2)), most=1) == found[:1]


def test_what_is_out_of_reach_is_no_minimum():
    surface = np.full((3, 3), np.inf)
    assert minima(LagSurface(surface, np.ones((3, 3)), (1, 1))) == []
    surface[0, 2] = 4.0
    assert [(c.dx, c.dy) for c in minima(LagSurface(surface, np.ones((3, 3)), (1, 1)))] == [(1, -1)]


def test_of_a_plateau_each_element_counts():
    surface = np.ones((3, 4))
    surface[1, 1:3] = 0.0
    assert [(c.dx, c.dy) for c in minima(LagSurface(surface, np.ones((3, 4)), (2, 1)))] == [(-1, 0), (0, 0)]


# --- walking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [(0.0, 0.0), (1.5, 1.5), (-0.2, 2.9), (1.0, -1.0)])
@pytest.mark.parametrize("truth", [(1.37, -0.81), (2.0, 1.0), (-0.5, 0.5), (0.02, -1.98)])
@both
def test_the_walk_ends_at_the_minimum_of_a_fine_grid(loss, truth, start):
    objective = KINDS[loss](blobs((34, 38)), blobs((34, 38), *truth), domain=(5, 29, 5, 33))
    dx, dy, value, arrived = walk(objective, start)
    grid = brute_force(objective, max_shift=(4, 4), step=0.02)
    assert arrived
    assert value <= grid[2] + 1e-12
    assert np.hypot(dx - grid[0], dy - grid[1]) <= 0.02
    assert value == pytest.approx(objective.value(dx, dy), rel=0, abs=1e-12)
    # each visited cell cost one pass: a handful, for the walk and the neighbours that it looked at
    assert np.abs(np.array([dx, dy]) - truth).max() <= 0.05


def test_a_walk_costs_one_pass_for_each_cell():
    objective = NCC(blobs((34, 38)), blobs((34, 38), 2.4, 1.3), domain=(5, 29, 5, 33))
    walk(objective, (0.0, 0.0))
    # three cells along x and two along y, and at each border crossed up to three to choose from
    assert 4 <= objective.passes <= 12


def test_a_walk_that_is_too_long_says_so():
    objective = NCC(blobs((34, 38)), blobs((34, 38), 3.5, 0.2), domain=(5, 29, 5, 33))
    *_, arrived = walk(objective, (-2.5, 0.0), most=2)
    assert not arrived
    assert walk(objective, (-2.5, 0.0))[3]


def test_brute_force_is_a_double_loop():
    objective = MSE(blobs((20, 24)), blobs((20, 24), 1, -1), domain=(4, 16, 4, 20))
    steps = [(dx / 2, dy / 2) for dy in range(-4, 5) for dx in range(-6, 7)]
    want = min((objective.value(*d), d) for d in steps)
    assert brute_force(objective, max_shift=(3, 2), step=0.5) == (*want[1], pytest.approx(want[0], abs=1e-13))
    assert want[1] == (1.0, -1.0)


def test_brute_force_is_checked_at_the_door():
    objective = MSE(blobs((20, 24)), blobs((20, 24)))
    with pytest.raises(InputError, match=r"step is 0; give a number above 0"):
        brute_force(objective, max_shift=(3, 3), step=0)
    with pytest.raises(InputError, match=r"max_shift is \(24, 3\), beyond the images of shape \(20, 24\); give less"):
        brute_force(objective, max_shift=(24, 3))


# --- exhaustive registration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "truth", [(2.63, -1.18), *(pytest.param(t, marks=pytest.mark.slow) for t in ((-3.5, 2.0), (0.0, 3.41)))]
)
@both
def test_an_exhaustive_registration_is_the_dense_brute_force(loss, truth):
    """Of the smoothed pair over the same window, on a grid of 1/50 px; half a grid step on top is the grid's own."""
    B, A = blobs((64, 72)), blobs((64, 72), *truth)
    result = register(B, A, loss=loss, method="exhaustive", features="intensity", max_shift=5, smooth=1.0)
    smoothed = (ndimage.gaussian_filter(image, 1.0, mode="nearest") for image in (B, A))
    grid = brute_force(KINDS[loss](*smoothed, domain=result.window), max_shift=(5, 5), step=0.02)
    assert result.success, result.message
    assert abs(result.dx - grid[0]) <= 0.02
    assert abs(result.dy - grid[1]) <= 0.02
    assert np.abs(np.array([result.dx, result.dy]) - truth).max() <= 0.02


@pytest.mark.slow
def test_an_exhaustive_registration_finds_the_best_of_several_minima():
    """Repeating content that fades: neighbouring periods are minima too, the true one is the lowest."""
    y, x = np.mgrid[:64, :72].astype(float)

    def stripes(dx, dy):
        return blobs((64, 72), dx, dy, seed=3) + 1.2 * np.cos(2 * np.pi * (x - dx) / 6) * np.cos(
            2 * np.pi * (y - dy) / 7
        )

    B, A = stripes(0, 0), stripes(4.3, -3.6)
    result = register(B, A, method="exhaustive", features="intensity", max_shift=8)
    smoothed = [ndimage.gaussian_filter(image, 1.0, mode="nearest") for image in (B, A)]
    objective = NCC(*smoothed, domain=result.window)
    surface = objective.landscape(np.arange(-8, 9), np.arange(-8, 9))
    assert len(minima(LagSurface(surface, np.ones((17, 17)), (8, 8)))) >= 5
    grid = brute_force(objective, max_shift=(8, 8), step=0.05)
    assert np.hypot(result.dx - grid[0], result.dy - grid[1]) <= 0.05
    assert np.hypot(result.dx - 4.3, result.dy + 3.6) <= 0.05


# --- phases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [(0, 0), (5, -3), (-12, 7)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_phases_find_a_displacement_under_any_tone_curve(move, dtype):
    rng = np.random.default_rng(3)
    fine = ndimage.gaussian_filter(rng.random((120, 130)), 1.0)
    fine = ((fine - fine.min()) / np.ptp(fine)).astype(dtype)
    dx, dy = move
    reference, moving = fine[20:100, 20:110], fine[20 - dy : 100 - dy, 20 - dx : 110 - dx] ** 3 * 7 + 2
    peak = phase_peak(reference, moving)
    assert (peak.dx, peak.dy) == move
    assert peak.score > 30
    assert peak.ambiguity < 0.4


def test_phases_of_unrelated_images_have_no_peak():
    rng = np.random.default_rng(4)
    for _ in range(10):
        peak = phase_peak(*(ndimage.gaussian_filter(rng.random((80, 90)), 1.0) for _ in range(2)))
        assert peak.score < 30


def test_a_wrapped_image_comes_back_on_the_other_side():
    image = np.random.default_rng(5).random((9, 11))
    for loss in (MSE, NCC):
        objective = wrapped(loss, image, np.roll(image, (-3, 4), axis=(0, 1)), max_shift=(5, 4))
        dx, dy, value = brute_force(objective, max_shift=(5, 4))
        assert (dx, dy) == (4, -3)
        assert value == pytest.approx(-1 if loss is NCC else 0, abs=1e-12)
