"""How noise propagates: what it adds to moments, sums and gradients, against the mean over many draws of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment._checks import InputError
from alignment.bilinear import Cell
from alignment.gaussian import Gaussian
from alignment.losses import MSE, NCC
from alignment.propagation import Noise, noise_fitted, noise_of, without_noise
from alignment.pyramid import Masked, smooth
from alignment.uncertainty import blocks_of

from .scenes import scene


@pytest.mark.parametrize("width", [0.0, 0.8])
def test_the_covariance_of_the_corners_is_that_of_smoothed_noise(width):
    draws = [np.random.default_rng(seed).normal(0, 0.3, (200, 210)) for seed in range(8)]
    seen = [smooth(Masked(draw), width).image[9:-9, 9:-9] for draw in draws]
    corners = np.stack([[s[:-1, :-1], s[:-1, 1:], s[1:, :-1], s[1:, 1:]] for s in seen], axis=1).reshape(4, -1)
    noise = noise_of(Masked(draws[0]), Masked(draws[1]), (0.2, 0.3), smooth=width)
    np.testing.assert_allclose(noise.corners, np.cov(corners), atol=0.02 * noise.corners[0, 0])
    assert noise.reference / noise.corners[0, 0] == pytest.approx((0.2 / 0.3) ** 2)


def test_one_deviation_is_that_of_both_images_and_an_estimate_is_near_the_truth():
    images = [
        Masked(scene((90, 100), blur=3.0, seed=k) + np.random.default_rng(k).normal(0, 0.2, (90, 100))) for k in (1, 2)
    ]
    both = noise_of(*images, 0.2)
    assert both.reference == pytest.approx(0.04)
    np.testing.assert_allclose(both.corners, 0.04 * np.eye(4))
    np.testing.assert_allclose(noise_of(*images, "estimate").corners, both.corners, atol=0.004)
    for wrong in ("guess", -0.1, (0.1, -0.1), (0.1,), np.nan):
        with pytest.raises(InputError, match="noise"):
            noise_of(*images, wrong)


@pytest.mark.parametrize("kind", [MSE, NCC])
def test_moments_without_noise_are_those_of_the_scene_on_the_average(kind):
    """Noise alone has its least squared error half way between two pixels; taken off, it pulls no more."""
    clean, window = scene((120, 130), blur=1.0), (4, 116, 4, 126)
    reference = clean + 0.3 * scene(clean.shape, blur=1.0, seed=1)  # a difference that no displacement takes away

    def dip(moving, noise):
        cell = kind(reference, moving, domain=window, noise=noise).cell(0, 0)
        return cell.at(0.0, 0.0).value - cell.at(0.5, 0.0).value

    draws = [clean + np.random.default_rng(1000 + seed).normal(0, 0.3, clean.shape) for seed in range(20)]
    off = [np.array([dip(noisy, noise) for noisy in draws]) - dip(clean, None) for noise in (None, (0.0, 0.3))]
    left, taken = (errors.mean() / (errors.std() / math.sqrt(len(errors))) for errors in off)
    assert left > 20
    assert abs(taken) < 4


def test_more_noise_than_there_is_difference_is_refused():
    noise = Noise(0.0, np.eye(4))
    np.testing.assert_array_equal(noise.taken_off(np.eye(4), 0.25, Cell(1, 0.0), Cell(2, 0.5)), 0.75 * np.eye(4))
    with pytest.raises(InputError, match=r"noise is more than .* at displacement \(1, 2.5\) px"):
        noise.taken_off(np.eye(4), 1.5, Cell(1, 0.0), Cell(2, 0.5))
    image = scene((40, 50))
    for kind in (MSE, NCC):
        with pytest.raises(InputError, match="give less noise"):
            kind(image, image, noise=2.0).value(0.5, 0.5)


def test_from_a_constant_image_nothing_is_taken():
    sums = np.zeros((2, 16))
    sums[:, 11] = 9
    cleaned = without_noise(sums, Gaussian(0.8), (0.3, 0.1), lambda c: 1.0)
    assert cleaned.sums is sums
    assert cleaned[1:] == (0.0, 0.0, 1.0)
    assert not noise_fitted(sums, cleaned, 1.0).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MSE, NCC])
@pytest.mark.parametrize("noises", [(0.3, 0.3), (0.1, 0.5)])
@pytest.mark.parametrize("shape", [(90, 100), (300, 60)])
def test_the_modelled_noise_of_the_gradient_is_that_of_many_draws(kind, noises, shape):
    """The gradient at the true displacement, over 300 draws of noise, against the covariance from one draw."""
    at, kernel = (0.3, -0.2), Gaussian(0.8)
    clean = scene(shape), scene(shape, *at)
    window = (8, shape[0] - 8, 8, shape[1] - 8)
    rectangles = blocks_of(window)
    gradients, modelled = [], []
    for draw in range(300):
        rng = np.random.default_rng(1000 + draw)
        pair = [Masked(image + rng.normal(0, noise, shape)) for image, noise in zip(clean, noises, strict=True)]
        objective = kind.of(*pair, domain=window, kernel=kernel)
        noisier = noises[1] ** 2 / (noises[0] ** 2 + noises[1] ** 2)
        cleaned = objective.without_noise(objective.survey(*at, rectangles), *at, noisier=noisier)
        gradients.append(objective.describe(cleaned.sums).gradient)
        if draw < 10:
            twice = kind.of(*pair, domain=window, kernel=kernel.twice()).survey(*at, rectangles)
            modelled.append(objective.gradient_noise(twice, cleaned, *at).sum(axis=0))
    expected, found = np.mean(modelled, axis=0), np.cov(np.array(gradients).T)
    ratio = np.diag(found) / np.diag(expected)
    assert (np.abs(ratio - 1) < 0.25).all(), ratio  # 300 draws tell a variance to 8 %, three times over
    # and without the noise's own share the gradient is centred on nothing
    mean = np.mean(gradients, axis=0) / np.sqrt(np.diag(found) / len(gradients))
    assert np.abs(mean).max() < 3.5, mean


@pytest.mark.slow
def test_noise_left_in_pulls_a_narrow_kernel():
    """The surprise that `without_noise` is for: the noise's share depends on the fraction, and biases the gradient.

    What is left after it is the scene's own pull under so narrow a kernel, known without noise.
    """
    shape, at = (100, 110), (0.25, 0.0)
    clean = scene(shape, blur=2.5), scene(shape, *at, blur=2.5)
    window, left, taken = (8, 92, 8, 102), [], []
    for draw in range(60):
        rng = np.random.default_rng(1000 + draw)
        pair = [Masked(image + rng.normal(0, 0.5, shape)) for image in clean]
        objective = MSE.of(*pair, domain=window, kernel=Gaussian(0.5))
        sums = objective.survey(*at, [window])
        left.append(objective.describe(sums).gradient[0])
        taken.append(objective.describe(objective.without_noise(sums, *at).sums).gradient[0])
    still = MSE.of(*(Masked(image) for image in clean), domain=window, kernel=Gaussian(0.5))
    pull = still.value_and_gradient(*at)[1][0]
    off = [abs(np.mean(g) - pull) / (np.std(g) / math.sqrt(len(g))) for g in (left, taken)]
    assert off[0] > 10
    assert off[1] < 4
