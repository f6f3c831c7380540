"""How wide a kernel a pair wants, held against scenes whose spectrum and noise are known."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import NCC, Gaussian, Newton, minimise, register
from alignment.bandwidth import choose
from alignment.pyramid import Masked

WINDOW = (10, 150, 10, 150)


def scene(blur, dx=0.0, dy=0.0, size=160, seed=0):
    """Return a random periodic scene with a Gaussian spectrum, displaced by turning its phases: no interpolation."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((size, size)))
    ky, kx = 2 * np.pi * np.fft.fftfreq(size)[:, None], 2 * np.pi * np.fft.fftfreq(size)[None, :]
    levels = np.fft.ifft2(spectrum * np.exp(-(blur**2) * (kx**2 + ky**2) / 2 - 1j * (kx * dx + ky * dy))).real
    return levels / levels.std()


def noisy(image, noise, seed):
    return Masked(image + np.random.default_rng(1000 + seed).normal(0, noise, image.shape))


def test_the_noisier_the_wider():
    """At whole displacements, where no kernel pulls, noise alone decides."""
    means = []
    for noise in (0.02, 0.4, 1.5):
        chosen = []
        for k in range(4):
            pair = noisy(scene(2.0, seed=k), noise, 2 * k), noisy(scene(2.0, 1, -2, seed=k), noise, 2 * k + 1)
            chosen.append(choose(*pair, (1, -2), WINDOW).kernel.sigma)
        means.append(np.mean(chosen))
    assert means[0] < means[1] < means[2]


def test_between_pixels_a_narrow_kernel_is_not_worth_its_pull():
    at_whole, between = (
        choose(Masked(scene(1.0)), Masked(scene(1.0, dx, 0.0)), (dx, 0.0), WINDOW).kernel.sigma for dx in (1.0, 1.3)
    )
    assert at_whole < between


@pytest.mark.slow
def test_the_width_chosen_is_about_the_best_of_all():
    """Where noise rules, the rms error with the width chosen is within 10 % of the best fixed one."""
    errors = {sigma: [] for sigma in (0.7, 0.8, 1.0, 1.2, None)}
    for k in range(30):
        pair = noisy(scene(1.5, seed=k), 0.5, 2 * k).image, noisy(scene(1.5, 0.3, -0.4, seed=k), 0.5, 2 * k + 1).image
        for sigma, found in errors.items():
            result = register(
                *pair, kernel=None if sigma is None else Gaussian(sigma), features="intensity", max_shift=4
            )
            found += [result.dx - 0.3, result.dy + 0.4]
    rms = {sigma: float(np.sqrt(np.mean(np.square(found)))) for sigma, found in errors.items()}
    best = min(value for sigma, value in rms.items() if sigma is not None)
    assert rms[None] <= 1.1 * best, rms


@pytest.mark.parametrize("fractions", [(0.3, -0.4), (0.5, 0.0), (-0.2, 0.2)])
@pytest.mark.parametrize("sigma", [0.5, 0.6])
def test_the_pull_that_it_foretells_is_the_error_of_a_narrow_kernel(fractions, sigma):
    images = scene(1.2), scene(1.2, *fractions)
    objective = NCC(*images, domain=WINDOW, kernel=Gaussian(sigma))
    found = minimise(objective, Newton(), start=fractions, steps=20, tolerance=1e-9)
    chosen = choose(Masked(images[0]), Masked(images[1]), fractions, WINDOW, widths=(sigma,))
    error = np.array([found.dx - fractions[0], found.dy - fractions[1]])
    np.testing.assert_allclose(chosen.pull, error, rtol=0.15, atol=2e-4)


def test_the_pull_is_taken_off():
    images = scene(1.2), scene(1.2, 0.3, -0.4)
    pull = choose(Masked(images[0]), Masked(images[1]), (0.3, -0.4), WINDOW, widths=(0.5,)).pull
    found = register(*images, kernel=Gaussian(0.5), features="intensity", max_shift=4)
    assert np.hypot(*pull) > 0.01
    assert np.hypot(found.dx - 0.3, found.dy + 0.4) < 0.15 * np.hypot(*pull)


@pytest.mark.parametrize(
    ("reference", "moving", "gain"), [(0.1, 0.1, 1.0), (0.05, 0.2, 1.0), (0.2, 0.0, 1.0), (0.1, 0.1, 0.5)]
)
def test_it_tells_whose_noise_it_is(reference, moving, gain):
    pair = noisy(scene(1.0), reference, 5), noisy(gain * scene(1.0, 0.3, -0.4), moving, 6)
    expected = moving**2 / (reference**2 + moving**2)
    assert choose(*pair, (0.3, -0.4), WINDOW).noisier == pytest.approx(expected, abs=0.08)


def test_hidden_pixels_change_neither_the_width_nor_whose_noise_it_is():
    """Hardly: the rims of what is hidden count as noise of both images."""
    pair = noisy(scene(1.0), 0.05, 5), noisy(scene(1.0, 0.3, -0.4), 0.2, 6)
    y, x = np.indices((160, 160))
    masks = [((y % 40 - cy) ** 2 + (x % 40 - cx) ** 2 > 8**2).astype(np.uint8) for cy, cx in ((12, 9), (25, 30))]
    hidden = [Masked(np.where(mask, image.image, 9.0), mask) for image, mask in zip(pair, masks, strict=True)]
    whole, masked = choose(*pair, (0.3, -0.4), WINDOW), choose(*hidden, (0.3, -0.4), WINDOW)
    assert masked.kernel.sigma == pytest.approx(whole.kernel.sigma, abs=0.11)
    assert masked.noisier == pytest.approx(0.2**2 / (0.05**2 + 0.2**2), abs=0.15)


def test_where_most_is_hidden_or_the_window_is_small_there_is_no_choice():
    B, A = scene(1.0), scene(1.0, 0.3, -0.4)
    mask = np.zeros(B.shape, np.uint8)
    mask[:, ::8] = 1
    assert choose(Masked(B, mask), Masked(A), (0.3, -0.4), WINDOW) is None
    assert choose(Masked(B), Masked(A), (0.3, -0.4), (0, 20, 0, 20)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_image_against_itself_is_pulled_nowhere(dtype):
    image = Masked(scene(1.0).astype(dtype))
    chosen = choose(image, image, (0.0, 0.0), WINDOW)
    assert np.abs(chosen.pull).max() <= 1e-6
