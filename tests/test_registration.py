"""What `register` promises: where it arrives, how well, what it says when it cannot, and what the result can do.

Pairs come from two makers that share nothing with the shift of this package: a photograph moved by a Fourier series,
and an analytic scene sampled twice. Bounds are in pixels.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from alignment import InputError, Registration, comparison, datasets, refinement, register

LOSSES = ("ncc", "mse")
SEARCHES = ("auto", "exhaustive")
DESCENTS = ("newton", "gradient-descent", "adam")
METHODS = SEARCHES + DESCENTS
STATUSES = {
    "converged", "not converged", "at bound", "ambiguous", "flat", "low overlap", "no correlation", "local minimum",
}  # fmt: skip


def first(*values):
    """Return parameters of which only the first is quick enough to run without compiled kernels too."""
    return [values[0], *(pytest.param(value, marks=pytest.mark.slow) for value in values[1:])]


# noise-free, and at a noise of 0.05 of the full scale on 200 x 200 px
CLEAN, NOISY = 0.01, 0.05


@functools.cache
def waves(seed):
    """Return 60 plane waves of a natural spectrum: frequency (x, y), amplitude, phase; none above 0.3 cycles/px."""
    rng = np.random.default_rng(seed)
    frequency, angle = rng.uniform(0.008, 0.3, 60), rng.uniform(0, np.pi, 60)
    return (
        frequency * np.cos(angle),
        frequency * np.sin(angle),
        0.02 / (0.02 + frequency),
        rng.uniform(0, 2 * np.pi, 60),
    )


def scene(shape, dx=0.0, dy=0.0, *, seed=0):
    """Return an analytic scene about 0.5, its content moved right by dx and down by dy; nothing repeats or wraps."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image = sum(
        a * np.cos(2 * np.pi * (u * (x - dx) + v * (y - dy)) + p) for u, v, a, p in zip(*waves(seed), strict=True)
    )
    return 0.5 + 0.06 * image


def error(result, dx, dy):
    return max(abs(result.dx - dx), abs(result.dy - dy))


def noise(shape, seed):
    return np.random.default_rng([7, seed]).random(shape)


@pytest.fixture(scope="module")
def result():
    """Return one ordinary result, for what can be done with it."""
    return register(scene((80, 96)), scene((80, 96), 2.25, -1.6))


# --- it arrives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", first((3.3, -2.7), (-0.5, 0.5), (7.0, 4.0), (-12.4, 9.21)))
@pytest.mark.parametrize("method", first(*SEARCHES))
@pytest.mark.parametrize("loss", first(*LOSSES))
def test_an_analytic_scene_sampled_twice(loss, method, truth):
    found = register(scene((88, 100)), scene((88, 100), *truth), loss=loss, method=method)
    assert found.success, found.message
    assert error(found, *truth) <= CLEAN


@pytest.mark.parametrize("truth", first((1.3, -0.7), (-0.5, 0.5), (0.02, 2.0)))
@pytest.mark.parametrize("method", first(*DESCENTS))
@pytest.mark.parametrize("loss", first(*LOSSES))
def test_every_step_rule_descends_to_the_truth(loss, method, truth):
    found = register(scene((88, 100)), scene((88, 100), *truth), loss=loss, method=method)
    assert found.success, found.message
    assert error(found, *truth) <= CLEAN


@pytest.mark.parametrize("features", first("intensity", "edges", "auto"))
def test_every_feature_leads_to_the_truth(features):
    found = register(scene((88, 100), seed=1), scene((88, 100), -4.4, 3.1, seed=1), features=features)
    assert found.success, found.message
    assert error(found, -4.4, 3.1) <= CLEAN


@pytest.mark.slow
@pytest.mark.parametrize("truth", first((3.3, -2.7), (0.5, 0.25), (-12.4, 20.6)))
@pytest.mark.parametrize("method", first(*SEARCHES))
@pytest.mark.parametrize("loss", first(*LOSSES))
@pytest.mark.parametrize(("level", "bound"), [(0.0, CLEAN), (0.05, NOISY)])
def test_a_photograph(level, bound, loss, method, truth):
    for seed in range(3 if level else 1):
        pair = datasets.shifted_pair(*truth, shape=(200, 200), noise=level, seed=seed)
        found = register(*pair, loss=loss, method=method)
        assert found.success, found.message
        assert error(found, *truth) <= bound


@pytest.mark.parametrize(
    ("gain", "offset"),
    [(0.5, 0.2), pytest.param(*(3.0, -1.0), marks=pytest.mark.slow), pytest.param(*(1.0, 0.4), marks=pytest.mark.slow)],
)
def test_another_exposure_changes_nothing_for_the_correlation(gain, offset):
    pair = datasets.shifted_pair(4.2, -3.35, shape=(100, 110), gain=gain, offset=offset)
    plain = register(*datasets.shifted_pair(4.2, -3.35, shape=(100, 110)))
    found = register(*pair)
    assert found.success, found.message
    assert error(found, plain.dx, plain.dy) <= 1e-3
    assert error(found, 4.2, -3.35) <= CLEAN


@pytest.mark.slow
def test_contrast_reversed_is_found_by_its_edges():
    found = register(scene((88, 100), seed=2), 1 - scene((88, 100), 3.4, -2.2, seed=2))
    assert found.success, found.message
    assert error(found, 3.4, -2.2) <= CLEAN


@pytest.mark.parametrize("sign", first((1, 1), (1, -1), (-1, 1), (-1, -1)))
@pytest.mark.parametrize("method", first(*SEARCHES))
def test_a_quarter_of_the_frame_away(method, sign):
    truth = 0.25 * 110 * sign[0] - 0.3, 0.25 * 100 * sign[1] + 0.4
    pair = datasets.shifted_pair(*truth, shape=(100, 110))
    found = register(*pair, method=method)
    assert found.success, found.message
    assert error(found, *truth) <= CLEAN
    assert found.overlap == pytest.approx((1 - abs(truth[0]) / 110) * (1 - abs(truth[1]) / 100), abs=1e-3)


@pytest.mark.slow
def test_a_frame_that_does_not_move_is_not_followed():
    """Ten pixels of black around both images, which correlate perfectly at no displacement."""
    B, A = (image.copy() for image in datasets.shifted_pair(5.3, -3.6, shape=(120, 130)))
    for framed in (B, A):
        framed[:10] = framed[-10:] = 0.02
        framed[:, :10] = framed[:, -10:] = 0.02
    for loss in LOSSES:
        found = register(B, A, loss=loss)
        assert found.success, found.message
        assert error(found, 5.3, -3.6) <= CLEAN


# --- masks ------------------------------------------------------------------------------------------------------------


def holed(truth, dirt):
    """Return a pair with a fixed blot on both images and specks on the moving one, and the masks of the rest."""
    B, A = scene((96, 100), seed=3), scene((96, 100), *truth, seed=3)
    used, usable = np.ones((2, 96, 100), bool)
    used[30:50, 40:65] = usable[30:50, 40:65] = False
    usable[np.random.default_rng(1).random(usable.shape) < 0.005] = False
    return np.where(used, B, dirt), np.where(usable, A, dirt), used, usable


@pytest.mark.parametrize("method", first(*METHODS))
def test_masked_pixels_do_not_count_whatever_they_hold(method):
    truth = (1.4, -0.8)
    found = []
    for dirt in (np.nan, np.inf, 0.0, 1e5):
        B, A, used, usable = holed(truth, dirt)
        masks = {"reference_mask": used, "moving_mask": usable}
        found.append(register(B, A, method=method, **masks))
        assert found[-1].success, found[-1].message
        assert error(found[-1], *truth) <= CLEAN
        assert error(found[-1], found[0].dx, found[0].dy) <= 1e-9


@pytest.mark.slow
def test_nan_is_a_mask_of_its_own():
    B, A, used, usable = holed((2.6, 1.9), np.nan)
    found = register(B, A)
    masked = register(B, A, reference_mask=used, moving_mask=usable)
    assert found.success, found.message
    assert (found.dx, found.dy, found.loss) == (masked.dx, masked.dy, masked.loss)


@pytest.mark.slow
def test_without_a_mask_a_fixed_blot_is_followed():
    """What the masks are for: a bright disc that stays where it is while the content moves."""
    B, A, used, usable = holed((1.4, -0.8), 30.0)
    plain = register(B, A, features="intensity")
    assert not plain.success or error(plain, 1.4, -0.8) > 0.3
    masked = register(B, A, features="intensity", reference_mask=used, moving_mask=usable)
    assert masked.success
    assert error(masked, 1.4, -0.8) <= CLEAN


@pytest.mark.parametrize("smoothing", first(0, 1.0))
def test_masks_hold_without_smoothing_too(smoothing):
    B, A, used, usable = holed((1.4, -0.8), 1e5)
    found = register(B, A, reference_mask=used, moving_mask=usable, smooth=smoothing)
    assert found.success, found.message
    assert error(found, 1.4, -0.8) <= 0.05


# --- where it looks ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_init_is_the_centre_of_the_search():
    truth = (27.3, -16.8)
    pair = scene((100, 120)), scene((100, 120), *truth)
    near = register(*pair, init=(26, -18), max_shift=4)
    assert near.success, near.message
    assert error(near, *truth) <= CLEAN
    for method in DESCENTS:
        found = register(*pair, init=(27, -17), method=method)
        assert found.success, found.message
        assert error(found, *truth) <= CLEAN


@pytest.mark.parametrize("method", first(*SEARCHES))
@pytest.mark.parametrize(
    ("truth", "reach"),
    [
        ((12.4, 0.3), 6),
        pytest.param(*((0.3, 12.4), (20, 6)), marks=pytest.mark.slow),
        pytest.param(*((-12.4, 0.3), (6, 20)), marks=pytest.mark.slow),
    ],
)
def test_what_lies_beyond_max_shift_is_not_found(method, truth, reach):
    pair = scene((100, 120), seed=4), scene((100, 120), *truth, seed=4)
    found = register(*pair, max_shift=reach, method=method)
    assert not found.success
    assert found.status in STATUSES - {"converged"}
    assert found.message.endswith(tuple("abcdefghijklmnopqrstuvwxyz'")), "a sentence without advice"


@pytest.mark.parametrize("method", first(*SEARCHES))
@pytest.mark.parametrize("reach", first(14, (14, 4), (14.5, 2.5)))
def test_what_lies_within_max_shift_is_found(method, reach):
    pair = scene((100, 120), seed=4), scene((100, 120), 12.4, -2.3, seed=4)
    found = register(*pair, max_shift=reach, method=method)
    assert found.success, found.message
    assert error(found, 12.4, -2.3) <= CLEAN


@pytest.mark.parametrize("loss", first(*LOSSES))
@pytest.mark.parametrize("reach", first(2, 3, 5, 40))
def test_a_perfect_pair_converges_however_small_the_search(loss, reach):
    found = register(scene((100, 120), seed=5), scene((100, 120), 0.7, -1.2, seed=5), loss=loss, max_shift=reach)
    assert found.success, found.message
    assert error(found, 0.7, -1.2) <= CLEAN


def test_a_descent_says_when_it_ends_beyond_max_shift():
    pair = scene((88, 100)), scene((88, 100), 2.6, 0.4)
    found = register(*pair, method="newton", max_shift=1.5)
    assert (found.success, found.status) == (False, "at bound")
    assert "larger max_shift" in found.message


@pytest.mark.slow
def test_less_overlap_than_asked_for_is_said():
    pair = datasets.shifted_pair(27.2, 24.6, shape=(100, 110))
    found = register(*pair, min_overlap=0.7)
    assert (found.success, found.status) == (False, "low overlap")
    assert "57%" in found.message
    assert error(found, 27.2, 24.6) <= CLEAN


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", first(*METHODS))
@pytest.mark.parametrize("loss", first(*LOSSES))
@pytest.mark.parametrize("dtype", first(np.float64, np.float32, np.uint8, np.uint16))
def test_an_image_lies_exactly_on_itself(loss, method, dtype):
    image = scene((72, 80), seed=6)
    image = (image * np.iinfo(dtype).max).astype(dtype) if np.issubdtype(dtype, np.integer) else image.astype(dtype)
    found = register(image, image, loss=loss, method=method)
    assert found.success, found.message
    assert (found.dx, found.dy) == (0.0, 0.0)


@pytest.mark.parametrize("loss", first(*LOSSES))
@pytest.mark.parametrize(
    ("truth", "level"),
    [
        ((3.3, -2.7), 0.0),
        pytest.param(*((-6.1, 4.45), 0.0), marks=pytest.mark.slow),
        pytest.param(*((3.3, -2.7), 0.03), marks=pytest.mark.slow),
    ],
)
def test_swapping_the_images_negates_the_displacement(loss, truth, level):
    """To a hundredth of a pixel without noise; with it, within what the noise leaves open."""
    B, A = datasets.shifted_pair(*truth, shape=(100, 110), noise=level)
    there, back = register(B, A, loss=loss), register(A, B, loss=loss)
    assert there.success
    assert back.success
    within = 0.01 if not level else 3 * np.hypot(*there.stderr)
    assert max(abs(there.dx + back.dx), abs(there.dy + back.dy)) <= within


@pytest.mark.slow
def test_turning_both_images_turns_the_displacement():
    B, A = scene((88, 100), seed=7), scene((88, 100), 4.35, -2.6, seed=7)
    plain = register(B, A)
    for turn, want in (
        (np.transpose, (plain.dy, plain.dx)),
        (np.fliplr, (-plain.dx, plain.dy)),
        (np.flipud, (plain.dx, -plain.dy)),
    ):
        assert error(register(turn(B), turn(A)), *want) <= 0.005


def test_the_sign_of_a_single_bright_spot():
    """The convention, without any generator: content 4 px further right and 3 px higher."""
    B, A = 0.01 * noise((64, 70), 1), 0.01 * noise((64, 70), 2)
    y, x = np.mgrid[:64, :70]
    for spotted, cx, cy in ((B, 33, 34), (A, 37, 31)):
        for ox, oy, height in ((0, 0, 1.0), (6, 5, 0.6), (-7, 4, 0.8)):
            spotted[...] += height * np.exp(-((x - cx - ox) ** 2 + (y - cy - oy) ** 2) / 8)
    found = register(B, A)
    assert found.success, found.message
    assert error(found, 4, -3) <= NOISY


@pytest.mark.slow
def test_errors_are_as_large_as_they_are_said_to_be():
    """Over twenty pairs the error, in its own standard errors, is of the order of one: neither ten nor a tenth."""
    scores = []
    for seed in range(20):
        dx, dy = np.random.default_rng(seed).uniform(-3, 3, 2)
        pair = scene((80, 84), seed=8), scene((80, 84), dx, dy, seed=8)
        rng = np.random.default_rng([1, seed])
        found = register(*(image + rng.normal(0, 0.02, image.shape) for image in pair))
        assert found.success, found.message
        scores += [(found.dx - dx) / found.stderr[0], (found.dy - dy) / found.stderr[1]]
    assert 0.6 <= np.sqrt(np.mean(np.square(scores))) <= 1.6


@pytest.mark.parametrize("method", first(*METHODS))
def test_the_same_bits_twice(method):
    pair = datasets.shifted_pair(1.3, -0.7, shape=(80, 90), noise=0.02, dtype="float32")
    one, two = register(*pair, method=method), register(*pair, method=method)
    assert one.to_json() == two.to_json()
    assert one.trace.tobytes() == two.trace.tobytes()
    assert one.covariance.tobytes() == two.covariance.tobytes()


# --- what cannot be registered ----------------------------------------------------------------------------------------


def hopeless(found, *statuses):
    """Check that a result is data, is no success, says why with a known word and a sentence, and survives JSON."""
    assert not found.success
    assert found.status in (statuses or STATUSES - {"converged"}), found.message
    assert len(found.message.split()) >= 5
    assert json.loads(found.to_json())["success"] is False
    assert np.isfinite([found.dx, found.dy]).all()


@pytest.mark.parametrize("method", first(*METHODS))
@pytest.mark.parametrize("loss", first(*LOSSES))
@pytest.mark.parametrize("which", first("reference", "moving", "both"))
def test_constant_images_are_a_status_and_no_exception(loss, method, which):
    B = np.full((72, 80), 0.4) if which != "moving" else scene((72, 80))
    A = np.full((72, 80), 0.4) if which != "reference" else scene((72, 80))
    hopeless(register(B, A, loss=loss, method=method))


@pytest.mark.parametrize("method", first(*METHODS))
@pytest.mark.parametrize("loss", first(*LOSSES))
def test_noise_against_noise_never_converges(loss, method):
    for seed in range(3):
        hopeless(register(noise((72, 80), 2 * seed), noise((72, 80), 2 * seed + 1), loss=loss, method=method))


@pytest.mark.parametrize("method", first(*METHODS))
@pytest.mark.parametrize("loss", first(*LOSSES))
def test_an_image_against_noise_never_converges(loss, method):
    photograph = datasets.shifted_pair(0, 0, shape=(100, 110)).reference
    hopeless(register(photograph, noise((100, 110), 11), loss=loss, method=method))
    hopeless(register(noise((100, 110), 12), photograph, loss=loss, method=method))


@pytest.mark.slow
@pytest.mark.parametrize("method", first(*SEARCHES))
@pytest.mark.parametrize("loss", first(*LOSSES))
def test_unrelated_images_never_converge(loss, method):
    wrong = []
    for seed in range(40):
        B, A = scene((96, 104), seed=100 + seed), scene((96, 104), seed=500 + seed)
        B, A = (image + 0.02 * noise(image.shape, seed + k) for k, image in enumerate((B, A)))
        found = register(B, A, loss=loss, method=method)
        if found.success:
            wrong.append((seed, round(found.dx, 2), round(found.dy, 2)))
    assert wrong == []


@pytest.mark.slow
def test_two_parts_of_one_photograph_that_share_nothing():
    whole = datasets.shifted_pair(0, 0, shape=(230, 220)).reference
    B, A = whole[:100, :100], whole[125:225, 110:210]
    for method in SEARCHES:
        hopeless(register(B, A, method=method))


def stripes(angle, move, shape=(90, 96)):
    """Return random stripes that run along `angle` degrees, from x towards y, moved across by `move` pixels."""
    levels = ndimage.gaussian_filter1d(np.random.default_rng(5).random(600), 1.2)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    across = y * np.cos(np.radians(angle)) - x * np.sin(np.radians(angle))
    return np.interp(across + 250 - move, np.arange(600), levels)


@pytest.mark.parametrize("method", first(*METHODS))
@pytest.mark.parametrize("loss", first(*LOSSES))
@pytest.mark.parametrize("angle", first(0, 90, 45, 120))
@pytest.mark.parametrize("grain", first(0.0, 0.01))
def test_stripes_are_flat_along_the_direction_that_they_run(loss, method, angle, grain):
    B, A = (stripes(angle, move) + grain * noise((90, 96), k) for k, move in enumerate((0.0, 1.7)))
    found = register(B, A, loss=loss, method=method)
    hopeless(found, "flat")
    named = re.search(r"along (x|y|\d+ degrees)", found.message)[1]
    degrees = {"x": 0, "y": 90}.get(named) if named in "xy" else int(named.split()[0])
    assert min((degrees - angle) % 180, (angle - degrees) % 180) <= 16, found.message
    if angle in (0, 90) and not grain:
        # what is determined is right all the same
        across = found.dy if angle == 0 else -found.dx
        assert across == pytest.approx(1.7, abs=NOISY)


@pytest.mark.parametrize("grain", first(0.0, 0.1))
@pytest.mark.parametrize("method", first(*SEARCHES))
@pytest.mark.parametrize("loss", first(*LOSSES))
def test_a_texture_that_repeats_is_ambiguous(loss, method, grain):
    y, x = np.mgrid[:96, :104].astype(float)
    B, A = (
        np.sin(2 * np.pi * (x - dx) / 9) * np.sin(2 * np.pi * (y - dy) / 11) + grain * noise((96, 104), k)
        for k, (dx, dy) in enumerate([(0, 0), (1.3, 0.4)])
    )
    found = register(B, A, loss=loss, method=method)
    hopeless(found, "ambiguous")
    assert found.runner_up is not None
    # the other displacement that the sentence names is another period, or a part of one
    assert np.hypot(found.runner_up[0] - found.dx, found.runner_up[1] - found.dy) > 2


# --- the result -------------------------------------------------------------------------------------------------------


def test_what_a_result_knows(result):
    assert isinstance(result, Registration)
    assert (result.success, result.status) == (True, "converged")
    assert error(result, 2.25, -1.6) <= CLEAN
    assert result.ncc == pytest.approx(1, abs=0.01)
    assert result.loss == pytest.approx(-result.ncc, abs=1e-9)
    assert result.covariance.shape == (2, 2)
    np.testing.assert_allclose(result.covariance, result.covariance.T, rtol=1e-9)
    assert (np.linalg.eigvalsh(result.covariance) > 0).all()
    assert result.stderr == pytest.approx(np.sqrt(np.diag(result.covariance)))
    assert 0 < result.overlap <= 1
    assert result.overlap == pytest.approx((1 - 2.25 / 96) * (1 - 1.6 / 80), abs=1e-3)
    top, bottom, left, right = result.window
    assert 0 <= top < bottom <= 80
    assert 0 <= left < right <= 96
    assert min(result.n_steps, result.n_evaluations, result.n_passes) > 0


@pytest.mark.parametrize("loss", first(*LOSSES))
def test_the_correlation_is_one_whatever_was_minimised(loss):
    found = register(scene((80, 96)), scene((80, 96), 2.25, -1.6), loss=loss)
    assert found.ncc == pytest.approx(1, abs=0.01)
    assert (found.loss < -0.99) if loss == "ncc" else (0 <= found.loss < 1e-4)


def test_shift_rc_is_the_move_that_scipy_applies(result):
    assert result.shift_rc == (-result.dy, -result.dx)
    moving, reference = scene((80, 96), 2.25, -1.6), scene((80, 96))
    aligned = ndimage.shift(moving, result.shift_rc, order=3, mode="nearest")
    inside = np.s_[6:-6, 6:-6]
    assert np.abs(aligned - reference)[inside].max() <= 0.1 * np.abs(moving - reference)[inside].max()
    linear = ndimage.shift(moving, result.shift_rc, order=1, mode="nearest")
    np.testing.assert_allclose(result.apply(moving)[inside], linear[inside], rtol=0, atol=1e-12)


def test_theta_maps_a_target_point_to_its_source(result):
    assert result.theta.tolist() == [[1, 0, result.dx], [0, 1, result.dy]]
    assert (result.theta @ [10, 20, 1]).tolist() == [10 + result.dx, 20 + result.dy]


@pytest.mark.parametrize("dtype", first(np.uint8, np.uint16, np.float32, np.float64))
@pytest.mark.parametrize("channels", first((), (3,)))
def test_apply_keeps_shape_and_dtype(result, dtype, channels):
    image = (np.random.default_rng(0).random((80, 96, *channels)) * 200).astype(dtype)
    before = image.copy()
    laid = result.apply(image)
    assert (laid.shape, laid.dtype) == (image.shape, dtype)
    assert (image == before).all()
    # one pixel by hand: (x, y) = (40, 30) reads between (42, 28) and (43, 29)
    a, b = result.dx - 2, result.dy + 2
    want = (1 - b) * ((1 - a) * image[28, 42] + a * image[28, 43].astype(float))
    want += b * ((1 - a) * image[29, 42] + a * image[29, 43].astype(float))
    within = 0.5 + 1e-4 if np.issubdtype(dtype, np.integer) else 1e-4
    np.testing.assert_allclose(laid[30, 40], want, rtol=0, atol=within)
    assert (laid[:1] == 0).all()  # beyond the frame, above
    assert result.apply(image, boundary="edge")[0, 40].all()


@pytest.mark.parametrize("loss", first(*LOSSES))
def test_json_there_and_back(loss):
    found = register(scene((80, 96)), scene((80, 96), 2.25, -1.6), loss=loss)
    text = found.to_json()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data == found.to_dict()
    assert (data["dx"], data["dy"], data["success"], data["status"]) == (found.dx, found.dy, True, "converged")
    assert data["stderr"] == list(found.stderr)
    assert data["shift_rc"] == list(found.shift_rc)
    assert data["theta"] == found.theta.tolist()
    back = Registration.from_json(text)
    assert back.to_json() == text
    assert (back.covariance == found.covariance).all()
    assert (back.window, back.runner_up, back.options) == (found.window, found.runner_up, found.options)
    assert back.trace.shape == (0,)
    assert back.trace.dtype == found.trace.dtype
    image = scene((80, 96), seed=9)
    assert (back.apply(image) == found.apply(image)).all()


def test_json_holds_what_is_not_known_as_null():
    found = register(stripes(90, 0), stripes(90, 1.7))
    data = json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["status"] == "flat"
    assert Registration.from_json(found.to_json()).to_json() == found.to_json()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"dx": 1}', "null"])
def test_what_is_no_registration_is_refused(text):
    with pytest.raises(
        InputError, match=r"this is not the JSON of a Registration; give the text that to_json returned"
    ):
        Registration.from_json(text)


def test_one_line_for_people(result):
    line = str(result)
    assert re.fullmatch(r"dx = \+2\.\d{3} \+- 0\.\d{3} px, dy = -1\.\d{3} \+- 0\.\d{3} px, converged", line), line
    assert "trace" not in repr(result)


@pytest.mark.parametrize("method", first(*METHODS))
def test_the_trace_is_the_way(method):
    seen = []
    pair = scene((160, 150), seed=10), scene((160, 150), 3.4, -1.9, seed=10)
    found = register(*pair, method=method, callback=lambda *row: seen.append(row))
    trace = found.trace
    assert trace.dtype.names == ("level", "step", "dx", "dy", "loss", "grad_dx", "grad_dy")
    assert len(trace) == found.n_steps == len(seen)
    for row, told in zip(trace, seen, strict=True):
        assert told == tuple(row[name] for name in ("level", "step", "dx", "dy", "loss"))
    if method != "exhaustive":
        assert trace["level"][0] >= 1  # the pyramid: far away on a coarse level first
    assert 0 in trace["level"]
    assert all(np.isfinite(trace[name]).all() for name in trace.dtype.names)
    # in pixels of the finest level all the way, ending where the result is
    assert np.hypot(trace["dx"] - 3.4, trace["dy"] + 1.9).max() <= 8
    # the last step is taken without a further look if it is too short to matter
    assert (trace["dx"][-1], trace["dy"][-1]) == pytest.approx((found.dx, found.dy), abs=refinement._NEAR)


# --- what may come in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "within"),
    [
        ("float64", 0),
        pytest.param(*("float32", 1e-4), marks=pytest.mark.slow),
        pytest.param(*("uint16", 1e-3), marks=pytest.mark.slow),
        pytest.param(*("uint8", 0.02), marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_grey_level(dtype, within):
    pair = scene((88, 100), seed=11), scene((88, 100), 5.4, -3.3, seed=11)
    plain = register(*pair)
    if dtype.startswith("u"):
        given = [np.rint(image.clip(0, 1) * np.iinfo(dtype).max).astype(dtype) for image in pair]
    else:
        given = [image.astype(dtype) for image in pair]
    found = register(*given)
    assert found.success, found.message
    assert error(found, plain.dx, plain.dy) <= within
    assert error(register(given[0], pair[1]), plain.dx, plain.dy) <= max(within, 1e-4)


@pytest.mark.slow
def test_the_images_are_neither_changed_nor_need_to_be_writable():
    B, A = scene((80, 90)), scene((80, 90), 1.2, 0.4)
    mask = np.ones((80, 90), bool)
    mask[:9, :9] = False
    A[3, 4] = np.nan
    before = [image.copy() for image in (B, A, mask)]
    want = register(B, A, moving_mask=mask)
    for image in (B, A, mask):
        image.flags.writeable = False
    for method in METHODS:
        register(B, A, method=method, moving_mask=mask)
    for image, copy in zip((B, A, mask), before, strict=True):
        np.testing.assert_array_equal(image, copy)
    big_endian, strided = B.astype(">f8"), np.repeat(A, 2, axis=1)[:, ::2]
    again = register(big_endian, strided, moving_mask=np.asfortranarray(mask))
    assert (again.dx, again.dy) == (want.dx, want.dy)
    lists = register(B[:40, :40].tolist(), A[:40, :40].tolist())
    assert isinstance(lists, Registration)


WRONG = [
    ({"loss": "ssd"}, r"loss is 'ssd'; give one of 'ncc', 'mse'"),
    ({"method": "magic"}, r"method is 'magic'; give one of 'auto', 'gradient-descent', 'adam', 'newton', 'exhaustive'"),
    ({"features": "corners"}, r"features is 'corners'; give one of 'auto', 'intensity', 'fine', 'edges'"),
    ({"max_shift": 0}, r"max_shift is 0; give a number above 0"),
    ({"max_shift": -3.5}, r"max_shift is -3.5; give a number above 0"),
    ({"max_shift": float("nan")}, r"max_shift is nan; give a finite number"),
    ({"max_shift": (4, 0)}, r"max_shift is 0; give a number above 0"),
    ({"max_shift": (1, 2, 3)}, r"max_shift is \(1, 2, 3\); give two numbers \(dx, dy\) in pixels"),
    ({"init": 3}, r"init is 3; give two numbers \(dx, dy\) in pixels"),
    ({"init": (0, float("inf"))}, r"init\[1\] is inf; give a finite number"),
    ({"smooth": -1}, r"smooth is -1; give a number from 0 to 10"),
    ({"min_overlap": 0}, r"min_overlap is 0; give a number from 0.01 to 1"),
    ({"min_overlap": 1.5}, r"min_overlap is 1.5; give a number from 0.01 to 1"),
    ({"reference_mask": np.ones((9, 9), bool)}, r"reference_mask has shape \(9, 9\) but its image has \(20, 30\)"),
    ({"moving_mask": np.full((20, 30), 2)}, r"moving_mask holds values other than True and False"),
    ({"moving_mask": np.zeros((20, 30), bool)}, r"moving_mask leaves no pixel to use"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG)
def test_options_are_checked_at_the_door(options, sentence):
    with pytest.raises(InputError, match=sentence):
        register(noise((20, 30), 0), noise((20, 30), 1), **options)


def test_images_are_checked_at_the_door():
    image = noise((20, 30), 0)
    for B, A, sentence in (
        (
            image,
            image[:, :29],
            r"reference has shape \(20, 30\) but moving has \(20, 29\); crop both to the same shape",
        ),
        (image[:7], image[:7], r"the images have shape \(7, 30\); give at least 8 x 8 pixels"),
        (image[0], image, r"reference has shape \(30,\); give a grey image of shape \(H, W\)"),
        (image, np.dstack([image] * 3), r"moving has shape \(20, 30, 3\); give a grey image of shape \(H, W\)"),
        (
            image,
            image.astype(complex),
            r"moving has dtype complex128; give grey levels as integers, float32 or float64",
        ),
        ("photograph", image, r"reference has dtype <U10; give grey levels"),
    ):
        with pytest.raises(InputError, match=sentence):
            register(B, A)


@pytest.mark.parametrize("shape", first((8, 8), (8, 60), (61, 9), (17, 23)))
@pytest.mark.parametrize("method", first(*METHODS))
def test_small_and_narrow_images_get_an_answer(shape, method):
    """Whether it is a good one is the status's business; that there is one is the law."""
    for B, A in product((scene(shape), noise(shape, 3)), (scene(shape, 0.6, -0.4), noise(shape, 4))):
        found = register(B, A, method=method)
        assert found.status in STATUSES
        assert np.isfinite([found.dx, found.dy, found.loss]).all()
        json.loads(found.to_json())


@pytest.mark.parametrize("method", first(*METHODS))
def test_masks_that_never_meet_are_a_status(method):
    image = scene((64, 70))
    left = np.zeros((64, 70), bool)
    left[:, :4] = True
    hopeless(register(image, image, method=method, reference_mask=left, moving_mask=left[:, ::-1], max_shift=5))


# --- threads, fine structure, phases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["intensity", "fine", "edges"])
def test_threads_change_no_bit(features, monkeypatch):
    monkeypatch.setattr("alignment.views._WORTH_THREADS", 0)
    monkeypatch.setattr("alignment.bands._WORTH_THREADS", 0)
    monkeypatch.setattr("alignment.bands._BAND", 16)
    pair = scene((100, 110)), scene((100, 110), 3.3, -2.6)
    one, two = (register(*pair, features=features, threads=threads) for threads in (1, 2))
    assert (one.dx, one.dy, one.loss) == (two.dx, two.dy, two.loss)
    assert (one.trace == two.trace).all()


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(InputError, match="threads is"):
        register(scene((40, 40)), scene((40, 40)), threads=threads)


def test_fine_structure_holds_where_the_light_differs():
    B, A = scene((100, 110)), scene((100, 110), 3.3, -2.6)
    y, x = np.mgrid[:100, :110]
    lit = A + np.ptp(A) * (x / 40 + y / 90)
    assert error(register(B, lit, features="fine"), 3.3, -2.6) <= 0.1


def test_phases_find_what_other_searches_do_not(monkeypatch):
    """A search that sees nothing must not be the end: the phases are asked, and confirmed by a descent."""
    B, A = scene((100, 110)), scene((100, 110), 6.3, -4.6)
    monkeypatch.setattr(comparison, "_REPEATING_ITSELF", 2.0)
    monkeypatch.setattr(comparison, "_REPEATING", 2.0)
    attempt = comparison.Comparison.by

    def lost(self, features):
        return replace(attempt(self, features), success=False, status="no correlation")

    monkeypatch.setattr(comparison.Comparison, "by", lost)
    found = register(B, A)
    assert found.success, found.message
    assert error(found, 6.3, -4.6) <= 0.05


@pytest.mark.parametrize("seed", range(12))
def test_a_search_in_which_nothing_stands_out_still_has_a_best_candidate(seed):
    """The best score of noise against noise can be negative, so that no share of it is below it."""
    pair = np.random.default_rng(seed).random((2, 34, 11))
    hopeless(register(*pair, loss="mse", features="intensity", max_shift=0.5))
