"""The samplers: which pixels have a tap inside, what lies outside, and masks as the kernels take them."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import _kernels
from alignment.bilinear import Cell, shift
from alignment.gaussian import Gaussian
from alignment.pyramid import Masked
from alignment.samplers import GaussianSampler, HatSampler

SHAPE = (6, 9)
KERNEL = Gaussian(0.8)


def samplers(B, A, used=None, usable=None):
    images = Masked(B, used), Masked(A, usable)
    return {"hat": HatSampler(*images), "gaussian": GaussianSampler(*images, KERNEL)}


@pytest.mark.parametrize("domain", [(0, 6, 0, 9), (1, 4, 2, 9), (5, 6, 3, 4)])
@pytest.mark.parametrize(("name", "taps"), [("hat", range(2)), ("gaussian", range(-4, 5))])
def test_the_overlap_is_where_a_tap_lies_inside_the_frame(scene, name, taps, domain):
    sampler = samplers(scene(SHAPE, 1), scene(SHAPE, 2))[name]
    top, bottom, left, right = domain
    for kx, ky in [(0, 0), (2, -1), (-8, 5), (9, 0), (-9, 3), (-10, -6), (12, 9), (13, 0), (3, -10), (40, -40)]:
        rows = [y for y in range(top, bottom) if any(0 <= y + ky + tap < SHAPE[0] for tap in taps)]
        columns = [x for x in range(left, right) if any(0 <= x + kx + tap < SHAPE[1] for tap in taps)]
        want = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if rows and columns else None
        assert sampler.overlap(domain, Cell(kx, 0.5), Cell(ky, 0.5)) == want


@pytest.mark.parametrize("at", [(0.25, 0.5), (-3.25, 2.5), (7.75, -0.5)])
def test_a_pass_of_the_hat_reads_the_shifted_image(scene, at):
    B, A = scene(SHAPE, 1), scene(SHAPE, 2)
    hat = samplers(B, A)["hat"]
    x, y = (Cell(int(np.floor(d)), d % 1) for d in at)
    top, bottom, left, right = overlap = hat.overlap((0, 6, 0, 9), x, y)
    sums = hat.sums(_kernels.sums_mse, np.array([overlap]), x, y, threads=1)
    error = (shift(A, *at) - B)[top:bottom, left:right]
    np.testing.assert_allclose(sums[0, [0, 3]], [(error**2).sum(), error.size], rtol=1e-13)
    moments = hat.moments(_kernels.cell_moments_mse, overlap, x, y, threads=1)
    corner = (shift(A, x.whole, y.whole) - B)[top:bottom, left:right]
    np.testing.assert_allclose(moments[[0, 10]], [(corner**2).sum(), corner.size], rtol=1e-13)


@pytest.mark.parametrize("at", [(0.25, 0.4), (-3.25, 2.4), (7.75, -0.4)])
def test_a_pass_of_the_gaussian_reads_both_images_smoothed(scene, at):
    B, A = scene(SHAPE, 1), scene(SHAPE, 2)
    gaussian = samplers(B, A)["gaussian"]
    x, y = (Cell(round(d), d - round(d)) for d in at)
    top, bottom, left, right = overlap = gaussian.overlap((0, 6, 0, 9), x, y)
    sums = gaussian.sums(np.array([overlap]), x, y, (0.0, 0.0), threads=1)
    u, v = (image[top:bottom, left:right] for image in (shift(A, *at, kernel=KERNEL), shift(B, 0, 0, kernel=KERNEL)))
    np.testing.assert_allclose(gaussian.target, shift(B, 0, 0, kernel=KERNEL), rtol=1e-13)
    want = [u.sum(), v.sum(), (u * u).sum(), (u * v).sum(), (v * v).sum(), u.size]
    np.testing.assert_allclose(sums[0, [0, 1, 2, 3, 4, 11]], want, rtol=1e-12)
    field, target = gaussian.seen_at(overlap, *at)
    np.testing.assert_allclose(field.value, u.ravel(), rtol=1e-12)
    np.testing.assert_allclose(target, v.ravel(), rtol=1e-13)


@pytest.mark.parametrize("name", ["hat", "gaussian"])
def test_masks_come_as_both_or_none(scene, name):
    B, A = scene(SHAPE, 1), scene(SHAPE, 2)
    assert (samplers(B, A)[name].used, samplers(B, A)[name].usable) == (None, None)
    mask = np.ones(SHAPE, np.uint8)
    mask[2, 3] = 0
    one, other = samplers(B, A, mask)[name], samplers(B, A, None, mask)[name]
    assert one.used[2, 3] == 0
    assert one.usable.all()
    assert other.used.all()
    assert other.usable.shape == one.usable.shape
    assert not other.usable.all()


def test_a_cell_of_the_hat_is_usable_if_all_its_corners_are(scene):
    mask = np.ones(SHAPE, np.uint8)
    mask[2, 3] = mask[0, 0] = 0
    usable = samplers(scene(SHAPE), scene(SHAPE), None, mask)["hat"].usable
    # cell [n, m] has its upper left corner at pixel (n - 1, m - 1): the zeros outside the frame are part of the setting
    assert usable.shape == (7, 10)
    hidden = {(n, m) for n, m in np.argwhere(usable == 0).tolist()}
    assert hidden == {(2, 3), (2, 4), (3, 3), (3, 4), (0, 0), (0, 1), (1, 0), (1, 1)}


def test_beside_hidden_pixels_the_gaussian_compares_nothing_unless_few_would_be_left(scene):
    image = scene((40, 50))
    mask = np.ones(image.shape, np.uint8)
    mask[:, 20:25] = 0
    used = samplers(image, image, mask)["gaussian"].used
    assert not used[:, 19:26].any()
    assert used[:, :18].all()
    mask[::3, ::3] = 0
    np.testing.assert_array_equal(samplers(image, image, mask)["gaussian"].used, mask)
