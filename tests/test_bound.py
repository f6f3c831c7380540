"""The Cramer-Rao bound against closed forms, the whole Fisher information, and an estimator that reaches it."""

from __future__ import annotations

import numpy as np
import pytest

import alignment as al
from alignment import InputError


def blobs(height, width, dx=0.0, dy=0.0, seed=3):
    """Return round blobs of 2.5 px that stay clear of the borders, the content moved by (dx, dy)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    scene = np.zeros((height, width))
    for _ in range(10):
        cx, cy = rng.uniform(14, width - 14), rng.uniform(14, height - 14)
        scene += rng.uniform(-1, 1) * np.exp(-((x - cx - dx) ** 2 + (y - cy - dy) ** 2) / (2 * 2.5**2))
    return scene


def series(height, width, seed=0):
    """Return a scene of random cosines, its slope along x and its slope along y, each from the formula."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(n) + 0.5 for n in (height, width))
    scene, across, down = (np.zeros((height, width)) for _ in range(3))
    for p in range(height - 3):
        for q in range(width - 3):
            a = rng.normal()
            u, v = np.pi * q / width, np.pi * p / height
            scene += a * np.outer(np.cos(v * y), np.cos(u * x))
            across -= a * u * np.outer(np.cos(v * y), np.sin(u * x))
            down -= a * v * np.outer(np.sin(v * y), np.cos(u * x))
    return scene, across, down


def through_everything(across, down, variance_b, variance_a, seen_b, seen_a):
    """Return the covariance of d from the inverse of the whole information on (scene, d), at the displacement 0."""
    n = across.size
    slopes = np.stack([across.ravel(), down.ravel()], axis=1)
    weight_b, weight_a = seen_b.ravel() / variance_b, seen_a.ravel() / variance_a
    jacobian_b = np.hstack([np.eye(n), np.zeros((n, 2))])
    jacobian_a = np.hstack([np.eye(n), -slopes])
    information = jacobian_b.T * weight_b @ jacobian_b + jacobian_a.T * weight_a @ jacobian_a
    known = np.append(seen_b.ravel() | seen_a.ravel(), [True, True])
    return np.linalg.inv(information[np.ix_(known, known)])[-2:, -2:]


# closed forms


@pytest.mark.parametrize("width", [3.0, 6.0])
def test_a_blob_is_worth_the_same_however_wide(width):
    y, x = np.mgrid[0:90, 0:100]
    blob = 0.7 * np.exp(-((x - 51.3) ** 2 + (y - 44.8) ** 2) / (2 * width**2))
    wanted = (0.03**2 + 0.05**2) / (np.pi * 0.7**2 / 2) * np.eye(2)
    assert al.cramer_rao(blob, (0.03, 0.05)) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_an_ellipse_is_known_better_across_than_along():
    y, x = np.mgrid[0:120, 0:120]
    s, t = 3.0, 8.0
    blob = np.exp(-((x - 60) ** 2) / (2 * s**2) - (y - 60) ** 2 / (2 * t**2))
    wanted = 2 * 0.05**2 * np.diag([2 * s / t, 2 * t / s]) / np.pi
    assert al.cramer_rao(blob, 0.05) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_fine_waves_up_to_the_nyquist_frequency_count_in_full():
    n, q = 64, 61
    x = np.arange(n) + 0.5
    wave = np.cos(np.pi * q / n * x)
    scene = wave[None, :] + wave[:, None]
    # the squares of n sines sum to n / 2, in each of n lines
    wanted = 2 * 0.1**2 / (n * n / 2 * (np.pi * q / n) ** 2)
    assert np.diag(al.cramer_rao(scene, 0.1)) == pytest.approx([wanted, wanted], rel=1e-9)


def test_stripes_leave_the_direction_along_them_open():
    x = np.arange(80)
    covariance = al.cramer_rao(np.tile(np.sin(x / 4), (60, 1)), 0.05)
    assert np.isfinite(covariance[0, 0])
    assert covariance[0, 0] > 0
    assert np.isinf(covariance[1, 1])
    assert np.isinf(np.diag(al.cramer_rao(np.full((20, 20), 0.4), 0.05))).all()


# the whole information, the scene as nuisance, by brute force


@pytest.mark.parametrize("noise", [(0.1, 0.1), (0.02, 0.3)])
def test_it_is_the_corner_of_the_inverse_of_the_whole_information(noise):
    scene, across, down = series(11, 13)
    every = np.ones(scene.shape, bool)
    wanted = through_everything(across, down, noise[0] ** 2, noise[1] ** 2, every, every)
    assert al.cramer_rao(scene, noise) == pytest.approx(wanted, rel=1e-9)


def test_pixels_that_one_image_hides_tell_nothing():
    scene, across, down = series(11, 13)
    seen_b, seen_a = (np.random.default_rng(n).random(scene.shape) < 0.7 for n in (1, 2))
    wanted = through_everything(across, down, 0.1**2, 0.2**2, seen_b, seen_a)
    # through the masks of the moving image alone: then the scene is known, and with it the slopes
    got = al.cramer_rao(scene, (0.1, 0.2), moving_mask=seen_a & seen_b)
    assert got == pytest.approx(wanted, rel=1e-9)


# an estimator that reaches it


def most_likely(references, moving, start):
    """Return the displacements of periodic pairs by Newton's method on their correlation: scene and d unknown."""
    height, width = references.shape[1:]
    ky = 2 * np.pi * np.fft.fftfreq(height)[:, None]
    kx = 2 * np.pi * np.fft.fftfreq(width)[None, :]
    cross = np.conj(np.fft.fft2(references)) * np.fft.fft2(moving)
    d = np.tile(np.array(start, float), (len(references), 1))
    for _ in range(4):
        turned = cross * np.exp(1j * ky * d[:, 1, None, None]) * np.exp(1j * kx * d[:, 0, None, None])
        c, s = turned.real, turned.imag
        gradient = -np.stack([(s * kx).sum((1, 2)), (s * ky).sum((1, 2))], axis=1)
        xx, xy, yy = ((c * k).sum((1, 2)) for k in (kx * kx, kx * ky, ky * ky))
        hessian = -np.stack([np.stack([xx, xy], 1), np.stack([xy, yy], 1)], axis=1)
        d -= np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return d


@pytest.mark.parametrize("noise", [(0.004, 0.004), (0.001, 0.008)])
def test_the_most_likely_displacement_scatters_as_the_bound_says(noise):
    dx, dy = 1.37, -0.82
    rng = np.random.default_rng(11)
    reference, moving = blobs(48, 54), blobs(48, 54, dx, dy)
    count = 500
    found = most_likely(
        reference + rng.normal(0, noise[0], (count, *reference.shape)),
        moving + rng.normal(0, noise[1], (count, *moving.shape)),
        (dx, dy),
    )
    errors = found - (dx, dy)
    bound = al.cramer_rao(reference, noise)
    whitened = errors @ np.linalg.inv(np.linalg.cholesky(bound)).T
    scatter = whitened.T @ whitened / count
    # a variance from n draws scatters by sqrt(2 / n) of itself, a covariance by sqrt(1 / n): four of these
    assert np.diag(scatter) == pytest.approx([1, 1], abs=4 * np.sqrt(2 / count))
    assert abs(scatter[0, 1]) < 4 / np.sqrt(count)


# what counts


def test_what_the_moving_frame_does_not_show_does_not_count():
    scene = series(24, 30)[0]
    moved = al.cramer_rao(scene, 0.1, displacement=(5.5, -1.5))
    assert moved == pytest.approx(al.cramer_rao(scene, 0.1, window=(2, 24, 0, 24)), rel=1e-12)
    visible = np.ones(scene.shape, bool)
    visible[7:12, 9:16] = False
    hidden = np.ones(scene.shape, bool)
    hidden[8:14, 3:11] = False  # read from (x + 5.5, y - 1.5): whatever touches the rows 7 to 11, the columns 9 to 15
    both = al.cramer_rao(scene, 0.1, displacement=(5.5, -1.5), moving_mask=visible)
    shown = hidden[2:24, 0:24]
    across, down = (series(24, 30)[n][2:24, 0:24][shown] for n in (1, 2))
    wanted = 2 * 0.1**2 * np.linalg.inv([[across @ across, across @ down], [across @ down, down @ down]])
    assert both == pytest.approx(wanted, rel=1e-9)


def test_what_lies_under_a_mask_does_not_leak():
    scene = blobs(60, 70)
    mask = np.ones(scene.shape, bool)
    mask[20:30, 25:40] = False
    spoiled = np.where(mask, scene, 1e7)
    lost = np.where(mask, scene, np.nan)
    wanted = al.cramer_rao(scene, 0.05, mask=mask)
    assert al.cramer_rao(spoiled, 0.05, mask=mask) == pytest.approx(wanted, rel=1e-12)
    assert al.cramer_rao(lost, 0.05) == pytest.approx(wanted, rel=1e-12)
    # and the slopes beside it are about what they are without
    across, down = np.gradient(scene, axis=1)[mask], np.gradient(scene, axis=0)[mask]
    roughly = 2 * 0.05**2 * np.linalg.inv([[across @ across, across @ down], [across @ down, down @ down]])
    assert np.diag(wanted) == pytest.approx(np.diag(roughly), rel=0.15)


def test_units():
    scene = blobs(60, 70)
    covariance = al.cramer_rao(scene, 0.05)
    assert al.cramer_rao(1e3 * scene + 7, 50.0) == pytest.approx(covariance, rel=1e-9)
    assert al.cramer_rao(scene, 0.1) == pytest.approx(4 * covariance, rel=1e-12)
    assert al.cramer_rao(scene, (0.0, 0.05)) == pytest.approx(covariance / 2, rel=1e-12)
    assert al.cramer_rao(scene.T, 0.05) == pytest.approx(covariance[::-1, ::-1], rel=1e-9)
    eight_bits = np.round(255 * (scene - scene.min()) / np.ptp(scene)).astype(np.uint8)
    assert al.cramer_rao(eight_bits, 0.05) == pytest.approx(covariance * np.ptp(scene) ** 2, rel=0.02)
    assert np.isfinite(al.cramer_rao(1e300 * scene, 1e299)).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"noise": 0}, "noise is 0; give a number above 0"),
        ({"noise": (0, 0)}, "noise is 0 in both images"),
        ({"noise": (0.1, -1)}, r"noise\[1\] is -1"),
        ({"noise": "loud"}, "noise is 'loud'"),
        ({"noise": np.nan}, "noise is nan"),
        ({"image": np.zeros(5)}, r"image has shape \(5,\)"),
        ({"displacement": (99, 0)}, "no pixel of the reference is shown by both images"),
        ({"displacement": 3}, "displacement is 3; give two numbers"),
        ({"window": (0, 99, 0, 5)}, "window is"),
        ({"mask": np.zeros((30, 30), bool)}, "mask leaves no pixel"),
        ({"moving_mask": np.ones((3, 3), bool)}, r"moving_mask has shape \(3, 3\)"),
    ],
)
def test_what_makes_no_sense_is_refused(change, sentence):
    arguments = {"image": blobs(30, 30), "noise": 0.1, **change}
    with pytest.raises(InputError, match=sentence):
        al.cramer_rao(arguments.pop("image"), arguments.pop("noise"), **arguments)


def test_a_kernel_damps_the_slopes_as_its_spectrum_says():
    """Of waves the Gaussian leaves exp(-sigma^2 k^2 / 2), and the variance grows by the square of its inverse."""
    k, sigma = 2 * np.pi * 12 / 96, 0.8
    y, x = np.mgrid[0:96, 0:96]
    waves = np.cos(k * x) + np.cos(k * y)
    window = (8, 88, 8, 88)
    own, seen = (al.cramer_rao(waves, 0.1, window=window, kernel=kernel) for kernel in (None, al.Gaussian(sigma)))
    np.testing.assert_allclose(np.diag(seen / own), np.exp(sigma**2 * k**2), rtol=2e-3)


def test_a_kernel_is_a_gaussian():
    with pytest.raises(InputError, match="give a Gaussian"):
        al.cramer_rao(np.eye(20), 0.1, kernel="hat")
