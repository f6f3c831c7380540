"""The rows of sums of a pass, against the pixels that they were summed from."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.sums import Centred, added, centred, correlation, explained, variance


def rows_of(u, v, slopes):
    """Return the twelve sums over each of three stretches of some pixels."""
    x, y = slopes
    terms = np.stack([u, v, u * u, u * v, v * v, x, y, u * x, u * y, v * x, v * y, np.ones_like(u)], axis=1)
    return np.add.reduceat(terms, [0, 40, 90], axis=0)


@pytest.fixture
def pixels(rng):
    u, v = rng.normal(0.3, 1, (2, 150))
    return u, v + 0.6 * u, rng.normal(0.1, 1, (2, 150)) + 0.4 * u


@pytest.mark.parametrize("offset", [0.0, 0.7, -30.0])
def test_centred_moments_are_those_of_the_pixels_whatever_the_offset(pixels, offset):
    u, v, slopes = pixels
    rows = rows_of(u - offset, v + offset, slopes)
    c = centred(rows)
    assert c.n == 150
    want = np.cov(u, v, bias=True) * 150
    np.testing.assert_allclose([c.var_a, c.covariance, c.var_b], want[[0, 0, 1], [0, 1, 1]], rtol=1e-10)
    assert c.rho == pytest.approx(np.corrcoef(u, v)[0, 1], rel=1e-10)
    assert correlation(rows) == c.rho
    assert variance(rows) == pytest.approx(v.var(), rel=1e-10)


def test_any_rows_make_a_sum(pixels):
    u, v, slopes = pixels
    rows = rows_of(*pixels)
    some = np.r_[0:40, 90:150]
    np.testing.assert_allclose(added(rows[[0, 2]]), rows_of(u[some], v[some], slopes[:, some]).sum(axis=0), rtol=1e-12)
    assert correlation(rows[[0, 2]]) == pytest.approx(np.corrcoef(u[some], v[some])[0, 1], rel=1e-12)


def test_what_of_the_slopes_is_explained_is_the_fit_of_a_line(pixels):
    u, _, slopes = pixels
    rows = rows_of(*pixels)
    means, along = explained(rows, centred(rows))
    for slope, mean, factor in zip(slopes, means, along, strict=True):
        np.testing.assert_allclose([factor, mean], [np.polyfit(u, slope, 1)[0], slope.mean()], rtol=1e-10)


def test_of_nothing_there_is_nothing():
    assert centred(np.zeros((3, 16))) == Centred(0, 0, 0, 0, 0, 0, 0, 0)
    assert np.isnan(correlation(np.zeros((3, 16))))
    assert variance(np.zeros((0, 16))) == 0
