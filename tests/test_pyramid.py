"""Coarse levels and filters: positions, masks, and SciPy's own Gaussian."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from alignment.pyramid import Masked, band_pass, build, count_levels, edges, halve, smooth

# cycles per pixel (x, y), amplitude, phase: all below a quarter, so that the half-size image can hold them
WAVES = [(0.031, 0.012, 1.0, 0.3), (-0.07, 0.11, 0.5, 1.9), (0.16, 0.05, 0.3, 4.4), (0.02, -0.19, 0.25, 2.7)]


def scene(x, y, *, halved=0):
    """Return an analytic scene of a few waves, or what one or two halvings ought to make of it.

    (1, 3, 3, 1) / 8 about the midpoint of two pixels leaves cos(pi f)^3 of a wave of f cycles per pixel.
    """
    image = np.zeros(np.broadcast(x, y).shape)
    for fx, fy, amplitude, phase in WAVES:
        passed = np.prod([np.cos(np.pi * f * 2**n) ** 3 for f in (fx, fy) for n in range(halved)])
        image += amplitude * passed * np.cos(2 * np.pi * (fx * x + fy * y) + phase)
    return image


def sampled(shape, dx=0.0, dy=0.0):
    """Return the scene with its content moved right by dx and down by dy."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return scene(x - dx, y - dy)


def expected(shape, dx, dy, levels):
    """Return the scene as a coarse grid ought to see it, its content moved by (dx, dy) pixels of that grid."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    scale = 2**levels
    centre = (scale - 1) / 2  # of coarse pixel 0 on the fine grid
    return scene(scale * (x - dx) + centre, scale * (y - dy) + centre, halved=levels)


def error(got, want, margin=4):
    inside = np.s_[margin:-margin, margin:-margin]
    return np.abs(got[inside] - want[inside]).max()


# --- where things are -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60, 70), (61, 71)])
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (3.0, -2.0), (1.37, -4.82), (-0.5, 0.5)])
def test_halving_halves_the_displacement_and_nothing_slips(shape, dx, dy):
    moved = sampled(shape, dx, dy)
    for levels in (1, 2):
        moved = halve(Masked(moved)).image
        assert moved.shape == (shape[0] // 2**levels, shape[1] // 2**levels)
        assert error(moved, expected(moved.shape, dx / 2**levels, dy / 2**levels, levels)) <= 1e-12


def test_a_slip_of_one_fine_pixel_would_be_seen():
    """What keeps the odd pixels of one image and the even ones of the other moves it by half a coarse pixel."""
    fine = sampled((60, 70), 1.37, -4.82)
    slipped = halve(Masked(np.ascontiguousarray(fine[:, 1:]))).image
    right, wrong = (expected(slipped.shape, dx, -4.82 / 2, 1) for dx in (1.37 / 2, 1.37 / 2 - 0.5))
    assert error(slipped, right) > 0.05
    assert error(slipped, wrong) <= 1e-12


def test_a_wave_at_the_old_limit_leaves_nothing_behind():
    columns = np.resize([1.0, -1.0], (20, 30))
    assert np.abs(halve(Masked(columns)).image[:, 1:-1]).max() <= 1e-15
    assert np.abs(halve(Masked(columns.T[:20].copy())).image).max() <= 0.26  # only the repeated edge remains
    assert error(halve(Masked(np.resize([1.0, -1.0], (20, 30)))).image, np.zeros((10, 15)), 1) <= 1e-15


def test_halving_transposes_and_turns_with_the_image():
    image = np.random.default_rng(0).random((12, 18))
    for turn in (np.transpose, np.fliplr, np.flipud):
        turned = halve(Masked(np.ascontiguousarray(turn(image)))).image
        np.testing.assert_allclose(turned, turn(halve(Masked(image)).image), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (9, 2), (7, 5), (16, 31)])
def test_a_constant_stays_constant(shape, dtype):
    level = Masked(np.full(shape, 0.7, dtype))
    within = 4 * np.finfo(dtype).eps
    for filtered in (halve(level), smooth(level, 0.8), smooth(level, 3.1)):
        assert filtered.image.dtype == dtype
        assert filtered.mask is None
        assert np.abs(filtered.image - dtype(0.7)).max() <= within
    assert np.abs(band_pass(level, 1.5).image).max() <= within
    assert not edges(level).image.any()


# --- masks ------------------------------------------------------------------------------------------------------------

FILTERS = {
    "halve": halve,
    "smooth": lambda level: smooth(level, 1.3),
    "edges": edges,
    "three levels": lambda level: build(*level, 3)[-1],
    "smooth edges of a half": lambda level: smooth(edges(halve(level)), 0.7),
}


def holes(shape):
    """Return a mask with single pixels, a block wider than any filter here, and a border missing."""
    mask = (np.random.default_rng(1).random(shape) < 0.9).astype(np.uint8)
    mask[8:28, 10:30] = 0
    mask[:, :2] = 0
    return mask


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FILTERS)
def test_what_lies_under_a_mask_never_leaks(name, dtype):
    image = np.random.default_rng(2).random((40, 46)).astype(dtype)
    mask = holes(image.shape)
    results = []
    for dirt in (0.0, 1e30, -123.0):
        dirty = np.where(mask, image, dtype(dirt))
        filtered, usable = FILTERS[name](Masked(dirty, mask))
        assert filtered.dtype == dtype
        assert usable.dtype == np.uint8
        assert np.isfinite(filtered).all()
        assert 0 < usable.sum() < usable.size
        results.append((filtered[usable != 0], usable))
    for values, usable in results[1:]:
        assert (usable == results[0][1]).all()
        assert (values == results[0][0]).all()


def test_a_masked_pixel_is_the_weighted_mean_of_the_usable_ones():
    image, mask = np.random.default_rng(3).random((14, 17)), holes((40, 46))[20:34, 22:39].copy()
    mask[0, :] = 1
    taps = np.array([1, 3, 3, 1]) / 8
    wide, used = np.pad(image, 1, mode="edge"), np.pad(mask, 1, mode="edge").astype(float)
    filtered, usable = halve(Masked(image, mask))
    for j, i in np.ndindex(7, 8):
        around = np.s_[2 * j : 2 * j + 4, 2 * i : 2 * i + 4]
        share = np.outer(taps, taps) * used[around]
        if abs(share.sum() - 0.5) > 1e-9:
            assert bool(usable[j, i]) == (share.sum() > 0.5)
        if usable[j, i]:
            assert filtered[j, i] == pytest.approx((share * wide[around]).sum() / share.sum(), rel=1e-13)
    assert 0 < usable.sum() < usable.size


def test_a_constant_stays_constant_beside_a_mask():
    level = Masked(np.full((40, 46), 0.7), holes((40, 46)))
    for name in ("halve", "smooth", "three levels"):
        filtered, usable = FILTERS[name](level)
        assert np.abs(filtered[usable != 0] - 0.7).max() <= 1e-14
    filtered, usable = edges(level)
    assert not filtered[usable != 0].any()


def test_smoothing_gives_no_pixel_back_that_was_masked():
    mask = holes((40, 46))
    assert not smooth(Masked(np.ones((40, 46)), mask), 2.0).mask[mask == 0].any()


def test_an_edge_next_to_a_mask_is_not_known():
    image, mask = np.random.default_rng(4).random((9, 10)), np.ones((9, 10), np.uint8)
    mask[4, 5] = 0
    magnitude, usable = edges(Masked(image, mask))
    assert {(int(y), int(x)) for y, x in np.argwhere(usable == 0)} == {(4, 5), (3, 5), (5, 5), (4, 4), (4, 6)}
    assert not magnitude[usable == 0].any()
    np.testing.assert_array_equal(magnitude[usable != 0], edges(Masked(image)).image[usable != 0])


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.8, 1.0, 2.3, 6.0])
@pytest.mark.parametrize("shape", [(21, 30), (5, 33), (1, 9)])
def test_smooth_is_scipys_gaussian(shape, sigma):
    image = np.random.default_rng(5).random(shape)
    reach = max(1, int(np.ceil(4 * sigma)))
    want = ndimage.gaussian_filter(image, sigma, mode="nearest", radius=reach)
    np.testing.assert_allclose(smooth(Masked(image), sigma).image, want, rtol=0, atol=1e-14)
    single = smooth(Masked(image.astype(np.float32)), sigma).image
    np.testing.assert_allclose(single, want, rtol=0, atol=1e-6)


def test_smoothing_by_nothing_is_the_level_itself():
    level = Masked(np.random.default_rng(6).random((5, 6)))
    assert smooth(level, 0) is level


def test_a_band_is_what_smoothing_takes_away():
    level = Masked(np.random.default_rng(7).random((15, 16)))
    np.testing.assert_array_equal(band_pass(level, 2.0).image, level.image - smooth(level, 2.0).image)


@pytest.mark.parametrize(("a", "b"), [(3.0, 4.0), (-0.25, 0.0), (0.0, 2.0)])
def test_edges_of_a_plane(a, b):
    """Inside its slope; at a border, where the edge pixel is repeated, half of the part across it."""
    y, x = np.mgrid[:8, :11].astype(float)
    magnitude = edges(Masked(a * x + b * y + 1)).image
    across = np.where((x == 0) | (x == 10), a / 2, a)
    down = np.where((y == 0) | (y == 7), b / 2, b)
    np.testing.assert_allclose(magnitude, np.hypot(across, down), rtol=0, atol=1e-14)


def test_edges_do_not_see_a_negative():
    image = np.random.default_rng(8).random((9, 12))
    np.testing.assert_allclose(edges(Masked(1 - image)).image, edges(Masked(image)).image, rtol=0, atol=1e-15)


# --- the stack --------------------------------------------------------------------------------------------------------


def test_a_pyramid_is_one_halving_after_the_other():
    image, mask = np.random.default_rng(9).random((41, 64)), holes((41, 64))
    levels = build(image, mask, 4)
    assert [level.image.shape for level in levels] == [(41, 64), (20, 32), (10, 16), (5, 8)]
    assert levels[0].image is image
    for fine, coarse in pairwise(levels):
        again = halve(fine)
        assert (again.image == coarse.image).all()
        assert (again.mask == coarse.mask).all()
    assert [level.mask for level in build(image, None, 3)] == [None] * 3


@pytest.mark.parametrize("smallest", [7, 32, 64])
def test_the_coarsest_level_is_the_last_that_is_large_enough(smallest):
    for size in range(1, 700):
        for shape in ((size, 900), (900, size)):
            halvings = count_levels(shape, smallest=smallest) - 1
            assert size >> halvings + 1 < smallest
            assert halvings == 0 or size >> halvings >= smallest
