"""Bands of rows: the same sums however many threads share them, and the same as without bands."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import bands
from alignment.gaussian import Gaussian
from alignment.losses import MSE, NCC


def test_the_cuts_do_not_depend_on_the_threads_and_cover_each_row_once(monkeypatch):
    monkeypatch.setattr(bands, "_BAND", 7)
    monkeypatch.setattr(bands, "_WORTH_THREADS", 0)
    rectangles = np.array([[3, 30, 2, 9], [10, 12, 0, 4]])
    cuts = {}
    for threads in (1, 3):
        cuts[threads] = []

        def run(band, seen=cuts[threads]):
            seen.append(band.tolist())
            return band[:, 1] - band[:, 0]

        assert bands.in_bands(run, rectangles, (3, 30, 0, 9), threads).tolist() == [27, 2]
    assert sorted(cuts[1]) == sorted(cuts[3])
    assert len(cuts[1]) == 4
    assert max(bottom - top for band in cuts[1] for top, bottom, _, _ in band) == 7


def test_a_small_image_is_left_to_one_pass():
    seen = []
    bands.in_bands(lambda band: seen.append(band) or np.zeros(1), np.array([[0, 900, 0, 100]]), (0, 900, 0, 100), 4)
    assert len(seen) == 1


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kernel", ["hat", Gaussian(0.8)])
@pytest.mark.parametrize("kind", [MSE, NCC])
def test_threads_change_no_bit_of_a_pass(kind, kernel, masked, monkeypatch):
    """Bands of rows are the same, and added up in the same order, however many threads there are."""
    monkeypatch.setattr(bands, "_BAND", 7)
    monkeypatch.setattr(bands, "_WORTH_THREADS", 0)
    rng = np.random.default_rng(0)
    B, A = rng.random((2, 60, 50))
    masks = {"reference_mask": rng.random(B.shape) > 0.02, "moving_mask": rng.random(B.shape) > 0.02} if masked else {}
    one, three = (kind(B, A, kernel=kernel, threads=threads, **masks) for threads in (1, 3))
    for at in ((0.3, -1.4), (-7.25, 3.0)):
        np.testing.assert_array_equal(one.value_and_gradient(*at)[1], three.value_and_gradient(*at)[1])
        assert one.value(*at) == three.value(*at)
        blocks = [(12, 30, 12, 38), (30, 48, 12, 38)]
        sums = [o.gradient_by_blocks(*at, blocks=blocks) for o in (one, three)]
        np.testing.assert_array_equal(*sums)


def test_bands_add_up_to_the_whole(monkeypatch):
    B, A = np.random.default_rng(0).random((2, 60, 50))
    whole = [kind(B, A, kernel=kernel).value(0.3, -1.4) for kind in (MSE, NCC) for kernel in ("hat", Gaussian(0.8))]
    monkeypatch.setattr(bands, "_BAND", 7)
    monkeypatch.setattr(bands, "_WORTH_THREADS", 0)
    added = [kind(B, A, kernel=kernel).value(0.3, -1.4) for kind in (MSE, NCC) for kernel in ("hat", Gaussian(0.8))]
    np.testing.assert_allclose(added, whole, rtol=1e-13)
