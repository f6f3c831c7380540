"""The truth of the generated images, measured by something that shares no code with the package: a quintic spline."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from alignment._checks import InputError
from alignment.datasets import DemoPlate, ShiftedPair, demo_plate, shifted_pair

CHANNELS = ("red", "blue")


def best_correlation(reference, moving, start, *, sigma=0.8, cut=0.1):
    """Maximise the NCC of reference(x, y) with moving(x + dx, y + dy) inside the middle, from start, by Newton."""
    height, width = reference.shape
    inside = np.s_[int(cut * height) : -int(cut * height), int(cut * width) : -int(cut * width)]
    fixed = ndimage.gaussian_filter(reference, sigma)[inside].ravel()
    fixed = (fixed - fixed.mean()) / fixed.std() / fixed.size
    spline = ndimage.spline_filter(ndimage.gaussian_filter(moving, sigma), order=5, mode="mirror")

    def ncc(d):
        moved = ndimage.shift(spline, (-d[1], -d[0]), order=5, prefilter=False, mode="mirror")[inside].ravel()
        return fixed @ moved / moved.std()

    d, h = np.array(start, float), 0.05
    ex, ey = h * np.eye(2)
    for _ in range(3):
        here, right, left, down, up = (ncc(p) for p in (d, d + ex, d - ex, d + ey, d - ey))
        mixed = ncc(d + ex + ey) - right - down + here
        gradient = np.array([right - left, down - up]) * h / 2
        hessian = np.array([[right - 2 * here + left, mixed], [mixed, down - 2 * here + up]])
        d = d - h * np.linalg.solve(hessian, gradient / h)
    return d


def as_floats(demo, channel):
    array = demo.exposure(channel)
    return array / float(np.iinfo(array.dtype).max)


@pytest.fixture(scope="module")
def default():
    return demo_plate()


@pytest.mark.parametrize("channel", CHANNELS)
def test_clean_channel_is_displaced_by_the_truth(channel):
    plain = {"grain": 0, "dust": 0, "scratches": 0, "frame": False}
    still = as_floats(demo_plate(**plain, displacements={}), channel)
    demo = demo_plate(**plain)
    start = np.round(demo.truth[channel])
    found = best_correlation(still, as_floats(demo, channel), start)
    np.testing.assert_allclose(found, demo.truth[channel], atol=0.002)


@pytest.mark.parametrize("sigma", [0.5, 0.8])
@pytest.mark.parametrize("channel", CHANNELS)
def test_channel_correlates_best_with_green_at_the_truth(default, channel, sigma):
    start = np.round(default.truth[channel])
    found = best_correlation(as_floats(default, "green"), as_floats(default, channel), start, sigma=sigma)
    np.testing.assert_allclose(found, default.truth[channel], atol=0.03)


@pytest.mark.parametrize("channel", CHANNELS)
def test_edges_of_the_channels_lie_on_each_other_at_the_truth(default, channel):
    def edges(name):
        return ndimage.gaussian_gradient_magnitude(as_floats(default, name), 1.0)

    found = best_correlation(edges("green"), edges(channel), np.round(default.truth[channel]), sigma=0.5)
    np.testing.assert_allclose(found, default.truth[channel], atol=0.03)


def test_plate_is_a_plate(default):
    assert isinstance(default, DemoPlate)
    assert default.plate.dtype == np.uint16
    assert default.scene.shape == (*default.exposure("green").shape, 3)
    assert 0 <= default.scene.min() < 0.1 < 0.8 < default.scene.max() <= 1
    assert default.plate[:8].mean() > 0.9 * 65535  # paper
    tops = [default.exposures[name][0] for name in ("blue", "green", "red")]
    assert tops == sorted(tops)
    sizes = {(b - t, r - left) for t, b, left, r in default.exposures.values()}
    assert len(sizes) == 1
    for name in default.exposures:
        border = np.median(default.exposure(name)[:5])
        assert border < 0.1 * 65535 < np.median(default.exposure(name)[150:200])


def test_frame_does_not_move_with_the_content():
    plain = {"grain": 0, "dust": 0, "scratches": 0, "dtype": "uint8"}
    a, b = demo_plate(**plain), demo_plate(**plain, displacements={})
    assert a.truth != b.truth
    np.testing.assert_array_equal(a.exposure("red")[:5], b.exposure("red")[:5])
    assert (a.exposure("red")[100:200] != b.exposure("red")[100:200]).any()


def test_same_seed_same_plate():
    np.testing.assert_array_equal(demo_plate(seed=3).plate, demo_plate(seed=3).plate)
    assert (demo_plate(seed=3).plate != demo_plate(seed=4).plate).any()


def test_grain_has_the_stated_standard_deviation():
    with_grain = as_floats(demo_plate(grain=0.02), "green")
    without = as_floats(demo_plate(grain=0), "green")
    assert np.std((with_grain - without)[50:300, 50:300]) == pytest.approx(0.02, rel=0.02)


def test_plain_channels_are_the_scene():
    demo = demo_plate(grain=0, dust=0, scratches=0, frame=False, tones=False, displacements={})
    for k, name in enumerate(("red", "green", "blue")):
        np.testing.assert_allclose(as_floats(demo, name), demo.scene[..., k], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, r"^seed is -1; give a whole number of at least 0$"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"dtype": "int8"}, "dtype is 'int8'.*choose uint8 or uint16"),
        ({"grain": -0.1}, "grain is -0.1; give a number from 0 to 1"),
        ({"grain": float("nan")}, "grain is nan; give a finite number"),
        ({"dust": 2.5}, "dust is 2.5; give a whole number of at least 0"),
        ({"scratches": -3}, "scratches is -3"),
        ({"displacements": {"green": (1, 1)}}, "displacements names 'green', but only red and blue"),
        ({"displacements": {"red": 3}}, r"the displacement of red is 3; give a pair \(dx, dy\)"),
        ({"displacements": {"red": (11, 0)}}, "dx of red is 11; give a number from -10 to 10"),
    ],
)
def test_plate_refuses_in_a_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        demo_plate(**options)


def test_unknown_exposure_is_named(default):
    with pytest.raises(InputError, match="no exposure named 'cyan'; choose blue, green or red"):
        default.exposure("cyan")


@pytest.mark.parametrize("area", [1, 2, 3])
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (3.3, -2.7), (-0.37, 4.5), (5.0, 0.25)])
def test_pair_is_displaced_by_the_truth(dx, dy, area):
    pair = shifted_pair(dx, dy, shape=(120, 130), area=area)
    # three pixels of smoothing, so that the coarse pixels' aliasing does not matter to the spline
    found = best_correlation(pair.reference, pair.moving, (round(dx), round(dy)), sigma=2.0)
    np.testing.assert_allclose(found, (dx, dy), atol=0.005)
    assert (pair.dx, pair.dy) == (dx, dy)


def test_whole_pixels_are_copied_and_nothing_wraps():
    reference, moving = shifted_pair(7, -4, shape=(90, 100))
    np.testing.assert_allclose(moving[:-4, 7:], reference[4:, :-7], atol=1e-10)
    wrapped = np.roll(reference, (-4, 7), axis=(0, 1))
    assert np.abs(moving - wrapped)[:, :7].max() > 0.1


def test_pair_with_gain_offset_and_noise():
    clean = shifted_pair(1.5, 0.5)
    changed = shifted_pair(1.5, 0.5, gain=0.7, offset=0.1)
    np.testing.assert_allclose(changed.moving, 0.7 * clean.moving + 0.1)
    np.testing.assert_array_equal(changed.reference, clean.reference)
    noisy = shifted_pair(1.5, 0.5, noise=0.05, seed=2)
    one, two = noisy.reference - clean.reference, noisy.moving - clean.moving
    assert one.std() == pytest.approx(0.05, rel=0.03)
    assert two.std() == pytest.approx(0.05, rel=0.03)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(noisy.moving, shifted_pair(1.5, 0.5, noise=0.05, seed=2).moving)
    assert (noisy.moving != shifted_pair(1.5, 0.5, noise=0.05, seed=3).moving).any()


def test_pair_unpacks_and_keeps_its_dtype():
    pair = shifted_pair(shape=(31, 57), dtype="float32")
    assert isinstance(pair, ShiftedPair)
    reference, moving = pair
    assert reference is pair.reference
    assert moving is pair.moving
    assert reference.dtype == moving.dtype == np.float32
    assert reference.shape == moving.shape == (31, 57)
    assert shifted_pair().reference.dtype == np.float64


def test_largest_pair_fits_and_one_more_is_refused():
    assert shifted_pair(0, 0, shape=(584, 496), area=1).reference.shape == (584, 496)
    with pytest.raises(InputError, match=r"height is 585 pixels.*allows at most 584; reduce"):
        shifted_pair(0, 0, shape=(585, 496), area=1)
    with pytest.raises(InputError, match=r"width is 496 pixels, but for a displacement of -1.5 pixels"):
        shifted_pair(-1.5, 0, shape=(100, 496), area=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dx": float("inf")}, "dx is inf; give a finite number"),
        ({"dy": "1"}, "dy is '1'; give a finite number"),
        ({"noise": -1}, "noise is -1; give a number from 0 to"),
        ({"area": 0}, "area is 0; give a whole number of at least 1"),
        ({"shape": (3,)}, r"shape is \(3,\), but an image has a height and a width"),
        ({"shape": (3, 0)}, "width is 0"),
        ({"shape": 7}, "shape is 7, but"),
        ({"dtype": "uint8"}, "dtype is 'uint8', but the pair is made of floats"),
    ],
)
def test_pair_refuses_in_a_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        shifted_pair(**options)


def test_missing_photograph_is_explained(monkeypatch, tmp_path):
    from matplotlib import cbook

    from alignment import datasets

    monkeypatch.setattr(cbook, "get_sample_data", lambda *a, **k: tmp_path / "absent.jpg")
    datasets._photograph.cache_clear()
    with pytest.raises(InputError, match=r"grace_hopper\.jpg that matplotlib ships cannot be read"):
        demo_plate()
