"""The last steps: on which level they end, and what they make of it."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import Gaussian, register
from alignment.arrival import finish
from alignment.journey import Journey
from alignment.options import Options
from alignment.views import Both, Pair, usable

from .scenes import scene


def hills(dx=0.0, dy=0.0, noise=0.01, seed=0):
    """Return two soft hills under noise, of which a coarser level shows all there is."""
    y, x = np.mgrid[:160, :160].astype(float)
    broad = 0.3 * np.exp(-((x - 85 - dx) ** 2 + (y - 94 - dy) ** 2) / (2 * 18**2))
    narrow = 0.2 * np.exp(-((x - 50 - dx) ** 2 + (y - 54 - dy) ** 2) / (2 * 9**2))
    return broad + narrow + np.random.default_rng(seed).normal(0, noise, x.shape)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_the_level_of_edges_is_not_chosen_by_its_own_error_bar(loss, seed):
    """The smallest of several estimated errors is too small: the first level that shares enough is taken."""
    pair = hills(seed=seed), hills(3, -2, seed=seed + 100)
    found = register(*pair, features="edges", loss=loss)
    assert found.trace["level"][-1] == 0
    assert found.ncc >= 0.55


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_edges_that_noise_has_eaten_are_sought_on_a_coarser_level(loss):
    pair = hills(noise=0.03), hills(3, -2, noise=0.03, seed=100)
    assert register(*pair, features="edges", loss=loss).trace["level"][-1] >= 1


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_where_the_answer_is_not_precise_the_widest_kernel_is_taken(loss):
    """The spectra are too noisy to tell a width there, and whichever they named, the error was larger."""
    for noise, wide in ((0.2, False), (1.5, True)):
        rng = np.random.default_rng(0)
        pair = [scene((90, 100), *at, blur=2.0) + rng.normal(0, noise, (90, 100)) for at in ((0, 0), (1.3, -0.4))]
        options = {"features": "intensity", "loss": loss, "max_shift": 5}
        chosen, widest = register(*pair, **options), register(*pair, kernel=Gaussian(1.2), **options)
        assert chosen.trace["level"][-1] == 0
        assert (np.hypot(*chosen.stderr) > 0.05) == wide
        assert ((chosen.dx, chosen.dy) == (widest.dx, widest.dy)) == wide


@pytest.mark.parametrize("loss", ["mse", "ncc"])
def test_what_is_unlike_noise_is_not_smoothed_away(loss):
    """Where a part of the scene moved by itself, the widest kernel shows less of that and calls its answer precise."""
    first, moved, elsewhere = (scene((90, 100), *at, blur=2.0) for at in ((0, 0), (1.3, -0.4), (7.0, 5.0)))
    moved[:, 60:] = elsewhere[:, 60:]
    rng = np.random.default_rng(0)
    pair = [image + rng.normal(0, 0.05, image.shape) for image in (first, moved)]
    options = {"features": "intensity", "loss": loss, "max_shift": 5}
    chosen, widest = register(*pair, **options), register(*pair, kernel=Gaussian(1.2), **options)
    assert chosen.goodness_of_fit > 10
    assert max(chosen.stderr) > 1.5 * max(widest.stderr)
    assert not chosen.success


def last_steps(images, start):
    """Take the last steps on two levels, from a start in pixels of the finer one."""
    options = Options.checked(
        images[0].shape, loss="ncc", method="auto", features="intensity", max_shift=8, init=(0, 0), smooth=1.0,
        kernel=None, noise=None, border=None, min_overlap=0.25, threads=1, callback=None,
    )  # fmt: skip
    both = Both.of(Pair(*(usable(image, None) for image in images)), options.smooth, options.threads)
    return finish([both.featured(level, "intensity") for level in (1, 0)], Journey(*start), options)


@pytest.mark.parametrize("seed", [0, 1])
def test_what_a_wide_kernel_hides_is_told(seed):
    """A part of one image has fine structure that the other lacks: smoothed by 1.2 px it would look like noise."""
    rng, shape, at = np.random.default_rng(seed), (140, 150), ((0, 0), (1.3, -0.4))
    images = [scene(shape, *shift, blur=3.0, seed=3) + rng.normal(0, 0.1, shape) for shift in at]
    images[1][:, 90:] += 0.5 * scene(shape, blur=1.0, seed=77 + seed)[:, 90:]
    end = last_steps(images, (1.0, 0.0))
    assert not end.found.spread.like_noise
    assert np.sqrt(np.trace(end.found.spread.covariance)) > 0.07


def test_what_a_coarse_level_finds_leads_back_to_the_fine_one():
    """A pixel and more from its minimum the finest level is lost; half as many pixels away the next one is not."""
    images = [scene((160, 180), *at) for at in ((0, 0), (3.3, -7.4))]
    end = last_steps(images, (4.6, -7.4))
    assert (end.level, end.arrived) == (0, True)
    np.testing.assert_allclose((end.found.dx, end.found.dy), (3.3, -7.4), atol=2e-4)  # 1.4e-3 on the coarse level


def test_a_kernel_that_is_lost_from_a_start_that_is_known_is_too_narrow():
    """Fine structure that is in one image only hides what a wide kernel shows of the two."""
    shape, at = (160, 180), ((0, 0), (3.3, -1.4))
    common = [scene(shape, *shift, blur=6.0, seed=8) for shift in at]
    images = [soft + 1.2 * scene(shape, blur=1.0, seed=850 + i) for i, soft in enumerate(common)]
    end = last_steps(images, (4.2, -1.4))
    assert (end.level, end.arrived) == (0, True)
    error = np.hypot(end.found.dx - at[1][0], end.found.dy - at[1][1])
    assert error < 2 * np.sqrt(np.trace(end.found.spread.covariance))
