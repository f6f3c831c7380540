"""Scans: one grey image of whatever was scanned, and its block means."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import InputError
from alignment.scans import block_mean, grey, negative, white_of


def levels(shape, dtype, seed=0):
    """Return random levels over the range of a dtype."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, 0), info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
def test_a_grey_scan_is_not_copied(dtype):
    scan = levels((7, 5), dtype)
    assert grey(scan) is scan or np.shares_memory(grey(scan), scan)
    assert (grey(scan) == scan).all()
    assert grey(scan).dtype == dtype


def test_the_other_byte_order_is_turned_round():
    scan = levels((7, 5), "uint16")
    other = scan.astype(">u2")
    assert grey(other).dtype == np.uint16
    assert grey(other).dtype.isnative
    assert (grey(other) == scan).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_grey_stored_as_colour_is_that_grey(channels, dtype):
    scan = levels((300, 5), dtype)
    colours = np.repeat(scan[..., None], channels, axis=2)
    if channels in (2, 4):
        colours[..., -1] = 17  # how opaque, not how bright
    assert (grey(colours) == scan).all()
    assert grey(colours).dtype == dtype


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_colours_become_their_mean(dtype):
    scan = levels((600, 5, 3), dtype)  # more rows than are worked on at a time
    mean = scan.astype(np.float64).mean(axis=2)
    want = np.rint(mean) if np.dtype(dtype).kind in "iu" else mean
    np.testing.assert_allclose(grey(scan), want, rtol=1e-6)
    assert grey(scan).dtype == dtype


@pytest.mark.parametrize(
    ("scan", "sentence"),
    [
        (np.full((30, 20), np.nan), "not finite"),
        (np.ma.masked_equal(levels((30, 20), "uint8"), levels((30, 20), "uint8")[3, 3]), "not finite"),
        (np.zeros((3, 4, 5), np.uint8), r"plate has shape \(3, 4, 5\); give a grey image"),
        (np.zeros((0, 4), np.uint8), "without a single pixel"),
        (np.zeros(4, np.uint8), r"plate has shape \(4,\)"),
    ],
)
def test_what_is_no_scan_is_refused(scan, sentence):
    with pytest.raises(InputError, match=sentence):
        grey(scan)


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32", "float64"])
def test_each_pixel_is_the_mean_of_its_block(factor, dtype):
    scan = levels((45, 31), dtype)
    height, width = 45 // factor, 31 // factor
    full = float(np.iinfo(dtype).max) if np.dtype(dtype).kind in "iu" else 1.0
    want = [
        [
            scan[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].astype(np.float64).mean() / full
            for x in range(width)
        ]
        for y in range(height)
    ]
    got = block_mean(scan, factor)
    assert got.shape == (height, width)
    assert got.dtype == (np.float64 if dtype in ("uint32", "float64") else np.float32)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_rows_that_are_reduced_apart_fit_together():
    scan = levels((1203, 6), "uint16")
    np.testing.assert_allclose(
        block_mean(scan, 2), np.concatenate([block_mean(scan[:600], 2), block_mean(scan[600:], 2)])
    )


def test_a_negative_of_a_negative():
    scan = levels((9, 8), "uint16")
    assert (negative(negative(scan, white_of(scan)), white_of(scan)) == scan).all()
    assert negative(np.array([0, 255], np.uint8), 255.0).tolist() == [255, 0]
    assert white_of(np.array([0.2, 0.7])) == 1.0
    assert white_of(np.array([0.2, 3.5])) == 3.5
