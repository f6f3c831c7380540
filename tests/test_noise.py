"""The noise of one image: found where it is, not seen where there is only structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import alignment as al
from alignment import InputError

SHAPE = (220, 240)
Y, X = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]].astype(float)


def photograph():
    """Return the middle of matplotlib's photograph, grey, in [0, 1]."""
    import imageio.v3 as iio
    import matplotlib

    image = iio.imread(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    return image[100:420, 100:420].mean(axis=2) / 255


def texture(width, seed=0):
    """Return an irregular texture without detail finer than `width` pixels, of standard deviation 0.15."""
    rough = np.random.default_rng(seed).normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(rough, width, mode="wrap")
    return 0.5 + 0.15 * smooth / smooth.std()


def tiles():
    """Return a repeating pattern of hard edges."""
    return 0.2 + 0.6 * (((X // 11).astype(int) + (Y // 7).astype(int)) % 2)


SCENES = {
    "grey": np.full(SHAPE, 0.4),
    "ramp": 0.1 + X / 300 + Y / 900,
    "waves": 0.5 + 0.4 * np.sin(X / 5) * np.cos(Y / 7),
    "fine stripes": 0.5 + 0.3 * np.sin(2.1 * X + 0.4 * Y),
    "tiles": tiles(),
    "coarse texture": texture(3.0),
    "fine texture": texture(1.5),
}


def high_pass(image):
    """Estimate the noise the usual way, by the median of the second differences along both axes."""
    rows = np.diff(image, n=2, axis=0)
    return np.median(np.abs(np.diff(rows, n=2, axis=1))) / 0.6745 / 6


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_noise_on_a_known_scene(name, sigma):
    noisy = SCENES[name] + np.random.default_rng(4).normal(0, sigma, SHAPE)
    assert al.estimate_noise(noisy) == pytest.approx(sigma, rel=0.08)


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_alone_has_next_to_no_noise(name):
    assert al.estimate_noise(SCENES[name]) < 0.002


def test_texture_that_passes_a_high_pass_filter_is_not_taken_for_noise():
    scene = SCENES["fine stripes"]
    assert high_pass(scene) > 0.02
    assert al.estimate_noise(scene) < 1e-3


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
def test_noise_on_a_photograph(sigma):
    scene = photograph()
    own = al.estimate_noise(scene)
    assert own < 0.008
    found = [al.estimate_noise(scene + np.random.default_rng(n).normal(0, sigma, scene.shape)) for n in range(3)]
    assert np.mean(found) == pytest.approx(sigma, rel=0.08)


def test_it_does_not_favour_patches_that_happen_to_be_quiet():
    # mean of many estimates on noise alone, where each scatters by half a percent
    found = [al.estimate_noise(np.random.default_rng(n).normal(0, 1, (150, 150))) for n in range(8)]
    assert np.mean(found) == pytest.approx(1, abs=0.01)


def test_rounding_to_grey_levels_is_noise():
    scene = 255 * (0.2 + 0.5 * texture(3.0) + 0.003 * np.random.default_rng(0).normal(size=SHAPE))
    rounded = np.round(scene).astype(np.uint8)
    wanted = np.hypot(0.003, np.sqrt(1 / 12) / 255)
    assert al.estimate_noise(rounded) == pytest.approx(wanted, rel=0.1)


def test_clipped_pixels_are_left_out():
    scene = 0.5 + 0.9 * np.sin(X / 25) * np.cos(Y / 30)
    noisy = np.clip(scene + np.random.default_rng(1).normal(0, 0.03, SHAPE), 0, 1)
    assert np.mean((noisy == 0) | (noisy == 1)) > 0.2
    assert al.estimate_noise(noisy) == pytest.approx(0.03, rel=0.08)
    assert al.estimate_noise(np.round(255 * noisy).astype(np.uint8)) == pytest.approx(0.03, rel=0.08)


def test_only_what_the_mask_allows_counts():
    rng = np.random.default_rng(2)
    noisy = 0.5 + rng.normal(0, np.where(X < 120, 0.02, 0.3))
    mask = X < 120
    assert al.estimate_noise(noisy, mask) == pytest.approx(0.02, rel=0.06)
    assert al.estimate_noise(np.where(mask, noisy, np.nan)) == al.estimate_noise(noisy, mask)
    assert al.estimate_noise(np.where(mask, noisy, 1e9), mask) == al.estimate_noise(noisy, mask)


def test_units_and_orientation():
    noisy = SCENES["coarse texture"] + np.random.default_rng(3).normal(0, 0.04, SHAPE)
    found = al.estimate_noise(noisy)
    assert al.estimate_noise(1e6 * noisy - 3e5) == pytest.approx(1e6 * found, rel=1e-6)
    assert al.estimate_noise(noisy[::-1]) == pytest.approx(found, rel=0.02)
    assert al.estimate_noise(np.ascontiguousarray(noisy.T)) == pytest.approx(found, rel=0.02)
    assert al.estimate_noise(noisy.astype(np.float32)) == pytest.approx(found, rel=1e-4)
    sixteen_bits = np.round(65535 * np.clip(noisy, 0, 1)).astype(np.uint16)
    assert al.estimate_noise(sixteen_bits) == pytest.approx(found, rel=0.02)
    assert np.isfinite(al.estimate_noise(1e200 * noisy))


def test_a_constant_image_has_none():
    assert al.estimate_noise(np.full((60, 60), 0.3)) == 0
    half = np.zeros((80, 80))
    half[:, 40:] = 1
    assert al.estimate_noise(half) < 1e-6


@pytest.mark.parametrize(
    ("image", "mask", "sentence"),
    [
        (np.zeros((5, 300)), None, "0 patches of 7 x 7 usable pixels"),
        (np.zeros((30, 30)), None, "576 patches of 7 x 7 usable pixels"),
        (np.zeros((90, 90)), np.arange(8100).reshape(90, 90) % 5 == 0, "image has 0 patches"),
        (np.zeros((90, 90, 3)), None, r"image has shape \(90, 90, 3\); give a grey image"),
        (np.zeros((90, 90)), np.ones((3, 3)), r"mask has shape \(3, 3\)"),
    ],
)
def test_what_cannot_be_told_is_refused(image, mask, sentence):
    with pytest.raises(InputError, match=sentence):
        al.estimate_noise(image, mask)
