"""The last steps, and what they say of their own precision."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import datasets
from alignment.gaussian import Gaussian
from alignment.losses import MSE, NCC
from alignment.pyramid import Masked
from alignment.refinement import refine
from alignment.uncertainty import blocks_of, sandwich

INNER, OUTER = (14, 106, 14, 116), (0, 120, 0, 130)


def pair(dx=1.3, dy=-0.7, *, noise=0.0, seed=0):
    made = datasets.shifted_pair(dx=dx, dy=dy, shape=(120, 130), noise=noise, seed=seed)
    return Masked(made.reference), Masked(made.moving)


def run(images, start, kind=NCC, outer=OUTER):
    return refine(kind, *images, start, inner=INNER, outer=outer, kernel=Gaussian(0.8))


@pytest.mark.parametrize("kind", [MSE, NCC])
@pytest.mark.parametrize("off", [(0.0, 0.0), (0.4, -0.3), (-0.5, 0.5)])
def test_it_finds_the_minimum_from_near(kind, off):
    end = run(pair(), (1.3 + off[0], -0.7 + off[1]), kind)
    assert end is not None
    assert end.arrived
    assert np.hypot(end.dx - 1.3, end.dy + 0.7) < 0.005
    assert end.ncc > 0.999
    assert len(end.visits) == end.passes


def test_far_from_any_minimum_it_stays_and_says_so():
    end = run(pair(), (4.8, -0.7))
    assert end is not None
    assert not end.arrived
    assert (end.dx, end.dy) == (4.8, -0.7)


def test_no_room_for_the_taps_is_no_refinement():
    small = Masked(np.eye(14)), Masked(np.eye(14))
    assert refine(NCC, *small, (0, 0), inner=(2, 12, 2, 12), outer=(0, 14, 0, 14), kernel=Gaussian(0.8)) is None


def test_the_outer_pixels_count_if_they_agree():
    images = pair(noise=0.02)
    whole = run(images, (1.3, -0.7))
    assert whole.window[0] < INNER[0]
    for image in images:
        image.image[:8] = 0  # a frame that does not move
    framed = run(images, (1.3, -0.7))
    assert framed.window == INNER
    assert np.hypot(framed.dx - 1.3, framed.dy + 0.7) < 0.03


def test_blocks_tile_the_window():
    window = (3, 155, 7, 94)
    blocks = blocks_of(window)
    seen = np.zeros((160, 100), int)
    for top, bottom, left, right in blocks:
        seen[top:bottom, left:right] += 1
    assert (seen[3:155, 7:94] == 1).all()
    assert seen.sum() == 152 * 87
    assert len(blocks) >= 4


def test_the_sandwich_of_known_shares():
    rng = np.random.default_rng(0)
    hessian = np.array([[3.0, 1.0], [1.0, 2.0]])
    scatter = np.array([[0.04, 0.01], [0.01, 0.02]])
    found = np.mean([sandwich(rng.multivariate_normal([0, 0], scatter / 24, 24), hessian) for _ in range(400)], axis=0)
    inverse = np.linalg.inv(hessian)
    np.testing.assert_allclose(found, inverse @ scatter @ inverse, rtol=0.15)


def test_without_curvature_there_is_no_bound():
    shares = np.random.default_rng(0).normal(size=(12, 2))
    assert np.isinf(sandwich(shares, np.diag([0.0, 1.0]))[0, 0])
    assert np.isinf(sandwich(shares, np.diag([-1.0, -1.0]))).all()
    assert np.isinf(sandwich(shares, np.full((2, 2), np.nan))).all()


@pytest.mark.slow
def test_errors_are_as_large_as_stated():
    """Of 120 noisy pairs: the mean square of error over standard error is 1, within what 240 of them can show."""
    ratios = []
    for seed in range(120):
        end = run(pair(noise=0.06, seed=seed), (1.3, -0.7))
        ratios += [(end.dx - 1.3) ** 2 / end.spread.covariance[0, 0], (end.dy + 0.7) ** 2 / end.spread.covariance[1, 1]]
    assert 0.65 < np.mean(ratios) < 1.6
