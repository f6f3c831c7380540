"""The template that many frames are looked for on."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import NCC, Gaussian, _kernels, register
from alignment.template import Template, describe

SHAPE = (120, 132)


def scene(dx=0.0, dy=0.0, shape=SHAPE):
    """Return a smooth scene whose content lies (dx, dy) to the right and below."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float)
    x, y = x - dx, y - dy
    return (
        np.sin(x / 3) * np.cos(y / 4)
        + np.sin((x + 2 * y) / 9)
        + 2 * np.exp(-((x - 60) ** 2 + (y - 50) ** 2) / 90)
        + np.exp(-((x - 30) ** 2 + (y - 80) ** 2) / 60)
    ).astype(np.float32)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.5, -0.5), (3.3, -2.7), (-0.49, 0.02), (17.25, 9.6)])
def test_a_frame_is_found_where_it_lies(dx, dy):
    look = Template(scene()).look(5 + 3 * scene(dx, dy), (round(dx), round(dy)))
    np.testing.assert_allclose((look.dx, look.dy), (dx, dy), atol=2e-3)
    assert 0.9 < look.ncc <= 1


def test_it_walks_to_a_frame_that_lies_a_few_pixels_off():
    look = Template(scene()).look(scene(2.4, -1.8), (0.0, 0.0))
    np.testing.assert_allclose((look.dx, look.dy), (2.4, -1.8), atol=2e-3)


def test_it_minimises_what_the_gaussian_objective_minimises():
    rng = np.random.default_rng(0)
    B, A = (scene(d, -d) + rng.normal(0, 0.2, SHAPE).astype(np.float32) for d in (0.0, 0.3))
    template = Template(B)
    look = template.look(A, (0.0, 0.0))
    # the roles are exchanged: the template moves by the opposite over the frame, on the same window
    objective = NCC(A, B, domain=look.sight.window, kernel=Gaussian(0.8))
    value, gradient = objective.value_and_gradient(-look.dx, -look.dy)
    step = np.linalg.solve(objective.hessian(-look.dx, -look.dy), gradient)
    assert value < -0.9
    assert np.abs(step).max() < 2e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_the_unit_of_a_frame_does_not_matter(dtype):
    levels = scene(0.25, 0.5)
    levels = (levels - levels.min()) / np.ptp(levels)
    frame = (levels * 250).astype(dtype) if dtype is np.uint8 else (levels * 60000).astype(dtype)
    look = Template(scene()).look(frame, (0.0, 0.0))
    np.testing.assert_allclose((look.dx, look.dy), (0.25, 0.5), atol=5e-3)


def test_a_frame_that_is_not_finite_is_not_looked_at():
    frame = scene()
    frame[60, 60] = np.nan
    assert Template(scene()).look(frame, (0.0, 0.0)) is None
    assert Template(scene()).look(np.zeros(SHAPE), (0.0, 0.0)) is None


def test_too_little_overlap_is_no_look():
    assert Template(scene()).look(scene(), (110.0, 0.0)) is None


@pytest.mark.parametrize("k", [-60, -31, -13, -7, 0, 5, 8, 9, 14, 40, 55])
def test_windows_read_inside_both_frames(k):
    template = Template(scene())
    top, bottom, left, right = template.window(k, -k)
    for low, high, shift, size in ((top, bottom, -k, SHAPE[0]), (left, right, k, SHAPE[1])):
        if high - low < 12:
            continue
        assert low - 4 >= 0
        assert high + 4 <= size
        assert low + shift - 4 >= 0
        assert high + shift + 4 <= size


def test_masked_pixels_of_the_template_do_not_matter():
    mask = np.ones(SHAPE, np.uint8)
    mask[40:60, 50:70] = 0
    spoilt = np.where(mask != 0, scene(), np.float32(50))
    frame = scene(0.3, -0.2)
    found = Template(spoilt, mask).look(frame, (0.0, 0.0))
    np.testing.assert_allclose((found.dx, found.dy), (0.3, -0.2), atol=3e-3)
    unmasked = Template(spoilt).look(frame, (0.0, 0.0))
    assert unmasked is None or unmasked.ncc < found.ncc - 0.1


def test_the_blur_of_a_frame_is_told():
    from scipy.ndimage import gaussian_filter

    sharp = scene()
    looks = [Template(sharp).look(gaussian_filter(sharp, s) if s else sharp, (0.0, 0.0)) for s in (0.0, 0.5, 1.0)]
    blur = describe(looks).blur
    np.testing.assert_allclose(blur, [0.0, 0.25, 1.0], atol=0.12)


def test_error_bars_of_strips_hold_the_scatter():
    rng = np.random.default_rng(1)
    template = Template(scene())
    looks = [template.look(scene(0.2, 0.3) + rng.normal(0, 0.3, SHAPE), (0.0, 0.0), strips=True) for _ in range(150)]
    quality = describe(looks)
    inverse = np.linalg.inv(quality.curvature)
    stated = np.mean(inverse @ (quality.scatter * quality.noise[:, None, None]) @ inverse, axis=0)
    seen = np.cov(np.array([(look.dx, look.dy) for look in looks]).T)
    np.testing.assert_allclose(np.sqrt(np.diag(stated)), np.sqrt(np.diag(seen)), rtol=0.25)


def test_it_agrees_with_register():
    rng = np.random.default_rng(2)
    B, A = scene() + rng.normal(0, 0.1, SHAPE), scene(1.3, -0.6) + rng.normal(0, 0.1, SHAPE)
    found, look = register(B, A), Template(B.astype(np.float32)).look(A, (1.0, -1.0))
    np.testing.assert_allclose((look.dx, look.dy), (found.dx, found.dy), atol=4 * max(found.stderr))


def test_the_sums_of_a_pass():
    rng = np.random.default_rng(5)
    levels, fields = rng.random((9, 13)).astype(np.float32), rng.random((9, 4, 13)).astype(np.float32)
    got = _kernels.project(levels, np.float32(0.25), fields, 2)
    about = levels.astype(np.float64) - 0.25
    want = [*np.einsum("yx,ykx->k", about, fields), np.square(about[2:-2, 2:-2]).sum()]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_hill_is_climbed_to_its_top():
    """Newton's steps on products and variance given as polynomials, against a fine grid of their values."""
    from numpy.polynomial.polynomial import polyval2d

    rng = np.random.default_rng(6)
    products, variance = np.zeros((4, 4)), np.zeros((7, 7))
    products[0, 0], products[0, 1], products[1, 0], products[0, 2], products[2, 0] = 9, 1.1, -0.7, -3, -2.5
    products[1, 1], products[1, 2], products[3, 0] = 0.4, 0.2, -0.3
    variance[0, 0], variance[0, 2], variance[2, 0], variance[1, 1] = 100, 3, 2, -1
    variance[2, 3] = rng.normal()
    x, y, height = _kernels.climb(products, variance, 0.6, 1e-4, 20)
    side = np.linspace(-0.6, 0.6, 1201)
    gx, gy = np.meshgrid(side, side)
    grid = polyval2d(gy, gx, products) / np.sqrt(polyval2d(gy, gx, variance))
    j, i = np.unravel_index(np.argmax(grid), grid.shape)
    np.testing.assert_allclose((x, y, height), (side[i], side[j], grid[j, i]), atol=1e-3)
    products[0, 1] = 6.0  # the top lies to the right of where the polynomials hold
    x, y, height = _kernels.climb(products, variance, 0.6, 1e-4, 20)
    assert x > 0.6
    assert height == 0
    assert np.isnan(_kernels.climb(np.zeros((4, 4)), variance, 0.6, 1e-4, 20)[0])


def test_frames_of_wide_numbers_on_a_pedestal_are_found():
    frame = scene(0.3, -0.2).astype(np.float64)
    for high in (frame + 1e9, (1e6 * frame).astype(np.int64) + 10**13):
        template = Template(scene())
        looks = [template.look(high, (0.0, 0.0)) for _ in range(2)]
        np.testing.assert_allclose([(look.dx, look.dy) for look in looks], [(0.3, -0.2)] * 2, atol=2e-3)


def test_a_template_to_be_sent_is_light_and_the_same():
    import pickle

    template = Template(scene())
    first = template.look(scene(0.25, 0.5), (0.0, 0.0))
    sent = pickle.dumps(template.fresh())
    assert len(sent) < 2.5 * scene().nbytes
    again = pickle.loads(sent).look(scene(0.25, 0.5), (0.0, 0.0))
    assert (first.dx, first.dy, first.ncc) == (again.dx, again.dy, again.ncc)
