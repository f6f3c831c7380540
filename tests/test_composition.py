"""Composition: every pixel where the formula says, and no border that is not picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alignment import InputError, datasets
from alignment.composition import check_crop, compose

CHANNELS = ("red", "green", "blue")


def plate_of(shape=(90, 70), dtype="uint16", seed=0):
    """Return random levels, three rectangles of different sizes on them, and two displacements."""
    rng = np.random.default_rng(seed)
    height, width = shape
    levels = rng.integers(1, 60000, (3 * height + 20, width + 8))
    plate = levels.astype(dtype) if np.dtype(dtype).kind in "iu" else (levels / 60000).astype(dtype)
    rectangles = {
        "blue": (2, 2 + height, 3, 3 + width),
        "green": (height + 6, 2 * height + 4, 1, width - 1),
        "red": (2 * height + 9, 3 * height + 12, 5, 5 + width),
    }
    return plate, rectangles


def level(plate, rectangle, y, x):
    """Return the level of a pixel of an exposure, 0 outside it."""
    top, bottom, left, right = rectangle
    return float(plate[top + y, left + x]) if 0 <= y < bottom - top and 0 <= x < right - left else 0.0


def expected(plate, rectangle, dx, dy, y, x):
    """Return the bilinear mean at one point, from the definition."""
    total = 0.0
    m, n = int(np.floor(y + dy)), int(np.floor(x + dx))
    for i, j in itertools.product((0, 1), (0, 1)):
        weight = (1 - abs(y + dy - m - i)) * (1 - abs(x + dx - n - j))
        total += weight * level(plate, rectangle, m + i, n + j)
    return total


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("reference", CHANNELS)
@pytest.mark.parametrize("moves", [((3.25, -2.5), (-4.75, 6.0)), ((0, 0), (-1, 2)), ((40.5, 0.1), (-80, 200))], ids=str)
def test_each_pixel_is_what_the_formula_says(dtype, reference, moves):
    plate, rectangles = plate_of(dtype=dtype)
    others = [name for name in CHANNELS if name != reference]
    displacements = dict(zip(others, moves, strict=True))
    rgb, crop = compose(plate, rectangles, displacements, reference=reference, crop="none")
    assert crop == rectangles[reference]
    assert rgb.dtype == dtype
    assert rgb.shape[:2] == (crop[1] - crop[0], crop[3] - crop[2])
    rng = np.random.default_rng(1)
    for y, x in zip(rng.integers(0, rgb.shape[0], 60), rng.integers(0, rgb.shape[1], 60), strict=True):
        for n, name in enumerate(CHANNELS):
            dx, dy = displacements.get(name, (0, 0))
            want = expected(plate, rectangles[name], dx, dy, y, x)
            assert rgb[y, x, n] == pytest.approx(want, rel=1e-5, abs=0.51 if dtype == "uint16" else 1e-6)


def test_rows_that_are_sampled_apart_fit_together():
    """More rows than are worked on at a time, and the same rows by themselves."""
    plate, rectangles = plate_of((600, 40))
    moves = {"red": (1.3, -7.6), "blue": (-2.2, 4.4)}
    whole, (top, _, left, right) = compose(plate, rectangles, moves, crop="none")
    for start, stop in ((0, 100), (230, 300), (511, 514), (500, 598)):
        part, crop = compose(plate, rectangles, moves, crop=(top + start, top + stop, left + 3, right - 5))
        assert crop == (top + start, top + stop, left + 3, right - 5)
        assert (part == whole[start:stop, 3:-5]).all()


def test_overlap_is_all_that_three_exposures_cover():
    plate, rectangles = plate_of()
    moves = {"red": (2.5, -3.25), "blue": (-4.5, 5.0)}
    rgb, (top, bottom, left, right) = compose(plate, rectangles, moves, crop="overlap")
    assert (rgb > 0).all()
    frame = rectangles["green"]
    # one row or column more on any side is not covered, or not in the reference's rectangle
    for wider in ((top - 1, bottom, left, right), (top, bottom + 1, left, right),
                  (top, bottom, left - 1, right), (top, bottom, left, right + 1)):  # fmt: skip
        inside = wider[0] >= frame[0] and wider[1] <= frame[1] and wider[2] >= frame[2] and wider[3] <= frame[3]
        corners = itertools.product((wider[0], wider[1] - 1), (wider[2], wider[3] - 1))
        covered = inside and all(
            0 <= y - frame[0] + dy <= r[1] - r[0] - 1 and 0 <= x - frame[2] + dx <= r[3] - r[2] - 1
            for y, x in corners
            for r, (dx, dy) in ((rectangles[c], moves.get(c, (0, 0))) for c in CHANNELS)
        )
        assert not covered


def test_what_does_not_overlap_is_shown_whole():
    plate, rectangles = plate_of()
    for crop in ("auto", "overlap"):
        assert compose(plate, rectangles, {"red": (300, 0), "blue": (0, 0)}, crop=crop)[1] == rectangles["green"]


def test_a_negative_becomes_a_positive_and_nothing_else_changes():
    plate, rectangles = plate_of()
    moves = {"red": (2.0, -3.0), "blue": (-4.0, 5.0)}
    rgb, crop = compose(plate, rectangles, moves, crop="none")
    other, same = compose(65535 - plate, rectangles, moves, crop="none", inverted=True)
    assert crop == same
    assert (rgb == other).all()  # outside the exposures both are black


@pytest.mark.parametrize("inverted", [False, True])
def test_a_chip_in_one_channel_is_cut_off_and_little_else(inverted):
    demo = datasets.demo_plate(displacements={}, grain=0.004, dust=0, scratches=0)
    rectangles = {name: (t + 14, b - 14, left + 14, right - 14) for name, (t, b, left, right) in demo.exposures.items()}
    moves = {"red": (0.0, 0.0), "blue": (0.0, 0.0)}
    frame = rectangles["green"]
    height, width = frame[1] - frame[0], frame[3] - frame[2]

    def cuts(plate):
        scan = 65535 - plate if inverted else plate
        _, (top, bottom, left, right) = compose(scan, rectangles, moves, inverted=inverted)
        return np.array([top - frame[0], frame[1] - bottom, left - frame[2], frame[3] - right])

    clean = cuts(demo.plate)
    assert (clean <= 0.06 * min(height, width)).all()
    assert clean.sum() <= 0.12 * min(height, width)
    for name, level_ in (("red", 65000), ("blue", 500)):
        top, bottom, left, right = rectangles[name]
        chipped = demo.plate.copy()
        chipped[top : top + 9, left + 100 : left + 300] = level_
        assert cuts(chipped)[0] >= 9
        chipped = demo.plate.copy()
        chipped[top + 60 : bottom - 60, right - 11 : right] = level_
        assert cuts(chipped)[3] >= 11


def test_colour_scans_compose_like_grey_ones():
    plate, rectangles = plate_of()
    moves = {"red": (2.5, -3.0), "blue": (-4.0, 5.0)}
    grey, _ = compose(plate, rectangles, moves, crop="none")
    colour, _ = compose(np.dstack([plate] * 3), rectangles, moves, crop="none")
    assert (grey == colour).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"crop": "most"}, "crop is 'most'; give one of 'auto', 'overlap', 'none'"),
        ({"crop": (0, 10, 0)}, r"crop is \(0, 10, 0\); give 'auto'"),
        ({"crop": 3}, "crop is 3; give 'auto'"),
        ({"crop": (100, 90, 10, 20)}, "holds no pixel"),
        ({"crop": (0, 150, 10, 20)}, "does not lie inside the exposure of the reference"),
        ({"crop": (100.5, 150, 10, 20)}, "whole number"),
        ({"reference": "cyan"}, "reference is 'cyan'"),
        ({"displacements": {"red": (0, 0)}}, "give .* for 'red' and 'blue'"),
        ({"displacements": {"red": (0, 0), "blue": (np.nan, 0)}}, "finite number"),
        ({"exposures": {}}, "give 'red', 'green' and 'blue'"),
    ],
)
def test_arguments_are_checked(options, sentence):
    plate, rectangles = plate_of()
    arguments = {"exposures": rectangles, "displacements": {"red": (0, 0), "blue": (1, 1)}} | options
    with pytest.raises(InputError, match=sentence):
        compose(plate, **arguments)


def test_a_crop_is_a_name_or_four_numbers():
    assert check_crop("overlap") == "overlap"
    assert check_crop(np.array([1, 2, 3, 4])) == (1, 2, 3, 4)
    assert check_crop([10, 20, 30, 40], (10, 20, 30, 40)) == (10, 20, 30, 40)
