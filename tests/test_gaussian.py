"""The Gaussian kernel: its taps, and the losses that interpolate with it, against a double sum written out here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import alignment as al
from alignment import formulas
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
            cx, cy = x + int(np.floor(dx + 0.5)), y + int(np.floor(dy + 0.5))
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
@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.2])
def test_taps_add_up_to_one_and_their_slopes_to_nothing(sigma, fraction):
    weights, slopes = Gaussian(sigma).taps(fraction)
    assert weights.sum() == pytest.approx(1, abs=1e-15)
    assert slopes.sum() == pytest.approx(0, abs=1e-15)
    step = 1e-6
    difference = (Gaussian(sigma).taps(fraction + step)[0] - Gaussian(sigma).taps(fraction - step)[0]) / (2 * step)
    np.testing.assert_allclose(slopes, difference, atol=1e-9)


@pytest.mark.parametrize("blur", [0.6, 1.5, 4.0])
@pytest.mark.parametrize("fraction", [-0.5, -0.2, 0.0, 0.31])
@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0, 1.2])
def test_nine_taps_stand_for_a_kernel_after_itself(sigma, fraction, blur):
    """What error bars are made of: the energy of the smoothed slopes, on scenes sharp and smooth.

    A wider Gaussian cut off after nine taps showed up to an eighth less of it, and the bars were short by as much.
    """
    line = ndimage.gaussian_filter1d(np.random.default_rng(0).standard_normal(20000), blur)
    once, twice = Gaussian(sigma), Gaussian(sigma).twice()
    for n in (0, 1):
        exact = np.correlate(np.correlate(line, once.taps(fraction)[n], "valid"), once.taps(0.0)[0], "valid")
        found = np.correlate(line, twice.taps(fraction)[n], "valid")[4:-4]
        assert found @ found == pytest.approx(exact @ exact, rel=0.04)


@pytest.mark.parametrize("fraction", [-0.5, 0.0, 0.31])
def test_nine_taps_for_a_kernel_after_itself_see_no_slope_in_a_constant(fraction):
    """A thousandth of the mean grey level, taken for a slope, is more than all slopes of a bright, soft image."""
    weights, *slopes = Gaussian(1.2).twice().derivatives(fraction)
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose([taps.sum() for taps in slopes], 0, atol=1e-14)


@pytest.mark.parametrize("fraction", [-0.5, 0.0, 0.31])
def test_seventeen_taps_are_a_kernel_after_itself(fraction):
    line = np.random.default_rng(0).standard_normal(100)
    once, twice = Gaussian(1.1), Gaussian(1.1).twice()
    for all_of_them, taps in zip(twice.all_taps(fraction), once.taps(fraction), strict=True):
        exact = np.correlate(np.correlate(line, taps, "valid"), once.taps(0.0)[0], "valid")
        np.testing.assert_allclose(np.correlate(line, all_of_them, "valid"), exact, atol=1e-14)


@pytest.mark.parametrize("sigma", [0.49, 1.21, 0, -1, np.nan])
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


def masked_sum(image, mask, dx, dy, sigma, y, x):
    """Return the mean of the usable pixels around one source point, weighted by the Gaussian; zeros outside."""
    height, width = image.shape
    total = weight = 0.0
    cx, cy = x + int(np.floor(dx + 0.5)), y + int(np.floor(dy + 0.5))
    for n in range(cy - 4, cy + 5):
        for m in range(cx - 4, cx + 5):
            inside = 0 <= n < height and 0 <= m < width
            k = np.exp(-((y + dy - n) ** 2 + (x + dx - m) ** 2) / (2 * sigma**2))
            if not inside or mask[n, m]:
                weight += k
                total += k * image[n, m] if inside else 0.0
    return total / weight


def hidden_share(mask, sigma, y, x):
    """Return the weight of hidden pixels under the Gaussian around a pixel; nothing is hidden outside the frame."""
    window = np.pad(mask, 4, constant_values=True)[y : y + 9, x : x + 9]
    along = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    return float((np.outer(along, along) * ~window).sum() / along.sum() ** 2)


def pair_with_masks(share=0.1):
    B, A = scene((26, 28), 5), scene((26, 28), 6)
    rng = np.random.default_rng(7)
    return B, A, rng.random(B.shape) > share, rng.random(B.shape) > share


@pytest.mark.parametrize(("share", "most"), [(0.02, 0.02), (0.1, 0.1)])
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("domain", [(5, 21, 5, 22), (0, 26, 0, 28)])
@pytest.mark.parametrize("at", [(0.3, -1.4), (-3.2, 0.0)])
def test_usable_pixels_share_out_the_weights_of_masked_ones(name, domain, at, share, most):
    """Those whose taps are all but one in fifty in use count; where too many are hidden, all but one in ten."""
    B, A, used, usable = pair_with_masks(share)
    top, bottom, left, right = domain
    b, a = [], []
    for y in range(top, bottom):
        for x in range(left, right):
            n, m = y + round(at[1]), x + round(at[0])
            inside = 0 <= n < 26 and 0 <= m < 28
            counts = used[y, x] and hidden_share(used, 0.8, y, x) <= most
            if counts and (not inside or (usable[n, m] and hidden_share(usable, 0.8, n, m) <= most)):
                b.append(masked_sum(B, used, 0, 0, 0.8, y, x))
                a.append(masked_sum(A, usable, *at, 0.8, y, x))
    want = np.mean((np.array(a) - b) ** 2) if name == "mse" else -np.corrcoef(a, b)[0, 1]
    B[~used], A[~usable] = np.nan, 1e9
    made = OBJECTIVES[name](B, A, domain=domain, kernel=Gaussian(0.8), reference_mask=used, moving_mask=usable)
    assert made.value(*at) == pytest.approx(want, rel=1e-9)


def test_where_pixels_are_hidden_everywhere_all_others_count():
    B, A, used, _ = pair_with_masks()
    used[::2, ::2] = False
    made = OBJECTIVES["ncc"](B, A, domain=(5, 21, 5, 22), kernel=Gaussian(0.8), reference_mask=used)
    b, a = [], []
    for y, x in np.argwhere(used[5:21, 5:22]) + 5:
        b.append(masked_sum(B, used, 0, 0, 0.8, y, x))
        a.append(masked_sum(A, np.ones_like(used), 0.3, -0.4, 0.8, y, x))
    assert made.value(0.3, -0.4) == pytest.approx(-np.corrcoef(a, b)[0, 1], rel=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("at", [(0.3, -1.4), (2.0, 1.0)])
def test_its_gradient_is_confirmed_under_masks(name, at):
    B, A, used, usable = pair_with_masks()
    made = OBJECTIVES[name](B, A, domain=(5, 21, 5, 22), kernel=Gaussian(0.8), reference_mask=used, moving_mask=usable)
    check = al.check_gradient(made.value_and_gradient, at)
    assert check.passed, str(check)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("domain", ["frame", (6, 20, 5, 24)])
@pytest.mark.parametrize("at", [(0.3, -0.4), (-6.2, 3.8), (2.0, 1.0)])
def test_the_hessian_is_the_derivative_of_the_gradient(name, masked, domain, at):
    B, A, used, usable = pair_with_masks()
    masks = {"reference_mask": used, "moving_mask": usable} if masked else {}
    made = OBJECTIVES[name](B, A, domain=domain, kernel=Gaussian(0.8), **masks)
    h = 1e-5
    columns = [
        (made.value_and_gradient(at[0] + a, at[1] + b)[1] - made.value_and_gradient(at[0] - a, at[1] - b)[1]) / (2 * h)
        for a, b in ((h, 0), (0, h))
    ]
    np.testing.assert_allclose(made.hessian(*at), np.array(columns), rtol=1e-7, atol=1e-7)


def test_products_of_slopes_make_the_curvature_near_a_match():
    fine = scene((60, 64), 7)
    B, A = fine[5:55, 5:59], fine[4:54, 7:61]
    for name, objective in OBJECTIVES.items():
        made = objective(B, A, domain=(8, 42, 8, 46), kernel=Gaussian(0.8))
        exact = made.hessian(-2, 1)
        np.testing.assert_allclose(made.gauss_newton(-2, 1), exact, atol=0.15 * np.abs(exact).max(), err_msg=name)


def test_a_slope_that_gain_and_offset_explain_is_no_curvature_of_the_correlation():
    """A sky that fades, and a little structure: the exact Hessian is the judge, and most of the slopes is the sky's."""
    fine, y, x = scene((60, 64), 7), *np.indices((60, 64))
    whole = 0.2 * fine + 0.15 * x + 0.08 * y
    B, A, domain = whole[5:55, 5:59], 1.3 * whole[4:54, 7:61] - 2, (8, 42, 8, 46)
    made = OBJECTIVES["ncc"](B, A, domain=domain, kernel=Gaussian(0.8))
    exact, found = made.hessian(-2, 1), made.gauss_newton(-2, 1)
    sums = made.survey(-2, 1, [domain])
    products = sums[0, 12:16].reshape(2, 2) * made._curvature_scale(sums)
    assert np.trace(products) > 1.5 * np.trace(exact)
    np.testing.assert_allclose(found, exact, atol=0.1 * np.abs(exact).max())


@pytest.mark.parametrize("kernel", [Gaussian(0.6), Gaussian(1.0)])
def test_a_ramp_alone_has_a_place_for_mse_and_none_for_ncc(kernel):
    y, x = np.indices((50, 54), float)
    ramp = 0.1 * x + 0.05 * y
    curved = [
        OBJECTIVES[name](ramp, ramp, domain=(8, 42, 8, 46), kernel=kernel).gauss_newton(0, 0) for name in OBJECTIVES
    ]
    largest = dict(zip(OBJECTIVES, (np.abs(np.linalg.eigvalsh(H)).max() for H in curved), strict=True))
    assert largest["mse"] > 0.01
    assert largest["ncc"] < 1e-9


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_a_landscape_is_the_values_and_there_are_no_cells(name):
    """A cell's moments are those of the hat, and the Gaussian's taps reach past the border that they read."""
    made = OBJECTIVES[name](scene((15, 18), 3), scene((15, 18), 4), kernel=Gaussian(0.8))
    dx, dy = [-1.5, 0.25, 2.0], [-8.5, 0.0]
    surface = made.landscape(dx, dy)
    assert surface.tolist() == [[made.value(x, y) for x in dx] for y in dy]
    assert made.landscape([], [0.0]).shape == (1, 0)
    with pytest.raises(InputError, match=r"kernel is Gaussian\(sigma=0.8\), which has no cells"):
        made.cell(0, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("slopes", [(1.0, 0.0), (0.3, -0.8), (-0.2, 0.7)])
def test_rounding_is_no_curvature(slopes, dtype):
    """Gain and offset explain all of a ramp; what rounding leaves looked like a curvature, and the answer perfect."""
    y, x = np.mgrid[:60, :70]
    ramp = (0.5 + 0.3 * (slopes[0] * x / 70 + slopes[1] * y / 60)).astype(dtype)
    made = al.NCC(ramp, ramp, domain=(8, 52, 8, 62), kernel=Gaussian(0.8))
    assert (made.gauss_newton(0, 0) == 0).all()


def test_the_hat_has_no_gauss_newton():
    with pytest.raises(InputError, match="kernel is 'hat', whose hessian is exact"):
        al.MSE(np.eye(9), np.eye(9)).gauss_newton(0, 0)


@pytest.mark.parametrize("boundary", ["zero", "edge", "wrap"])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.3, -1.4), (-6.7, 3.2), (40.3, 0.2), (-13.0, 55.5)])
def test_the_shifted_image_is_the_double_sum_at_every_boundary(boundary, at):
    image = scene((15, 18), 9)
    around = {"zero": "constant", "edge": "edge", "wrap": "wrap"}[boundary]
    wide = np.pad(image, 80, mode=around)
    want = double_sum(wide, *at, 0.7, (80, 95, 80, 98))
    np.testing.assert_allclose(al.shift(image, *at, boundary=boundary, kernel=Gaussian(0.7)), want, atol=1e-12)
    h = 1e-5
    slopes = al.shift_gradients(image, *at, boundary=boundary, kernel=Gaussian(0.7))
    for slope, (a, b) in zip(slopes, ((h, 0), (0, h)), strict=True):
        ends = [double_sum(wide, at[0] + t * a, at[1] + t * b, 0.7, (80, 95, 80, 98)) for t in (1, -1)]
        if not any(abs(abs(d) % 1 - 0.5) < 1e-3 for d in at):  # where the nine taps move on
            np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), atol=1e-8)


def test_shifting_keeps_colour_and_whole_numbers():
    image = np.random.default_rng(1).integers(0, 256, (20, 22, 3), dtype=np.uint8)
    shifted = al.shift(image, 1.25, -0.5, boundary="edge", kernel=Gaussian(0.8))
    assert shifted.dtype == np.uint8
    plane = al.shift(image[..., 1], 1.25, -0.5, boundary="edge", kernel=Gaussian(0.8))
    np.testing.assert_array_equal(shifted[..., 1], plane)
    with pytest.raises(InputError, match="kernel is 'cubic'"):
        al.shift(image, 0, 0, kernel="cubic")
    with pytest.raises(InputError, match="boundary is 'mirror'"):
        al.shift(image, 0, 0, kernel=Gaussian(0.8), boundary="mirror")


@pytest.mark.parametrize("at", [(0.0, 0.0), (0.3, -0.4), (2.6, 1.2), (-1.5, 0.5)])
@pytest.mark.parametrize("window", [None, (2, 9, 3, 10)])
def test_the_formulas_and_the_kernels_agree(at, window):
    B, A = scene((11, 12), 1), scene((11, 12), 2)
    options = {"domain": window or "frame", "kernel": Gaussian(0.9)}
    for objective, value, gradient, sign in (
        (al.MSE, formulas.mse, formulas.mse_gradient, 1),
        (al.NCC, formulas.ncc, formulas.ncc_gradient, -1),
    ):
        got, slope = objective(B, A, **options).value_and_gradient(*at)
        assert got == pytest.approx(sign * value(A, B, *at, window, sigma=0.9), rel=1e-11)
        np.testing.assert_allclose(slope, sign * np.array(gradient(A, B, *at, window, sigma=0.9)), atol=1e-11)


@pytest.mark.parametrize("xs", [2.0, 2.3, 2.5, 3.5, -0.5])
def test_the_gaussian_weights_of_the_formulas_are_those_of_the_taps(xs):
    whole, fraction = nearest(xs)
    weights, slopes = Gaussian(0.8).taps(fraction)
    pixels = range(whole - 5, whole + 6)
    assert [formulas.gaussian_weight(m, xs, 0.8) for m in pixels] == pytest.approx([0, *weights, 0], abs=1e-15)
    assert [formulas.gaussian_slope(m, xs, 0.8) for m in pixels] == pytest.approx([0, *slopes, 0], abs=1e-15)


def test_noise_that_is_not_shared_does_not_count_as_structure():
    rng = np.random.default_rng(8)
    stripes = np.sin(np.arange(90) / 3) * np.ones((80, 1))
    noisy = [stripes + 0.3 * rng.standard_normal(stripes.shape) for _ in range(2)]
    low, high = np.linalg.eigvalsh(al.NCC(*noisy, domain=(8, 72, 8, 82), kernel=Gaussian(0.8)).gauss_newton(0, 0))
    assert abs(low) < 0.1 * high


def test_a_name_that_is_no_kernel_is_refused():
    with pytest.raises(InputError, match="kernel is 'cubic'; give one of 'hat'"):
        al.MSE(np.eye(9), np.eye(9), kernel="cubic")
