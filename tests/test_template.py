"""The template that many frames are looked for on."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import NCC, Gaussian, register
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
