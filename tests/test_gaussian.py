"""The Gaussian kernel: its taps, and the losses that interpolate with it, against a double sum written out here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import alignment as al
from alignment._checks import InputError
from alignment.gaussian import Gaussian, nearest

OBJECTIVES = {"mse": al.MSE, "ncc": al.NCC}


def scene(shape, seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.2) * 4


def double_sum(image, dx, dy, sigma, domain):
    """Return the smoothly interpolated image over a domain, one pixel and one tap after the other; zero outside."""
    height, width = image.shape
    top, bottom, left, right = domain
    out = np.zeros((bottom - top, right - left))
    for y in range(top, bottom):
        for x in range(left, right):
            total = weight = 0.0
            cx, cy = x + round(dx), y + round(dy)
            for n in range(cy - 4, cy + 5):
                for m in range(cx - 4, cx + 5):
                    k = np.exp(-((y + dy - n) ** 2 + (x + dx - m) ** 2) / (2 * sigma**2))
                    weight += k
                    if 0 <= n < height and 0 <= m < width:
                        total += k * image[n, m]
            out[y - top, x - left] = total / weight
    return out


def naive(name, B, A, dx, dy, sigma, domain, used=None):
    b, a = double_sum(B, 0, 0, sigma, domain), double_sum(A, dx, dy, sigma, domain)
    used = np.ones(a.shape, bool) if used is None else used
    a, b = a[used], b[used]
    return float(np.mean((a - b) ** 2)) if name == "mse" else -float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("fraction", [-0.5, -0.2, 0.0, 0.31, 0.5])
@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0])
def test_taps_add_up_to_one_and_their_slopes_to_nothing(sigma, fraction):
    weights, slopes = Gaussian(sigma).taps(fraction)
    assert weights.sum() == pytest.approx(1, abs=1e-15)
    assert slopes.sum() == pytest.approx(0, abs=1e-15)
    step = 1e-6
    difference = (Gaussian(sigma).taps(fraction + step)[0] - Gaussian(sigma).taps(fraction - step)[0]) / (2 * step)
    np.testing.assert_allclose(slopes, difference, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.49, 1.01, 0, -1, np.nan])
def test_a_width_that_nine_taps_cannot_hold_is_refused(sigma):
    with pytest.raises(InputError, match="sigma is"):
        Gaussian(sigma)


@pytest.mark.parametrize(("displacement", "whole"), [(2.3, 2), (-2.3, -2), (0.0, 0), (-0.6, -1)])
def test_the_nearest_pixel(displacement, whole):
    found, fraction = nearest(displacement)
    assert found == whole
    assert found + fraction == displacement
    assert abs(fraction) <= 0.5


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("domain", ["frame", (5, 12, 6, 14), (0, 7, 8, 20)])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.3, -0.4), (2.6, 1.2), (-6.2, 3.7), (12.0, 0.5)])
def test_the_loss_is_the_double_sum(name, domain, at):
    B, A = scene((17, 20), 1), scene((17, 20), 2)
    window = (0, 17, 0, 20) if domain == "frame" else domain
    got = OBJECTIVES[name](B, A, domain=domain, kernel=Gaussian(0.8)).value(*at)
    assert got == pytest.approx(naive(name, B, A, *at, 0.8, window), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("at", [(0.0, 0.0), (1.0, -2.0), (0.37, -1.61), (7.3, 2.2)])
def test_its_gradient_is_confirmed_and_has_no_kinks(name, at):
    objective = OBJECTIVES[name](scene((30, 34), 3), scene((30, 34), 4), kernel=Gaussian(0.8))
    check = al.check_gradient(objective.value_and_gradient, at)
    assert check.passed, str(check)
    assert not [kink for kink in check.kinks if kink.side != "away"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_masked_pixels_take_their_whole_neighbourhood_with_them(name):
    B, A = scene((26, 28), 5), scene((26, 28), 6)
    used, usable = np.ones((26, 28), bool), np.ones((26, 28), bool)
    used[12, 13] = False
    usable[16, 8] = False
    at, domain = (0.3, -1.4), (5, 21, 5, 22)
    rows, columns = np.mgrid[5:21, 5:22]
    kept = (np.maximum(abs(rows - 12), abs(columns - 13)) > 4) & (np.maximum(abs(rows - 1 - 16), abs(columns - 8)) > 4)
    want = naive(name, B, A, *at, 0.8, domain, kept)
    B[12, 13], A[16, 8] = np.nan, 1e9
    made = OBJECTIVES[name](B, A, domain=domain, kernel=Gaussian(0.8), reference_mask=used, moving_mask=usable)
    assert made.value(*at) == pytest.approx(want, rel=1e-9)


def test_the_curvature_is_that_of_the_loss_near_a_match():
    fine = scene((60, 64), 7)
    B, A = fine[5:55, 5:59], fine[4:54, 7:61]
    for name, objective in OBJECTIVES.items():
        made = objective(B, A, domain=(8, 42, 8, 46), kernel=Gaussian(0.8))
        step = 1e-4
        columns = [
            (made.value_and_gradient(-2 + a, 1 + b)[1] - made.value_and_gradient(-2 - a, 1 - b)[1]) / (2 * step)
            for a, b in ((step, 0), (0, step))
        ]
        np.testing.assert_allclose(made.hessian(-2, 1), np.array(columns), rtol=0.15, atol=0.02, err_msg=name)


def test_noise_that_is_not_shared_does_not_count_as_structure():
    rng = np.random.default_rng(8)
    stripes = np.sin(np.arange(90) / 3) * np.ones((80, 1))
    noisy = [stripes + 0.3 * rng.standard_normal(stripes.shape) for _ in range(2)]
    low, high = np.linalg.eigvalsh(al.NCC(*noisy, domain=(8, 72, 8, 82), kernel=Gaussian(0.8)).hessian(0, 0))
    assert abs(low) < 0.1 * high


def test_a_name_that_is_no_kernel_is_refused():
    with pytest.raises(InputError, match="kernel is 'cubic'; give one of 'hat'"):
        al.MSE(np.eye(9), np.eye(9), kernel="cubic")
